"""What is measured of one face in one frame, beside the plate's face in the same place.

Both are cut out as the target's faceset says the face lies, into one square of :data:`SQUARE_PX` pixels, so that the
figures do not depend on the plate's resolution. The same landmarker looks at both, starting from the same points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.alignment import aligned_points, model_from_plate
from dflcore.geometry.pose import estimate_pose
from dflcore.geometry.warp import plate_bounds, warp_to_aligned
from dflcore.identity.base import IdentityEncoder, create_identity_encoder, identity_distance
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Window
from dflcore.landmark.base import Landmarker, create_landmarker
from dflcore.qc.color_distance import color_distance
from dflcore.qc.expression import landmark_error, landmark_offset, pose_error
from dflcore.qc.noise import noise_ratio
from dflcore.qc.perceptual import PerceptualMeter
from dflcore.qc.seam import measure_seam
from dflcore.qc.sharpness import INSIDE_MATTE, LUMA_WEIGHTS, sharpness_ratio
from dflcore.qc.ssim import structural_similarity
from dflcore.qc.steadiness import FaceTrace, trace_face
from dflcore.types import Affine, FaceRecord, FaceType, FloatArray, Landmarks
from dflcore.weights.store import WeightStore

SQUARE_PX: Final = 256
"""Side of the square faces are compared in."""
LEAST_MATTE: Final = 0.5
LEAST_AREA_PERCENT: Final = 0.5
"""Less matte than this over a face, and it was not replaced."""
DESCRIBED_FACES: Final = 24
"""So many faces of a faceset without descriptors are described to know whom it shows."""
_EDGE_PX: Final = 3
_GRAIN_PX: Final = 512
"""Side of the plate's part that grain is measured in."""
_MARGIN_PX: Final = 4
"""Plate pixels around the square, for the resampling filter."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceCutout:
    """A face in plate and result.

    Attributes:
        plate, result: (h, w, 3) RGB float32, scene-linear, finite, the plate's own pixels around the face.
        matte: (h, w) float32 in [0, 1].
        show: light → what a display shows: sRGB-encoded, [0, 1].
        square_from_cutout: (2, 3), pixels of these arrays to pixels of the square.
        points: (68, 2) float32, the faceset's landmarks in the square.
    """

    plate: FloatArray
    result: FloatArray
    matte: FloatArray
    show: Callable[[FloatArray], FloatArray]
    square_from_cutout: Affine
    points: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminedFace:
    """Figures of a face, by the names of :data:`dflcore.qc.measures.MEASURES`; what could not be measured is absent.

    Attributes:
        trace: for the comparison with the next frame; None where nothing was replaced.
        note: where in the face the seam is.
    """

    values: dict[str, float]
    trace: FaceTrace | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Whom the result is compared with: (128,) descriptors, None where not known."""

    source: FloatArray | None = None
    target: FloatArray | None = None


