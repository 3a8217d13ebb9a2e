"""Nuke's threads: work that waits happens beside it, and what comes out is handed to the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import nuke

from dflhost.errors import HostError

Answer = TypeVar("Answer")


def has_window() -> bool:
    """Nuke runs with its window; else it is a terminal, and there is no loop that could call us back."""
    return bool(nuke.GUI)


def in_background(
    work: Callable[[], Answer], done: Callable[[Answer], None], failed: Callable[[HostError], None]
) -> None:
    """Do something that waits, then go on in the main thread. In a terminal: at once, one after the other.

    ``work`` may not touch Nuke. ``done`` and ``failed`` may raise HostError: ``failed`` gets it.
    """
    if not has_window():
        _finish(work, done, failed)
        return

    def run() -> None:
        try:
            answer = work()
        except Exception as error:  # told to the artist in the main thread
            nuke.executeInMainThread(failed, (as_host_error(error),))
        else:
            nuke.executeInMainThread(_finish, (lambda: answer, done, failed))

    threading.Thread(target=run, name="dflnuke", daemon=True).start()


def _finish(work: Callable[[], Answer], done: Callable[[Answer], None], failed: Callable[[HostError], None]) -> None:
    try:
        done(work())
    except Exception as error:  # the edge between Nuke and us
        failed(as_host_error(error))


def as_host_error(error: Exception) -> HostError:
    """Any error as one that can be shown in a sentence."""
    if isinstance(error, HostError):
        return error
    return HostError(
        f"The integration met an error of its own ({type(error).__name__}: {error}); please report it.",
        reason="UNEXPECTED_ERROR",
    )


def is_alive(node: Any) -> bool:
    """The node was not deleted, and its script not closed."""
    try:
        node.name()
    except ValueError:  # "A PythonObject is not attached to a node"
        return False
    return True


_ours: list[bool] = []


@contextmanager
def not_undoable() -> Iterator[None]:
    """Changes that are not the artist's: progress, results that arrive. Callbacks see them as ours."""
    nuke.Undo.disable()
    _ours.append(True)
    try:
        yield
    finally:
        _ours.pop()
        nuke.Undo.enable()


def is_our_change() -> bool:
    """A knob is being set by this package: Nuke calls back for that as well."""
    return bool(_ours)


def set_choice(knob: Any, text: str) -> bool:
    """Set an enumeration where it has that value, which differs between versions of Nuke; says whether it had."""
    for value in knob.values():
        if text in (value, value.split("\t")[0]):
            knob.setValue(value.split("\t")[0])
            return True
    return False
