"""Distances of colours, beside another implementation."""

import numpy as np
import pytest
from skimage.color import deltaE_cie76, rgb2lab

from dflcore.qc.color_distance import color_distance


@pytest.mark.parametrize("seed", range(8))
def test_it_is_cielabs(seed):
    a, b = np.random.default_rng(seed).uniform(0.0, 1.0, (2, 3)).astype(np.float32)
    assert color_distance(a, b) == pytest.approx(float(deltaE_cie76(rgb2lab(a), rgb2lab(b))), rel=1e-3, abs=0.01)


def test_black_to_white_is_a_hundred_and_small_steps_are_resolved():
    black, white = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert color_distance(black, white) == pytest.approx(100.0, abs=0.01)
    assert color_distance(white, white) == 0.0
    skin = np.array([0.62, 0.45, 0.38], np.float32)
    steps = [color_distance(skin, skin + np.float32(step)) for step in (1e-4, 2e-4, 4e-4)]
    assert steps[1] == pytest.approx(2 * steps[0], rel=0.02)
    assert steps[2] == pytest.approx(4 * steps[0], rel=0.02)
