"""Messages of the protocol as plain values for ``--json``: numbers stay numbers, enums become words, times ISO 8601."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def message_values(message: Message) -> dict[str, Any]:
    """All fields of a message by name.

    Absent optional fields, unset messages and the other branches of a oneof are left out; everything else is there,
    empty or not, so that a script need not ask whether it is. ``JOB_STATE_QUEUED`` is written ``queued``.
    """
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        values[field.name] = _field_value(field, getattr(message, field.name))
    return values


def enum_word(field: Any, number: int) -> str:
    """The word of an enum value without its type's name, lower case; the number where it is not known."""
    enum_type = field.enum_type
    if enum_type is None or number not in enum_type.values_by_number:
        return str(number)
    prefix = "".join(("_" if letter.isupper() else "") + letter.upper() for letter in enum_type.name).lstrip("_") + "_"
    return str(enum_type.values_by_number[number].name).removeprefix(prefix).lower()


def _field_value(field: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _single(field, item) for key, item in sorted(value.items())}
    if hasattr(value, "append"):  # repeated
        return [_single(field, item) for item in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return value.ToDatetime().isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, Message):
        return message_values(value)
    if field.enum_type is not None:
        return enum_word(field, value)
    return value
