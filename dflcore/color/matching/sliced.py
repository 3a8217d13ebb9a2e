"""IDT and SOT: the whole distribution of colours is carried over, one direction of colour space after another.

Along a line, the best transport of one set of values to another pairs them in sorted order. Repeated along ever other
directions this makes the distributions equal, not only their mean and covariance.

How it is done fast: the transport is worked out on a fair sample of pixels. The nodes of a small lattice, laid around
the picture's colours along their principal axes, travel with the sample; how far they came is the colour change, and
every pixel looks it up between its nodes. So the change is a smooth function of colour: equal colours stay equal, grain
is not torn apart, and large pictures cost little more than small ones. The directions are always the same ones, so the
result does not flicker from frame to frame.

Source:
    IDT: Pitié, Kokaram, Dahyot, "N-dimensional probability density function transfer", ICCV 2005. SOT: Rabin, Peyré,
    Delon, Bernot, "Wasserstein barycenter and its application to texture mixing", SSVM 2011. Number of rounds as in
    DeepFaceLab (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different: its IDT goes a twentieth
    of the way in each of 20 rounds and so stops at two thirds; its directions are drawn anew for every picture;
    pixels outside a mask count there, and results are clipped. Its SOT smooths the displacement with a bilateral
    filter, which the lattice makes needless.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.color.matching.weights import fair_sample, moments, pixel_shares

IDT_ROUNDS = 20
IDT_STEP = 0.5
"""Share of the way that one round of IDT goes: whole steps overshoot where three directions say little of the cloud."""
SOT_ROUNDS = 10
SOT_TRIPLES = 10
"""Three directions at right angles each, so 30 per round."""
SOT_STEP = 0.75
SAMPLE = 2048
"""Pixels the transport is worked out on."""
BINS = 129
"""Places along a direction at which its displacement is tabulated; odd, so that a flat colour lies on one."""
LATTICE = (25, 13, 13)
"""Nodes along the widest, middle and narrowest axis of the picture's colours."""
_SEED = 20051

_LEAST_RANGE = 1e-3
"""Colours nearer to each other than this, a quarter of an 8-bit step, count as one."""


def match_idt(
    picture: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
    *,
    rounds: int = IDT_ROUNDS,
) -> Tensor:
    """Carry the picture's colour distribution to the reference's along three axes at a time.

    Args:
        picture: (B, 3, H, W) RGB, any encoding, unbounded; colours outside the mask's move as the nearest inside.
        reference: (B, 3, h, w), same encoding.
        mask, reference_mask: (B, 1, H, W) and (B, 1, h, w) weights in [0, 1]; None counts all pixels.
        rounds: triples of axes.

    Returns:
        (B, 3, H, W), not clipped.
    """
    return _match(picture, reference, mask, reference_mask, _rotations(rounds, 1, picture.device), IDT_STEP)


def match_sot(
    picture: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
    *,
    rounds: int = SOT_ROUNDS,
    triples: int = SOT_TRIPLES,
) -> Tensor:
    """Carry the picture's colour distribution to the reference's along the mean of many directions at a time.

    Args:
        rounds: steps. triples: triples of directions per step. Others as :func:`match_idt`.
    """
    return _match(picture, reference, mask, reference_mask, _rotations(rounds, triples, picture.device), SOT_STEP)


def _match(
    picture: Tensor,
    reference: Tensor,
    mask: Tensor | None,
    reference_mask: Tensor | None,
    rounds: Tensor,
    step: float,
) -> Tensor:
    pixels, shares = picture.flatten(2), pixel_shares(mask)
    cloud = fair_sample(pixels, shares, SAMPLE)
    wanted = fair_sample(reference.flatten(2), pixel_shares(reference_mask), SAMPLE)
    lattice = _Lattice.around(cloud)
    nodes = lattice.nodes()
    travelled = _transport(torch.cat([cloud, nodes], dim=2), wanted, rounds.to(picture), step)
    change = (travelled[:, :, SAMPLE:] - nodes).view(len(picture), 3, *LATTICE)
    places = lattice.places(pixels).flip(1).transpose(1, 2)[:, None, None]  # grid_sample wants the last axis first
    looked_up = F.grid_sample(change, places, mode="bilinear", padding_mode="border", align_corners=True)
    return picture + looked_up.view_as(picture)


