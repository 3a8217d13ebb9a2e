"""The expensive half of extraction: what the faces of a frame are, where their landmarks lie and who they look like.

One frame at a time, or a few at once for the detector where that pays; nothing here knows of other frames.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.detect.base import Detector, create_detector
from dflcore.detect.batch import ALL_TURNS, detect_batch
from dflcore.errors import InvalidInput
from dflcore.extract.corrections import Correction, box_of_points, corrected_by
from dflcore.extract.cuts import frame_signature
from dflcore.extract.frame_view import FrameView
from dflcore.extract.sightings import Look
from dflcore.geometry import affine
from dflcore.identity.base import IdentityEncoder, create_identity_encoder
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import PlateImage
from dflcore.landmark.base import upright_face
from dflcore.landmark.locate import FaceLocator
from dflcore.types import Box, Detection, FloatArray, Landmarks, Origin, Sighting
from dflcore.weights.store import WeightStore

logger = logging.getLogger(__name__)

MAX_BOX_DISAGREEMENT = 2.0
"""Landmarks whose face is this many times larger or smaller than the detection are not landmarks of a face."""
MANUAL_SCORE = 1.0
BY_HAND = "manual"
"""Stands where the detector's or the landmarker's name would."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The components of a run. Use :meth:`create`."""

    detector: Detector
    locator: FaceLocator
    encoder: IdentityEncoder | None

    @classmethod
    def create(cls, settings: ExtractSettings, store: WeightStore, device: str) -> Networks:
        """Those the settings name.

        Args:
            settings: with every ``auto`` resolved.
            device: torch device.

        Raises:
            NotFound: no such component, or its weights are missing.
            Unsupported: a component cannot be loaded here.
        """
        assert settings.landmark_looks, "what is left to us is resolved before"
        assert settings.detect_size, "what is left to us is resolved before"
        encoder = None
        if settings.compute_identity:
            encoder = create_identity_encoder(settings.identity_encoder, store, device=device)
        return cls(
            create_detector(settings.detector, store, device=device, min_score=settings.min_score),
            FaceLocator.create(
                settings.landmarker,
                store,
                device=device,
                passes=settings.landmark_passes,
                looks=settings.landmark_looks,
                mesh_above_yaw=settings.mesh_above_yaw,
            ),
            encoder,
        )


