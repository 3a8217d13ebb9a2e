"""Face swaps in Nuke: a group of ordinary nodes, whose buttons ask the daemon.

Needs Nuke 14 (Python 3.9) and :mod:`dflhost`. No thread of ours touches Nuke but through ``executeInMainThread`` and
``ProgressTask``; Nuke's main thread never waits for the daemon. In a terminal (``nuke -t``) there is no such thread to
spare, and everything waits: see :mod:`dflnuke.scripting`.

Scripts that hold the node open and render where this package is missing, and without a daemon.
"""

from __future__ import annotations

VERSION = "0.1.0"


def press(button: str) -> None:
    """What the node's buttons call; ``button`` is a function of :mod:`dflnuke.actions`."""
    from . import actions

    actions.press(button)
