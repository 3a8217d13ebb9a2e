"""Plain values out of pickle bytes, without executing anything.

The reader is an interpreter of its own for the opcodes that the reference's files hold (deepfacelab fact sheet §2.3).
Names are never looked up: the ten or so that such files contain are known by their text, any other one ends the
reading. Work and memory are bounded by :class:`Limits`, whatever the bytes say.

Source: the opcode set of Python's documented pickle protocols 2 to 5.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, DflError, InvalidInput

Value: TypeAlias = Any
"""dict (text or whole-number keys), list, tuple, str, bytes, int, float, bool, None, or an array, nested."""

HOSTILE = "HOSTILE_PICKLE"
DAMAGED = "PICKLE_DAMAGED"
TOO_LARGE = "PICKLE_TOO_LARGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one value may cost; nothing the reference writes comes near.

    Attributes:
        total_bytes: length of all pickle bytes.
        values: values made, and values of the finished tree where shared ones count as often as they occur. When
            items are read one by one, of a batch of items and of one item.
        piece_bytes: a single text, byte string or array.
        held_bytes: all of those together, of a batch of items when items are read one by one.
        depth: nesting.
        stack: values waiting to be put together.
        memo: values kept for a second use. bytes_per_memo: of the length, for every value kept beyond 100 000.
        holder: what the values belong to, for messages.
    """

    total_bytes: int
    values: int
    piece_bytes: int = 1 << 20
    held_bytes: int = 128 << 20
    depth: int = 16
    stack: int = 20_000
    memo: int = 100_000
    bytes_per_memo: int = 64
    holder: str = "face"


SEGMENT_LIMITS: Final = Limits(total_bytes=65_533, values=70_000, piece_bytes=1 << 16, held_bytes=1 << 18)
"""For the metadata of one face."""
LISTING_LIMITS: Final = Limits(total_bytes=8 << 30, values=1_000_000, memo=5_000_000)
"""For listings of whole facesets, read item by item."""


@dataclass(frozen=True, slots=True)
class _Global:
    """A name that was met; it stands for nothing but its role."""

    role: str


