"""How a call ended: gRPC's status codes, and what the trailers say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(8)
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL = range(8, 14)
UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED = range(14, 17)
NAMES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
DETAILS_KEY = "grpc-status-details-bin"
_OF_HTTP: Mapping[str, int] = {
    "400": INTERNAL,
    "401": UNAUTHENTICATED,
    "403": PERMISSION_DENIED,
    "404": UNIMPLEMENTED,
    "429": UNAVAILABLE,
    "502": UNAVAILABLE,
    "503": UNAVAILABLE,
    "504": UNAVAILABLE,
}
_OF_RESET: Mapping[int, int] = {
    0x7: UNAVAILABLE,  # REFUSED_STREAM
    0x8: CANCELLED,
    0xB: RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


class CallError(Exception):
    """A call that did not end with OK.

    Attributes:
        code: gRPC status. message: of the server or of this client. details: a ``google.rpc.Status``, serialized;
            empty where the server sent none.
        was_refused: the server has not looked at the call; it may be made again.
        is_local: this client ended it (deadline, cancel, connection), the server did not answer.
    """

    def __init__(
        self, code: int, message: str, details: bytes = b"", *, was_refused: bool = False, is_local: bool = False
    ) -> None:
        super().__init__(f"{NAMES[code] if 0 <= code < len(NAMES) else code}: {message}")
        self.code = code
        self.message = message
        self.details = details
        self.was_refused = was_refused
        self.is_local = is_local


def error_of_trailers(headers: Mapping[str, str], trailers: Mapping[str, str]) -> CallError | None:
    """How a stream ended that was closed in order; None for OK.

    Args:
        headers: of the answer. trailers: equal to the headers where the server sent nothing else ("trailers-only").
    """
    http_status = headers.get(":status", "")
    number = trailers.get("grpc-status", "")
    if not number.isdigit():
        if http_status and http_status != "200":
            code = _OF_HTTP.get(http_status, UNKNOWN)
            return CallError(code, f"the server answered with HTTP status {http_status}")
        return CallError(UNKNOWN, "the server ended the call without saying how")
    code = int(number)
    if code == OK:
        return None
    message = unquote(trailers.get("grpc-message", ""), errors="replace")
    return CallError(code, message, decode_binary(trailers.get(DETAILS_KEY, "")))


def error_of_reset(error_code: int) -> CallError:
    """How a stream ended that the server reset."""
    code = _OF_RESET.get(error_code, INTERNAL)
    return CallError(code, f"the server reset the call (HTTP/2 error {error_code})", was_refused=error_code == 0x7)


def decode_binary(text: str) -> bytes:
    """The value of a ``-bin`` header: base64, with or without padding; empty where it is damaged."""
    first = text.split(",")[0].strip()
    try:
        return base64.b64decode(first + "=" * (-len(first) % 4))
    except (binascii.Error, ValueError):
        return b""


def as_text(headers: Iterable[tuple[bytes | str, bytes | str]]) -> dict[str, str]:
    """Header fields as text; of a name that comes twice, the first."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name if isinstance(name, str) else name.decode("ascii", "replace")
        found.setdefault(key, value if isinstance(value, str) else value.decode("utf-8", "replace"))
    return found
