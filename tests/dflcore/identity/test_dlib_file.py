"""Weights read from dlib's own file: all of them, and nothing from a file that is damaged or something else."""

import re
import tracemalloc

import numpy as np
import pytest

from dflcore.errors import DataCorrupt, DflError, NotFound
from dflcore.identity.dlib_file import BLOCKS, read_face_network
from dflcore.weights.store import WeightStore

LAYER_NAME = re.compile(
    rb"loss_metric_2|input_rgb_image_sized|con_4|affine_|relu_|max_pool_2|avg_pool_2|add_prev_|fc_2"
)


@pytest.fixture(scope="module")
def path():
    return WeightStore().find("dlib_identity")


@pytest.fixture(scope="module")
def data(path):
    return path.read_bytes()


@pytest.fixture(scope="module")
def structure(data):
    """Offsets of bytes that say what the file holds, as opposed to its weights: those around the layers' names."""
    near = {at for match in LAYER_NAME.finditer(data) for at in range(match.start() - 48, match.end() + 24)}
    near |= set(range(400)) | set(range(len(data) - 80, len(data)))
    return sorted(at for at in near if 0 <= at < len(data))


@pytest.fixture
def read_bytes(tmp_path):
    def read(content):
        path = tmp_path / "weights.dat"
        path.write_bytes(content)
        return read_face_network(path)

    return read


def test_every_weight_is_read(path):
    weights = read_face_network(path)
    assert weights.mean == pytest.approx([122.782, 117.001, 104.298], abs=1e-4)
    assert weights.stem.weight.shape == (32, 3, 7, 7)
    assert [first.weight.shape[0] for first, _ in weights.blocks] == [channels for channels, _ in BLOCKS]
    assert weights.projection.shape == (256, 128)
    layers = [weights.stem, *(layer for block in weights.blocks for layer in block)]
    assert len(layers) == 29
    # The file holds a bias, a gain and an offset per channel, and hardly anything else.
    numbers = sum(layer.weight.size + 3 * layer.bias.size for layer in layers) + weights.projection.size
    assert path.stat().st_size - 4 * numbers == pytest.approx(8000, abs=2000)
    assert all(layer.weight.dtype == layer.bias.dtype == np.float32 for layer in layers)


def test_no_file(tmp_path):
    with pytest.raises(NotFound):
        read_face_network(tmp_path / "absent.dat")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataCorrupt):
        read_face_network(tmp_path)


@pytest.mark.parametrize("name", ["dlib_cnn", "dlib_landmarks_68"])
def test_other_weights_of_dlib_are_told_apart(name):
    other = WeightStore().find(name)
    with pytest.raises(DataCorrupt, match="of dlib's face recognition network") as raised:
        read_face_network(other)
    assert raised.value.reason == "WEIGHTS_DAMAGED"
    assert raised.value.details["path"] == str(other)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\x01", b"\x01\x01", b"GIF89a", b"\x0f" * 100, b"\xff" * 100, b"\x01\x01\x01\x0dloss_metric_2"],
)
def test_something_else(read_bytes, content):
    with pytest.raises(DataCorrupt):
        read_bytes(content)


def test_cut_short(data, structure, tmp_path):
    path = tmp_path / "weights.dat"
    rng = np.random.default_rng(1)
    lengths = {*rng.choice(structure, 60), *rng.integers(0, len(data), 10), len(data) - 1}
    path.write_bytes(data)
    for length in sorted((int(one) for one in lengths), reverse=True):
        with path.open("r+b") as stream:
            stream.truncate(length)
        with pytest.raises(DataCorrupt):
            read_face_network(path)


def test_more_than_there_should_be(data, read_bytes):
    with pytest.raises(DataCorrupt, match="more data"):
        read_bytes(data + b"\0")


def test_flipped_bytes_are_reported_or_harmless(data, structure, tmp_path):
    """Where a flip goes unnoticed it changed a number, and all numbers are still numbers."""
    path = tmp_path / "weights.dat"
    path.write_bytes(data)
    rng = np.random.default_rng(2)
    reported = 0
    for at in [*rng.choice(structure, 90), *rng.integers(0, len(data), 10)]:
        with path.open("r+b") as stream:
            stream.seek(int(at))
            stream.write(bytes([data[at] ^ int(rng.integers(1, 256))]))
            try:
                stream.flush()
                weights = read_face_network(path)
            except DflError:
                reported += 1
            else:
                assert all(np.isfinite(layer.weight).all() for block in weights.blocks for layer in block)
            stream.seek(int(at))
            stream.write(bytes([data[at]]))
    assert reported > 20


def test_weights_that_are_no_numbers(data, read_bytes):
    at = data.index(b"con_4") + 100
    with pytest.raises(DataCorrupt, match="no numbers"):
        read_bytes(data[:at] + np.full(4, np.nan, "<f4").tobytes() + data[at + 16 :])
    with pytest.raises(DataCorrupt, match="no numbers"):  # finite as stored, not once the layers are joined
        read_bytes(data[: at + 1] + b"\xff\xff\x7f\x7f" * 20 + data[at + 81 :])


def test_claims_cost_no_memory(data, read_bytes):
    """A tensor of 2^248 numbers, an empty one with sides as long, and more layers than any network has."""
    at = data.index(b"con_4") + len(b"con_4")
    side = b"\x08" + b"\xff" * 7 + b"\x3f"
    huge, empty = b"\x01\x02" + side * 4, b"\x01\x02\x01\x00" + side * 3
    endless = data[:0x1E] + b"\x01\x02" * 100_000
    tracemalloc.start()
    try:
        for content in (data[:at] + huge + data[at : at + 1000], data[:at] + empty + data[at : at + 1000], endless):
            tracemalloc.reset_peak()
            with pytest.raises(DataCorrupt):
                read_bytes(content)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_file_of_another_size_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "weights.dat"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: takes no disk
    with pytest.raises(DataCorrupt, match="too large"):
        read_face_network(path)
