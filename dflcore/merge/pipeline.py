"""Merging: plate + face model + faceset → EXR frames with layers.

Per frame: read → prepare (light, align, paint) → render (match, mask, put back, blend, composite) → write. Reading,
computing and writing run in threads of their own with one frame waiting in between. Where masks or colours are averaged
over time, frames around the one that is rendered are read and painted too, once each, and forgotten when no later frame
needs them.
"""

from __future__ import annotations

import bisect
import contextlib
import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dflcore.authorization import check_authorization
from dflcore.color.ocio import ColorConverter
from dflcore.config.cast_text import Part, parse_casting
from dflcore.config.frame_overrides import parse_overrides
from dflcore.config.merge import OVERRIDABLE, MergeSettings
from dflcore.config.settings_file import format_settings_file
from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.geometry.template import FACE_TYPE_CROPS
from dflcore.io.atomic import remove_leftovers, write_text
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate, PlateImage
from dflcore.merge.aovs import FrameFile, FrameLayout, parse_layers
from dflcore.merge.casting import Cast, check_tracks
from dflcore.merge.face import PaintedFace
from dflcore.merge.light import PlateLight
from dflcore.merge.output import OutputPlan, plan_output
from dflcore.merge.provenance import MANIFEST_SUFFIX, FrameEntry, MergeIdentity, SequenceManifest, file_fact
from dflcore.merge.rendering import (
    FrameRenderer,
    PaintedFrame,
    arrange_files,
    frame_key,
    header_of,
    merge_identity,
    write_layers,
)
from dflcore.merge.segmentation import Segmentation
from dflcore.merge.stages import StepClock, run_stages
from dflcore.merge.swapper import FaceSwapper
from dflcore.merge.temporal import Tracks
from dflcore.merge.tools import MergeTools, check_tools
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import Authorization, FaceRecord, FloatArray

logger = logging.getLogger(__name__)

WAITING_FRAMES = 1
"""Frames that may wait between two stages: with the three at work, at most five are in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult:
    """What a merge did.

    Attributes:
        output: the frames' pattern with the version filled in. manifest: the file beside them.
        frames_written, frames_kept: computed now; already there and current.
        frames_without_face: written now as the untouched plate.
        frames_skipped: not readable or not there, under the policy ``skip``.
        stopped: why it ended early, None when all frames are done.
        steps_ms: mean milliseconds per written frame of ``read``, ``light``, ``warp``, ``colour``, ``network``,
            ``matte``, ``composite``, ``write``; steps of different threads overlap.
    """

    output: str
    manifest: str
    frames_written: int
    frames_kept: int
    frames_without_face: int
    frames_skipped: int
    stopped: StopRequest | None
    steps_ms: Mapping[str, float]


@dataclass(slots=True, kw_only=True)
class _Read:
    """A frame as read: the plate's image and the stored masks of its faces."""

    image: PlateImage
    masks: Mapping[str, FloatArray]


@dataclass(slots=True, kw_only=True)
class _Frame:
    """One frame on its way through the stages.

    Attributes:
        fresh: what was read for it, by number: itself, and frames around it that were not read before.
        is_there: False for a skipped one.
        painted, files: what is written; see :func:`arrange_files`.
        faces: composited.
    """

    number: int
    fresh: dict[int, _Read] = field(default_factory=dict)
    is_there: bool = True
    painted: PaintedFrame | None = None
    files: Mapping[str, FrameFile] = field(default_factory=dict)
    faces: int = 0
    notices: list[Notice] = field(default_factory=list)


