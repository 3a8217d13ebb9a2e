"""Synthetic things in front of faces: hands, bars, microphones, blobs, sheets and rings, textured and shaded.

Sixteen labels cannot show everything that ever covers a face. Random shapes, pasted over the faces and cut from their
masks, teach that whatever is not face is to be left out, wherever it lies and whatever it looks like.

Shapes are signed distances in normalised coordinates (2 units per side, negative inside): a union of tapered capsules,
or a convex polygon. Distances bend under smooth noise, so that outlines are not ruled lines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.train.segment_draws import Draws, base_grid, move_grid, similarity

CAPSULES = 7
"""Parts of one occluder; kinds that need fewer repeat one."""
SIDES = 6
"""Sides of the convex polygon."""
_FAR = 4.0
_COARSE = 2
"""Distances are smooth, so they are computed at this part of the resolution."""


@dataclass(frozen=True, slots=True)
class Occluder:
    """One thing in front of every face of a batch.

    Attributes:
        color: (B, 3, R, R) in [0, 1]. alpha: (B, 1, R, R) coverage. shadow: (B, 1, R, R) light taken from the face.
    """

    color: Tensor
    alpha: Tensor
    shadow: Tensor

    def cover(self, faces: Tensor, masks: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Faces (B, 3, R, R) and masks (B, 1, R, R) with the thing in front of those where ``share`` is 1."""
        alpha = self.alpha * share
        faces = faces * (1.0 - self.shadow * share)
        return faces * (1.0 - alpha) + self.color * alpha, masks * (1.0 - alpha)


def draw_occluder(draws: Draws, faces: Tensor, masks: Tensor, others: Tensor) -> Occluder:
    """Draw a thing for every face.

    Args:
        faces: (B, 3, R, R) sRGB in [0, 1]; skin for hands is taken from them.
        masks: (B, 1, R, R). others: (B, 3, R, R), pictures whose parts serve as texture.
    """
    distance, thickness = _draw_distance(draws)
    softness = draws.uniform(0.7, 1.6, 1, 1, 1) + draws.chance(0.25) * draws.uniform(0.0, 5.0, 1, 1, 1)
    pixel = 2.0 / draws.resolution
    alpha = (0.5 - distance / (pixel * softness)).clamp(0.0, 1.0)
    color = _shade(draws, _draw_texture(draws, faces, masks, others), distance, thickness)
    reach = draws.uniform(0.02, 0.15, 1, 1, 1)
    strength = draws.chance(0.6) * draws.uniform(0.0, 0.6, 1, 1, 1)
    shadow = strength * (1.0 - distance / reach).clamp(0.0, 1.0)
    return Occluder(color=color.clamp(0.0, 1.0), alpha=alpha, shadow=shadow)


def _draw_distance(draws: Draws) -> tuple[Tensor, Tensor]:
    """(B, 1, R, R) signed distance and (B, 1, 1, 1) half thickness."""
    device = draws.device
    coarse = max(16, draws.resolution // _COARSE)
    kinds = draws.choice(_KINDS)
    start, end, radius = _draw_capsules(draws, kinds)
    grid = base_grid(coarse, device).expand(draws.batch, -1, -1, -1)
    bend = F.interpolate(draws.normal(2, 7, 7), size=coarse, mode="bicubic", align_corners=True)
    grid = grid + bend.permute(0, 2, 3, 1) * draws.uniform(0.0, 0.035, 1, 1, 1)
    capsules = _capsule_distance(grid, start, end, radius).amin(dim=1)
    polygon = _polygon_distance(draws, grid)
    is_sheet = (kinds == _SHEET).view(-1, 1, 1)
    distance = torch.where(is_sheet, polygon, capsules)
    thickness = radius.mean(dim=(1, 2)).view(-1, 1, 1)
    ring = draws.uniform(0.015, 0.06, 1, 1)
    is_ring = (kinds == _RING).view(-1, 1, 1)
    distance = torch.where(is_ring, distance.abs() - ring, distance)
    distance = F.interpolate(distance[:, None], size=draws.resolution, mode="bilinear", align_corners=False)
    return distance, thickness[..., None]


_HAND, _BAR, _MICROPHONE, _BLOB, _SHEET, _RING = range(6)
_KINDS = 6


def _draw_capsules(draws: Draws, kinds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, N, 2) starts and ends, (B, N, 2) radii at either end, for each sample's own kind."""
    tip = draws.uniform(-0.75, 0.75, 2)
    angle = draws.uniform(0.0, 2 * math.pi)
    made = [make(draws, tip, angle) for make in (_hand, _bar, _microphone, _blob, _blob, _ring)]
    index = kinds.view(1, -1, 1, 1).expand(1, -1, CAPSULES, 2)
    return tuple(torch.stack([one[part] for one in made]).gather(0, index)[0] for part in range(3))  # type: ignore[return-value]


Capsules = tuple[Tensor, Tensor, Tensor]


def _direction(angle: Tensor) -> Tensor:
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)


