"""An exported file is run and held against the model it came from; what differs is not handed out."""

from __future__ import annotations

import math
from typing import Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.errors import Internal, InvalidInput
from dflcore.models.face_model import FaceModel

MAX_DIFFERENCE: Final = 1e-3
"""Of any value in [0, 1]; a quarter of an 8-bit step."""
MAX_HALF_DIFFERENCE: Final = 1e-2
"""Where weights have 11 bits; two and a half 8-bit steps."""
MORPHS: Final = (0.0, 0.5, 1.0)


class PaintingFile(Protocol):
    """An exported file at work.

    Attributes:
        has_morph: the morph factor reaches the picture.
    """

    has_morph: bool

    def paint(self, faces: Tensor, morph: float) -> tuple[Tensor, Tensor, Tensor]:
        """Faces (N, 3, R, R) → face, mask of it, mask of the picture's face."""


def trial_faces(side: int) -> Tensor:
    """(3, 3, R, R) RGB in [0, 1]: noise, and two smooth pictures."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, side, side, generator=generator)
    coarse = torch.rand(2, 3, 5, 5, generator=generator)
    smooth = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)
    return torch.cat([noise, smooth])


def measure_difference(model: FaceModel, identity: str, file: PaintingFile) -> float:
    """The largest difference between what the model and the file paint.

    One face and several at once are tried, and for models with a morph factor several of those.

    Returns:
        Of values in [0, 1]; infinite where the file gives pictures of another shape or values that are no numbers.

    Raises:
        Internal: the file lacks the morph factor that the model has.
    """
    if model.has_morph and not file.has_morph:
        raise Internal(
            "The exported file lost its morph factor; please report this with the model's preset.",
            reason="EXPORT_DIFFERS",
        )
    faces = trial_faces(model.resolution)
    worst = 0.0
    for morph in MORPHS if model.has_morph else (1.0,):
        with torch.inference_mode():
            wanted = model.swap(faces, identity=identity, morph=morph)
        for batch in (slice(0, 1), slice(0, 3)):
            painted = file.paint(faces[batch], morph)
            pairs = zip(painted, (tensor[batch] for tensor in wanted), strict=True)
            worst = max(worst, *(_difference(mine, live) for mine, live in pairs))
    return worst


def require_same(difference: float, limit: float, name: str) -> None:
    """Refuse a file that paints something else.

    Raises:
        InvalidInput: says by how much.
    """
    if not difference <= limit:
        raise InvalidInput(
            f"{name} was not kept: it paints faces that differ from the model's by {difference:.2g}, at most {limit:g} "
            "is allowed. Export without half precision, or as another kind of file.",
            reason="EXPORT_DIFFERS",
            difference=f"{difference:.3g}",
        )


def _difference(mine: Tensor, live: Tensor) -> float:
    if mine.shape != live.shape:
        return math.inf
    difference = float((mine.float() - live).abs().max())
    return math.inf if math.isnan(difference) else difference
