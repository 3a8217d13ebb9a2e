"""Where the square a network reads lies: in the plate, and in the square a face was extracted to.

Training, merging and masking all ask here, so that a model paints a face where it learned to see it.

Convention:
    Points are (x, y) in pixels, x right, y down, centre of pixel column i at i + 0.5; ``b_from_a`` maps points of a to
    b. The plate starts at the top-left corner of its display window. Transforms from the plate hold its pixel aspect,
    so aligned squares are square whatever the plate's pixels are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.types import Affine, FaceRecord, FaceType


def model_from_plate(record: FaceRecord, face_type: FaceType, resolution: int) -> Affine:
    """Plate pixels to a model's square.

    A face of the model's own type takes the transform it was extracted with, or corrected to since; the landmarks have
    no say: a person who moves the square means the square. A face of another type takes the step between both types
    from the landmarks, and a square that was moved keeps its move.

    Args:
        face_type: what the model paints.
        resolution: side of its square in pixels.

    Returns:
        (2, 3) float64.

    Raises:
        DataCorrupt: the face is of another type, and its landmarks are no face.
    """
    if face_type is record.face_type:
        return record.aligned_from_plate * (resolution / record.aligned_size)
    return affine.compose(network_from_aligned(record, face_type, resolution), record.aligned_from_plate)


def network_from_aligned(record: FaceRecord, face_type: FaceType, size: int) -> Affine:
    """Pixels of the aligned image to pixels of a network's square of another face type or size.

    A face of the network's own type is only scaled. For another type the landmarks say how the two squares lie to
    each other; a square that a person has moved keeps its move.

    Args:
        face_type, size: of the network's square.

    Returns:
        (2, 3) float64.

    Raises:
        DataCorrupt: the face is of another type, and its landmarks are no face.
    """
    unit = size / record.aligned_size
    if face_type is record.face_type:
        return np.array([[unit, 0.0, 0.0], [0.0, unit, 0.0]])
    points = aligned_points(record)
    try:
        own = aligned_from_landmarks(points, record.face_type, record.aligned_size)
        wanted = aligned_from_landmarks(points, face_type, size)
    except InvalidInput as error:
        raise DataCorrupt(
            f"The landmarks of the face {record.name} (frame {record.frame}) do not tell where its "
            f"{face_type.value} square lies: {error.message} Correct the face, or remove it.",
            reason="FACE_DAMAGED",
            face=record.name,
            frame=record.frame,
        ) from error
    return affine.compose(wanted, affine.invert(own))


def aligned_points(record: FaceRecord) -> NDArray[np.float64]:
    """(68, 2) landmarks in pixels of the aligned image."""
    return affine.apply(record.aligned_from_plate, record.landmarks.points)
