"""What training invents before, behind and around labelled faces: masks follow the picture, seeds mean the same."""

from __future__ import annotations

import math

import pytest
import torch

from dflcore.train.segment_augment import (
    MaskAugment,
    _cosine_basis,
    _draw_kernels,
    _turn_hue,
    augment,
    compress,
    move,
    paste_background,
    recolor,
    resize_and_back,
)
from dflcore.train.segment_draws import Draws, base_grid, move_grid, similarity
from dflcore.train.segment_occluders import CAPSULES, _capsule_distance, draw_occluder
from dflcore.train.segment_preview import compose_mask_preview

SIDE = 32


def make_draws(seed: int = 0, batch: int = 4, side: int = SIDE) -> Draws:
    return Draws(batch, side, torch.Generator().manual_seed(seed), torch.device("cpu"))


def samples(batch: int = 4, side: int = SIDE) -> torch.Tensor:
    """Disks that are bright exactly where their mask is."""
    grid = base_grid(side, torch.device("cpu"))
    mask = (grid.norm(dim=-1) < 0.6).float()[:, None].expand(batch, -1, -1, -1)
    return torch.cat([0.1 + 0.8 * mask.expand(-1, 3, -1, -1), mask], dim=1)


def test_results_are_pictures_and_masks_whatever_is_drawn() -> None:
    generator = torch.Generator().manual_seed(5)
    everything = MaskAugment(background=1.0, occluder=1.0, full_hue=1.0)
    for _ in range(20):
        faces, masks = augment(samples(), samples(), everything, generator)
        assert faces.shape == (4, 3, SIDE, SIDE)
        assert masks.shape == (4, 1, SIDE, SIDE)
        for tensor in (faces, masks):
            assert bool(tensor.isfinite().all())
            assert 0.0 <= float(tensor.min()) <= float(tensor.max()) <= 1.0


def test_the_same_seed_draws_the_same() -> None:
    one = augment(samples(), samples(), MaskAugment(), torch.Generator().manual_seed(9))
    other = augment(samples(), samples(), MaskAugment(), torch.Generator().manual_seed(9))
    assert all(bool((a == b).all()) for a, b in zip(one, other, strict=True))


def test_a_move_moves_mask_and_picture_alike() -> None:
    ranges = MaskAugment(rotation_deg=20.0, scale=0.2, shift=0.1, warp=0.2)
    for seed in range(5):
        faces, masks = move(make_draws(seed), samples()[:, :3], samples()[:, 3:], ranges)
        assert float(((faces[:, :1] - 0.1) / 0.8 - masks).abs().mean()) < 0.02
        assert float((masks - samples()[:, 3:]).abs().mean()) > 0.005


def test_outside_the_picture_there_is_no_face() -> None:
    """A face that fills the square is not continued where the square was moved away."""
    full = torch.ones(4, 1, SIDE, SIDE)
    ranges = MaskAugment(rotation_deg=0.0, scale=0.0, shift=0.4, warp=0.0, flip=False)
    _, masks = move(make_draws(1), full.expand(-1, 3, -1, -1), full, ranges)
    assert float(masks.min()) == 0.0


def test_unspoiled_samples_are_only_moved() -> None:
    faces, masks = augment(samples(), samples(), MaskAugment(), torch.Generator().manual_seed(3), spoil=False)
    assert float(((faces[:, :1] - 0.1) / 0.8 - masks).abs().mean()) < 0.02


def test_what_stands_before_the_face_is_cut_from_the_mask() -> None:
    faces, masks = samples()[:, :3], samples()[:, 3:]
    for seed in range(10):
        occluder = draw_occluder(make_draws(seed), faces, masks, torch.rand(4, 3, SIDE, SIDE))
        everyone, no_one = torch.ones(4, 1, 1, 1), torch.zeros(4, 1, 1, 1)
        covered, left = occluder.cover(faces, masks, everyone)
        torch.testing.assert_close(left, masks * (1 - occluder.alpha))
        torch.testing.assert_close(covered * occluder.alpha.ge(1.0), occluder.color * occluder.alpha.ge(1.0))
        same_faces, same_masks = occluder.cover(faces, masks, no_one)
        torch.testing.assert_close(same_faces, faces)
        torch.testing.assert_close(same_masks, masks)


