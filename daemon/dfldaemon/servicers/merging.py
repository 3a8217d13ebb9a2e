"""MergeService: asked of processes that may load image libraries and torch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc

from dfldaemon.errors import abort_with
from dfldaemon.frame_requests import FrameProcess, FrameWorkerLost, check_request
from dfldaemon.frame_slots import iterate_slot
from dfldaemon.grpc_types import Context
from dfldaemon.inbox import Inbox
from dfldaemon.queries import QueryProcess
from dfldaemon.servicers.jobs import page_size
from dfldaemon.submission import check_path
from dflproto.v1 import merge_service_pb2 as wire
from dflproto.v1 import merge_service_pb2_grpc

CHUNK_BYTES = 1 << 20
"""Of a stream: larger and smaller ones are slower."""
MAX_PAGE = 10_000
"""Frames of an output in one answer."""


class MergeServicer(merge_service_pb2_grpc.MergeServiceServicer):
    """What merging can write and has written, and single frames. ``roots`` are the folders that paths may lie in."""

    def __init__(
        self, queries: QueryProcess, frames: FrameProcess, roots: Sequence[str], inbox: Inbox | None = None
    ) -> None:
        self._queries = queries
        self._frames = frames
        self._roots = roots
        self._inbox = inbox

    async def MergeFrame(
        self, request: wire.MergeFrameRequest, context: Context
    ) -> AsyncIterator[wire.MergeFrameResponse]:
        settings = await asyncio.to_thread(check_request, request, self._roots)
        if self._inbox is not None:  # what frames are asked of one by one is in use
            self._inbox.touch(request.plate_path, request.model_path, request.faceset_path)
        is_shared = request.road == wire.PIXEL_ROAD_SHARED_MEMORY
        try:
            async with self._frames.order(request, settings) as order:
                slot, header = order.slot, order.header
                if slot is not None and is_shared:
                    header.path, header.offset_bytes, header.generation = slot.path, slot.offset, slot.generation
                yield wire.MergeFrameResponse(header=header)
                if slot is not None and not is_shared:
                    for chunk in iterate_slot(slot, CHUNK_BYTES):
                        order.check()
                        yield wire.MergeFrameResponse(chunk=chunk)
        except FrameWorkerLost as error:
            await abort_with(context, error, grpc.StatusCode.UNAVAILABLE)

    async def ListLayers(self, request: wire.ListLayersRequest, context: Context) -> wire.ListLayersResponse:
        return await self._queries.ask("layers", wire.ListLayersResponse)

    async def GetMergeOutput(
        self, request: wire.GetMergeOutputRequest, context: Context
    ) -> wire.GetMergeOutputResponse:
        path = check_path(request.output_path, "output_path", self._roots)
        size = page_size(request.page_size, MAX_PAGE if request.page_token else 0, MAX_PAGE)
        return await self._queries.ask(
            "output", wire.GetMergeOutputResponse, output=path, size=size, page_token=request.page_token
        )
