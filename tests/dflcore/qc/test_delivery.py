import json
from pathlib import Path

import numpy as np
import pytest

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
from dflcore.io.plate import Window
from dflcore.qc.delivery import Delivery, read_channels

WINDOW = Window(x=-2, y=3, width=8, height=6)


@pytest.fixture
def write():
    def make(path, layers, **options):
        rng = np.random.default_rng(1)
        made = [
            ExrLayer(
                name=name,
                channels=channels,
                pixels=rng.random((6, 8, len(channels))).astype(np.float32),
                pixel_type=kind,
            )
            for name, channels, kind in layers
        ]
        write_exr(path, layers=made, data_window=WINDOW, display_window=WINDOW, **options)
        return path

    return make


BEAUTY = ("", tuple("RGBA"), "half")
MATTE = ("matte", ("A",), "half")


def test_only_the_channels_asked_for_come_and_come_exactly(tmp_path, write):
    layers = [BEAUTY, ("swap", tuple("RGB"), "half"), MATTE, ("st", ("R", "G"), "float")]
    path = write(tmp_path / "a.1001.exr", layers, compression="piz")
    channels, window, compression = read_channels(path, ("R", "A", "matte.A", "st.G"))
    whole = read_exr_layers(path)
    assert set(channels) == {"R", "A", "matte.A", "st.G"}
    assert all(np.array_equal(channels[name], whole[name]) for name in channels)
    assert (channels["R"].dtype, channels["st.G"].dtype) == (np.float16, np.float32)
    assert (window, compression) == (WINDOW, "piz")
    with pytest.raises(InvalidInput, match=r"raw\.R"):
        read_channels(path, ("R", "raw.R"))


def test_a_manifest_names_its_frames(tmp_path, write):
    for frame in (998, 1001):
        write(tmp_path / f"shot_swap.{frame:04d}.exr", [BEAUTY, MATTE])
        write(tmp_path / f"shot_swap_matte.{frame:04d}.exr", [BEAUTY])
    document = {
        "model": {"name": "m"}, "plate": {"name": "p", "color_space": "ACEScct"}, "output_space": "ACEScg",
        "settings": {"opacity": 1.0},
    }  # fmt: skip
    manifest = tmp_path / "shot_swap.provenance.json"
    manifest.write_text(json.dumps(document))
    for text in (tmp_path, manifest, tmp_path / "shot_swap.####.exr"):
        delivery = Delivery.open(str(text))
        assert str(delivery.pattern) == str(tmp_path / "shot_swap.####.exr")
        assert delivery.frames.frames == (998, 1001)
        assert (delivery.facts.model, delivery.facts.color_space, delivery.profile) == ("m", "ACEScct", "layered")
    (tmp_path / "second.provenance.json").write_text("{}")
    with pytest.raises(InvalidInput, match="second, shot_swap"):
        Delivery.open(str(tmp_path))


def test_the_patch_stands_in_for_the_matte(tmp_path, write):
    for frame in (1001, 1002):
        write(tmp_path / f"a.{frame}.exr", [BEAUTY])
    with pytest.raises(InvalidInput, match=r"a_matte\.1001\.exr nor a_patch\.1001\.exr"):
        Delivery.open(str(tmp_path / "a.####.exr"))
    write(tmp_path / "a_patch.1001.exr", [BEAUTY])
    delivery = Delivery.open(str(tmp_path / "a.####.exr"))
    assert delivery.profile == "flat"
    patch = read_exr_layers(tmp_path / "a_patch.1001.exr")
    assert np.array_equal(delivery.read(1001).matte, patch["A"])
    with pytest.raises(NotFound, match=r"a_matte\.1002\.exr"):
        delivery.read(1002)


def test_what_is_no_result_is_refused(tmp_path, write):
    with pytest.raises(NotFound):
        Delivery.open(str(tmp_path / "none.####.exr"))
    Path(tmp_path / "x.1001.png").write_bytes(b"")
    with pytest.raises(InvalidInput, match="not an EXR"):
        Delivery.open(str(tmp_path / "x.####.png"))
    bad = tmp_path / "y.1001.exr"
    bad.write_bytes(b"no picture")
    with pytest.raises(DataCorrupt):
        Delivery.open(str(tmp_path / "y.####.exr"))
    write(bad, [BEAUTY, MATTE])
    (tmp_path / "y.provenance.json").write_text('{"model": 3}')
    with pytest.raises(DataCorrupt, match="manifest"):
        Delivery.open(str(bad.parent / "y.####.exr"))
