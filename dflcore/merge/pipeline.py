"""Merging: plate + face model + faceset → EXR frames with layers.

Per frame: read → prepare (light, align, paint) → render (match, mask, put back, blend, composite) → write. Reading,
computing and writing run in threads of their own with one frame waiting in between. Where masks or colours are averaged
over time, frames around the one that is rendered are read and painted too, once each, and forgotten when no later frame
needs them.

A frame that fails is tried once more: a file server may have been slow, a renderer still writing. One whose fault is
its own is then left out, the others are done, and the merge ends with an error that names it; what would fail on every
frame (a full disk, a model that has diverged) ends it at once.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
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
from dflcore.config.merge import MergeSettings
from dflcore.errors import Conflict, DataCorrupt, DflError, InvalidInput, NotFound, Unsupported
from dflcore.frames import FrameRange
from dflcore.io.atomic import remove_leftovers
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate, PlateImage, brief, check_color, skipped_count
from dflcore.io.sequence import SequencePattern
from dflcore.merge.aovs import FrameFile, FrameLayout, parse_layers
from dflcore.merge.casting import Cast, check_tracks, face_type_notices
from dflcore.merge.failures import FailedFrames, Retrying, unexpected_failure
from dflcore.merge.light import PlateLight
from dflcore.merge.output import VERSION_TOKEN, OutputPlan, plan_output
from dflcore.merge.painted_face import PaintedFace
from dflcore.merge.provenance import FrameEntry, MergeIdentity, SequenceManifest, file_fact
from dflcore.merge.rendering import (
    FrameRenderer,
    PaintedFrame,
    arrange_files,
    frame_key,
    header_of,
    merge_identity,
    write_layers,
)
from dflcore.merge.saved_look import save_look, with_plain_overrides
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
_OF_THE_FRAME = (NotFound, DataCorrupt, InvalidInput, Unsupported)
"""What reading raises for a file that is at fault itself."""
_VERSION_TRIES = 5
"""Other merges may take a version between its choice and its first file."""


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
        failure: why there is no such frame; None for one that is there or skipped.
    """

    number: int
    fresh: dict[int, _Read] = field(default_factory=dict)
    is_there: bool = True
    failure: DflError | None = None
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
            belong together, an output that cannot be used.
        Conflict: frames are there that were made otherwise, or are being made by another merge.
        NotFound, DataCorrupt: frames of the plate are not there or damaged, and the policy is not ``skip``; the others
            are done.
        InvalidInput, Unsupported, Internal: frames cannot be processed as they are; the others are done.
        DataCorrupt: a stored mask is damaged, or the landmarks of a face of another type than the model's; likewise.
        ResourceExhausted: the disk is full; what was finished stays and is kept by the next run.
    """
    check_color(plate)
    settings = with_plain_overrides(settings)
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
    records, notices = select_records(plate, faceset, is_part=True)
    notices += _unexamined_notices(plate, faceset, records)
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
    notices += face_type_notices(cast, faceset.info, has_masks=bool(segmentation.versions))
    with ThreadPoolExecutor(1) as pool:  # looks into EXR files, which would slow colour work in this thread
        plan, manifest = pool.submit(_claim_output, output, keys, identity, layout.siblings, settings, plate).result()
    for notice in (*plate.notices, *notices, *permission_notices):
        control.emit(notice)
    run = _MergeRun(plate, cast, renderer, layout, segmentation, settings, identity, keys, plan, manifest, clock)
    with contextlib.closing(segmentation):
        return run.execute(control)


def _claim_output(
    output: str,
    keys: Mapping[int, str],
    identity: MergeIdentity,
    siblings: Sequence[str],
    settings: MergeSettings,
    plate: Plate,
) -> tuple[OutputPlan, SequenceManifest]:
    """The plan, and the manifest that keeps merges of another kind away. Raises as the two."""
    for left in reversed(range(_VERSION_TRIES)):
        plan = plan_output(output, keys, identity.run_key, siblings=siblings, overwrite=settings.overwrite, plate=plate)
        try:
            return plan, SequenceManifest(plan.sequence.manifest, identity)
        except Conflict:  # another merge has taken that version meanwhile
            if VERSION_TOKEN not in output or not left:
                raise
    raise AssertionError("the last try returns or raises")


def select_records(
    plate: Plate, faceset: Faceset, *, is_part: bool = False
) -> tuple[dict[int, list[FaceRecord]], list[Notice]]:
    """The faces of the shot, beyond the frames asked for too, and what a person should know about the choice.

    A faceset of one plate is used for that plate under another name too (moved, regraded), if the size agrees.

    Args:
        is_part: the frames may be a part of the shot in which nobody is seen, as of a farm's tasks some are.

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
        if not (is_part and _knows_shot(plate, faceset, by_frame)):
            raise _no_faces(plate, faceset)
        notices.append(
            Notice(
                message=f"{faceset.path} holds no face for any frame {brief(plate.frames)} of {plate.name}; they are "
                "written as the untouched plate.",
                reason="NO_FACES_IN_RANGE",
                details={"path": str(faceset.path), "frame": brief(plate.frames)},
            )
        )
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


