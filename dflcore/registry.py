"""Named, replaceable components: our own by module path, third parties' by Python entry points.

A package adds a detector by declaring ``[project.entry-points."dflcore.detectors"] mine = "pkg.module:factory"``.
Nothing is imported until a component is asked for by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from dflcore.errors import NotFound, Unsupported

T = TypeVar("T")


class Registry(Generic[T]):
    """Names → factories of one kind of component.

    Args:
        kind: the word in error messages, for example ``detector``.
        group: entry-point group third parties register in.
        builtin: name → ``module:attribute`` of our own factories.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)

    def names(self) -> list[str]:
        """All registered names, ours first."""
        ours = list(self._builtin)
        return ours + sorted(point.name for point in self._entry_points() if point.name not in self._builtin)

    def load(self, name: str) -> T:
        """The factory behind ``name``.

        Raises:
            NotFound: no component of that name.
            Unsupported: it is registered but its package cannot be imported here.
        """
        try:
            if name in self._builtin:
                module_name, _, attribute = self._builtin[name].partition(":")
                return cast(T, getattr(importlib.import_module(module_name), attribute))
            for point in self._entry_points():
                if point.name == name:
                    return cast(T, point.load())
        except ImportError as error:
            raise Unsupported(
                f"The {self.kind} {name!r} is known but cannot be loaded: {error}. Install the package it needs.",
                reason="COMPONENT_NOT_INSTALLED",
                name=name,
            ) from error
        raise NotFound(
            f"There is no {self.kind} named {name!r}; known are {', '.join(self.names())}.",
            reason="UNKNOWN_COMPONENT",
            name=name,
        )

    def _entry_points(self) -> list[Any]:
        return list(metadata.entry_points(group=self.group))
