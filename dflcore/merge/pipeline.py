"""Merging: plate + face model + faceset → EXR frames with layers, one frame at a time.

Per frame: read → light → (align → encode → paint → match → mask → put back) per face → composite → write. Reading,
computing and writing run in threads of their own with one frame waiting in between.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dflcore.authorization import check_authorization
from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.geometry.template import FACE_TYPE_CROPS
from dflcore.io.atomic import remove_leftovers
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate, PlateImage
from dflcore.merge.aovs import PATCH, flat_frame, layered_frame, parse_layers
from dflcore.merge.composite import stack_faces
from dflcore.merge.face import FaceOptions, FacePainter
from dflcore.merge.light import PlateDeveloper, PlateLight
from dflcore.merge.output import OutputPlan, plan_output
from dflcore.merge.provenance import FrameEntry, MergeIdentity, SequenceManifest, file_fact, frame_attributes
from dflcore.merge.segmentation import Segmentation
from dflcore.merge.stages import StepClock, run_stages
from dflcore.merge.swapper import FaceSwapper
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import Authorization, FaceRecord, FloatArray

logger = logging.getLogger(__name__)

WAITING_FRAMES = 1
"""Frames that may wait between two stages: with the three at work, at most five are in memory."""
_STORAGE_COLOR_ATTRIBUTES = frozenset({"chromaticities", "adoptedneutral", "gamma", "colorinteropid"})
"""Header attributes that tell what a plate's numbers mean; wrong after a conversion to another space."""


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
class _Frame:
    """One frame on its way through the stages; ``image`` is None for a skipped one."""

    number: int
    image: PlateImage | None = None
    masks: Mapping[str, FloatArray] = field(default_factory=dict)
    light: PlateLight | None = None
    files: dict[str, list[ExrLayer]] = field(default_factory=dict)
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
) -> MergeResult:
    """Merge every frame of ``plate.frames`` that is not there and current.

    Args:
        faceset: of the target plate, of any face type; gives the landmarks of every frame, and the masks stored in it.
        output: EXR pattern, may hold ``{version}``.
        authorization: of the source's face, as the model's record has it; kept beside what the settings say the frames
            are made for.

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
    records, notices = select_records(plate, faceset)
    identity = _identity(plate, swapper, settings, converter, authorization)
    segmentation = Segmentation.open(faceset.path, settings.segmentation, records)
    keys = {
        frame: identity.frame_key(
            plate.identity(frame), records.get(frame, ()), segmentation.identify(records.get(frame, ()))
        )
        for frame in plate.frames
    }
    with ThreadPoolExecutor(1) as pool:  # looks into EXR files, which would slow colour work in this thread
        plan = pool.submit(
            plan_output,
            output,
            keys,
            identity.run_key,
            siblings=(PATCH, *layers) if settings.profile == "flat" else (),
            overwrite=settings.overwrite,
            plate=plate,
        ).result()
    notices += _face_type_notices(faceset, swapper, has_masks=bool(segmentation.versions))
    for notice in (*plate.notices, *notices, *permission_notices):
        control.emit(notice)
    run = _MergeRun(plate, swapper, records, segmentation, settings, layers, identity, keys, plan, converter)
    with contextlib.closing(segmentation):
        return run.execute(control)


def select_records(plate: Plate, faceset: Faceset) -> tuple[dict[int, list[FaceRecord]], list[Notice]]:
    """The faces of a plate's frames, and what a person should know about the choice.

    A faceset of one plate is used for that plate under another name too (moved, regraded), if the size agrees.

    Raises:
        InvalidInput: no face for any frame, or the plate's size has changed.
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
    wanted = {frame: by_frame[frame] for frame in plate.frames if frame in by_frame}
    if not wanted:
        raise _no_faces(plate, faceset)
    for frame, faces in wanted.items():
        if faces[0].plate_size != plate.size:
            raise InvalidInput(
                f"{plate.name} is {plate.size[0]}x{plate.size[1]} px, but was {faces[0].plate_size[0]}x"
                f"{faces[0].plate_size[1]} when its faces were extracted (frame {frame}). Extract it again.",
                reason="PLATE_SIZE_DIFFERS",
                path=plate.name,
                frame=frame,
            )
    return wanted, notices


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


def _identity(
    plate: Plate,
    swapper: FaceSwapper,
    settings: MergeSettings,
    converter: ColorConverter,
    authorization: Authorization,
) -> MergeIdentity:
    return MergeIdentity(
        plate=plate.name,
        color_space=converter.resolve(plate.color_space),
        output_space=converter.scene_linear_for(plate.color_space),
        model_name=swapper.name,
        model_digest=swapper.digest,
        face_type=swapper.face_type,
        settings=settings.values(),
        settings_digest=settings.digest(),
        authorization=authorization,
        made_for_project=settings.authorization_project,
        made_for_use=settings.authorization_use,
    )


