"""Let the swapped face take over light and colours of the target: of its face, or of what surrounds it.

Source: measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied), which says where it differs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.train.losses.dssim import Dssim
from dflcore.train.losses.filters import GaussianBlur, widen
from dflcore.train.losses.reconstruction import MaskBlur

FACE_WEIGHT = 10_000.0
BACKGROUND_WEIGHT = 10.0
"""At 100 % power."""
VARIANCE_FLOOR = 1e-5


class FaceStyle(nn.Module):
    """Difference of mean and deviation of each colour, between the blurred swapped face and the target's own.

    Means over the batch, where the reference adds up.

    Args:
        resolution: side of the pictures in pixels; they are blurred with sigma resolution // 8.
        power: of the option, in percent.
    """

    def __init__(self, resolution: int, power: float) -> None:
        super().__init__()
        self.blur = GaussianBlur(resolution, float(resolution // 8))
        self.weight = FACE_WEIGHT * power / 100

    def forward(self, swap_face: Tensor, swap_mask: Tensor, target_face: Tensor, target_mask: Tensor) -> Tensor:
        """How much the styles differ.

        Args:
            swap_face: (B, 3, R, R) the source, painted from the target's code; hand over the code detached, so that
                the decoder learns and the encoder does not. The only one that learns.
            swap_mask: (B, 1, R, R) painted with it. target_face, target_mask: the target's reconstruction.

        Returns:
            Scalar.
        """
        with torch.autocast(swap_face.device.type, enabled=False):
            mean, deviation = self._style(widen(swap_face) * widen(swap_mask).detach())
            with torch.no_grad():
                wanted_mean, wanted_deviation = self._style(widen(target_face) * widen(target_mask))
            return self.weight * (F.mse_loss(mean, wanted_mean) + F.mse_loss(deviation, wanted_deviation))

    def _style(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        blurred = self.blur(pictures)
        variance, mean = torch.var_mean(blurred, dim=(-2, -1), correction=0)
        return mean, (variance + VARIANCE_FLOOR).sqrt()


class BackgroundStyle(nn.Module):
    """Difference between the swapped picture and the target's outside the face: structure and pixels.

    Outside is where neither painted mask, grown softly, sees the face. The reference means the same and then takes the
    source's mask, of an unrelated picture, by mistake. Means over the batch, where the reference adds up.

    Args:
        resolution: side of the pictures in pixels.
        power: of the option, in percent.
    """

    def __init__(self, resolution: int, power: float) -> None:
        super().__init__()
        self.grow = MaskBlur(resolution)
        self.structure = Dssim(resolution, int(resolution / 11.6))
        self.weight = BACKGROUND_WEIGHT * power / 100

    def forward(self, swap_face: Tensor, swap_mask: Tensor, true_face: Tensor, target_mask: Tensor) -> Tensor:
        """How much the surroundings differ.

        Args:
            swap_face: (B, 3, R, R) the source, painted from the target's code, which learns too. The only one that
                learns.
            swap_mask: (B, 1, R, R) painted with it. true_face: (B, 3, R, R) the target's picture.
            target_mask: (B, 1, R, R) painted with the target's reconstruction.

        Returns:
            Scalar.
        """
        with torch.autocast(swap_face.device.type, enabled=False):
            outside = 1 - self.grow((widen(swap_mask) * widen(target_mask)).detach())
            painted, wanted = widen(swap_face) * outside, widen(true_face).detach() * outside
            difference: Tensor = self.structure(painted, wanted) + F.mse_loss(painted, wanted)
            return self.weight * difference
