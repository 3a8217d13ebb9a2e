"""The cheap half of extraction: a planned face becomes an aligned image and a row of the faceset.

A face nobody saw, filled in between its neighbours, is cut only where the picture looks like the face beside it: a miss
of the detector is filled, a frame in which the face is covered or gone is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.extract.frame_view import FrameView
from dflcore.extract.plan import PlannedFace
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.pose import estimate_pose, pose_in_plate
from dflcore.io.aligned_image import SUFFIXES, to_uint8
from dflcore.io.plate import Plate, PlateImage
from dflcore.quality import measure_sharpness
from dflcore.types import Affine, FaceRecord, FloatArray, Origin

MIN_LIKENESS = 0.6
"""Correlation of a filled-in face with the one beside it, below which it is not there."""
_GLANCE_PX = 32

Recall = Callable[[int, int], NDArray[np.uint8] | None]
"""Track and frame → aligned image (S, S, 3) uint8 of the track's seen face nearest to the frame, if there is one."""


class FaceCutter:
    """Cuts the faces of one plate, frame by frame.

    Args:
        stem: what the names of the aligned images begin with.
        recall: asked where no face of a track near by was cut in this run.
    """

    def __init__(
        self, plate: Plate, settings: ExtractSettings, converter: ColorConverter, stem: str, recall: Recall
    ) -> None:
        self._plate = plate
        self._settings = settings
        self._converter = converter
        self._stem = stem
        self._recall = recall
        self._glances: dict[int, tuple[int, FloatArray]] = {}

    def cut(self, image: PlateImage, faces: Sequence[PlannedFace]) -> list[tuple[FaceRecord, FloatArray]]:
        """Records and aligned images, (S, S, 3) float32 sRGB-encoded RGB, in the order of the faces.

        Filled-in faces that are not there are left out.
        """
        view = FrameView(image, self._converter)
        pairs: list[tuple[FaceRecord, FloatArray]] = []
        for face in faces:
            aligned_from_square, aligned_from_plate = self._alignment(view, face)
            aligned = view.align(aligned_from_plate, self._settings.aligned_size)
            if self._is_there(face, aligned):
                alignment = (aligned_from_square, aligned_from_plate)
                pairs.append((self._record(image.frame, len(pairs), face, alignment, aligned), aligned))
        return pairs

    def key(self, frame: int, faces: Sequence[PlannedFace]) -> str:
        """Changes when the frame's file, its faces, or how they are cut does."""
        digest = hashlib.sha256(f"{self._settings.cut_digest()}\0{self._plate.identity(frame)}\0".encode())
        for face in faces:
            seen = face.sighting
            digest.update(f"{face.track_id} {seen.origin.value} {seen.score!r} {seen.box!r} {seen.spread!r}".encode())
            digest.update(seen.landmarks.points.tobytes())
        return digest.hexdigest()[:16]

    def _alignment(self, view: FrameView, face: PlannedFace) -> tuple[Affine, Affine]:
        """To the aligned face, from square pixels and from the plate's."""
        size, face_type = self._settings.aligned_size, self._settings.face_type
        square_points = affine.apply(view.square_from_plate, face.sighting.landmarks.points)
        aligned_from_square = aligned_from_landmarks(square_points, face_type, size)
        return aligned_from_square, affine.compose(aligned_from_square, view.square_from_plate)

    def _is_there(self, face: PlannedFace, aligned: FloatArray) -> bool:
        """The face was seen, or the picture looks like the face seen beside it."""
        glance = _glance(to_uint8(aligned))
        frame, track_id = face.sighting.frame, face.track_id
        if face.sighting.origin is not Origin.INTERPOLATED:
            self._glances[track_id] = frame, glance
            return True
        known = self._glances.get(track_id)
        if known is None or frame - known[0] > self._settings.max_gap:  # the faces beside it were cut by an earlier run
            recalled = self._recall(track_id, frame)
            known = known if recalled is None else (frame, _glance(recalled))
        return known is None or float((known[1] * glance).sum()) >= MIN_LIKENESS

    def _record(
        self, frame: int, index: int, face: PlannedFace, alignment: tuple[Affine, Affine], aligned: FloatArray
    ) -> FaceRecord:
        size, face_type = self._settings.aligned_size, self._settings.face_type
        seen = face.sighting
        aligned_from_square, aligned_from_plate = alignment
        pose = estimate_pose(affine.apply(aligned_from_plate, seen.landmarks.points), size)
        return FaceRecord(
            name=f"{self._stem}_{frame:06d}_{index}{SUFFIXES[self._settings.aligned_format]}",
            plate=self._plate.name,
            frame=frame,
            face_index=index,
            plate_size=self._plate.size,
            box=seen.box,
            score=seen.score,
            landmarks=seen.landmarks,
            face_type=face_type,
            aligned_size=size,
            aligned_from_plate=np.asarray(aligned_from_plate, dtype=np.float64),
            pose=pose_in_plate(pose, aligned_from_square),
            sharpness=measure_sharpness(to_uint8(aligned)),
            detector=seen.detector,
            landmarker=seen.landmarker,
            identity=seen.identity,
            track_id=face.track_id,
            spread=seen.spread,
            origin=seen.origin,
        )


def _glance(face: NDArray[np.uint8]) -> FloatArray:
    """Small luma without mean and of length 1, for correlation: (32, 32) float32; zero for a flat picture."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_GLANCE_PX, _GLANCE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return small / np.float32(length) if length > 1.0 else np.zeros_like(small)
