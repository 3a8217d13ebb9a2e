"""Hashes and ids against published values, and mattes picked back as a host picks them."""

import json
import re
import struct

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
from dflcore.io.plate import Window
from dflcore.merge.cryptomatte import CHANNELS, header, murmur3_32, name_bits, name_id, ranked_layers

PLATE = Window(x=-8, y=4, width=60, height=40)


@pytest.mark.parametrize(
    ("data", "seed", "expected"),
    [
        (b"", 0, 0),
        (b"", 1, 0x514E28B7),
        (b"", 0xFFFFFFFF, 0x81F16F39),
        (b"\xff\xff\xff\xff", 0, 0x76293B50),
        (b"\x21\x43\x65\x87", 0, 0xF55B516B),
        (b"\x21\x43\x65\x87", 0x5082EDEE, 0x2362F9DE),
        (b"\x21\x43\x65", 0, 0x7E4A8634),
        (b"\x21\x43", 0, 0xA0F7B07A),
        (b"\x21", 0, 0x72661CF4),
        (b"\0\0\0\0", 0, 0x2362F9DE),
        (b"\0\0\0", 0, 0x85F0B427),
        (b"\0\0", 0, 0x30F4C306),
        (b"\0", 0, 0x514E28B7),
        (b"aaaa", 0x9747B28C, 0x5A97808A),
        (b"aaa", 0x9747B28C, 0x283E0130),
        (b"aa", 0x9747B28C, 0x5D211726),
        (b"a", 0x9747B28C, 0x7FA09EA6),
    ],
)
def test_the_hash_agrees_with_published_values(data, seed, expected):
    """Values of the public-domain reference, as they are listed wherever it was ported."""
    assert murmur3_32(data, seed) == expected


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("bunny", "13851a76"),
        ("default", "42c9679f"),
        ("default_111", "ad58c73a"),
        ("default_222", "24c0148d"),
        ("default_333", "64fdaf51"),
        ("default_444", "8ca57ad9"),
        ("default_555", "56c1f4ca"),
        ("leftAsset", "ce406a47"),
        ("rightAsset", "8f3ccbde"),
        ("Box001", "6d15e631"),
    ],
)
def test_ids_agree_with_the_standards_own_sample_files(name, digits):
    """Manifests of the sample images that come with the standard, of its text, and of a renderer's."""
    assert f"{name_bits(name):08x}" == digits


@pytest.mark.parametrize(("layer", "key"), [("uCryptoAsset", "d593dd7"), ("crypto_object", "f834d0a")])
def test_header_keys_are_made_as_renderers_make_them(layer, key):
    assert f"{name_bits(layer):08x}"[:7] == key


def test_every_id_is_a_plain_number():
    ids = np.array([name_id(f"track_{number}") for number in range(3000)])
    assert ids.dtype == np.float32
    assert np.isfinite(ids).all()
    assert (np.abs(ids) >= np.finfo(np.float32).tiny).all()
    hashes = [murmur3_32(f"track_{number}".encode()) for number in range(3000)]
    kept = [name_bits(f"track_{number}") == value for number, value in enumerate(hashes)]
    extreme = [(value >> 23) & 0xFF in (0, 255) for value in hashes]
    assert [not one for one in extreme] == kept
    assert any(extreme)


def test_the_header_is_what_a_reader_of_the_standard_looks_for():
    attributes = header(["anna", "Zoë", "anna"])
    keys = {name.split("/")[1] for name in attributes}
    assert keys == {f"{name_bits('crypto_face'):08x}"[:7]}
    assert all(name.startswith("cryptomatte/") and len(name) <= 31 for name in attributes)
    values = {name.rpartition("/")[2]: value for name, value in attributes.items()}
    assert (values["name"], values["hash"], values["conversion"]) == (
        "crypto_face",
        "MurmurHash3_32",
        "uint32_to_float32",
    )
    assert json.loads(values["manifest"]) == {"anna": f"{name_bits('anna'):08x}", "Zoë": f"{name_bits('Zoë'):08x}"}


def disc(window, x, y, radius):
    """A soft disc over a window, at a point of the plate."""
    rows, columns = np.mgrid[: window.height, : window.width] + 0.5
    distance = np.hypot(columns + window.x - x, rows + window.y - y)
    return np.clip(radius - distance, 0, 1).astype(np.float32)


