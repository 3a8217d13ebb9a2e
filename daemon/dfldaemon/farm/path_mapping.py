"""Paths of one machine as another knows them: the rules a farm gives a session.

The file is OpenJobDescription's ``pathmapping-1.0``. A rule fits whole parts of a path (``/mnt/show`` is no beginning
of ``/mnt/showcase``); Windows paths are compared without regard to case, and ``/`` and ``\\`` count the same in them.
Of several rules that fit, the one with the longest source counts. Rules of other kinds (addresses of object stores)
are passed over: no path of ours begins so.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from dflcore.errors import DataCorrupt

VERSION = "pathmapping-1.0"
MAX_BYTES = 1_000_000
_FORMATS: dict[str, type[PurePath]] = {"POSIX": PurePosixPath, "WINDOWS": PureWindowsPath}
_WINDOWS_ROOT = re.compile(r"[A-Za-z]:|\\\\")


@dataclass(frozen=True, slots=True)
class PathRule:
    """Paths at or below ``source`` are at or below ``destination`` here."""

    source: PurePath
    destination: PurePath

    def apply(self, text: str) -> str | None:
        """The path here, None where the rule does not fit."""
        path = type(self.source)(text)
        return str(self.destination.joinpath(*path.relative_to(self.source).parts)) if self.fits(path) else None

    def fits(self, path: PurePath) -> bool:
        """The path is the source or lies below it; a relative one never does."""
        return path.is_absolute() and path.is_relative_to(self.source)


@dataclass(frozen=True, slots=True)
class PathMap:
    """Rules, the most special one first."""

    rules: tuple[PathRule, ...] = ()

    def apply(self, text: str) -> str:
        """The path as this machine knows it; one that no rule fits stays as it is."""
        for rule in self.rules:
            found = rule.apply(text)
            if found is not None:
                return found
        return text


def read_path_map(path: Path) -> PathMap:
    """The rules of a session; a file without any is no mistake.

    Raises:
        DataCorrupt: the file cannot be read or is something else.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise ValueError("more than a megabyte")
        values = json.loads(raw)
        if not values:
            return PathMap()
        if values["version"] != VERSION:
            raise ValueError(f"version {values['version']!r}")
        rules = [_rule(rule) for rule in values["path_mapping_rules"] if rule["source_path_format"] in _FORMATS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(
            f"The path-mapping rules {path} cannot be read ({error}); they must be JSON of {VERSION}.",
            reason="PATH_MAPPING_DAMAGED",
            path=path,
        ) from error
    return PathMap(tuple(sorted(rules, key=lambda rule: len(rule.source.parts), reverse=True)))


def _rule(values: dict[str, Any]) -> PathRule:
    destination = str(values["destination_path"])
    kind = PureWindowsPath if _WINDOWS_ROOT.match(destination) else PurePosixPath
    return PathRule(_FORMATS[values["source_path_format"]](str(values["source_path"])), kind(destination))
