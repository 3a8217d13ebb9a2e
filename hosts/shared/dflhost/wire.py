"""Messages of the protocol ↔ bytes, by the table in :mod:`dflhost.schema`. Messages are plain dicts.

Source: the published encoding of protocol buffers, proto3.

==========================  ===========================================================================================
field                       value in the dict
==========================  ===========================================================================================
string, bytes, bool         ``str``, ``bytes``, ``bool``
int32, int64                ``int``
float, double               ``float``
enum                        its name as ``str``; a number this table does not know stays an ``int``
message                     a dict
repeated                    a list
map                         a dict
==========================  ===========================================================================================

A decoded dict has every field whose presence does not count (numbers, texts, lists, maps) and, of those whose presence
counts (``optional``, messages, fields of a oneof), those that are there. What the table does not know stays under the
key :data:`UNKNOWN` and is written again, so that an older host does not lose a newer daemon's settings.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from .schema import ENUMS, MESSAGES

UNKNOWN = "*unknown"
"""Key of the bytes of unknown fields; no field has a name like it."""
MAX_DEPTH = 100
VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)
_WIRE_TYPES = {"double": FIXED64, "float": FIXED32, "string": LENGTH, "bytes": LENGTH, "message": LENGTH}
_DEFAULTS: Mapping[str, Any] = {
    "string": "",
    "bytes": b"",
    "bool": False,
    "int32": 0,
    "int64": 0,
    "float": 0.0,
    "double": 0.0,
}
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_MASK = (1 << 64) - 1
_LIMITS = {"int32": 1 << 31, "int64": 1 << 63, "enum": 1 << 31}


class WireError(ValueError):
    """Bytes that are no such message, or a dict that does not fit the table."""


class _Field:
    """One row of the table, made ready."""

    __slots__ = ("counts", "default", "key", "kind", "label", "name", "of", "oneof", "wire_type")

    def __init__(self, row: tuple[int, str, str, str, str, str]) -> None:
        number, self.name, self.label, self.kind, self.of, self.oneof = row
        self.wire_type = _WIRE_TYPES.get(self.kind, VARINT)
        is_packed = self.label == "repeated" and self.wire_type != LENGTH
        self.key = _varint(number << 3 | (LENGTH if is_packed else self.wire_type))
        self.counts = self.label == "optional" or self.kind == "message" or bool(self.oneof)
        self.default = _NAMES[self.of].get(0, 0) if self.kind == "enum" else _DEFAULTS.get(self.kind)


_NAMES: Mapping[str, Mapping[int, str]] = {
    enum: {number: name for name, number in values.items()} for enum, values in ENUMS.items()
}
_tables: dict[str, tuple[dict[int, _Field], dict[str, _Field]]] = {}


def encode(message: str, value: Mapping[str, Any]) -> bytes:
    """A dict as the bytes of a message.

    Args:
        message: full name, ``dflproto.v1.Job``. value: fields; None is an absent one.

    Raises:
        WireError: a field has no such name, or a value is of the wrong type or out of range.
    """
    return _encode(message, value, 0)


def decode(message: str, data: bytes | memoryview) -> dict[str, Any]:
    """Inverse of :func:`encode`.

    Raises:
        WireError: the bytes are truncated or damaged.
    """
    return _decode(message, memoryview(data), {}, 0)


def new(message: str) -> dict[str, Any]:
    """An empty message with its defaults, as :func:`decode` answers it for no bytes."""
    return decode(message, b"")


def _table(message: str) -> tuple[dict[int, _Field], dict[str, _Field]]:
    found = _tables.get(message)
    if found is None:
        if message not in MESSAGES:
            raise WireError(f"There is no message {message}.")
        fields = [(row[0], _Field(row)) for row in MESSAGES[message]]
        found = _tables[message] = (dict(fields), {field.name: field for _, field in fields})
    return found


def _encode(message: str, value: Mapping[str, Any], depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise WireError(f"{message} is nested too deeply.")
    _, by_name = _table(message)
    out = bytearray()
    unknown = b""
    taken: dict[str, str] = {}
    for name, item in value.items():
        if name == UNKNOWN:
            unknown = bytes(item)
            continue
        field = by_name.get(name)
        if field is None:
            raise WireError(f"{message} has no field {name}.")
        if item is None:
            continue
        if field.oneof and taken.setdefault(field.oneof, name) != name:
            raise WireError(f"{message}: only one of {taken[field.oneof]} and {name} can be given.")
        try:
            _encode_field(out, field, item, depth)
        except (TypeError, AttributeError, OverflowError, UnicodeError, struct.error) as error:
            raise WireError(f"{message}.{name} cannot be {item!r:.80}: {error}.") from error
    return bytes(out) + unknown


def _encode_field(out: bytearray, field: _Field, item: Any, depth: int) -> None:
    if field.label == "repeated":
        if field.wire_type == LENGTH:
            for one in item:
                _append(out, field.key, _body(field.kind, field.of, one, depth))
        elif item:
            _append(out, field.key, b"".join([_scalar(field.kind, field.of, one) for one in item]))
    elif field.label == "map":
        key, inner = MESSAGES[field.of]
        for name, one in item.items():
            _append(out, field.key, _entry(key, name, depth) + _entry(inner, one, depth))
    elif field.wire_type == LENGTH:
        body = _body(field.kind, field.of, item, depth)
        if body or field.counts:
            _append(out, field.key, body)
    else:
        bits = _scalar(field.kind, field.of, item)
        if field.counts or bits.strip(b"\0"):
            out += field.key
            out += bits


def _entry(row: tuple[int, str, str, str, str, str], item: Any, depth: int) -> bytes:
    """The key or the value of an entry of a map; both are always written."""
    number, _, _, kind, of, _ = row
    wire_type = _WIRE_TYPES.get(kind, VARINT)
    key = _varint(number << 3 | wire_type)
    if wire_type != LENGTH:
        return key + _scalar(kind, of, item)
    body = _body(kind, of, item, depth)
    return key + _varint(len(body)) + body


def _append(out: bytearray, key: bytes, body: bytes) -> None:
    out += key
    out += _varint(len(body))
    out += body


def _body(kind: str, of: str, item: Any, depth: int) -> bytes:
    """What follows the length of a text, some bytes or a message."""
    if kind == "string":
        if not isinstance(item, str):
            raise TypeError("it must be text")
        return item.encode("utf-8")
    if kind == "message":
        return _encode(of, item, depth + 1)
    if not isinstance(item, (bytes, bytearray, memoryview)):
        raise TypeError("it must be bytes")
    return bytes(item)


def _scalar(kind: str, of: str, item: Any) -> bytes:
    if kind == "double":
        return _DOUBLE.pack(item)
    if kind == "float":
        return _FLOAT.pack(item)
    if kind == "bool":
        return b"\1" if item else b"\0"
    if kind == "enum" and isinstance(item, str):
        if item not in ENUMS[of]:
            raise TypeError(f"it must be one of {', '.join(ENUMS[of])}")
        item = ENUMS[of][item]
    if not isinstance(item, int):
        raise TypeError("it must be a whole number")
    if not -_LIMITS[kind] <= item < _LIMITS[kind]:
        raise OverflowError("it is out of range")
    return _varint(item & _MASK)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if place >= len(data):
            raise WireError("The message ends in the middle of a number.")
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value & _MASK, place
    raise WireError("A number has more than ten bytes.")


def _decode(message: str, data: memoryview, out: dict[str, Any], depth: int) -> dict[str, Any]:
    """Read into ``out``, which may hold an earlier part of the same message."""
    if depth > MAX_DEPTH:
        raise WireError(f"{message} is nested too deeply.")
    by_number, _ = _table(message)
    if not out:
        for field in by_number.values():
            if field.label == "repeated":
                out[field.name] = []
            elif field.label == "map":
                out[field.name] = {}
            elif not field.counts:
                out[field.name] = field.default
    place = 0
    while place < len(data):
        start = place
        key, place = _read_varint(data, place)
        body, place = _skip(data, key & 7, place, depth)
        known = by_number.get(key >> 3)
        if not key >> 3:
            raise WireError("A field has the number 0.")
        if known is None or not _fits(known, key & 7):
            out[UNKNOWN] = out.get(UNKNOWN, b"") + bytes(data[start:place])
        else:
            _decode_field(out, by_number, known, key & 7, body, depth)
    return out


def _fits(field: _Field, wire_type: int) -> bool:
    is_packable = field.label == "repeated" and field.wire_type != LENGTH
    return wire_type == field.wire_type or (is_packable and wire_type == LENGTH)


def _skip(data: memoryview, wire_type: int, place: int, depth: int) -> tuple[memoryview, int]:
    """The bytes of a value, without its length, and where it ends."""
    if wire_type == LENGTH:
        size, place = _read_varint(data, place)
        end = place + size
    elif wire_type == VARINT:
        end = _read_varint(data, place)[1]
    elif wire_type == FIXED64:
        end = place + 8
    elif wire_type == FIXED32:
        end = place + 4
    elif wire_type == START_GROUP:
        end = _skip_group(data, place, depth + 1)
    else:
        raise WireError(f"There is no wire type {wire_type}.")
    if end > len(data):
        raise WireError("The message ends in the middle of a field.")
    return data[place:end], end


def _skip_group(data: memoryview, place: int, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise WireError("Groups are nested too deeply.")
    while True:
        key, place = _read_varint(data, place)
        if key & 7 == END_GROUP:
            return place
        place = _skip(data, key & 7, place, depth)[1]


def _decode_field(
    out: dict[str, Any], by_number: Mapping[int, _Field], field: _Field, wire_type: int, body: memoryview, depth: int
) -> None:
    name = field.name
    if field.label == "map":
        entry = _decode(field.of, body, {}, depth + 1)
        value = entry.get("value")
        out[name][entry["key"]] = new(MESSAGES[field.of][1][4]) if value is None else value
    elif field.label == "repeated":
        if wire_type == LENGTH and field.wire_type != LENGTH:
            out[name] += _packed(field, body)
        elif field.kind == "message":
            out[name].append(_decode(field.of, body, {}, depth + 1))
        else:
            out[name].append(_value(field, body))
    else:
        if field.oneof:
            for other in by_number.values():
                if other.oneof == field.oneof and other is not field:
                    out.pop(other.name, None)
        if field.kind == "message":
            out[name] = _decode(field.of, body, out.get(name) or {}, depth + 1)
        else:
            out[name] = _value(field, body)


def _packed(field: _Field, body: memoryview) -> list[Any]:
    if field.wire_type != VARINT:
        form = _DOUBLE if field.kind == "double" else _FLOAT
        if len(body) % form.size:
            raise WireError("A list of numbers ends in the middle of one.")
        return [number for (number,) in form.iter_unpack(body)]
    found, place = [], 0
    while place < len(body):
        start = place
        _, place = _read_varint(body, place)
        found.append(_value(field, body[start:place]))
    return found


def _value(field: _Field, body: memoryview) -> Any:
    kind = field.kind
    if kind == "string":
        try:
            return str(body, "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"{field.name} is no text in UTF-8.") from error
    if kind == "bytes":
        return bytes(body)
    if kind == "double":
        return _DOUBLE.unpack(body)[0]
    if kind == "float":
        return _FLOAT.unpack(body)[0]
    number = _read_varint(body, 0)[0]
    if kind == "bool":
        return bool(number)
    if kind == "int64":
        return number - (1 << 64) if number >= 1 << 63 else number
    number &= 0xFFFFFFFF
    number = number - (1 << 32) if number >= 1 << 31 else number
    return number if kind == "int32" else _NAMES[field.of].get(number, number)