def shared_out(count):
    """Coverages of some people, together at most 1, each in a window of their own."""
    left = np.ones((PLATE.height, PLATE.width), np.float32)
    coverages = {}
    for number in range(count):
        whole = disc(PLATE, 8 + 7 * number, 20 + 2 * number, 15) * 0.7 * left
        left -= whole
        window = Window(x=PLATE.x + 3 * number, y=PLATE.y, width=PLATE.width - 3 * number, height=PLATE.height)
        coverages[f"track_{number}"] = (window, whole[:, 3 * number :])
        left[:, : 3 * number] += whole[:, : 3 * number]
    return coverages


def over_plate(window, coverage):
    whole = np.zeros((PLATE.height, PLATE.width), np.float32)
    top, left = window.y - PLATE.y, window.x - PLATE.x
    whole[top : top + window.height, left : left + window.width] = coverage
    return whole


def pick(path, name):
    """A matte out of a file the way a host does it: by header and channel names alone."""
    attributes = {one.name: one.value for one in oiio.ImageInput.open(str(path)).spec().extra_attribs}
    (title,) = (key for key in attributes if re.fullmatch(r"cryptomatte/[0-9a-f]{1,7}/name", key))
    manifest = json.loads(attributes[title.replace("/name", "/manifest")])
    (wanted,) = struct.unpack("<f", struct.pack("<I", int(manifest[name], 16)))
    channels = read_exr_layers(path)
    matte = 0.0
    for layer in sorted({key.split(".")[0] for key in channels if re.fullmatch(attributes[title] + r"\d+\.r", key)}):
        for one, covers in (("r", "g"), ("b", "a")):
            matte = matte + np.where(channels[f"{layer}.{one}"] == wanted, channels[f"{layer}.{covers}"], 0)
    return matte


def write(path, coverages, compression="zip"):
    layers = [ExrLayer(name="", channels=("A",), pixels=np.zeros((40, 60, 1), np.float16))]
    for name, pixels in ranked_layers(coverages, PLATE):
        layers.append(ExrLayer(name=name, channels=CHANNELS, pixels=pixels, pixel_type="float"))
    write_exr(
        path,
        layers=layers,
        data_window=PLATE,
        display_window=PLATE,
        metadata=header([*coverages, "nobody"]),
        compression=compression,
    )


@pytest.mark.parametrize("compression", ["zip", "zips", "piz", "none", "dwaa", "dwab"])
def test_a_host_picks_everyone_bit_for_bit(tmp_path, compression):
    coverages = shared_out(3)
    write(tmp_path / "crypto.exr", coverages, compression)
    for name, (window, coverage) in coverages.items():
        assert coverage.max() > 0.2
        assert (pick(tmp_path / "crypto.exr", name) == over_plate(window, coverage)).all()
    assert not pick(tmp_path / "crypto.exr", "nobody").any()


def test_one_person_and_nobody(tmp_path):
    (name, (window, coverage)), *_ = shared_out(1).items()
    write(tmp_path / "one.exr", {name: (window, coverage)})
    assert (pick(tmp_path / "one.exr", name) == over_plate(window, coverage)).all()
    layers = dict(ranked_layers({}, PLATE))
    assert list(layers) == ["crypto_face00", "crypto_face01"]
    assert not any(pixels.any() for pixels in layers.values())


def test_ranks_fall_and_sum_to_everybodys_coverage():
    coverages = shared_out(4)
    (_, first), (_, second) = ranked_layers(coverages, PLATE)
    ranks = np.stack([first[..., 1], first[..., 3], second[..., 1], second[..., 3]])
    assert (np.diff(ranks, axis=0) <= 0).all()
    assert (ranks[3] > 0).any()
    total = sum(over_plate(window, coverage) for window, coverage in coverages.values())
    np.testing.assert_allclose(ranks.sum(axis=0), total, atol=1e-6)
    ids = np.stack([first[..., 0], first[..., 2], second[..., 0], second[..., 2]])
    assert ((ids == 0) == (ranks == 0)).all()


def test_in_a_crowd_the_least_covering_are_left_out():
    window = Window(x=0, y=4, width=1, height=1)
    crowd = {f"track_{n}": (window, np.full((1, 1), 0.3 - 0.05 * n, np.float32)) for n in range(6)}
    (_, first), (_, second) = ranked_layers(crowd, PLATE)
    found = [*first[0, 8, ::2], *second[0, 8, ::2]]
    assert found == [name_id(f"track_{n}") for n in range(4)]
