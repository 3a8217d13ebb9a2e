"""Our network against dlib's own, as an independent implementation."""

import dlib
import numpy as np
import pytest
import torch

from dflcore.identity.dlib_file import read_face_network
from dflcore.identity.dlib_network import DlibFaceNetwork
from dflcore.weights.store import WeightStore

TOLERANCE = 1e-5
"""Numbers of a descriptor are about 0.1; rounding in float32 accounts for this much."""


@pytest.fixture(scope="module")
def path():
    return WeightStore().find("dlib_identity")


@pytest.fixture(scope="module")
def network(path):
    return DlibFaceNetwork(read_face_network(path))


@pytest.fixture(scope="module")
def theirs(path):
    return dlib.face_recognition_model_v1(str(path))


@pytest.fixture(scope="module")
def chips():
    """Noise, smooth noise, black, white and a ramp: (5, 150, 150, 3) uint8."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (150, 150, 3), dtype=np.uint8)
    smooth = np.kron(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8), np.ones((15, 15, 1), np.uint8))
    ramp = np.broadcast_to(np.linspace(0, 255, 150).astype(np.uint8)[:, None, None], (150, 150, 3))
    return np.stack([noise, smooth, np.zeros_like(noise), np.full_like(noise, 255), ramp])


def run(network, chips):
    with torch.inference_mode():
        return network(torch.from_numpy(chips.copy()).permute(0, 3, 1, 2).float()).numpy()


def test_any_picture_is_described_as_dlib_does(network, theirs, chips):
    for chip in chips:
        expected = np.array(theirs.compute_face_descriptor(chip))
        assert run(network, chip[None])[0] == pytest.approx(expected, abs=TOLERANCE)


def test_a_face_does_not_depend_on_its_neighbours(network, chips):
    together = run(network, chips)
    assert np.array_equal(together, run(network, chips))
    for index, chip in enumerate(chips):
        assert run(network, chip[None])[0] == pytest.approx(together[index], abs=TOLERANCE)
    assert run(network, chips[::-1]) == pytest.approx(together[::-1], abs=TOLERANCE)


def test_nothing_to_train(network):
    assert not list(network.parameters())
    assert len(network.state_dict()) == 2 * 29 + 2
