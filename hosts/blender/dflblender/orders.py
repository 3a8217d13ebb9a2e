# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist asks for, in plain values gathered from Blender, as steps for the desk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ._dflhost.errors import HostError
from ._dflhost.frames import FrameRequest
from ._dflhost.plates import FrameSet, Plate, frame_path
from ._dflhost.results import FLAT, LAYERED, Result, ResultKey, StaleReport, next_version, read_result
from ._dflhost.sending import MODEL_LEAVES_OUT, Sending
from ._dflhost.session import DaemonSession
from .desk import STREAMED, Facts, Step, StepJob
from .flat_exr import flatten_channel, sibling_pattern

STRIP, NODES, IMAGE = "strip", "nodes", "image"
"""Where a result goes: sequencer, compositor, image editor."""
AT_FACES, AT_MERGE = "faces", "merge"
"""The fact ``at``: which job of a swap is under way."""
FACE_LAYERS, MATTE_LAYER = "swap,matte", "matte"
"""What the compositor's group and the strips are built from; more layers may be asked for."""


@dataclass(frozen=True)
class SwapOrder:
    """A merge of a range.

    Attributes:
        plate: with the frames asked for. model, faces: folders; faces are extracted where that one is not there.
        output: pattern with ``{version}``.
        settings, extract_settings: what differs from the daemon's defaults.
        place: ``strip``, ``nodes`` or ``image``; decides the profile of the files.
    """

    plate: Plate
    model: str
    faces: str
    output: str
    place: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    extract_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def merge_settings(self) -> dict[str, Any]:
        """With the profile that the place can read: Blender 4.2's sequencer cannot open layered files."""
        settings = with_color_space(self.plate, self.settings)
        settings["profile"] = LAYERED if self.place == NODES else FLAT
        needed = FACE_LAYERS if self.place == NODES else MATTE_LAYER
        if settings.get("layers") or self.place != NODES:
            asked = f"{settings.get('layers') or ''},{needed}".split(",")
            settings["layers"] = ",".join(dict.fromkeys(name.strip() for name in asked if name.strip()))
        return settings

    def steps(self) -> list[Step]:
        """What lies only here is sent, faces are looked for where they lack, then the merge.

        A daemon on another machine that sees nothing of the output's folder sends finished frames back.
        """
        return [self._send, self._find_faces, self._merge, self._stream_matte, self._flatten_matte]

    def key(self, session: DaemonSession, facts: Facts) -> ResultKey:
        """What the result would be made from now. Waits."""
        model = facts.get("there_model") or self.model
        is_sent = facts.get("sent_model", "") == _stamp(self.model)
        digest = session.model(model).digest if is_sent or not session.settings.is_remote else _stamp(self.model)
        return ResultKey.of(self.plate, digest, self.merge_settings, session.server.version)

    def staleness(self, session: DaemonSession, facts: Facts, pattern: str) -> StaleReport | None:
        """What has changed since a result was made; None for a scene without a key. Waits."""
        made = ResultKey.from_text(facts.get("key", ""))
        if made is None:
            return None
        there: Result = read_result(pattern) if facts.get(STREAMED) else session.result(pattern)
        return made.compare(self.key(session, facts), there.frames)

    def _send(self, session: DaemonSession, facts: Facts) -> StepJob | None:
        """Leaves ``there_plate``, ``there_model`` and ``there_faces``: what the daemon can open."""
        if not session.settings.is_remote:
            return None
        facts["sent_model"] = _stamp(self.model)

        def work(*how: Any) -> str:
            facts["there_model"] = session.folder_there(self.model, MODEL_LEAVES_OUT, *how)
            facts["there_plate"] = session.plate_there(self.plate, self.plate.frames, *how).path
            facts["there_faces"] = faces_there(session, self.faces, *how)
            return facts["there_plate"]

        return Sending(work)

    def _find_faces(self, session: DaemonSession, facts: Facts) -> StepJob | None:
        session.model(facts.get("there_model") or self.model)  # a wrong one is told before faces are looked for
        faces = facts.get("there_faces") or self.faces
        try:
            session.faceset(faces)
        except HostError as error:
            if error.category != "NOT_FOUND":
                raise
            facts["at"] = AT_FACES
            return session.submit_extract(self._there(facts), faces, session.settings_there(self.extract_settings))
        return None

    def _merge(self, session: DaemonSession, facts: Facts) -> StepJob:
        key, facts["at"] = self.key(session, facts), AT_MERGE
        model, faces = facts.get("there_model") or self.model, facts.get("there_faces") or self.faces
        if not (session.settings.is_remote and session.path_map.to_daemon(self.output) == self.output):
            facts.pop(STREAMED, None)
            facts["key"] = key.to_text()
            return session.submit_merge(self._there(facts), model, faces, self.output, self.merge_settings)
        frames = self._frames_to_stream(key, facts)
        layers: tuple[str, ...] = ("beauty",)
        if self.place == NODES:
            asked = str(self.settings.get("layers") or "")
            names = self.merge_settings["layers"].split(",") if asked else [one.name for one in session.layers()]
            layers += tuple(name for name in names if name and name != "beauty")
        return session.submit_streamed(self._request(facts, layers), frames, facts[STREAMED], send=False)

    def _frames_to_stream(self, key: ResultKey, facts: Facts) -> FrameSet:
        """Frames that the version begun last lacks; all of a new version where it was made from something else.

        The key is left in the facts without what is made again, so that an interrupted range is gone on with.
        """
        made, frames = ResultKey.from_text(facts.get("key", "")), FrameSet.of(key.frames)
        pattern = facts.get(STREAMED, "")
        if made is not None and pattern and replace(made, frames=key.frames) == key:
            frames = made.compare(key, read_result(pattern).frames).frames
        else:
            facts[STREAMED] = next_version(self.output)
        facts["whole_key"] = key.to_text()
        kept = {frame: identity for frame, identity in key.frames.items() if frame not in frames}
        known = {} if made is None else made.frames
        is_missing = {frame: key.frames[frame] for frame in frames if known.get(frame) in (None, key.frames[frame])}
        facts["key"] = replace(key, frames={**kept, **is_missing}).to_text()
        facts["streamed_frames"] = str(frames)
        return frames

    def _stream_matte(self, session: DaemonSession, facts: Facts) -> StepJob | None:
        """The matte's own sequence, where layers cannot lie in one file."""
        if not facts.get(STREAMED) or self.place == NODES:
            return None
        frames = FrameSet.parse(facts["streamed_frames"])
        request = self._request(facts, (MATTE_LAYER,))
        request = replace(request, settings={**request.settings, "compression": "zip"})  # others mind the name
        return session.submit_streamed(request, frames, sibling_pattern(facts[STREAMED], MATTE_LAYER), send=False)

    def _flatten_matte(self, session: DaemonSession, facts: Facts) -> None:
        """Sequencers take no layers: the matte's only channel gets a plain name."""
        if facts.get(STREAMED) and self.place != NODES:
            for frame in FrameSet.parse(facts["streamed_frames"]):
                flatten_channel(frame_path(sibling_pattern(facts[STREAMED], MATTE_LAYER), frame))
        if facts.get(STREAMED):
            facts["key"] = facts.pop("whole_key", facts.get("key", ""))

    def _request(self, facts: Facts, layers: tuple[str, ...]) -> FrameRequest:
        settings = {name: value for name, value in self.merge_settings.items() if name not in ("layers", "profile")}
        return FrameRequest(
            plate_path=facts.get("there_plate") or self.plate.path,
            frame=1,
            model_path=facts.get("there_model") or self.model,
            faceset_path=facts.get("there_faces") or self.faces,
            settings=settings,
            layers=layers,
        )

    def _there(self, facts: Facts) -> Plate:
        return replace(self.plate, path=facts.get("there_plate") or self.plate.path)