def merge_range(
    plate: Plate,
    swapper: FaceSwapper,
    faceset: Faceset,
    output: str,
    settings: MergeSettings,
    control: RunControl,
    *,
    converter: ColorConverter,
    authorization: Authorization | None = None,
    cast: Cast | None = None,
    tools: MergeTools | None = None,
) -> MergeResult:
    """Merge every frame of ``plate.frames`` that is not there and current.

    Args:
        faceset: of the target plate, of any face type; gives the landmarks of every frame, and the masks stored in it.
        output: EXR pattern, may hold ``{version}``.
        authorization: of the source's face, as the model's record has it; kept beside what the settings say the frames
            are made for.
        cast: whom ``swapper`` and other models paint; None where it paints everybody.
        tools: the networks the settings name beside the model; see :func:`dflcore.merge.tools.open_tools`.

    Raises:
        InvalidInput: unknown layer or colour space, a permission that has expired, faceset and plate or model do not
            belong together, an output that cannot be used, a frame that cannot be processed.
        Conflict: frames are there that were made otherwise.
        NotFound, DataCorrupt: a frame of the plate is not there or damaged, and the policy is not ``skip``.
        DataCorrupt: a stored mask is damaged, or the landmarks of a face of another type than the model's.
        ResourceExhausted: the disk is full; what was finished stays and is kept by the next run.
    """
    layers = parse_layers(settings.layers)
    authorization = authorization or Authorization()
    permission_notices = check_authorization(
        authorization,
        f"the model {swapper.name}",
        project=settings.authorization_project,
        use=settings.authorization_use,
    )
    tools = tools or MergeTools()
    casting = parse_casting(settings.cast)
    cast = cast or Cast(casting, swapper, _refuse_part)
    check_tools(settings, tools)
    records, notices = select_records(plate, faceset)
    tracks = Tracks.steadied(records, settings.smooth_landmarks)
    identity = merge_identity(plate, cast, settings, converter, authorization, tools=tools.digests)
    clock = StepClock()
    renderer = FrameRenderer(cast, converter, tracks, settings, clock=clock, tools=tools)
    needed = {number for frame in plate.frames for number in renderer.frames_around(frame)}
    wanted = {number: tracks.records[number] for number in needed if number in tracks.records}
    segmentation = Segmentation.open(faceset.path, settings.segmentation, wanted)
    keys = {frame: frame_key(frame, identity, plate, renderer, segmentation) for frame in plate.frames}
    everybody = [record for faces in tracks.records.values() for record in faces]
    check_tracks(casting, everybody)
    square = max((one.resolution for one in cast.swappers), default=1)
    layout = FrameLayout(
        settings.profile, layers, people=cast.people(everybody), square=square, compression=settings.compression
    )
    with ThreadPoolExecutor(1) as pool:  # looks into EXR files, which would slow colour work in this thread
        plan = pool.submit(
            plan_output,
            output,
            keys,
            identity.run_key,
            siblings=layout.siblings,
            overwrite=settings.overwrite,
            plate=plate,
        ).result()
    for one in cast.swappers:
        notices += _face_type_notices(faceset, one, has_masks=bool(segmentation.versions))
    for notice in (*plate.notices, *notices, *permission_notices):
        control.emit(notice)
    run = _MergeRun(plate, cast, renderer, layout, segmentation, settings, identity, keys, plan, clock)
    with contextlib.closing(segmentation):
        return run.execute(control)


def select_records(plate: Plate, faceset: Faceset) -> tuple[dict[int, list[FaceRecord]], list[Notice]]:
    """The faces of the shot, beyond the frames asked for too, and what a person should know about the choice.

    A faceset of one plate is used for that plate under another name too (moved, regraded), if the size agrees.

    Raises:
        InvalidInput: no face for any frame asked for, or the plate's size has changed.
    """
    info = faceset.info
    notices: list[Notice] = []
    by_frame = faceset.records_by_frame(plate.name)
    if not by_frame and len(info.plates) == 1:
        by_frame = faceset.records_by_frame(info.plates[0])
        notices.append(
            Notice(
                message=f"The faceset was extracted from {info.plates[0]}, not from {plate.name}; its faces are used.",
                reason="PLATE_NAME_DIFFERS",
                details={"path": info.path},
            )
        )
    if not any(frame in by_frame for frame in plate.frames):
        raise _no_faces(plate, faceset)
    for frame in plate.frames:
        size = by_frame[frame][0].plate_size if frame in by_frame else plate.size
        if size != plate.size:
            raise InvalidInput(
                f"{plate.name} is {plate.size[0]}x{plate.size[1]} px, but was {size[0]}x{size[1]} when its faces were "
                f"extracted (frame {frame}). Extract it again.",
                reason="PLATE_SIZE_DIFFERS",
                path=plate.name,
                frame=frame,
            )
    by_frame = {frame: faces for frame, faces in by_frame.items() if faces[0].plate_size == plate.size}
    return by_frame, notices


def _refuse_part(part: Part) -> FaceSwapper:
    raise InvalidInput(
        f"The casting names the model {part.model}, which is not loaded.", reason="MODEL_NOT_LOADED", field="cast"
    )


