"""JobService: convert, look before taking, hand over to the scheduler, convert back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

import grpc

from dflcore.errors import InvalidInput, Unsupported
from dfldaemon.convert import event_to_message, job_to_message, spec_from_work, state_from_message, work_from_spec
from dfldaemon.errors import abort_with
from dfldaemon.grpc_types import Context
from dfldaemon.jobs import JobKind, StateChange, Work
from dfldaemon.scheduler import Scheduler
from dfldaemon.store import JobStore, StoreThread
from dfldaemon.submission import check_plate, check_request_id, check_work_paths, folder_missing, needed_folders
from dfldaemon.watching import Watchers
from dflproto.v1 import job_service_pb2 as wire
from dflproto.v1 import job_service_pb2_grpc

DEFAULT_PAGE = 100
MAX_PAGE = 1000
EVENT_BATCH = 500


class JobServicer(job_service_pb2_grpc.JobServiceServicer):
    """Long work. ``roots`` are the folders that paths may lie in."""

    def __init__(self, store: StoreThread, scheduler: Scheduler, watchers: Watchers, roots: Sequence[str]) -> None:
        self._store = store
        self._scheduler = scheduler
        self._watchers = watchers
        self._roots = roots

    async def SubmitJob(self, request: wire.SubmitJobRequest, context: Context) -> wire.SubmitJobResponse:
        check_request_id(request.request_id)
        work = work_from_spec(request.spec)
        known = await self._store.run(JobStore.find_request, request.request_id)
        if known is None:
            await asyncio.to_thread(check_work_paths, work, self._roots)
            await self._check_inputs(work)
            known = await self._scheduler.submit(
                kind=work.kind,
                spec=spec_from_work(work).SerializeToString(),
                output=os.path.normpath(work.output),
                request_id=request.request_id,
            )
        return wire.SubmitJobResponse(job=job_to_message(known))

    async def GetJob(self, request: wire.GetJobRequest, context: Context) -> wire.GetJobResponse:
        return wire.GetJobResponse(job=job_to_message(await self._store.run(JobStore.get, request.id)))

    async def ListJobs(self, request: wire.ListJobsRequest, context: Context) -> wire.ListJobsResponse:
        size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        states = [state_from_message(state) for state in request.states]
        before = None if not request.page_token else _page_token(request.page_token)
        jobs = await self._store.run(JobStore.list_jobs, states=states, before=before, limit=size + 1)
        page, token = jobs[:size], str(jobs[size - 1].number) if len(jobs) > size else ""
        return wire.ListJobsResponse(jobs=map(job_to_message, page), next_page_token=token)

    async def WatchJob(self, request: wire.WatchJobRequest, context: Context) -> AsyncIterator[wire.WatchJobResponse]:
        sent = request.after_sequence
        with self._watchers.watch(request.id) as watcher:
            while True:
                job, events = await self._store.run(JobStore.events_after, request.id, sent, EVENT_BATCH)
                for event in events:
                    yield wire.WatchJobResponse(event=event_to_message(event))
                sent = events[-1].sequence if events else min(sent, job.last_sequence)
                if len(events) == EVENT_BATCH:
                    continue
                if job.state.is_ended:
                    return
                async for event in watcher.events(after=sent):
                    yield wire.WatchJobResponse(event=event_to_message(event))
                    sent = event.sequence
                    if isinstance(event.body, StateChange) and event.body.state.is_ended:
                        return
                if watcher.is_closed:
                    stopping = Unsupported("The daemon is shutting down; watch again.", reason="DAEMON_STOPPING")
                    await abort_with(context, stopping, grpc.StatusCode.UNAVAILABLE)

    async def CancelJob(self, request: wire.CancelJobRequest, context: Context) -> wire.CancelJobResponse:
        return wire.CancelJobResponse(job=job_to_message(await self._scheduler.cancel(request.id)))

    async def PauseJob(self, request: wire.PauseJobRequest, context: Context) -> wire.PauseJobResponse:
        return wire.PauseJobResponse(job=job_to_message(await self._scheduler.pause(request.id)))

    async def ResumeJob(self, request: wire.ResumeJobRequest, context: Context) -> wire.ResumeJobResponse:
        return wire.ResumeJobResponse(job=job_to_message(await self._scheduler.resume(request.id)))

    async def RetryJob(self, request: wire.RetryJobRequest, context: Context) -> wire.RetryJobResponse:
        return wire.RetryJobResponse(job=job_to_message(await self._scheduler.retry(request.id)))

    async def _check_inputs(self, work: Work) -> None:
        """Raises NotFound when something the job reads is not there and no waiting job will make it."""
        for path, makers in await asyncio.to_thread(needed_folders, work):
            awaited = [await self._store.run(JobStore.is_awaited, maker, path) for maker in makers]
            if not any(awaited):
                raise folder_missing(path, makers)
        plate = os.path.normpath(work.paths.get("plate", ""))
        if not await self._store.run(JobStore.is_awaited, JobKind.MERGE, plate):
            await asyncio.to_thread(check_plate, work)


def page_size(asked: int, default: int, maximum: int) -> int:
    """Entries of a page; 0 means the default. Raises InvalidInput below 0; more than the maximum is cut."""
    if asked < 0:
        raise InvalidInput(f"page_size = {asked} must be 0 or more.", reason="BAD_PAGE", field="page_size")
    return min(asked or default, maximum)


def _page_token(token: str) -> int:
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise InvalidInput(
            "page_token is not one this daemon gave out; start at the first page.",
            reason="BAD_PAGE",
            field="page_token",
        )
    return int(token)
