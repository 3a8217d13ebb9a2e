"""Command-line flags made from the settings classes: ``matte_erode`` becomes ``--matte-erode``, with help and range."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dflcore.config.base import Settings
from dflcore.config.describe import describe_settings, in_groups
from dflcore.config.knobs import Audience, KnobDescription
from dflcore.config.settings_file import read_settings_file

AUDIENCE_WORDS = {
    Audience.ARTIST: "",
    Audience.TD: "for technical directors",
    Audience.INTERNAL: "internal",
}
"""What stands in a heading beside its name."""
SETTINGS_FILE = "settings_file"
"""Where the parsed options have the settings file."""
_TYPES = {"int": int, "float": float, "string": str, "choice": str}
ALIASES = {"processes": ("--nproc",)}
"""Setting → what else its flag is called: the word of torchrun, whose other one, ``--nodes``, is ours too."""
_FLAG_COLUMN = 32
"""Help texts begin there at the latest."""


class FlagsFormatter(argparse.RawDescriptionHelpFormatter):
    """Help of commands with many flags: the first line names only what must be said and what is no setting."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_FLAG_COLUMN)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        """As of the base class, with all settings as one word."""
        shown = [action for action in actions if action.required or action.default is not argparse.SUPPRESS]
        rest = argparse.Action([], dest="flags", nargs="?", metavar="FLAGS")
        super().add_usage(usage, [*shown, rest], groups, prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse.BooleanOptionalAction):
            return f"--[no-]{action.option_strings[0][2:]}"
        return super()._format_action_invocation(action)


def add_settings_flags(parser: argparse.ArgumentParser, settings_class: type[Settings]) -> None:
    """Add one flag per setting; a flag that is not given leaves no trace in the parsed options.

    What an artist needs comes first, under the headings of the settings, then the rest under the same headings.
    """
    parser.add_argument(
        "--settings",
        dest=SETTINGS_FILE,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="settings file (TOML) to start from; flags count more",
    )
    groups = in_groups(describe_settings(settings_class))
    for audience in Audience:
        for heading, knobs in groups.items():
            shown = [knob for knob in knobs if knob.audience is audience]
            if shown:
                group = parser.add_argument_group(_title(heading, audience))
                for knob in shown:
                    _add_flag(group, knob)


def given_settings(options: argparse.Namespace, settings_class: type[Settings]) -> dict[str, object]:
    """The settings the user gave, in a file or as flags, checked; the rest is left to the daemon's defaults.

    Raises:
        InvalidInput: lists every value that is out of range.
        NotFound, DataCorrupt: the settings file is not there or cannot be read.
    """
    names = [knob.name for knob in describe_settings(settings_class)]
    file = getattr(options, SETTINGS_FILE, None)
    values = {} if file is None else read_settings_file(Path(file), settings_class)
    values |= {name: getattr(options, name) for name in names if hasattr(options, name)}
    settings_class.from_values(values)
    return values


def flag_name(setting: str) -> str:
    """``matte_erode`` → ``--matte-erode``."""
    return "--" + setting.replace("_", "-")


def flag_help(knob: KnobDescription) -> str:
    """Help, what is allowed, and the default, as argparse prints it."""
    notes: list[str] = []
    if not knob.choices and (knob.minimum is not None or knob.maximum is not None):
        notes.append(_range_text(knob))
    elif knob.unit:
        notes.append(knob.unit)
    if knob.default is not None and knob.default != "":
        notes.append(f"default {_default_text(knob)}")
    if knob.fixed_once_trained:
        notes.append("fixed once a model was trained")
    text = f"{knob.help} [{'; '.join(notes)}]" if notes else knob.help
    return text.replace("%", "%%")


def _title(heading: str, audience: Audience) -> str:
    words = AUDIENCE_WORDS[audience]
    if not words:
        return heading or "settings"
    return f"{heading}, {words}" if heading else f"settings {words}"


def _add_flag(group: argparse._ArgumentGroup, knob: KnobDescription) -> None:
    help_text = argparse.SUPPRESS if knob.audience is Audience.INTERNAL else flag_help(knob)
    if knob.type == "bool":
        group.add_argument(
            flag_name(knob.name),
            dest=knob.name,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=help_text,
        )
        return
    group.add_argument(
        flag_name(knob.name),
        *ALIASES.get(knob.name, ()),
        dest=knob.name,
        type=_TYPES[knob.type],
        choices=knob.choices or None,
        metavar="|".join(knob.choices) if knob.choices else _metavar(knob),
        default=argparse.SUPPRESS,
        help=help_text,
    )


def _metavar(knob: KnobDescription) -> str:
    return {"int": "N", "float": "X", "string": "TEXT", "choice": "WORD", "bool": ""}[knob.type]


def _range_text(knob: KnobDescription) -> str:
    unit = f" {knob.unit}" if knob.unit else ""
    if knob.minimum is not None and knob.maximum is not None:
        return f"{_number(knob.minimum)} to {_number(knob.maximum)}{unit}"
    if knob.minimum is not None:
        return f"{_number(knob.minimum)}{unit} or more"
    return f"up to {_number(knob.maximum or 0.0)}{unit}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:g}"


def _default_text(knob: KnobDescription) -> str:
    if isinstance(knob.default, bool):
        return "on" if knob.default else "off"
    if isinstance(knob.default, (int, float)):
        return _number(knob.default)
    return str(knob.default)
