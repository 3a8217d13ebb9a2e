"""A gRPC server with awkward habits, for the hosts' transport: in this process, or ``awkward_server.py <address>``."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

SERVICE = "test.Awkward"
TOKEN = "s3cret"
MESSAGE = "Bild № 7 – „größer“ als 100 % 🎬\nzweite Zeile"
DEFAULT_OPTIONS = (("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20))


class Awkward:
    """What the methods do. ``cancelled`` is set when a client gives up a call of ``forever``."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.ending = threading.Event()
        self.seen: list[dict[str, str]] = []

    def echo(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.seen.append({key: str(value) for key, value in context.invocation_metadata()})
        return request

    def size(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return str(len(request)).encode()

    def make(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return b"x" * int(request)

    def many(self, request: bytes, context: grpc.ServicerContext):  # type: ignore[no-untyped-def]
        count, size = map(int, request.split())
        for number in range(count):
            yield number.to_bytes(4, "big") + bytes(size - 4)

    def fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        info = any_pb2.Any()
        info.Pack(error_details_pb2.ErrorInfo(reason="NO_FACE_FOUND", domain="dfl", metadata={"frame": "7"}))
        status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message=MESSAGE, details=[info])
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError

    def fail_late(self, request: bytes, context: grpc.ServicerContext):  # type: ignore[no-untyped-def]
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.DATA_LOSS, MESSAGE)

    def slow(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        time.sleep(float(request))
        return b"late"

    def forever(self, request: bytes, context: grpc.ServicerContext):  # type: ignore[no-untyped-def]
        context.add_callback(self.cancelled.set)
        number = 0
        while context.is_active() and not self.ending.is_set():
            yield str(number).encode()
            number += 1
            time.sleep(0.01)

    def secret(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        given = dict(context.invocation_metadata()).get("authorization")
        if given != f"Bearer {TOKEN}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "The token is not this daemon's.")
        return b"open"


def start(
    address: str, credentials: grpc.ServerCredentials | None = None, options: tuple[tuple[str, int], ...] = ()
) -> tuple[grpc.Server, Awkward, int]:
    """A running server, what it does, and its port."""
    awkward = Awkward()
    streams = {"many", "forever", "fail_late"}
    handlers = {}
    for name in ("echo", "size", "make", "many", "fail", "fail_late", "slow", "forever", "secret"):
        make = grpc.unary_stream_rpc_method_handler if name in streams else grpc.unary_unary_rpc_method_handler
        handlers[name] = make(getattr(awkward, name))
    server = grpc.server(ThreadPoolExecutor(8), options=(*DEFAULT_OPTIONS, *options))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    return server, awkward, port


if __name__ == "__main__":
    kept = start(sys.argv[1])  # a server that nobody holds ends
    print(kept[2], flush=True)
    threading.Event().wait()
