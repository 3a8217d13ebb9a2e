"""What training minimises: masked structural dissimilarity, masked squared error, mask error.

Source: paper arXiv:2005.05535, §3.2 (DSSIM + MSE); window sizes, weights and mask blur as measured facts of
DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dflcore.train.losses.filters import gaussian_taps, same_filter_matrix, valid_filter_matrix

DSSIM_SIGMA_PX = 1.5
DSSIM_C1 = 0.01**2
DSSIM_C2 = 0.03**2
"""The stabilisers of SSIM for a dynamic range of 1 (Wang et al. 2004, eq. 13)."""
STRUCTURE_WEIGHT = 10.0
PIXEL_WEIGHT = 10.0
MASK_WEIGHT = 10.0
SECOND_WINDOW_FROM_PX = 256
"""From this resolution on the structure term is the mean of two window sizes."""


class Dssim(nn.Module):
    """Structural dissimilarity (1 - SSIM) / 2, mean over everything.

    Args:
        resolution: side of the square pictures in pixels.
        window: taps of the Gaussian window, at most ``resolution``; sigma is always 1.5 px.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, resolution: int, window: int) -> None:
        super().__init__()
        window = max(1, min(window, resolution))
        matrix = valid_filter_matrix(resolution, gaussian_taps(window, DSSIM_SIGMA_PX))
        self.register_buffer("rows", matrix, persistent=False)
        self.register_buffer("columns", matrix.t().contiguous(), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Args: a, b: (B, C, R, R) in [0, 1]. Returns a scalar in [0, 1]."""
        blurred = self.rows @ torch.cat([a, b, a * a + b * b, a * b]) @ self.columns
        mean_a, mean_b, squares, product = blurred.chunk(4)
        means = mean_a * mean_b
        mean_squares = mean_a.square() + mean_b.square()
        luminance = (2 * means + DSSIM_C1) / (mean_squares + DSSIM_C1)
        contrast = (2 * (product - means) + DSSIM_C2) / (squares - mean_squares + DSSIM_C2)
        return (1 - (luminance * contrast).mean()) / 2


class MaskBlur(nn.Module):
    """Grow a mask outward softly: 2 min(Gauss(mask), 0.5), so that it stays 1 inside.

    Args:
        resolution: side in pixels; sigma is max(1, resolution // 32).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, resolution: int) -> None:
        super().__init__()
        sigma = max(1, resolution // 32)
        matrix = same_filter_matrix(resolution, gaussian_taps(max(3, 4 * sigma) | 1, float(sigma)))
        self.register_buffer("rows", matrix, persistent=False)
        self.register_buffer("columns", matrix.t().contiguous(), persistent=False)

    def forward(self, mask: Tensor) -> Tensor:
        """Args: mask: (B, 1, R, R) in [0, 1]. Returns the same shape in [0, 1]."""
        return 2 * (self.rows @ mask @ self.columns).clamp(max=0.5)


@dataclass(frozen=True, slots=True)
class LossTerms:
    """Scalars of one side; ``total`` is what is differentiated."""

    structure: Tensor
    pixel: Tensor
    mask: Tensor
    edge: Tensor

    @property
    def total(self) -> Tensor:
        return self.structure + self.pixel + self.mask + self.edge


class ReconstructionLoss(nn.Module):
    """The loss of one side, source or target.

    Args:
        resolution: side of the pictures in pixels.
        masked: compare inside the softly grown mask only.
        edge_weight: weight of the mean absolute difference of neighbouring-pixel steps; 0 leaves it out.
    """

    def __init__(self, resolution: int, *, masked: bool, edge_weight: float = 0.0) -> None:
        super().__init__()
        windows = [int(resolution / 11.6)]
        if resolution >= SECOND_WINDOW_FROM_PX:
            windows.append(int(resolution / 23.2))
        self.structures = nn.ModuleList(Dssim(resolution, window) for window in windows)
        self.blur_mask = MaskBlur(resolution)
        self.masked = masked
        self.edge_weight = edge_weight

    def forward(self, face: Tensor, mask: Tensor, true_face: Tensor, true_mask: Tensor) -> LossTerms:
        """Compare what a decoder painted with the truth.

        Args:
            face, true_face: (B, 3, R, R), display-referred sRGB in [0, 1].
            mask, true_mask: (B, 1, R, R) in [0, 1].
        """
        mask_error = MASK_WEIGHT * (mask - true_mask).square().mean()
        if self.masked:
            weight = self.blur_mask(true_mask)
            face, true_face = face * weight, true_face * weight
        structure = torch.stack([dssim(face, true_face) for dssim in self.structures]).mean()
        difference = face - true_face
        pixel = difference.square().mean()
        edge = difference.new_zeros(())
        if self.edge_weight:
            edge = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        return LossTerms(STRUCTURE_WEIGHT * structure, PIXEL_WEIGHT * pixel, mask_error, self.edge_weight * edge)
