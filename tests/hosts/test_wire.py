"""The hosts' codec against protobuf's own runtime, message by message."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pool, message_factory, timestamp_pb2  # noqa: F401
from google.rpc import error_details_pb2, status_pb2  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflhost import schema, wire
from dflproto.v1 import (  # noqa: F401
    common_pb2,
    daemon_service_pb2,
    faceset_service_pb2,
    job_service_pb2,
    merge_service_pb2,
    model_service_pb2,
    settings_pb2,
    storage_service_pb2,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS: dict[str, Any] = {
    "string": TEXT,
    "bytes": st.binary(max_size=8),
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "float": st.floats(allow_nan=False, width=32),
}
MESSAGES = sorted(name for name in schema.MESSAGES if not name.endswith("Entry"))


def google(name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


def values_of(name: str, depth: int = 2) -> Any:
    """Dicts of a message: of each oneof at most one field, lists and maps short."""

    @st.composite
    def draw_message(draw: Any) -> dict[str, Any]:
        rows = schema.MESSAGES[name]
        chosen = draw(st.sets(st.sampled_from(range(len(rows))), max_size=8)) if rows else set()
        out: dict[str, Any] = {}
        taken: set[str] = set()
        for index in sorted(chosen):
            _, field, label, kind, of, oneof = rows[index]
            if oneof in taken or (kind == "message" and label != "map" and depth == 0):
                continue
            taken |= {oneof} - {""}
            if label == "map":
                key, inner = schema.MESSAGES[of]
                values = draw(st.dictionaries(SCALARS[key[3]], SCALARS[inner[3]], max_size=3))
                out[field] = values
                continue
            one = values_of(of, depth - 1) if kind == "message" else scalar(kind, of)
            out[field] = draw(st.lists(one, max_size=3) if label == "repeated" else one)
        return out

    return draw_message()


def scalar(kind: str, of: str) -> Any:
    return st.sampled_from(sorted(schema.ENUMS[of])) if kind == "enum" else SCALARS[kind]


@pytest.mark.parametrize("name", MESSAGES)
def test_bytes_are_googles_both_ways(name: str) -> None:
    message_class = google(name)

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(values_of(name))
    def check(value: dict[str, Any]) -> None:
        theirs = message_class(**value)
        assert message_class.FromString(wire.encode(name, value)) == theirs
        decoded = wire.decode(name, theirs.SerializeToString())
        assert wire.UNKNOWN not in decoded
        assert message_class(**decoded) == theirs
        assert wire.decode(name, wire.encode(name, decoded)) == decoded

    check()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values_of("dflproto.v1.Job", depth=3))
def test_fields_of_a_newer_daemon_come_back_to_it(value: dict[str, Any]) -> None:
    """A table without some fields, at any depth, writes them again as they were."""
    job = google("dflproto.v1.Job")
    data = job(**value).SerializeToString()
    known = {"dflproto.v1.Job": (1, 3), "dflproto.v1.ErrorDetail": (2,), "dflproto.v1.MergeSettings": ()}
    older = {
        name: [row for row in rows if row[0] in known[name]] for name, rows in schema.MESSAGES.items() if name in known
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_tables", {})
        for name, rows in older.items():
            patch.setitem(wire.MESSAGES, name, rows)
        decoded = wire.decode("dflproto.v1.Job", data)
        again = wire.encode("dflproto.v1.Job", decoded)
    assert job.FromString(again) == job.FromString(data)


def test_a_settings_message_keeps_what_this_host_does_not_know() -> None:
    newer = wire.encode("dflproto.v1.MergeSettings", {}) + b"\xba\x7d\x03new\xc0\x7d\x96\x01"
    decoded = wire.decode("dflproto.v1.MergeSettings", newer)
    assert decoded[wire.UNKNOWN] == newer
    spec = {"merge": {"settings": decoded}}
    assert newer in wire.encode("dflproto.v1.JobSpec", spec)


def test_absent_and_default_are_told_apart_where_presence_counts() -> None:
    assert wire.decode("dflproto.v1.TrainSettings", wire.encode("dflproto.v1.TrainSettings", {"seed": 0})) == {
        "seed": 0
    }
    assert wire.decode("dflproto.v1.TrainSettings", b"") == {}
    knob = wire.decode("dflproto.v1.Knob", b"")
    assert knob["name"] == ""
    assert knob["choices"] == []
    assert knob["type"] == "KNOB_TYPE_UNSPECIFIED"
    assert "minimum" not in knob
    assert "default_value" not in knob
    assert wire.encode("dflproto.v1.Knob", {"minimum": None}) == b""


def test_a_oneof_holds_one_and_the_last_one_wins() -> None:
    both = wire.encode("dflproto.v1.KnobValue", {"int_value": 7}) + wire.encode(
        "dflproto.v1.KnobValue", {"bool_value": False}
    )
    assert wire.decode("dflproto.v1.KnobValue", both) == {"bool_value": False}
    with pytest.raises(wire.WireError, match="only one of"):
        wire.encode("dflproto.v1.KnobValue", {"int_value": 7, "bool_value": True})


def test_parts_of_a_message_sent_twice_are_merged() -> None:
    name = "dflproto.v1.ExtractSpec"
    parts = [{"plate": {"path": "/a"}}, {"plate": {"frames": "1-2"}}]
    data = b"".join(wire.encode(name, part) for part in parts)
    assert wire.decode(name, data)["plate"] == {"path": "/a", "frames": "1-2"}


def test_numbers_are_read_packed_and_unpacked() -> None:
    name = "dflproto.v1.CorrectFacesRequest"
    assert wire.decode(name, b"\x28\x07\x28\x08")["forget_frames"] == [7, 8]
    assert wire.decode(name, b"\x2a\x02\x07\x08")["forget_frames"] == [7, 8]


def test_unknown_enum_numbers_stay_numbers() -> None:
    data = google("dflproto.v1.StateEvent")(state=77).SerializeToString()
    decoded = wire.decode("dflproto.v1.StateEvent", data)
    assert decoded["state"] == 77
    assert wire.encode("dflproto.v1.StateEvent", decoded) == data


def test_signs_of_zero_and_infinities_survive() -> None:
    for number in (-0.0, math.inf, -math.inf, 5e-324):
        again = wire.decode("dflproto.v1.Face", wire.encode("dflproto.v1.Face", {"score": number}))["score"]
        assert math.copysign(1, again) == math.copysign(1, number)
        assert again == number


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05ab", b"\x80", b"\x08" + b"\xff" * 11, b"\x0a\x02\xff\xfe", b"\x09\x01", b"\x00\x01", b"\x0e"],
)
def test_damaged_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode("dflproto.v1.Job", data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decoded = wire.decode("dflproto.v1.JobEvent", data)
    except wire.WireError:
        return
    wire.encode("dflproto.v1.JobEvent", decoded)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Job", {"colour": 1}),
        ("Job", {"id": 5}),
        ("Job", {"id": "\ud800"}),
        ("Job", {"attempt_count": 2**31}),
        ("Job", {"state": "JOB_STATE_DREAMING"}),
        ("Job", {"spec": "merge"}),
        ("Job", {"last_sequence": "3"}),
        ("TrainSettings", {"seed": 2**63}),
        ("TrainSettings", {"learning_rate": "fast"}),
        ("Nonsense", {}),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(name: str, value: dict[str, Any]) -> None:
    with pytest.raises(wire.WireError, match=next(iter(value), name)):
        wire.encode(f"dflproto.v1.{name}", value)
