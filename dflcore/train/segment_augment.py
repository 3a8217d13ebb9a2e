"""Random changes of faces and their masks: where they are, what is behind and before them, light, lens and camera.

Everything runs batched on the training device. Source of the list of changes and their ranges: measured facts of
DeepFaceLab 46fc239 (GPL-3.0, nothing copied). What differs: the two axes of the warp are independent; masks stay soft
at their edges instead of being cut at one half; hue, saturation and value change by one matrix per face; things in
front of the face are added (:mod:`dflcore.train.segment_occluders`).

Convention:
    Faces are (B, 3, R, R) sRGB-encoded RGB in [0, 1], masks (B, 1, R, R) in [0, 1], both in aligned space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.train.augment import AugmentRanges, draw_transform, move_transform
from dflcore.train.segment_draws import Draws, base_grid, move_grid, similarity
from dflcore.train.segment_occluders import draw_occluder

KERNEL = 9
"""Side of the filter that blurs or sharpens, in pixels."""
_LUMA = (0.299, 0.587, 0.114)
_JPEG_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation steps of the JPEG standard (ITU-T T.81, table K.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskAugment:
    """How often and how far; all shares are probabilities per face.

    Attributes:
        rotation_deg, scale, shift, warp: ranges of the move, as in :class:`dflcore.train.augment.AugmentRanges`.
        flip: mirror now and then.
        background: share of faces with another face's picture behind them.
        occluder: share of faces with a synthetic thing in front of them.
        plain: share of faces whose light, lens and camera stay as they are: what the network will be asked about.
        full_hue: share of the colour changes that turn the hue all the way round; the others stay near.
    """

    rotation_deg: float = 10.0
    scale: float = 0.08
    shift: float = 0.05
    warp: float = 0.18
    flip: bool = True
    background: float = 0.4
    occluder: float = 0.6
    plain: float = 0.4
    full_hue: float = 0.3


def augment(
    samples: Tensor, others: Tensor, ranges: MaskAugment, generator: torch.Generator, *, spoil: bool = True
) -> tuple[Tensor, Tensor]:
    """A batch as the network shall see it.

    Args:
        samples: (B, 4, R, R) in [0, 1], sRGB and mask, on any device.
        others: (B, 4, R, R), other samples: they serve as background and as texture.
        generator: CPU generator.
        spoil: False only moves the faces (pretraining).

    Returns:
        Faces (B, 3, R, R) and masks (B, 1, R, R).
    """
    draws = Draws(len(samples), samples.shape[-1], generator, samples.device)
    faces, masks = samples[:, :3], samples[:, 3:]
    if not spoil:
        return move(draws, faces, masks, ranges)
    if ranges.background:
        faces = paste_background(draws, faces, masks, others, ranges.background)
    faces, masks = move(draws, faces, masks, ranges)
    if ranges.occluder:
        occluder = draw_occluder(draws, faces, masks, others[:, :3])
        faces, masks = occluder.cover(faces, masks, draws.chance(ranges.occluder))
    spoiled = flare(draws, faces, masks)
    spoiled = recolor(draws, spoiled, ranges.full_hue)
    spoiled = refocus(draws, spoiled)
    spoiled = resize_and_back(draws, spoiled)
    spoiled = compress(draws, spoiled.clamp(0.0, 1.0))
    spoiled = add_noise(draws, spoiled)
    plain = draws.chance(ranges.plain)
    return (spoiled + (faces - spoiled) * plain).clamp(0.0, 1.0), masks


def move(draws: Draws, faces: Tensor, masks: Tensor, ranges: MaskAugment) -> tuple[Tensor, Tensor]:
    """Warp, rotate, scale, shift and mirror both alike. Faces repeat their border, masks end there."""
    limits = AugmentRanges(
        rotation_deg=ranges.rotation_deg,
        scale=ranges.scale,
        shift=ranges.shift,
        warp=ranges.warp,
        light=0.0,
        flip=ranges.flip,
    )
    transform = move_transform(draw_transform(draws.batch, limits, 1.0, draws.generator), draws.device)
    grid = base_grid(draws.resolution, draws.device).expand(draws.batch, -1, -1, -1)
    if transform.warp_nodes is not None:
        field = F.interpolate(transform.warp_nodes, size=draws.resolution, mode="bilinear", align_corners=True)
        grid = grid + (field * draws.chance(0.8)).permute(0, 2, 3, 1)
    grid = move_grid(grid, transform.stored_from_output)
    moved = F.grid_sample(faces, grid, mode="bicubic", padding_mode="border", align_corners=False)
    mask = F.grid_sample(masks, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.clamp(0.0, 1.0), mask.clamp(0.0, 1.0)


def paste_background(draws: Draws, faces: Tensor, masks: Tensor, others: Tensor, probability: float) -> Tensor:
    """Lay another picture, its own face cut out, behind the face."""
    matrix = similarity(
        draws.uniform(-math.pi, math.pi),
        draws.uniform(0.9, 1.1),
        draws.uniform(-0.2, 0.2, 2),
        draws.uniform(-1.0, 1.0).sign(),
    )
    grid = move_grid(base_grid(draws.resolution, draws.device), matrix)
    moved = F.grid_sample(others, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    behind = _levels_or_hue(draws, moved[:, :3], 1.0)
    outside = (1.0 - masks) * (1.0 - moved[:, 3:])
    share = draws.chance(probability) * (1.0 - draws.uniform(0.15, 1.0, 1, 1, 1)) * outside
    return faces * (1.0 - share) + behind.clamp(0.0, 1.0) * share


def flare(draws: Draws, faces: Tensor, masks: Tensor) -> Tensor:
    """Stray light of the face over the picture, and of what surrounds it."""
    lit = faces
    for part in (masks, 1.0 - masks):
        spots = F.adaptive_avg_pool2d(faces * part, max(4, draws.resolution // 16))
        glow = F.avg_pool2d(spots, 3, stride=1, padding=1)
        glow = F.interpolate(glow, size=draws.resolution, mode="bilinear", align_corners=False)
        lit = lit + glow * draws.chance(0.3) * draws.uniform(0.0, 1.0, 1, 1, 1)
    return lit.clamp(0.0, 1.0)


def recolor(draws: Draws, faces: Tensor, full_hue: float) -> Tensor:
    """Other colours or levels, in part of the picture."""
    circle = draws.faded_circle()
    changed = _levels_or_hue(draws, faces, full_hue)
    return (faces + (changed - faces) * circle).clamp(0.0, 1.0)


def _levels_or_hue(draws: Draws, faces: Tensor, full_hue: float) -> Tensor:
    choose = draws.chance(0.5)
    hue = _turn_hue(draws, faces, full_hue)
    levels = _change_levels(draws, faces)
    return hue * choose + levels * (1.0 - choose)


def _turn_hue(draws: Draws, faces: Tensor, full_hue: float) -> Tensor:
    """Hue, saturation and value by one matrix: a turn about the grey axis, a pull toward luma, a gain."""
    near = draws.uniform(-0.35, 0.35)
    angle = torch.where(draws.chance(full_hue).view(-1) > 0, draws.uniform(-math.pi, math.pi), near)
    cos, sin = torch.cos(angle).view(-1, 1, 1), torch.sin(angle).view(-1, 1, 1)
    eye = torch.eye(3, device=draws.device)
    third = torch.full((3, 3), 1.0 / 3.0, device=draws.device)
    skew = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=draws.device) / math.sqrt(3.0)
    turn = eye * cos + third * (1.0 - cos) + skew * sin
    luma = torch.tensor(_LUMA, device=draws.device).expand(3, 3)
    saturation = draws.uniform(0.4, 1.5, 1, 1)
    matrix = (saturation * eye + (1.0 - saturation) * luma) @ turn * draws.uniform(0.6, 1.4, 1, 1)
    turned = matrix @ faces.flatten(2) + draws.uniform(-0.12, 0.12, 1, 1)
    return turned.view_as(faces).clamp(0.0, 1.0)


def _change_levels(draws: Draws, faces: Tensor) -> Tensor:
    """Black, white and gamma points of each channel, in and out."""
    black, white = draws.uniform(0.0, 0.25, 3, 1, 1), draws.uniform(0.75, 1.0, 3, 1, 1)
    gamma = draws.uniform(0.5, 1.5, 3, 1, 1)
    low, high = draws.uniform(0.0, 0.25, 3, 1, 1), draws.uniform(0.75, 1.0, 3, 1, 1)
    inside = ((faces - black) / (white - black)).clamp(1e-4, 1.0)
    return inside.pow(1.0 / gamma) * (high - low) + low


def refocus(draws: Draws, faces: Tensor) -> Tensor:
    """Sharpen, blur or smear along a line, by one small filter per face, in part of the picture."""
    kernel = _draw_kernels(draws)  # (B, K, K)
    batch, channels = faces.shape[:2]
    weight = kernel[:, None].expand(-1, channels, -1, -1).reshape(batch * channels, 1, KERNEL, KERNEL)
    padded = F.pad(faces, (KERNEL // 2,) * 4, mode="replicate").reshape(
        1, batch * channels, *[s + KERNEL - 1 for s in faces.shape[-2:]]
    )
    filtered = F.conv2d(padded, weight, groups=batch * channels).view_as(faces)
    return (faces + (filtered - faces) * draws.faded_circle()).clamp(0.0, 1.0)


def _draw_kernels(draws: Draws) -> Tensor:
    """(B, K, K), each of sum 1: two fifths do nothing, the others sharpen, blur or smear."""
    offsets = torch.arange(KERNEL, device=draws.device, dtype=torch.float32) - KERNEL // 2
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    sigma = draws.uniform(0.3, 2.0, 1, 1)
    gauss = torch.exp(-(x.square() + y.square()) / (2 * sigma.square()))
    gauss = gauss / gauss.sum(dim=(1, 2), keepdim=True)
    angle = draws.uniform(0.0, math.pi, 1, 1)
    half = draws.uniform(0.5, KERNEL / 2 - 0.5, 1, 1)
    across = (x * torch.sin(angle) - y * torch.cos(angle)).abs()
    along = (x * torch.cos(angle) + y * torch.sin(angle)).abs()
    smear = (1.0 - across).clamp(min=0.0) * (half + 0.5 - along).clamp(0.0, 1.0)
    smear = smear / smear.sum(dim=(1, 2), keepdim=True)
    point = ((x == 0) & (y == 0)).float().expand_as(gauss)
    sharp = point + draws.uniform(0.0, 1.5, 1, 1) * (point - gauss)
    options = torch.stack([point, point, gauss, smear, sharp])
    index = draws.choice(len(options)).view(1, -1, 1, 1).expand(1, -1, KERNEL, KERNEL)
    return options.gather(0, index)[0]


def resize_and_back(draws: Draws, faces: Tensor) -> Tensor:
    """Lose detail as a small face does; one size for the batch, for a quarter of its faces."""
    small = max(8, int(draws.resolution * draws.one(0.25, 1.0)))
    share = draws.chance(0.25)
    mode = "nearest" if draws.one(0.0, 1.0) < 0.3 else "bilinear"
    align = None if mode == "nearest" else False
    down = F.interpolate(faces, size=small, mode=mode, align_corners=align, antialias=mode == "bilinear")
    back = F.interpolate(down, size=draws.resolution, mode=mode, align_corners=align)
    return faces + (back - faces) * share * draws.faded_circle()


def compress(draws: Draws, faces: Tensor) -> Tensor:
    """The loss of JPEG: 8x8 cosine transform, quantised by the standard's table at a random quality, and back.

    Chroma is quantised by the same table at full resolution; side lengths are multiples of 8.
    """
    basis = _cosine_basis(draws.device)
    quality = draws.uniform(10.0, 95.0, 1, 1, 1, 1, 1)
    factor = torch.where(quality < 50.0, 50.0 / quality, 2.0 - quality / 50.0)
    table = torch.tensor(_JPEG_LUMA, device=draws.device, dtype=torch.float32).view(1, 1, 1, 8, 1, 8)
    steps = (table * factor).clamp(min=1.0) / 255.0
    opponent = torch.tensor(
        [list(_LUMA), [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=draws.device
    )
    side = draws.resolution // 8
    planes = (opponent @ faces.flatten(2)).view(draws.batch, 3, side, 8, side, 8)
    spectrum = torch.einsum("ux,bcixjy,vy->bciujv", basis, planes, basis)
    spectrum = (spectrum / steps).round() * steps
    planes = torch.einsum("ux,bciujv,vy->bcixjy", basis, spectrum, basis)
    rgb_from_opponent: Tensor = torch.linalg.inv(opponent)
    lossy = (rgb_from_opponent @ planes.reshape(draws.batch, 3, -1)).view_as(faces)
    return faces + (lossy - faces) * draws.chance(0.25) * draws.faded_circle()


def _cosine_basis(device: torch.device) -> Tensor:
    """(8, 8) orthonormal rows of the cosine transform."""
    u = torch.arange(8, device=device, dtype=torch.float32)
    basis = torch.cos((2 * u[None] + 1) * u[:, None] * (math.pi / 16)) / 2.0
    basis[0] /= math.sqrt(2.0)
    return basis


def add_noise(draws: Draws, faces: Tensor) -> Tensor:
    """Grain for a quarter of the faces: one noise picture, shifted and scaled for each."""
    side = draws.resolution
    grain = torch.randn(1, 3, side, side, generator=draws.generator).to(draws.device)
    grain = grain.roll(int(draws.one(0, side)), dims=2).expand(draws.batch, -1, -1, -1)
    return faces + grain * draws.chance(0.25) * draws.uniform(0.0, 0.06, 1, 1, 1)