class FaceExaminer:
    """The networks that look at faces. One thread at a time may use one.

    Args:
        landmarker: registry name.
        device: torch device.

    Raises:
        NotFound, Unsupported, DataCorrupt: a network's weights are missing or damaged.
    """

    def __init__(self, store: WeightStore | None = None, *, landmarker: str = "dlib68", device: str = "cpu") -> None:
        store = store or WeightStore()
        self._landmarker: Landmarker = create_landmarker(landmarker, store, device=device)
        self._encoder: IdentityEncoder = create_identity_encoder(store=store, device=device)
        self._meter = PerceptualMeter(store)

    def examine(self, cutout: FaceCutout, people: People) -> ExaminedFace:
        """Every figure of one face in one frame."""
        square = _Square.of(cutout)
        values = {"matte_area": 100.0 * float(square.matte.mean())}
        if square.matte.max() < LEAST_MATTE or values["matte_area"] < LEAST_AREA_PERCENT:
            return ExaminedFace(values={**values, "empty_matte": 1.0})
        values["empty_matte"] = 0.0
        plate_points = self._points(square.plate, cutout.points)
        result_points = self._points(square.result, cutout.points)
        values |= self._compare_identity(square, plate_points, result_points, people)
        values |= _compare_performance(plate_points, result_points)
        values |= _compare_pictures(cutout, square)
        values["perceptual"] = self._meter.distance(square.result, square.plate)
        seam = measure_seam(square.plate, square.result, square.matte)
        if seam is not None:
            values["seam"] = seam.step
        trace = trace_face(square.plate, square.result, square.matte, plate_points, result_points)
        note = f"seam is worst at {seam.clock} o'clock" if seam is not None else ""
        return ExaminedFace(values=values, trace=trace, note=note)

    def typical_face(self, faceset: Faceset, names: Iterable[str] | None = None) -> FloatArray | None:
        """The median descriptor of a faceset's faces, or of some of them, which no single odd face moves.

        Faces without a stored descriptor are described when none has one; None for no faces that can be.
        """
        stored = [record.identity for record in faceset.records(names) if record.identity is not None]
        if not stored:
            stored = self._describe_some(faceset, list(faceset.names if names is None else names))
        return np.asarray(np.median(np.stack(stored), axis=0), dtype=np.float32) if stored else None

    def _describe_some(self, faceset: Faceset, names: Sequence[str]) -> list[FloatArray]:
        places = np.linspace(0, max(len(names) - 1, 0), DESCRIBED_FACES).round().astype(int).tolist()
        found: list[FloatArray] = []
        for name in [names[place] for place in sorted({*places}) if place < len(names)]:
            points = np.asarray(aligned_points(faceset.record(name)), dtype=np.float32)
            try:
                found.append(self._encoder.describe(faceset.read_image(name), Landmarks(points=points)))
            except InvalidInput:  # landmarks beside the picture
                continue
        return found

    def _points(self, picture: FloatArray, start: FloatArray) -> FloatArray:
        """(68, 2) landmarks as the picture shows them."""
        return self._landmarker.look(as_bytes(picture), [self._landmarker.frame(start)])[0].points

    def _compare_identity(
        self, square: _Square, plate_points: FloatArray, result_points: FloatArray, people: People
    ) -> dict[str, float]:
        values: dict[str, float] = {}
        try:
            described = self._encoder.describe(as_bytes(square.result), Landmarks(points=result_points))
            target = people.target
            if target is None:
                target = self._encoder.describe(as_bytes(square.plate), Landmarks(points=plate_points))
        except InvalidInput:  # landmarks ran out of the picture; the landmark error tells
            return values
        values["identity_to_target"] = identity_distance(described, target)
        if people.source is not None:
            values["identity_to_source"] = identity_distance(described, people.source)
            values["identity_margin"] = values["identity_to_target"] - values["identity_to_source"]
        return values


def square_type(faceset: Faceset) -> FaceType:
    """Which square faces are compared in: one that holds the whole matte."""
    return FaceType.HEAD if faceset.face_type is FaceType.HEAD else FaceType.WHOLE


def square_of(record: FaceRecord, face_type: FaceType, display: Window) -> Affine:
    """(2, 3), pixels in the data window's coordinates to pixels of the square.

    Raises:
        DataCorrupt: the landmarks of the face do not tell where the square lies.
    """
    from_display = model_from_plate(record, face_type, SQUARE_PX)
    return affine.compose(from_display, affine.shift(-display.x, -display.y))


def square_window(square_from_plate: Affine) -> Window:
    """The plate pixels a face is cut from; they may reach outside the plate."""
    x, y, width, height = plate_bounds(square_from_plate, SQUARE_PX)
    return Window(x=x - _MARGIN_PX, y=y - _MARGIN_PX, width=width + 2 * _MARGIN_PX, height=height + 2 * _MARGIN_PX)


def square_points(record: FaceRecord, square_from_plate: Affine, display: Window) -> FloatArray:
    """(68, 2) the faceset's landmarks in the square.

    Raises:
        DataCorrupt: they are no numbers.
    """
    shifted = record.landmarks.points.astype(np.float64) + np.array([display.x, display.y])
    points = np.asarray(affine.apply(square_from_plate, shifted), dtype=np.float32)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise DataCorrupt(
            f"The landmarks of the face {record.name} (frame {record.frame}) are damaged.",
            reason="FACE_DAMAGED",
            face=record.name,
            frame=record.frame,
        )
    return points


