"""The node's knobs: fixed ones, and those that the daemon's description of a merge asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nuke

from dflhost import messages, words
from dflhost.jobs import EXTRACT, MERGE, TRAIN
from dflhost.knobs import ARTIST, BOOL, CHOICE, FLOAT, INT, KnobSpec, Value

MARK = "dfl_swap"
"""Hidden knob that tells our groups from others; holds the layout's version."""
LAYOUT_VERSION = "2"
PREFIXES = {MERGE: "merge_", EXTRACT: "extract_", TRAIN: "train_"}
"""Of the knobs that hold the daemon's settings, by the kind of job."""
SETTING = PREFIXES[MERGE]
OTHERS = (PREFIXES[EXTRACT], PREFIXES[TRAIN])
"""Prefixes of settings that say nothing about the swap's pixels."""
BEAUTY, PATCH, MATTE, PLATE = "Beauty over plate", "Patch only", "Matte only", "Plate"
MODES = (BEAUTY, PATCH, MATTE, PLATE)
HANDLED = frozenset({"profile", "missing_frames", "input_colorspace"})
"""Settings that this node decides: multilayer EXR, no gaps, the plate's own colour space."""
TABS = {
    MERGE: ("dfl_advanced_tab", "Advanced"),
    EXTRACT: ("dfl_extract_tab", "Extract Settings"),
    TRAIN: ("dfl_train_tab", "Train Settings"),
}
"""Where settings go that are not the artist's swap's own."""
VERSIONS_BUTTON, SETTINGS_BUTTON, START_BUTTON, PREFERENCES_BUTTON = "find_versions", "get_settings", "start", "ask"
CHOOSE = {"model": "choose_model", "source": "choose_source", "faceset": "choose_faceset"}
"""Knob of a folder → action of the button that lists what the daemon has."""

_COMMAND = """try:
    import dflnuke
except ImportError:
    nuke.message("Face Swap is not installed on this machine. The node shows the results it has.")
else:
    dflnuke.press("{}")"""
_BUTTONS = {
    messages.SWAP_FRAME: "swap_frame",
    messages.SWAP_RANGE: "swap_range",
    messages.UPDATE: "update",
    messages.CANCEL: "cancel",
    messages.SHOW_RESULT: "show_result",
    messages.REPORT: "report",
}


def is_ours(node: Any) -> bool:
    """A group that this package made."""
    return node.Class() == "Group" and node.knob(MARK) is not None


