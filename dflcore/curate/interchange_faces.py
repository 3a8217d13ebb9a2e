"""One face of the reference implementation as one of a faceset, and back.

Convention:
    The reference counts points from the centre of the top-left pixel, a faceset from its corner, see
    :mod:`dflcore.io.legacy`. Transforms and points both move by half a pixel on the way, so that pixels, landmarks and
    transform still agree; nothing is estimated anew that the file states.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.pose import estimate_pose, pose_in_plate
from dflcore.io.legacy.jpeg import LegacyFace, LegacyPolygon, decode_picture
from dflcore.io.mask_labels import Label, Polygon
from dflcore.quality import measure_sharpness
from dflcore.types import Affine, Box, FaceRecord, FaceType, Landmarks, Origin

MAX_DISAGREEMENT: Final = 0.01
"""Share of the aligned side by which the stored transform may miss the stored landmarks."""
FACE_TYPES: Final = {
    "half_face": FaceType.HALF,
    "midfull_face": FaceType.MIDFULL,
    "full_face": FaceType.FULL,
    "whole_face": FaceType.WHOLE,
    "head": FaceType.HEAD,
}
_FACE_TYPE_NAMES: Final = {ours: theirs for theirs, ours in FACE_TYPES.items()}
Kind = tuple[FaceType, int]
"""Face type and aligned size in pixels."""


def take_over(
    data: bytes, face: LegacyFace, original_name: str, name: str, plate_size: tuple[int, int]
) -> tuple[FaceRecord, NDArray[np.uint8], list[str]]:
    """Make a face of the faceset out of one of the reference's.

    Args:
        data: the JPEG file.
        face: its metadata, or what is to replace it; a picture of another size is brought to the size it states.
        original_name: file name it has, for messages and the record.
        name: file name it will have.
        plate_size: of the record.

    Returns:
        The record, with plate, frame and face index still to be filled in, the pixels (S, S, 3) uint8 RGB,
        sRGB-encoded, and what was odd, in words.

    Raises:
        InvalidInput, DataCorrupt: it makes no sense.
    """
    image = decode_picture(data, original_name)
    face_type, size = kind_of(face, original_name)
    if image.shape != (size, size, 3):
        image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LANCZOS4), dtype=np.uint8)
    matrix, points, odd = _placement(face, face_type, original_name)
    aligned_from_plate = corner_from_center(matrix)
    plate_points = points + 0.5
    try:
        pose = estimate_pose(affine.apply(aligned_from_plate, plate_points), size)
    except cv2.error as error:
        raise InvalidInput(f"{original_name}: no head pose explains its landmarks.", reason="NO_POSE") from error
    low, high = plate_points.min(0), plate_points.max(0)
    left, top, right, bottom = rectangle_of(face) or (*low.tolist(), *high.tolist())
    record = FaceRecord(
        name=name,
        plate="",
        frame=0,
        face_index=0,
        plate_size=plate_size,
        box=Box(left, top, right, bottom),
        score=0.0,
        landmarks=Landmarks(points=plate_points.astype(np.float32)),
        face_type=face_type,
        aligned_size=size,
        aligned_from_plate=aligned_from_plate,
        pose=pose_in_plate(pose, aligned_from_plate),
        sharpness=measure_sharpness(image),
        detector="imported",
        landmarker="imported",
        origin=Origin.IMPORTED,
        original_name=original_name,
    )
    return record, image, odd


def _placement(
    face: LegacyFace, face_type: FaceType, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Transform from frame to aligned picture and landmarks in the frame, counted from pixel centres; what was odd.

    The stored transform counts, unless it misses the stored landmarks of the picture: then it is of another picture.
    """
    points, matrix = face.source_landmarks, face.image_to_face_mat
    if points is None:
        if matrix is None:
            raise InvalidInput(f"{name} says neither where in its frame it was nor with which transform it was cut.")
        return matrix, affine.apply(affine.invert(matrix), face.landmarks), []
    if matrix is None:
        matrix = aligned_from_landmarks(points, face_type, face.size[0])
    affine.invert(matrix)
    miss = float(np.abs(affine.apply(matrix, points) - face.landmarks).max())
    if miss <= MAX_DISAGREEMENT * face.size[0]:
        return matrix, points, []
    fitted = affine.estimate_similarity(points, face.landmarks)
    left_over = float(np.abs(affine.apply(fitted, points) - face.landmarks).max())
    if left_over > MAX_DISAGREEMENT * face.size[0]:
        raise InvalidInput(
            f"{name}: its landmarks in the frame and in the picture do not belong together (they miss by "
            f"{left_over:.1f} px).",
            reason="LANDMARKS_DISAGREE",
        )
    odd = f"{name}: its transform misses its landmarks by {miss:.1f} px; the one that fits them was taken instead."
    return fitted, points, [odd]