def test_things_differ_and_cover_neither_nothing_nor_everything() -> None:
    occluder = draw_occluder(make_draws(0, batch=200), *(samples(200)[:, :3], samples(200)[:, 3:], samples(200)[:, :3]))
    shares = occluder.alpha.mean(dim=(1, 2, 3))
    assert 0.05 < float(shares.mean()) < 0.5
    assert float(shares.std()) > 0.05
    assert float((shares > 0.95).float().mean()) < 0.05


def test_capsule_distance_is_exact() -> None:
    start, end = torch.tensor([[[-0.5, 0.0]]]), torch.tensor([[[0.5, 0.0]]])
    radius = torch.full((1, 1, 2), 0.1)
    points = torch.tensor([[[[0.0, 0.3], [0.9, 0.3], [0.0, 0.0], [-0.6, 0.0]]]])
    distance = _capsule_distance(points, start, end, radius)[0, 0, 0]
    torch.testing.assert_close(distance, torch.tensor([0.2, 0.4, -0.1, 0.0]), atol=1e-6, rtol=0)
    assert CAPSULES >= 7  # a palm, five fingers, a forearm


def test_a_background_leaves_the_face_alone() -> None:
    faces, masks = samples()[:, :3], samples()[:, 3:]
    others = torch.cat([torch.rand(4, 3, SIDE, SIDE), torch.zeros(4, 1, SIDE, SIDE)], dim=1)
    pasted = paste_background(make_draws(2), faces, masks, others, 1.0)
    torch.testing.assert_close(pasted * masks, faces * masks)
    assert float((pasted - faces).abs().mean()) > 0.01


def test_hue_keeps_grey_grey() -> None:
    grey = torch.rand(4, 1, SIDE, SIDE).expand(-1, 3, -1, -1)
    turned = _turn_hue(make_draws(4), grey, 1.0)
    torch.testing.assert_close(turned, turned[:, :1].expand_as(turned), atol=1e-5, rtol=0)


def test_filters_keep_flat_pictures() -> None:
    kernels = _draw_kernels(make_draws(0, batch=64))
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(64), atol=1e-5, rtol=0)


def test_cosine_transform_is_orthonormal() -> None:
    basis = _cosine_basis(torch.device("cpu"))
    torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-6, rtol=0)


@pytest.mark.parametrize("spoil", [compress, resize_and_back])
def test_loss_of_detail_leaves_flat_pictures_nearly_alone(spoil: object) -> None:
    flat = torch.full((64, 3, SIDE, SIDE), 0.4)
    assert float((spoil(make_draws(1, batch=64), flat) - flat).abs().max()) < 0.06  # type: ignore[operator]


def test_recoloring_is_confined_to_its_circle() -> None:
    faces = samples()[:, :3]
    assert float((recolor(make_draws(7), faces, 1.0) - faces).abs().max()) > 0.05
    circle = make_draws(0, batch=50).faded_circle()
    assert 0.0 == float(circle.min()) < float(circle.max()) == 1.0


def test_similarity_moves_points() -> None:
    matrix = similarity(
        torch.tensor([math.pi / 2]), torch.tensor([2.0]), torch.tensor([[0.5, 0.0]]), torch.tensor([1.0])
    )
    moved = move_grid(torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]]), matrix)
    torch.testing.assert_close(moved, torch.tensor([[[[0.5, 2.0], [-1.5, 0.0]]]]), atol=1e-6, rtol=0)


def test_preview_shows_face_mask_and_overlay() -> None:
    faces, masks = samples(2)[:, :3], samples(2)[:, 3:]
    picture = compose_mask_preview(faces, masks)
    assert picture.shape == (2 * SIDE, 3 * SIDE, 3)
    middle, corner = SIDE // 2, 0
    assert picture[middle, SIDE + middle].tolist() == [255, 255, 255]
    assert picture[corner, SIDE + corner].tolist() == [0, 0, 0]
    assert picture[middle, 2 * SIDE + middle].tolist() == picture[middle, middle].tolist()
    assert picture[corner, 2 * SIDE + corner, 1] > picture[corner, corner, 1]
