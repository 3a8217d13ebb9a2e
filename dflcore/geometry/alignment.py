"""Where a face lies in its plate, as training and merging both take it from the faceset.

Convention:
    Points are (x, y) in pixels, x right, y down, centre of pixel column i at i + 0.5; the plate starts at the top-left
    corner of its display window.
"""

from __future__ import annotations

from dflcore.types import Affine, FaceRecord


def model_from_plate(record: FaceRecord, resolution: int) -> Affine:
    """The transform a face was extracted with, or corrected to since, for a model's square of another size.

    The landmarks have no say: a person who moves the square means the square. A plate whose pixels are not square needs
    nothing here either, the transform holds its pixel aspect.

    Args:
        record: a face of the model's own face type.
        resolution: side of the model's square in pixels.

    Returns:
        (2, 3) float64.
    """
    return record.aligned_from_plate * (resolution / record.aligned_size)
