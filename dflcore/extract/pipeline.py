"""Plate → detected, aligned, described faces → faceset.

One thread reads files; the calling thread converts colours and does the rest. A frame is written whole or not at all,
so a run may be stopped or killed anywhere and goes on where it was.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.detect.base import Detector, choose_detector, create_detector
from dflcore.errors import InvalidInput
from dflcore.extract.frame_view import FrameView
from dflcore.extract.ledger import Ledger
from dflcore.extract.quality import measure_sharpness
from dflcore.frames import FrameRange
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.pose import estimate_pose, pose_in_plate
from dflcore.identity.base import IdentityEncoder, create_identity_encoder
from dflcore.io.faceset import FacesetWriter
from dflcore.io.plate import Plate, PlateImage
from dflcore.landmark.base import Landmarker, choose_landmarker, create_landmarker, upright_face
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import Authorization, Detection, FaceRecord, Landmarks
from dflcore.weights.store import WeightStore

logger = logging.getLogger(__name__)

READ_AHEAD_FRAMES = 3
MAX_SINGLE_NOTICES = 3
"""Frames without a face that are reported one by one; the rest are summed up at the end."""
MAX_BOX_DISAGREEMENT = 2.0
"""Landmarks whose face is this many times larger or smaller than the detection are not landmarks of a face."""

Face = tuple[FaceRecord, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractResult:
    """What an extraction left in the faceset for the frames it was asked for, earlier runs included.

    Attributes:
        frames: frames examined.
        frames_with_faces: of those.
        faces: faces found in them that are still there.
        stopped: why it ended early, None when every frame was examined.
    """

    frames: int
    frames_with_faces: int
    faces: int
    stopped: StopRequest | None


def extract_faces(
    plate: Plate,
    faceset_path: Path,
    settings: ExtractSettings,
    control: RunControl,
    *,
    store: WeightStore,
    converter: ColorConverter | None = None,
    device: str = "auto",
) -> ExtractResult:
    """Find every face of a plate and add it to a faceset.

    Args:
        plate: opened with the range, colour space and missing-frame policy of the settings.
        faceset_path: folder of the faceset, made when needed.
        control: told of every frame, asked for a stop before each.
        store: where weights come from.
        converter: of the OCIO config to use; by default that of the settings.
        device: torch device for detector and landmarker; ``auto`` takes CUDA where it is.

    Raises:
        InvalidInput: no frame of the plate shows a face, or the colour space is unknown.
        NotFound: unknown component, or its weights are missing.
        Conflict: the faceset holds faces of another type or size, or is being written.
        Unsupported: the faceset was written by a version with another layout.
        DataCorrupt: a frame cannot be read; what was found before it is kept.
    """
    converter = converter or ColorConverter(settings.ocio_config)
    converter.resolve(plate.color_space)
    settings = _resolve(settings, plate, store)
    finder = FaceFinder.create(settings, store, device)
    _report_plate(plate, control)
    ledger = Ledger(faceset_path, plate, settings)
    with FacesetWriter(
        faceset_path,
        face_type=settings.face_type,
        aligned_size=settings.aligned_size,
        settings={**settings.values()},
        authorization=_authorization(settings),
    ) as writer:
        todo = ledger.frames_to_do(writer.examined_frames(plate.name))
        done, stopped = _extract_frames(plate, todo, finder, converter, ledger, writer, control)
    with_faces, faces = ledger.count()
    if stopped is None and not faces:
        raise _no_face_error(plate, settings)
    return ExtractResult(frames=done, frames_with_faces=with_faces, faces=faces, stopped=stopped)


class FaceFinder:
    """The networks of a run, applied to one frame at a time. Use :meth:`create`."""

    def __init__(
        self,
        settings: ExtractSettings,
        detector: Detector,
        landmarker: Landmarker,
        encoder: IdentityEncoder | None,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._landmarker = landmarker
        self._encoder = encoder

    @classmethod
    def create(cls, settings: ExtractSettings, store: WeightStore, device: str = "auto") -> FaceFinder:
        """With the components the settings name.

        Raises:
            NotFound: no such component, or its weights are missing.
            Unsupported: a component cannot be loaded here.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(
            settings,
            create_detector(settings.detector, store, device=device, min_score=settings.min_score),
            create_landmarker(settings.landmarker, store, device=device),
            create_identity_encoder(store=store, device=device) if settings.compute_identity else None,
        )

    def find(self, image: PlateImage, plate: Plate, stem: str, converter: ColorConverter) -> list[Face]:
        """Records and aligned images of all faces of a frame, the largest first."""
        view = FrameView(image, converter)
        faces: list[Face] = []
        for detection in self._detections(view):
            if self._settings.max_faces and len(faces) >= self._settings.max_faces:
                break
            try:
                faces.append(self._describe(view, detection, image, plate, stem, len(faces)))
            except InvalidInput as error:
                logger.debug("Frame %d: a detection is not a face: %s", image.frame, error)
        return faces

    def _detections(self, view: FrameView) -> list[Detection]:
        found = view.detect(self._detector, self._settings.detect_size)
        least = self._settings.min_face_size
        return [one for one in found if min(one.box.width, one.box.height) >= least]

    def _describe(
        self, view: FrameView, detection: Detection, image: PlateImage, plate: Plate, stem: str, index: int
    ) -> Face:
        """One face. Raises InvalidInput when the landmarks make no sense."""
        size, face_type = self._settings.aligned_size, self._settings.face_type
        face = view.face(detection.box)
        seen = self._landmarker.locate(face.image, face.box)
        _check_plausible(seen, face.box.width)
        plate_from_view = affine.invert(face.view_from_plate)
        plate_points = affine.apply(plate_from_view, seen.points)
        square_points = affine.apply(view.square_from_plate, plate_points)
        aligned_from_square = aligned_from_landmarks(square_points, face_type, size)
        aligned_from_plate = affine.compose(aligned_from_square, view.square_from_plate)
        pose = estimate_pose(affine.apply(aligned_from_plate, plate_points), size)
        aligned = view.align(aligned_from_plate, size)
        depth = None if seen.depth is None else seen.depth * np.float32(affine.scale_of(plate_from_view))
        record = FaceRecord(
            name=f"{stem}_{image.frame:06d}_{index}.png",
            plate=plate.name,
            frame=image.frame,
            face_index=index,
            plate_size=plate.size,
            box=detection.box,
            score=detection.score,
            landmarks=Landmarks(points=plate_points.astype(np.float32), layout=seen.layout, depth=depth),
            face_type=face_type,
            aligned_size=size,
            aligned_from_plate=aligned_from_plate,
            pose=pose_in_plate(pose, aligned_from_square),
            sharpness=measure_sharpness(aligned),
            detector=self._settings.detector,
            landmarker=self._settings.landmarker,
            identity=None if self._encoder is None else self._encoder.describe(face.image, seen),
        )
        return record, aligned


