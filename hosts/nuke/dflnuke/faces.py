"""*Extract Faces* and *Train*: what a swap is made from."""

from __future__ import annotations

import re
from typing import Any

from dflhost.jobs import EXTRACT, TRAIN, Job
from dflhost.knobs import TD, KnobSpec, changed_settings
from dflhost.places import FACESET, MODEL

from . import results, staleness
from .host import in_background, not_undoable
from .plates import for_view
from .pressing import Press, begin, check_idle
from .request import SwapRequest, TrainRequest, Unwritten, make_room, path_of, read_request, read_training
from .road import Road
from .watch import JobWatch


def extract(node: Any) -> None:
    """Find the faces of the plate; the faceset becomes the node's.

    Raises:
        HostError: something is missing that the artist must choose, or the node is busy (``NODE_BUSY``).
    """
    check_idle(node)
    request = read_request(node, needs_model=False)
    press = begin(node)

    def prepare() -> tuple[list[KnobSpec], Unwritten]:
        road = press.road(is_forced=request.is_fetched)
        return road.session.describe_settings(EXTRACT, TD), make_room(request)

    def send(prepared: tuple[list[KnobSpec], Unwritten]) -> None:
        specs, unwritten = prepared
        press.check_node()
        press.write(
            request,
            unwritten,
            lambda: in_background(lambda: _submit_extract(press, request, specs, unwritten), watch, press.failed),
        )

    def watch(done: tuple[dict[str, Job], str]) -> None:
        jobs, faceset = done
        _watch(press, EXTRACT, jobs, {"faceset": faceset})

    in_background(prepare, send, press.failed)


def _submit_extract(
    press: Press, request: SwapRequest, specs: list[KnobSpec], unwritten: Unwritten
) -> tuple[dict[str, Job], str]:
    """Jobs by view, and the faceset's folder, with ``%V`` where there are several."""
    unwritten.check(request.views)
    road = press.road(is_forced=request.is_fetched)
    settings = road.settings(request.extract_settings(specs))
    plates = {view: road.plate(request.plate(view)) for view in request.views}
    faceset = _place(road, request.faceset)
    press.check()
    jobs = {
        view: road.session.submit_extract(plates[view], for_view(faceset, view), settings) for view in request.views
    }
    return jobs, faceset


def _place(road: Road, faceset: str) -> str:
    """Where the faces go; the views' folders stay side by side."""
    token = re.search("%[Vv]", faceset)
    if token is None:
        return road.place(FACESET, faceset)
    above = faceset[: token.start()].rstrip("/")
    placed = road.place(FACESET, above)
    return faceset if placed == above else f"{placed}/{faceset[token.start() :]}"


def train(node: Any) -> None:
    """Train the model on the source's and the plate's faces; its folder becomes the node's.

    Raises:
        HostError: something is missing that the artist must choose, or the node is busy (``NODE_BUSY``).
    """
    check_idle(node)
    request = read_training(node)
    press = begin(node)

    def watch(done: tuple[Job, str]) -> None:
        job, model = done
        _watch(press, TRAIN, {"": job}, {"model": model})

    in_background(lambda: _submit_train(press, request), watch, press.failed)


def _submit_train(press: Press, request: TrainRequest) -> tuple[Job, str]:
    road = press.road(is_forced=request.is_fetched)
    specs = road.session.describe_settings(TRAIN, TD)
    source, target = road.faceset(request.source), road.faceset(request.target)
    # a model that was begun here goes on over there, as a copy: this one stays as it is
    begun = road.is_only_here(request.model)
    model = road.model(request.model) if begun else road.place(MODEL, request.model)
    press.check()
    return road.session.submit_train(source, target, model, changed_settings(specs, request.values)), model


def _watch(press: Press, kind: str, jobs: dict[str, Job], places: dict[str, str]) -> None:
    """Show the jobs on the node, whose knobs say from now on where their work lies."""
    press.end()
    node = press.node
    with not_undoable():
        node["kind"].setValue(kind)
        for knob, path in places.items():
            if path_of(node, knob) != path:
                node[knob].setValue(path)
    JobWatch(node, jobs, None, lambda told: ended(node)).start()


def ended(node: Any) -> None:
    """Faces were found, or a model trained: results made with another one are stale now."""
    results.show_state(node, results.DONE)
    staleness.look_soon(is_deep=True)
