"""What a menu script calls: a window where Resolve may open one, else the clip under the playhead at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from dflhost.errors import HostError
from dflhost.messages import explain
from dflhost.preferences import preferences_path

from . import window
from .app import UNDER_PLAYHEAD, App
from .host import PYTHON_NEEDS_STUDIO, Host
from .prefs import HOST

POLL_S = 0.2
"""How often things are moved on; a render's progress is asked for as often."""


def main(resolve: Any, fusion: Any = None, bmd: Any = None, say: Callable[[str], object] | None = None) -> int:
    """See :func:`dflresolve.main`. Answers with the exit code."""
    tell = say or (lambda text: sys.stdout.write(text + "\n"))
    try:
        host = Host(resolve, fusion, bmd)
        app = App(host, preferences_path(HOST))
        if host.may_open_windows:
            if window.open_window(app):
                return 0
        elif host.version[:2] >= PYTHON_NEEDS_STUDIO:
            tell("This edition runs no Python scripts: use Face Swap (file) from the same menu.")
        return without_window(app, tell)
    except HostError as error:
        tell(explain(error).text)
        return 1


def without_window(app: App, tell: Callable[[str], object], sleep: Callable[[float], None] = time.sleep) -> int:
    """Swap the clip under the playhead with the settings of the last time, and say what happens."""
    last = ""
    try:
        app.swap_range(UNDER_PLAYHEAD)
        while app.desk.is_busy:
            app.tick()
            if app.desk.text != last:
                last = app.desk.text
                tell(last)
            sleep(POLL_S)
    finally:
        app.desk.close()
    run = app.desk.run
    if run is None or run.error is not None:
        error = run.error if run is not None else app.desk.error
        tell(explain(error).text if error is not None else "Nothing was done.")
        return 1
    for note in run.notes:
        tell(note)
    return 0
