"""What a decoder is asked to paint, where that is not the picture itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dflcore.train.losses.filters import GaussianBlur, widen


class BlurOut(nn.Module):
    """Blur what surrounds the face, without any of the face's colour, so that nothing is learnt of it.

    face mask + (G(face (1 - mask)) / G(1 - mask)) (1 - mask), G a Gaussian of sigma resolution / 128. The reference
    divides by 1 - G(mask), which darkens the picture's border, where G sees nothing beyond it (measured facts of
    DeepFaceLab 46fc239, GPL-3.0, nothing copied).

    Args:
        resolution: side of the pictures in pixels.
    """

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.blur = GaussianBlur(resolution, resolution / 128)

    @torch.no_grad()
    def forward(self, face: Tensor, mask: Tensor) -> Tensor:
        """The picture with blurred surroundings; inside the mask it is the same bit for bit.

        Args:
            face: (B, 3, R, R), display-referred sRGB. mask: (B, 1, R, R) in [0, 1].
        """
        face, mask = widen(face), widen(mask)
        outside = 1 - mask
        share = self.blur(outside)
        surroundings = self.blur(face * outside) / torch.where(share > 0, share, 1.0)
        return torch.lerp(surroundings, face, mask.expand_as(face))
