"""What a colour match needs to know of a picture's colours, apart from the picture: measured, kept, pooled.

Palettes of several frames of a track, pooled, are what one would measure on these frames together. Where a match is
applied with pooled palettes, it cannot change faster than they do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dflcore.color.matching.thinning import thin_out
from dflcore.color.matching.weights import coarse_to_fine, fair_sample, mask_weight, moments, pixel_shares


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Palette:
    """Colours of a batch of pictures, inside their masks.

    Attributes:
        space: what the numbers are: ``srgb`` as given; ``roots`` or ``lab`` as in :mod:`dflcore.color.lab`. Only
            palettes of one space go together.
        weight: (B,) float64, pixels that were counted, partly masked ones in part; zero where a mask held next to
            nothing, so that the whole picture is described instead.
        mean, covariance: (B, 3, 1) and (B, 3, 3) float64, of all pixels; None where a method looks at the sample.
        sample: (B, C, M) fair choice of pixels, any first so many of which are one too; None where a method looks at
            moments. C is 3, or 2 where it is of ``lab``'s chroma, a / 100 and b / 100.
    """

    space: str
    weight: Tensor
    mean: Tensor | None = None
    covariance: Tensor | None = None
    sample: Tensor | None = None

    def moments(self, space: str) -> tuple[Tensor, Tensor]:
        """Mean and covariance.

        Raises:
            ValueError: the palette is one of another method: of another space, or without moments.
        """
        if self.space != space or self.mean is None or self.covariance is None:
            raise ValueError(f"A palette with moments of {space} is wanted, not {self._content()}.")
        return self.mean, self.covariance

    def cloud(self, space: str) -> Tensor:
        """The sample.

        Raises:
            ValueError: the palette is one of another method: of another space, or without a sample.
        """
        if self.space != space or self.sample is None:
            raise ValueError(f"A palette with a sample of {space} is wanted, not {self._content()}.")
        return self.sample

    def _content(self) -> str:
        return f"{'moments' if self.sample is None else 'a sample'} of {self.space}"


def measure_moments(
    picture: Tensor, mask: Tensor | None, *, space: str, transform: Callable[[Tensor], Tensor] | None = None
) -> Palette:
    """Mean and covariance of all pixels.

    Args:
        picture: (B, 3, H, W). mask: (B, 1, H, W) weights in [0, 1], or None for all pixels.
        transform: takes pixels (B, 3, n) to ``space``, if they are not in it.
    """
    pixels = picture.flatten(2)
    mean, covariance = moments(pixels, pixel_shares(mask), transform)
    return Palette(space=space, weight=mask_weight(mask, pixels), mean=mean.double(), covariance=covariance)


def measure_sample(picture: Tensor, mask: Tensor | None, count: int, *, space: str) -> Palette:
    """A fair sample of ``count`` pixels, in ``space`` already. Arguments as :func:`measure_moments`."""
    sample = fair_sample(picture, pixel_shares(mask), count)
    return Palette(space=space, weight=mask_weight(mask, picture.flatten(2)), sample=sample)


def pool(palettes: Sequence[Palette], weights: Sequence[float]) -> Palette:
    """What one would measure on several pictures together.

    Moments are exact. The pooled sample is as large as each and stands for all of them; it changes by little where the
    weights do, and alike samples pool to nearly the same again.

    Args:
        palettes: of one method and of batches of one size.
        weights: how often each picture counts, not negative; those with empty masks do not, unless all masks are.

    Raises:
        ValueError: there are none, they do not go together, or no weight is above zero.
    """
    if not palettes or len(palettes) != len(weights):
        raise ValueError(f"{len(palettes)} palettes and {len(weights)} weights cannot be pooled.")
    first = palettes[0]
    if len({_kind(palette) for palette in palettes}) > 1:
        raise ValueError("Palettes of different methods or batches cannot be pooled.")
    if min(weights) < 0.0 or sum(weights) <= 0.0:
        raise ValueError(f"Weights of palettes are not negative and not all zero, unlike {list(weights)}.")
    asked = torch.tensor(weights, dtype=torch.float64, device=first.weight.device)[:, None]
    counted = asked * torch.stack([palette.weight for palette in palettes])  # (F, B)
    weight = counted.sum(0)
    shares = torch.where(weight > 0.0, counted, asked)
    shares = shares / shares.sum(0)
    mean, covariance, sample = None, None, None
    if first.mean is not None:
        mean, covariance = _pool_moments([palette.moments(first.space) for palette in palettes], shares)
    if first.sample is not None:
        sample = _pool_samples([palette.cloud(first.space) for palette in palettes], shares)
    return Palette(space=first.space, weight=weight, mean=mean, covariance=covariance, sample=sample)


def _kind(palette: Palette) -> tuple[object, ...]:
    shapes = [None if part is None else part.shape for part in (palette.mean, palette.covariance, palette.sample)]
    return (palette.space, palette.weight.shape, *shapes)


def _pool_moments(found: Sequence[tuple[Tensor, Tensor]], shares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a mixture, from those of its parts and (F, B) shares."""
    parts = shares[:, :, None, None]
    means = torch.stack([mean for mean, _ in found])  # (F, B, C, 1)
    mean = (parts * means).sum(0)
    apart = means - mean
    within = torch.stack([covariance for _, covariance in found])
    return mean, (parts * (within + apart @ apart.transpose(2, 3))).sum(0)


def _pool_samples(samples: Sequence[Tensor], shares: Tensor) -> Tensor:
    """(B, C, M), thinned out of all samples."""
    counted = shares.sum(1).gt(0.0).tolist()
    samples, shares = list(itertools.compress(samples, counted)), shares[shares.sum(1) > 0.0]
    if len(samples) == 1:
        return samples[0]
    count = samples[0].shape[2]
    weights = (shares / count).t().repeat_interleave(count, dim=1)  # (B, F * M)
    thinned = thin_out(torch.cat(samples, dim=2), weights, count).to(samples[0])
    return thinned[:, :, coarse_to_fine(count, thinned.device)]
