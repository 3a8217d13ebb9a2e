"""Models and facesets a client may offer in a menu: looked for within bounds, and never outside the roots."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dflcore.errors import InvalidInput
from dflcore.models.layout import GENERATIONS_NAME, generation_folders
from dfldaemon.faceset_plates import INDEX_NAME
from dfldaemon.submission import check_path

MAX_DEPTH = 6
MAX_LOOKED_AT = 20_000
LOOK_S = 3.0
"""How long the roots are looked through."""


class FolderKind(Enum):
    MODEL = "model"
    FACESET = "faceset"


@dataclass(frozen=True, slots=True)
class KnownFolder:
    """``changed`` is in seconds since the epoch."""

    path: str
    changed: float


def find_folders(
    kind: FolderKind, known: Iterable[str], roots: Sequence[str], allowed: Sequence[str], max_count: int
) -> tuple[list[KnownFolder], bool]:
    """Folders of a kind, last changed first, and whether there may be more.

    Args:
        known: where some may be: what jobs named, folders of the inbox.
        roots: looked through, but for ``/``.
        allowed: nothing outside these is answered, also not by a link.
    """
    found: dict[str, KnownFolder] = {}
    look = _Look(kind)
    for path in (*known, *look.through(root for root in roots if root != os.sep)):
        changed = _changed(kind, Path(path))
        if changed is not None and path not in found:
            with contextlib.suppress(InvalidInput):
                found[path] = KnownFolder(check_path(path, "path", allowed), changed)
    newest = sorted(found.values(), key=lambda folder: (-folder.changed, folder.path))
    return newest[:max_count], look.was_cut or len(newest) > max_count


class _Look:
    """One walk through the roots, the nearest folders first. Links, hidden folders and found folders stay closed."""

    def __init__(self, kind: FolderKind) -> None:
        self.was_cut = False
        self._kind = kind

    def through(self, roots: Iterable[str]) -> Iterator[str]:
        waiting = deque((root, 0) for root in roots)
        end = time.monotonic() + LOOK_S
        looked_at = 0
        while waiting:
            path, depth = waiting.popleft()
            looked_at += 1
            if looked_at > MAX_LOOKED_AT or time.monotonic() > end:
                self.was_cut = True
                return
            kinds = [kind for kind in FolderKind if _changed(kind, Path(path)) is not None]
            if self._kind in kinds:
                yield path
            if kinds:
                continue  # what is in it is its own
            below = _folders_in(path)
            if depth < MAX_DEPTH:
                waiting.extend((folder, depth + 1) for folder in below)
            elif below:
                self.was_cut = True


def _folders_in(path: str) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        return sorted(
            entry.path for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        )
    return []


def _changed(kind: FolderKind, path: Path) -> float | None:
    """When it was last changed; None where it is none of the kind."""
    try:
        if kind is FolderKind.FACESET:
            return max((path / INDEX_NAME).stat().st_mtime, path.stat().st_mtime)
        return (path / GENERATIONS_NAME).stat().st_mtime if generation_folders(path) else None
    except OSError:
        return None
