"""The daemon's log: one JSON object per line, rotated; every call with its outcome, and no secrets."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio

from dflcore.errors import DflError, Internal
from dfldaemon.errors import abort_with, status_code
from dfldaemon.grpc_types import Context, Continuation, Handler, Interceptor

logger = logging.getLogger(__name__)

LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 5
QUIET_PREFIXES = ("Get", "List", "Watch", "Describe", "Check", "MergeFrame", "PutChunk")
"""Methods that only look, or do a small part of something; they are called again and again, so their success is logged
at debug level."""
_OWN_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class JsonLines(logging.Formatter):
    """time, level, logger, message, the fields given as ``extra``, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _OWN_FIELDS}
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


@contextlib.contextmanager
def log_to_file(path: Path, level: str) -> Iterator[None]:
    """Send this process's log to a rotating file of mode 0600."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
    )
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    level_before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.setLevel(level_before)
        root.removeHandler(handler)
        handler.close()


class CallInterceptor(Interceptor):
    """The edge of every call: logs it, and turns what it raised into a status.

    A :class:`DflError` becomes its row of the table. Anything else is a defect: it is logged with its traceback, and
    the caller is told where to look, not what the stack was.

    Args:
        on_call: told of every call, for the daemon's idle clock; entered at its start, left at its end.
    """

    def __init__(self, on_call: Callable[[int], None]) -> None:
        self._on_call = on_call

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method or ""
        if handler is None or handler.request_streaming or not method.startswith("/dflproto."):
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(cast("Callable[[Any, Context], AsyncIterator[Any]]", handler.unary_stream), method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(cast("Callable[[Any, Context], Awaitable[Any]]", handler.unary_unary), method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, inner: Callable[[Any, Context], Awaitable[Any]], method: str) -> Callable[[Any, Context], Any]:
        async def call(request: object, context: Context) -> object:
            async with _Edge(self._on_call, method, context):
                return await inner(request, context)

        return call

    def _streaming(
        self, inner: Callable[[Any, Context], AsyncIterator[Any]], method: str
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def call(request: object, context: Context) -> AsyncIterator[object]:
            async with _Edge(self._on_call, method, context):
                async for response in inner(request, context):
                    yield response

        return call


class _Edge:
    """Around one call: see :class:`CallInterceptor`."""

    def __init__(self, on_call: Callable[[int], None], method: str, context: Context) -> None:
        self._on_call = on_call
        self._method = method
        self._context = context
        self._started = time.monotonic()

    async def __aenter__(self) -> None:
        self._on_call(+1)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._on_call(-1)
        if isinstance(error, DflError):
            self._log(logging.INFO, status_code(error).name, reason=error.reason)
            await abort_with(self._context, error)
        elif isinstance(error, grpc.aio.AbortError):
            self._log(logging.INFO, "ABORTED_BY_SERVER")
        elif isinstance(error, Exception):
            logger.error("a call failed", exc_info=error, extra={"method": self._method})
            defect = Internal("The daemon failed in an unexpected way; its log has the details. Please report it.")
            await abort_with(self._context, defect)
        elif error is None:
            is_quiet = self._method.rpartition("/")[2].startswith(QUIET_PREFIXES)
            self._log(logging.DEBUG if is_quiet else logging.INFO, "OK")

    def _log(self, level: int, outcome: str, **fields: object) -> None:
        milliseconds = round(1000 * (time.monotonic() - self._started), 1)
        logger.log(level, "call", extra={"method": self._method, "outcome": outcome, "ms": milliseconds, **fields})