def add_knobs(node: Any, first: int, last: int) -> None:
    """All fixed knobs, in the order in which artists use them."""
    _add(node, nuke.Tab_Knob("dfl_tab", words.MENU))
    _add(node, _with(nuke.Int_Knob("first", words.FRAMES), first), "First frame to swap.")
    _add(node, _with(nuke.Int_Knob("last", ""), last), "Last frame to swap.", starts_line=False)
    _add(
        node,
        _with(nuke.Int_Knob("handles", "handles"), 0),
        "Frames more at either end, where the plate has them.",
        starts_line=False,
    )
    _add(node, nuke.String_Knob("views", "Views", ""), "Views to swap, by blanks; empty takes all of the script.")
    _add(
        node,
        nuke.Boolean_Knob("use_files", "Use the plate's own files", True),
        "Where nothing lies between a Read and this node, send the Read's files instead of rendering them again.",
        starts_line=True,
    )
    _add(
        node,
        nuke.Boolean_Knob("background", "Write plates in the background", False),
        "Another Nuke writes them, which takes a licence; this one stays free. The script must have been saved once.",
        starts_line=False,
    )
    _add_folder(node, "source", words.SOURCE, "To train: faceset of the person whose face is put on.")
    _add_folder(node, "faceset", words.FACES, "Faceset of this plate; empty keeps it in the output folder.")
    _add_folder(node, "model", words.MODEL, "Folder of the model; empty trains one in the output folder.")
    _add(
        node,
        nuke.File_Knob("folder", words.OUTPUT),
        "Folder of plates and results; empty takes dfl_swap beside the script.",
    )
    _add(node, nuke.Text_Knob("dfl_line_1", ""))
    for label in words.STEPS:
        action = label.split()[0].lower()
        _add_button(node, action, label, words.TOOL_TIPS[label], starts_line=label == messages.EXTRACT)
    for label, action in _BUTTONS.items():
        _add_button(node, action, label, words.TOOL_TIPS[label], starts_line=action in ("swap_frame", "show_result"))
    _add(node, _with(nuke.Text_Knob("status", "Status"), messages.IDLE))
    _add(node, nuke.Text_Knob("dfl_line_2", ""))
    _add(node, nuke.Enumeration_Knob("mode", "Show", list(MODES)), "What comes out in rgba; all layers come with it.")
    _add(node, nuke.Boolean_Knob("matte_in_alpha", "Matte in alpha", False), "Put matte.alpha into rgba.alpha.")
    _add(node, nuke.Enumeration_Knob("version", "Version", [" "]), "Results on disk; none is ever overwritten.")
    _add_button(node, VERSIONS_BUTTON, "Find Versions", "Look for results on disk", starts_line=False)
    _add(node, nuke.Text_Knob("dfl_line_3", "Matte, in Nuke"), "Acts here and now, nothing is made again.")
    _add(node, _ranged(_with(nuke.Double_Knob("matte_gain", "gain"), 1.0), 0.0, 4.0), "Multiplies the matte.")
    _add(node, _ranged(_with(nuke.Double_Knob("matte_erode", "erode"), 0.0), -20.0, 20.0), "Pixels; negative grows.")
    _add(node, _ranged(_with(nuke.Double_Knob("matte_blur", "blur"), 0.0), 0.0, 50.0), "Pixels.")
    _add(node, nuke.Tab_Knob("dfl_settings_tab", words.SETTINGS))
    _add_button(node, SETTINGS_BUTTON, "Get Settings", "Ask the daemon which settings a swap has", starts_line=True)
    _add_button(node, START_BUTTON, words.START_DAEMON_BUTTON, words.TOOL_TIPS[words.START_DAEMON_BUTTON])
    _add_button(node, PREFERENCES_BUTTON, "Preferences…", "Where the daemon is: address, token, certificates, path map")
    _add(
        node,
        nuke.Boolean_Knob("fetch", "No common disk", False),
        "Plates, model and faces are sent to the daemon, frames come back one by one. Happens by itself with a daemon "
        "on another machine where no path map leads; tick it for one that is reached through a tunnel.",
        starts_line=True,
    )
    for name, value in HIDDEN.items():
        _add_hidden(node, name, value)


HIDDEN: dict[str, str | int] = {
    MARK: LAYOUT_VERSION,
    "jobs": "",
    "key": "",
    "sent": "",
    "result": "",
    "kind": "",
    "result_first": 1,
    "result_last": 0,
    "still_shown": 0,
    "still_frame": 0,
}
"""What the node remembers. ``result_first`` > ``result_last`` is: no result. ``jobs``, ``key``, ``result``: JSON, by
view. ``sent``: what the result was asked for with, to see that the knobs have moved on."""
VOLATILE = frozenset({"status", "version", "label", *HIDDEN})
"""Knobs that say nothing about the pixels this node was asked for."""


def upgrade(node: Any) -> None:
    """Add what a node of an older package lacks; knobs that are there stay as they are."""
    if node[MARK].value() != LAYOUT_VERSION:
        add_knobs(node, int(node["first"].value()), int(node["last"].value()))
        node[MARK].setValue(LAYOUT_VERSION)


def setting_values(node: Any, kind: str = MERGE) -> dict[str, Value]:
    """Settings of a kind of job as the knobs hold them."""
    prefix = PREFIXES[kind]
    return {name[len(prefix) :]: node[name].value() for name in node.knobs() if name.startswith(prefix)}