class _Dtype:
    """A number format that is still being described."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "|" if code == "u1" else "<"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _Array:
    """An array that is still being described."""

    def __init__(self) -> None:
        self.array: NDArray[Any] | None = None


class _Mark:
    """Where a group of values on the stack begins."""


_MARK: Final = _Mark()
DTYPE_CODES: Final = frozenset({"f4", "f8", "i4", "i8", "u1"})
"""Kinds of numbers in arrays: all that the reference writes."""
_MAX_DIMENSIONS: Final = 4
_MAX_SHARED: Final = 1000
_SHARED_VALUES: Final = 10_000
_SHARED_BYTES: Final = 100_000
"""What items of different batches may share: so many values, each of so many values and bytes."""
_LEAST_MEMO: Final = 100_000
"""Values kept whatever the length; a face keeps ten in its two thousand bytes or more."""

_ROLES: Final[dict[tuple[str, str], str]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("samplelib.Sample", "SampleType"): "enum",
    ("facelib.FaceType", "FaceType"): "enum",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
}

_HOSTILE_OPCODES: Final = {
    b"i": "INST",
    b"o": "OBJ",
    b"\x81": "NEWOBJ",
    b"\x92": "NEWOBJ_EX",
    b"P": "PERSID",
    b"Q": "BINPERSID",
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"\x97": "NEXT_BUFFER",
    b"\x98": "READONLY_BUFFER",
}


def read_value(data: bytes, name: str, limits: Limits = SEGMENT_LIMITS) -> Value:
    """The one value that pickle bytes describe.

    Args:
        data: the bytes; whatever follows the value is not looked at.
        name: of the file they come from, for messages.

    Returns:
        Plain values; arrays are read-only, of dtype float32, float64, int32, int64 or uint8 and at most 4 dimensions.

    Raises:
        InvalidInput: it asks for something to be called or looked up (``HOSTILE_PICKLE``).
        DataCorrupt: it is truncated, no pickle, or goes over a limit.
    """
    machine = _Machine(io.BytesIO(data), len(data), name, limits)
    while not machine.step():
        pass
    return machine.result()


def iterate_items(stream: BinaryIO, length: int, name: str, limits: Limits = LISTING_LIMITS) -> Iterator[Value]:
    """The items of a pickled list, or the (key, value) pairs of a pickled dict, a batch in memory at a time.

    Items that share a list or an array with one of an earlier batch are rare; they cost a second reading from the
    start, which knows what to keep.

    Args:
        stream: stands at the first byte; can seek.
        length: bytes that belong to the pickle.
        name: see :func:`read_value`.

    Raises:
        InvalidInput, DataCorrupt: as :func:`read_value`, after the items before the fault.
    """
    start = stream.tell()
    given = 0
    try:
        for item in _Machine(stream, length, name, limits, is_listing=True).items():
            yield item
            given += 1
        return
    except _ForgottenError:
        stream.seek(start)
        shared = _Machine(stream, length, name, limits).recalled_indexes()
    stream.seek(start)
    machine = _Machine(stream, length, name, limits, is_listing=True, shared=shared)
    yield from itertools.islice(machine.items(), given, None)


class _ForgottenError(Exception):
    """A value of an earlier batch is asked for, which was not kept."""


class _Machine:
    """Stack, memo and budget of one reading."""

    def __init__(
        self,
        stream: BinaryIO,
        length: int,
        name: str,
        limits: Limits,
        *,
        is_listing: bool = False,
        shared: frozenset[int] | None = None,
    ) -> None:
        self._is_listing, self._shared = is_listing, shared
        self._shared_count = 0
        self._stream, self._left, self._name, self._limits = stream, length, name, limits
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._next_memo = 0
        self._memo_room = min(limits.memo, _LEAST_MEMO + length // limits.bytes_per_memo)
        self._fleeting: list[int] = []
        self._made = 0
        self._held = 0
        self.has_items = False
        """Something was put into the outermost list or dict."""
        if length > limits.total_bytes:
            raise self._too_large(f"{length} bytes, at most {limits.total_bytes} are read")

    # -- the loop

    def step(self) -> bool:
        """Carry out one opcode; True after the last."""
        opcode = self._take(1)
        if opcode == b".":
            return True
        action = _ACTIONS.get(opcode)
        if action is None:
            if opcode in _HOSTILE_OPCODES:
                raise self._hostile(f"the instruction {_HOSTILE_OPCODES[opcode]}{self._named_class(opcode)}")
            raise self._damaged(f"the instruction {opcode!r} has no business there")
        action(self)
        return False

    def items(self) -> Iterator[Value]:
        """Run to the end, giving out what is put into the outermost list or dict."""
        finished = False
        while not finished:
            finished = self.step()
            if self.has_items:
                yield from self.take_items()
        if len(self._stack) != 1 or not isinstance(self._stack[0], (list, dict)):
            raise self._damaged("it holds no list")

    def recalled_indexes(self) -> frozenset[int]:
        """Places of the memo that are looked up anywhere; nothing is made. Ends early at what is no instruction."""
        found: set[int] = set()
        while (opcode := self._take(1)) in _ACTIONS and opcode != b".":
            if opcode in _SIZES:
                argument = self._number(_SIZES[opcode])
                if opcode in (b"h", b"j"):
                    found.add(argument)
                elif opcode in _COUNTED:
                    self._take(argument)
            elif opcode == b"c":
                self._line(), self._line()
            self._held = 0
        return frozenset(found)

    def result(self) -> Value:
        if len(self._stack) != 1:
            raise self._damaged(f"it ends with {len(self._stack)} values instead of one")
        self._made = self._held = 0
        return self._settle(self._stack[0], 0)

    def take_items(self) -> Iterator[Value]:
        """What has been put into the outermost list or dict since the last time; forgotten here."""
        root = self._stack[0]
        items: list[Any] = list(root.items()) if isinstance(root, dict) else list(root)
        root.clear()
        self.has_items = False
        for item in items:
            self._made = self._held = 0
            yield self._settle(item, 0)
        self._made = self._held = 0
        for index in self._fleeting:
            if self._shared is None or index not in self._shared:
                self._memo.pop(index, None)
            else:
                self._keep_shared(self._memo[index])
        self._fleeting.clear()
        self._made = self._held = 0

    def _keep_shared(self, value: Any) -> None:
        """Let a value live on that later batches look up; few and small ones only."""
        self._shared_count += 1
        self._made, self._held = self._limits.values - _SHARED_VALUES, self._limits.held_bytes - _SHARED_BYTES
        self._settle(value, 0)
        if self._shared_count > _MAX_SHARED:
            raise self._too_large("too many values are shared")

    # -- bytes

    def _take(self, count: int) -> bytes:
        if count > self._left:
            raise self._damaged("it ends in the middle")
        if count > self._limits.piece_bytes:
            raise self._too_large(f"a single value of {count} bytes")
        data = self._stream.read(count)
        if len(data) != count:
            raise self._damaged("it ends in the middle")
        self._left -= count
        self._hold(count)
        return data

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held > self._limits.held_bytes:
            raise self._too_large(f"more than {self._limits.held_bytes} bytes at once")

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return int(number)

    def _line(self) -> str:
        line = self._stream.readline(min(256, self._left))
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise self._damaged("a name without an end")
        return line[:-1].decode("utf-8", "replace")

    # -- stack

    def push(self, value: Any) -> None:
        self._made += 1
        if self._made > self._limits.values or len(self._stack) >= self._limits.stack:
            raise self._too_large(f"more than {self._made} values")
        self._stack.append(value)

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._damaged("an instruction lacks its values")
        return self._stack.pop()

    def pop_group(self) -> list[Any]:
        """Values above the nearest mark, which goes too."""
        for position in range(len(self._stack) - 1, -1, -1):
            if self._stack[position] is _MARK:
                group = self._stack[position + 1 :]
                del self._stack[position:]
                return group
        raise self._damaged("a group without a beginning")

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def extend(self, values: list[Any]) -> None:
        if not self._stack or not isinstance(self._stack[-1], list):
            raise self._damaged("something is appended to what is no list")
        self._stack[-1].extend(values)
        self.has_items = len(self._stack) == 1

    def set_items(self, flat: list[Any]) -> None:
        if len(flat) % 2 or not self._stack or not isinstance(self._stack[-1], dict):
            raise self._damaged("something is put into what is no dictionary")
        for key in flat[::2]:
            if type(key) not in (str, int):
                raise self._damaged(f"a dictionary key of type {type(key).__name__}")
        self._stack[-1].update(zip(flat[::2], flat[1::2], strict=True))
        self.has_items = len(self._stack) == 1

    # -- memo

    def remember(self, index: int) -> None:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._damaged("an instruction lacks its values")
        if len(self._memo) >= self._memo_room:
            raise self._too_large("too many values are kept")
        self._memo[index] = self._stack[-1]
        if not _is_small(self._stack[-1]):
            self._fleeting.append(index)
        self._next_memo = max(self._next_memo, index) + 1

    def memoize(self) -> None:
        self.remember(self._next_memo)

    def recall(self, index: int) -> None:
        if index not in self._memo:
            if self._is_listing and self._shared is None and index < self._next_memo:
                raise _ForgottenError
            raise self._damaged("it refers to a value that does not exist")
        self.push(self._memo[index])

    # -- names and calls

    def push_global(self, module: Any, name: Any) -> None:
        role = _ROLES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if role is None:
            raise self._hostile(f"{_brief(module)}.{_brief(name)}")
        self.push(_Global(role))

    def reduce(self) -> None:
        function, arguments = self.pop_many(2)
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise self._damaged("a call of what cannot be called")
        maker = _MAKERS.get(function.role)
        if maker is None:
            raise self._damaged(f"a call of {function.role}")
        self.push(maker(self, *arguments) if len(arguments) in _ARGUMENT_COUNTS[function.role] else self._misfit())

    def make_array(self, kind: Any, shape: Any, code: Any) -> _Array:
        if kind != _Global("ndarray") or shape != (0,) or code not in (b"b", "b"):
            self._misfit()
        return _Array()

    def make_dtype(self, code: Any, align: Any, copy: Any) -> _Dtype:
        if isinstance(code, str) and code.startswith("O"):
            raise self._hostile("an array of objects")
        if not isinstance(code, str) or code not in DTYPE_CODES:
            raise self._damaged(f"numbers of type {_brief(code)}; f4, f8, i4, i8 and u1 are read")
        return _Dtype(code)

    def make_scalar(self, dtype: Any, data: Any) -> int | float:
        array = self._numbers(dtype, (), data, False)
        number: int | float = array.item()
        return number

    def make_from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
        made = _Array()
        made.array = self._numbers(dtype, shape, data, order == "F")
        return made

    def make_bytes(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            self._misfit()
        self._hold(len(text))
        try:
            return bytes(text, "latin-1")
        except UnicodeEncodeError as error:
            raise self._damaged("bytes that are none") from error

    def make_enum(self, number: Any) -> int:
        if type(number) is not int:
            self._misfit()
        return int(number)

    def make_empty(self) -> bytes:
        return b""

    def build(self) -> None:
        target, state = self.pop_many(2)
        if not isinstance(state, tuple) or not isinstance(target, (_Array, _Dtype)):
            raise self._hostile("the setting of an object's state")
        self._stack.append(target)
        if isinstance(target, _Dtype):
            if len(state) not in (8, 9) or state[1] not in ("<", "|", "=") or state[2:5] != (None, None, None):
                self._misfit()
            return
        if len(state) != 5 or target.array is not None:
            self._misfit()
        _, shape, dtype, is_fortran, data = state
        target.array = self._numbers(dtype, shape, data, is_fortran is True)

    def _numbers(self, dtype: Any, shape: Any, data: Any, is_fortran: bool) -> NDArray[Any]:
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or not isinstance(data, bytes):
            self._misfit()
        if len(shape) > _MAX_DIMENSIONS or any(type(side) is not int or not 0 <= side < 1 << 31 for side in shape):
            raise self._damaged("an array of an impossible shape")
        count = 1
        for side in shape:
            count *= side
        kind = dtype.numpy()
        if count * kind.itemsize != len(data):
            raise self._damaged(f"an array of shape {shape} in {len(data)} bytes")
        try:
            return np.frombuffer(data, dtype=kind).reshape(shape, order="F" if is_fortran else "C")
        except ValueError as error:
            raise self._damaged(f"an array of shape {shape}") from error

    # -- the finished tree

    def _settle(self, value: Any, depth: int) -> Value:
        """A tree of its own out of values that may be shared, so that nobody downstream meets a cycle or a bomb."""
        self._made += 1
        if self._made > self._limits.values:
            raise self._too_large(f"more than {self._limits.values} values")
        if depth > self._limits.depth:
            raise self._too_large(f"more than {self._limits.depth} levels")
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, (str, bytes)):
            self._hold(len(value))
            return value
        if isinstance(value, list):
            return [self._settle(one, depth + 1) for one in value]
        if isinstance(value, tuple):
            return tuple(self._settle(one, depth + 1) for one in value)
        if isinstance(value, dict):
            return {key: self._settle(one, depth + 1) for key, one in value.items()}
        if isinstance(value, _Array) and value.array is not None:
            self._hold(value.array.nbytes)
            return value.array
        raise self._damaged("a value that was never completed")

    # -- complaints

    def _named_class(self, opcode: bytes) -> str:
        return f" of {self._line()}.{self._line()}" if opcode == b"i" else ""

    def _misfit(self) -> Any:
        raise self._damaged("an array or number that is not described as numpy does")

    def _hostile(self, what: str) -> DflError:
        return InvalidInput(
            f"{self._name} is refused: its metadata asks for {what}, which no {self._limits.holder} needs and which "
            "could run a program on this machine. Nothing was run. Do not open the file with other software; ask where "
            "it came from.",
            reason=HOSTILE,
            path=self._name,
            name=what,
        )

    def _damaged(self, what: str) -> DflError:
        return DataCorrupt(f"The metadata of {self._name} is damaged: {what}.", reason=DAMAGED, path=self._name)

    def _too_large(self, what: str) -> DflError:
        return DataCorrupt(
            f"The metadata of {self._name} is larger than any {self._limits.holder}'s: {what}.",
            reason=TOO_LARGE,
            path=self._name,
        )

    # -- opcodes that read an argument

    def read_protocol(self) -> None:
        version = self._number("<B")
        if not 2 <= version <= 5:
            raise self._damaged(f"pickle protocol {version}; 2 to 5 are read")

    def read_frame(self) -> None:
        if self._number("<Q") > self._left:
            raise self._damaged("it ends in the middle")

    def read_long(self) -> None:
        count = self._number("<B")
        if count > 8:
            raise self._damaged("a number of more than 64 bits")
        self.push(int.from_bytes(self._take(count), "little", signed=True))

    def read_float(self) -> None:
        self.push(struct.unpack(">d", self._take(8))[0])

    def read_text(self, form: str) -> None:
        self.push(self._take(self._number(form)).decode("utf-8", "replace"))  # half a character can be in a file name

    def read_bytes(self, form: str) -> None:
        self.push(self._take(self._number(form)))

    def read_integer(self, form: str) -> None:
        self.push(self._number(form))

    def read_global(self) -> None:
        self.push_global(self._line(), self._line())

    def stack_global(self) -> None:
        self.push_global(*self.pop_many(2))

    def read_put(self, form: str) -> None:
        self.remember(self._number(form))

    def read_get(self, form: str) -> None:
        self.recall(self._number(form))


def _brief(value: Any) -> str:
    """A text for a message; anything else by its kind only, it may be endless."""
    return value[:80] if isinstance(value, str) else f"<{type(value).__name__}>"


def _is_small(value: Any) -> bool:
    """Worth keeping from one batch to the next: names, texts and formats; containers belong to their own item."""
    if isinstance(value, (str, bytes)):
        return len(value) <= 256
    if isinstance(value, tuple):
        return len(value) <= 4 and all(type(one) is int for one in value)
    return value is None or isinstance(value, (bool, int, float, _Global, _Dtype))


_MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "reconstruct": _Machine.make_array,
    "dtype": _Machine.make_dtype,
    "scalar": _Machine.make_scalar,
    "frombuffer": _Machine.make_from_buffer,
    "encode": _Machine.make_bytes,
    "enum": _Machine.make_enum,
    "bytes": _Machine.make_empty,
}
_ARGUMENT_COUNTS: Final = {
    "reconstruct": (3,),
    "dtype": (3,),
    "scalar": (2,),
    "frombuffer": (4,),
    "encode": (2,),
    "enum": (1,),
    "bytes": (0,),
}

_SIZES: Final = {
    **dict.fromkeys((b"\x80", b"K", b"C", b"q", b"h", b"\x8a", b"\x8c"), "<B"),
    **dict.fromkeys((b"X", b"B", b"J", b"r", b"j"), "<I"),
    **dict.fromkeys((b"\x95", b"G", b"\x8d", b"\x8e", b"\x96"), "<Q"),
    b"M": "<H",
}
"""Form of the number behind an instruction."""
_COUNTED: Final = frozenset({b"C", b"B", b"X", b"\x8a", b"\x8c", b"\x8d", b"\x8e", b"\x96"})
"""Instructions whose number counts the bytes that follow."""

_ACTIONS: Final[dict[bytes, Callable[[_Machine], None]]] = {
    b"\x80": _Machine.read_protocol,
    b"\x95": _Machine.read_frame,
    b"(": lambda m: m.push(_MARK),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.read_integer("<i"),
    b"K": lambda m: m.read_integer("<B"),
    b"M": lambda m: m.read_integer("<H"),
    b"\x8a": _Machine.read_long,
    b"G": _Machine.read_float,
    b"X": lambda m: m.read_text("<I"),
    b"\x8c": lambda m: m.read_text("<B"),
    b"\x8d": lambda m: m.read_text("<Q"),
    b"B": lambda m: m.read_bytes("<I"),
    b"C": lambda m: m.read_bytes("<B"),
    b"\x8e": lambda m: m.read_bytes("<Q"),
    b"\x96": lambda m: m.read_bytes("<Q"),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_group())),
    b"\x85": lambda m: m.push(tuple(m.pop_many(1))),
    b"\x86": lambda m: m.push(tuple(m.pop_many(2))),
    b"\x87": lambda m: m.push(tuple(m.pop_many(3))),
    b"a": lambda m: m.extend(m.pop_many(1)),
    b"e": lambda m: m.extend(m.pop_group()),
    b"s": lambda m: m.set_items(m.pop_many(2)),
    b"u": lambda m: m.set_items(m.pop_group()),
    b"q": lambda m: m.read_put("<B"),
    b"r": lambda m: m.read_put("<I"),
    b"\x94": _Machine.memoize,
    b"h": lambda m: m.read_get("<B"),
    b"j": lambda m: m.read_get("<I"),
    b"c": _Machine.read_global,
    b"\x93": _Machine.stack_global,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
}