@dataclass(frozen=True, slots=True)
class _Lattice:
    """A product of three axes laid around a cloud of colours, nodes denser where the cloud is.

    Attributes:
        mean: (B, 3, 1). axes: (B, 3, 3), principal axes in columns, widest first.
        low, high: (B, 3, 1) the cloud's reach along them.
        shares: (B, 3, BINS) place among the nodes, 0 to 1, of evenly spaced marks from low to high.
    """

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor
    shares: Tensor

    @classmethod
    def around(cls, cloud: Tensor) -> _Lattice:
        """Around (B, 3, M) colours."""
        mean, covariance = moments(cloud, None)
        axes = torch.linalg.eigh(covariance).eigenvectors.flip(2).to(cloud)
        along = (axes.transpose(1, 2) @ (cloud - mean)).sort(dim=2).values
        low, high = along[..., :1], along[..., -1:]
        spare = (0.5 * _LEAST_RANGE - 0.5 * (high - low)).clamp_min(0.0)
        low, high = low - spare, high + spare
        even = torch.linspace(0.0, 1.0, BINS, device=cloud.device, dtype=cloud.dtype)
        passed = torch.searchsorted(along, low + (high - low) * even, right=True) / along.shape[2]
        passed = (passed - passed[..., :1]) / (passed[..., -1:] - passed[..., :1]).clamp_min(1.0 / along.shape[2])
        return cls(mean, axes, low, high, (even + passed.to(cloud)) / (even[-1] + passed[..., -1:].to(cloud)))

    def nodes(self) -> Tensor:
        """(B, 3, P) colours of the nodes, the last axis fastest."""
        positions = []
        for axis, count in enumerate(LATTICE):
            wanted = torch.linspace(0.0, 1.0, count, device=self.mean.device, dtype=self.mean.dtype)
            shares = self.shares[:, axis].contiguous()  # (B, BINS), rising
            right = torch.searchsorted(shares, wanted.expand(len(shares), -1).contiguous()).clamp(1, BINS - 1)
            before, after = shares.gather(1, right - 1), shares.gather(1, right)
            place = (right - 1 + (wanted - before) / (after - before)) / (BINS - 1)
            shape = [count if other == axis else 1 for other in range(3)]
            low, high = self.low[:, axis], self.high[:, axis]
            along = (low + (high - low) * place).view(len(shares), *shape)
            positions.append(along.expand(-1, *LATTICE).flatten(1))
        return self.axes @ torch.stack(positions, dim=1) + self.mean

    def places(self, colors: Tensor) -> Tensor:
        """(B, 3, N) where colours lie among the nodes of each axis, -1 to 1; outside, at the end."""
        turned = self.axes.transpose(1, 2) * ((BINS - 1) / (self.high - self.low))
        offset = -(turned @ self.mean) - self.low * ((BINS - 1) / (self.high - self.low))
        return _between(self.shares, torch.baddbmm(offset, turned, colors)).mul_(2.0).sub_(1.0)


def _transport(points: Tensor, wanted: Tensor, rounds: Tensor, step: float) -> Tensor:
    """Move (B, 3, P) points as the first of them, the sample, must move to become the wanted cloud (B, 3, SAMPLE).

    Args:
        rounds: (R, K, 3) directions of every round, K / 3 triples of them at right angles.
    """
    for directions in rounds:
        along = directions @ points  # (B, K, P)
        ordered = along[:, :, :SAMPLE].sort(dim=2).values
        table = (directions @ wanted).sort(dim=2).values - ordered
        moved = _look_up(along, ordered, table)
        points = points + directions.t() @ moved * (3.0 * step / len(directions))
    return points


def _look_up(values: Tensor, ordered: Tensor, displacement: Tensor) -> Tensor:
    """(B, K, P) displacement at any values, from (B, K, M) of the ordered ones; beyond the ends that of the ends.

    What is tabulated is the mean displacement of a bin: a flat colour, which the transport would tear apart, goes to
    the mean of where it would go.
    """
    low, high = ordered[..., :1], ordered[..., -1:]
    width = (high - low).clamp_min(_LEAST_RANGE)
    low = (low + high - width) / 2.0
    marks = torch.linspace(0.0, 1.0, BINS, device=values.device, dtype=values.dtype)
    half = 0.5 / (BINS - 1)
    first = torch.searchsorted(ordered, low + width * (marks - half))
    last = torch.searchsorted(ordered, low + width * (marks + half), right=True)
    empty = (first == last).long()  # between two clusters: the mean of both neighbours
    first, last = (first - empty).clamp_min(0), (last + empty).clamp_max(ordered.shape[-1])
    sums = F.pad(displacement.cumsum(2, dtype=torch.float64), (1, 0))
    table = ((sums.gather(2, last) - sums.gather(2, first)) / (last - first)).to(values)
    return _between(table, (values - low).mul_((BINS - 1) / width))


def _between(table: Tensor, place: Tensor) -> Tensor:
    """(B, K, P) values of tables (B, K, BINS) at places counted in bins, straight between two; ``place`` is used up."""
    place = place.clamp_(0.0, BINS - 1.0)
    index = place.to(torch.int64).clamp_max_(BINS - 2)
    left = table.gather(2, index)
    return torch.lerp(left, table.gather(2, index + 1), place.sub_(index))


@functools.lru_cache(maxsize=16)
def _rotations(rounds: int, triples: int, device: torch.device) -> Tensor:
    """(rounds, 3 * triples, 3) float64 unit directions, always the same: the rows of random rotations."""
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(rounds * triples, 3, 3, generator=generator, dtype=torch.float64)
    rotations: Tensor = torch.linalg.qr(normal).Q
    return rotations.reshape(rounds, 3 * triples, 3).to(device)
