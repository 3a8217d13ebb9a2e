"""Plates written by another Nuke, so that the artist's stays free. It takes a licence and a script that was saved.

Nuke starts that process itself, shows it among its tasks, where it can be cancelled, and calls back when it has ended;
from which thread is not said, so nothing but a hand-over to the main thread happens there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import nuke

from dflhost import words
from dflhost.errors import HostError
from dflhost.plates import FrameSet

from .host import as_host_error
from .plates import frame_ranges, ready_to_write


@dataclass(frozen=True)
class _Waiting:
    done: Callable[[], None]
    failed: Callable[[HostError], None]
    tell: Callable[[str], None]


_waiting: dict[int, _Waiting] = {}
_listening: list[bool] = []


def write(
    node: Any,
    pattern: str,
    frames: FrameSet,
    views: tuple[str, ...],
    done: Callable[[], None],
    failed: Callable[[HostError], None],
    tell: Callable[[str], None],
) -> None:
    """Start writing plates and return; ``done`` or ``failed`` is called in the main thread. Main thread only.

    Whether the files are there is for ``done`` to look: a process that was cancelled ends like any other.

    Raises:
        HostError: the script has never been saved (``UNSAVED_SCRIPT``), or the process cannot be started
            (``BACKGROUND_FAILED``).
    """
    if not os.path.isabs(str(nuke.root().name() or "")):
        raise HostError(
            "Save the script first: plates are written in the background from its file.",
            reason="UNSAVED_SCRIPT",
            category="INVALID_INPUT",
        )
    _listen()
    with ready_to_write(node, pattern) as plate_write:
        number = nuke.executeBackgroundNuke(nuke.EXE_PATH, [plate_write], frame_ranges(frames), list(views), {})
    if not isinstance(number, int) or number < 0:
        raise HostError(
            "Nuke could not start another Nuke for the plates. Switch *Write plates in the background* off.",
            reason="BACKGROUND_FAILED",
        )
    _waiting[number] = _Waiting(done, failed, tell)


def _listen() -> None:
    """Be called back; once, however often this is called."""
    if not _listening:
        _listening.append(True)
        nuke.addAfterBackgroundRender(_ended)
        nuke.addAfterBackgroundFrameRender(_frame_written)


def _ended(context: Mapping[str, Any]) -> None:
    found = _waiting.pop(context["id"], None)
    if found is not None:
        nuke.executeInMainThread(_finish, (found,))


def _finish(found: _Waiting) -> None:
    try:
        found.done()
    except Exception as error:  # the edge between Nuke and us
        found.failed(as_host_error(error))


def _frame_written(context: Mapping[str, Any]) -> None:
    found = _waiting.get(context["id"])
    if found is not None:
        text = f"{words.SENDING} {context['frameProgress']}/{context['numFrames']}"
        nuke.executeInMainThread(found.tell, (text,))
