"""One HTTP/2 connection: a thread reads, any thread calls.

Locks: ``_lock`` guards the state of h2 and of the streams and is never held while a byte is sent; ``_send_lock`` keeps
what h2 has produced in order on the way out. Who takes both takes ``_send_lock`` first.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable

from . import status
from .goaway import GoAway, GoAwayFilter
from .http2 import (
    DataReceived,
    ErrorCodes,
    Event,
    H2Configuration,
    H2Connection,
    ProtocolError,
    ResponseReceived,
    SettingCodes,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from .link import Link
from .status import CallError

STREAM_WINDOW_BYTES = 4 << 20
CONNECTION_WINDOW_BYTES = 16 << 20
FRAME_BYTES = 1 << 17
"""Largest frame the server may send: measured, both many small ones and few huge ones cost Python more."""
MAX_MESSAGE_BYTES = 8 << 20
KEEPALIVE_IDLE_S = 30.0
"""While a call is open and nothing comes for so long, the server is asked whether it lives."""
KEEPALIVE_PATIENCE_S = 10.0
TICK_S = 2.0
_PREFIX_BYTES = 5

Headers = Iterable["tuple[str, str]"]


class Stream:
    """One call on a connection. Fields are guarded by the connection's lock."""

    def __init__(self, lock: threading.Lock) -> None:
        self.id = 0
        self.changed = threading.Condition(lock)
        self.headers: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.messages: deque[bytes] = deque()
        self.is_ended = False
        self.error: CallError | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted: int | None = None
        self._held = 0
        self._unacknowledged = 0

    def add(self, data: bytes, flow_bytes: int) -> int:
        """Data has come. Returns the bytes to acknowledge: all but those of whole messages nobody has taken yet."""
        self._parts.append(data)
        self._size += len(data)
        self._unacknowledged += flow_bytes
        while self.error is None and self._read_prefix():
            message = self._cut(self._wanted or 0)
            if message is None:
                break
            self._wanted = None
            self.messages.append(message)
            self._held += len(message)
        return self._acknowledge()

    def _read_prefix(self) -> bool:
        """The length of the next message is known. Sets the error where there will be none."""
        if self._wanted is None:
            prefix = self._cut(_PREFIX_BYTES)
            if prefix is None:
                return False
            self._wanted = int.from_bytes(prefix[1:], "big")
            if prefix[0]:
                self.error = CallError(status.INTERNAL, "the server compressed an answer unasked", is_local=True)
            elif self._wanted > MAX_MESSAGE_BYTES:
                text = f"an answer of {self._wanted} bytes is larger than {MAX_MESSAGE_BYTES}"
                self.error = CallError(status.RESOURCE_EXHAUSTED, text, is_local=True)
        return self.error is None

    def _cut(self, count: int) -> bytes | None:
        """The next so many bytes, copied once; None where they have not come yet."""
        if self._size < count:
            return None
        self._size -= count
        taken: list[bytes] = []
        place = 0
        while count:
            part = self._parts[place]
            place += 1
            if len(part) > count:
                self._parts[place - 1] = part[count:]
                place -= 1
                part = part[:count]
            taken.append(part)
            count -= len(part)
        del self._parts[:place]
        return b"".join(taken)

    def take(self) -> tuple[bytes, int]:
        """The oldest message, and the bytes to acknowledge for it."""
        message = self.messages.popleft()
        self._held -= len(message)
        return message, self._acknowledge()

    def finish(self) -> None:
        """The server has ended the stream in order."""
        self.is_ended = True
        if self.error is None:
            self.error = status.error_of_trailers(self.headers, self.trailers or self.headers)
        if self.error is None and (self._size or self._wanted is not None):
            self.error = CallError(status.INTERNAL, "an answer was cut off")

    def fail(self, error: CallError) -> None:
        """The stream has ended otherwise."""
        if not self.is_ended:
            self.is_ended = True
            self.error = self.error or error

    def release(self) -> int:
        """Nobody takes the rest; returns the bytes to acknowledge."""
        self.messages.clear()
        self._parts.clear()
        self._size = self._held = 0
        return self._acknowledge()

    def _acknowledge(self) -> int:
        count = max(self._unacknowledged - self._held, 0)
        self._unacknowledged -= count
        return count


