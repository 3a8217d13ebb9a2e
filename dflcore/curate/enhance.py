"""Clearer copies of a whole faceset, at the size the faces have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dflcore.curate.derive import Pixels, Remade, derive_faceset
from dflcore.enhance.base import Enhancer
from dflcore.enhance.lanczos import resize_lanczos
from dflcore.errors import InvalidInput
from dflcore.io.aligned_image import to_float, to_uint8
from dflcore.progress import RunControl, StopRequest
from dflcore.types import FaceRecord

_MAKER = "enhance_faceset"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhanceResult:
    """What :func:`enhance_faceset` made.

    Attributes:
        faces: in the new set so far.
        left_out: faces whose image was damaged or gone.
        path: the finished set, or the unfinished one when stopped.
        stopped: why it ended early; the same call goes on from there.
    """

    faces: int
    left_out: int
    path: Path
    stopped: StopRequest | None


def enhance_faceset(
    faceset_path: Path,
    output_path: Path,
    control: RunControl,
    *,
    enhancer: Enhancer,
    enhancer_name: str,
    strength: float = 1.0,
) -> EnhanceResult:
    """A new faceset of enhanced faces of the same type and size; records, masks and labels are copied.

    What the enhancer returns larger is brought back with Lanczos. Light above 1.0 of EXR faces, which no enhancer
    knows, is kept: only the change within [0, 1] is added.

    Args:
        faceset_path: only read.
        output_path: must not exist; see :mod:`dflcore.curate.derive`.
        control: told of every frame, asked for a stop before each.
        enhancer: what makes them clearer.
        enhancer_name: its registry name with its argument: a run goes on only with the same.
        strength: 0 leaves the faces as they are, 1 takes the enhancer's.

    Raises:
        InvalidInput: ``strength`` out of range.
        Unsupported: the enhancer cannot work on faces of this size.
        Conflict, NotFound, DataCorrupt, ResourceExhausted: see :func:`dflcore.curate.derive.derive_faceset`.
    """
    if not 0.0 <= strength <= 1.0:
        raise InvalidInput(f"The strength is 0 to 1, not {strength:g}.", reason="BAD_STRENGTH", field="strength")

    def remake(record: FaceRecord, image: Pixels) -> Remade:
        return Remade(image=_enhance(image, enhancer, strength))

    derived = derive_faceset(
        faceset_path,
        output_path,
        control,
        maker=_MAKER,
        wishes={"maker": _MAKER, "enhancer": enhancer_name, "strength": strength},
        remake=remake,
    )
    return EnhanceResult(faces=derived.faces, left_out=derived.left_out, path=derived.path, stopped=derived.stopped)


def _enhance(image: Pixels, enhancer: Enhancer, strength: float) -> Pixels:
    face = to_float(image)
    seen = np.clip(face, 0.0, 1.0)
    larger = enhancer.enhance(seen[None])[0]
    clearer = np.clip(resize_lanczos(larger, face.shape[0]), 0.0, 1.0)
    result = face + np.float32(strength) * (clearer - seen)
    return to_uint8(result) if image.dtype == np.uint8 else np.asarray(result, dtype=np.float32)
