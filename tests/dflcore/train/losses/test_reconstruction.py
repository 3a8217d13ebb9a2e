"""Losses against independent formulas."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from dflcore.train.losses.filters import gaussian_taps, valid_filter_matrix
from dflcore.train.losses.reconstruction import Dssim, MaskBlur, ReconstructionLoss


def random_pictures(side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    a = torch.rand(2, 3, side, side, generator=generator)
    return a, (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(0, 1)


def test_dssim_is_the_ssim_of_scikit_image() -> None:
    a, b = random_pictures()
    window = 11  # scikit-image truncates sigma 1.5 at 3.5 sigma: 11 taps
    expected = []
    for x, y in zip(a.flatten(0, 1).double().numpy(), b.flatten(0, 1).double().numpy(), strict=True):
        _, full = structural_similarity(
            x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        expected.append((1 - full[5:-5, 5:-5].mean()) / 2)
    assert float(Dssim(48, window)(a, b)) == pytest.approx(np.mean(expected), abs=1e-5)


def test_dssim_of_equal_pictures_is_zero_and_symmetric() -> None:
    a, b = random_pictures()
    dssim = Dssim(48, 4)
    assert float(dssim(a, a)) == pytest.approx(0.0, abs=1e-6)
    assert float(dssim(a, b)) == pytest.approx(float(dssim(b, a)), rel=1e-5)


@pytest.mark.parametrize("window", [4, 11])
def test_dssim_gradient(window: int) -> None:
    a, b = random_pictures(16)
    a, b = a[:1, :1].double().requires_grad_(), b[:1, :1].double()
    assert torch.autograd.gradcheck(Dssim(16, window).double(), (a, b))


def test_mask_blur_is_a_zero_padded_gaussian_that_keeps_the_inside() -> None:
    resolution = 128
    mask = torch.zeros(1, 1, resolution, resolution)
    mask[:, :, 40:90, 30:100] = 1
    blurred = MaskBlur(resolution)(mask)[0, 0].numpy()
    expected = gaussian_filter(mask[0, 0].double().numpy(), 4.0, mode="constant", radius=8)
    np.testing.assert_allclose(blurred, 2 * np.minimum(expected, 0.5), atol=1e-5)
    assert blurred[50:80, 40:90].min() == pytest.approx(1.0, abs=1e-5)
    assert blurred[65, 28] > 0.3


def test_filter_matrix_rows_are_weights() -> None:
    matrix = valid_filter_matrix(20, gaussian_taps(7, 1.5))
    torch.testing.assert_close(matrix.sum(1), torch.ones(14))
    assert matrix.shape == (14, 20)


def test_masked_loss_ignores_what_is_far_outside_the_mask() -> None:
    a, b = random_pictures(64)
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 20:40, 20:40] = 1
    elsewhere = b.clone()
    elsewhere[:, :, 50:, :] = 0
    masked, whole = ReconstructionLoss(64, masked=True), ReconstructionLoss(64, masked=False)
    assert float(masked(a, mask, b, mask).total) == pytest.approx(
        float(masked(a, mask, elsewhere, mask).total), rel=1e-5
    )
    assert float(whole(a, mask, b, mask).total) != pytest.approx(float(whole(a, mask, elsewhere, mask).total), rel=1e-3)


def test_terms_and_weights() -> None:
    a, b = random_pictures(64)
    mask = torch.ones(2, 1, 64, 64)
    terms = ReconstructionLoss(64, masked=False, edge_weight=2.0)(a, mask * 0.5, b, mask)
    assert float(terms.pixel) == pytest.approx(10 * float((a - b).square().mean()), rel=1e-5)
    assert float(terms.mask) == pytest.approx(2.5, rel=1e-5)
    assert float(terms.structure) == pytest.approx(10 * float(Dssim(64, 5)(a, b)), rel=1e-5)
    assert float(terms.edge) > 0
    assert float(terms.total) == pytest.approx(
        sum(float(term) for term in (terms.structure, terms.pixel, terms.mask, terms.edge)), rel=1e-5
    )


def test_two_windows_from_256() -> None:
    assert len(ReconstructionLoss(255, masked=True).structures) == 1
    assert len(ReconstructionLoss(256, masked=True).structures) == 2


def test_two_windows_when_asked() -> None:
    a, b = random_pictures(128)
    mask = torch.ones(2, 1, 128, 128)
    terms = ReconstructionLoss(128, masked=False, two_windows=True)(a, mask, b, mask)
    assert float(terms.structure) == pytest.approx(5 * float(Dssim(128, 11)(a, b) + Dssim(128, 5)(a, b)), rel=1e-5)


def test_eyes_and_mouth_count_on_the_whole_picture() -> None:
    a, b = random_pictures(64)
    mask, priority = torch.zeros(2, 1, 64, 64), torch.zeros(2, 1, 64, 64)
    priority[:, :, 10:14, 10:20] = 0.5
    loss = ReconstructionLoss(64, masked=True)
    expected = 300 * np.abs((a * priority - b * priority).numpy()).mean()
    terms = loss(a, mask, b, mask, priority)
    assert float(terms.priority) == pytest.approx(expected, rel=1e-5)
    assert float(terms.total) == pytest.approx(float(loss(a, mask, b, mask).total) + expected, rel=1e-5)


def test_background_is_what_the_mask_leaves_out() -> None:
    a, b = random_pictures(64)
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 16:48, 16:48] = 1
    rest = (1 - MaskBlur(64)(mask)).numpy()
    painted, truth = a.numpy() * rest, b.numpy() * rest
    steps = np.mean(np.diff(painted, axis=2) ** 2) + np.mean(np.diff(painted, axis=3) ** 2)
    terms = ReconstructionLoss(64, masked=True, background_weight=0.1)(a, mask, b, mask)
    assert float(terms.background) == pytest.approx(0.1 * np.mean((painted - truth) ** 2) + 0.150528 * steps, rel=1e-5)
    whole = ReconstructionLoss(64, masked=False, background_weight=0.1)(a, mask, b, mask)
    assert float(whole.background) == 0.0


def test_halves_of_a_batch_average_to_the_whole() -> None:
    a, b = random_pictures(64)
    mask, priority = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    loss = ReconstructionLoss(64, masked=True, edge_weight=1.0, two_windows=True, background_weight=0.1)
    whole = loss(a, mask * 0.5, b, mask, priority)
    halves = [loss(*(x[i : i + 1] for x in (a, mask * 0.5, b, mask, priority))) for i in (0, 1)]
    for name in ("structure", "pixel", "mask", "edge", "priority", "background", "total"):
        mean = sum(float(getattr(half, name)) for half in halves) / 2
        assert float(getattr(whole, name)) == pytest.approx(mean, rel=1e-4), name


def test_loss_inside_autocast_is_the_loss_outside() -> None:
    a, b = random_pictures(64)
    mask = torch.rand(2, 1, 64, 64)
    loss = ReconstructionLoss(64, masked=True, edge_weight=1.0, background_weight=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(a, mask, b, mask, mask)
    assert float(inside.total) == float(loss(a, mask, b, mask, mask).total)


def test_gradient_of_the_whole_loss() -> None:
    a, b = (one[:1, :, :24, :24].double().clone() for one in random_pictures())
    mask = torch.rand(1, 1, 24, 24, dtype=torch.float64)
    loss = ReconstructionLoss(24, masked=True, edge_weight=1.0, background_weight=0.1).double()
    assert torch.autograd.gradcheck(
        lambda one: loss(one, mask * 0.5, b, mask, mask).total, a.requires_grad_(), fast_mode=True
    )
