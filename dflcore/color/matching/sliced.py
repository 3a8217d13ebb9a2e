"""IDT and SOT: the whole distribution of colours is carried over, one direction of colour space after another.

Along a line, the best transport of one set of values to another pairs them in sorted order. Repeated along ever other
directions this makes the distributions equal, not only their mean and covariance.

How it is done fast: the transport is worked out on a fair sample of pixels. The nodes of a small lattice, laid around
the picture's colours along their principal axes, travel with the sample; how far they came is the colour change, and
every pixel looks it up between its nodes. So the change is a smooth function of colour: equal colours stay equal, grain
is not torn apart, and large pictures cost little more than small ones. The directions are always the same ones, so the
result does not flicker from frame to frame. Highlights above 1 and values below 0, unless much of the picture lies
there, and all colours beyond the lattice move as the nearest colour within does: they keep their distance and order.

Source:
    IDT: Pitié, Kokaram, Dahyot, "N-dimensional probability density function transfer", ICCV 2005. SOT: Rabin, Peyré,
    Delon, Bernot, "Wasserstein barycenter and its application to texture mixing", SSVM 2011. Number of rounds as in
    DeepFaceLab (measured facts of DeepFaceLab 46fc239, GPL-3.0, nothing copied). Different: its IDT goes a twentieth
    of the way in each of 20 rounds and so stops at two thirds; its directions are drawn anew for every picture;
    pixels outside a mask count there, and results are clipped. Its SOT smooths the displacement with a bilateral
    filter, which the lattice makes needless. The gain may be bounded, and the displacement smooth, as in Ferradans et
    al., "Regularized discrete optimal transport", SSVM 2013, though by averaging instead of a penalty.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.color.matching.linear import move_least
from dflcore.color.matching.palette import Palette, measure_sample
from dflcore.color.matching.tables import between, in_order
from dflcore.color.matching.weights import SRGB_LIMITS, bulk_range, moments

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
LATTICES = {2: (33, 17), 3: (25, 13, 13)}
"""Nodes along the widest, middle and narrowest axis of the picture's colours, by their number."""
NEARBY = 0.25
"""Where the gain is bounded, what transport adds to a linear map is averaged over colours this near, in parts of their
spread along an axis: else the brightest skin of a face that takes over white teeth breaks into specks."""
LEAST_NEARBY = 0.6
"""As if every axis had at least this part of the widest one's spread."""
_FEW = 1e-3
"""Colours nearby that count as much as the linear map alone."""
_SEED = 20051

_LEAST_RANGE = 1e-3
"""Colours nearer to each other than this, a quarter of an 8-bit step, count as one."""


@dataclass(frozen=True, slots=True)
class SlicedMatch:
    """Rounds of transport along directions; of encoded colours as they are, unbounded.

    Attributes:
        rounds: steps.
        bases: triples of directions at right angles per step.
        step: share of the way that a step goes.
    """

    rounds: int
    bases: int
    step: float

    def measure(self, picture: Tensor, mask: Tensor | None = None) -> Palette:
        """A sample of colours. See :class:`dflcore.color.matching.methods.ColorMethod`."""
        return measure_sample(picture, mask, SAMPLE, space="srgb")

    def apply(self, picture: Tensor, own: Palette, wanted: Palette, *, max_gain: float = math.inf) -> Tensor:
        """Move (B, 3, H, W). See :class:`dflcore.color.matching.methods.ColorMethod`."""
        clouds = own.cloud("srgb"), wanted.cloud("srgb")
        return self.move(picture.flatten(2), *clouds, SRGB_LIMITS, max_gain).view_as(picture)

    def move(
        self, pixels: Tensor, cloud: Tensor, wanted: Tensor, limits: tuple[float, float], max_gain: float
    ) -> Tensor:
        """Move colours of 2 or 3 dimensions.

        Args:
            pixels: (B, C, N). cloud, wanted: (B, C, M) samples of their colours and of those they shall have.
            limits: of ordinary values.
            max_gain: of the spread along any direction of colour; where it is finite, the change is smooth besides.
        """
        low, high = bulk_range(cloud, limits)
        cloud, wanted = cloud.clamp(low, high), wanted.clamp(*bulk_range(wanted, limits))
        dimensions = cloud.shape[1]
        lattice = _Lattice.around(cloud)
        nodes = lattice.nodes()
        rounds = _directions(self.rounds, self.bases, dimensions, cloud.device).to(cloud)
        if math.isinf(max_gain):
            travelled = _transport(torch.cat([cloud, nodes], dim=2), wanted, rounds, self.step)
            change = travelled[:, :, cloud.shape[2] :] - nodes
        else:
            reach = _Reach.of(cloud, wanted, max_gain)
            travelled = _transport(cloud, reach.draw_together(wanted), rounds, self.step)
            change = reach.map(nodes) - nodes + lattice.spread(cloud, travelled - reach.map(cloud))
        change = change.view(len(cloud), dimensions, *LATTICES[dimensions])
        places = lattice.places(pixels.clamp(low, high)).flip(1).transpose(1, 2)  # the last axis first
        places = places.view(len(places), *(1,) * (dimensions - 1), *places.shape[1:])
        looked_up = F.grid_sample(change, places, mode="bilinear", padding_mode="border", align_corners=True)
        return pixels + looked_up.view_as(pixels)


