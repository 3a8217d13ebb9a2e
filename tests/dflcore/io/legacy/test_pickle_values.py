"""The reader of pickle bytes: what Python writes comes back, and nothing is ever run."""

import builtins
import io
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import DataCorrupt, DflError, InvalidInput
from dflcore.io.legacy.pickle_values import (
    DAMAGED,
    HOSTILE,
    SEGMENT_LIMITS,
    TOO_LARGE,
    Limits,
    iterate_items,
    read_value,
)
from dflcore.io.legacy.pickle_writer import EnumCall, write_value
from legacy_files import PROTOCOLS, FaceType, dumps, loads, mask_values, metadata

ARRAYS = st.sampled_from(["f4", "f8", "i4", "i8", "u1"]).flatmap(
    lambda kind: st.lists(st.integers(0, 4), min_size=1, max_size=3).map(
        lambda shape: np.arange(int(np.prod(shape))).reshape(shape).astype(kind)
    )
)
ATOMS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    ATOMS | ARRAYS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner) | st.tuples(inner, inner),
    max_leaves=30,
)


def same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and bool((left == right).all())
    if isinstance(left, (list, tuple)) and type(left) is type(right):
        return len(left) == len(right) and all(map(same, left, right))  # type: ignore[arg-type]
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


@given(value=VALUES, protocol=st.sampled_from(PROTOCOLS))
@settings(max_examples=60, deadline=None)
def test_what_python_writes_comes_back(value: object, protocol: int) -> None:
    assert same(read_value(pickle.dumps(value, protocol), "a.jpg"), value)


@given(value=VALUES, protocol=st.sampled_from((3, 4)))
@settings(max_examples=60, deadline=None)
def test_python_reads_what_is_written_here(value: object, protocol: int) -> None:
    data = write_value(value, protocol)
    assert same(loads(data), value)
    assert same(read_value(data, "a.jpg"), value)


