"""Structural dissimilarity with its gradient in closed form.

Source: Wang et al. 2004, eq. 13; DSSIM as (1 - SSIM) / 2 in paper arXiv:2005.05535, §3.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dflcore.train.losses.filters import BandedFilter, gaussian_taps, valid_filter_matrix, widen

DSSIM_SIGMA_PX = 1.5
DSSIM_C1 = 0.01**2
DSSIM_C2 = 0.03**2
"""The stabilisers of SSIM for a dynamic range of 1 (Wang et al. 2004, eq. 13)."""
CPU_PIXELS = 2**19
"""Pixels compared at once on a CPU: 2 MiB of float32 for each intermediate picture, so that they stay in the cache."""


class Dssim(nn.Module):
    """Structural dissimilarity (1 - SSIM) / 2, mean over everything, computed in float32 or better.

    Value and gradient are made in one go, so that nothing but the gradient is kept for the backward pass; on a CPU that
    and the blocks of :class:`BandedFilter` make it 2 to 4 times as fast as autograd. The reference adds the gradient up
    over the batch; this is the mean.

    Args:
        resolution: side of the square pictures in pixels.
        window: taps of the Gaussian window, at most ``resolution``; sigma is always 1.5 px, so that above 11 taps the
            window decides little more than how much of the border is left out.
    """

    rows: Tensor

    def __init__(self, resolution: int, window: int) -> None:
        super().__init__()
        window = max(1, min(window, resolution))
        self.register_buffer("rows", valid_filter_matrix(resolution, gaussian_taps(window, DSSIM_SIGMA_PX)), False)
        self._filter = BandedFilter(self.rows)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Args: a, b: (B, C, R, R) in [0, 1]. Returns a scalar in [0, 1]."""
        if self._filter.matrix is not self.rows:  # the module was moved
            self._filter = BandedFilter(self.rows)
        wants = torch.is_grad_enabled()
        dissimilarity: Tensor = _Dssim.apply(
            widen(a), widen(b), self._filter, wants and a.requires_grad, wants and b.requires_grad
        )  # type: ignore[no-untyped-call]
        return dissimilarity


class _Dssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, band: BandedFilter, of_a: bool, of_b: bool) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            pictures_a, pictures_b = (one.reshape(-1, *one.shape[-2:]) for one in (a, b))
            count = len(pictures_a)
            at_once = count if a.is_cuda else max(1, CPU_PIXELS // pictures_a[0].numel())
            share = -1 / (2 * count * len(band.matrix) ** 2)
            similarity = a.new_zeros(())
            gradients: tuple[list[Tensor], list[Tensor]] = ([], [])
            for part_a, part_b in zip(*(torch.split(one, at_once) for one in (pictures_a, pictures_b)), strict=True):
                total, of_parts = _compare(part_a, part_b, band, share, (of_a, of_b))
                similarity += total
                for kept, one in zip(gradients, of_parts, strict=True):
                    kept.append(one)
        saved = [
            _laid_out_as(one, kept) if wanted else None
            for one, kept, wanted in ((a, gradients[0], of_a), (b, gradients[1], of_b))
        ]
        ctx.save_for_backward(*saved)
        return similarity * share + 0.5

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if one is None else one * scale for one in ctx.saved_tensors)
        return (*gradients, None, None, None)


def _compare(
    a: Tensor, b: Tensor, band: BandedFilter, share: float, wanted: tuple[bool, bool]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Sum of SSIM over (N, R, R) pictures, and ``share`` times its gradient for a and for b; in place of
    one that is not wanted stands whatever.

    With means m, E[a² + b²] = q and E[ab] = p:  SSIM = A1 A2 / (B1 B2),  A1 = 2 ma mb + c1,  A2 = 2 p - 2 ma mb + c2,
    B1 = ma² + mb² + c1,  B2 = q - ma² - mb² + c2. Most lines reuse memory that is in the cache already.
    """
    mean_a, mean_b = band.apply_both(a), band.apply_both(b)
    squares = band.apply_both((a * a).addcmul_(b, b))
    product = band.apply_both(a * b)
    means = mean_a * mean_b
    mean_squares = (mean_a * mean_a).addcmul_(mean_b, mean_b)
    a2 = product.sub_(means).mul_(2).add_(DSSIM_C2)
    a1 = means.mul_(2).add_(DSSIM_C1)
    b2 = squares.sub_(mean_squares).add_(DSSIM_C2)
    b1 = mean_squares.add_(DSSIM_C1)
    inverse = (b1 * b2).reciprocal_()
    ssim = (a1 * a2).mul_(inverse)
    total = ssim.sum()
    if not any(wanted):
        return total, (a, b)
    inverse.mul_(2 * share)
    cross = (a2 - a1).mul_(inverse)
    own = b1.sub_(b2).mul_(ssim).mul_(inverse)
    by_product = band.adjoint_both(a1.mul_(inverse))
    by_squares = band.adjoint_both(ssim.div_(b2).mul_(-2 * share))  # twice the derivative: d a² = 2 a da

    def gradient(x: Tensor, y: Tensor, mean_x: Tensor, mean_y: Tensor) -> Tensor:
        by_mean = band.adjoint_both((cross * mean_y).addcmul_(own, mean_x))
        return by_mean.addcmul_(by_squares, x).addcmul_(by_product, y)

    of_a = gradient(a, b, mean_a, mean_b) if wanted[0] else a
    of_b = gradient(b, a, mean_b, mean_a) if wanted[1] else b
    return total, (of_a, of_b)


def _laid_out_as(picture: Tensor, parts: list[Tensor]) -> Tensor:
    """The parts as one picture in the memory layout the network painted in."""
    whole = torch.cat(parts).view(picture.shape)
    return whole if picture.is_contiguous() else torch.empty_like(picture).copy_(whole)
