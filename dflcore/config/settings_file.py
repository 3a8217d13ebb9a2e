"""Settings as a TOML file that people keep, share and edit: a look.

Settings stand at the top, one per line; what differs on some frames stands in tables below::

    matte_erode = 1.5
    color_transfer = "mkl"

    [frames."1001-1040"]
    opacity = "0>1"
"""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dflcore.config.base import Settings
from dflcore.config.describe import describe_settings
from dflcore.config.frame_overrides import FrameOverride, format_overrides
from dflcore.errors import DataCorrupt, InvalidInput, NotFound

MAX_BYTES = 1_000_000
FRAMES_TABLE = "frames"
OVERRIDES = "overrides"
"""The setting the tables of frames are turned into."""


def read_settings_file(path: Path, settings_class: type[Settings]) -> dict[str, Any]:
    """Setting → value, of those the file names; checked.

    Raises:
        NotFound: there is no such file. DataCorrupt: it is no TOML.
        InvalidInput: it names what is no setting, or a value that is not allowed; a table that has no place here.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise DataCorrupt(
                f"The settings file {path} is larger than a megabyte.", reason="SETTINGS_FILE_DAMAGED", path=path
            )
        values: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(f"There is no settings file {path}.", reason="SETTINGS_FILE_NOT_FOUND", path=path) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataCorrupt(
            f"The settings file {path} cannot be read: {error}.", reason="SETTINGS_FILE_DAMAGED", path=path
        ) from error
    names = {knob.name for knob in describe_settings(settings_class)}
    tables = values.pop(FRAMES_TABLE, None)
    if tables is not None:
        values[OVERRIDES] = _overrides_of(tables, path, names, values)
    nested = [name for name, value in values.items() if isinstance(value, dict | list)]
    if nested:
        raise InvalidInput(
            f"The settings file {path}: {', '.join(nested)} is a table or a list, which no setting is. What differs on "
            f'some frames stands under [{FRAMES_TABLE}."1001-1040"].',
            reason="BAD_SETTING",
            path=path,
            field=",".join(nested),
        )
    try:
        settings_class.from_values(values)
    except InvalidInput as error:
        raise InvalidInput(
            f"The settings file {path}: {error.message}", reason=error.reason, path=path, **error.details
        ) from error
    return values


def format_settings_file(
    values: Mapping[str, Any], settings_class: type[Settings], *, overrides: tuple[FrameOverride, ...] = ()
) -> str:
    """A file that :func:`read_settings_file` reads to the same values; every setting with its help above it.

    Args:
        values: all of them; those that are None, which take what the circumstances say, are left out.
        overrides: written as tables instead of the text ``overrides``.
    """
    lines: list[str] = []
    for knob in describe_settings(settings_class):
        value = values.get(knob.name)
        if value is None or knob.name == OVERRIDES:
            continue
        lines += [f"# {line}" for line in textwrap.wrap(knob.help, 110)]
        lines += [f"{knob.name} = {json.dumps(value, ensure_ascii=False)}", ""]
    for block in overrides:
        lines.append(f"[{FRAMES_TABLE}.{json.dumps(str(block.frames))}]")
        lines += [f"{name} = {_literal(value)}" for name, value in block.values.items()]
        lines.append("")
    return "\n".join(lines)


def _overrides_of(tables: Any, path: Path, names: set[str], values: Mapping[str, Any]) -> str:
    if (
        OVERRIDES not in names
        or not isinstance(tables, dict)
        or not all(isinstance(one, dict) for one in tables.values())
    ):
        raise InvalidInput(
            f"The settings file {path}: [{FRAMES_TABLE}] must hold tables named by frames, and only settings that may "
            "differ from frame to frame have any.",
            reason="BAD_SETTING",
            path=path,
            field=FRAMES_TABLE,
        )
    if values.get(OVERRIDES):
        raise InvalidInput(
            f"The settings file {path} says what differs twice: in {OVERRIDES} and under [{FRAMES_TABLE}].",
            reason="BAD_SETTING",
            path=path,
            field=OVERRIDES,
        )
    return format_overrides(tables)


def _literal(text: str) -> str:
    """A number or a truth value as itself, else a string."""
    if text in ("true", "false"):
        return text
    try:
        float(text)
    except ValueError:
        return json.dumps(text, ensure_ascii=False)
    return text if text.lstrip("+-")[:1].isdigit() else json.dumps(text)