@pytest.mark.parametrize("old_numpy", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_face_of_any_writer_is_read(protocol: int, old_numpy: bool) -> None:
    encoded, _ = mask_values()
    values = metadata(xseg_mask=encoded, brows=np.float64(0.5), turned=np.asfortranarray(np.eye(2, 3)))
    data = dumps(values, protocol, old_numpy=old_numpy)
    assert (b"numpy._core" in data) != old_numpy
    assert same(read_value(data, "a.jpg"), values | {"brows": 0.5})


def test_members_of_the_references_enumerations_are_numbers() -> None:
    assert read_value(dumps({"face_type": FaceType.WHOLE_FACE}, 4), "pak") == {"face_type": 4}
    assert read_value(write_value([EnumCall("facelib.FaceType", "FaceType", 10)]), "pak") == [10]


class Call:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class Plain:
    """An ordinary object with state."""


COMMAND = "touch canary"


def hostile() -> Iterator[tuple[str, bytes]]:
    """Name of what it asks for, and the bytes."""
    calls: dict[str, object] = {
        "system": Call(os.system, COMMAND),
        "builtins.eval": Call(eval, "open('canary', 'w')"),
        "builtins.exec": Call(exec, "open('canary', 'w')"),
        "builtins.getattr": Call(getattr, Call(__import__, "os"), "system"),
        "io.open": Call(open, "canary", "w"),
        "Popen": Call(subprocess.Popen, COMMAND),
        "numpy.load": Call(np.load, "canary.npy", None, True),
        "numpy.fromfile": Call(np.fromfile, "canary"),
        "pickle.loads": Call(pickle.loads, b"cos\nsystem\n."),
        "copyreg._reconstructor": Call(getattr(__import__("copyreg"), "_reconstructor"), object, object, None),  # noqa: B009
    }
    for name, call in calls.items():
        for protocol in PROTOCOLS:
            expected = name.replace("builtins", "__builtin__").replace("copyreg", "copy_reg") if protocol < 3 else name
            yield expected, pickle.dumps({"landmarks": [call]}, protocol)
    yield "array of objects", pickle.dumps(np.array([calls["system"]], dtype=object), 4)
    yield "array of objects", pickle.dumps(np.array([["harmless"]], dtype=object), 3)
    yield "Plain", pickle.dumps(Plain(), 4).replace(b"}", b"")
    raw = {
        "os.system": b"\x80\x03cos\nsystem\n(X\x0c\x00\x00\x00touch canarytR.",
        "this.s": b"\x80\x04\x8c\x04this\x8c\x01s\x93.",
        "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        "numpy.core.multiarray.fromfile": b"\x80\x03cnumpy.core.multiarray\nfromfile\n.",
        "INST of os.system": b"\x80\x03(X\x0c\x00\x00\x00touch canaryios\nsystem\n.",
        "OBJ": b"\x80\x03(cnumpy\nndarray\nK\x01o.",
        "NEWOBJ": b"\x80\x03cnumpy\nndarray\nK\x01\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04cnumpy\nndarray\nK\x01\x85}\x92.",
        "PERSID": b"\x80\x03P1\n.",
        "BINPERSID": b"\x80\x03K\x01Q.",
        "EXT1": b"\x80\x03\x82\x01.",
        "EXT4": b"\x80\x03\x84\x01\x00\x00\x00.",
        "NEXT_BUFFER": b"\x80\x05\x97.",
        "object's state": b"\x80\x03cnumpy\nndarray\nX\x01\x00\x00\x00a}b.",
        "builtins.eval": b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncbuiltins\neval\nK\x00\x85C\x01b\x87R.",
    }
    yield from raw.items()


HOSTILE_CASES = list(hostile())


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[list[str]]:
    """Anything that a hostile file could reach leaves a mark here."""
    sung: list[str] = []

    def sing(name: str) -> Callable[..., None]:
        return lambda *_, **__: sung.append(name)

    monkeypatch.chdir(str(tmp_path))
    for holder, name in [(os, "system"), (builtins, "eval"), (subprocess, "Popen"), (np, "load"), (np, "fromfile")]:
        monkeypatch.setattr(holder, name, sing(name))
    monkeypatch.setattr(pickle, "loads", sing("loads"))
    monkeypatch.setattr(pickle, "Unpickler", sing("Unpickler"))
    modules = set(sys.modules)
    yield sung
    assert not sung
    assert not os.listdir(".")
    assert "this" not in set(sys.modules) - modules


@pytest.mark.parametrize(("asked", "data"), HOSTILE_CASES)
def test_a_hostile_pickle_is_refused_by_name_and_nothing_runs(canary: list[str], asked: str, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="refused") as caught:
        read_value(data, "a.jpg")
    assert caught.value.reason == HOSTILE
    assert asked in caught.value.message
    assert not canary


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DAMAGED),
        (b".", DAMAGED),
        (b"\x80\x03", DAMAGED),
        (b"\x80\x09N.", DAMAGED),
        (b"\x80\x03NN.", DAMAGED),
        (b"\x80\x03}K\x01a.", DAMAGED),
        (b"\x80\x03}(K\x01u.", DAMAGED),
        (b"\x80\x03h\x05.", DAMAGED),
        (b"\x80\x03e.", DAMAGED),
        (b"\x80\x03cnumpy\nndarray\n.", DAMAGED),
        (b"\x80\x03X\xff\xff\xff\xff.", DAMAGED),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", DAMAGED),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", DAMAGED),
        (b"\x80\x03\x8a\xff" + b"\x01" * 255 + b".", DAMAGED),
        (b"\x80\x03N2.", DAMAGED),  # DUP
        (b"\x80\x03]q\x00h\x00a.", TOO_LARGE),  # a list that holds itself
        (b"\x80\x03" + b"]" * 60 + b"a" * 59 + b".", TOO_LARGE),
        (b"\x80\x03" + b"(" * 30_000 + b".", TOO_LARGE),
        (b"\x80\x03" + b"N" * 65_000 + b".", TOO_LARGE),
    ],
)
def test_what_is_broken_or_endless_is_called_damaged(data: bytes, reason: str) -> None:
    with pytest.raises(DataCorrupt) as caught:
        read_value(data, "a.jpg")
    assert caught.value.reason == reason
    assert caught.value.details["path"] == "a.jpg"


def array_pickle(shape: tuple[int, ...], code: str, data: bytes) -> bytes:
    good = pickle.dumps(np.zeros((2, 3)), 3)
    dims = b"".join(b"J" + int(side).to_bytes(4, "little", signed=True) for side in shape)
    good = good.replace(b"K\x02K\x03\x86", b"(" + dims + b"t")
    good = good.replace(b"X\x02\x00\x00\x00f8", b"X" + len(code).to_bytes(4, "little") + code.encode())
    return good.replace(b"C0" + bytes(48), b"C" + bytes([len(data)]) + data)


@pytest.mark.parametrize(
    ("shape", "code", "data"),
    [
        ((2, 3), "f8", bytes(47)),
        ((2**31 - 1, 2**31 - 1), "f8", bytes(8)),
        ((-1, -6), "f8", bytes(48)),
        ((2,), "U4", bytes(16)),
        ((2,), "V8", bytes(16)),
        ((1,) * 5, "f8", bytes(8)),
    ],
)
def test_arrays_that_lie_are_damaged(shape: tuple[int, ...], code: str, data: bytes) -> None:
    with pytest.raises(DataCorrupt):
        read_value(array_pickle(shape, code, data), "a.jpg")


def test_an_array_that_tells_the_truth_is_read() -> None:
    np.testing.assert_array_equal(read_value(array_pickle((3, 2), "f8", bytes(48)), "a"), np.zeros((3, 2)))


def laughs() -> bytes:
    """Lists of ten times the list before: 10^12 values if anyone looked."""
    data = b"\x80\x03]q\x00"
    for level in range(1, 13):
        data += b"](" + (b"h" + bytes([level - 1])) * 10 + b"eq" + bytes([level])
    return data + b"\x87."