def _hand(draws: Draws, tip: Tensor, angle: Tensor) -> Capsules:
    """A palm, five fingers that fan out, and a forearm that leaves the picture."""
    size = draws.uniform(0.5, 1.1, 1)
    forward = _direction(angle)
    palm = tip - forward * 0.45 * size
    fan = draws.uniform(0.05, 0.32, 1)
    spread = torch.linspace(-2.0, 2.0, 5, device=draws.device)[None] * fan + draws.uniform(-0.08, 0.08, 5)
    spread[:, 4] += draws.uniform(0.2, 0.9)  # the thumb stands off
    toward = _direction(angle[:, None] + spread)  # (B, 5, 2)
    length = draws.uniform(0.3, 0.62, 5) * size
    knuckle = palm[:, None] + toward * 0.16 * size[..., None]
    ends = knuckle + toward * length[..., None]
    girth = draws.uniform(0.06, 0.095, 1) * size
    start = torch.cat([knuckle, palm[:, None], palm[:, None]], dim=1)
    end = torch.cat([ends, (palm - forward * 0.2 * size)[:, None], (palm - forward * _FAR)[:, None]], dim=1)
    fingers = torch.stack([girth.expand(-1, 5), girth.expand(-1, 5) * 0.8], dim=-1)
    broad = torch.stack([0.24 * size, 0.2 * size], dim=-1)
    arm = torch.stack([0.17 * size, 0.3 * size], dim=-1)
    return start, end, torch.cat([fingers, broad, arm], dim=1)


def _bar(draws: Draws, tip: Tensor, angle: Tensor) -> Capsules:
    """One or two straight or parallel bars through the picture: rods, straps, hair, cables."""
    forward = _direction(angle)
    side = torch.stack([-forward[:, 1], forward[:, 0]], dim=-1)
    offset = draws.uniform(0.0, 0.6, 1) * side
    is_open = draws.chance(0.5).view(-1, 1)
    first_end = tip + forward * _FAR * is_open
    starts = torch.stack([tip - forward * _FAR, tip + offset - forward * _FAR], dim=1)
    ends = torch.stack([first_end, tip + offset], dim=1)
    radius = torch.stack([draws.uniform(0.02, 0.2), draws.uniform(0.02, 0.1)], dim=1)
    return _fill(starts, ends, torch.stack([radius, radius], dim=-1))


def _microphone(draws: Draws, tip: Tensor, angle: Tensor) -> Capsules:
    """A thick head on a thin stick that leaves the picture."""
    forward = _direction(angle)
    size = draws.uniform(0.08, 0.34)
    neck = tip - forward * (draws.uniform(0.0, 1.5) * size)[:, None]
    stick = draws.uniform(0.12, 0.55) * size
    starts = torch.stack([tip, neck], dim=1)
    ends = torch.stack([neck, neck - _direction(angle + draws.uniform(-0.5, 0.5)) * _FAR], dim=1)
    radii = torch.stack([torch.stack([size, size], -1), torch.stack([stick, stick], -1)], dim=1)
    return _fill(starts, ends, radii)


def _blob(draws: Draws, tip: Tensor, angle: Tensor) -> Capsules:
    """A heap of short capsules."""
    spread = draws.uniform(0.05, 0.4, 1, 1)
    starts = tip[:, None] + draws.normal(CAPSULES, 2) * spread
    ends = starts + draws.normal(CAPSULES, 2) * spread * 0.5
    radii = draws.uniform(0.03, 0.25, CAPSULES, 1).expand(-1, -1, 2)
    return starts, ends, radii


def _ring(draws: Draws, tip: Tensor, angle: Tensor) -> Capsules:
    """One capsule; its outline becomes a ring: rims, hoops, straps."""
    half = _direction(angle) * draws.uniform(0.0, 0.6, 1)
    radius = draws.uniform(0.1, 0.7, 1, 1).expand(-1, -1, 2)
    return _fill((tip - half)[:, None], (tip + half)[:, None], radius)


def _fill(start: Tensor, end: Tensor, radius: Tensor) -> Capsules:
    """Repeat the last capsule until there are as many as every kind has."""
    missing = CAPSULES - start.shape[1]

    def padded(values: Tensor) -> Tensor:
        return torch.cat([values, values[:, -1:].expand(-1, missing, -1)], dim=1)

    return padded(start), padded(end), padded(radius)


