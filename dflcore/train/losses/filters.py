"""Filters as banded matrix products, rows then columns: the same numbers as a separable convolution, and several
times faster on a CPU, where depth-wise convolutions are slow.

All of them compute in float32 (or float64 when given it), inside autocast too, and do not lose digits to TF32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NEGLIGIBLE = 1e-8
"""Taps below this share of the largest one change no float32."""
CPU_BLOCK = 24
"""Results per block on a CPU: 16 to 32 are alike from 96 to 256 px."""


def gaussian_taps(size: int, sigma: float) -> Tensor:
    """(size,) float32, centred, sum 1."""
    offsets = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    taps = torch.exp(-offsets.square() / (2 * sigma * sigma))
    return taps / taps.sum()


def gaussian_taps_of(sigma: float) -> Tensor:
    """As many taps as the reference takes: 4 sigma, made odd, at least 3.

    Source: measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
    """
    return gaussian_taps(max(3, int(4 * sigma)) | 1, sigma)


def valid_filter_matrix(length: int, taps: Tensor) -> Tensor:
    """(length - k + 1, length): multiplying from the left filters columns without padding."""
    rows = length - len(taps) + 1
    matrix = torch.zeros(rows, length)
    for row in range(rows):
        matrix[row, row : row + len(taps)] = taps
    return matrix


def same_filter_matrix(length: int, taps: Tensor) -> Tensor:
    """(length, length): filters columns with zeros beyond the border; the number of taps is odd."""
    radius = len(taps) // 2
    padded = valid_filter_matrix(length + 2 * radius, taps)
    return padded[:, radius : radius + length].contiguous()


def widen(picture: Tensor) -> Tensor:
    """At least float32."""
    return picture.float() if picture.dtype in (torch.float16, torch.bfloat16) else picture


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product whose error stays near float32's on every device.

    A GPU that is allowed TF32 would keep 10 bits of each factor, which is too little for a variance. Split into a
    bfloat16 and what is left, both factors go through TF32 all but unharmed.
    """
    if left.is_cuda and left.dtype == torch.float32:
        return multiply_in_parts(left, right)
    return left @ right


def multiply_in_parts(left: Tensor, right: Tensor) -> Tensor:
    """left @ right as three products of factors with few bits, the small ones first."""
    left_coarse, right_coarse = left.bfloat16().float(), right.bfloat16().float()
    small = (left - left_coarse) @ right_coarse + left_coarse @ (right - right_coarse)
    return small + left_coarse @ right_coarse


class GaussianBlur(nn.Module):
    """Gaussian blur with zeros beyond the border.

    Args:
        resolution: side of the square pictures in pixels.
        sigma: in pixels; the filter reaches 2 sigma.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, resolution: int, sigma: float) -> None:
        super().__init__()
        matrix = same_filter_matrix(resolution, gaussian_taps_of(sigma))
        self.register_buffer("rows", matrix, persistent=False)
        self.register_buffer("columns", matrix.t().contiguous(), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Args: pictures: (B, C, R, R). Returns the same shape."""
        with torch.autocast(pictures.device.type, enabled=False):
            return multiply(multiply(self.rows, widen(pictures)), self.columns)


class BandedFilter:
    """A filter without padding along one axis, which turns the picture on its way: applied twice, it has filtered
    both axes.

    On a CPU the band is cut into blocks, so that hardly anything is multiplied by zero.

    Args:
        matrix: (O, R), as :func:`valid_filter_matrix`.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        results, length = matrix.shape
        taps = length - results + 1
        seen = matrix[0, :taps] > NEGLIGIBLE * matrix[0, :taps].max()
        first, last = int(seen.nonzero()[0]), int(seen.nonzero()[-1])
        self._forward = [
            (start, min(start + CPU_BLOCK, results), start + first, min(start + CPU_BLOCK, results) + last)
            for start in range(0, results, CPU_BLOCK)
        ]
        self._adjoint = [
            (start, min(start + CPU_BLOCK, length), max(0, start - last), min(results, start + CPU_BLOCK - first))
            for start in range(0, length, CPU_BLOCK)
        ]

    def apply(self, pictures: Tensor) -> Tensor:
        """(M, R) → (O, M): filtered along the last axis."""
        if self.matrix.is_cuda:
            return multiply(self.matrix, pictures.t())
        filtered = pictures.new_empty(len(self.matrix), len(pictures))
        for start, stop, first, last in self._forward:
            part = self.matrix[start:stop, first:last]
            torch.mm(part, pictures[:, first:last].t(), out=filtered[start:stop])
        return filtered

    def adjoint(self, filtered: Tensor) -> Tensor:
        """(O, M) → (M, R): what :meth:`apply` does to gradients."""
        if self.matrix.is_cuda:
            return multiply(filtered.t(), self.matrix)
        pictures = filtered.new_empty(filtered.shape[1], self.matrix.shape[1])
        for start, stop, first, last in self._adjoint:
            if first >= last:  # the border of the picture, which only negligible taps see
                pictures[:, start:stop] = 0
                continue
            torch.mm(filtered[first:last].t(), self.matrix[first:last, start:stop], out=pictures[:, start:stop])
        return pictures

    def apply_both(self, pictures: Tensor) -> Tensor:
        """(N, R, R) → (O, O N): filtered along both axes; the pictures are the last axis."""
        count, length, _ = pictures.shape
        once = self.apply(pictures.reshape(count * length, length))
        return self.apply(once.view(len(self.matrix) * count, length))

    def adjoint_both(self, filtered: Tensor) -> Tensor:
        """(O, O N) → (N, R, R)."""
        results, length = self.matrix.shape
        once = self.adjoint(filtered)
        return self.adjoint(once.view(results, -1)).view(-1, length, length)
