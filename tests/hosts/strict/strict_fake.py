"""Strict fakes of a host's Python API: what the table of its stubs does not know fails, and so does a wrong arity.

A fake has three layers. The *table* says which names there are and what they take (:mod:`stub_table`). *Tightened*
signatures say it better where the stubs only know ``(*args, **kwargs)``. The *behaviour* is plain Python for exactly
what the code under test calls; a known name without behaviour raises :class:`NoBehaviourError`, so that nothing
passes for the reason that a mock swallows it.
"""

from __future__ import annotations

import functools
import inspect
import json
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Guard = Callable[[str], None]
_SKIPPED = frozenset(
    [
        "__hash__",
        "__eq__",
        "__ne__",
        "__lt__",
        "__le__",
        "__gt__",
        "__ge__",
        "__reduce_ex__",
        "__setattr__",
        "__delattr__",
        "__getattr__",
        "__new__",
    ]
)


class NoBehaviourError(Exception):
    """The real API has this name, our fake does not say what it does: write it if the call is wanted."""


@functools.cache
def load_table(name: str) -> dict[str, Any]:
    """A table that lies beside this file."""
    table: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    return table


def make_module(
    name: str,
    table: Mapping[str, Any],
    *,
    functions: Mapping[str, Callable[..., Any]],
    classes: Mapping[str, type],
    values: Mapping[str, Any],
    tightened: Mapping[str, list[str]],
    guard: Guard,
) -> types.ModuleType:
    """A module that answers to the table's names and to no other.

    Args:
        functions, classes, values: behaviour, by the table's names. A class's public methods must be the table's too.
        tightened: ``function`` or ``Class.method`` → better signatures.
        guard: called with the name of every call before it is done; raises where it may not be made.

    Raises:
        TypeError: a behaviour for a name that the table lacks.
    """
    module = _StrictModule(name)
    for unknown in (set(functions) - set(table["functions"])) | (set(classes) - set(table["classes"])):
        raise TypeError(f"{name} has no {unknown}: behaviour for a name that the stubs lack")
    for unknown in set(values) - set(table["constants"]):
        raise TypeError(f"{name} has no constant {unknown}")
    for number, constant in enumerate(table["constants"]):
        module.__dict__[constant] = values.get(constant, 1 << number)
    for function, signatures in table["functions"].items():
        wanted = tightened.get(function, signatures)
        module.__dict__[function] = _strict_function(f"{name}.{function}", wanted, functions.get(function), guard)
    made: dict[str, type] = {}
    for label in table["classes"]:
        _make_class(name, label, table, classes, tightened, guard, made)
    module.__dict__.update(made)
    return module


class _StrictModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__name__} has no {name!r} (not in its stubs)")


@functools.cache
def parse_signature(text: str) -> inspect.Signature:
    """A table's signature as Python binds it."""
    kinds = inspect.Parameter
    found: list[inspect.Parameter] = []
    keyword_only = False
    for word in text.split():
        plain = word.rstrip("=")
        if word == "*":
            keyword_only = True
        elif word.startswith("**"):
            found.append(kinds(word[2:], kinds.VAR_KEYWORD))
        elif word.startswith("*"):
            keyword_only = True
            found.append(kinds(word[1:], kinds.VAR_POSITIONAL))
        else:
            kind = kinds.KEYWORD_ONLY if keyword_only else kinds.POSITIONAL_OR_KEYWORD
            found.append(kinds(plain, kind, default=None if word.endswith("=") else kinds.empty))
    return inspect.Signature(found)


def _checker(name: str, signatures: list[str]) -> Callable[..., None]:
    def check(*args: Any, **kwargs: Any) -> None:
        faults = []
        for text in signatures:
            try:
                parse_signature(text).bind(*args, **kwargs)
            except TypeError as error:
                faults.append(str(error))
            else:
                return
        raise TypeError(f"{name}: {'; '.join(faults)}")

    return check


def _strict_function(
    name: str, signatures: list[str], behaviour: Callable[..., Any] | None, guard: Guard
) -> Callable[..., Any]:
    check = _checker(name, signatures)

    def call(*args: Any, **kwargs: Any) -> Any:
        guard(name)
        check(*args, **kwargs)
        if behaviour is None:
            raise NoBehaviourError(f"{name} is real, but this fake does not say what it does")
        return behaviour(*args, **kwargs)

    call.__name__ = name.rpartition(".")[2]
    return call


def _make_class(
    module: str,
    label: str,
    table: Mapping[str, Any],
    classes: Mapping[str, type],
    tightened: Mapping[str, list[str]],
    guard: Guard,
    made: dict[str, type],
) -> type:
    if label in made:
        return made[label]
    entry = table["classes"][label]
    bases = [
        _make_class(module, base, table, classes, tightened, guard, made)
        for base in entry["bases"]
        if base in table["classes"]
    ]
    behaviour = classes.get(label)
    known = set(entry["methods"]) | set(entry["attributes"])
    for base in bases:
        known |= base.__strict_names__  # type: ignore[attr-defined]
    if behaviour is not None:
        unknown = {name for name in vars(behaviour) if not name.startswith("_")} - known
        if unknown:
            raise TypeError(f"{module}.{label} has no {', '.join(sorted(unknown))}")
        bases.insert(0, behaviour)
    space: dict[str, Any] = {"__strict_names__": known, "__module__": module}
    cls = type(label, tuple(bases) or (object,), space)
    for method, signatures in entry["methods"].items():
        if method not in _SKIPPED:
            wanted = tightened.get(f"{label}.{method}", signatures)
            on_class = method in entry["class_methods"]
            name = f"{module}.{label}.{method}"
            setattr(cls, method, _StrictMethod(cls, name, wanted, guard, on_class=on_class))
    made[label] = cls
    return cls


class _StrictMethod:
    """A method that is checked, then done by the behaviour; class methods are found on the class as well."""

    def __init__(self, cls: type, name: str, signatures: list[str], guard: Guard, *, on_class: bool) -> None:
        self._cls, self._name, self._guard, self._on_class = cls, name, guard, on_class
        self._check = _checker(name, signatures)

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        if instance is None and not self._on_class:
            return lambda self_, *args, **kwargs: self.__get__(self_, owner)(*args, **kwargs)
        target = owner if instance is None else instance

        def call(*args: Any, **kwargs: Any) -> Any:
            self._guard(self._name)
            self._check(*args, **kwargs)
            behaviour = getattr(super(self._cls, target), self._name.rpartition(".")[2], None)
            if behaviour is None:
                raise NoBehaviourError(f"{self._name} is real, but this fake does not say what it does")
            return behaviour(*args, **kwargs)

        return call
