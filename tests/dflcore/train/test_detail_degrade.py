"""Invented softness: what it does to faces, and what it never does."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from dflcore.train.detail_degrade import Softness, add_traces, blur, compress, soften
from dflcore.train.segment_draws import Draws

SIZE = 64
SOFT = Softness(blur_px=2.5, noise=0.02, compression=0.5)


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(count, SIZE, torch.Generator().manual_seed(seed), torch.device("cpu"))


def noise(count: int) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(9))


def sigma(value: float, count: int = 1) -> torch.Tensor:
    return torch.full((count, 1, 1, 1), value)


def test_blur_is_a_gaussian_and_keeps_flat_and_border() -> None:
    point = torch.zeros(1, 1, SIZE, SIZE)
    point[..., 32, 32] = 1.0
    blurred = blur(point, sigma(1.5), sigma(3.0))
    place = torch.arange(SIZE, dtype=torch.float32) - 32
    kernel = torch.exp(-place.square() / (2 * 1.5**2)) / (1.5 * (2 * torch.pi) ** 0.5)
    torch.testing.assert_close(blurred[0, 0].sum(dim=0), kernel, atol=1e-4, rtol=0)
    flat = torch.full((1, 3, SIZE, SIZE), 0.3)
    torch.testing.assert_close(blur(flat, sigma(4.0), sigma(4.0)), flat)
    torch.testing.assert_close(blur(noise(1), sigma(0.0), sigma(0.0)), noise(1))


def test_every_face_has_its_own_softness_and_stays_in_range() -> None:
    faces = noise(1).expand(24, -1, -1, -1)
    soft = soften(faces, SOFT, draws(24))
    assert soft.shape == faces.shape
    assert soft.min() >= 0.0
    assert soft.max() <= 1.0
    spread = soft.flatten(1).std(dim=1)
    assert spread.max() > 1.5 * spread.min()
    assert spread.median() < 0.7 * faces[0].std()


def test_no_strength_leaves_faces_nearly_as_they_are() -> None:
    none = Softness(blur_px=0.0, noise=0.0, compression=0.0)
    smooth = F.interpolate(noise(4)[..., :8, :8], size=SIZE, mode="bicubic", align_corners=True).clamp(0, 1)
    torch.testing.assert_close(soften(smooth, none, draws(4)), smooth, atol=0.05, rtol=0)
    torch.testing.assert_close(add_traces(smooth, none, draws(4)), smooth, atol=1e-6, rtol=0)


def test_compression_rounds_waves_and_finer_ones_more() -> None:
    faces = noise(2)
    torch.testing.assert_close(compress(faces, sigma(1e-6, 2)), faces, atol=1e-5, rtol=0)
    coarse, fine = compress(faces, sigma(0.3, 2)), compress(faces, sigma(0.05, 2))
    assert (coarse - faces).abs().mean() > 2 * (fine - faces).abs().mean() > 0.0
    flat = torch.full((1, 3, SIZE, SIZE), 0.3)
    levels = compress(flat, sigma(0.1))
    assert levels.std() < 1e-5
    torch.testing.assert_close(compress(coarse, sigma(0.3, 2)), coarse, atol=1e-4, rtol=0)  # rounded once is rounded


def test_equal_seeds_make_equal_softness() -> None:
    torch.testing.assert_close(soften(noise(3), SOFT, draws(3, 5)), soften(noise(3), SOFT, draws(3, 5)), rtol=0, atol=0)
    assert (soften(noise(3), SOFT, draws(3, 5)) - soften(noise(3), SOFT, draws(3, 6))).abs().max() > 0.01
