"""The effects an artist sets, on one painted face, in their order."""

from __future__ import annotations

import numpy as np

from dflcore.config.merge import MergeSettings
from dflcore.merge.effects import lower_resolution, reduce_colors, remove_noise, sharpen
from dflcore.types import FloatArray


def touch_up(painted: FloatArray, settings: MergeSettings, *, plate_px: float) -> FloatArray:
    """Sharpened or softened, denoised, of lower resolution and fewer colours; ``painted`` itself where none is set.

    Args:
        painted: (3, N, N) float32 sRGB-encoded, aligned space.
        plate_px: side of a plate pixel in pixels of the face.
    """
    face = np.ascontiguousarray(painted.transpose(1, 2, 0))
    changed = sharpen(face, settings.sharpen, settings.sharpen_mode)
    changed = remove_noise(changed, settings.denoise)
    changed = lower_resolution(changed, settings.degrade, plate_px=plate_px)
    changed = reduce_colors(changed, settings.color_degrade)
    return painted if changed is face else np.ascontiguousarray(changed.transpose(2, 0, 1))