def corner_from_center(matrix: Affine) -> Affine:
    """A transform between pixel centres counted 0, 1, 2... as one between points counted from the corner."""
    return affine.compose(affine.compose(affine.shift(0.5, 0.5), matrix), affine.shift(-0.5, -0.5))


def center_from_corner(matrix: Affine) -> Affine:
    """The inverse of :func:`corner_from_center`."""
    return affine.compose(affine.compose(affine.shift(-0.5, -0.5), matrix), affine.shift(0.5, 0.5))


def kind_of(face: LegacyFace, name: str) -> Kind:
    face_type = FACE_TYPES.get(face.face_type)
    if face_type is None:
        raise InvalidInput(
            f"{name} is of type {face.face_type}, which is not aligned to the face; extract its frame again.",
            reason="FACE_TYPE_NOT_READ",
        )
    width, height = face.size
    if width != height:
        raise InvalidInput(f"{name} is {width}x{height} px; aligned faces are square.", reason="NOT_SQUARE")
    return face_type, width


def kind_text(kind: Kind) -> str:
    return f"{kind[0].value} {kind[1]} px"


def area_of(face: LegacyFace) -> float:
    rectangle = rectangle_of(face)
    if rectangle is not None:
        left, top, right, bottom = rectangle
        return (right - left) * (bottom - top)
    if face.source_landmarks is not None:
        return float(np.prod(face.source_landmarks.max(0) - face.source_landmarks.min(0)))
    return 0.0


def rectangle_of(face: LegacyFace) -> tuple[float, float, float, float] | None:
    """The detector's left, top, right, bottom in frame pixels; None where there is none or it is empty."""
    if face.source_rect is None:
        return None
    left, top, right, bottom = face.source_rect
    return face.source_rect if left < right and top < bottom else None


def label_of(face: LegacyFace) -> Label:
    """The reference's editor counts polygon points from the corner, as labels here do."""
    return Label(
        tuple(Polygon(one.include, tuple((float(x), float(y)) for x, y in one.points)) for one in face.polygons)
    )


def legacy_from_record(
    record: FaceRecord, source_filename: str, polygons: tuple[LegacyPolygon, ...], mask_image: bytes | None
) -> LegacyFace:
    """What the reference is told of a face of ours."""
    matrix = center_from_corner(record.aligned_from_plate)
    points = record.landmarks.points.astype(np.float64) - 0.5
    box = record.box
    return LegacyFace(
        face_type=_FACE_TYPE_NAMES[record.face_type],
        size=(record.aligned_size, record.aligned_size),
        landmarks=affine.apply(matrix, points),
        source_filename=source_filename,
        source_rect=(box.left, box.top, box.right, box.bottom),
        source_landmarks=points,
        image_to_face_mat=matrix,
        polygons=polygons,
        mask_image=mask_image,
    )


def legacy_polygons(label: Label | None) -> tuple[LegacyPolygon, ...]:
    """The label's polygons in the reference's drawing order: includes first."""
    polygons = [] if label is None else label.polygons
    ordered = sorted(polygons, key=lambda one: not one.include)
    return tuple(LegacyPolygon(one.include, np.array(one.points, dtype=np.float64)) for one in ordered)
