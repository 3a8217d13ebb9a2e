"""The settings of a merge as a file beside its frames; merging with that file again finds every frame current."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dflcore.config.frame_overrides import FrameOverride, format_overrides, parse_overrides
from dflcore.config.merge import OVERRIDABLE, MergeSettings
from dflcore.config.settings_file import OVERRIDES, format_settings_file
from dflcore.io.atomic import translate_disk_errors, write_text
from dflcore.merge.provenance import MANIFEST_SUFFIX

_WHOLE_NUMBER = re.compile(r"[+-]?\d+")


def with_plain_overrides(settings: MergeSettings) -> MergeSettings:
    """The same settings, their overrides spelled as a settings file gives them back.

    The spelling is part of what decides whether two merges are the same.
    """
    blocks = _blocks(settings)
    if not blocks:
        return settings
    text = "; ".join(_spelled(block) for block in blocks)
    return MergeSettings.from_values(settings.values() | {OVERRIDES: text})


def save_look(manifest: Path, settings: MergeSettings, digest: str) -> None:
    """Write the file, under a name that no other settings have, unless it is there.

    Raises:
        InvalidInput, ResourceExhausted: the folder cannot be written.
    """
    name = manifest.name.removesuffix(MANIFEST_SUFFIX)
    path = manifest.with_name(f"{name}.look-{digest[:8]}.toml")
    if path.exists():
        return
    blocks = _blocks(settings)
    if len({block.frames for block in blocks}) == len(blocks):
        text = format_settings_file(settings.values(), MergeSettings, overrides=blocks)
    else:  # no two tables may have one name
        line = f"{OVERRIDES} = {json.dumps(settings.overrides, ensure_ascii=False)}\n"
        text = format_settings_file(settings.values(), MergeSettings) + line
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _blocks(settings: MergeSettings) -> tuple[FrameOverride, ...]:
    return parse_overrides(settings.overrides, OVERRIDABLE)


def _spelled(block: FrameOverride) -> str:
    return format_overrides({str(block.frames): {name: _plain(word) for name, word in block.values.items()}})


def _plain(word: str) -> str | int | float:
    """A number as TOML reads it back, any other word as it is."""
    if _WHOLE_NUMBER.fullmatch(word):
        return int(word)
    try:
        return float(word) if word.lstrip("+-")[:1].isdigit() else word
    except ValueError:
        return word
