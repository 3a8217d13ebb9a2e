"""StorageService: files that come into the inbox, and what lies on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from dflcore.errors import DflError, InvalidInput
from dfldaemon.convert import timestamp, work_from_spec
from dfldaemon.grpc_types import Context
from dfldaemon.inbox import Inbox
from dfldaemon.inbox_names import AnnouncedFile
from dfldaemon.jobs import Job, JobState
from dfldaemon.known_folders import FolderKind, find_folders
from dfldaemon.made_files import read_piece
from dfldaemon.servicers.jobs import page_size
from dfldaemon.store import JobStore, StoreThread
from dflproto.v1 import job_service_pb2, storage_service_pb2_grpc
from dflproto.v1 import storage_service_pb2 as wire

OPEN_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)
MAX_JOBS = 1000
"""Of the newest, whose folders are offered."""
DEFAULT_COUNT = 200
MAX_COUNT = 1000
ALL_JOBS = 10_000_000
KINDS = {wire.FOLDER_KIND_MODEL: FolderKind.MODEL, wire.FOLDER_KIND_FACESET: FolderKind.FACESET}


class StorageServicer(storage_service_pb2_grpc.StorageServiceServicer):
    """``roots`` and ``made`` are the folders that are looked through; the inbox is known besides."""

    def __init__(self, store: StoreThread, inbox: Inbox, roots: Sequence[str], made: Path) -> None:
        self._store = store
        self._inbox = inbox
        self._made = made
        self._roots = (str(made), *roots)

    async def OpenSet(self, request: wire.OpenSetRequest, context: Context) -> wire.OpenSetResponse:
        jobs = await self._store.run(JobStore.list_jobs, states=OPEN_STATES, limit=ALL_JOBS)
        specs = b"\0".join(job.spec for job in jobs)

        def is_used(root: Path) -> bool:
            return os.fsencode(root) in specs  # whichever field or setting names it

        files = [AnnouncedFile(file.name, file.size_bytes, file.sha256) for file in request.files]
        opened = await asyncio.to_thread(self._inbox.open, request.name, files, is_used)
        missing = [wire.MissingFile(index=one.index, received_bytes=one.received) for one in opened.missing]
        return wire.OpenSetResponse(set_id=opened.id, path=str(opened.path), missing=missing)

    async def PutChunk(self, request: wire.PutChunkRequest, context: Context) -> wire.PutChunkResponse:
        received, is_whole = await asyncio.to_thread(
            self._inbox.put, request.set_id, request.name, request.offset_bytes, request.data
        )
        return wire.PutChunkResponse(received_bytes=received, complete=is_whole)

    async def GetChunk(self, request: wire.GetChunkRequest, context: Context) -> wire.GetChunkResponse:
        allowed = (*self._roots, str(self._inbox.folder))
        piece = await asyncio.to_thread(read_piece, request.path, request.offset_bytes, allowed, self._made)
        return wire.GetChunkResponse(data=piece.data, size_bytes=piece.size, stamp=piece.stamp)

    async def ListFolders(self, request: wire.ListFoldersRequest, context: Context) -> wire.ListFoldersResponse:
        kind = KINDS.get(request.kind)
        if kind is None:
            raise InvalidInput("kind must be MODEL or FACESET.", reason="BAD_KIND", field="kind")
        count = page_size(request.max_count, DEFAULT_COUNT, MAX_COUNT)
        jobs = await self._store.run(JobStore.list_jobs, limit=MAX_JOBS)
        return await asyncio.to_thread(self._list, kind, jobs, count)

    def _list(self, kind: FolderKind, jobs: Sequence[Job], count: int) -> wire.ListFoldersResponse:
        known = [*_named_by(jobs), *map(str, self._inbox.folders())]
        allowed = (*self._roots, str(self._inbox.folder))
        found, more = find_folders(kind, known, self._roots, allowed, count)
        folders = [
            wire.Folder(
                path=folder.path,
                change_time=timestamp(folder.changed),
                in_inbox=folder.path in self._inbox,
            )
            for folder in found
        ]
        return wire.ListFoldersResponse(folders=folders, more=more)


def _named_by(jobs: Sequence[Job]) -> Iterator[str]:
    """Paths that jobs read and wrote."""
    for job in jobs:
        try:
            work = work_from_spec(job_service_pb2.JobSpec.FromString(job.spec))
        except (DecodeError, DflError):  # a job of another version is no reason not to answer
            continue
        yield from (os.path.normpath(path) for path in work.paths.values() if path)
