"""GOAWAY frames, taken out of the bytes before h2 sees them.

h2 treats a connection as closed once it has read a GOAWAY; a gRPC server that ends in order sends one and then still
answers the calls it has. Source: RFC 9113 §4.1 (frame header), §6.8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER_BYTES = 9
_SETTINGS, _GOAWAY = 0x4, 0x7


@dataclass(frozen=True)
class GoAway:
    """The server takes no streams above ``last_stream``. ``error_code`` 0 is an orderly end."""

    last_stream: int
    error_code: int
    text: str


class GoAwayFilter:
    """Splits received bytes at frame borders. State is kept between calls."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._goaway: bytearray | None = None
        self._is_first = True

    def feed(self, data: bytes) -> tuple[bytes, list[GoAway]]:
        """The bytes for h2, and the GOAWAY frames that ended in them.

        Raises:
            ValueError: the first frame is not the one that HTTP/2 begins with.
        """
        if not self._header and self._goaway is None and self._left >= len(data):
            self._left -= len(data)
            return data, []
        kept: list[bytes] = []
        found: list[GoAway] = []
        place = 0
        while place < len(data):
            if self._left:
                part = data[place : place + self._left]
                place += len(part)
                self._left -= len(part)
                if self._goaway is None:
                    kept.append(part)
                else:
                    self._goaway += part
            else:
                part = data[place : place + _HEADER_BYTES - len(self._header)]
                place += len(part)
                self._header += part
                if len(self._header) == _HEADER_BYTES:
                    self._begin(kept)
            if self._goaway is not None and not self._left:
                found.append(_parse(bytes(self._goaway)))
                self._goaway = None
        return b"".join(kept), found

    def _begin(self, kept: list[bytes]) -> None:
        """A header is complete."""
        if self._is_first and self._header[3] != _SETTINGS:
            raise ValueError("the server does not speak HTTP/2")
        self._is_first = False
        self._left = int.from_bytes(self._header[:3], "big")
        if self._header[3] == _GOAWAY:
            self._goaway = bytearray()
        else:
            kept.append(self._header)
        self._header = b""


def _parse(body: bytes) -> GoAway:
    if len(body) < 8:
        return GoAway(0, 1, "")
    last, code = struct.unpack_from(">II", body)
    return GoAway(last & 0x7FFFFFFF, code, body[8:].decode("utf-8", "replace"))
