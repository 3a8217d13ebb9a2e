"""For ``nuke -t`` scripts and farm jobs: the node's steps, one after the other, with errors that are raised.

::

    import nuke, dflnuke.scripting as face_swap

    nuke.scriptOpen("shot.nk")
    face_swap.swap_range(nuke.toNode("DFL_Swap1"))
    nuke.scriptSave()
"""

from __future__ import annotations

from typing import Any

from dflhost.errors import HostError

from . import faces, layout, results, swap
from .group import create
from .host import has_window

__all__ = ["create", "extract", "swap_frame", "swap_range", "train", "update"]


def swap_range(node: Any) -> None:
    """Swap the node's range and bring the result into the node; returns when it is done.

    Raises:
        HostError: it failed, or Nuke has a window (``HAS_WINDOW``): there, the buttons are the way.
    """
    _run(node, lambda: swap.swap_range(node))


def update(node: Any) -> None:
    """The same where something has changed.

    Raises:
        HostError: as :func:`swap_range`.
    """
    _run(node, lambda: swap.swap_range(node, only_stale=True))


def extract(node: Any) -> None:
    """Find the faces of the node's plate.

    Raises:
        HostError: as :func:`swap_range`.
    """
    _run(node, lambda: faces.extract(node))


def train(node: Any) -> None:
    """Train the node's model on its source and faces; returns when it has reached its target.

    Raises:
        HostError: as :func:`swap_range`.
    """
    _run(node, lambda: faces.train(node))


def swap_frame(node: Any, frame: int) -> None:
    """Swap one frame.

    Raises:
        HostError: as :func:`swap_range`.
    """
    _run(node, lambda: swap.swap_frame(node, frame))


def _run(node: Any, step: Any) -> None:
    if has_window():
        raise HostError("This waits, and Nuke has a window: press the node's buttons.", reason="HAS_WINDOW")
    layout.upgrade(node)
    results.clear_error(node)
    step()
    error = results.last_error(node)
    if error is not None:
        raise error
