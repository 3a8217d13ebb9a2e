"""Bringing results into the node: a Read of ordinary files, which needs neither this package nor the daemon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dflhost import messages
from dflhost.errors import HostError
from dflhost.messages import explain
from dflhost.plates import FrameSet, printf_pattern
from dflhost.results import Result

from .group import RESULT, STILL
from .host import is_alive, not_undoable, set_choice
from .plates import PlateSource, color_space_names, plain_color_space

DONE = "Done"
FAILED_COLOR = 0xB03030FF
"""Of the node's tile."""
_last_errors: dict[str, HostError] = {}


def show_state(node: Any, text: str) -> None:
    """The state line. Nothing where the node was deleted meanwhile."""
    if not is_alive(node):
        return
    with not_undoable():
        node["status"].setValue(text)


def show_error(node: Any, error: HostError) -> None:
    """One sentence and the remedy on the node; the rest is behind *Report…*. Nothing where the node was deleted."""
    if not is_alive(node):
        return
    _last_errors[node.fullName()] = error
    text = explain(error).text
    with not_undoable():
        if error.category == "CANCELLED" or error.reason in ("NODE_BUSY", "HOST_BUSY"):
            node["status"].setValue(text)
            return
        state = messages.NOT_CONNECTED if error.is_unreachable else "Failed"
        node["status"].setValue(f"{state}: {text}")
        node["tile_color"].setValue(FAILED_COLOR)


def last_error(node: Any) -> HostError | None:
    """What a report is about."""
    return _last_errors.get(node.fullName())


def is_failed(node: Any) -> bool:
    """The node shows an error, which stays until the next attempt."""
    return bool(node["tile_color"].value() == FAILED_COLOR)


def clear_error(node: Any) -> None:
    """A new attempt begins."""
    _last_errors.pop(node.fullName(), None)
    with not_undoable():
        node["tile_color"].setValue(0)


def one_pattern(patterns: Mapping[str, str]) -> str:
    """Files of all views as one pattern with ``%V``, as Nuke reads them.

    Raises:
        HostError: the views' files are not named alike (reason ``VIEWS_DIFFER``), so that one Read cannot show them.
    """
    if len(patterns) == 1:
        return printf_pattern(next(iter(patterns.values())))
    found = {printf_pattern(pattern).replace(f"/{view}/", "/%V/") for view, pattern in patterns.items()}
    if len(found) != 1:
        raise HostError(
            "The views' results are of different versions. Press Swap Range once more for all of them.",
            reason="VIEWS_DIFFER",
            category="CONFLICT",
        )
    return found.pop()


def show_frames(node: Any, pattern: str, frames: FrameSet, source: PlateSource | None, *, is_complete: bool) -> None:
    """Point the Read at files. While frames are still coming, those up to the first gap are shown."""
    shown = frames.frames if is_complete else _unbroken(frames)
    if not shown:
        return
    read = node.node(RESULT)
    path = printf_pattern(pattern).replace("\\", "/")
    with not_undoable():
        is_new = read["file"].value() != path
        if is_new:
            read["file"].setValue(path)
        for knob, value in (("first", shown[0]), ("last", shown[-1]), ("origfirst", shown[0]), ("origlast", shown[-1])):
            read[knob].setValue(value)
        if source is not None:
            _set_color(read, source.color_space, source)
        if not is_new:
            read["reload"].execute()
        node["result_first"].setValue(shown[0])
        node["result_last"].setValue(shown[-1])


def show_result(node: Any, results: Mapping[str, Result], source: PlateSource | None) -> None:
    """A finished version, or one that was chosen.

    Raises:
        HostError: the views' results cannot be shown by one Read.
    """
    first = next(iter(results.values()))
    pattern = one_pattern({view: result.pattern for view, result in results.items()})
    show_frames(node, pattern, first.frames, source, is_complete=True)
    read = node.node(RESULT)
    with not_undoable():
        if first.color_space or source is not None:
            _set_color(read, first.color_space, source)
        node["label"].setValue(first.label)
        node["result"].setValue(json.dumps({view: result.pattern for view, result in results.items()}))
        node["still_shown"].setValue(0)


def show_still(node: Any, path: str, frame: int, source: PlateSource) -> None:
    """One frame that was swapped alone; it is shown in its frame until a range has come."""
    read = node.node(STILL)
    with not_undoable():
        read["file"].setValue(path.replace("\\", "/"))
        for knob in ("first", "last", "origfirst", "origlast"):
            read[knob].setValue(frame)
        for knob in ("before", "after"):
            set_choice(read[knob], "hold")
        _set_color(read, source.color_space, source)
        node["still_frame"].setValue(frame)
        node["still_shown"].setValue(1)


def show_versions(node: Any, found: list[Result]) -> None:
    """Fill the menu of versions, the shown one first."""
    names = [f"v{result.version:03d}" for result in found] or [" "]
    with not_undoable():
        knob = node["version"]
        knob.setValues(names)
        shown = json.loads(node["result"].value() or "{}")
        current = [name for name in names if any(f"/{name}/" in pattern for pattern in shown.values())]
        knob.setValue(current[0] if current else names[0])


def _unbroken(frames: FrameSet) -> tuple[int, ...]:
    """Frames from the first on without a gap."""
    numbers = frames.frames
    for index in range(1, len(numbers)):
        if numbers[index] != numbers[index - 1] + 1:
            return numbers[:index]
    return numbers


def _set_color(read: Any, space: str, source: PlateSource | None) -> None:
    """Show results as the plate is shown: as they are where they are in the working space, else by their space's name.

    Args:
        space: of the result; empty takes the plate's.
        source: None where a result is shown whose plate is not at hand.
    """
    if source is not None and source.read_raw:
        read["raw"].setValue(True)
        return
    wanted = space or (source.color_space if source is not None else "")
    shown = source.read_color_space if source is not None else ""
    if shown and source is not None and (source.is_linear or wanted in ("", source.color_space)):
        read["raw"].setValue(False)
        read["colorspace"].setValue(shown)
        return
    for name in color_space_names(read["colorspace"]):
        if wanted and plain_color_space(name) == wanted:
            read["raw"].setValue(False)
            read["colorspace"].setValue(name)
            return
    read["raw"].setValue(True)
