"""Random numbers and smooth random pictures for the augmentation of masks, from one CPU generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Draws:
    """Numbers for one batch. They come from a CPU generator, so a seed means the same on any device.

    Args:
        batch: faces per batch.
        resolution: side of the pictures in pixels.
        generator: CPU generator; its state is the state of everything drawn here.
        device: where the tensors go.
    """

    def __init__(self, batch: int, resolution: int, generator: torch.Generator, device: torch.device) -> None:
        self.batch, self.resolution = batch, resolution
        self.generator, self.device = generator, device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(B, *shape) uniform in [low, high]."""
        drawn = torch.rand(self.batch, *shape, generator=self.generator)
        return (drawn * (high - low) + low).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) standard normal."""
        return torch.randn(self.batch, *shape, generator=self.generator).to(self.device)

    def chance(self, probability: float) -> Tensor:
        """(B, 1, 1, 1) of 0 and 1."""
        return (self.uniform(0.0, 1.0, 1, 1, 1) < probability).float()

    def one(self, low: float, high: float) -> float:
        """One number for the whole batch."""
        return float(torch.rand((), generator=self.generator)) * (high - low) + low

    def choice(self, count: int) -> Tensor:
        """(B,) whole numbers in [0, count)."""
        return torch.randint(count, (self.batch,), generator=self.generator).to(self.device)

    def smooth(self, cells: int, channels: int) -> Tensor:
        """(B, channels, R, R) smooth noise of about unit spread; ``cells`` waves fit along a side."""
        nodes = self.normal(channels, cells + 1, cells + 1)
        return F.interpolate(nodes, size=self.resolution, mode="bicubic", align_corners=True)

    def faded_circle(self) -> Tensor:
        """(B, 1, R, R) in [0, 1]: full inside a random circle, fading outward; confines a change to part of a face."""
        grid = base_grid(self.resolution, self.device)
        center = self.uniform(-1.0, 1.0, 1, 1, 2)
        distance: Tensor = torch.linalg.vector_norm(grid - center, dim=-1)  # (B, R, R), units of half a side
        start = self.uniform(0.0, 2.8, 1, 1)
        fade = start + self.uniform(0.0, 1.0, 1, 1) * (2.8 - start) + 0.1
        return (1.0 - (distance - start) / fade).clamp(0.0, 1.0)[:, None]


def base_grid(resolution: int, device: torch.device) -> Tensor:
    """(1, R, R, 2) pixel centres (x, y) in normalised coordinates, -1 and 1 at the outer edges of corner pixels."""
    centers = (torch.arange(resolution, device=device, dtype=torch.float32) + 0.5) * (2.0 / resolution) - 1.0
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    return torch.stack([x, y], dim=-1)[None]


def move_grid(grid: Tensor, matrix: Tensor) -> Tensor:
    """Points (B or 1, H, W, 2) through affine transforms (B, 2, 3): (B, H, W, 2)."""
    height, width = grid.shape[1:3]
    flat = grid.reshape(len(grid), -1, 2).expand(len(matrix), -1, -1)
    moved = flat @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]
    return moved.view(len(matrix), height, width, 2)


def similarity(angle: Tensor, scale: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """(B, 2, 3) matrices from (B,) angles in radians, (B,) scales, (B, 2) shifts and (B,) signs of x."""
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)]
    return torch.cat([torch.stack(rows, 1), shift[:, :, None]], dim=2)
