"""Models and facesets of the daemon, as menus show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .paths import PathMap


@dataclass(frozen=True)
class KnownFolder:
    """A model or faceset for a menu: ``path`` is the workstation's, as far as the path map names it.

    ``change_time_s`` is in seconds since the epoch; ``is_in_inbox``: it was sent, and goes when nobody uses it.
    """

    path: str
    name: str
    change_time_s: int
    is_in_inbox: bool


def folders_of_answer(answer: Mapping[str, Any], paths: PathMap) -> list[KnownFolder]:
    """A decoded ``ListFoldersResponse``."""
    return [
        KnownFolder(
            path=paths.to_workstation(one["path"]),
            name=one["path"].rstrip("/").rpartition("/")[2],
            change_time_s=int((one.get("change_time") or {}).get("seconds", 0)),
            is_in_inbox=one["in_inbox"],
        )
        for one in answer["folders"]
    ]
