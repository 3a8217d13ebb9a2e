"""Colour match: what Reinhard's formula says, computed independently in numpy, and how it behaves on hard input."""

import numpy as np
import pytest
import torch
from skimage import color as skcolor

from dflcore.color.match import MAX_GAIN, STD_EPSILON, match_reinhard

SIZE = 48


def _pictures(seed=0):
    rng = np.random.default_rng(seed)
    face = rng.uniform(0.2, 0.6, (SIZE, SIZE, 3)) * [1.0, 0.8, 0.7]
    reference = rng.uniform(0.3, 0.8, (SIZE, SIZE, 3)) * [0.7, 0.9, 1.0]
    mask = np.zeros((SIZE, SIZE))
    mask[10:40, 8:36] = rng.uniform(0.2, 1.0, (30, 28))
    return face, reference, mask


def _tensors(*arrays):
    return tuple(
        torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1) if a.ndim == 3 else a)).float() for a in arrays
    )


def _match_in_numpy(face, reference, mask):
    """Reinhard in CIE Lab with scikit-image's own conversions, float64."""
    x, y = skcolor.rgb2lab(face), skcolor.rgb2lab(reference)
    weights = (mask / mask.sum())[..., None]
    mean_x, mean_y = (x * weights).sum((0, 1)), (y * weights).sum((0, 1))
    std_x = np.sqrt(((x - mean_x) ** 2 * weights).sum((0, 1)))
    std_y = np.sqrt(((y - mean_y) ** 2 * weights).sum((0, 1)))
    gain = np.clip((std_y + STD_EPSILON) / (std_x + STD_EPSILON), 1 / MAX_GAIN, MAX_GAIN)
    return skcolor.lab2rgb((x - mean_x) * gain + mean_y)


def test_equals_the_formula_computed_independently():
    face, reference, mask = _pictures()
    result = match_reinhard(*_tensors(face, reference, mask)).numpy().transpose(1, 2, 0)
    expected = _match_in_numpy(face, reference, mask)
    inside = (expected > 0) & (expected < 1)  # scikit-image clips, we do not
    assert inside.mean() > 0.9
    assert np.abs(result - expected)[inside].max() < 2e-3  # scikit-image's matrix has fewer digits


def test_statistics_are_taken_inside_the_mask_only():
    face, reference, mask = _pictures()
    before = match_reinhard(*_tensors(face, reference, mask))
    face[mask == 0] = 0.9
    reference[mask == 0] = [1.0, 0.0, 0.0]
    after = match_reinhard(*_tensors(face, reference, mask))
    inside = torch.from_numpy(mask > 0)
    torch.testing.assert_close(after[:, inside], before[:, inside])


def test_a_face_matched_to_itself_does_not_change():
    face, _, mask = _tensors(*_pictures())
    torch.testing.assert_close(match_reinhard(face, face, mask), face, atol=2e-5, rtol=0)


def test_light_above_one_and_below_zero_stays_ordered_and_unclipped():
    ramp = torch.linspace(-0.2, 3.0, SIZE * SIZE).reshape(1, SIZE, SIZE).repeat(3, 1, 1)
    mask = torch.ones(SIZE, SIZE)
    result = match_reinhard(ramp, ramp * 0.9 + 0.01, mask)
    assert result.max() > 2.0
    assert result.min() < 0.0
    assert (result.flatten(1).diff(dim=1) > 0).all()


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_a_flat_face_takes_the_colour_without_growing_noise(level):
    _, reference, mask = _tensors(*_pictures())
    face = torch.full((3, SIZE, SIZE), level)
    result = match_reinhard(face, reference, mask)
    assert result.isfinite().all()
    assert result.std(dim=(1, 2)).max() < 1e-4
    wanted = (reference * mask).sum(dim=(1, 2)) / mask.sum()
    torch.testing.assert_close(result[:, 0, 0], wanted, atol=0.05, rtol=0)


def test_an_empty_mask_returns_the_face():
    face, reference, _ = _tensors(*_pictures())
    assert match_reinhard(face, reference, torch.zeros(SIZE, SIZE)) is face


def test_inputs_are_left_alone():
    face, reference, mask = _tensors(*_pictures())
    copies = face.clone(), reference.clone(), mask.clone()
    match_reinhard(face, reference, mask)
    for tensor, copy in zip((face, reference, mask), copies, strict=True):
        assert torch.equal(tensor, copy)