def _extract_frames(
    plate: Plate,
    todo: FrameRange,
    finder: FaceFinder,
    converter: ColorConverter,
    ledger: Ledger,
    writer: FacesetWriter,
    control: RunControl,
) -> tuple[int, StopRequest | None]:
    """Every frame still to do; returns how many are done in all, and why it ended early, if it did."""
    total = len(plate.frames)
    done = total - len(todo)
    empty: list[int] = []
    stopped: StopRequest | None = None
    if done:
        control.emit(FrameProgress(done=done, total=total))
    for image in _read_ahead(plate, todo):
        stopped = control.stop_requested()
        if stopped is not None:
            break
        faces = finder.find(image, plate, ledger.stem, converter)
        writer.add_frame(plate.name, image.frame, plate.size, faces, key=ledger.key(image.frame))
        ledger.remove_stale_images(image.frame, [record.name for record, _ in faces])
        done += 1
        path = str(writer.path / faces[0][0].name) if faces else None
        control.emit(FrameProgress(done=done, total=total, frame=image.frame, path=path, faces=len(faces)))
        if not faces:
            empty.append(image.frame)
            if len(empty) <= MAX_SINGLE_NOTICES:
                control.emit(_no_face_notice(f"Frame {image.frame} shows no face.", empty[-1:]))
    if len(empty) > MAX_SINGLE_NOTICES:
        frames = FrameRange.of(empty)
        control.emit(_no_face_notice(f"{len(empty)} of {len(todo)} frames show no face: {frames}.", empty))
    return done, stopped


def _read_ahead(plate: Plate, frames: FrameRange) -> Iterator[PlateImage]:
    """Frames in order, read by a thread of their own, a few ahead (see the warning in :mod:`dflcore.color.ocio`)."""
    waiting: deque[Future[PlateImage]] = deque()
    numbers = iter(frames)
    with ThreadPoolExecutor(1, thread_name_prefix="dfl-read") as pool:
        try:
            for number in numbers:
                waiting.append(pool.submit(plate.read, number))
                if len(waiting) > READ_AHEAD_FRAMES:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_plausible(landmarks: Landmarks, box_side: float) -> None:
    """Raises InvalidInput when the landmarks' face is far larger or smaller than the detection."""
    if not np.isfinite(landmarks.points).all():
        raise InvalidInput("The landmarks are not numbers.", reason="BAD_POINTS")
    _, side, _ = upright_face(landmarks.points)
    if abs(math.log(side / box_side)) > math.log(MAX_BOX_DISAGREEMENT):
        raise InvalidInput(f"The landmarks span {side:.0f} px in a box of {box_side:.0f} px.", reason="BAD_POINTS")


def _resolve(settings: ExtractSettings, plate: Plate, store: WeightStore) -> ExtractSettings:
    """The settings with every ``auto`` replaced by what it means here and now, as they are saved."""
    return settings.model_copy(
        update={
            "detector": choose_detector(settings.detector, store),
            "landmarker": choose_landmarker(settings.landmarker, store),
            "input_colorspace": plate.color_space,
        }
    )


def _report_plate(plate: Plate, control: RunControl) -> None:
    """Everything the plate wants said, and its colour space unless that was among it."""
    for notice in plate.notices:
        control.emit(notice)
    if not any(notice.reason == "COLOR_SPACE_ASSUMED" for notice in plate.notices):
        control.emit(
            Notice(
                message=plate.color_space_note or f"{plate.name} is read as {plate.color_space}.",
                reason="COLOR_SPACE",
                severity="info",
                details={"path": plate.name, "color_space": plate.color_space},
            )
        )


def _authorization(settings: ExtractSettings) -> Authorization:
    return Authorization(
        person=settings.authorization_person,
        project=settings.authorization_project,
        use=settings.authorization_use,
        until=settings.authorization_until,
        reference=settings.authorization_reference,
    )


def _no_face_notice(message: str, frames: list[int]) -> Notice:
    return Notice(message=message, reason="NO_FACE_IN_FRAME", details={"frame": str(FrameRange.of(frames))})


def _no_face_error(plate: Plate, settings: ExtractSettings) -> InvalidInput:
    return InvalidInput(
        f"None of the {len(plate.frames)} frames of {plate.name} shows a face of at least {settings.min_face_size} px. "
        f"Check that the colour space is right (it was read as {plate.color_space}), raise detect_size (now "
        f"{settings.detect_size} px), lower min_score (now {settings.min_score:g}) or min_face_size, or try another "
        "detector.",
        reason="NO_FACE_FOUND",
        path=plate.name,
    )
