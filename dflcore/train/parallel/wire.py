"""Lines of JSON between a launcher and the processes of its training group.

=========  ==========  ======================================================================
to member  ``start``   ``task``: plain values for the work; the first line
           ``stop``    ``request``: ``cancel``, ``pause`` or ``shutdown``; to the lead alone
from it    ``hello``   ``rank``, ``group``; the first line of one that an agent started
           ``asked``   the work asked whether to stop: it is alive and between two steps
           ``event``   ``event``: see :func:`event_to_json`
           ``done``    ``result``: plain values; the last line
           ``failed``  ``error``: see :func:`error_to_json`; the last line
from an    ``waits``   for other machines; ``is_regroup``: because some came or left
agent      ``group``   ``name``, ``nodes``, ``index`` of this machine, ``lead``: name of the lead's; it starts now
=========  ==========  ======================================================================
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dflcore.errors import ERROR_CLASSES, DflError, Internal
from dflcore.progress import Event, FrameProgress, Notice, Preview, Saved, TrainProgress

_EVENTS: Mapping[str, type[Event]] = {
    event.__name__: event for event in (FrameProgress, TrainProgress, Preview, Saved, Notice)
}
_ERRORS: Mapping[str, type[DflError]] = {error.__name__: error for error in ERROR_CLASSES}


MAX_LINE_BYTES = 16 * 1024 * 1024


class LineReader:
    """Messages from a socket that does not block."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._buffer = b""

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """What has come, and whether the other side is still there.

        Raises:
            Internal: a line is no message, or has no end.
        """
        try:
            data = self.channel.recv(1 << 20)
        except BlockingIOError:
            return [], True
        except OSError:
            return [], False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE_BYTES:
            raise Internal("A training process sent a line without end.", reason="BAD_WORKER_LINE")
        return [decode_line(line) for line in lines], bool(data)


def encode_line(message: Mapping[str, object]) -> bytes:
    """One message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """One line as a message.

    Raises:
        Internal: it is not an object with a type.
    """
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Internal(f"A training process sent a line that is no message: {line[:80]!r}.", reason="BAD_WORKER_LINE")
    return message


def event_to_json(event: Event) -> dict[str, object]:
    """An event as plain values, ``kind`` included."""
    return {"kind": type(event).__name__, **asdict(event)}


def event_from_json(values: Mapping[str, Any]) -> Event:
    """Inverse of :func:`event_to_json`.

    Raises:
        Internal: not an event.
    """
    fields = dict(values)
    try:
        return _EVENTS[fields.pop("kind")](**fields)
    except (KeyError, TypeError) as error:
        raise Internal(f"A training process sent no event: {str(values)[:200]}.", reason="BAD_EVENT") from error


def error_to_json(error: DflError) -> dict[str, object]:
    """An error as plain values."""
    kind = next(name for name, kind in _ERRORS.items() if isinstance(error, kind))
    return {"kind": kind, "message": error.message, "reason": error.reason, "details": dict(error.details)}


def error_from_json(values: Mapping[str, Any]) -> DflError:
    """Inverse of :func:`error_to_json`; an unknown kind becomes Internal."""
    details = {str(name): str(value) for name, value in dict(values.get("details", {})).items()}
    for taken in ("message", "reason", "self"):
        details.pop(taken, None)
    kind = _ERRORS.get(str(values.get("kind")), Internal)
    return kind(str(values.get("message")), reason=str(values.get("reason", "INTERNAL")), **details)
