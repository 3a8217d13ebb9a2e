"""Laws of the blurred surroundings."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from dflcore.train.losses.targets import BlurOut


def scene(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    face = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(8))
    mask = torch.zeros(2, 1, side, side)
    mask[:, :, side // 4 : side // 2, side // 3 : side // 2] = 1
    return face, mask


def test_inside_the_mask_nothing_changes() -> None:
    face, mask = scene(64)
    blurred = BlurOut(64)(face, mask)
    inside = mask.expand_as(face) == 1
    assert torch.equal(blurred[inside], face[inside])
    assert float((blurred - face).abs()[~inside].mean()) > 0.05


def test_flat_surroundings_stay_to_the_very_border() -> None:
    face, mask = scene(96)
    face = torch.where(mask == 1, face, 0.25)
    torch.testing.assert_close(BlurOut(96)(face, mask), face, rtol=1e-5, atol=1e-6)


def test_the_faces_colour_does_not_leak() -> None:
    face, mask = scene(256)
    glaring = torch.where(mask == 1, 1e3, face)
    plain, beside = BlurOut(256)(face, mask), BlurOut(256)(glaring, mask)
    outside = mask.expand_as(face) == 0
    assert torch.equal(beside[outside], plain[outside])
    assert float(beside[outside].max()) <= 1.0


def test_far_from_the_mask_it_is_a_gaussian() -> None:
    face, mask = scene(256)
    blurred = BlurOut(256)(face, mask)[0, 0, 160:240, 160:240].numpy()
    expected = gaussian_filter(face[0, 0].double().numpy(), 2.0, radius=4)[160:240, 160:240]
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_all_mask_and_no_mask() -> None:
    face, mask = scene(64)
    assert torch.equal(BlurOut(64)(face, torch.ones_like(mask)), face)
    assert bool(BlurOut(64)(face, torch.zeros_like(mask)).isfinite().all())
