"""Face swaps in DaVinci Resolve Studio 19 and newer: scripts that translate between Resolve and the daemon.

A menu script is a process of its own beside Resolve, with any Python from 3.6 that the user has installed; this needs
3.9, :mod:`dflhost`, and nothing else. Resolve answers most calls it will not do with ``False`` or ``None``: every call
goes through :mod:`dflresolve.host`, which turns that into a sentence, and what was done is read back.

All changes are additions (bin, take, track, composition), as Resolve has no undo for scripts. Results are ordinary
files: a project opens and renders where this package is missing, and without a daemon.
"""

from __future__ import annotations

from typing import Any

VERSION = "0.1.0"


def main(resolve: Any, fusion: Any = None, bmd: Any = None) -> int:
    """What the menu script calls: a window where Resolve may open one, else the clip under the playhead at once."""
    from . import start

    return start.main(resolve, fusion, bmd)
