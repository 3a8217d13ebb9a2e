"""Plain values into pickle bytes that the reference reads. Made opcode by opcode: no object of ours gets in.

Source: the opcodes of Python's documented pickle protocol 3, which protocol 4 contains.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.io.legacy.pickle_values import DTYPE_CODES, Value


@dataclass(frozen=True, slots=True)
class EnumCall:
    """A member of one of the reference's enumerations, for writing: its class by module and name, and its number."""

    module: str
    name: str
    number: int


def write_value(value: Value, protocol: int = 4) -> bytes:
    """Pickle bytes that Python's own reader, with numpy of any version, turns back into the value.

    Args:
        value: plain values, arrays of the dtypes :func:`read_value` knows, or :class:`EnumCall`.
        protocol: 3 or 4; only the header differs.

    Raises:
        InvalidInput: a value of another kind.
    """
    return b"\x80" + bytes([protocol]) + write_bare_value(value) + b"."


def write_bare_value(value: Value) -> bytes:
    """The value's opcodes alone, to be put into a listing that is written piece by piece."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Value, out: list[bytes]) -> None:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        out.append(_atom(value))
    elif isinstance(value, list):
        out.append(b"]")
        _write_batches(b"e", [(one,) for one in value], out)
    elif isinstance(value, dict):
        out.append(b"}")
        _write_batches(b"u", list(value.items()), out)
    elif isinstance(value, tuple):
        out.append(b"(")
        for one in value:
            _write(one, out)
        out.append(b"t")
    elif isinstance(value, np.ndarray):
        _write_array(value, out)
    elif isinstance(value, EnumCall):
        out.append(f"c{value.module}\n{value.name}\n".encode() + _atom(value.number) + b"\x85R")
    else:
        raise InvalidInput(f"A {type(value).__name__} cannot be written as metadata.", reason="BAD_METADATA")


def _write_batches(closing: bytes, groups: list[tuple[Value, ...]], out: list[bytes]) -> None:
    for start in range(0, len(groups), 1000):
        out.append(b"(")
        for group in groups[start : start + 1000]:
            for one in group:
                _write(one, out)
        out.append(closing)


def _atom(value: bool | int | float | str | bytes | None) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        if -(1 << 31) <= value < 1 << 31:
            return b"J" + struct.pack("<i", value)
        if -(1 << 63) <= value < 1 << 63:
            return b"\x8a\x08" + struct.pack("<q", value)
        raise InvalidInput(f"{value} has more than 64 bits.", reason="BAD_METADATA")
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(encoded)) + encoded
    return b"B" + struct.pack("<I", len(value)) + value


def _write_array(array: NDArray[Any], out: list[bytes]) -> None:
    kind = array.dtype.newbyteorder("<")
    code = f"{kind.kind}{kind.itemsize}"
    if code not in DTYPE_CODES:
        raise InvalidInput(f"An array of {array.dtype} cannot be written as metadata.", reason="BAD_METADATA")
    order = "|" if code == "u1" else "<"
    out.append(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + _atom(0) + b"\x85" + _atom(b"b") + b"\x87R")
    out.append(b"(" + _atom(1))
    _write(tuple(int(side) for side in array.shape), out)
    out.append(b"cnumpy\ndtype\n" + _atom(code) + b"\x89\x88\x87R(" + _atom(3) + _atom(order) + b"NNN")
    out.append(
        _atom(-1) + _atom(-1) + _atom(0) + b"tb\x89" + _atom(np.ascontiguousarray(array, kind).tobytes()) + b"tb"
    )