class Connection:
    """Speaks HTTP/2 over an open link. Its reader thread ends with it.

    Args:
        authority: what calls name as the server.
    """

    def __init__(self, link: Link, authority: str, scheme: str) -> None:
        self.authority = authority
        self.scheme = scheme
        self._link = link
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._send_lock = threading.Lock()
        self._filter = GoAwayFilter()
        self._streams: dict[int, Stream] = {}
        self._error: CallError | None = None
        self._is_draining = False
        self._last_heard = time.monotonic()
        self._ping_sent: float | None = None
        self._h2 = _begin()
        self._flush()
        self._reader = threading.Thread(target=self._read, name="dflhost-reader", daemon=True)
        self._reader.start()

    @property
    def is_usable(self) -> bool:
        """New calls can be made."""
        return self._error is None and not self._is_draining

    @property
    def is_open(self) -> bool:
        """Its thread still runs."""
        return self._reader.is_alive()

    def open(self, headers: Headers, body: bytes, end: float) -> Stream:
        """Begin a call and send its only message.

        Args:
            end: when to give up, as :func:`time.monotonic` tells it.

        Raises:
            CallError: the connection is lost, the time is over, or the server takes no more calls.
        """
        stream = Stream(self._lock)
        with self._lock:
            self._check_usable()
            while self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
                self._wait(stream, end, self._room)
                self._check_usable()
            try:
                stream.id = self._h2.get_next_available_stream_id()
                self._h2.send_headers(stream.id, list(headers))
            except ProtocolError as error:
                self._is_draining = True
                raise CallError(status.UNAVAILABLE, f"the connection is used up: {error}", was_refused=True) from error
            if not self._streams:
                self._last_heard = time.monotonic()
            self._streams[stream.id] = stream
        self._send_body(stream, len(body).to_bytes(_PREFIX_BYTES, "big") + body, end)
        return stream

    def next_message(self, stream: Stream, end: float) -> bytes | None:
        """The next answer; None after the last.

        Raises:
            CallError: how the call failed; the time being over is DEADLINE_EXCEEDED.
        """
        with self._lock:
            while not stream.messages:
                if stream.is_ended or stream.error is not None:
                    break
                self._wait(stream, end)
            if stream.messages:
                message, count = stream.take()
                self._acknowledge(stream, count)
            else:
                message = b""
                count = -1
        if count >= 0:
            self._flush()
            return message
        if stream.error is not None:
            self.cancel(stream)
            raise stream.error
        return None

    def cancel(self, stream: Stream) -> None:
        """Tell the server that nobody waits any more; harmless after the end."""
        with self._lock:
            self._acknowledge(stream, stream.release())
            if self._streams.pop(stream.id, None) is not None:
                stream.fail(CallError(status.CANCELLED, "the call was cancelled here", is_local=True))
                stream.changed.notify_all()
                self._room.notify_all()
                with contextlib.suppress(ProtocolError):
                    self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)
            is_idle = self._is_draining and not self._streams
        self._flush()
        if is_idle:
            self._link.shut_down()

    def close(self) -> None:
        """End the connection, all its calls, and its thread."""
        with self._lock:
            self._fail(CallError(status.CANCELLED, "the connection was closed here", is_local=True))
            with contextlib.suppress(ProtocolError):
                self._h2.close_connection()
        self._flush()
        self._link.shut_down()
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def _check_usable(self) -> None:
        if self._error is not None:
            raise CallError(self._error.code, self._error.message, is_local=True, was_refused=True)
        if self._is_draining:
            raise CallError(status.UNAVAILABLE, "the server is ending", was_refused=True)

    def _wait(self, stream: Stream, end: float, changed: threading.Condition | None = None) -> None:
        """Until something has changed; with the lock held. Raises CallError when the time is over."""
        left = end - time.monotonic()
        if left <= 0:
            if self._streams.pop(stream.id, None) is not None:
                with contextlib.suppress(ProtocolError):
                    self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)
            stream.fail(CallError(status.DEADLINE_EXCEEDED, "the time for the call is over", is_local=True))
            self._flush_later()
            raise stream.error or CallError(status.DEADLINE_EXCEEDED, "the time for the call is over", is_local=True)
        (changed or stream.changed).wait(min(left, TICK_S))

    def _flush_later(self) -> None:
        """Send from a place that holds the lock."""
        self._lock.release()
        try:
            self._flush()
        finally:
            self._lock.acquire()

    def _send_body(self, stream: Stream, data: bytes, end: float) -> None:
        """Send within the windows and the frame size the server allows."""
        view = memoryview(data)
        place = 0
        while place < len(data):
            with self._lock:
                while True:
                    if stream.is_ended:
                        return  # it has answered without hearing us out
                    room = min(
                        self._h2.local_flow_control_window(stream.id),
                        self._h2.max_outbound_frame_size,
                        len(data) - place,
                    )
                    if room > 0:
                        break
                    self._wait(stream, end)
                is_last = place + room == len(data)
                self._h2.send_data(stream.id, bytes(view[place : place + room]), end_stream=is_last)
                place += room
            self._flush()

    def _flush(self) -> None:
        """Send what h2 has produced. A link that breaks ends the connection."""
        with self._send_lock:
            with self._lock:
                data = self._h2.data_to_send()
            if not data:
                return
            try:
                self._link.send(data)
            except OSError as error:
                with self._lock:
                    self._fail(_lost(str(error)))
                self._link.shut_down()

    def _read(self) -> None:
        """The reader's thread: until the link ends."""
        reason = "the server closed it"
        try:
            while True:
                data = self._link.receive(TICK_S)
                if data == b"":
                    break
                if data:
                    with self._lock:
                        self._take(data)
                    self._flush()
                else:
                    self._keep_alive()
                if self._error is not None or (self._is_draining and not self._streams):
                    break
        except Exception as error:  # whatever a broken server provokes: who waits must hear of it
            reason = str(error) or type(error).__name__
        with self._lock:
            self._fail(_lost(reason))
        self._link.shut_down()
        with self._send_lock:
            self._link.close()

    def _take(self, data: bytes) -> None:
        """Bytes have come; with the lock held."""
        self._last_heard, self._ping_sent = time.monotonic(), None
        passed, goaways = self._filter.feed(data)
        for event in self._h2.receive_data(passed) if passed else ():
            self._handle(event)
        for goaway in goaways:
            self._leave(goaway)

    def _handle(self, event: Event) -> None:
        stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is None:
            if isinstance(event, DataReceived) and event.flow_controlled_length:
                # of a call that was given up: the connection's window must not shrink for it
                with contextlib.suppress(ProtocolError):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
            for waiting in self._streams.values():  # windows and settings concern everybody
                waiting.changed.notify_all()
            self._room.notify_all()
            return
        if isinstance(event, DataReceived):
            self._acknowledge(stream, stream.add(event.data or b"", event.flow_controlled_length or 0))
        elif isinstance(event, ResponseReceived):
            stream.headers = status.as_text(event.headers or [])
        elif isinstance(event, TrailersReceived):
            stream.trailers = status.as_text(event.headers or [])
        elif isinstance(event, StreamEnded):
            stream.finish()
            self._drop(stream)
        elif isinstance(event, StreamReset):
            # a server may answer early and then reset what it does not want to hear
            error = status.error_of_reset(int(event.error_code or 0))
            if stream.trailers or "grpc-status" in stream.headers:
                stream.finish()
            else:
                stream.fail(error)
            self._drop(stream)
        stream.changed.notify_all()

    def _drop(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        self._room.notify_all()

    def _acknowledge(self, stream: Stream, count: int) -> None:
        if count:
            with contextlib.suppress(ProtocolError):  # the stream may have ended meanwhile
                self._h2.acknowledge_received_data(count, stream.id)

    def _leave(self, goaway: GoAway) -> None:
        """The server ends: calls it has go on, the others were not looked at."""
        self._is_draining = True
        for stream in [one for one in self._streams.values() if one.id > goaway.last_stream]:
            text = goaway.text or "the server is ending"
            stream.fail(CallError(status.UNAVAILABLE, text, was_refused=True))
            self._streams.pop(stream.id, None)
            stream.changed.notify_all()

    def _fail(self, error: CallError) -> None:
        """Nothing goes any more; with the lock held."""
        if self._error is None:
            self._error = error
        for stream in self._streams.values():
            stream.fail(CallError(error.code, error.message, is_local=True))
            stream.changed.notify_all()
        self._streams.clear()
        self._room.notify_all()

    def _keep_alive(self) -> None:
        """Ask after a silent server, but only while somebody waits for it. Raises ConnectionError."""
        now = time.monotonic()
        with self._lock:
            if not self._streams:
                return
            if self._ping_sent is not None:
                if now - self._ping_sent > KEEPALIVE_PATIENCE_S:
                    raise ConnectionError("the server does not answer any more")
                return
            if now - self._last_heard < KEEPALIVE_IDLE_S:
                return
            self._ping_sent = now
            self._h2.ping(b"dfl-host")
        self._flush()


def _begin() -> H2Connection:
    """A client that takes large frames and has wide windows, with the preface ready to be sent."""
    config = H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False)
    h2 = H2Connection(config)
    h2.initiate_connection()
    h2.update_settings(
        {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
        }
    )
    # h2 would refuse a large frame that comes in the same bytes as the server's consent to it.
    h2.max_inbound_frame_size = FRAME_BYTES
    h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
    return h2


def _lost(reason: str) -> CallError:
    return CallError(status.UNAVAILABLE, f"the connection to the daemon was lost: {reason}", is_local=True)
