"""Views of a stereo plate: how one is asked for, and which channels of a file belong to it.

One plate is one view. Files of one view each need nothing of this; for EXR files that hold several, the plate's name
says which: ``shot.####.exr?view=right``. Being part of the name, it stays with everything that remembers the plate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ASKED = re.compile(r"(?P<path>.+)\?view=(?P<view>[^?/\\.]+)", re.DOTALL)


def split_view(text: str) -> tuple[str, str]:
    """A plate's name without the view it asks for, and that view; empty where it asks for none."""
    match = _ASKED.fullmatch(text)
    return (match["path"], match["view"]) if match else (text, "")


def with_view(text: str, view: str) -> str:
    """The name of a plate's view; the text itself for none."""
    return f"{text}?view={view}" if view else text


def channels_of_view(names: Sequence[str], views: Sequence[str], view: str) -> list[tuple[int, str]]:
    """Positions and plain names of the channels of one view in a part that holds several.

    OpenEXR's rule for ``multiView`` files: the last but one piece of ``layer.view.channel`` is the view. What names no
    view belongs to the first, whose channels need not name it.

    Args:
        names: the part's channels.
        views: as its header lists them, the default view first.
        view: one of those.
    """
    found: list[tuple[int, str]] = []
    for index, name in enumerate(names):
        *layers, channel = name.split(".")
        owner = layers.pop() if layers and layers[-1] in views else views[0]
        if owner == view:
            found.append((index, ".".join([*layers, channel])))
    return found


def names_view(names: Sequence[str], view: str) -> bool:
    """Whether a channel names that view, with or without a header that lists views."""
    return any(name.split(".")[-2:-1] == [view] for name in names)
