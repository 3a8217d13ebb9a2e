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
BINS = 128
"""Places along a direction at which its displacement is tabulated."""
LATTICE = (25, 13, 13)
"""Nodes along the widest, middle and narrowest axis of the picture's colours."""
_SEED = 20051

_LEAST_RANGE = 1e-6


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
    return _match(picture, reference, mask, reference_mask, _rotations(rounds, 1), IDT_STEP)


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
    return _match(picture, reference, mask, reference_mask, _rotations(rounds, triples), SOT_STEP)


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
    mean, axes, low, high = _box(cloud)
    nodes = axes @ (low + (high - low) * _lattice(picture.device, picture.dtype)) + mean
    travelled = _transport(torch.cat([cloud, nodes], dim=2), wanted, rounds.to(picture), step)
    change = (travelled[:, :, SAMPLE:] - nodes).view(len(picture), 3, *LATTICE)
    # (B, 1, 1, N, 3) where a pixel lies in the lattice, -1 to 1, the last axis first as grid_sample wants it
    turned = (2.0 / (high - low)) * axes.transpose(1, 2)
    offset = -(turned @ mean) - 2.0 * low / (high - low) - 1.0
    places = torch.baddbmm(offset, turned, pixels).flip(1).transpose(1, 2)[:, None, None]
    looked_up = F.grid_sample(change, places, mode="bilinear", padding_mode="border", align_corners=True)
    return picture + looked_up.view_as(picture)


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
    """(B, K, P) displacement at any values, from (B, K, M) of the ordered ones; beyond the ends that of the ends."""
    low, high = ordered[..., :1], ordered[..., -1:]
    width = (high - low).clamp_min(_LEAST_RANGE)
    marks = low + width * torch.linspace(0.0, 1.0, BINS, device=values.device, dtype=values.dtype)
    before, after = torch.searchsorted(ordered, marks), torch.searchsorted(ordered, marks, right=True)
    middle = (before + after - 1).clamp(0, 2 * ordered.shape[-1] - 2)  # twice the index; equal values share the middle
    lower = middle // 2
    table = (displacement.gather(2, lower) + displacement.gather(2, middle - lower)) / 2.0
    place = ((values - low) * ((BINS - 1) / width)).clamp_(0.0, BINS - 1.0)
    index = place.to(torch.int64).clamp_max_(BINS - 2)
    left = table.gather(2, index)
    right = table.gather(2, index + 1)
    return left + (right - left) * (place - index)


def _box(cloud: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean (B, 3, 1), principal axes (B, 3, 3) in columns, widest first, and the cloud's reach along them (B, 3, 1)."""
    mean, covariance = moments(cloud, None)
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(2).to(cloud)
    turned = axes.transpose(1, 2) @ (cloud - mean)
    low, high = turned.amin(2, keepdim=True), turned.amax(2, keepdim=True)
    spare = (0.5 * _LEAST_RANGE - 0.5 * (high - low)).clamp_min(0.0)
    return mean, axes, low - spare, high + spare


def _lattice(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(3, P) corners of the unit lattice, the last axis fastest."""
    along = [torch.linspace(0.0, 1.0, count, device=device, dtype=dtype) for count in LATTICE]
    return torch.stack(torch.meshgrid(*along, indexing="ij")).flatten(1)


@functools.lru_cache(maxsize=16)
def _rotations(rounds: int, triples: int) -> Tensor:
    """(rounds, 3 * triples, 3) unit directions, always the same: the rows of random rotations."""
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(rounds * triples, 3, 3, generator=generator, dtype=torch.float64)
    rotations: Tensor = torch.linalg.qr(normal).Q
    return rotations.reshape(rounds, 3 * triples, 3)
