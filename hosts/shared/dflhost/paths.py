"""The same file under two names: the workstation's and the daemon's, POSIX or Windows on either side."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import HostError

_WINDOWS = re.compile(r"^(?:[A-Za-z]:(?:[\\/]|$)|[\\/]{2}[^\\/])")


@dataclass(frozen=True)
class PathMap:
    """Prefixes of paths: workstation's → daemon's. The longest that fits is taken; an empty map changes nothing.

    Either side may be POSIX (``/mnt/shots``) or Windows (``P:\\shots``, ``\\\\server\\share``); a Windows prefix is
    compared without regard to case and to the direction of slashes, and what follows it is written with the slashes
    of the other side. A prefix ends at a border between folders: ``/mnt/shot`` does not fit ``/mnt/shots/a.exr``.

    Attributes:
        pairs: (workstation's prefix, daemon's prefix).
    """

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> PathMap:
        """Read ``P:\\shots=/mnt/shots; /Volumes/cache=/cache``.

        Raises:
            HostError: a pair has no ``=`` or a prefix is not absolute (reason ``BAD_PATH_MAP``).
        """
        pairs = []
        for part in re.split(r"[;\n]", text):
            if not part.strip():
                continue
            local, equals, remote = (side.strip() for side in part.partition("="))
            if not equals or not (is_absolute(local) and is_absolute(remote)):
                raise HostError(
                    f"The path map {part.strip()!r} cannot be read; write folder here=folder on the daemon's machine, "
                    r"for example P:\shots=/mnt/shots, several joined by semicolons.",
                    reason="BAD_PATH_MAP",
                    category="INVALID_INPUT",
                    details={"field": "path_map"},
                )
            pairs.append((local, remote))
        return cls(tuple(pairs))

    def to_daemon(self, path: str) -> str:
        """A path of the workstation as the daemon names it; one outside the map as it is."""
        return _mapped(path, self.pairs)

    def to_workstation(self, path: str) -> str:
        """A path of the daemon as the workstation names it; one outside the map as it is."""
        return _mapped(path, tuple((remote, local) for local, remote in self.pairs))

    def __str__(self) -> str:
        """Parses back to the same map."""
        return "; ".join(f"{local}={remote}" for local, remote in self.pairs)


_PATH_SETTINGS = frozenset({"ocio_config", "segmenter", "reference", "meta_dat", "plate", "face_model"})
_JOINED_SETTINGS = frozenset({"keep_person"})


def settings_to_daemon(settings: Mapping[str, Any], paths: PathMap) -> dict[str, Any]:
    """Settings with the daemon's paths in those that name files; a plain word is a name and stays as it is.

    ``cast`` is text with folders in it: those of the map's prefixes are replaced where they begin a model's path.
    """
    return with_paths(settings, paths.to_daemon)


def with_paths(settings: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Settings with every path in them changed; empty ones are left out. Raises what ``change`` raises."""
    return {name: _setting(name, value, change) for name, value in settings.items() if value is not None}


def _setting(name: str, value: Any, change: Callable[[str], str]) -> Any:
    if not isinstance(value, str) or not value:
        return value
    if name in _PATH_SETTINGS:
        return change(value)
    if name in _JOINED_SETTINGS:
        parts = value.split(";") if is_windows(value) else value.split(os.pathsep)
        mapped = [change(part) for part in parts]
        return (";" if is_windows(mapped[0]) else ":").join(mapped)
    if name == "enhancer":  # onnx:/path/to/file.onnx?range=unit
        kind, colon, rest = value.partition(":")
        path, mark, options = rest.partition("?")
        return kind + colon + change(path) + mark + options if colon and is_absolute(path) else value
    if name == "cast":
        return _CAST_PATH.sub(lambda match: match[1] + change(match[2].rstrip()), value)
    return value


_CAST_PATH = re.compile(r'(=\s*"?)([^",;\n]+)')


def is_windows(path: str) -> bool:
    """The path has a drive or is a share."""
    return bool(_WINDOWS.match(path))


def is_absolute(path: str) -> bool:
    """Of either kind."""
    return path.startswith("/") or is_windows(path)


def _mapped(path: str, pairs: tuple[tuple[str, str], ...]) -> str:
    best = None
    for prefix, replacement in pairs:
        rest = _rest(path, prefix)
        if rest is not None and (best is None or len(_plain(prefix)) > len(_plain(best[0]))):
            best = (prefix, replacement, rest)
    if best is None:
        return path
    prefix, replacement, rest = best
    if is_windows(replacement):
        # a backslash is an ordinary letter of a POSIX name, and no letter of a Windows one
        slash = "/" if "/" in replacement and "\\" not in replacement else "\\"
        rest = rest.replace("\\", "/").replace("/", slash)
        return (replacement.rstrip("\\/") + slash + rest) if rest else replacement
    rest = rest.replace("\\", "/") if is_windows(prefix) else rest
    return (replacement.rstrip("/") + "/" + rest) if rest else replacement


def _rest(path: str, prefix: str) -> str | None:
    """What follows the prefix, without the slash between; None where it does not fit."""
    if is_windows(prefix):
        if _folded(path) == _folded(prefix):
            return ""
        return path[len(_plain(prefix)) + 1 :] if _folded(path).startswith(_folded(prefix) + "/") else None
    plain = _plain(prefix)
    if path.rstrip("/") == plain:
        return ""
    return path[len(plain) + 1 :] if path.startswith(plain + "/") else None


def _plain(prefix: str) -> str:
    return prefix.rstrip("\\/") if is_windows(prefix) else prefix.rstrip("/")


def _folded(path: str) -> str:
    return _plain(path).replace("\\", "/").lower()
