"""The mask that decides where the swapped face goes, built in aligned space.

Convention:
    Masks are (S, S) float32 in [0, 1], aligned space, 1 is face. Sizes are percent of the aligned square's side, so
    the same number looks alike on every model and plate. Outside the square there is no face: a finished mask is
    exactly 0 on the square's outermost pixels and never reaches beyond the mask it was made from by softening.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from dflcore.config.merge import MatteMode
from dflcore.types import FloatArray

LEARNED_FLOOR = 1.0 / 16.0
"""Learned masks below this are the haze networks leave on the background; it is cut, and the rest stretched to 1."""
MATTE_FLOOR = 1.0 / 1024.0
"""Finished values below this are 0, so that the matte has a clear end; the rest is shifted down, leaving no step."""
BORDER_FADE = 0.03
"""Share of the side over which a mask that reaches the square's border is faded out."""
_DISK_RADIUS = 6
"""Largest disk used at once; larger ones are built from several, as disks add under dilation."""
_SIGMAS = 2.2
"""Half the feather's width in standard deviations of the Gaussian that makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskParts:
    """What a matte can be made from: masks as the module's convention says.

    Attributes:
        learned_source: where the network painted the source's face.
        learned_target: where the network saw the target's face.
        hull: the target's landmarks, filled.
        painted: where a mask network sees a face in what was painted; None where none looked.
        has_stored: the target has stored masks, which are taken into account in the plate (see ``placing.take_away``).
    """

    learned_source: FloatArray
    learned_target: FloatArray
    hull: FloatArray
    painted: FloatArray | None = None
    has_stored: bool = False


def combine_masks(parts: MaskParts, mode: MatteMode) -> FloatArray:
    """One mask from its parts. Where several are asked for all must agree: the smallest counts.

    The reference multiplies instead, which darkens soft edges twice. ``segmentation_target`` leaves all of the square
    to the stored masks; a face without any gets its hull, as a square would be no matte.
    """
    source, target = cut_haze(parts.learned_source), cut_haze(parts.learned_target)
    both = np.minimum(source, target)
    painted = both if parts.painted is None else parts.painted
    choices: dict[MatteMode, Callable[[], FloatArray]] = {
        "learned_source": lambda: source,
        "learned_target": lambda: target,
        "learned_both": lambda: both,
        "learned_and_hull": lambda: np.minimum(both, parts.hull),
        "learned_sum": lambda: np.minimum(source + target, np.float32(1.0)),
        "hull": lambda: parts.hull,
        "segmentation_source": lambda: painted,
        "segmentation_target": lambda: np.ones_like(parts.hull) if parts.has_stored else parts.hull,
        "segmentation_both": lambda: painted if parts.has_stored else np.minimum(painted, parts.hull),
        "learned_and_segmentation": lambda: np.minimum(both, painted),
        "full": lambda: np.ones_like(parts.hull),
    }
    return choices[mode]()


def cut_haze(mask: FloatArray) -> FloatArray:
    """A learned mask with :data:`LEARNED_FLOOR` taken to 0 and 1 kept; values that are not numbers become 0."""
    finite = np.nan_to_num(mask, nan=0.0, posinf=1.0, neginf=0.0)
    return np.asarray(np.clip((finite - LEARNED_FLOOR) / (1.0 - LEARNED_FLOOR), 0.0, 1.0), np.float32)


def shape_mask(mask: FloatArray, *, erode_percent: float, feather_percent: float) -> FloatArray:
    """Shrink or grow, fade at the square's border, then soften inward.

    Args:
        erode_percent: positive shrinks, negative grows.
        feather_percent: width of the soft edge. It lies inside the mask: 0 at the old edge, 1 this far inside.
    """
    side = mask.shape[0]
    shaped = _resize_by_disk(mask, -erode_percent * 0.01 * side)
    shaped = np.minimum(shaped, _border_ramp(side))
    shaped = _feather_inward(shaped, feather_percent * 0.01 * side)
    return np.asarray(np.clip((shaped - MATTE_FLOOR) / (1.0 - MATTE_FLOOR), 0.0, 1.0), np.float32)


def _resize_by_disk(mask: FloatArray, radius_px: float) -> FloatArray:
    """Grow by a disk, or shrink for a negative radius; fractions of a pixel mix the two whole radii around them."""
    operator = cv2.dilate if radius_px > 0 else cv2.erode
    whole = math.floor(abs(radius_px))
    fraction = abs(radius_px) - whole
    result = mask
    while whole > 0:
        step = min(whole, _DISK_RADIUS)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * step + 1, 2 * step + 1))
        result = np.asarray(operator(result, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0.0), np.float32)
        whole -= step
    if fraction > 1e-3:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        further = np.asarray(operator(result, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0.0), np.float32)
        result = result + np.float32(fraction) * (further - result)
    return result


def _feather_inward(mask: FloatArray, width_px: float) -> FloatArray:
    """Blur an already shrunk mask: the blur's reach equals the shrinkage, so nothing leaves the old edge."""
    reach = math.ceil(width_px / 2.0)
    if reach < 1:
        return mask
    shrunk = _resize_by_disk(mask, -float(reach))
    size = 2 * reach + 1
    blurred = cv2.GaussianBlur(shrunk, (size, size), width_px / 2.0 / _SIGMAS, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(np.minimum(blurred, mask), np.float32)  # the square kernel's corners reach a little further


def _border_ramp(side: int) -> FloatArray:
    """(S, S): 0 on the outermost pixels, 1 from :data:`BORDER_FADE` inward."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]).astype(np.float32)
    ramp = np.clip(distance / max(1.0, BORDER_FADE * side), 0.0, 1.0)
    return np.asarray(np.minimum(ramp[:, None], ramp[None, :]), np.float32)