def _face_type_notices(faceset: Faceset, swapper: FaceSwapper, *, has_masks: bool) -> list[Notice]:
    """What a person should know when the faceset's squares are not the model's.

    The pixels come from the plate, whatever the faceset shows of the head; only its masks may end too early.
    """
    has, wanted = faceset.info.face_type, swapper.face_type
    if has is wanted:
        return []
    details = {"path": faceset.info.path, "face_type": has.value, "model_face_type": wanted.value}
    notices = [
        Notice(
            message=f"The faceset {faceset.info.path} holds {has.value} faces, the model {swapper.name} paints "
            f"{wanted.value} ones; the landmarks say where those lie in the plate.",
            reason="FACE_TYPE_CONVERTED",
            severity="info",
            details=details,
        )
    ]
    if has_masks and FACE_TYPE_CROPS[wanted].side > FACE_TYPE_CROPS[has].side:
        notices.append(
            Notice(
                message=f"The masks stored in {faceset.info.path} end with its {has.value} squares; beyond them the "
                f"{wanted.value} faces are masked as at the masks' edge. Change the faceset to face_type "
                f"{wanted.value} and mask it again if something in front of the face is lost.",
                reason="MASKS_EXTENDED",
                details=details,
            )
        )
    return notices


def _no_faces(plate: Plate, faceset: Faceset) -> InvalidInput:
    frames_of: dict[str, list[int]] = {}
    for record in faceset.records():
        frames_of.setdefault(record.plate, []).append(record.frame)
    known = "; ".join(f"{name}: {FrameRange.of(frames)}" for name, frames in list(frames_of.items())[:5])
    return InvalidInput(
        f"The faceset {faceset.path} holds no face for any frame {plate.frames} of {plate.name}; it has faces of "
        f"{known or 'no plate'}. Extract this plate, or name its faceset.",
        reason="NO_FACES_FOR_PLATE",
        path=faceset.path,
    )


