import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
from dflcore.io.plate import Window
from dflcore.merge.output import _with_version
from dflcore.qc.delivery import Delivery, newest_version, read_channels

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
    (tmp_path / "movie.mp4").write_bytes(b"")
    for text in ("movie.mp4", "none.mov", "x.1001.png"):
        with pytest.raises(InvalidInput, match="not an EXR"):
            Delivery.open(str(tmp_path / text))
    bad = tmp_path / "y.1001.exr"
    bad.write_bytes(b"no picture")
    with pytest.raises(DataCorrupt):
        Delivery.open(str(tmp_path / "y.####.exr"))
    write(bad, [BEAUTY, MATTE])
    (tmp_path / "y.provenance.json").write_text('{"model": 3}')
    with pytest.raises(DataCorrupt, match="manifest"):
        Delivery.open(str(bad.parent / "y.####.exr"))


def versions(tmp_path, write, *names):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [BEAUTY, MATTE])


@pytest.mark.parametrize(
    ("pattern", "files", "newest"),
    [
        ("{version}/a.####.exr", ("v001/a.1001.exr", "v002/a.1001.exr", "v010/a.1001.exr"), "v010"),
        ("{version}/a.####.exr", ("v2/a.1001.exr", "v10/a.1001.exr", "v9x/a.1001.exr", "wv11/a.1001.exr"), "v10"),
        ("cut_{version}_b/a.####.exr", ("cut_v001_b/a.1001.exr", "cut_v002_c/a.1001.exr"), "v001"),
        ("{version}/a_{version}.####.exr", ("v001/a_v001.1001.exr", "v002/a_v002.1001.exr"), "v002"),
        ("{version}_{version}/a.####.exr", ("v001_v001/a.1001.exr", "v002_v003/a.1001.exr"), "v001"),
        ("a_{version}.####.exr", ("a_v001.1001.exr", "a_v004.1001.exr", "a_v004.1002.exr", "b_v007.1001.exr"), "v004"),
        ("{version}", ("v001/a.1001.exr", "v002/a.1001.exr"), "v002"),
    ],
)
def test_a_version_is_the_newest_there_is(tmp_path, write, pattern, files, newest):
    versions(tmp_path, write, *files)
    text, version = newest_version(str(tmp_path / pattern))
    assert (version, text) == (newest, str(tmp_path / pattern.replace("{version}", newest)))
    if "####" in pattern:
        delivery = Delivery.open(str(tmp_path / pattern))
        assert (str(delivery.pattern), delivery.version) == (text, newest)


def test_a_merge_and_its_review_mean_the_same_folder(tmp_path, write):
    """What the merge names its next version is what a review finds."""
    text = str(tmp_path / "out" / "{version}" / "a.####.exr")
    for number in (9, 10):
        path = Path(_with_version(text, number).replace("####", "1001"))
        path.parent.mkdir(parents=True)
        write(path, [BEAUTY, MATTE])
    assert Delivery.open(text).version == "v010"


def test_versions_that_are_not_there_are_named(tmp_path, write):
    text = str(tmp_path / "out" / "{version}" / "a.####.exr")
    with pytest.raises(NotFound, match=r"looked in .*out for names such as v001") as caught:
        Delivery.open(text)
    assert caught.value.details["path"] == text
    versions(tmp_path, write, "out/v001/a.1001.exr")
    (tmp_path / "out/v002").mkdir()  # begun, nothing in it yet: not silently the one before
    with pytest.raises(NotFound, match=r"v002/a\.####\.exr is on disk"):
        Delivery.open(text)


def test_one_damaged_header_does_not_hide_the_others(tmp_path, write):
    for frame in (1001, 1002):
        write(tmp_path / f"a.{frame}.exr", [BEAUTY, MATTE])
    whole = (tmp_path / "a.1001.exr").read_bytes()
    (tmp_path / "a.1001.exr").write_bytes(whole[:40])
    delivery = Delivery.open(str(tmp_path / "a.####.exr"))
    assert delivery.profile == "layered"
    with pytest.raises(DataCorrupt):
        delivery.read(1001)
    assert delivery.read(1002).window == WINDOW


@pytest.mark.parametrize("kept", [0, 3, 8, 40, 200, 300, 330, 420])
def test_frames_cut_anywhere_are_damaged_in_one_sentence(tmp_path, write, kept):
    for frame in (1001, 1002):
        write(tmp_path / f"a.{frame}.exr", [BEAUTY, MATTE])
    path = tmp_path / "a.1002.exr"
    assert path.stat().st_size > kept
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataCorrupt) as caught:
        Delivery.open(str(tmp_path / "a.####.exr")).read(1002)
    assert "\n" not in caught.value.message.strip()
    assert str(path) in caught.value.message


def test_garbage_never_escapes_as_something_else(tmp_path, write):
    for frame in (1001, 1002):
        write(tmp_path / f"a.{frame}.exr", [BEAUTY, MATTE])
    path = tmp_path / "a.1002.exr"
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(3)
    delivery = Delivery.open(str(tmp_path / "a.####.exr"))
    for _ in range(60):
        spoilt = whole.copy()
        for place in rng.integers(4, len(whole), 6):
            spoilt[place] = rng.integers(256)
        path.write_bytes(spoilt)
        with contextlib.suppress(DataCorrupt, InvalidInput, NotFound):
            delivery.read(1002)
