"""The node's buttons and Nuke's callbacks. Errors end here: on the node, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import nuke

from dflhost.errors import HostError
from dflhost.messages import report as report_text

from . import VERSION, asking, connection, faces, layout, pressing, results, staleness, swap
from .group import create, rebuild
from .host import as_host_error, is_alive, is_our_change
from .plates import COSMETIC


def press(button: str) -> None:
    """A button of the node that is being looked at."""
    node = nuke.thisNode()
    try:
        layout.upgrade(node)
        _BUTTONS[button](node)
    except Exception as error:  # the edge between Nuke and us: never a stack trace
        results.show_error(node, as_host_error(error))


def show_result(node: Any) -> None:
    """Look at the node."""
    nuke.connectViewer(0, node)


def report(node: Any) -> None:
    """A text to pass on."""
    error = results.last_error(node)
    facts: dict[str, object] = {
        "nuke": nuke.NUKE_VERSION_STRING,
        "integration": VERSION,
        "node": node.fullName(),
        "state": node["status"].value(),
        "result": node["result"].value(),
        "model": node["model"].value(),
        "frames": f"{node['first'].value()}-{node['last'].value()}",
        "settings": ", ".join(f"{name}={value}" for name, value in layout.setting_values(node).items()),
    }
    server = connection.server()
    if server is not None:
        facts.update(daemon=server.version, daemon_log=server.log_path)
    nuke.message(report_text(error, **facts))


def make_node() -> Any:
    """A new node from the menu; its settings come from the daemon if one runs."""
    node = create()
    asking.get_settings(node)
    return node


def update_all() -> None:
    """Update every node of the script."""
    for node in nuke.allNodes("Group"):
        if layout.is_ours(node):
            try:
                layout.upgrade(node)
                swap.swap_range(node, only_stale=True)
            except HostError as error:
                results.show_error(node, error)


def rebuild_all() -> None:
    """Make the inside of the script's nodes as this version of the package makes it."""
    for node in nuke.allNodes("Group"):
        if layout.is_ours(node):
            rebuild(node)


def script_loaded() -> None:
    """Find running jobs of the script that was opened, and what of its results is out of date."""
    for node in nuke.allNodes("Group"):
        if layout.is_ours(node):
            try:
                swap.reattach(node)
                staleness.look(node)
            except Exception as error:  # a damaged node may not keep a script from opening
                results.show_error(node, as_host_error(error))


def knob_changed() -> None:
    """Another version was chosen; or something that a shown result was not made with: on our nodes or above them."""
    node, knob = nuke.thisNode(), nuke.thisKnob()
    name = knob.name()
    if is_our_change() or name in COSMETIC or name == "hidePanel" or not is_alive(node):
        return
    if not layout.is_ours(node):
        is_playing = node.Class() == "Root" and name == "frame"
        if not is_playing and node.Class() not in _SEEN_ONLY:
            staleness.look_soon()
        return
    try:
        if name == "showPanel":
            asking.refresh()
            staleness.mark(node)
            staleness.look(node)
        elif name == "version":
            swap.show_version(node, str(knob.value()))
        elif name in _ASKING or name.startswith(layout.SETTING):
            staleness.mark(node)
    except HostError:
        return  # said when a button is pressed


_SEEN_ONLY = frozenset({"Viewer", "BackdropNode", "StickyNote"})
"""Classes that change no pixel of what is made."""
_ASKING = frozenset({"model", "faceset", "first", "last", "handles", "views", "use_files", "inputChange"})
_BUTTONS: dict[str, Callable[[Any], Any]] = {
    "swap_frame": lambda node: swap.swap_frame(node, swap.current_frame()),
    "swap_range": lambda node: swap.swap_range(node),
    "update": lambda node: swap.swap_range(node, only_stale=True),
    "cancel": pressing.cancel,
    "show_result": show_result,
    "report": report,
    "extract": faces.extract,
    "train": faces.train,
    "find_versions": swap.find_versions,
    "get_settings": lambda node: asking.get_settings(node),
    "start": lambda node: asking.get_settings(node, start=True),
    "ask": lambda node: asking.preferences(node),
    **{action: partial(asking.choose, name=name) for name, action in layout.CHOOSE.items()},
}