IDT = SlicedMatch(IDT_ROUNDS, 1, IDT_STEP)
SOT = SlicedMatch(SOT_ROUNDS, SOT_TRIPLES, SOT_STEP)


def match_sot(
    picture: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
    *,
    triples: int = SOT_TRIPLES,
) -> Tensor:
    """SOT of pictures to references with any number of directions. See :func:`dflcore.color.matching.methods.match`."""
    method = replace(SOT, bases=triples)
    return method.apply(picture, method.measure(picture, mask), method.measure(reference, reference_mask))


@dataclass(frozen=True, slots=True)
class _Reach:
    """The linear map of least displacement that goes as near to the wanted colours as a bounded gain allows.

    Attributes:
        mean, wanted_mean: (B, C, 1).
        matrix: (B, C, C), from colours about their mean to what is in reach.
        contraction: (B, C, C), from wanted colours about their mean to what is in reach.
    """

    mean: Tensor
    wanted_mean: Tensor
    matrix: Tensor
    contraction: Tensor

    @classmethod
    def of(cls, cloud: Tensor, wanted: Tensor, max_gain: float) -> _Reach:
        """From (B, C, M) samples."""
        mean, covariance = moments(cloud, None)
        wanted_mean, wanted_covariance = moments(wanted, None)
        matrix = move_least(covariance, wanted_covariance, max_gain)
        contraction = move_least(wanted_covariance, matrix @ covariance @ matrix)
        return cls(mean, wanted_mean, matrix.to(cloud), contraction.to(wanted))

    def map(self, colors: Tensor) -> Tensor:
        """(B, C, N)."""
        return torch.baddbmm(self.wanted_mean, self.matrix, colors - self.mean)

    def draw_together(self, wanted: Tensor) -> Tensor:
        """The wanted colours, nearer to their mean where their spread is out of reach."""
        return torch.baddbmm(self.wanted_mean, self.contraction, wanted - self.wanted_mean)


