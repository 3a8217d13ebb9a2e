"""DaemonService: what this daemon is, what can be set, and how to end it."""

from __future__ import annotations

from collections.abc import Callable

from dflcore.config.describe import describe_settings, in_groups
from dfldaemon.convert import (
    audience_from_message,
    kind_from_message,
    knob_to_message,
    settings_class_of,
    timestamp_from_iso,
)
from dfldaemon.discovery import Session
from dfldaemon.grpc_types import Context
from dfldaemon.jobs import JobKind, JobState
from dfldaemon.store import JobStore, StoreThread
from dflproto.v1 import daemon_service_pb2 as wire
from dflproto.v1 import daemon_service_pb2_grpc
from dflproto.v1.schema_digest import SCHEMA_DIGEST

FEATURES = (
    "paths",
    *(f"jobs.{kind.value}" for kind in JobKind),
    "corrections",
    *("merge_frame", "roads.stream", "roads.path", "roads.shared_memory"),
    *("inbox", "folders", "made"),
)
"""Abilities a client may look for before it offers them."""


class DaemonServicer(daemon_service_pb2_grpc.DaemonServiceServicer):
    """``shutdown`` starts the orderly end and returns at once."""

    def __init__(self, session: Session, store: StoreThread, shutdown: Callable[[], None]) -> None:
        self._session = session
        self._store = store
        self._shutdown = shutdown

    async def GetServerInfo(self, request: wire.GetServerInfoRequest, context: Context) -> wire.GetServerInfoResponse:
        return wire.GetServerInfoResponse(
            version=self._session.software,
            api_minor=self._session.api_minor,
            features=FEATURES,
            schema_digest=SCHEMA_DIGEST,
            pid=self._session.pid,
            start_time=timestamp_from_iso(self._session.start_time),
            address=self._session.address,
            roots=self._session.roots,
            queued_count=await self._store.run(JobStore.count, JobState.QUEUED),
            running_count=await self._store.run(JobStore.count, JobState.RUNNING),
            log_path=self._session.log_path,
            made_path=self._session.made_path,
        )

    async def DescribeSettings(
        self, request: wire.DescribeSettingsRequest, context: Context
    ) -> wire.DescribeSettingsResponse:
        settings_class = settings_class_of(kind_from_message(request.kind), request.operation)
        groups = in_groups(describe_settings(settings_class, audience_from_message(request.audience)))
        return wire.DescribeSettingsResponse(
            knobs=[knob_to_message(knob) for knobs in groups.values() for knob in knobs]
        )

    async def Shutdown(self, request: wire.ShutdownRequest, context: Context) -> wire.ShutdownResponse:
        self._shutdown()
        return wire.ShutdownResponse()