def extract_steps(plate: Plate, faces: str, settings: Mapping[str, Any], field_name: str) -> list[Step]:
    """Plate → faceset. The fact ``field_name`` becomes the faceset as the daemon names it."""

    def send(session: DaemonSession, facts: Facts) -> StepJob | None:
        if not session.settings.is_remote:
            return None

        def work(*how: Any) -> str:
            facts["there_plate"] = session.plate_there(plate, plate.frames, *how).path
            return facts["there_plate"]

        return Sending(work)

    def extract(session: DaemonSession, facts: Facts) -> StepJob:
        facts[field_name] = session.place_for("faceset", faces)
        there = replace(plate, path=facts.get("there_plate") or plate.path)
        return session.submit_extract(there, facts[field_name], session.settings_there(settings))

    return [send, extract]


def train_steps(source: str, target: str, model: str, settings: Mapping[str, Any]) -> list[Step]:
    """Facesets → model. The fact ``model`` becomes the model as the daemon names it."""

    def send(session: DaemonSession, facts: Facts) -> StepJob | None:
        if not session.settings.is_remote:
            return None

        def work(*how: Any) -> str:
            facts["there_source"] = session.folder_there(source, (), *how)
            facts["there_target"] = faces_there(session, target, *how)
            return facts["there_source"]

        return Sending(work)

    def train(session: DaemonSession, facts: Facts) -> StepJob:
        facts["model"] = there = session.place_for("model", model)
        if there != model and os.path.isdir(model):
            raise HostError(
                f"The model {model} lies on this computer, where the daemon cannot go on with it: choose one of the "
                "daemon's from the menu beside the field, or empty the field to start a new one there.",
                reason="MODEL_ONLY_HERE",
                category="CONFLICT",
            )
        sources = facts.get("there_source") or source, facts.get("there_target") or target
        return session.submit_train(*sources, there, session.settings_there(settings))

    return [send, train]