class Looker:
    """Looks at frames."""

    def __init__(self, networks: Networks, settings: ExtractSettings, converter: ColorConverter) -> None:
        self._networks = networks
        self._settings = settings
        self._converter = converter
        self._turns = ALL_TURNS if settings.rotations == "all" else ALL_TURNS[:1]

    def look(self, images: Sequence[PlateImage], corrections: Sequence[Sequence[Correction]]) -> list[Look]:
        """What some frames show.

        Args:
            images: handed to the detector together.
            corrections: what an artist said of each.
        """
        views = [FrameView(image, self._converter) for image in images]
        shrunk = [view.shrunk(self._settings.detect_size) for view in views]
        found = detect_batch(self._networks.detector, shrunk, turns=self._turns)
        return [
            Look(
                image.frame,
                frame_signature(small),
                tuple(self._sightings(view, image.frame, [view.in_plate(one, small) for one in detections], stated)),
                image.pixel_aspect,
            )
            for image, view, small, detections, stated in zip(images, views, shrunk, found, corrections, strict=True)
        ]

    def describe_picture(self, path: Path) -> FloatArray:
        """Identity descriptor of the largest face of a picture.

        Raises:
            NotFound: there is no such picture.
            InvalidInput: it shows no face that can be found.
        """
        with contextlib.closing(open_plate(str(path), resolve_space=self._converter.find)) as picture:
            (look,) = self.look([picture.read(picture.frames.frames[0])], [()])
        identity = look.sightings[0].identity if look.sightings else None
        if identity is None:
            raise InvalidInput(
                f"The picture {path} shows no face that can be found.", reason="NO_FACE_FOUND", path=path
            )
        return identity

    def _sightings(
        self, view: FrameView, frame: int, detections: list[Detection], corrections: Sequence[Correction]
    ) -> list[Sighting]:
        """The largest first."""
        seen: list[Sighting] = []
        most = self._settings.max_faces or math.inf
        for detection in detections:
            box = detection.box
            if not np.isfinite((box.left, box.top, box.right, box.bottom)).all() or not view.shows(box):
                logger.debug("Frame %d: a detection is no place in the picture: %s", frame, box)
                continue
            if min(box.width, box.height) < self._settings.min_face_size:
                continue
            if len(seen) >= most:
                break
            try:
                seen.append(self._locate(view, frame, detection))
            except InvalidInput as error:
                logger.debug("Frame %d: a detection is not a face: %s", frame, error)
        for correction in corrections:
            replaced = corrected_by(correction, seen)
            seen = [one for one in seen if one is not replaced]
            if not correction.remove:
                seen.append(self._correct(view, frame, correction, replaced))
        return sorted(seen, key=lambda one: one.box.width * one.box.height, reverse=True)

    def _correct(self, view: FrameView, frame: int, correction: Correction, replaced: Sighting | None) -> Sighting:
        """The face an artist says is there. Raises InvalidInput when no landmarks can be found in a box."""
        points = correction.landmarks_in(view.pixel_aspect)
        if not view.shows(correction.area):
            raise InvalidInput(
                f"The face set by hand in frame {frame} lies outside the picture.",
                reason="CORRECTION_FAILED",
                frame=frame,
            )
        if points is None:
            try:
                return self._locate(view, frame, Detection(correction.area, MANUAL_SCORE), origin=Origin.MANUAL)
            except InvalidInput as error:
                raise InvalidInput(
                    f"No landmarks can be found in the box given for frame {frame}: {error.message} Give landmarks or "
                    "a placement instead.",
                    reason="CORRECTION_FAILED",
                    frame=frame,
                ) from error
        landmarks = Landmarks(points=points)
        box = box_of_points(points) if replaced is None else replaced.box
        return Sighting(
            frame=frame,
            box=box,
            score=MANUAL_SCORE,
            landmarks=landmarks,
            detector=BY_HAND if replaced is None else replaced.detector,
            landmarker=BY_HAND,
            identity=self._describe(view, box_of_points(points), landmarks),
            origin=Origin.MANUAL,
        )

    def _locate(
        self, view: FrameView, frame: int, detection: Detection, *, origin: Origin = Origin.DETECTED
    ) -> Sighting:
        """Raises InvalidInput when the landmarks make no sense."""
        face = view.face(detection.box)
        located = self._networks.locator.locate(face.image, face.box, turn=detection.turn)
        _check_plausible(located.landmarks, max(face.box.width, face.box.height))
        plate_from_view = affine.invert(face.view_from_plate)
        depth = located.landmarks.depth
        identity = None
        if self._networks.encoder is not None:
            identity = self._networks.encoder.describe(face.image, located.landmarks)
        return Sighting(
            frame=frame,
            box=detection.box,
            score=detection.score,
            landmarks=Landmarks(
                points=affine.apply(plate_from_view, located.landmarks.points).astype(np.float32),
                layout=located.landmarks.layout,
                depth=None if depth is None else depth * np.float32(affine.scale_of(plate_from_view)),
            ),
            detector=self._settings.detector if origin is Origin.DETECTED else BY_HAND,
            landmarker=located.landmarker,
            spread=located.spread,
            identity=identity,
            origin=origin,
        )

    def _describe(self, view: FrameView, box: Box, landmarks: Landmarks) -> FloatArray | None:
        """The descriptor of a face whose landmarks are known in plate pixels."""
        if self._networks.encoder is None:
            return None
        face = view.face(box)
        points = affine.apply(face.view_from_plate, landmarks.points).astype(np.float32)
        return self._networks.encoder.describe(face.image, Landmarks(points=points))


def _check_plausible(landmarks: Landmarks, box_side: float) -> None:
    """Raises InvalidInput when the landmarks' face is far larger or smaller than the detection."""
    if not np.isfinite(landmarks.points).all():
        raise InvalidInput("The landmarks are not numbers.", reason="BAD_POINTS")
    _, side, _ = upright_face(landmarks.points)
    if abs(math.log(side / box_side)) > math.log(MAX_BOX_DISAGREEMENT):
        raise InvalidInput(f"The landmarks span {side:.0f} px in a box of {box_side:.0f} px.", reason="BAD_POINTS")
