"""The device's sRGB curve is OCIO's."""

import numpy as np
import pytest
import torch

from dflcore.color.ocio import ColorConverter
from dflcore.color.transfer import linear_from_srgb, srgb_from_linear

VALUES = np.concatenate(
    [np.linspace(-4, 0.02, 500), np.linspace(0, 0.01, 2001), np.geomspace(1e-6, 1000, 3000)]
).astype(np.float32)


def _through_ocio(values, source, target):
    return ColorConverter().convert(np.repeat(values[:, None, None], 3, axis=2), source, target)[:, 0, 0]


def test_encoding_agrees_with_ocio():
    ours = srgb_from_linear(torch.from_numpy(VALUES)).numpy()
    np.testing.assert_allclose(ours, _through_ocio(VALUES, "lin_rec709", "srgb_tx"), rtol=2e-6, atol=1e-6)


def test_decoding_agrees_with_ocio():
    encoded = np.linspace(-3, 12, 5001).astype(np.float32)
    ours = linear_from_srgb(torch.from_numpy(encoded)).numpy()
    np.testing.assert_allclose(ours, _through_ocio(encoded, "srgb_tx", "lin_rec709"), rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_there_and_back(dtype, tolerance):
    values = torch.from_numpy(VALUES).to(dtype)
    torch.testing.assert_close(linear_from_srgb(srgb_from_linear(values)), values, rtol=tolerance, atol=1e-7)


def test_fixed_points_and_gradient():
    torch.testing.assert_close(srgb_from_linear(torch.tensor([0.0, 1.0])), torch.tensor([0.0, 1.0]))
    values = torch.tensor([-1.0, 0.0, 0.003, 0.5, 40.0], requires_grad=True)
    srgb_from_linear(values).sum().backward()
    assert values.grad is not None
    assert bool(torch.isfinite(values.grad).all())
    assert bool((values.grad > 0).all())