def _examined_frames(plate: Plate, faceset: Faceset) -> set[int]:
    is_only_plate = len(faceset.info.plates) == 1
    return {frame for name, frame, _ in faceset.examined_frames() if is_only_plate or name == plate.name}


def _knows_shot(plate: Plate, faceset: Faceset, by_frame: Mapping[int, Sequence[FaceRecord]]) -> bool:
    """The faceset is of this plate: it has looked at a frame asked for, or has faces for others that are on disk."""
    if not _examined_frames(plate, faceset).isdisjoint(plate.frames):
        return True
    last: int = getattr(plate, "last_frame", 0)  # of a movie
    if any(frame <= last for frame in by_frame):
        return True
    pattern: SequencePattern | None = getattr(plate, "pattern", None)
    return pattern is not None and any(frame in by_frame for frame in pattern.frames_on_disk())


def _unexamined_notices(plate: Plate, faceset: Faceset, records: Mapping[int, Sequence[FaceRecord]]) -> list[Notice]:
    """Frames that extraction has never looked at: their faces, if they show any, stay the performer's."""
    examined = _examined_frames(plate, faceset)
    missed = FrameRange.of(frame for frame in plate.frames if frame not in examined and frame not in records)
    if not missed:
        return []
    unknown = brief(missed)
    return [
        Notice(
            message=f"Frames {unknown} of {plate.name} were never extracted into {faceset.path}; they are written as "
            "the untouched plate. Extract them if they show the face.",
            reason="FRAMES_NOT_EXTRACTED",
            details={"path": str(faceset.path), "frame": unknown},
        )
    ]


