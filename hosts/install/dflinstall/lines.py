"""What the commands say: one line for each thing they did, left alone or found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

CHANGED, SAME, KEPT, NOTE, OK, WRONG = "changed", "same", "kept", "note", "ok", "wrong"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing.

    Attributes:
        state: ``changed`` or ``same`` (a command's work), ``kept`` (a file of somebody else's, left or put aside),
            ``note`` (good to know, or something to do by hand), ``ok`` or ``wrong`` (a check).
        about: what it is about, for programs: ``files``, ``start_up``, ``daemon``...
        message: what is so, a sentence. remedy: what to do about it, a sentence; empty where nothing is.
    """

    state: str
    about: str
    message: str
    remedy: str = ""

    @property
    def text(self) -> str:
        """Both sentences."""
        return f"{self.message} {self.remedy}".strip()


Lines: TypeAlias = Iterator[Line]
Command: TypeAlias = Callable[..., Lines]


def removed(folder: Path, kept: Iterable[str]) -> Lines:
    """After an installed folder was taken away: that it was, and what of it stays."""
    yield Line(CHANGED, "files", f"The files in {folder} are removed.")
    for name in kept:
        yield Line(KEPT, "files", f"{folder / name} is not as it was installed and was kept.")
