"""The steps of a swap: what waits is done beside Nuke, what touches Nuke in its main thread (:mod:`dflnuke.host`)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import nuke

from dflhost import messages
from dflhost import results as versioned
from dflhost.errors import HostError
from dflhost.frames import FrameRequest
from dflhost.jobs import MERGE, Job
from dflhost.knobs import TD, KnobSpec, Value
from dflhost.plates import FrameSet, frame_path
from dflhost.results import Result, StaleReport
from dflhost.streamed import StreamedMerge

from . import connection, layout, results, staleness
from .host import in_background, not_undoable
from .plates import PlateSource, find_source
from .pressing import Press, begin, begin_frame, check_idle
from .request import NEEDED_LAYERS, SwapRequest, Unwritten, make_room, read_request
from .results import DONE
from .road import Road
from .watch import AnyJob, JobWatch, running


@dataclass(frozen=True)
class Submitted:
    """Jobs by view; ``streamed``: patterns of those whose frames come through the connection."""

    jobs: Mapping[str, AnyJob]
    streamed: Mapping[str, str]


@dataclass(frozen=True)
class Prepared:
    """What was learnt before anything is rendered.

    Attributes:
        model: its folder as the daemon names it. specs, settings: of the merge. unwritten: what Nuke must write of the
            plate. key: of what is asked for, by view. shown: pattern of the result in the node, by view. stale: what
            that lacks; None where it is not known what it was made from.
    """

    request: SwapRequest
    road: Road
    model: str
    specs: list[KnobSpec]
    settings: Mapping[str, Value]
    unwritten: Unwritten
    key: Mapping[str, str]
    shown: Mapping[str, str]
    stale: StaleReport | None


def swap_range(node: Any, *, only_stale: bool = False) -> None:
    """Swap Range; ``only_stale`` is Update: nothing is done where nothing has changed.

    Raises:
        HostError: something is missing that the artist must choose, or the node is busy (``NODE_BUSY``).
    """
    check_idle(node)
    request = read_request(node)
    held = staleness.held(node)
    press = begin(node)

    def send(prepared: Prepared) -> None:
        press.check_node()
        layout.sync_settings(node, prepared.specs)
        if only_stale and prepared.stale is not None and not prepared.stale.is_stale:
            press.end()
            results.show_state(node, f"{DONE}: nothing has changed.")
            return
        sent = staleness.digest_of(replace(request, values=layout.setting_values(node)))
        press.write(
            request,
            prepared.unwritten,
            lambda: in_background(
                lambda: _submit(press, prepared), lambda jobs: _watch(press, prepared, jobs, sent), press.failed
            ),
        )

    in_background(lambda: _prepare(press, request, held), send, press.failed)


def swap_frame(node: Any, frame: int) -> None:
    """Swap one frame and show it in its place.

    Raises:
        HostError: something is missing that the artist must choose.
    """
    request = read_request(node, frames=FrameSet.of([frame]))
    press = begin_frame(node)
    results.show_state(node, f"{messages.SWAP_FRAME} {frame}")
    client_key = f"nuke {os.getpid()} {node.fullName()}"

    def send(prepared: Prepared) -> None:
        press.check_node()
        layout.sync_settings(node, prepared.specs)
        press.write(
            request,
            prepared.unwritten,
            lambda: in_background(lambda: _render(prepared, frame, client_key), show, press.failed),
        )

    def show(done: tuple[str, str]) -> None:
        path, text = done
        press.end()
        results.show_still(node, path, frame, request.source)
        results.show_state(node, text)

    in_background(lambda: _prepare(press, request, {}), send, press.failed)


def find_versions(node: Any) -> None:
    """Look for results on disk."""
    request = read_request(node, needs_model=False)
    in_background(
        lambda: versioned.versions(request.output(request.views[0])),
        lambda found: results.show_versions(node, found),
        lambda error: results.show_error(node, error),
    )


def show_version(node: Any, name: str) -> None:
    """Show another version that is on disk."""
    if not name.startswith("v"):
        return
    request = read_request(node, needs_model=False)

    def read() -> dict[str, Result]:
        patterns = {view: request.output(view).replace("{version}", name) for view in request.views}
        return {view: versioned.read_result(pattern) for view, pattern in patterns.items()}

    def show(found: dict[str, Result]) -> None:
        results.show_result(node, found, request.source)
        with not_undoable():  # what it was made from is not known here: Update asks the daemon
            node["key"].setValue("")
            node["sent"].setValue("")
        results.show_state(node, DONE)

    in_background(read, show, lambda error: results.show_error(node, error))


def reattach(node: Any) -> None:
    """Find the jobs of a script that was opened again; they went on without Nuke."""
    references: dict[str, str] = json.loads(node["jobs"].value() or "{}")
    if not references or running(node) is not None:
        return
    kind = node["kind"].value()
    try:
        source: PlateSource | None = find_source(node, use_files=bool(node["use_files"].value()))
    except HostError:  # its plate was taken away since; the result is shown by its own colour space
        source = None

    def ended(told: Mapping[str, Mapping[str, str]]) -> None:
        if kind == MERGE:
            _fetch(node, told, source)
        else:
            results.show_state(node, DONE)
            staleness.look_soon(is_deep=True)

    def attach() -> dict[str, Job]:
        session = connection.session()
        return {view: session.attach(reference) for view, reference in references.items()}

    in_background(
        attach,
        lambda jobs: JobWatch(node, jobs, source if kind == MERGE else None, ended).start(),
        lambda error: results.show_error(node, error),
    )


def _prepare(press: Press, request: SwapRequest, held: Mapping[str, str]) -> Prepared:
    """Ask the daemon and the disk; nothing is rendered for a swap that cannot be made."""
    road = press.road(is_forced=request.is_fetched)
    specs = road.session.describe_settings(MERGE, TD)
    settings = request.settings(specs)
    unwritten = make_room(request)
    model = road.model(request.model)
    keys = staleness.keys(road.session, request, settings, road.session.model(model).digest)
    shown: dict[str, str] = json.loads(held.get("result") or "{}")
    stale = staleness.compare(shown, keys, json.loads(held.get("key") or "{}"))
    texts = {view: key.to_text() for view, key in keys.items()}
    return Prepared(request, road, model, specs, road.settings(settings), unwritten, texts, shown, stale)


def _submit(press: Press, prepared: Prepared) -> Submitted:
    request, road = prepared.request, prepared.road
    prepared.unwritten.check(request.views)
    if road.is_apart(request.folder):
        streamed = {view: _streamed(prepared, view) for view in request.views}
        return Submitted(
            {view: job for view, (job, _) in streamed.items()}, {view: path for view, (_, path) in streamed.items()}
        )
    plates = {view: road.plate(request.plate(view)) for view in request.views}
    faces = {view: road.faceset(request.faces(view)) for view in request.views}
    press.check()
    submit = road.session.submit_merge
    return Submitted(
        {
            view: submit(plates[view], prepared.model, faces[view], request.output(view), prepared.settings)
            for view in request.views
        },
        {},
    )


def _streamed(prepared: Prepared, view: str) -> tuple[StreamedMerge, str]:
    """The job and its files: into the shown version where that only lacks frames, else into a new one.

    A new one takes over what is still right.
    """
    request, stale = prepared.request, prepared.stale
    frames, pattern = request.frames, prepared.shown.get(view, "")
    if stale is not None and pattern and not stale.changed.frames:
        frames = stale.missing
    else:
        old, pattern = pattern, versioned.next_version(request.output(view))
        if stale is not None and old:
            kept = frames - stale.frames
            _take_over(old, pattern, kept)
            frames = frames - kept
    default = next((str(one.default) for one in prepared.specs if one.name == "layers"), "")
    names = str(prepared.settings.get("layers", default)).split(",")
    layers = tuple(name.strip() for name in names if name.strip())
    asked = replace(_frame_request(prepared, view, 0), layers=("beauty", *layers))
    return prepared.road.session.submit_streamed(asked, frames, pattern, send=request.is_fetched or None), pattern


def _take_over(old: str, new: str, frames: FrameSet) -> None:
    """Frames that did not change, in the new version's folder: as links where the disk has them.

    Raises:
        HostError: they cannot be written (``FOLDER_NOT_WRITABLE``).
    """
    try:
        for frame in frames:
            path = frame_path(new, frame)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                os.link(frame_path(old, frame), path)
            except OSError:
                shutil.copy2(frame_path(old, frame), path)
    except OSError as error:
        raise HostError(
            f"Frames of the last version cannot be taken over: {error.strerror}.",
            reason="FOLDER_NOT_WRITABLE",
            category="RESOURCE_EXHAUSTED",
            details={"path": os.path.dirname(new)},
        ) from error


def _watch(press: Press, prepared: Prepared, submitted: Submitted, sent: str) -> None:
    node, source, streamed = press.node, prepared.request.source, submitted.streamed

    def remember() -> None:
        with not_undoable():
            node["key"].setValue(json.dumps(prepared.key))
            node["sent"].setValue(sent)

    def ended(told: Mapping[str, Mapping[str, str]]) -> None:
        remember()
        _fetch(node, told, source, is_here=bool(streamed))

    press.end()
    with not_undoable():
        node["kind"].setValue(MERGE)
        if streamed:  # it ends with Nuke: Update goes on with what is on disk
            node["result"].setValue(json.dumps(streamed))
    if streamed:
        remember()
    JobWatch(node, submitted.jobs, source, ended).start()


def _fetch(
    node: Any, told: Mapping[str, Mapping[str, str]], source: PlateSource | None, *, is_here: bool = False
) -> None:
    """Bring what the jobs have made into the node."""

    def read() -> dict[str, Result]:
        read_one = versioned.read_result if is_here else connection.session().result
        return {view: read_one(result["output"]) for view, result in told.items()}

    def show(found: dict[str, Result]) -> None:
        results.show_result(node, found, source)
        results.show_state(node, DONE)
        with contextlib.suppress(HostError):  # no plate any more: the menu stays as it was
            find_versions(node)

    in_background(read, show, lambda error: results.show_error(node, error))


def _render(prepared: Prepared, frame: int, client_key: str) -> tuple[str, str]:
    """Frame of every view, saved under a name of its own; where it is, and what to say."""
    request, road = prepared.request, prepared.road
    prepared.unwritten.check(request.views)
    notices: list[str] = []
    key = ""
    for view in request.views:
        asked = replace(
            _frame_request(prepared, view, frame),
            plate_path=road.plate(request.plate(view)).path,
            faceset_path=road.faceset(request.faces(view)),
            layers=("beauty", *NEEDED_LAYERS),
            client_key=f"{client_key} {view}",
        )
        picture = road.session.merge_frame(asked)
        key = key or picture.key[:12]
        notices.extend(picture.notices)
        picture.save(_still_path(request, frame, key).replace("%V", view))
    text = " ".join([DONE, *notices])
    return _still_path(request, frame, key), text


def _frame_request(prepared: Prepared, view: str, frame: int) -> FrameRequest:
    """With the plate's colour space among the settings, as a job has it."""
    request = prepared.request
    plate = request.plate(view)
    settings = {name: value for name, value in prepared.settings.items() if name not in ("profile", "layers")}
    if plate.color_space:
        settings = {"input_colorspace": plate.color_space, **settings}
    return FrameRequest(plate.path, frame, prepared.model, request.faces(view), settings)


def _still_path(request: SwapRequest, frame: int, key: str) -> str:
    folder = "/%V" if len(request.views) > 1 else ""
    return f"{request.folder}/frames{folder}/{request.name}_{key}.{frame:04d}.exr"


def current_frame() -> int:
    """Where the playhead stands."""
    return int(nuke.frame())
