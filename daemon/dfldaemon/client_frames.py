"""Single frames as the client fetches them, by whichever road the request names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import grpc

from dflcore.errors import Internal
from dfldaemon.client_calls import call_metadata, translate
from dfldaemon.frame_slots import SlotReference, read_slot, room_for
from dflproto.v1 import merge_service_pb2, merge_service_pb2_grpc

FRAME_DEADLINE_S = 120.0
"""For a single frame: the first one loads the model."""


@dataclass(frozen=True, slots=True)
class FramePicture:
    """One merged frame: what it is, and its bytes as asked for; none where the daemon wrote a file."""

    header: merge_service_pb2.FrameHeader
    data: memoryview


def fetch_frame(
    channel: grpc.Channel,
    address: str,
    request: merge_service_pb2.MergeFrameRequest,
    *,
    deadline_s: float = FRAME_DEADLINE_S,
    into: bytearray | None = None,
) -> FramePicture:
    """Have one frame rendered, and fetch it by the road the request names.

    Another thread may ask meanwhile, with a client of its own: see ``MergeFrameRequest.client_key``.

    Args:
        address: of the daemon, for messages.
        into: memory for the bytes, used where it is large enough; the picture's data is then a view of it.

    Raises:
        Cancelled: a newer request of the same client key has come (reason ``SUPERSEDED``).
        Internal: the process that renders was lost (reason ``FRAME_WORKER_LOST``); ask again.
        DflError: whatever rendering raised, and as every call of :class:`dfldaemon.client.DaemonClient`.
    """
    stub = cast(Any, merge_service_pb2_grpc).MergeServiceStub(channel)
    try:
        answers = stub.MergeFrame(request, timeout=deadline_s, metadata=call_metadata())
        first = next(answers, None)
        if first is None:
            raise Internal("The daemon answered a frame without its header; please report it.", reason="NO_HEADER")
        header = first.header
        if request.road == merge_service_pb2.PIXEL_ROAD_SHARED_MEMORY:
            slot = SlotReference(header.path, header.offset_bytes, header.size_bytes, header.generation)
            data = read_slot(slot, into)
        else:
            is_file = request.road == merge_service_pb2.PIXEL_ROAD_PATH
            data = room_for(0 if is_file else header.size_bytes, into)
        position = 0
        for answer in answers:
            data[position : position + len(answer.chunk)] = answer.chunk
            position += len(answer.chunk)
    except grpc.RpcError as error:
        raise translate(error, address) from error
    return FramePicture(header, data)
