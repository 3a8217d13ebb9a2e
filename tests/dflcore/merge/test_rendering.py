"""Work on a face: the same pixels on any number of cores, of which the network alone gets all."""

import numpy as np
import pytest
import torch

from dflcore.cores import cores
from dflcore.io.exr import read_exr_layers

LOOKS = (
    {},
    {"mode": "seamless", "color_transfer": "sot", "grain": 100.0},
    {"mode": "seamless_histogram", "sharpen": 40.0, "motion_blur": 100.0},
)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.get("mode", "overlay"))
def test_the_number_of_cores_changes_no_bit(make_shot, fake_swapper, look):
    shot = make_shot(frames=(1001, 1002))
    heard = []

    class Listening(fake_swapper):
        def swap(self, target):
            heard.append(torch.get_num_threads())
            return super().swap(target)

    for count in (1, 3):
        with cores(count):
            shot.merge(f"on_{count}/swap.####.exr", swapper=Listening(tint=(1.0, 0.6, 0.6)), **look)
    assert heard == [1, 1, 3, 3]
    one, three = (read_exr_layers(shot.folder / f"on_{count}/swap.1002.exr") for count in (1, 3))
    assert list(one) == list(three)
    assert all(np.array_equal(one[name], three[name]) for name in one)
