"""Whether what a node shows is still what its knobs ask for. Marks only: nothing is made again by itself."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import nuke

from dflhost import messages
from dflhost.errors import HostError
from dflhost.jobs import MERGE
from dflhost.knobs import TD, Value
from dflhost.plates import FrameSet, frames_on_disk
from dflhost.results import ResultKey, StaleReport
from dflhost.session import DaemonSession

from . import connection, layout, results
from .host import has_window, in_background, is_alive
from .request import SwapRequest, read_request
from .results import DONE
from .road import Road
from .watch import running

MARKED = f"{messages.STALE}: press {messages.UPDATE}."
"""What is said of changed knobs; whatever disk or daemon know of is said with its reason."""
QUIET_S = 0.5
"""A slider that is dragged changes its knob many times a second."""


def held(node: Any) -> dict[str, str]:
    """What the node remembers of its result."""
    return {"result": str(node["result"].value()), "key": str(node["key"].value())}


def digest_of(request: SwapRequest) -> str:
    """Short text that differs when the node asks for something else."""
    return hashlib.sha256(request.sent.encode("utf-8")).hexdigest()[:16]


def keys(
    session: DaemonSession, request: SwapRequest, settings: Mapping[str, Value], model_digest: str
) -> dict[str, ResultKey]:
    """What is asked for now, by view. Asks the disk."""
    version = session.server.version
    return {view: ResultKey.of(request.plate(view), model_digest, settings, version) for view in request.views}


def compare(shown: Mapping[str, str], wanted: Mapping[str, ResultKey], texts: Mapping[str, str]) -> StaleReport | None:
    """What the shown result lacks in any view; None where it is not known what it was made from. Asks the disk."""
    changed, missing, reason = FrameSet(), FrameSet(), ""
    for view, key in wanted.items():
        old = ResultKey.from_text(texts.get(view, ""))
        if old is None or view not in shown:
            return None
        report = old.compare(key, frames_on_disk(shown[view]))
        changed, missing, reason = changed | report.changed, missing | report.missing, reason or report.reason
    return StaleReport(changed, missing, reason)


def mark(node: Any) -> None:
    """Say at once whether the knobs or the graph above ask for something else; asks neither disk nor daemon."""
    sent = node["sent"].value()
    if not sent or running(node) is not None or results.is_failed(node):
        return
    try:
        is_stale = digest_of(read_request(node)) != sent
    except HostError:
        return  # said when a button is pressed
    state = node["status"].value()
    if is_stale and not state.startswith(messages.STALE):
        results.show_state(node, MARKED)
    elif not is_stale and state == MARKED:
        results.show_state(node, DONE)


def look(node: Any) -> None:
    """Ask disk and daemon beside Nuke: was the model trained further, are files of the plate others, do frames lack?

    Says nothing where the daemon cannot be reached: a script may be looked at without one.
    """
    if not node["sent"].value() or running(node) is not None or results.is_failed(node) or not has_window():
        return
    try:
        request = read_request(node)
    except HostError:
        return
    known = held(node)

    def show(stale: StaleReport | None) -> None:
        if stale is None or not is_alive(node) or running(node) is not None or held(node) != known:
            return
        if results.is_failed(node):
            return
        if stale.is_stale:
            results.show_state(node, f"{messages.STALE}: {stale.reason} Press {messages.UPDATE}.")
        elif node["status"].value().startswith(messages.STALE):
            results.show_state(node, DONE)

    in_background(lambda: _asked(request, known), show, lambda error: None)


def _asked(request: SwapRequest, known: Mapping[str, str]) -> StaleReport | None:
    session = connection.session()
    road = Road(session, is_forced=request.is_fetched)
    settings = request.settings(session.describe_settings(MERGE, TD))
    # a model that lies here alone would have to be sent to be known
    digest = "" if road.is_only_here(request.model) else session.model(request.model).digest
    wanted = keys(session, request, settings, digest)
    return compare(json.loads(known["result"] or "{}"), wanted, json.loads(known["key"] or "{}"))


def look_soon(*, is_deep: bool = False) -> None:
    """Mark all nodes of the script in the main thread, once nothing has changed for a moment.

    Args:
        is_deep: ask disk and daemon as well.
    """
    if not has_window():
        return
    with _lock:
        _asked_at[:] = [time.monotonic()]
        if is_deep:
            _deep.append(True)
        if _waits:
            return
        _waits.append(True)
    threading.Thread(target=_wait, name="dflnuke-stale", daemon=True).start()


def _look_at_all(is_deep: bool) -> None:
    for node in nuke.allNodes("Group", nuke.root()):
        if layout.is_ours(node):
            mark(node)
            if is_deep and node["status"].value() != MARKED:
                look(node)


def _wait() -> None:
    while True:
        with _lock:
            left = _asked_at[0] + QUIET_S - time.monotonic()
            if left <= 0:
                is_deep = bool(_deep)
                _waits.clear()
                _deep.clear()
                break
        time.sleep(left)
    nuke.executeInMainThread(_look_at_all, (is_deep,))


_lock = threading.Lock()
_asked_at: list[float] = []
_waits: list[bool] = []
_deep: list[bool] = []
