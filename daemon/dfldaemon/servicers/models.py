"""ModelService: asked of the query process, as it needs torch."""

from __future__ import annotations

from collections.abc import Sequence

from dfldaemon.grpc_types import Context
from dfldaemon.queries import QueryProcess
from dfldaemon.submission import check_path
from dflproto.v1 import model_service_pb2 as wire
from dflproto.v1 import model_service_pb2_grpc


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """Looking into models. ``roots`` are the folders that paths may lie in."""

    def __init__(self, queries: QueryProcess, roots: Sequence[str]) -> None:
        self._queries = queries
        self._roots = roots

    async def GetModel(self, request: wire.GetModelRequest, context: Context) -> wire.GetModelResponse:
        path = check_path(request.path, "path", self._roots)
        return await self._queries.ask("model", wire.GetModelResponse, path=path)

    async def ListPresets(self, request: wire.ListPresetsRequest, context: Context) -> wire.ListPresetsResponse:
        return await self._queries.ask("presets", wire.ListPresetsResponse)
