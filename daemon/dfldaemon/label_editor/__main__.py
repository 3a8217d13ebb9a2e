"""``python -m dfldaemon.label_editor``: serve the page until it is closed.

Exit codes: 0 it ended in order, 1 it cannot start.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from dflcore.errors import DflError
from dfldaemon.label_editor.lifetime import DEFAULT_IDLE_MINUTES, Lifetime
from dfldaemon.label_editor.server import LabelEditorServer
from dfldaemon.label_editor.workspace import Workspace

EXIT_CANNOT_START = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Open, serve, end; answers with the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by those a script starts in the background
    lifetime = Lifetime(idle_s=options.idle_minutes * 60.0, stay=options.stay)
    try:
        with Workspace(options.faceset, view=options.view) as workspace:
            server = LabelEditorServer(workspace, lifetime, port=options.port)
            sys.stdout.write(f"{server.access.address}\n")
            sys.stdout.flush()
            open_page = functools.partial(_open_browser, server.access.ticket_address)
            try:
                reason = server.serve_until_done(_nothing if options.no_browser else open_page)
                _tell(f"{reason} The label editor has ended.")
            except KeyboardInterrupt:
                _tell("The label editor has ended.")
    except DflError as error:
        _tell(error.message)
        return EXIT_CANNOT_START
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dfldaemon.label_editor",
        description="Draw include and exclude polygons on the faces of a faceset, in a browser on this machine.",
    )
    parser.add_argument("--faceset", type=Path, required=True, metavar="FOLDER", help="the faceset")
    parser.add_argument("--view", metavar="NAME", help="only the faces of this view of the faceset, in its order")
    parser.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1; 0 takes any free one (default)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    parser.add_argument("--stay", action="store_true", help="keep serving after the page was closed")
    parser.add_argument(
        "--idle-minutes",
        type=_minutes,
        default=DEFAULT_IDLE_MINUTES,
        help="end when nothing was heard of the page for so long (default: %(default)g)",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return port


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0.0 < minutes < 1e6:
        raise argparse.ArgumentTypeError("has to be more than 0")
    return minutes


def _open_browser(address: str) -> None:
    if not webbrowser.open(address):
        _tell("No browser was found; open the address above in one.")


def _nothing() -> None:
    """No browser is wanted."""


def _tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    sys.exit(main())
