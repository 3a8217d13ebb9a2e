"""MergeService: asked of the query process, as it needs image libraries."""

from __future__ import annotations

from collections.abc import Sequence

from dfldaemon.grpc_types import Context
from dfldaemon.queries import QueryProcess
from dfldaemon.submission import check_path
from dflproto.v1 import merge_service_pb2 as wire
from dflproto.v1 import merge_service_pb2_grpc


class MergeServicer(merge_service_pb2_grpc.MergeServiceServicer):
    """What merging can write and has written. ``roots`` are the folders that paths may lie in."""

    def __init__(self, queries: QueryProcess, roots: Sequence[str]) -> None:
        self._queries = queries
        self._roots = roots

    async def ListLayers(self, request: wire.ListLayersRequest, context: Context) -> wire.ListLayersResponse:
        return await self._queries.ask("layers", wire.ListLayersResponse)

    async def GetMergeOutput(
        self, request: wire.GetMergeOutputRequest, context: Context
    ) -> wire.GetMergeOutputResponse:
        path = check_path(request.output_path, "output_path", self._roots)
        return await self._queries.ask("output", wire.GetMergeOutputResponse, output=path)
