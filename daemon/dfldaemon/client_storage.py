"""Files sent to a daemon that sees none of this machine's disks, and the folders it offers, through grpcio."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import grpc

from dflcore.errors import InvalidInput
from dfldaemon.client_calls import call_metadata, translate
from dflproto.v1 import storage_service_pb2, storage_service_pb2_grpc

CHUNK_BYTES = 1 << 20
DEADLINE_S = 120.0
"""Of one call: the other side may hash a large file again, or make room."""


def send_files(
    channel: grpc.Channel,
    address: str,
    name: str,
    files: Mapping[str, Path],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Send what the daemon lacks of a set; answers with its folder over there. Sending again goes on.

    Args:
        address: of the daemon, for messages.
        name: of the folder over there. files: name in it → file here.
        progress: told of bytes done and all bytes, after every chunk.

    Raises:
        InvalidInput: a file cannot be read, or has become shorter.
        DflError: whatever the daemon raised, and as every call of :class:`dfldaemon.client.DaemonClient`.
    """
    stub = cast(Any, storage_service_pb2_grpc).StorageServiceStub(channel)
    try:
        facts = [_announced(inside, path) for inside, path in files.items()]
        request = storage_service_pb2.OpenSetRequest(name=name, files=facts)
        opened = stub.OpenSet(request, timeout=DEADLINE_S, metadata=call_metadata())
        total = sum(fact.size_bytes for fact in facts)
        done = total - sum(facts[one.index].size_bytes - one.received_bytes for one in opened.missing)
        progress(done, total)
        for one in opened.missing:
            inside, place, is_whole = facts[one.index].name, one.received_bytes, False
            with open(files[inside], "rb") as file:
                while not is_whole:
                    file.seek(place)
                    data = file.read(CHUNK_BYTES)
                    if not data and place < facts[one.index].size_bytes:
                        raise InvalidInput(f"{files[inside]} has become shorter; send it again.", reason="FILE_CHANGED")
                    put = storage_service_pb2.PutChunkRequest(
                        set_id=opened.set_id, name=inside, offset_bytes=place, data=data
                    )
                    answer = stub.PutChunk(put, timeout=DEADLINE_S, metadata=call_metadata())
                    done += answer.received_bytes - place
                    place, is_whole = answer.received_bytes, answer.complete
                    progress(done, total)
    except grpc.RpcError as error:
        raise translate(error, address) from error
    except OSError as error:
        raise InvalidInput(f"A file cannot be read: {error}.", reason="FILE_NOT_READABLE") from error
    return str(opened.path)


def list_folders(channel: grpc.Channel, address: str, kind: str) -> list[storage_service_pb2.Folder]:
    """Models (``model``) or facesets (``faceset``) of the daemon, last changed first. Raises DflError."""
    stub = cast(Any, storage_service_pb2_grpc).StorageServiceStub(channel)
    wanted = storage_service_pb2.FolderKind.Value(f"FOLDER_KIND_{kind.upper()}")
    request = storage_service_pb2.ListFoldersRequest(kind=cast(Any, wanted))
    try:
        return list(stub.ListFolders(request, timeout=DEADLINE_S, metadata=call_metadata()).folders)
    except grpc.RpcError as error:
        raise translate(error, address) from error


def _announced(name: str, path: Path) -> storage_service_pb2.SetFile:
    """Raises OSError."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        return storage_service_pb2.SetFile(name=name, size_bytes=file.tell(), sha256=digest)