class _MergeRun:
    """One merge: the three stages and what they share."""

    def __init__(
        self,
        plate: Plate,
        swapper: FaceSwapper,
        records: Mapping[int, Sequence[FaceRecord]],
        segmentation: Segmentation,
        settings: MergeSettings,
        layers: tuple[str, ...],
        identity: MergeIdentity,
        keys: Mapping[int, str],
        plan: OutputPlan,
        converter: ColorConverter,
    ) -> None:
        self._plate = plate
        self._records = records
        self._segmentation = segmentation
        self._face_type, self._resolution = swapper.face_type, swapper.resolution
        self._settings = settings
        self._layers = layers
        self._identity = identity
        self._keys = keys
        self._plan = plan
        self._clock = StepClock()
        self._developer = PlateDeveloper(converter)
        options = FaceOptions(
            matte_mode=settings.matte_mode,
            matte_erode=settings.matte_erode,
            matte_feather=settings.matte_feather,
            color_transfer=settings.color_transfer,
            opacity=settings.opacity,
            face_scale=settings.face_scale,
            needs_raw="raw" in layers,
        )
        self._painter = FacePainter(swapper, converter, options, self._clock)
        self._has_told_dropped = False

    def execute(self, control: RunControl) -> MergeResult:
        """Run the stages over all frames to do, report, stop when asked."""
        written = without_face = skipped = 0
        plan, total = self._plan, len(self._keys)
        stopped = control.stop_requested()
        stop = threading.Event()
        control.emit(FrameProgress(done=len(plan.kept), total=total))
        remove_leftovers(plan.sequence.pattern.folder)
        self._manifest = SequenceManifest(plan.sequence.manifest, self._identity)
        try:
            todo: Iterator[int] = iter(() if stopped else plan.todo)
            for frame in run_stages(todo, (self._read, self._paint, self._write), depth=WAITING_FRAMES, stop=stop):
                for notice in frame.notices:
                    control.emit(notice)
                if frame.image is None:
                    skipped += 1
                else:
                    written += 1
                    without_face += frame.faces == 0
                done = len(plan.kept) + written + skipped
                path = str(plan.sequence.pattern.path(frame.number)) if frame.image is not None else None
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

    def _close_manifest(self) -> None:
        try:
            self._manifest.close()
        except DflError as error:  # what was merged is in the journal, and the disk may be full
            logger.warning("%s: the journal stays and is folded by the next merge", error.message)

    def _read(self, number: int) -> _Frame:
        try:
            with self._clock.step("read"):
                image = self._plate.read(number)
        except (NotFound, DataCorrupt) as error:
            if self._settings.missing_frames != "skip":
                raise
            notice = Notice(
                message=f"Frame {number} is skipped: {error.message}",
                reason="FRAME_SKIPPED",
                details={"frame": str(number), **error.details},
            )
            return _Frame(number=number, notices=[notice])
        with self._clock.step("read"):
            masks = self._segmentation.read(self._records.get(number, ()), self._face_type, self._resolution)
        return _Frame(number=number, image=image, masks=masks)

    def _paint(self, frame: _Frame) -> _Frame:
        if frame.image is None:
            return frame
        with torch.inference_mode():
            with self._clock.step("light"):
                frame.light = self._developer.develop(frame.image, self._settings.bit_depth)
            faces, broken_px = self._painter.paint(frame.light, self._records.get(frame.number, ()), frame.masks)
            with self._clock.step("composite"):
                stack = stack_faces(faces)
                if self._settings.profile == "flat":
                    frame.files, dropped = flat_frame(frame.light, stack, self._layers)
                else:
                    frame.files[""], dropped = layered_frame(frame.light, stack, self._layers)
                self._tell_dropped(frame, dropped)
        frame.faces = len(faces)
        if broken_px:
            frame.notices.append(
                Notice(
                    message=f"Frame {frame.number}: {broken_px} plate pixels under a face are NaN or infinite.",
                    reason="PLATE_NOT_FINITE",
                    details={"frame": str(frame.number), "pixels": str(broken_px)},
                )
            )
        return frame

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
        if frame.image is None or frame.light is None:
            return frame
        key = self._keys[frame.number]
        paths = self._plan.sequence.files(frame.number)
        with self._clock.step("write"):
            self._manifest.begin(frame.number, key)
            for name, layers in frame.files.items():
                self._write_file(frame, frame.light, paths[name], layers)
            entry = FrameEntry(
                key=key,
                files={path.name: file_fact(path) for path in paths.values()},
                plate=self._plate.identity(frame.number),
                faces=frame.faces,
                masks=self._segmentation.used(self._records.get(frame.number, ())),
            )
            self._manifest.finish(frame.number, entry)
        frame.files, frame.light = {}, None
        return frame

    def _write_file(self, frame: _Frame, light: PlateLight, path: Path, layers: list[ExrLayer]) -> None:
        image = light.image
        if path.exists() and image.source_path.exists() and path.samefile(image.source_path):
            raise InvalidInput(
                f"The output {path} is the plate's own file.", reason="OUTPUT_IS_PLATE", path=path, frame=frame.number
            )
        metadata = image.metadata
        if light.color_space != self._identity.color_space:
            metadata = {
                name: value for name, value in metadata.items() if name.lower() not in _STORAGE_COLOR_ATTRIBUTES
            }
        write_exr(
            path,
            layers=layers,
            data_window=image.data_window,
            display_window=image.display_window,
            pixel_aspect=image.pixel_aspect,
            metadata=frame_attributes(
                self._identity,
                metadata,
                frame=frame.number,
                faces=frame.faces,
                policy=self._settings.provenance_attributes,
            ),
            compression=self._settings.compression,
            color_space=light.color_space,
        )