def sync_settings(node: Any, specs: Iterable[KnobSpec], kind: str = MERGE) -> None:
    """Add knobs for settings the node has none for; values that are there stay.

    Settings of another daemon that this one does not name keep their knob, so that a script that travels loses nothing.
    """
    wanted = [spec for spec in specs if spec.name not in HANDLED]
    artist = [spec for spec in wanted if spec.audience == ARTIST and kind == MERGE]
    _add_settings(node, artist, kind, "artist")
    others = [spec for spec in wanted if spec not in artist]
    tab, label = TABS[kind]
    if others and node.knob(tab) is None:
        _add(node, nuke.Tab_Knob(tab, label))
    _add_settings(node, others, kind, "td" if kind == MERGE else kind)


def _add_settings(node: Any, specs: Iterable[KnobSpec], kind: str, section: str) -> None:
    group = ""
    for spec in specs:
        known = node.knob(PREFIXES[kind] + spec.name)
        if known is not None:
            _widen_choice(known, spec)
            continue
        line = f"dfl_line_{section}_{spec.group}".replace(" ", "_")
        if spec.group != group and spec.group and node.knob(line) is None:
            _add(node, nuke.Text_Knob(line, spec.group))
        group = spec.group
        _add(node, make_setting(spec, kind), spec.tool_tip, starts_line=True)


def _widen_choice(knob: Any, spec: KnobSpec) -> None:
    if spec.kind != CHOICE or not hasattr(knob, "setValues") or list(knob.values()) == list(spec.choices):
        return
    value = knob.value()
    knob.setValues(list(spec.choices) + ([value] if value not in spec.choices else []))
    knob.setValue(value)


def make_setting(spec: KnobSpec, kind: str = MERGE) -> Any:
    """A widget for a setting. One that may be empty is a text: Nuke's numbers cannot be."""
    name = PREFIXES[kind] + spec.name
    label = f"{spec.label} ({spec.unit})" if spec.unit else spec.label
    knob: Any
    if spec.kind == CHOICE and spec.choices:
        knob = nuke.Enumeration_Knob(name, label, list(spec.choices))
        if spec.default is not None:
            knob.setValue(str(spec.default))
    elif spec.kind == BOOL and spec.default is not None:
        knob = nuke.Boolean_Knob(name, label, bool(spec.default))
    elif spec.kind == INT and isinstance(spec.default, int):
        knob = _with(nuke.Int_Knob(name, label), spec.default)
    elif spec.kind == FLOAT and isinstance(spec.default, (int, float)):
        knob = _ranged(_with(nuke.Double_Knob(name, label), float(spec.default)), spec.minimum, spec.maximum)
    else:
        knob = nuke.String_Knob(name, label, "" if spec.default is None else str(spec.default))
    knob.setFlag(nuke.NO_ANIMATION)
    return knob


def _with(knob: Any, value: Any) -> Any:
    knob.setValue(value)
    return knob


def _ranged(knob: Any, minimum: float | None, maximum: float | None) -> Any:
    if minimum is not None and maximum is not None:
        knob.setRange(minimum, maximum)
    return knob


def _add(node: Any, knob: Any, help: str = "", *, starts_line: bool | None = None) -> None:
    if node.knob(knob.name()) is not None:
        return
    if help:
        knob.setTooltip(help)
    if starts_line is True:
        knob.setFlag(nuke.STARTLINE)
    elif starts_line is False:
        knob.clearFlag(nuke.STARTLINE)
    node.addKnob(knob)


def _add_button(node: Any, action: str, label: str, help: str, *, starts_line: bool = False) -> None:
    name = {"version": "versions"}.get(action, action)
    _add(node, nuke.PyScript_Knob(f"press_{name}", label, _COMMAND.format(action)), help, starts_line=starts_line)


def _add_folder(node: Any, name: str, label: str, help: str) -> None:
    """A folder, and a button that lists what the daemon has: a menu's entries would be saved with the script."""
    _add(node, nuke.File_Knob(name, label), help)
    _add_button(node, CHOOSE[name], "Choose…", "Models or facesets that the daemon knows")


def _add_hidden(node: Any, name: str, value: str | int) -> None:
    if node.knob(name) is not None:
        return
    knob = nuke.String_Knob(name, name, value) if isinstance(value, str) else _with(nuke.Int_Knob(name, name), value)
    knob.setFlag(nuke.INVISIBLE)
    knob.setFlag(nuke.NO_ANIMATION)
    node.addKnob(knob)
