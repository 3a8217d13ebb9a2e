"""Lab against scikit-image's, and back, on light of any size."""

import numpy as np
import torch
from skimage import color as skcolor

from dflcore.color.lab import LAB_FROM_ROOTS, PIECE, in_pieces, roots_from_srgb, srgb_from_roots


def test_equals_scikit_images() -> None:
    srgb = torch.rand(3, 500, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    lab = (LAB_FROM_ROOTS @ roots_from_srgb(srgb)).numpy()
    expected = skcolor.rgb2lab(srgb.t().numpy()).T
    white = expected - lab
    np.testing.assert_allclose(white[0], white[0, 0], atol=2e-2)  # L but for its constant
    np.testing.assert_allclose(lab[1:], expected[1:], atol=3e-2)


def test_there_and_back_on_all_reals() -> None:
    srgb = torch.linspace(-2.0, 30.0, 2 * 3 * (PIECE + 7)).view(2, 3, -1).double()
    back = in_pieces(srgb_from_roots, in_pieces(roots_from_srgb, srgb))
    torch.testing.assert_close(back, srgb, atol=1e-9, rtol=1e-9)
