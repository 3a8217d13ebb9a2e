"""RCT against scikit-image's Lab."""

import numpy as np
import pytest
import torch
from skimage import color as skcolor
from torch import Tensor

from dflcore.color.matching.reinhard import match_rct


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
    matched = match_rct(picture, reference, mask)
    assert 0 < matched.min() < matched.max() < 1  # scikit-image clips, we do not
    mean, std = lab_statistics(matched, mask)
    wanted_mean, wanted_std = lab_statistics(reference)
    np.testing.assert_allclose(mean, wanted_mean, atol=0.05)
    np.testing.assert_allclose(std, wanted_std, rtol=0.01)


def test_a_grey_picture_takes_the_tint(reference: Tensor) -> None:
    grey = reference.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    mean, _ = lab_statistics(match_rct(grey, reference).clamp(0, 1))
    np.testing.assert_allclose(mean, lab_statistics(reference)[0], atol=0.5)
    assert torch.isfinite(match_rct(reference, grey)).all()
