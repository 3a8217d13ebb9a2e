"""Random light and colour of what the encoder sees; what shall be painted stays as it is.

Source:
    DeepFaceLab's random HSV shift (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied): for a strength a
    the hue turns by up to 180 a degrees either way, saturation and value change by up to a / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dflcore.train.augment import to_device

_LEAST_CHROMA = 1e-6


@dataclass(frozen=True, slots=True)
class HsvShift:
    """What was drawn for one batch of B faces, each (B, 1, 1).

    Attributes:
        hue: in sixths of a turn. saturation, value: added, in [0, 1] units.
    """

    hue: Tensor
    saturation: Tensor
    value: Tensor

    def apply(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1], sRGB-encoded, shifted; clipped to [0, 1]. Greys have the hue of red."""
        hue, saturation, value = _hsv_from_rgb(rgb)
        value = (value + self.value).clamp_(0.0, 1.0)
        saturation = (saturation + self.saturation).clamp_(0.0, 1.0)
        return _rgb_from_hsv(hue + self.hue, saturation, value)

    def to(self, device: torch.device) -> HsvShift:
        """The same shift with its tensors on ``device``."""
        return HsvShift(*(to_device(tensor, device) for tensor in (self.hue, self.saturation, self.value)))


def draw_hsv_shift(batch: int, strength: float, generator: torch.Generator) -> HsvShift:
    """One shift per face, ``strength`` as the setting ``random_hsv``, from a CPU generator."""
    hue, saturation, value = torch.rand(3, batch, 1, 1, generator=generator) * 2.0 - 1.0
    return HsvShift(hue * (strength * 3.0), saturation * (strength / 2.0), value * (strength / 2.0))


def _hsv_from_rgb(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, H, W) → hue in sixths of a turn, saturation and value, each (B, H, W)."""
    red, green, blue = rgb.unbind(1)
    value = rgb.amax(1)
    chroma = value - rgb.amin(1)
    scale = chroma.clamp_min(_LEAST_CHROMA).reciprocal()
    of_green = (blue - red).mul_(scale).add_(2.0)
    of_blue = (red - green).mul_(scale).add_(4.0)
    hue = torch.where(value == red, (green - blue).mul_(scale), torch.where(value == green, of_green, of_blue))
    return hue, chroma / value.clamp_min(_LEAST_CHROMA), value


def _rgb_from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Inverse of :func:`_hsv_from_rgb`; the hue may be any number."""
    first = 5.0 - 2.0 * torch.arange(3, device=hue.device).view(1, 3, 1, 1)
    place = (hue[:, None] + first).remainder_(6.0)
    share = torch.minimum(place, 4.0 - place).clamp_(0.0, 1.0)
    chroma = value * saturation
    return value[:, None] - share.mul_(chroma[:, None])
