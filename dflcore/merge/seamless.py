"""Seamless blending: a face takes over the plate's light at the rim of a region and keeps its own detail inside.

Convention:
    Pictures are (h, w, 3) float32 over a window of the plate, scene-linear, unpremultiplied, unbounded; a region is
    (h, w) bool and its rim the pixels next to it (above, below, left, right), where both pictures have to show
    something. Where the region touches the window's edge there is no rim.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dflcore.merge.poisson import find_rim, solve_membrane, tight_box
from dflcore.types import FloatArray

HEADROOM: Final = 2.0
"""How many times the light of face and plate together a difference at the rim may be and still count fully. From 1 on
all differences that are the same everywhere do, whatever the pictures."""
FALL: Final = 4
"""Beyond that, trust falls with this power of the difference."""
LEAST_TRUST: Final = 1e-4
"""Where every part of the rim is beyond belief, the least unlikely still count."""


def blend_seamlessly(
    face: FloatArray, plate: FloatArray, region: NDArray[np.bool_], *, device: str | torch.device = "cpu"
) -> FloatArray:
    """The face with a membrane added that makes it meet the plate at the region's rim.

    Light is mixed as light, in float, and nothing is clipped: the membrane is the harmonic function over the region
    that equals plate - face on the rim (Pérez et al. 2003; :mod:`dflcore.merge.poisson`). A face that differs from the
    plate by a constant becomes the plate, one that equals it stays, and k times the light gives k times the result.
    There is no placing of one picture in another, so nothing can jump by a pixel when the region's outline changes, as
    it does in measured facts of DeepFaceLab 46fc239, which keeps a centre in whole pixels.

    *Highlights on the rim.* One pixel at 1000 would lift the whole face (its share of a membrane falls off with no
    more than the distance). What light a face can have is known, though: that of the plate within the region and its
    own. Differences larger than :data:`HEADROOM` times both together (each judged by the square of its mean root,
    which a few highlights hardly move) are held at that bound and trusted less the larger they are, and where the rim
    is not trusted the membrane hangs free: a highlight, or a bright window behind the cheek, stays in the plate and the
    face beside it follows the rest of the rim. As the trust is 1 up to the bound and falls smoothly beyond, nothing
    jumps when a highlight moves along the rim or grows over the frames. A compressive encoding would treat a
    highlight likewise, but also bend what is no highlight, so that equal differences no longer gave an equal shift.

    *Dark detail.* Light that is added is the same for dark and bright detail: a face much brighter than the plate has
    more taken away than its darkest pixels hold, and these turn negative. They are left so, as everything is; match the
    colours first, which is what scales light.

    *Grain on the rim* is carried inside as a membrane does: a pixel's share falls with the distance, so that of n
    pixels' grain about one in n remains in the middle.

    Args:
        face: finite in the region. Where it is not finite on the rim, nothing is known there.
        plate: may hold anything inside the region but for the estimate of its light, which leaves out what is not
            finite. Rim pixels that are NaN or infinite in a channel are not known in any and pull at nothing.
        device: where the membrane is solved.

    Returns:
        (h, w, 3) float32, exactly the face outside the region.
    """
    blended = np.array(face, dtype=np.float32)
    box = tight_box(torch.from_numpy(region))
    if box is None:
        return blended
    inside = torch.from_numpy(np.ascontiguousarray(region[box])).to(device)
    own, wanted = (_channels_first(picture[box], device) for picture in (face, plate))
    asked, trust = _believable(own, wanted, inside)
    membrane = solve_membrane(inside, asked, trust=trust)
    torch.from_numpy(blended[box]).permute(2, 0, 1).add_(membrane.cpu())
    return blended


def _believable(own: Tensor, wanted: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """What is asked for on the rim, (3, h, w), held at what light allows, and how far it is trusted, (h, w)."""
    is_rim = find_rim(inside)
    judged = (inside | is_rim).flatten().to(own.dtype)
    rim = is_rim.flatten().nonzero()[:, 0]
    bound = HEADROOM * (_mean_root(own, judged) + _mean_root(wanted, judged)).square()
    bound = bound.clamp_min(torch.finfo(own.dtype).tiny)[:, None]
    difference = wanted.flatten(1)[:, rim] - own.flatten(1)[:, rim]
    excess = (difference.abs() / bound).amax(dim=0)
    held = torch.where(difference.isfinite(), torch.minimum(torch.maximum(difference, -bound), bound), torch.nan)
    asked, trust = torch.zeros_like(own), torch.zeros_like(own[0])
    asked.flatten(1)[:, rim] = held
    trust.flatten()[rim] = excess.clamp_min(1.0).pow(-FALL).clamp_min(LEAST_TRUST)
    return asked, trust


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