def _refuse_part(part: Part) -> FaceSwapper:
    raise InvalidInput(
        f"The casting names the model {part.model}, which is not loaded.", reason="MODEL_NOT_LOADED", field="cast"
    )


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
        manifest: SequenceManifest,
        clock: StepClock,
    ) -> None:
        self._plate = plate
        self._renderer = renderer
        self._layout = layout
        self._segmentation = segmentation
        self._cast = cast
        self._settings = settings
        self._identity = identity
        self._keys = dict(keys)
        self._plan = plan
        self._manifest = manifest
        self._clock = clock
        self._retrying = Retrying()
        self._failed = FailedFrames()
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
        try:
            remove_leftovers(plan.sequence.pattern.folder)
            if plan.todo:
                save_look(plan.sequence.manifest, self._settings, self._identity.settings_digest)
            todo: Iterator[int] = iter(() if stopped else plan.todo)
            for frame in run_stages(todo, (self._read, self._paint, self._write), depth=WAITING_FRAMES, stop=stop):
                for notice in frame.notices:
                    control.emit(notice)
                if frame.failure is not None:
                    self._failed.add(frame.number, frame.failure)
                    control.emit(self._failed.notice(frame.number))
                elif frame.is_there:
                    written += 1
                    without_face += frame.faces == 0
                else:
                    skipped += 1
                done = len(plan.kept) + written + skipped
                path = str(plan.sequence.pattern.path(frame.number)) if frame.is_there else None
                if frame.failure is None:
                    faces = frame.faces
                    control.emit(FrameProgress(done=done, total=total, frame=frame.number, path=path, faces=faces))
                stopped = stopped or control.stop_requested()
                if stopped:
                    stop.set()
        finally:
            self._close_manifest()
        is_complete = written + skipped + len(self._failed) == len(plan.todo)
        if is_complete:
            self._failed.raise_if_any()
        return MergeResult(
            output=str(plan.sequence.pattern),
            manifest=str(plan.sequence.manifest),
            frames_written=written,
            frames_kept=len(plan.kept),
            frames_without_face=without_face,
            frames_skipped=skipped + skipped_count(self._plate),
            stopped=None if is_complete else stopped,
            steps_ms=self._clock.milliseconds_per(written),
        )

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
                    image = self._read_image(near, frame.notices if near == number else None)
            except _OF_THE_FRAME as error:
                if near == number:
                    return self._without(number, error)
                continue  # it has nothing to lend; if it is one of the range, its own turn tells
            try:
                with self._clock.step("read"):
                    masks = self._read_masks(near)
            except DataCorrupt as error:  # never skipped: the frame is there, and what lies before the face is not
                return _Frame(number=number, is_there=False, failure=error)
            self._read_so_far.add(near)
            frame.fresh[near] = _Read(image=image, masks=masks)
        return frame

    def _read_image(self, number: int, notices: list[Notice] | None) -> PlateImage:
        """A frame of the plate, with colour.

        Args:
            notices: takes what is to be said about the frame; None for one that only lends, which is tried once.
        """
        if notices is None:
            image = self._plate.read(number)
        else:
            image, is_retried = self._retrying.read(self._plate, number, notices)
            if is_retried:  # the file has been changed since the merge was planned
                self._keys[number] = frame_key(number, self._identity, self._plate, self._renderer, self._segmentation)
        image.color_indices()
        return image

    def _without(self, number: int, error: DflError) -> _Frame:
        """A frame that is not made: skipped where the settings say so, else a failure."""
        if self._settings.missing_frames != "skip" or not isinstance(error, NotFound | DataCorrupt):
            return _Frame(number=number, is_there=False, failure=error)
        message = f"Frame {number} is skipped: {error.message}"
        details = {"frame": str(number), **error.details}
        return _Frame(
            number=number,
            is_there=False,
            notices=[Notice(message=message, reason="FRAME_SKIPPED", details=details)],
        )

    def _read_masks(self, number: int) -> dict[str, FloatArray]:
        """Stored masks of a frame's faces, each in the square of the model that paints it."""
        found: dict[str, FloatArray] = {}
        for swapper, records in self._cast.divide(self._records(number)):
            found |= self._segmentation.read(records, swapper.face_type, swapper.resolution)
        return found

    def _paint(self, frame: _Frame) -> _Frame:
        if not frame.is_there:
            return frame
        try:
            self._retrying.compute(lambda: self._render(frame), frame.number, frame.notices)
        except DataCorrupt as error:  # a stored mask or landmarks of this frame
            return self._failed_frame(frame.number, error)
        except DflError:
            raise
        except Exception as error:
            failure = unexpected_failure(frame.number, error)
            if self._retrying.must_stop(error):
                raise
            return self._failed_frame(frame.number, failure)
        self._forget(frame.number)
        return frame

    def _failed_frame(self, number: int, error: DflError) -> _Frame:
        self._lights.pop(number, None)
        self._faces.pop(number, None)
        self._forget(number)
        return _Frame(number=number, is_there=False, failure=error)

    def _render(self, frame: _Frame) -> None:
        """Paint and arrange; may be called again after it failed."""
        for number, read in frame.fresh.items():
            light = self._renderer.develop(read.image)
            self._faces[number] = self._renderer.prepare(light, read.masks)
            if number in self._todo:
                self._lights[number] = light
        painted = self._renderer.finish(self._lights[frame.number], self._faces[frame.number], self._faces)
        with self._clock.step("composite"):
            frame.files, dropped = arrange_files(self._layout, painted)
        frame.fresh = {}
        del self._lights[frame.number]
        frame.painted, frame.faces = painted, painted.face_count
        frame.notices += painted.notices
        self._tell_dropped(frame, dropped)

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
                self._retrying.write(
                    functools.partial(self._write_file, frame.painted, file, paths[name]), frame.number, frame.notices
                )
            entry = FrameEntry(
                key=key,
                files={path.name: file_fact(path) for path in paths.values()},
                written_ns={path.name: path.stat().st_mtime_ns for path in paths.values()},
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
