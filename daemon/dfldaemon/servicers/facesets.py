"""FacesetService: asked of the query process, as it needs image libraries."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dfldaemon.convert import correction_from_message
from dfldaemon.grpc_types import Context
from dfldaemon.queries import QueryProcess
from dfldaemon.servicers.jobs import page_size
from dfldaemon.submission import check_path
from dflproto.v1 import faceset_service_pb2 as wire
from dflproto.v1 import faceset_service_pb2_grpc

DEFAULT_PAGE = 1000
MAX_PAGE = 10_000


class FacesetServicer(faceset_service_pb2_grpc.FacesetServiceServicer):
    """Looking into facesets. ``roots`` are the folders that paths may lie in."""

    def __init__(self, queries: QueryProcess, roots: Sequence[str]) -> None:
        self._queries = queries
        self._roots = roots

    async def GetFaceset(self, request: wire.GetFacesetRequest, context: Context) -> wire.GetFacesetResponse:
        path = check_path(request.path, "path", self._roots)
        return await self._queries.ask("faceset", wire.GetFacesetResponse, path=path)

    async def ListFaces(self, request: wire.ListFacesRequest, context: Context) -> wire.ListFacesResponse:
        path = check_path(request.path, "path", self._roots)
        size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        return await self._queries.ask(
            "faces",
            wire.ListFacesResponse,
            path=path,
            size=size,
            page_token=request.page_token,
            where=request.where,
            sort_by=request.sort_by,
            reverse=int(request.reverse),
            view=request.view,
        )

    async def ListTracks(self, request: wire.ListTracksRequest, context: Context) -> wire.ListTracksResponse:
        path = check_path(request.path, "path", self._roots)
        return await self._queries.ask("tracks", wire.ListTracksResponse, path=path)

    async def DescribeCuration(
        self, request: wire.DescribeCurationRequest, context: Context
    ) -> wire.DescribeCurationResponse:
        return await self._queries.ask("curation", wire.DescribeCurationResponse)

    async def CorrectFaces(self, request: wire.CorrectFacesRequest, context: Context) -> wire.CorrectFacesResponse:
        path = check_path(request.path, "path", self._roots)
        return await self._queries.ask(
            "correct",
            wire.CorrectFacesResponse,
            path=path,
            plate=request.plate,
            corrections=json.dumps([correction_from_message(one) for one in request.corrections]),
            add=int(request.add),
            forget=json.dumps(list(request.forget_frames)),
        )

    async def ListCorrections(
        self, request: wire.ListCorrectionsRequest, context: Context
    ) -> wire.ListCorrectionsResponse:
        path = check_path(request.path, "path", self._roots)
        return await self._queries.ask("corrections", wire.ListCorrectionsResponse, path=path, plate=request.plate)
