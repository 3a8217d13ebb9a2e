"""The hosts' table of the protocol equals the descriptors, and is enough to speak with google.protobuf's bytes."""

import struct
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from dflhost import schema
from dflproto.v1 import (
    common_pb2,
    daemon_service_pb2,
    faceset_service_pb2,
    job_service_pb2,
    merge_service_pb2,
    model_service_pb2,
    schema_digest,
    settings_pb2,
    storage_service_pb2,
)

FILES = (
    common_pb2,
    daemon_service_pb2,
    faceset_service_pb2,
    job_service_pb2,
    merge_service_pb2,
    model_service_pb2,
    settings_pb2,
    storage_service_pb2,
)
FOREIGN = (timestamp_pb2.Timestamp, any_pb2.Any, status_pb2.Status, error_details_pb2.ErrorInfo)
LABELS = {"single", "optional", "repeated", "map"}


def descriptors() -> dict[str, Any]:
    """Full name → descriptor of every message the table must have."""
    found: dict[str, Any] = {}

    def add(message: Any) -> None:
        found[message.full_name] = message
        for nested in message.nested_types:
            add(nested)

    for module in FILES:
        for message in module.DESCRIPTOR.message_types_by_name.values():
            add(message)
    for foreign in FOREIGN:
        add(foreign.DESCRIPTOR)
    return found


def type_name(field: Any) -> str:
    names = {getattr(field, key): key[5:].lower() for key in dir(field) if key.startswith("TYPE_")}
    return names[field.type]


def test_every_message_and_no_other() -> None:
    assert set(schema.MESSAGES) == set(descriptors())


@pytest.mark.parametrize("name", sorted(schema.MESSAGES))
def test_rows_equal_the_descriptor(name: str) -> None:
    message = descriptors()[name]
    assert len(schema.MESSAGES[name]) == len(message.fields)
    for number, field_name, label, kind, of, oneof in schema.MESSAGES[name]:
        field = message.fields_by_number[number]
        assert field.name == field_name
        assert type_name(field) == kind
        assert label in LABELS
        assert (label in ("repeated", "map")) == field.is_repeated
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        assert (label == "map") == is_map
        inner = field.message_type or field.enum_type
        assert of == (inner.full_name if inner else "")
        real = field.containing_oneof
        is_synthetic = real is not None and real.name == f"_{field.name}"
        assert (label == "optional") == is_synthetic
        assert oneof == ("" if real is None or is_synthetic else real.name)
        assert not inner or of in schema.MESSAGES or of in schema.ENUMS


