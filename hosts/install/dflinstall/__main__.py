"""``python -m dflinstall install|uninstall|doctor nuke|blender|resolve``: what ``dfl hosts`` runs.

Exit codes are those of ``dfl``; 1 is a doctor who found something wrong. With ``--json`` every line is an object of the
type ``host``: ``host``, ``action``, ``state``, ``about``, ``message``, ``remedy``; an error is the last, as of every
command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from rich.text import Text

from dflcore.errors import DflError, InvalidInput
from dfldaemon.cli.exit_codes import FAILED, INTERRUPTED, OK
from dfldaemon.cli.output import Output
from dfldaemon.cli.parser import CommandParser
from dflinstall import blender, nuke, resolve
from dflinstall.lines import CHANGED, NOTE, SAME, WRONG, Line
from dflinstall.machine import Machine

HOSTS: Mapping[str, ModuleType] = {"nuke": nuke, "blender": blender, "resolve": resolve}
ACTIONS = {
    "install": "put the integration into a host; again replaces it whole",
    "uninstall": "take out what was installed, and nothing else",
    "doctor": "say what is wrong, and what to do about it",
}
_TARGET_HELP = (
    "another place: a folder for NUKE_PATH; a folder for Blender's zip; Resolve's Fusion folder of all users [default: "
    "this user's]"
)
_MARKS = {
    "ok": ("ok    ", "green"),
    WRONG: ("wrong ", "bold red"),
    NOTE: ("note  ", "yellow"),
}
"""State of a check → what stands before its line, and how."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``dfl hosts``."""
    parser = CommandParser(
        prog="dfl hosts", description="Put the integrations into Nuke, Blender and DaVinci Resolve.", allow_abbrev=False
    )
    actions = parser.add_subparsers(metavar="COMMAND", required=True)
    for action, help_text in ACTIONS.items():
        one = actions.add_parser(
            action, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.", allow_abbrev=False
        )
        one.add_argument("host", choices=list(HOSTS), help="the host")
        one.add_argument("--target", metavar="DIR", help=_TARGET_HELP)
        one.add_argument("--blender", metavar="PROGRAM", help="which Blender [default: of the search path]")
        one.add_argument("--json", action="store_true", help="print one JSON object per line")
        one.add_argument("--quiet", action="store_true", help="print what is kept, wrong or left to do, and errors")
        one.set_defaults(action=action)
    return parser


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    flags = {"--json", "--quiet"} & set(given)
    output = Output(is_json="--json" in flags, is_quiet="--quiet" in flags)
    try:
        options = build_parser().parse_args([word for word in given if word not in flags])
        machine = Machine.this(os.environ if environ is None else environ)
        return _run(options, output, machine)
    except DflError as error:
        return output.error(error)
    except OSError as error:  # of the disk, where nothing more is known
        where = f"{error.filename}: " if error.filename else ""
        return output.error(InvalidInput(f"{where}{error.strerror or error}.", reason="NOT_WRITABLE"))
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace, output: Output, machine: Machine) -> int:
    places = {"target": _absolute(options.target)}
    if options.host == "blender":
        places["program"] = _absolute(options.blender)
    elif options.blender:
        raise InvalidInput("--blender is for the host blender only.", reason="BAD_USAGE")
    is_well = True
    for line in getattr(HOSTS[options.host], options.action)(machine, **places):
        is_well &= line.state != WRONG
        _tell(output, options, line)
    if options.action == "doctor" and not output.is_quiet:
        output.result("Nothing is wrong." if is_well else "Mend what is marked as wrong, then ask again.")
    return OK if is_well else FAILED


def _absolute(path: str | None) -> Path | None:
    return Path(os.path.abspath(Path(path).expanduser())) if path else None


def _tell(output: Output, options: argparse.Namespace, line: Line) -> None:
    output.event(
        "host", host=options.host, action=options.action, state=line.state, about=line.about, message=line.message,
        remedy=line.remedy,
    )  # fmt: skip
    if output.is_quiet and line.state in (CHANGED, SAME, "ok"):
        return
    mark, style = _MARKS.get(line.state, ("", "")) if options.action == "doctor" else ("", "")
    output.result(Text.assemble((mark, style), line.text))


if __name__ == "__main__":
    raise SystemExit(main())
