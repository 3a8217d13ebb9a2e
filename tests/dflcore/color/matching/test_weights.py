"""Shares, moments and the fair sample, against what they say in words."""

import numpy as np
import pytest
import torch

from dflcore.color.matching.weights import fair_sample, mask_weight, moments, pixel_shares


def test_moments_are_numpys(picture: torch.Tensor, soft_mask: torch.Tensor) -> None:
    pixels, weights = picture[0].flatten(1).numpy().astype(np.float64), soft_mask.flatten().numpy()
    for shares, aweights in ((None, None), (pixel_shares(soft_mask), weights)):
        mean, covariance = moments(picture.flatten(2), shares)
        np.testing.assert_allclose(mean[0, :, 0], np.average(pixels, axis=1, weights=aweights), atol=1e-5)
        np.testing.assert_allclose(covariance[0], np.cov(pixels, aweights=aweights, ddof=0), atol=1e-6)


def test_an_empty_mask_counts_the_whole_picture() -> None:
    masks = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    shares = pixel_shares(masks)
    assert shares is not None
    torch.testing.assert_close(shares, torch.full((2, 1, 64), 1 / 64))
    assert mask_weight(masks, torch.zeros(2, 3, 64)).tolist() == [0.0, 64.0]
    assert mask_weight(None, torch.zeros(2, 3, 64)).tolist() == [64.0, 64.0]


def test_the_sample_is_as_dense_as_the_shares() -> None:
    pixels = torch.arange(100.0).view(1, 1, 10, 10).expand(-1, 3, -1, -1)
    mask = torch.zeros(1, 1, 10, 10)
    mask[:, :, 2:4], mask[:, :, 6:8] = 1.0, 0.5
    sample = fair_sample(pixels, pixel_shares(mask), 300)[0, 0]
    assert set(sample.long().tolist()) == {*range(20, 40), *range(60, 80)}
    assert (sample < 50).sum() == 200
    assert (fair_sample(pixels, None, 100)[0, 0].sort().values == torch.arange(100.0)).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (45, 100)])
def test_every_beginning_of_the_sample_is_spread_over_the_picture(size: tuple[int, int], masked: bool) -> None:
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    picture = torch.stack([rows / height, columns / width])[None]
    mask = torch.ones(1, 1, height, width) if masked else None
    sample = fair_sample(picture, pixel_shares(mask), 1024)
    for count in (1024, 512, 200, 64):
        quarters = (sample[0, :, :count] * 4).long()
        shares = torch.bincount(quarters[0] * 4 + quarters[1], minlength=16) / count
        assert (shares - 1 / 16).abs().max() < 0.04