def test_enums_and_services_equal_the_descriptors() -> None:
    enums = {
        enum.full_name: {value.name: value.number for value in enum.values}
        for module in FILES
        for enum in module.DESCRIPTOR.enum_types_by_name.values()
    }
    assert enums == schema.ENUMS
    services = {
        service.full_name: {
            method.name: (method.input_type.full_name, method.output_type.full_name, method.server_streaming)
            for method in service.methods
        }
        for module in FILES
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    assert services == schema.SERVICES
    assert not any(m.client_streaming for f in FILES for s in f.DESCRIPTOR.services_by_name.values() for m in s.methods)


def test_the_digest_is_the_daemons() -> None:
    assert schema.DIGEST == schema_digest.SCHEMA_DIGEST


WIRE_TYPES = {"double": 1, "float": 5, "string": 2, "bytes": 2, "message": 2}


def encode(name: str, value: dict[str, Any]) -> bytes:
    """A message from plain values, by the table alone; a codec for this test."""
    out = b""
    for number, field, label, kind, of, _ in schema.MESSAGES[name]:
        if field not in value:
            continue
        items = [value[field]]
        if label == "repeated":
            items = value[field]
        elif label == "map":
            items = [{"key": key, "value": item} for key, item in value[field].items()]
        if label == "repeated" and WIRE_TYPES.get(kind) != 2 and items:
            packed = b"".join(encode_value(kind, of, item) for item in items)
            out += varint(number << 3 | 2) + varint(len(packed)) + packed
            continue
        for item in items:
            body = encode_value(kind, of, item)
            wire_type = WIRE_TYPES.get(kind, 0)
            out += varint(number << 3 | wire_type) + (varint(len(body)) if wire_type == 2 else b"") + body
    return out


def encode_value(kind: str, of: str, value: Any) -> bytes:
    if kind == "message":
        return encode(of, value)
    if kind == "string":
        return str(value).encode()
    if kind == "bytes":
        return bytes(value)
    if kind in ("double", "float"):
        return struct.pack("<d" if kind == "double" else "<f", value)
    return varint(schema.ENUMS[of][value] if kind == "enum" else int(value) & (1 << 64) - 1)


def decode(name: str, data: bytes) -> dict[str, Any]:
    """Inverse of :func:`encode`; fields with their default are left out unless their presence counts."""
    rows = {row[0]: row for row in schema.MESSAGES[name]}
    out: dict[str, Any] = {}
    place = 0
    while place < len(data):
        key, place = read_varint(data, place)
        number, wire_type = key >> 3, key & 7
        if wire_type == 2:
            size, place = read_varint(data, place)
        elif wire_type == 0:
            size = read_varint(data, place)[1] - place
        else:
            size = 8 if wire_type == 1 else 4
        body, place = data[place : place + size], place + size
        if number not in rows:
            continue
        _, field, label, kind, of, _ = rows[number]
        if label == "map":
            entry = decode(of, body)
            inner = schema.MESSAGES[of][1][3]
            out.setdefault(field, {})[entry.get("key", "")] = entry.get("value", "" if inner == "string" else 0.0)
        elif label == "repeated":
            found = [read(kind, of, body)] if WIRE_TYPES.get(kind) == 2 else split(kind, of, body)
            out.setdefault(field, []).extend(found)
        else:
            out[field] = read(kind, of, body)
    return out


def split(kind: str, of: str, body: bytes) -> list[Any]:
    """Packed numbers."""
    if kind in ("double", "float"):
        size = 8 if kind == "double" else 4
        return [read(kind, of, body[at : at + size]) for at in range(0, len(body), size)]
    found, place = [], 0
    while place < len(body):
        end = read_varint(body, place)[1]
        found.append(read(kind, of, body[place:end]))
        place = end
    return found


def read(kind: str, of: str, body: bytes) -> Any:
    if kind == "message":
        return decode(of, body)
    if kind == "string":
        return body.decode()
    if kind == "bytes":
        return body
    if kind in ("double", "float"):
        return struct.unpack("<d" if kind == "double" else "<f", body)[0]
    number = read_varint(body, 0)[0]
    if kind == "enum":
        return next(name for name, value in schema.ENUMS[of].items() if value == number)
    if kind == "bool":
        return bool(number)
    return number - (1 << 64) if number >= 1 << 63 else number


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place


SCALARS: dict[str, Any] = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "bytes": st.binary(max_size=8),
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "float": st.floats(allow_nan=False, width=32),
}


def values_of(name: str, depth: int = 3) -> Any:
    """Plain values of a message; of each oneof at most one field."""

    @st.composite
    def draw_message(draw: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        taken: set[str] = set()
        for _, field, label, kind, of, oneof in schema.MESSAGES[name]:
            if oneof in taken or not draw(st.booleans()) or (kind == "message" and depth == 0):
                continue
            taken |= {oneof} - {""}
            if label == "map":
                inner = schema.MESSAGES[of][1][3]
                out[field] = draw(st.dictionaries(SCALARS["string"], SCALARS[inner], max_size=3))
                continue
            one = strategy(kind, of, depth)
            out[field] = draw(st.lists(one, max_size=3) if label == "repeated" else one)
        return out

    return draw_message()


def strategy(kind: str, of: str, depth: int) -> Any:
    """Values of one field."""
    if kind == "message":
        return values_of(of, depth - 1)
    return st.sampled_from(list(schema.ENUMS[of])) if kind == "enum" else SCALARS[kind]


@pytest.mark.parametrize("name", ["dflproto.v1.Job", "dflproto.v1.JobEvent", "dflproto.v1.Knob", "dflproto.v1.Face"])
def test_bytes_made_from_the_table_are_googles(name: str) -> None:
    message_class = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))

    @settings(max_examples=40, deadline=None)
    @given(values_of(name))
    def check(value: dict[str, Any]) -> None:
        ours = message_class.FromString(encode(name, value))
        theirs = message_class(**value)
        assert ours == theirs
        again = decode(name, theirs.SerializeToString(deterministic=True))
        assert message_class(**again) == theirs

    check()
