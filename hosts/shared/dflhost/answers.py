"""What the daemon answers to a session's questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MERGED_PAGE = 10_000
"""Frames of an output that are asked for at once."""


@dataclass(frozen=True)
class ServerInfo:
    """What the daemon says about itself.

    Attributes:
        version: of the software. api_minor: grows with every addition. features: optional abilities.
        is_same_build: its protocol is exactly this client's.
        pid, address, log_path: of its process. roots: folders requests may name paths in; ``/`` is anywhere.
        queued, running: jobs. made_path: folder for what jobs make that have no other place.
    """

    version: str
    api_minor: int
    features: frozenset[str]
    is_same_build: bool
    pid: int
    address: str
    roots: tuple[str, ...]
    queued: int
    running: int
    log_path: str
    made_path: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """A trained model for a menu: ``path`` is the workstation's, ``digest`` the SHA-256 of its newest weights."""

    path: str
    name: str
    preset: str
    kind: str
    resolution_px: int
    face_type: str
    iteration: int
    digest: str
    person: str


@dataclass(frozen=True)
class FacesetInfo:
    """A faceset for a menu: ``path`` is the workstation's, ``plates`` what the faces came from."""

    path: str
    name: str
    face_count: int
    face_type: str
    aligned_size_px: int
    plates: tuple[str, ...]
    person: str


@dataclass(frozen=True)
class LayerInfo:
    """A layer that a merge can write: ``name`` (empty for the beauty), channel letters, ``half`` or ``float``."""

    name: str
    channels: str
    pixel_type: str
    help: str


@dataclass(frozen=True)
class MergedFrame:
    """A finished frame of an output; ``path`` is the workstation's."""

    frame: int
    path: str
    key: str


def gather_merged_frames(
    ask: Callable[[Mapping[str, Any]], Mapping[str, Any]], output: str, to_workstation: Callable[[str], str]
) -> list[MergedFrame]:
    """All frames of an output, page by page; a daemon that knows no pages answers with all at once.

    Args:
        ask: ``GetMergeOutput`` as dicts. output: as the daemon knows it.
    """
    frames: list[MergedFrame] = []
    token = ""
    while True:
        page = ask({"output_path": output, "page_size": MERGED_PAGE, "page_token": token})
        frames += [MergedFrame(one["frame"], to_workstation(one["path"]), one["key"]) for one in page["frames"]]
        token = page["next_page_token"]
        if not token:
            return frames
