"""What the daemon is asked beside a swap: its settings, its models and facesets; and where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nuke

from dflhost import messages, words
from dflhost.errors import HostError
from dflhost.folders import KnownFolder
from dflhost.jobs import EXTRACT, MERGE, TRAIN
from dflhost.knobs import TD, KnobSpec
from dflhost.session import DaemonSession

from . import connection, layout, prefs, results
from .host import has_window, in_background
from .watch import is_anything_running, running

MODELS, FACESETS = "models", "facesets"
_LISTS = {"model": MODELS, "source": FACESETS, "faceset": FACESETS}
"""Knob → what its menu lists."""
_ASKS: dict[str, Callable[[DaemonSession], list[KnownFolder]]] = {
    MODELS: lambda session: session.models(),
    FACESETS: lambda session: session.facesets(),
}
_known: dict[str, list[KnownFolder]] = {}
"""As the daemon last listed them, so that a menu opens at once."""


def get_settings(node: Any, *, start: bool = False) -> None:
    """Make knobs from the daemon's description; ``start`` starts the daemon first."""
    results.show_state(node, words.CONNECTING)
    results.clear_error(node)

    def ask() -> dict[str, list[KnobSpec]]:
        session = connection.start() if start else connection.session()
        return {kind: session.describe_settings(kind, TD) for kind in (MERGE, EXTRACT, TRAIN)}

    def show(specs: dict[str, list[KnobSpec]]) -> None:
        for kind, ones in specs.items():
            layout.sync_settings(node, ones, kind)
        results.show_state(node, messages.IDLE)
        refresh()

    in_background(ask, show, lambda error: results.show_error(node, error))


def refresh() -> None:
    """List models and facesets anew, beside Nuke; where no daemon answers, the lists stay as they are."""
    if has_window():
        in_background(_ask_all, _known.update, lambda error: None)


def _ask_all() -> dict[str, list[KnownFolder]]:
    session = connection.session()
    return {what: ask(session) for what, ask in _ASKS.items()}


def choose(node: Any, name: str) -> None:
    """A menu of what the daemon has for a knob; what is chosen goes into it."""
    what = _LISTS[name]

    before = node["status"].value()

    def show(known: dict[str, list[KnownFolder]]) -> None:
        _known.update(known)
        if node["status"].value() == words.CONNECTING:
            results.show_state(node, before)
        _choose(node, name, known[what])

    if _known.get(what):
        _choose(node, name, _known[what])
        refresh()
        return
    if running(node) is None:
        results.show_state(node, words.CONNECTING)
    in_background(_ask_all, show, lambda error: results.show_error(node, error))


def _choose(node: Any, name: str, found: list[KnownFolder]) -> None:
    if not found:
        raise HostError(
            f"The daemon knows no {_LISTS[name]} yet: make one, or write its folder here.",
            reason="NOTHING_TO_CHOOSE",
            category="CANCELLED",
        )
    lines = [f"{one.name}   {one.path}" for one in found]
    number = nuke.choice(words.MENU, node[name].label(), lines)
    if isinstance(number, int) and 0 <= number < len(found):
        node[name].setValue(found[number].path)


def preferences(node: Any = None) -> None:
    """Where the daemon is. What changes holds from the next press on; running jobs go on as they were begun."""
    if not prefs.ask():
        return
    _known.clear()
    is_watched = is_anything_running()

    def done(nothing: None) -> None:
        if node is not None:
            get_settings(node)

    def failed(error: HostError) -> None:
        if node is not None:
            results.show_error(node, error)

    in_background(lambda: connection.drop(is_watched=is_watched), done, failed)