def as_bytes(picture: FloatArray) -> NDArray[np.uint8]:
    """[0, 1] → uint8, rounded."""
    return np.asarray(np.rint(np.clip(picture, 0.0, 1.0) * 255.0), dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Square:
    """The face upright and at one size: (S, S, 3) pictures and (S, S) matte."""

    plate: FloatArray
    result: FloatArray
    matte: FloatArray
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, cutout: FaceCutout) -> _Square:
        stack = np.concatenate([cutout.plate, cutout.result], axis=2)
        planes = torch.from_numpy(np.ascontiguousarray(stack)).permute(2, 0, 1)
        colors = warp_to_aligned(planes, cutout.square_from_cutout, SQUARE_PX)
        pair = np.ascontiguousarray(colors.permute(1, 2, 0).numpy())
        plane = torch.from_numpy(np.ascontiguousarray(cutout.matte[None]))
        matte = warp_to_aligned(plane, cutout.square_from_cutout, SQUARE_PX, padding="zeros")[0].clamp(0.0, 1.0)
        full = np.asarray(matte.numpy(), dtype=np.float32)
        return cls(
            plate=cutout.show(pair[..., :3]),
            result=cutout.show(pair[..., 3:]),
            matte=full,
            inside=shrunk(full > INSIDE_MATTE, _EDGE_PX),
        )


def shrunk(mask: NDArray[np.bool_], margin_px: int) -> NDArray[np.bool_]:
    """A mask kept away from its edge and from the picture's border."""
    kernel = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
    eroded = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
    return np.asarray(eroded, dtype=np.bool_)


def _middle(cutout: FaceCutout) -> tuple[slice, slice]:
    """The part of a cutout that grain is measured in: enough of it, however large the face is."""
    x, y = affine.apply(affine.invert(cutout.square_from_cutout), (SQUARE_PX / 2.0, SQUARE_PX / 2.0)).tolist()
    left, top = max(int(x) - _GRAIN_PX // 2, 0), max(int(y) - _GRAIN_PX // 2, 0)
    return slice(top, top + _GRAIN_PX), slice(left, left + _GRAIN_PX)


def _compare_performance(plate_points: FloatArray, result_points: FloatArray) -> dict[str, float]:
    values: dict[str, float] = {}
    try:
        values["landmark_error"] = landmark_error(result_points, plate_points)
        values["offset"] = landmark_offset(result_points, plate_points)
        own, wanted = (estimate_pose(points, SQUARE_PX) for points in (result_points, plate_points))
        values["pose_error"] = pose_error(own, wanted)
    except InvalidInput:  # points that are no face: the picture tells more than a number could
        return values
    return values


def _compare_pictures(cutout: FaceCutout, square: _Square) -> dict[str, float]:
    values: dict[str, float] = {}
    weight = square.matte / max(float(square.matte.sum()), 1e-6)
    values["color"] = color_distance(
        *((one * weight[..., None]).sum(axis=(0, 1)) for one in (square.result, square.plate))
    )
    result_luma, plate_luma = square.result @ LUMA_WEIGHTS, square.plate @ LUMA_WEIGHTS
    values["tone"] = 100.0 * float((result_luma * weight).sum())
    values["tone_plate"] = 100.0 * float((plate_luma * weight).sum())
    try:
        values["similarity"] = structural_similarity(result_luma, plate_luma, square.matte >= LEAST_MATTE)
        values["sharpness"] = sharpness_ratio(result_luma, plate_luma, square.inside)
    except InvalidInput:  # too little matte, or a flat plate
        pass
    part = _middle(cutout)
    grain = noise_ratio(
        cutout.show(cutout.result[part]), cutout.show(cutout.plate[part]), cutout.matte[part] > INSIDE_MATTE
    )
    if grain is not None:
        values["grain"] = grain
    return values
