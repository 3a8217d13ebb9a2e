"""A press of a button until its job runs: one at a time per node, told on the node, and cancelled there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import nuke

from dflhost import words
from dflhost.errors import HostError

from . import background, connection, results
from .host import has_window, is_alive
from .plates import write_plates
from .request import SwapRequest, Unwritten
from .road import Road
from .watch import running

RANGE, FRAME = "range", "frame"
_presses: dict[tuple[str, str], Press] = {}


class Press:
    """What is being prepared for a node.

    Args:
        kind: one of a kind is prepared at a time; single frames go beside a range.
    """

    def __init__(self, node: Any, kind: str) -> None:
        self.node = node
        self._key = (node.fullName(), kind)
        self._is_stopped = threading.Event()
        _presses[self._key] = self
        results.clear_error(node)
        results.show_state(node, words.CONNECTING)

    def stop(self) -> None:
        """Go no further than the piece that is on its way."""
        self._is_stopped.set()

    def end(self) -> None:
        """A job runs, nothing is to be done, or it failed."""
        if _presses.get(self._key) is self:
            del _presses[self._key]

    def failed(self, error: HostError) -> None:
        """It ends with an error; a frame that was asked for in another's place says nothing."""
        self.end()
        if error.reason != "SUPERSEDED":
            results.show_error(self.node, error)

    def check(self) -> None:
        """Raises HostError where nobody wants it any more. Any thread."""
        if self._is_stopped.is_set():
            raise HostError("Cancelled.", reason="CANCELLED", category="CANCELLED")

    def check_node(self) -> None:
        """The same, also where the node was deleted. Main thread only."""
        if not is_alive(self.node):
            self.stop()
        self.check()

    def road(self, *, is_forced: bool) -> Road:
        """To the daemon. Waits. Raises HostError where it cannot be reached."""
        session = connection.session()
        return Road(session, is_forced=is_forced, tell=self._tell, is_stopped=self._is_stopped.is_set)

    def write(self, request: SwapRequest, unwritten: Unwritten, then: Callable[[], None]) -> None:
        """Have Nuke write what it must of the plate, then go on. Main thread only.

        Raises:
            HostError: as :func:`~dflnuke.plates.write_plates` and :func:`~dflnuke.background.write`.
        """
        count = len(unwritten.frames)
        if not count:
            then()
            return
        self._show(f"{words.SENDING} 0/{count}")
        given = (self.node, unwritten.pattern, unwritten.frames, request.views)
        if request.in_background and has_window():

            def done() -> None:
                self.check_node()
                then()

            background.write(*given, done, self.failed, self._show)
            return
        write_plates(*given)
        self._show(f"{words.SENDING} {count}/{count}")
        then()

    def _tell(self, text: str) -> None:
        """From any thread, or the only one there is."""
        if has_window():
            nuke.executeInMainThread(self._show, (text,))
        else:
            self._show(text)

    def _show(self, text: str) -> None:
        if _presses.get(self._key) is self:
            results.show_state(self.node, text)


def begin(node: Any) -> Press:
    """A press that leads to a job.

    Raises:
        HostError: the node is busy (``NODE_BUSY``).
    """
    check_idle(node)
    return Press(node, RANGE)


def begin_frame(node: Any) -> Press:
    """A press that leads to one frame, in place of the one before."""
    older = _presses.get((node.fullName(), FRAME))
    if older is not None:
        older.stop()
    return Press(node, FRAME)


def check_idle(node: Any) -> None:
    """Raises HostError where the node is busy (``NODE_BUSY``)."""
    if running(node) is not None or (node.fullName(), RANGE) in _presses:
        raise HostError(
            "This node's last job is not finished. Cancel it first.", reason="NODE_BUSY", category="CONFLICT"
        )


def cancel(node: Any) -> None:
    """Stop the node's job, or what is being prepared for one; finished frames stay."""
    watch = running(node)
    if watch is not None:
        watch.cancel()
    for kind in (RANGE, FRAME):
        press = _presses.get((node.fullName(), kind))
        if press is not None:
            press.stop()
