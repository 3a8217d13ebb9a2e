"""Plates that Resolve renders, by either way, each in a folder of its own that is found again."""

from __future__ import annotations

import os
from typing import Union

from dflhost.plates import Plate, frames_on_disk

from . import marks
from .clips import Clip
from .host import Host, ask
from .orders import SAVER, Choices, plates_name
from .plates import PlateRender
from .saver import SaverRender

Render = Union[PlateRender, SaverRender]


def next_render(host: Host, clip: Clip, choices: Choices) -> Render:
    """Begin to render a clip into a new folder. Raises HostError."""
    folder = marks.next_folder(*_place(clip, choices))
    if choices.rendering(clip) == SAVER:
        return SaverRender(host, clip, folder, choices.color_space)
    return PlateRender(host, clip, folder, choices.color_space)


def rendered_plate(clip: Clip, choices: Choices) -> Plate | None:
    """The newest plate that Resolve rendered of a clip as it is now; None where there is none. Raises HostError."""
    parent, name = _place(clip, choices)
    pattern = marks.newest_plates(parent, name, clip.duration)
    return Plate(pattern, frames_on_disk(pattern), choices.color_space) if pattern else None


def _place(clip: Clip, choices: Choices) -> tuple[str, str]:
    """Folder of all rendered plates, and the beginning of this one's name."""
    version = ask(clip.item, "GetCurrentVersion")
    grade = str(version.get("versionName", "")) if isinstance(version, dict) else ""
    return os.path.join(choices.folder, "plates"), plates_name(clip, grade, choices.rendering(clip))
