"""Random changes of training faces: a policy draws numbers, the transform it returns moves image and mask alike.

Convention:
    Stored faces are squares larger than what the network sees by ``margin`` (a ratio >= 1), concentric with it.
    Grids are in normalised coordinates, (x, y), -1 and 1 at the outer edges of the corner pixels
    (``align_corners=False``). ``stored_from_output`` maps output coordinates to stored ones. Borders replicate.
    What shall be painted is sampled with a cubic: a bilinear filter halves the variance of fine detail, and a decoder
    cannot become sharper than what it is shown. Masks and what the encoder sees are sampled bilinearly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WARP_CELLS = (2, 4, 8)
"""Cells per side of the random warp grid, one of them drawn per batch."""
WARP_CLIP_SIGMA = 2.5
"""Warp noise is a normal cut at this many sigmas, then scaled to [-1, 1]."""
WARP_GAIN = math.sqrt(2.0)
"""The reference adds two draws per node; one independent draw of the same spread replaces them."""
FLIP_PROBABILITY = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentRanges:
    """How far training faces are moved and relit; all ranges are symmetric around no change.

    Attributes:
        rotation_deg: in-plane rotation.
        scale: relative size.
        shift: translation as a fraction of the face's side.
        warp: node displacement of the warp grid as a fraction of its cell; 0 switches it off.
        light: gain of what the encoder sees; half of it per channel, and half of it as an offset.
        hsv: shift of hue, saturation and value of what the encoder sees, see :mod:`dflcore.train.relight`.
        flip: mirror now and then.
    """

    rotation_deg: float
    scale: float
    shift: float
    warp: float
    light: float
    hsv: float = 0.0
    flip: bool = False


@dataclass(frozen=True, slots=True)
class FaceTransform:
    """What was drawn for one batch of B faces.

    Attributes:
        stored_from_output: (B, 2, 3) in normalised coordinates.
        warp_nodes: (B, 2, n, n) displacement (x, y) of the warp grid in output coordinates, or None.
        gain: (B, 3, 1, 1) factor on sRGB code values. offset: (B, 1, 1, 1) added after it.
    """

    stored_from_output: Tensor
    warp_nodes: Tensor | None
    gain: Tensor
    offset: Tensor

    def apply(self, pictures: Tensor, resolution: int) -> Tensor:
        """The moved face as it should be painted.

        Args:
            pictures: (B, C, S, S) in [0, 1].
            resolution: side R of the result in pixels.

        Returns:
            (B, C, R, R) in [0, 1].
        """
        return _sample(pictures, self._grid(resolution, None), "bicubic").clamp_(0.0, 1.0)

    def apply_with_masks(self, pictures: Tensor, masks: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
        """As :meth:`apply`, and the masks (B, M, S, S) moved alike, (B, M, R, R) in [0, 1]."""
        grid = self._grid(resolution, None)
        return _sample(pictures, grid, "bicubic").clamp_(0.0, 1.0), _sample(masks, grid, "bilinear")

    def apply_as_input(self, stored: Tensor, resolution: int) -> Tensor:
        """The moved, warped and relit face as the encoder sees it.

        Args:
            stored: (B, 3, S, S) in [0, 1].
            resolution: side R of the result in pixels.

        Returns:
            (B, 3, R, R) in [0, 1].
        """
        seen = _sample(stored, self._grid(resolution, self.warp_nodes), "bilinear")
        return seen.mul_(self.gain).add_(self.offset).clamp_(0.0, 1.0)

    def _grid(self, resolution: int, displacement: Tensor | None) -> Tensor:
        """(B, R, R, 2) where each output pixel lies in the stored square.

        The transform is applied to the few nodes; what is linear between them stays so.
        """
        matrix = self.stored_from_output
        nodes = _node_positions(2 if displacement is None else displacement.shape[-1], resolution, matrix)
        if displacement is not None:
            nodes = nodes + displacement
        placed = matrix[:, :, :2] @ nodes.flatten(2) + matrix[:, :, 2:]
        placed = placed.view(len(matrix), *nodes.shape[1:])
        grid = F.interpolate(placed, size=resolution, mode="bilinear", align_corners=True)
        return grid.permute(0, 2, 3, 1)


def identity_transform(batch: int, margin: float, device: torch.device | None = None) -> FaceTransform:
    """The transform that crops the centre and changes nothing."""
    matrix = torch.eye(2, 3, device=device).repeat(batch, 1, 1) / margin
    return FaceTransform(
        matrix, None, torch.ones(batch, 3, 1, 1, device=device), torch.zeros(batch, 1, 1, 1, device=device)
    )


def required_margin(ranges: AugmentRanges) -> float:
    """Ratio of stored side to output side at which shift and scale never leave the stored square.

    Corners may leave it by rotation, at most a few pixels; borders replicate there, outside any face.
    """
    return (1.0 + ranges.scale) * (1.0 + 2.0 * ranges.shift)


def draw_transform(batch: int, ranges: AugmentRanges, margin: float, generator: torch.Generator) -> FaceTransform:
    """Draw one transform per face; all numbers come from a CPU generator, so a seed means the same on any device."""

    def uniform(*shape: int, limit: float) -> Tensor:
        return (torch.rand(*shape, generator=generator) * 2 - 1) * limit

    angle = uniform(batch, limit=math.radians(ranges.rotation_deg))
    scale = 1 + uniform(batch, limit=ranges.scale)
    shift = uniform(batch, 2, limit=2 * ranges.shift)
    mirror = torch.ones(batch)
    if ranges.flip:
        mirror = 1 - 2 * (torch.rand(batch, generator=generator) < FLIP_PROBABILITY).float()
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    linear = torch.stack([torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)], 1)
    matrix = torch.cat([linear, shift[:, :, None]], dim=2) / margin
    gain = 1 + uniform(batch, 1, 1, 1, limit=ranges.light) + uniform(batch, 3, 1, 1, limit=ranges.light / 2)
    offset = uniform(batch, 1, 1, 1, limit=ranges.light / 2)
    nodes = _draw_warp(batch, ranges.warp, generator) if ranges.warp else None
    return FaceTransform(matrix, nodes, gain, offset)


def move_transform(transform: FaceTransform, device: torch.device) -> FaceTransform:
    """The same transform with its tensors on ``device``."""
    nodes = transform.warp_nodes
    return FaceTransform(
        to_device(transform.stored_from_output, device),
        None if nodes is None else to_device(nodes, device),
        to_device(transform.gain, device),
        to_device(transform.offset, device),
    )


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on ``device``; the host does not wait for a GPU to be ready for it."""
    if device.type != "cuda":
        return tensor.to(device)
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)


def _draw_warp(batch: int, strength: float, generator: torch.Generator) -> Tensor:
    """(B, 2, n, n) node displacements; border nodes stay."""
    cells = WARP_CELLS[int(torch.randint(len(WARP_CELLS), (1,), generator=generator))]
    noise = torch.randn(batch, 2, cells + 1, cells + 1, generator=generator)
    noise = noise.clamp(-WARP_CLIP_SIGMA, WARP_CLIP_SIGMA) / WARP_CLIP_SIGMA
    nodes = torch.zeros_like(noise)
    nodes[:, :, 1:-1, 1:-1] = noise[:, :, 1:-1, 1:-1] * (strength * WARP_GAIN * 2.0 / cells)
    return nodes


def _node_positions(count: int, resolution: int, like: Tensor) -> Tensor:
    """(1, 2, n, n) output coordinates (x, y) of nodes spread evenly from the first pixel's centre to the last one's."""
    edge = 1.0 - 1.0 / resolution
    along = torch.linspace(-edge, edge, count, device=like.device, dtype=like.dtype)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y])[None]


def _sample(stored: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(stored, grid, mode=mode, padding_mode="border", align_corners=False)