@dataclass(frozen=True, slots=True)
class _Lattice:
    """A product of two or three axes laid around a cloud of colours, nodes denser where the cloud is.

    Attributes:
        mean: (B, C, 1). axes: (B, C, C), principal axes in columns, widest first.
        low, high: (B, C, 1) the cloud's reach along them.
        shares: (B, C, BINS) place among the nodes, 0 to 1, of evenly spaced marks from low to high.
    """

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor
    shares: Tensor

    @classmethod
    def around(cls, cloud: Tensor) -> _Lattice:
        """Around (B, C, M) colours."""
        mean, covariance = moments(cloud, None)
        axes = torch.linalg.eigh(covariance).eigenvectors.flip(2).to(cloud)
        along = in_order(axes.transpose(1, 2) @ (cloud - mean))
        low, high = along[..., :1], along[..., -1:]
        spare = (0.5 * _LEAST_RANGE - 0.5 * (high - low)).clamp_min(0.0)
        low, high = low - spare, high + spare
        even = torch.linspace(0.0, 1.0, BINS, device=cloud.device, dtype=cloud.dtype)
        passed = torch.searchsorted(along, low + (high - low) * even, right=True) / along.shape[2]
        passed = (passed - passed[..., :1]) / (passed[..., -1:] - passed[..., :1]).clamp_min(1.0 / along.shape[2])
        return cls(mean, axes, low, high, (even + passed.to(cloud)) / (even[-1] + passed[..., -1:].to(cloud)))

    def marks(self) -> list[Tensor]:
        """Where the nodes lie along every axis, (B, count) from the mean."""
        found = []
        for axis, count in enumerate(LATTICES[self.mean.shape[1]]):
            wanted = torch.linspace(0.0, 1.0, count, device=self.mean.device, dtype=self.mean.dtype)
            shares = self.shares[:, axis].contiguous()  # (B, BINS), rising
            right = torch.searchsorted(shares, wanted.expand(len(shares), -1).contiguous()).clamp(1, BINS - 1)
            before, after = shares.gather(1, right - 1), shares.gather(1, right)
            place = (right - 1 + (wanted - before) / (after - before)) / (BINS - 1)
            found.append(self.low[:, axis] + (self.high[:, axis] - self.low[:, axis]) * place)
        return found

    def nodes(self) -> Tensor:
        """(B, C, P) colours of the nodes, the last axis fastest."""
        counts = LATTICES[self.mean.shape[1]]
        positions = []
        for axis, along in enumerate(self.marks()):
            shape = [count if other == axis else 1 for other, count in enumerate(counts)]
            positions.append(along.view(len(along), *shape).expand(-1, *counts).flatten(1))
        return self.axes @ torch.stack(positions, dim=1) + self.mean

    def spread(self, cloud: Tensor, values: Tensor) -> Tensor:
        """(B, C, P) at the nodes the mean of (B, C, M) values that colours nearby have, none nearby counting as zero.

        How near is nearby is said by :data:`NEARBY` and :data:`LEAST_NEARBY`.
        """
        along = self.axes.transpose(1, 2) @ (cloud - self.mean)
        spread = along.std(dim=2, correction=0, keepdim=True).clamp_min(_LEAST_RANGE)
        reach = NEARBY * torch.maximum(spread, LEAST_NEARBY * spread[:, :1])
        *others, last = [
            torch.exp(-0.5 * ((marks[:, :, None] - along[:, axis, None]) / reach[:, axis, None]).square())
            for axis, marks in enumerate(self.marks())
        ]  # (B, count, M) nearness along each axis
        nearness = others[0] if len(others) == 1 else (others[0][:, :, None] * others[1][:, None]).flatten(1, 2)
        weighted = torch.cat([values, torch.ones_like(values[:, :1])], dim=1)[:, :, None] * last[:, None]
        sums = nearness[:, None] @ weighted.transpose(2, 3)  # (B, C + 1, nodes of the others, nodes of the last)
        return (sums[:, :-1] / (sums[:, -1:] + _FEW)).flatten(2)

    def places(self, colors: Tensor) -> Tensor:
        """(B, C, N) where colours lie among the nodes of each axis, -1 to 1; outside, at the end."""
        turned = self.axes.transpose(1, 2) * ((BINS - 1) / (self.high - self.low))
        offset = -(turned @ self.mean) - self.low * ((BINS - 1) / (self.high - self.low))
        return between(self.shares, torch.baddbmm(offset, turned, colors)).mul_(2.0).sub_(1.0)


def _transport(points: Tensor, wanted: Tensor, rounds: Tensor, step: float) -> Tensor:
    """Move (B, C, P) points as the first of them, the sample, must move to become the wanted cloud (B, C, M).

    Args:
        rounds: (R, K, C) directions of every round, in groups of C at right angles.
    """
    count, dimensions = wanted.shape[2], wanted.shape[1]
    for directions in rounds:
        along = directions @ points  # (B, K, P)
        ordered = in_order(along[:, :, :count])
        table = in_order(directions @ wanted) - ordered
        moved = _look_up(along, ordered, table)
        points = points + directions.t() @ moved * (dimensions * step / len(directions))
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
    return between(table, (values - low).mul_((BINS - 1) / width))


@functools.lru_cache(maxsize=16)
def _directions(rounds: int, bases: int, dimensions: int, device: torch.device) -> Tensor:
    """(rounds, bases * dimensions, dimensions) float64 unit directions, always the same: rows of random rotations."""
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(rounds * bases, dimensions, dimensions, generator=generator, dtype=torch.float64)
    rotations: Tensor = torch.linalg.qr(normal).Q
    return rotations.reshape(rounds, bases * dimensions, dimensions).to(device)
