"""The server process: what is opened in which order at start, and closed in which order at the end.

Start: state folder → lock → log → jobs → token → gRPC → queue → session file; from there on clients find it.
End (SIGTERM, SIGINT, Shutdown, or idle): session file → health → watches are told → the worker saves → gRPC → files.
The process loads neither torch nor an image library; a fault in a worker cannot reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from dflcore.errors import DflError
from dflcore.version import __version__
from dfldaemon.auth import TokenInterceptor, create_token, kept_token
from dfldaemon.discovery import (
    API_MINOR,
    PROTOCOL,
    REMOTE_TOKEN_NAME,
    SESSION_NAME,
    TOKEN_NAME,
    Session,
    process_identity,
    write_session,
)
from dfldaemon.folders import lock_state_folder, made_folders, private_folder, socket_path
from dfldaemon.frame_folders import pixel_folders
from dfldaemon.frame_requests import FrameOptions, FrameProcess
from dfldaemon.inbox import Inbox
from dfldaemon.jobs import JobState
from dfldaemon.listening import TCP, bind, named_address
from dfldaemon.logs import CallInterceptor, log_to_file
from dfldaemon.queries import QueryProcess
from dfldaemon.scheduler import Scheduler, SchedulerOptions
from dfldaemon.servicers.daemon import DaemonServicer
from dfldaemon.servicers.facesets import FacesetServicer
from dfldaemon.servicers.jobs import JobServicer
from dfldaemon.servicers.merging import MergeServicer
from dfldaemon.servicers.models import ModelServicer
from dfldaemon.servicers.storage import StorageServicer
from dfldaemon.settings import DaemonSettings
from dfldaemon.store import STORE_NAME, JobStore, StoreThread
from dfldaemon.supervisor import WorkerOptions
from dfldaemon.watching import Watchers
from dfldaemon.worker_protocol import WorkerLimits
from dflproto.v1 import (
    daemon_service_pb2_grpc,
    faceset_service_pb2_grpc,
    job_service_pb2_grpc,
    merge_service_pb2_grpc,
    model_service_pb2_grpc,
    storage_service_pb2_grpc,
)

logger = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-P", "-m", "dfldaemon.worker")
QUERY_COMMAND = (sys.executable, "-P", "-m", "dfldaemon.query_worker")
FRAME_COMMAND = (sys.executable, "-P", "-m", "dfldaemon.frame_worker")
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_STREAMS = 64
CALL_GRACE_S = 2.0
HOUSEKEEPING_INTERVAL_S = 3600.0
SERVICES = (
    "dflproto.v1.DaemonService",
    "dflproto.v1.JobService",
    "dflproto.v1.FacesetService",
    "dflproto.v1.ModelService",
    "dflproto.v1.MergeService",
    "dflproto.v1.StorageService",
)
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.so_reuseport", 0),  # two daemons on one port must be an error
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class Daemon:
    """The whole daemon in one object, so that tests can run it with workers of their own.

    Args:
        settings: where it lives and what it may do.
        worker_command, query_command, frame_command: programs of the worker processes.
    """

    def __init__(
        self,
        settings: DaemonSettings,
        *,
        worker_command: Sequence[str] = WORKER_COMMAND,
        query_command: Sequence[str] = QUERY_COMMAND,
        frame_command: Sequence[str] = FRAME_COMMAND,
    ) -> None:
        self.settings = settings
        self._worker_command = worker_command
        self._frame_command = frame_command
        self._ending = asyncio.Event()
        self._idle_clock = _IdleClock()
        self._watchers = Watchers()
        self._queries = QueryProcess(query_command)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # unknown to grpc-stubs

    def shut_down(self) -> None:
        """Start the orderly end."""
        self._ending.set()

    async def run(self) -> None:
        """Serve until told to end.

        Raises:
            Conflict: another daemon has this state folder, or a newer version wrote its jobs.
            InvalidInput: a folder cannot be used.
        """
        state = private_folder(self.settings.state_path)
        log_path = state / "logs" / "daemon.jsonl"
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(lock_state_folder(state))
            made_folders(self.settings.made_folder)
            stack.enter_context(log_to_file(log_path, self.settings.log_level))
            store = stack.enter_context(contextlib.closing(StoreThread(state / STORE_NAME)))
            stack.push_async_callback(self._queries.close)
            folders = stack.enter_context(pixel_folders(state))
            frames = FrameProcess(self._frame_options(folders), lambda: scheduler.is_busy)
            stack.push_async_callback(frames.close)
            scheduler = Scheduler(store, self._watchers, self._scheduler_options(state), make_room=frames.release)
            token = create_token(state / TOKEN_NAME)
            stack.callback((state / TOKEN_NAME).unlink, missing_ok=True)
            server, address, remote_address = self._listen(token, state)
            session = self._session(address, state, log_path)
            if remote_address:
                session = dataclasses.replace(
                    session, remote_address=remote_address, remote_token_path=str(state / REMOTE_TOKEN_NAME)
                )
            self._add_servicers(server, session, store, scheduler, frames)
            await server.start()
            stack.push_async_callback(server.stop, CALL_GRACE_S)
            await scheduler.start()
            stack.push_async_callback(scheduler.stop)
            stack.push_async_callback(self._announce_end)
            write_session(state, session)
            stack.callback((state / SESSION_NAME).unlink, missing_ok=True)
            await self._serve(store, scheduler, state, address)

    async def _serve(self, store: StoreThread, scheduler: Scheduler, state: Path, address: str) -> None:
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        logger.info("daemon started", extra={"address": address, "version": __version__, "pid": os.getpid()})
        helpers = [
            asyncio.create_task(self._leave_when_idle(store, scheduler)),
            asyncio.create_task(self._keep_house(store, state / "logs" / "jobs")),
        ]
        await self._ending.wait()
        logger.info("daemon ends")
        for helper in helpers:
            helper.cancel()

    async def _announce_end(self) -> None:
        await self._health.enter_graceful_shutdown()
        self._watchers.close()

    def _listen(self, token: str, state: Path) -> tuple[grpc.aio.Server, str, str]:
        """A server, its address for clients on this machine, and (else empty) the one named address it has besides.

        Without such an address it is bound to this machine only.
        """
        named = named_address(self.settings.listen, self.settings.tls_files)
        tokens = (token, kept_token(state / REMOTE_TOKEN_NAME)) if named else (token,)
        server = grpc.aio.server(
            migration_thread_pool=ThreadPoolExecutor(4, thread_name_prefix="bulk"),
            interceptors=[CallInterceptor(self._idle_clock.count), TokenInterceptor(*tokens)],
            options=CHANNEL_OPTIONS,
        )
        if self.settings.listen == TCP:
            credentials = grpc.local_server_credentials(grpc.LocalConnectionType.LOCAL_TCP)
            port = server.add_secure_port("127.0.0.1:0", credentials)
            return server, f"127.0.0.1:{port}", ""
        address = f"unix:{socket_path(Path(self.settings.runtime_dir), state)}"
        server.add_secure_port(address, grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
        return server, address, bind(server, named, self.settings.tls_files) if named else ""

    def _add_servicers(
        self,
        server: grpc.aio.Server,
        session: Session,
        store: StoreThread,
        scheduler: Scheduler,
        frames: FrameProcess,
    ) -> None:
        roots = self.settings.allowed_paths
        jobs = JobServicer(store, scheduler, self._watchers, roots)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
        daemon = DaemonServicer(session, store, self.shut_down)
        daemon_service_pb2_grpc.add_DaemonServiceServicer_to_server(daemon, server)
        faceset_service_pb2_grpc.add_FacesetServiceServicer_to_server(FacesetServicer(self._queries, roots), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(self._queries, roots), server)
        inbox = Inbox(self.settings.inbox_path, self.settings.inbox_gb)
        merging = MergeServicer(self._queries, frames, roots, inbox)
        merge_service_pb2_grpc.add_MergeServiceServicer_to_server(merging, server)
        storage = StorageServicer(store, inbox, self.settings.root_paths, self.settings.made_folder)
        storage_service_pb2_grpc.add_StorageServiceServicer_to_server(storage, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self.settings.reflection:
            from grpc_reflection.v1alpha import reflection  # costs start-up time, and few ask for it

            reflection.enable_server_reflection((*SERVICES, reflection.SERVICE_NAME, health.SERVICE_NAME), server)

    def _session(self, address: str, state: Path, log_path: Path) -> Session:
        pid = os.getpid()
        return Session(
            address=address,
            token_path=str(state / TOKEN_NAME),
            pid=pid,
            process_identity=process_identity(pid),
            protocol=PROTOCOL,
            api_minor=API_MINOR,
            software=__version__,
            roots=self.settings.allowed_paths,
            log_path=str(log_path),
            start_time=datetime.datetime.now(datetime.UTC).isoformat(),
            made_path=str(self.settings.made_folder),
        )

    def _worker_limits(self) -> WorkerLimits:
        settings = self.settings
        return WorkerLimits(
            threads=settings.worker_threads, weights=settings.weight_folders, roots=settings.allowed_paths
        )

    def _frame_options(self, folders: Sequence[Path]) -> FrameOptions:
        return FrameOptions(
            command=self._frame_command,
            folders=folders,
            limits=self._worker_limits(),
            idle_s=self.settings.frame_idle_s,
            cache_mb=self.settings.frame_cache_mb,
        )

    def _scheduler_options(self, state: Path) -> SchedulerOptions:
        settings = self.settings
        return SchedulerOptions(
            job_logs=state / "logs" / "jobs",
            roots=settings.allowed_paths,
            worker=WorkerOptions(
                command=self._worker_command,
                limits=self._worker_limits(),
                stop_grace_s=settings.stop_grace_s,
                hang_timeout_s=settings.hang_timeout_s,
                stall_timeout_s=settings.stall_timeout_s,
            ),
            max_attempts=settings.max_attempts,
            worker_retries=settings.worker_retries,
            max_queued=settings.max_queued,
        )

    async def _leave_when_idle(self, store: StoreThread, scheduler: Scheduler) -> None:
        limit = self.settings.idle_exit_s
        if limit is None:
            return
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            queued = await store.run(JobStore.count, JobState.QUEUED)
            if queued or scheduler.is_busy:
                self._idle_clock.reset()
            elif self._idle_clock.idle_s > limit:
                logger.info("daemon is idle", extra={"seconds": limit})
                self.shut_down()

    async def _keep_house(self, store: StoreThread, job_logs: Path) -> None:
        """Forget jobs that ended long ago, with their logs."""
        while True:
            before = time.time() - self.settings.retention_days * 86400.0
            try:
                for job_id in await store.run(JobStore.forget_ended, before):
                    (job_logs / f"{job_id}.log").unlink(missing_ok=True)
            except (DflError, OSError):
                logger.exception("old jobs could not be forgotten")
            await asyncio.sleep(HOUSEKEEPING_INTERVAL_S)


class _IdleClock:
    """Time since the last call ended."""

    def __init__(self) -> None:
        self._open_calls = 0
        self._since = time.monotonic()

    def count(self, change: int) -> None:
        """A call starts (+1) or ends (-1)."""
        self._open_calls += change
        self.reset()

    def reset(self) -> None:
        self._since = time.monotonic()

    @property
    def idle_s(self) -> float:
        return 0.0 if self._open_calls else time.monotonic() - self._since


async def serve(daemon: Daemon) -> None:
    """Run a daemon until it ends or the process is asked to. Raises as :meth:`Daemon.run`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.shut_down)
    await daemon.run()