def label_steps(faceset: str, labels: str) -> list[Step]:
    """A file of labels → the faceset; the fact ``labelled`` is the faceset as the daemon names it."""

    def send(session: DaemonSession, facts: Facts) -> StepJob | None:
        if not session.settings.is_remote:
            return None

        def work(*how: Any) -> str:
            facts["labelled"] = session.folder_there(faceset, (), *how)
            facts["labels"] = session.folder_there(os.path.dirname(labels), (), *how)
            return facts["labels"]

        return Sending(work)

    def take(session: DaemonSession, facts: Facts) -> StepJob:
        folder = facts.get("labels")
        other = f"{folder}/{os.path.basename(labels)}" if folder else labels
        return session.submit_curate(facts.get("labelled") or faceset, "import_labels", {}, other=other)

    return [send, take]


def frame_there(session: DaemonSession, request: FrameRequest) -> FrameRequest:
    """A single frame's request with what the daemon can open; sends what lies only here. Waits."""
    if not session.settings.is_remote:
        return request
    plate = session.plate_there(Plate(request.plate_path), (request.frame,)).path
    model = session.folder_there(request.model_path, MODEL_LEAVES_OUT)
    faces = faces_there(session, request.faceset_path)
    settings = session.settings_there(request.settings)
    return replace(request, plate_path=plate, model_path=model, faceset_path=faces, settings=settings)


def faces_there(session: DaemonSession, faces: str, *how: Any) -> str:
    """A faceset as the daemon can open it: sent where it lies here, else where the daemon keeps or would make it."""
    if os.path.isdir(faces):
        return session.folder_there(faces, (), *how)
    return session.place_for("faceset", faces)


def _stamp(model: str) -> str:
    """Text that changes with a model folder here; the path alone for one that is not here."""
    newest = 0
    for folder, _, names in os.walk(model):
        for name in names:
            with contextlib.suppress(OSError):
                newest = max(newest, os.stat(os.path.join(folder, name)).st_mtime_ns)
    return f"{model} {newest}"


def with_color_space(plate: Plate, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the space in which Blender shows the plate, so that the result matches what the artist sees.

    An artist's own setting goes before it.
    """
    known = {"input_colorspace": plate.color_space} if plate.color_space else {}
    return {**known, **settings}


def need(value: str, what: str) -> str:
    """A field that must be filled in.

    Raises:
        HostError: it is empty (reason ``FIELD_EMPTY``).
    """
    if not value.strip():
        raise HostError(f"Choose {what} first.", reason="FIELD_EMPTY", category="INVALID_INPUT")
    return value
