"""Calls to one daemon, wherever it is at the moment: a connection is made when a call needs one, and made again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

from . import status
from .connection import MAX_MESSAGE_BYTES, Connection, Stream
from .link import Security, open_link, parse_address
from .status import CallError

CONNECT_TIMEOUT_S = 5.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 1.0
"""Between two attempts to connect: growing, with some chance in it."""
ATTEMPTS = 3
"""Of a call that the server did not look at, because it was ending."""
FOREVER_S = 365 * 86400.0
Metadata = Mapping[str, str]


class Call:
    """A call that is answered by a stream: an iterator of messages. Any thread may cancel it."""

    def __init__(self, connection: Connection, stream: Stream, end: float) -> None:
        self._connection = connection
        self._stream = stream
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Raises CallError, after the last message that came in order."""
        message = self._connection.next_message(self._stream, self._end)
        if message is None:
            raise StopIteration
        return message

    def __enter__(self) -> Call:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Nobody wants the rest; whoever waits for a message gets CANCELLED."""
        self._connection.cancel(self._stream)

    @property
    def headers(self) -> Mapping[str, str]:
        """What the server sent before its first message."""
        return self._stream.headers

    @property
    def trailers(self) -> Mapping[str, str]:
        """What the server sent at the end."""
        return self._stream.trailers or self._stream.headers


class Channel:
    """Makes calls. Any thread may use it; it has one thread of its own while it is connected.

    Args:
        locate: the daemon's address and token (empty for none), asked before every connection, since a daemon that was
            started again may have others. Whatever it raises goes to the caller.
        security: of a connection to another machine.
        user_agent: shows in the server's log.
    """

    def __init__(
        self, locate: Callable[[], tuple[str, str]], security: Security | None = None, user_agent: str = "dflhost"
    ) -> None:
        self._locate = locate
        self._security = security or Security()
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._drained: list[Connection] = []
        self._token = ""
        self._pause_s = FIRST_PAUSE_S
        self._not_before = 0.0
        self._is_closed = False
        self._closing = threading.Event()
        self._close_lock = threading.Lock()

    def unary(self, path: str, request: bytes, *, deadline_s: float, metadata: Metadata | None = None) -> bytes:
        """One question, one answer.

        Args:
            path: ``/package.Service/Method``.

        Raises:
            CallError: the call failed. OSError, ValueError: nobody could be reached.
        """
        end = time.monotonic() + deadline_s
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask(path, request, end, metadata)
            except CallError as error:
                if not error.was_refused or attempt == ATTEMPTS:
                    raise  # only what the server has not looked at is asked again
        raise CallError(status.INTERNAL, "no attempt was made")

    def _ask(self, path: str, request: bytes, end: float, metadata: Metadata | None) -> bytes:
        left = max(end - time.monotonic(), 0.001)
        with self.stream(path, request, deadline_s=left, metadata=metadata) as call:
            answer = next(call, None)
            if answer is None or next(call, None) is not None:
                raise CallError(status.INTERNAL, "the server did not answer with exactly one message")
            return answer

    def stream(
        self, path: str, request: bytes, *, deadline_s: float | None = None, metadata: Metadata | None = None
    ) -> Call:
        """One question, a stream of answers. Raises as :meth:`unary`, here or while it is read."""
        if len(request) > MAX_MESSAGE_BYTES:
            raise CallError(
                status.RESOURCE_EXHAUSTED, f"a question of {len(request)} bytes is too large", is_local=True
            )
        end = time.monotonic() + (FOREVER_S if deadline_s is None else deadline_s)
        for attempt in range(1, ATTEMPTS + 1):
            connection, token = self._connected(end)
            headers = self._headers(connection, path, token, None if deadline_s is None else end, metadata or {})
            try:
                return Call(connection, connection.open(headers, request, end), end)
            except CallError as error:
                if not error.was_refused or attempt == ATTEMPTS:
                    raise
        raise CallError(status.INTERNAL, "no attempt was made")

    def disconnect(self) -> None:
        """Forget the connection, for example because its token is no longer good; the next call makes another."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """End all calls and the thread. No call can be made afterwards."""
        self._is_closed = True
        self._closing.set()
        with self._close_lock:  # whoever comes second waits for the first
            self.disconnect()
            with self._lock:
                drained, self._drained = self._drained, []
            for connection in drained:
                connection.close()

    def _connected(self, end: float) -> tuple[Connection, str]:
        with self._lock:
            if self._is_closed:
                raise CallError(status.CANCELLED, "the channel is closed", is_local=True)
            if self._connection is not None and self._connection.is_usable:
                return self._connection, self._token
            if self._connection is not None:
                self._drained.append(self._connection)
                self._connection = None
            self._drained = [one for one in self._drained if one.is_open]
            pause = min(self._not_before, end) - time.monotonic()
            if pause > 0:
                self._closing.wait(pause)
            try:
                address, self._token = self._locate()
                self._connection = self._connect(address, max(end - time.monotonic(), 0.05))
            except Exception:
                self._not_before = time.monotonic() + self._pause_s * random.uniform(0.8, 1.2)
                self._pause_s = min(self._pause_s * 1.6, MAX_PAUSE_S)
                raise
            self._pause_s, self._not_before = FIRST_PAUSE_S, 0.0
            if self._is_closed:
                connection, self._connection = self._connection, None
                connection.close()
                raise CallError(status.CANCELLED, "the channel is closed", is_local=True)
            return self._connection, self._token

    def _connect(self, address: str, timeout_s: float) -> Connection:
        link = open_link(address, self._security, min(timeout_s, CONNECT_TIMEOUT_S))
        path, _, _ = parse_address(address)
        return Connection(link, "localhost" if path else address, "https" if self._security.ca_path else "http")

    def _headers(
        self, connection: Connection, path: str, token: str, end: float | None, metadata: Metadata
    ) -> list[tuple[str, str]]:
        headers = [
            (":method", "POST"),
            (":scheme", connection.scheme),
            (":path", path),
            (":authority", connection.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc+proto"),
            ("user-agent", self._user_agent),
        ]
        if end is not None:
            headers.insert(4, ("grpc-timeout", f"{min(max(int((end - time.monotonic()) * 1000), 1), 99_999_999)}m"))
        if token:
            headers.append(("authorization", f"Bearer {token}"))
        return headers + list(metadata.items())