class _MergeRun:
    """One merge: the three stages and what they share."""

    def __init__(
        self,
        plate: Plate,
        cast: Cast,
        renderer: FrameRenderer,
        layout: FrameLayout,
        segmentation: Segmentation,
        settings: MergeSettings,
        identity: MergeIdentity,
        keys: Mapping[int, str],
        plan: OutputPlan,
        clock: StepClock,
    ) -> None:
        self._plate = plate
        self._renderer = renderer
        self._layout = layout
        self._segmentation = segmentation
        self._cast = cast
        self._settings = settings
        self._identity = identity
        self._keys = keys
        self._plan = plan
        self._clock = clock
        self._todo = frozenset(plan.todo)
        self._read_so_far: set[int] = set()
        self._lights: dict[int, PlateLight] = {}
        """Of frames that are prepared and not yet finished; at most as many as a window is wide."""
        self._faces: dict[int, Sequence[PaintedFace]] = {}
        self._has_told_dropped = False

    def execute(self, control: RunControl) -> MergeResult:
        """Run the stages over all frames to do, report, stop when asked."""
        written = without_face = skipped = 0
        plan, total = self._plan, len(self._keys)
        stopped = control.stop_requested()
        stop = threading.Event()
        control.emit(FrameProgress(done=len(plan.kept), total=total))
        remove_leftovers(plan.sequence.pattern.folder)
        self._keep_look()
        self._manifest = SequenceManifest(plan.sequence.manifest, self._identity)
        try:
            todo: Iterator[int] = iter(() if stopped else plan.todo)
            for frame in run_stages(todo, (self._read, self._paint, self._write), depth=WAITING_FRAMES, stop=stop):
                for notice in frame.notices:
                    control.emit(notice)
                if frame.is_there:
                    written += 1
                    without_face += frame.faces == 0
                else:
                    skipped += 1
                done = len(plan.kept) + written + skipped
                path = str(plan.sequence.pattern.path(frame.number)) if frame.is_there else None
                control.emit(FrameProgress(done=done, total=total, frame=frame.number, path=path, faces=frame.faces))
                stopped = stopped or control.stop_requested()
                if stopped:
                    stop.set()
        finally:
            self._close_manifest()
        is_complete = written + skipped == len(plan.todo)
        return MergeResult(
            output=str(plan.sequence.pattern),
            manifest=str(plan.sequence.manifest),
            frames_written=written,
            frames_kept=len(plan.kept),
            frames_without_face=without_face,
            frames_skipped=skipped,
            stopped=None if is_complete else stopped,
            steps_ms=self._clock.milliseconds_per(written),
        )

    def _keep_look(self) -> None:
        """The settings as a file beside the frames, under a name that no other settings have."""
        manifest = self._plan.sequence.manifest
        name = manifest.name.removesuffix(MANIFEST_SUFFIX)
        path = manifest.with_name(f"{name}.look-{self._identity.settings_digest[:8]}.toml")
        if self._plan.todo and not path.exists():
            overrides = parse_overrides(self._settings.overrides, OVERRIDABLE)
            text = format_settings_file(self._settings.values(), MergeSettings, overrides=overrides)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)

    def _close_manifest(self) -> None:
        try:
            self._manifest.close()
        except DflError as error:  # what was merged is in the journal, and the disk may be full
            logger.warning("%s: the journal stays and is folded by the next merge", error.message)

    def _read(self, number: int) -> _Frame:
        """The frame, and those around it that no earlier one has read."""
        frame = _Frame(number=number)
        for near in self._renderer.frames_around(number):
            if near in self._read_so_far:
                continue
            try:
                with self._clock.step("read"):
                    image = self._plate.read(near)
            except (NotFound, DataCorrupt) as error:
                if near != number:
                    continue  # it has nothing to lend; if it is one of the range, its own turn tells
                if self._settings.missing_frames != "skip":
                    raise
                message = f"Frame {number} is skipped: {error.message}"
                details = {"frame": str(number), **error.details}
                return _Frame(
                    number=number,
                    is_there=False,
                    notices=[Notice(message=message, reason="FRAME_SKIPPED", details=details)],
                )
            with self._clock.step("read"):
                masks = self._read_masks(near)
            self._read_so_far.add(near)
            frame.fresh[near] = _Read(image=image, masks=masks)
        return frame

    def _read_masks(self, number: int) -> dict[str, FloatArray]:
        """Stored masks of a frame's faces, each in the square of the model that paints it."""
        found: dict[str, FloatArray] = {}
        for swapper, records in self._cast.divide(self._records(number)):
            found |= self._segmentation.read(records, swapper.face_type, swapper.resolution)
        return found

    def _paint(self, frame: _Frame) -> _Frame:
        if not frame.is_there:
            return frame
        for number, read in frame.fresh.items():
            light = self._renderer.develop(read.image)
            self._faces[number] = self._renderer.prepare(light, read.masks)
            if number in self._todo:
                self._lights[number] = light
        frame.fresh = {}
        painted = self._renderer.finish(self._lights.pop(frame.number), self._faces[frame.number], self._faces)
        with self._clock.step("composite"):
            frame.files, dropped = arrange_files(self._layout, painted)
        frame.painted, frame.faces = painted, painted.face_count
        frame.notices += painted.notices
        self._tell_dropped(frame, dropped)
        self._forget(frame.number)
        return frame

    def _forget(self, done: int) -> None:
        """Let go of faces that no later frame needs."""
        position = bisect.bisect_right(self._plan.todo, done)
        following = self._plan.todo[position] if position < len(self._plan.todo) else math.inf
        for number in [number for number in self._faces if number < following - self._renderer.radius]:
            del self._faces[number]

    def _records(self, number: int) -> Sequence[FaceRecord]:
        return self._renderer.tracks.records.get(number, ())

    def _tell_dropped(self, frame: _Frame, dropped: Sequence[str]) -> None:
        if dropped and not self._has_told_dropped:
            self._has_told_dropped = True
            frame.notices.append(
                Notice(
                    message=f"Channels of the plate that cannot be kept in the output: {', '.join(dropped)}.",
                    reason="CHANNELS_DROPPED",
                    details={"channels": ",".join(dropped)},
                )
            )

    def _write(self, frame: _Frame) -> _Frame:
        if frame.painted is None:
            return frame
        key = self._keys[frame.number]
        paths = self._plan.sequence.files(frame.number)
        with self._clock.step("write"):
            self._manifest.begin(frame.number, key)
            for name, file in frame.files.items():
                self._write_file(frame.painted, file, paths[name])
            entry = FrameEntry(
                key=key,
                files={path.name: file_fact(path) for path in paths.values()},
                plate=self._plate.identity(frame.number),
                faces=frame.faces,
                masks=self._segmentation.used(self._records(frame.number)),
            )
            self._manifest.finish(frame.number, entry)
        frame.files, frame.painted = {}, None
        return frame

    def _write_file(self, painted: PaintedFrame, file: FrameFile, path: Path) -> None:
        image = painted.light.image
        if path.exists() and image.source_path.exists() and path.samefile(image.source_path):
            raise InvalidInput(
                f"The output {path} is the plate's own file.", reason="OUTPUT_IS_PLATE", path=path, frame=image.frame
            )
        write_layers(
            path,
            file.layers,
            painted.light,
            {**header_of(painted, self._identity, self._settings), **file.metadata},
            file.compression,
            data_window=file.data_window,
            display_window=file.display_window,
            pixel_aspect=file.pixel_aspect,
            dwa_level=self._settings.dwa_level,
        )