def _capsule_distance(grid: Tensor, start: Tensor, end: Tensor, radius: Tensor) -> Tensor:
    """(B, N, H, W) from points (B, H, W, 2); radii run linearly from start to end."""
    axis = (end - start)[:, :, None, None]  # (B, N, 1, 1, 2)
    from_start = grid[:, None] - start[:, :, None, None]
    along = (from_start * axis).sum(-1) / axis.square().sum(-1).clamp(min=1e-8)
    along = along.clamp(0.0, 1.0)
    nearest: Tensor = torch.linalg.vector_norm(from_start - along[..., None] * axis, dim=-1)
    return nearest - torch.lerp(radius[..., 0, None, None], radius[..., 1, None, None], along)


def _polygon_distance(draws: Draws, grid: Tensor) -> Tensor:
    """(B, H, W): sheets, books, screens, edges of the picture; about a distance outside corners."""
    center = draws.uniform(-1.1, 1.1, 1, 1, 2)
    turn = draws.uniform(0.0, 2 * math.pi, 1)
    angles = turn + torch.linspace(0.0, 2 * math.pi, SIDES + 1, device=draws.device)[None, :-1]
    normals = _direction(angles + draws.uniform(-0.4, 0.4, SIDES))  # (B, sides, 2)
    reach = draws.uniform(0.15, 0.9, SIDES)
    heights = torch.einsum("bhwc,bsc->bshw", grid - center, normals) - reach[..., None, None]
    return heights.amax(dim=1)


def _draw_texture(draws: Draws, faces: Tensor, masks: Tensor, others: Tensor) -> Tensor:
    """(B, 3, R, R): skin, plain colour, dark, or a part of another picture, with noise of two grains over it."""
    weight = masks.sum(dim=(2, 3), keepdim=True).clamp(min=1.0)
    skin = (faces * masks).sum(dim=(2, 3), keepdim=True) / weight
    skin = (skin * draws.uniform(0.55, 1.5, 1, 1, 1) + draws.uniform(-0.06, 0.06, 3, 1, 1)).clamp(0.0, 1.0)
    plain = draws.uniform(0.0, 1.0, 3, 1, 1)
    dark = draws.uniform(0.0, 0.25, 1, 1, 1) + draws.uniform(-0.03, 0.03, 3, 1, 1)
    matrix = similarity(
        draws.uniform(-math.pi, math.pi),
        draws.uniform(0.2, 1.2),
        draws.uniform(-0.6, 0.6, 2),
        draws.uniform(-1, 1).sign(),
    )
    grid = move_grid(base_grid(draws.resolution, draws.device), matrix)
    part = F.grid_sample(others, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    tint = draws.uniform(0.5, 1.4, 3, 1, 1)
    options = [skin.expand_as(faces), plain.expand_as(faces), dark.expand_as(faces), part * tint, part]
    index = draws.choice(len(options)).view(1, -1, 1, 1, 1).expand(1, -1, *faces.shape[1:])
    texture = torch.stack(options).gather(0, index)[0]
    coarse = draws.smooth(int(draws.one(2, 8)), 1) * draws.uniform(0.0, 0.12, 1, 1, 1)
    fine = draws.smooth(int(draws.one(16, draws.resolution // 2)), 1) * draws.uniform(0.0, 0.08, 1, 1, 1)
    stripes = _stripes(draws) * draws.chance(0.2) * draws.uniform(0.0, 0.3, 3, 1, 1)
    return texture + coarse + fine + stripes


def _stripes(draws: Draws) -> Tensor:
    """(B, 1, R, R) waves in [-1, 1]."""
    grid = base_grid(draws.resolution, draws.device)
    direction = _direction(draws.uniform(0.0, math.pi)) * draws.uniform(6.0, 60.0, 1)
    phase = torch.einsum("bhwc,nc->nhw", grid, direction)
    return torch.sin(phase + draws.uniform(0.0, 2 * math.pi, 1, 1))[:, None]


def _shade(draws: Draws, texture: Tensor, distance: Tensor, thickness: Tensor) -> Tensor:
    """Rounder than paper: darker toward the rim, lit from a side, a darker line at the very edge now and then."""
    depth = (-distance / thickness.clamp(min=0.02)).clamp(0.0, 1.0)
    rim = draws.uniform(0.0, 0.6, 1, 1, 1) * (1.0 - depth.sqrt())
    grid = base_grid(draws.resolution, draws.device)
    light = _direction(draws.uniform(0.0, 2 * math.pi))[:, None, None]
    gradient = (grid * light).sum(-1)[:, None] * draws.uniform(0.0, 0.25, 1, 1, 1)
    line = draws.chance(0.3) * draws.uniform(0.0, 0.4, 1, 1, 1) * (distance.abs() < 0.02)
    return texture * (1.0 - rim) * (1.0 + gradient) * (1.0 - line)