def text_laughs() -> bytes:
    """One text of 30 kB turned into bytes five thousand times."""
    text = b"X" + (30_000).to_bytes(4, "little") + b"a" * 30_000 + b"q\x00"
    encode = b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02"
    return b"\x80\x03(" + text + encode + b"h\x01h\x00h\x02\x86R" * 3500 + b"t."


def array_laughs() -> bytes:
    """One array of 40 kB in ten thousand places."""
    array = pickle.dumps(np.zeros(5000), 3)[2:-1]
    return b"\x80\x03]q\xf0(" + array + b"q\xf1" + b"h\xf1" * 10_000 + b"e."


@pytest.mark.parametrize("make", [laughs, text_laughs, array_laughs])
def test_bombs_cost_neither_time_nor_memory(make: Callable[[], bytes]) -> None:
    data = make()
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(DataCorrupt):
        read_value(data, "a.jpg")
    elapsed = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert elapsed < 3.0  # tracing slows it down several times
    assert peak < 32 << 20


def test_the_fullest_segment_takes_a_moment_at_most() -> None:
    data = b"\x80\x03](" + b"}" * 65_000 + b"e."
    limits = replace(SEGMENT_LIMITS, stack=70_000)
    began = time.perf_counter()
    assert read_value(data, "a.jpg", limits) == [{}] * 65_000
    assert time.perf_counter() - began < 1.0


def test_a_bomb_among_items_is_stopped() -> None:
    data = (
        pickle.dumps([{"a": 1}], 3)[:-1]
        + b"]q\x70"
        + b"".join(b"](" + (b"h" + bytes([0x70 + level])) * 10 + b"eq" + bytes([0x71 + level]) for level in range(9))
    )
    with pytest.raises(DataCorrupt):
        list(iterate_items(io.BytesIO(data + b"a."), len(data) + 2, "pak"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_items_come_one_by_one(protocol: int) -> None:
    entries = [dict(metadata(number % 5), number=number) for number in range(1500)]
    data = dumps(entries, protocol, old_numpy=False)
    read = list(iterate_items(io.BytesIO(data), len(data), "pak"))
    assert same(read, entries)
    pairs = dumps({str(number): one for number, one in enumerate(entries)}, protocol, old_numpy=False)
    assert [key for key, _ in iterate_items(io.BytesIO(pairs), len(pairs), "meta")] == [str(n) for n in range(1500)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_items_may_share_with_earlier_ones(protocol: int) -> None:
    polygons, points = {"polys": []}, np.arange(6.0)
    entries = [{"number": number, "polys": polygons, "points": [points, number]} for number in range(3500)]
    data = dumps(entries, protocol, old_numpy=False)
    stream = io.BytesIO(b"before" + data + b"after")
    stream.seek(6)
    assert same(list(iterate_items(stream, len(data), "pak")), entries)


def test_items_share_little_or_nothing() -> None:
    large = [0.5] * 20_000
    for entries in (
        [{"number": number, "large": large} for number in range(1500)],
        [{"a": value} for value in [[number] for number in range(1001)] * 2],
    ):
        data = dumps(entries, 4)
        with pytest.raises(DataCorrupt) as caught:
            list(iterate_items(io.BytesIO(data), len(data), "pak"))
        assert caught.value.reason == TOO_LARGE


def test_items_before_a_fault_are_given_out() -> None:
    data = dumps([{"number": number} for number in range(2500)], 3)[:-200]
    seen = []
    with pytest.raises(DataCorrupt):
        for item in iterate_items(io.BytesIO(data), len(data), "pak"):
            seen.append(item)
    assert seen == [{"number": number} for number in range(2000)]


def test_limits_are_kept() -> None:
    limits = Limits(total_bytes=100, values=10)
    with pytest.raises(DataCorrupt):
        read_value(bytes(101), "a", limits)
    with pytest.raises(DataCorrupt):
        read_value(pickle.dumps(list(range(20))), "a", limits)


def test_what_cannot_be_written_is_refused() -> None:
    for value in (object(), np.zeros(2, dtype=object), np.zeros(2, np.complex64), 2**70, {1, 2}):
        with pytest.raises(InvalidInput):
            write_value({"a": value})


@given(data=st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"\x80\x03" + tail))
@settings(max_examples=300, deadline=1000)
def test_any_bytes_end_in_a_value_or_an_error_of_ours(data: bytes) -> None:
    read_or_refuse(data)


@given(
    protocol=st.sampled_from(PROTOCOLS),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    cut=st.floats(0, 1) | st.none(),
)
@settings(max_examples=300, deadline=1000)
def test_damaged_faces_end_in_a_value_or_an_error_of_ours(
    protocol: int, edits: list[tuple[float, int]], cut: float | None
) -> None:
    data = bytearray(dumps(metadata(xseg_mask=mask_values()[0]), protocol))
    for place, value in edits:
        data[min(int(place * len(data)), len(data) - 1)] = value
    read_or_refuse(bytes(data if cut is None else data[: int(cut * len(data))]))


def read_or_refuse(data: bytes) -> None:
    try:
        value = read_value(data, "a.jpg")
    except DflError:
        return
    repr(value)
