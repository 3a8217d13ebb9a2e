# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's settings as custom properties, so that a scene keeps them and Blender draws, animates and undoes them.

A property group holds one custom property per knob, under the knob's own name. Numbers that may be empty are texts; a
choice is the number of its text in ``choices``, with the texts as its items. ``layout`` remembers, as JSON, what is
needed to draw and to read them without a daemon. Settings that a newer daemon no longer describes stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ._dflhost.knobs import BOOL, CHOICE, FLOAT, INT, KnobSpec, Value, changed_settings

LARGEST = 2**31 - 1


def store_knobs(group: Any, knobs: Iterable[KnobSpec]) -> None:
    """Make a property for each knob that lacks one, and tell Blender its range, default and tool tip.

    Values that are there are kept where they can still be read.
    """
    layout = []
    before = read_values(group)
    for knob in knobs:
        value = before.get(knob.name, knob.default)
        _store(group, knob, value)
        layout.append({"name": knob.name, "label": knob.label, "group": knob.group, "choices": list(_choices(knob))})
    group.layout = json.dumps(layout)


def layout_of(group: Any) -> list[dict[str, Any]]:
    """What was described, in the order in which to draw it."""
    try:
        layout = json.loads(group.layout or "[]")
    except ValueError:
        return []
    return [item for item in layout if isinstance(item, dict) and item.get("name") in group.keys()]  # noqa: SIM118


def read_values(group: Any) -> dict[str, Value]:
    """Name → value, choices as texts; what is no plain value is left out."""
    choices = {item["name"]: item.get("choices", []) for item in layout_of(group)}
    values: dict[str, Value] = {}
    for name in group.keys():  # noqa: SIM118  a property group is no mapping
        value = group[name]
        if name == "layout" or not isinstance(value, bool | int | float | str):
            continue
        texts = choices.get(name)
        if texts and isinstance(value, int):
            value = texts[min(max(value, 0), len(texts) - 1)]
        values[name] = value
    return values


def settings_to_send(group: Any, knobs: Iterable[KnobSpec]) -> dict[str, Value]:
    """What differs from the daemon's defaults.

    Raises:
        HostError: a value cannot be used (reason ``BAD_SETTING``).
    """
    return changed_settings(knobs, read_values(group))


def _choices(knob: KnobSpec) -> tuple[str, ...]:
    if knob.kind != CHOICE:
        return ()
    return (("",) if knob.is_optional and "" not in knob.choices else ()) + knob.choices


def _store(group: Any, knob: KnobSpec, value: Value) -> None:
    choices = _choices(knob)
    if choices:
        text = "" if value is None else str(value)
        default = "" if knob.default is None else str(knob.default)
        group[knob.name] = choices.index(text) if text in choices else 0
        items = [(choice or "AUTO", choice or "(daemon's)", "") for choice in choices]
        group.id_properties_ui(knob.name).update(
            items=items, default=choices.index(default) if default in choices else 0, description=knob.tool_tip
        )
    elif knob.default is None or knob.kind not in (BOOL, INT, FLOAT):
        group[knob.name] = "" if value is None else str(value)
        group.id_properties_ui(knob.name).update(description=knob.tool_tip)
    elif knob.kind == BOOL:
        group[knob.name] = bool(value)
        group.id_properties_ui(knob.name).update(default=bool(knob.default), description=knob.tool_tip)
    else:
        _store_number(group, knob, value)


def _store_number(group: Any, knob: KnobSpec, value: Value) -> None:
    kind = int if knob.kind == INT else float
    try:
        number = kind(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = kind(knob.default)  # type: ignore[arg-type]
    bounds: dict[str, Any] = {}
    if knob.minimum is not None:
        bounds["min"] = bounds["soft_min"] = kind(max(knob.minimum, -LARGEST))
    if knob.maximum is not None:
        bounds["max"] = bounds["soft_max"] = kind(min(knob.maximum, LARGEST))
    group[knob.name] = max(min(number, LARGEST), -LARGEST)
    group.id_properties_ui(knob.name).update(
        default=kind(knob.default),  # type: ignore[arg-type]
        description=knob.tool_tip,
        **bounds,
    )
