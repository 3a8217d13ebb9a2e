"""Pooled palettes are what one would measure on the pictures laid side by side."""

import pytest
import torch
from torch import Tensor

from dflcore.color.matching.methods import MAX_GAIN, METHODS
from dflcore.color.matching.palette import pool

MOMENTS = ["rct", "lct", "mkl"]
SAMPLES = ["hist", "idt", "sot"]


@pytest.fixture(scope="module")
def frames(picture: Tensor) -> list[Tensor]:
    """The same face in changing light."""
    return [(picture * level + tint).double() for level, tint in ((1.0, 0.0), (0.8, 0.1), (0.9, 0.05), (1.2, -0.1))]


@pytest.fixture(scope="module")
def masks(frames: list[Tensor], soft_mask: Tensor) -> list[Tensor]:
    return [soft_mask.roll(6 * number, 3).double() for number in range(len(frames))]


@pytest.mark.parametrize("name", [*MOMENTS, "mix"])
def test_moments_are_those_of_all_frames_side_by_side(name: str, frames: list[Tensor], masks: list[Tensor]) -> None:
    method = METHODS[name]
    weights = [0.2, 1.0, 0.7, 0.0]
    pooled = pool([method.measure(*pair) for pair in zip(frames, masks, strict=True)], weights)
    weighted = [mask * weight for mask, weight in zip(masks, weights, strict=True)]
    together = method.measure(torch.cat(frames, 3), torch.cat(weighted, 3))
    assert together.mean is not None
    assert together.covariance is not None
    torch.testing.assert_close(pooled.mean, together.mean, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(pooled.covariance, together.covariance, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(pooled.weight, together.weight)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_pooled_sample_is_as_large_as_one_and_has_the_quantiles_of_all(
    name: str, frames: list[Tensor], masks: list[Tensor]
) -> None:
    method = METHODS[name]
    palettes = [method.measure(*pair) for pair in zip(frames, masks, strict=True)]
    pooled = pool(palettes, [1.0, 2.0, 3.0, 2.0])
    assert pooled.cloud("srgb").shape == palettes[0].cloud("srgb").shape
    repeated = torch.cat([palettes[frame].cloud("srgb") for frame in (0, 1, 1, 2, 2, 2, 3, 3)], dim=2)
    levels = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    found, wanted = (cloud[0].quantile(levels, dim=1) for cloud in (pooled.cloud("srgb"), repeated))
    assert (found - wanted).abs().max() < 0.01
    assert (found - wanted).abs().mean() < 0.002


@pytest.mark.parametrize("name", sorted(METHODS))
def test_one_alone_and_its_repetition_are_itself(name: str, picture: Tensor, reference: Tensor) -> None:
    method = METHODS[name]
    own, wanted = method.measure(picture), method.measure(reference)
    expected = method.apply(picture, own, wanted)
    for times in (1, 2, 4):
        pooled = pool([wanted] * times, [0.3] * times)
        tolerance = 1e-5 if times == 1 or name in MOMENTS else 0.01
        torch.testing.assert_close(method.apply(picture, own, pooled), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_small_change_of_weights_changes_little(name: str, picture: Tensor, frames: list[Tensor]) -> None:
    method = METHODS[name]
    own, palettes = method.measure(picture), [method.measure(frame.float()) for frame in frames]
    before, after, far = (
        method.apply(picture, own, pool(palettes, weights), max_gain=MAX_GAIN)
        for weights in ([1.0, 1.0, 1.0, 1.0], [1.02, 1.0, 1.0, 0.98], [1.0, 0.0, 0.0, 0.0])
    )
    assert (after - before).abs().mean() < 0.003
    assert (after - before).abs().mean() < 0.1 * (far - before).abs().mean()


def test_frames_whose_masks_are_empty_do_not_count(frames: list[Tensor], masks: list[Tensor]) -> None:
    for name in ("mkl", "sot"):
        method = METHODS[name]
        seen = method.measure(frames[0], masks[0])
        hidden = method.measure(frames[1], torch.zeros_like(masks[1]))
        pooled = pool([seen, hidden], [1.0, 5.0])
        expected = pool([seen], [1.0])
        for part in ("mean", "covariance", "sample", "weight"):
            found, wanted = getattr(pooled, part), getattr(expected, part)
            assert (found is None) == (wanted is None)
            assert found is None or torch.equal(found, wanted)
        assert pool([hidden, hidden], [1.0, 5.0]).weight.item() == 0.0


def test_pictures_of_a_batch_are_pooled_each_with_its_own(
    picture: Tensor, reference: Tensor, soft_mask: Tensor
) -> None:
    reference = torch.nn.functional.interpolate(reference, size=picture.shape[2:], mode="area")
    for name in ("mkl", "mix"):
        method = METHODS[name]
        first = method.measure(torch.cat([picture, reference]), torch.cat([soft_mask, torch.ones_like(soft_mask)]))
        second = method.measure(torch.cat([reference, picture]), torch.cat([soft_mask, torch.zeros_like(soft_mask)]))
        both = pool([first, second], [1.0, 2.0])
        one = pool([method.measure(picture, soft_mask), method.measure(reference, soft_mask)], [1.0, 2.0])
        other = pool([method.measure(reference), method.measure(picture)], [1.0, 0.0])
        for index, alone in enumerate((one, other)):
            torch.testing.assert_close(
                both.moments(both.space)[0][index], alone.moments(both.space)[0][0], atol=1e-6, rtol=0
            )
            if both.sample is not None:
                clouds = [side.sort(dim=1).values for side in (both.cloud("lab")[index], alone.cloud("lab")[0])]
                assert (clouds[0] - clouds[1]).abs().mean() < 1e-3


def test_what_does_not_go_together_is_refused(picture: Tensor) -> None:
    mkl, rct, sot = (METHODS[name].measure(picture) for name in ("mkl", "rct", "sot"))
    for palettes, weights in (([], []), ([mkl], [1.0, 1.0]), ([mkl, rct], [1.0, 1.0]), ([mkl, mkl], [0.0, 0.0])):
        with pytest.raises(ValueError, match=r"pooled|Weights"):
            pool(palettes, weights)
    with pytest.raises(ValueError, match="Weights"):
        pool([mkl, mkl], [1.0, -0.5])
    with pytest.raises(ValueError, match="with moments"):
        METHODS["lct"].apply(picture, sot, sot)
    with pytest.raises(ValueError, match="with a sample"):
        METHODS["idt"].apply(picture, mkl, mkl)
    with pytest.raises(ValueError, match="moments of srgb is wanted, not moments of roots"):
        METHODS["mkl"].apply(picture, mkl, rct)
