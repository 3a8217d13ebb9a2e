"""RCT against Reinhard's formula in scikit-image's Lab."""

import warnings

import numpy as np
import pytest
import torch
from skimage import color as skcolor
from torch import Tensor

from dflcore.color.matching.methods import MAX_GAIN, match
from dflcore.color.matching.reinhard import STD_EPSILON


def lab_statistics(picture: Tensor, mask: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    lab = skcolor.rgb2lab(picture[0].permute(1, 2, 0).double().numpy()).reshape(-1, 3)
    weights = None if mask is None else mask.flatten().numpy()
    mean = np.average(lab, axis=0, weights=weights)
    return mean, np.sqrt(np.average((lab - mean) ** 2, axis=0, weights=weights))


@pytest.mark.parametrize("masked", [False, True])
def test_mean_and_spread_in_lab_are_the_references(
    masked: bool, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    mask = soft_mask if masked else None
    picture, reference = 0.3 + 0.3 * picture, 0.4 + 0.2 * reference
    matched = match("rct", picture, reference, mask)
    assert 0 < matched.min() < matched.max() < 1  # scikit-image clips, we do not
    mean, std = lab_statistics(matched, mask)
    wanted_mean, wanted_std = lab_statistics(reference)
    np.testing.assert_allclose(mean, wanted_mean, atol=0.05)
    np.testing.assert_allclose(std, wanted_std, rtol=0.01)


@pytest.mark.parametrize("max_gain", [np.inf, MAX_GAIN, 1.2])
def test_equals_the_formula_computed_independently(
    max_gain: float, picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    reference = torch.nn.functional.interpolate(reference, size=picture.shape[2:], mode="area")
    mean, std = lab_statistics(picture, soft_mask)
    wanted_mean, wanted_std = lab_statistics(reference, soft_mask)
    gain = np.minimum((wanted_std + STD_EPSILON) / (std + STD_EPSILON), max_gain)
    lab = skcolor.rgb2lab(picture[0].permute(1, 2, 0).double().numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what it clips
        expected = skcolor.lab2rgb((lab - mean) * gain + wanted_mean)
    matched = match("rct", picture, reference, soft_mask, soft_mask, max_gain=max_gain)[0].permute(1, 2, 0).numpy()
    inside = ((expected > 0) & (expected < 1)).all(axis=2)  # scikit-image clips, we do not
    assert inside.mean() > 0.5
    assert np.abs(matched - expected)[inside].max() < 3e-3  # scikit-image's matrix has fewer digits


def test_a_grey_picture_takes_the_tint(reference: Tensor) -> None:
    grey = reference.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    mean, _ = lab_statistics(match("rct", grey, reference).clamp(0, 1))
    np.testing.assert_allclose(mean, lab_statistics(reference)[0], atol=0.5)


def test_a_black_and_white_plate_makes_the_face_grey(picture: Tensor, reference: Tensor) -> None:
    grey = reference.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    matched = match("rct", picture, grey, max_gain=MAX_GAIN)
    assert (matched - matched.mean(1, keepdim=True)).abs().max() < 5e-3
