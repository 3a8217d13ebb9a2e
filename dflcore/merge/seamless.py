"""Seamless blending: a face takes over the plate's light at the rim of a region and keeps its own detail inside.

Convention:
    Pictures are (h, w, 3) float32 over a window of the plate, scene-linear, unpremultiplied, unbounded; a region is
    (h, w) bool and its rim the pixels next to it (above, below, left, right), where both pictures have to show
    something. Where the region touches the window's edge there is no rim.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dflcore.merge.poisson import find_rim, solve_membrane, tight_box
from dflcore.types import FloatArray

Light = Literal["scaled", "added"]
"""How a face takes over light, see :func:`blend_seamlessly`."""

REACH: Final = 4.0
"""Scaled: how much more or less than all of the picture's light a pixel's may be scaled. Two stops each way, a range
of 1 to 16 over one face: key and fill light differ by less, a dark beard or a background from skin by more."""
HEADROOM: Final = 2.0
"""Added: how many times the light of face and plate together a difference may be and still count fully. From 1 on all
differences that are the same everywhere do, whatever the pictures."""
FALL: Final = 4
"""Beyond these bounds trust falls with this power of the excess."""
LEAST_TRUST: Final = 1e-4
"""Where every part of the rim is beyond belief, the least unlikely still count."""
_DARKEST: Final = 1.0 / 256.0
"""Share of a picture's light below which pixels have no ratio to speak of."""
_TINY: Final = 1e-30
"""Stands in for the light of a black picture."""


def blend_seamlessly(
    face: FloatArray,
    plate: FloatArray,
    region: NDArray[np.bool_],
    *,
    light: Light = "scaled",
    device: str | torch.device = "cpu",
) -> FloatArray:
    """The face, its light changed by a membrane so that it meets the plate's at the region's rim.

    Everything is done in scene-linear float and nothing is clipped. A membrane is harmonic over the region and given on
    the rim (Pérez et al. 2003; :mod:`dflcore.merge.poisson`); what it carries is ``light``:

    * ``scaled``, the default: the logarithm of plate / face, so that the face is multiplied by a smooth gain. Light on
      a surface is a factor, and so detail keeps its contrast, black stays black and what is positive stays so. A face
      that is the plate k times as bright, per channel, becomes the plate. Ratios have no meaning in the dark: pixels
      below 1/256 of their picture's light count as that.
    * ``added``: the difference plate - face, which is added: Poisson cloning as published. A face that is the plate and
      a constant (haze, a lifted black) becomes the plate. It takes the same from dark and bright detail, so that a face
      brighter than the plate ends below zero in its dark parts: half of the pixels of a pair of real faces one stop
      apart, hence the default. These values are left as they are.

    In both, a face that equals the plate comes out bit for bit, k times all light gives k times the result, and the
    result follows the pictures wherever they lie: nothing is placed by its centre in whole pixels, which makes the
    faces of the reference's seamless mode jump (measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied)).

    *Highlights on the rim.* One pixel at 1000 would light the whole face, as its share in a membrane falls with no more
    than the distance. But what light a face can have is known: the plate's and the face's own, all over the region
    (judged by the square of the mean root, which a few highlights hardly move). What is asked for beyond
    :data:`REACH`, or :data:`HEADROOM`, is held there and trusted the less the further beyond it is, and where the
    rim is not trusted the membrane hangs free. So a highlight, a bright window behind the cheek or the dark rim of a
    beard stay where they are, without a match at just those pixels, and the face beside them follows the rest of the
    rim. Trust is 1 up to the bound and falls smoothly, so nothing flashes when a highlight grows over the frames.

    *Grain on the rim* goes inside as a membrane carries it: the middle is the mean of all the rim, and as quiet.

    Args:
        face: finite in the region.
        plate: anything. Rim pixels that are NaN or infinite in one channel are not known in any and pull at nothing;
            neither do those of the face.
        device: where the membrane is solved.

    Returns:
        (h, w, 3) float32, exactly the face outside the region, and everywhere if the region has no rim.
    """
    blended = np.array(face, dtype=np.float32)
    box = tight_box(torch.from_numpy(region))
    if box is None:
        return blended
    inside = torch.from_numpy(np.ascontiguousarray(region[box])).to(device)
    own, wanted = (_channels_first(picture[box], device) for picture in (face, plate))
    is_rim = find_rim(inside)
    judged = (inside | is_rim).flatten().to(own.dtype)
    rim = is_rim.flatten().nonzero()[:, 0]
    believable = _believable_ratios if light == "scaled" else _believable_differences
    held, excess = believable(
        *((picture.flatten(1)[:, rim], _mean_root(picture, judged).square()[:, None]) for picture in (own, wanted))
    )
    asked, trust = torch.zeros_like(own), torch.zeros_like(own[0])
    asked.flatten(1)[:, rim] = held
    trust.flatten()[rim] = excess.clamp_min(1.0).pow(-FALL).clamp_min(LEAST_TRUST)
    membrane = solve_membrane(inside, asked, trust=trust).cpu()
    pixels = torch.from_numpy(blended[box]).permute(2, 0, 1)
    if light == "scaled":
        pixels.mul_(membrane.exp_())
    else:
        pixels.add_(membrane)
    return blended


_Rim = tuple[Tensor, Tensor]
"""Light of the rim's pixels, (3, n), and of the picture as a whole, (3, 1)."""


def _believable_ratios(own: _Rim, wanted: _Rim) -> tuple[Tensor, Tensor]:
    """Logs (3, n) of what the face is to be scaled by, held in :data:`REACH`, and by how much they were beyond."""
    logs = [torch.maximum(pixels, _DARKEST * level.clamp_min(_TINY)).log() for pixels, level in (own, wanted)]
    overall = wanted[1].clamp_min(_TINY).log() - own[1].clamp_min(_TINY).log()
    apart = logs[1] - logs[0] - overall
    is_known = (wanted[0] - own[0]).isfinite()
    held = torch.where(is_known, overall + apart.clamp(-math.log(REACH), math.log(REACH)), torch.nan)
    return held, apart.abs().exp().amax(dim=0) / REACH


def _believable_differences(own: _Rim, wanted: _Rim) -> tuple[Tensor, Tensor]:
    """Differences (3, n) held at what light allows, and by how much they were beyond."""
    bound = (HEADROOM * (own[1].sqrt() + wanted[1].sqrt()).square()).clamp_min(_TINY)
    apart = wanted[0] - own[0]
    held = torch.where(apart.isfinite(), torch.minimum(torch.maximum(apart, -bound), bound), torch.nan)
    return held, (apart.abs() / bound).amax(dim=0)


def _mean_root(picture: Tensor, judged: Tensor) -> Tensor:
    """(3,): mean square root of the light where ``judged``, (h * w,), is 1; negative light counts as light."""
    roots = picture.flatten(1).abs().sqrt_()
    total, count = roots @ judged, judged.sum()
    if not bool(total.isfinite().all()):
        is_light = roots.isfinite() & (judged > 0.0)
        total, count = torch.where(is_light, roots, 0.0).sum(dim=1), is_light.sum(dim=1).clamp_min(1)
    return total / count


def _channels_first(picture: FloatArray, device: str | torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).to(device).permute(2, 0, 1).contiguous()
