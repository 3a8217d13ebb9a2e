"""Augmentation: identity does nothing, image and mask move together, numbers stay in their ranges."""

import pytest
import torch

from dflcore.train.augment import AugmentRanges, FaceTransform, draw_transform, identity_transform, required_margin

RANGES = AugmentRanges(rotation_deg=4, scale=0.03, shift=0.02, warp=0.24, light=0.1)
NOTHING = AugmentRanges(rotation_deg=0, scale=0, shift=0, warp=0, light=0)


def stored_faces(side: int = 40) -> torch.Tensor:
    return torch.rand(3, 4, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "transform", [identity_transform(3, 1.25), draw_transform(3, NOTHING, 1.25, torch.Generator())]
)
def test_no_change_is_the_central_crop(transform: FaceTransform) -> None:
    stored = stored_faces()
    expected = stored[:, :, 4:36, 4:36]
    torch.testing.assert_close(transform.apply(stored, 32), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(transform.apply_as_input(stored[:, :3], 32), expected[:, :3], atol=2e-5, rtol=0)


def test_image_and_masks_get_the_same_transform() -> None:
    """On a straight ramp the cubic of the picture and the straight line of the masks agree but for the cubic's bend."""
    ramp = torch.linspace(0, 1, 40)
    stored = (ramp[:, None] * 0.5 + ramp[None, :] * 0.5).expand(3, 5, 40, 40)
    transform = draw_transform(3, RANGES, 1.25, torch.Generator().manual_seed(2))
    pictures, masks = transform.apply_with_masks(stored[:, :3], stored[:, 3:], 32)
    torch.testing.assert_close(pictures, transform.apply(stored[:, :3], 32), atol=0, rtol=0)
    torch.testing.assert_close(masks, pictures[:, :2], atol=2e-3, rtol=0)


def test_warp_keeps_the_border_and_moves_the_inside() -> None:
    ramp = torch.linspace(0, 1, 40)[None, None, None, :].expand(1, 3, 40, 40)
    still = AugmentRanges(rotation_deg=0, scale=0, shift=0, warp=0.24, light=0)
    transform = draw_transform(1, still, 1.0, torch.Generator().manual_seed(4))
    warped, plain = transform.apply_as_input(ramp, 40), transform.apply(ramp, 40)
    assert (warped - plain).abs().max() > 0.02
    assert (warped - plain)[..., 0].abs().max() < 0.02
    torch.testing.assert_close(plain, ramp, atol=2e-5, rtol=0)


def test_light_touches_what_the_encoder_sees_only() -> None:
    stored = torch.full((3, 3, 40, 40), 0.5)
    lit = AugmentRanges(rotation_deg=0, scale=0, shift=0, warp=0, light=0.2)
    transform = draw_transform(3, lit, 1.25, torch.Generator().manual_seed(5))
    assert (transform.apply_as_input(stored, 32) - 0.5).abs().max() > 0.01
    torch.testing.assert_close(transform.apply(stored, 32), stored[..., :32, :32])


def test_flip_mirrors_some_faces() -> None:
    flipping = AugmentRanges(rotation_deg=0, scale=0, shift=0, warp=0, light=0, flip=True)
    transform = draw_transform(200, flipping, 1.0, torch.Generator().manual_seed(6))
    ramp = torch.linspace(0, 1, 8)[None, None, None, :].expand(200, 1, 8, 8)
    flipped = transform.apply(ramp, 8)[:, 0, 0, 0] > 0.5
    assert 0.3 < flipped.float().mean() < 0.5
    torch.testing.assert_close(transform.apply(ramp, 8)[flipped], ramp[flipped].flip(-1), atol=1e-5, rtol=0)


def test_same_seed_same_transform() -> None:
    one, two = (draw_transform(4, RANGES, 1.1, torch.Generator().manual_seed(9)) for _ in range(2))
    torch.testing.assert_close(one.stored_from_output, two.stored_from_output)
    torch.testing.assert_close(one.gain, two.gain)
    assert one.warp_nodes is not None
    assert two.warp_nodes is not None
    torch.testing.assert_close(one.warp_nodes, two.warp_nodes)


def test_margin_covers_shift_and_scale() -> None:
    margin = required_margin(RANGES)
    still = AugmentRanges(rotation_deg=0, scale=0.03, shift=0.02, warp=0, light=0)
    matrices = draw_transform(500, still, margin, torch.Generator().manual_seed(7)).stored_from_output
    corner = matrices[:, :, :2].abs().sum(2) + matrices[:, :, 2].abs()
    assert corner.max() <= 1.001
    assert margin < 1.1
