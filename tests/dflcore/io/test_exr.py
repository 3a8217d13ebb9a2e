"""The delivered EXR: bits, windows, names, headers."""

import dataclasses
import errno
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

import dflcore
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, ResourceExhausted
from dflcore.io.exr import (
    COMPRESSIONS,
    LOSSY_COMPRESSIONS,
    ExrLayer,
    is_valid_exr,
    read_exr_layers,
    write_exr,
)
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import MetadataValue, Window

WINDOW = Window(x=0, y=0, width=256, height=256)
EVERY_HALF = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256, 1)


def _write(path, layers, window=WINDOW, **options):
    options.setdefault("display_window", window)
    write_exr(path, layers=layers, data_window=window, **options)
    return path


def _gray(window=WINDOW, value=0.5):
    pixels = np.full((window.height, window.width, 3), value, np.float16)
    return ExrLayer(name="", channels=("R", "G", "B"), pixels=pixels)


def _bits(array):
    return array.view(np.uint16 if array.dtype == np.float16 else np.uint32)


@pytest.mark.parametrize("compression", ["zip", "zips", "piz", "none", "rle"])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_every_half_and_any_float_arrive_bit_for_bit(tmp_path, compression, is_mixed):
    floats = np.random.default_rng(1).integers(0, 2**32, (256, 256, 2), dtype=np.uint32).view(np.float32)
    floats[:4, :4] = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)[:, None]
    layers = [ExrLayer(name="", channels=("R", "G", "B"), pixels=np.repeat(EVERY_HALF, 3, axis=2))]
    if is_mixed:
        layers.append(ExrLayer(name="st", channels=("R", "G"), pixels=floats, pixel_type="float"))
    read = read_exr_layers(_write(tmp_path / "a.exr", layers, compression=compression))
    for name in "RGB":
        assert read[name].dtype == np.float16
        np.testing.assert_array_equal(_bits(read[name]), _bits(EVERY_HALF[..., 0]))
    if is_mixed:
        assert read["st.R"].dtype == np.float32
        np.testing.assert_array_equal(_bits(read["st.R"]), _bits(np.ascontiguousarray(floats[..., 0])))
        np.testing.assert_array_equal(_bits(read["st.G"]), _bits(np.ascontiguousarray(floats[..., 1])))


def test_float32_given_as_half_layer_is_rounded_to_nearest(tmp_path):
    values = np.random.default_rng(2).normal(0, 1000, (256, 256, 1)).astype(np.float32)
    values[0, 0] = 1e6
    layers = [_gray(), ExrLayer(name="matte", channels=("A",), pixels=values)]
    read = read_exr_layers(_write(tmp_path / "a.exr", layers))
    with np.errstate(over="ignore"):
        expected = values[..., 0].astype(np.float16)
    np.testing.assert_array_equal(read["matte.A"], expected)
    assert np.isinf(read["matte.A"][0, 0])


def test_bare_channels_come_first_and_one_part(tmp_path):
    layers = [
        ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=np.zeros((256, 256, 4), np.float16)),
        ExrLayer(name="swap", channels=("R", "G", "B"), pixels=np.ones((256, 256, 3), np.float16)),
        ExrLayer(name="matte_hull", channels=("A",), pixels=np.ones((256, 256, 1), np.float16)),
    ]
    source = oiio.ImageInput.open(str(_write(tmp_path / "a.exr", layers)))
    spec = source.spec()
    assert spec.channelnames == ("R", "G", "B", "A", "matte_hull.A", "swap.R", "swap.G", "swap.B")
    assert spec.get_int_attribute("oiio:subimages", 1) == 1
    assert spec.tile_width == 0
    assert spec.get_string_attribute("compression") == "zip"
    source.close()


def test_windows_aspect_and_header_survive(tmp_path):
    data = Window(x=-12, y=7, width=40, height=30)
    display = Window(x=0, y=0, width=32, height=24)
    metadata = {
        "smpte:TimeCode": MetadataValue("timecode", (0x01020304, 0)),
        "FramesPerSecond": MetadataValue("rational", (24000, 1001)),
        "worldToCamera": MetadataValue("matrix", tuple(float(n) for n in range(16))),
        "studio/shot": MetadataValue("string", "sh010"),
        "cuts": MetadataValue("int[3]", (1, 2, 3)),
        "crop": MetadataValue("box2i", (1, 2, 3, 4)),
        "DateTime": MetadataValue("string", "2024:02:29 12:00:00"),
        "compression": MetadataValue("string", "piz"),
        "PixelAspectRatio": MetadataValue("float", 1.0),
        "dfl:model": "quick",
        "dfl:frame": 1001,
        "userBits": MetadataValue("uint", 2**32 - 1),
        "dfl:opacity": 0.5,
    }
    path = _write(
        tmp_path / "a.1001.exr",
        [_gray(data)],
        data,
        display_window=display,
        pixel_aspect=2.0,
        metadata=metadata,
        color_space="ACEScg",
    )
    image = open_plate(str(path)).read(1001)
    assert (image.data_window, image.display_window, image.pixel_aspect) == (data, display, 2.0)
    for name in ("smpte:TimeCode", "FramesPerSecond", "worldToCamera", "studio/shot", "cuts", "crop", "DateTime"):
        assert image.metadata[name] == metadata[name]
    assert image.metadata["dfl:model"].value == "quick"
    assert image.metadata["dfl:frame"] == MetadataValue("int", 1001)
    assert image.metadata["userBits"].value == str(2**32 - 1)
    assert image.metadata["dfl:opacity"].value == 0.5
    assert image.metadata["compression"].value == "zip"


LAYERS = ("swap", "raw", "matte", "matte_hull")


def _mixed(window=WINDOW, seed=4):
    """Beauty, colour layers, mattes and a 32-bit map of noise."""
    generator = np.random.default_rng(seed)
    shape = (window.height, window.width)
    layers = [ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=generator.random((*shape, 4)).astype(np.float16))]
    for name in LAYERS:
        channels = ("A",) if name.startswith("matte") else ("R", "G", "B")
        pixels = generator.normal(0, 4, (*shape, len(channels))).astype(np.float16)
        layers.append(ExrLayer(name=name, channels=channels, pixels=pixels))
    pixels = generator.random((*shape, 2), dtype=np.float32)
    return [*layers, ExrLayer(name="st", channels=("R", "G"), pixels=pixels, pixel_type="float")]


def _same(path, layers):
    read = read_exr_layers(path)
    for layer in layers:
        for index, name in enumerate(layer.channel_names):
            np.testing.assert_array_equal(_bits(read[name]), _bits(np.ascontiguousarray(layer.pixels[..., index])))
    assert len(read) == sum(len(layer.channels) for layer in layers)


@pytest.mark.parametrize("order", ["C", "F"])
def test_layers_of_both_types_lie_in_their_own_channels(tmp_path, order):
    window = Window(x=-7, y=3, width=61, height=37)
    layers = [dataclasses.replace(layer, pixels=np.array(layer.pixels, order=order)) for layer in _mixed(window)]
    _same(_write(tmp_path / "a.exr", layers, window), layers)


def test_codes_out_of_range_do_not_hinder_writing(tmp_path):
    """Plates carry them, and readers other than OpenEXR's show them."""
    metadata = {
        "smpte:KeyCode": MetadataValue("keycode", (1, 2, 3, 4, 5, 6, 7)),
        "smpte:TimeCode": MetadataValue("timecode", (0x7F7F7F7F, 0)),
        "reelName": MetadataValue("string", "A001"),
    }
    layers = _mixed()
    path = _write(tmp_path / "a.exr", layers, metadata=metadata)
    _same(path, layers)
    assert open_plate(str(path)).read(1).metadata["reelName"].value == "A001"


def test_codes_rates_and_long_names_survive(tmp_path):
    long_name = "studio/" + "a_name_longer_than_the_old_limit_" * 3
    metadata = {
        "smpte:KeyCode": MetadataValue("keycode", (12, 34, 5678, 910, 10, 4, 64)),
        "smpte:TimeCode": MetadataValue("timecode", (0x01020304, 0x12345678)),
        "FramesPerSecond": MetadataValue("rational", (24, 1)),
        "worldToNDC": MetadataValue("matrix", tuple(0.5 * n for n in range(16))),
        "lens": MetadataValue("vector", (1.0, 2.0, 3.5)),
        "views": MetadataValue("string[2]", ("a", "b")),
        long_name: MetadataValue("string", "x" * 300),
    }
    image = open_plate(str(_write(tmp_path / "a.exr", _mixed(), metadata=metadata))).read(1)
    for name, value in metadata.items():
        assert image.metadata[name] == value, name


def test_without_openexr_the_same_file_is_written(tmp_path, monkeypatch):
    metadata = {
        "DateTime": MetadataValue("string", "2024:02:29 12:00:00"),
        "FramesPerSecond": MetadataValue("rational", (24, 1)),
        "studio/shot": MetadataValue("string", "sh010"),
    }
    with_it = open_plate(str(_write(tmp_path / "a.exr", _mixed(), metadata=metadata, color_space="ACEScg"))).read(1)

    def missing():
        raise ModuleNotFoundError("OpenEXR")

    monkeypatch.setattr("dflcore.io.exr._packer", missing)
    without = _write(tmp_path / "b.exr", _mixed(), metadata=metadata, color_space="ACEScg")
    _same(without, _mixed())
    assert open_plate(str(without)).read(1).metadata == with_it.metadata


def test_what_openexr_will_not_write_openimageio_does(tmp_path, monkeypatch):
    module = pytest.importorskip("OpenEXR")

    class Refusing:
        def __init__(self, *arguments, **options):
            self.inner = module.File(*arguments, **options)

        def header(self):
            return self.inner.header()

        def write(self, path):
            Path(path).write_bytes(b"half a file")
            raise RuntimeError("an attribute without a value")

    monkeypatch.setattr("dflcore.io.exr._packer", lambda: SimpleNamespace(File=Refusing))
    _same(_write(tmp_path / "a.exr", _mixed()), _mixed())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.exr"]


def test_names_beyond_ascii(tmp_path):
    _same(_write(tmp_path / "Drehbuch ü" / "plâte 画.exr", _mixed()), _mixed())


def test_dwa_takes_a_level(tmp_path):
    noise = np.random.default_rng(5).normal(0.4, 0.05, (256, 256, 3)).astype(np.float16)
    layers = [ExrLayer(name="", channels=("R", "G", "B"), pixels=noise)]
    sizes, errors = [], []
    for level in (5.0, 45.0, 250.0):
        path = _write(tmp_path / f"{level}.exr", layers, compression="dwab", dwa_level=level)
        sizes.append(path.stat().st_size)
        errors.append(float(np.abs(read_exr_layers(path)["G"] - noise[..., 1]).mean()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[2]
    assert errors == sorted(errors)
    default = _write(tmp_path / "default.exr", layers, compression="dwab")
    assert abs(default.stat().st_size - sizes[1]) < 100
    for level in (0.0, 501.0, float("nan")):
        with pytest.raises(InvalidInput, match="1 to 500"):
            _write(tmp_path / "a.exr", layers, compression="dwaa", dwa_level=level)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_is_written_and_lossy_ones_are_known(tmp_path, compression):
    layers = _mixed()
    path = _write(tmp_path / "a.exr", layers, compression=compression)
    assert is_valid_exr(path)
    read = read_exr_layers(path)
    assert read["st.R"].dtype == np.float32
    is_exact = all(
        (_bits(read[name]) == _bits(np.ascontiguousarray(layer.pixels[..., index]))).all()
        for layer in layers
        for index, name in enumerate(layer.channel_names)
    )
    assert is_exact == (compression not in LOSSY_COMPRESSIONS)


def test_several_threads_may_write_at_once(tmp_path):
    stacks = [_mixed(seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda item: _write(tmp_path / f"{item[0]}.exr", item[1]), enumerate(stacks)))
    for path, layers in zip(paths, stacks, strict=True):
        _same(path, layers)


def test_header_survives_a_second_generation(tmp_path):
    metadata = {
        "smpte:TimeCode": MetadataValue("timecode", (0x23595923, 0)),
        "chromaticities": MetadataValue("float[8]", (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)),
        "reelName": MetadataValue("string", "A001C002"),
    }
    first = open_plate(str(_write(tmp_path / "a.exr", [_gray()], metadata=metadata, color_space="ACEScg"))).read(1)
    second = open_plate(str(_write(tmp_path / "b.exr", [_gray()], metadata=first.metadata, color_space="ACEScg"))).read(
        1
    )
    assert {k: v for k, v in first.metadata.items() if k != "DateTime"} == {
        k: v for k, v in second.metadata.items() if k != "DateTime"
    }
    np.testing.assert_allclose(second.metadata["chromaticities"].value, metadata["chromaticities"].value, rtol=1e-6)


@pytest.mark.parametrize("space", ["ACEScg", "lin_rec709", "ARRI LogC4", "srgb_tx", "ACES2065-1"])
def test_color_space_reads_back_as_the_same(tmp_path, space):
    from dflcore.color.ocio import ColorConverter

    converter = ColorConverter()
    plate = open_plate(str(_write(tmp_path / "a.exr", [_gray()], color_space=space)))
    assert converter.resolve(plate.color_space) == converter.resolve(space)
    assert "header" in plate.color_space_note


@pytest.mark.parametrize("name", ["left", "right", "main", "1st", "Swap", "matte.hull", "mätte", "a b", "a-b"])
def test_layer_names_hosts_would_misread(tmp_path, name):
    layer = ExrLayer(name=name, channels=("A",), pixels=np.zeros((256, 256, 1), np.float16))
    with pytest.raises(InvalidInput, match="layer name"):
        _write(tmp_path / "a.exr", [_gray(), layer])
    assert not list(tmp_path.iterdir())


def test_other_refusals(tmp_path):
    one = np.zeros((256, 256, 1), np.float16)
    matte = ExrLayer(name="matte", channels=("A",), pixels=one)
    cases = [
        ([], "at least one"),
        ([matte, matte], "twice"),
        ([matte, _gray()], "beauty"),
        ([ExrLayer(name="matte", channels=("A",), pixels=one[:10])], "data window"),
        ([ExrLayer(name="x", channels=("a.b",), pixels=one)], "channel name"),
        ([ExrLayer(name="", channels=("B", "G", "R"), pixels=np.zeros((256, 256, 3)))], "begin R G B"),
    ]
    for layers, words in cases:
        with pytest.raises(InvalidInput, match=words):
            _write(tmp_path / "a.exr", layers)
    with pytest.raises(InvalidInput, match="compression"):
        _write(tmp_path / "a.exr", [_gray()], compression="lzw")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((InvalidInput, OSError)):
        _write(tmp_path / "file" / "a.exr", [_gray()])


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    path = _write(tmp_path / "a.exr", [_gray(value=1)])
    before = path.read_bytes()

    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr("dflcore.io.exr._write", fail)
    with pytest.raises(RuntimeError):
        _write(path, [_gray(value=2)])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.exr"]
    assert path.read_bytes() == before


class FailingOutput:
    """OpenImageIO's writer as it is when the system refuses: the text tells nothing."""

    def open(self, *_):
        return True

    def write_image(self, _):
        return False

    def close(self):
        return True

    def geterror(self, *_):
        return "File output failed."

    @property
    def has_error(self):
        return True


@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [
        (errno.ENOSPC, ResourceExhausted, "DISK_FULL"),
        (errno.EDQUOT, ResourceExhausted, "DISK_FULL"),
        (errno.EROFS, InvalidInput, "NOT_WRITABLE"),
        (errno.EIO, InvalidInput, "CANNOT_WRITE"),
        (None, InvalidInput, "CANNOT_WRITE"),
    ],
)
def test_a_failed_write_is_told_by_what_the_system_says(tmp_path, monkeypatch, number, error, reason):
    def refuse(_):
        if number is not None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(oiio.ImageOutput, "create", lambda _: FailingOutput())
    monkeypatch.setattr("dflcore.io.exr.os.fsync", refuse)
    with pytest.raises(error) as caught:
        _write(tmp_path / "a.exr", [_gray()])
    assert caught.value.reason == reason
    assert not list(tmp_path.iterdir())


REFUSED = """
    import sys
    from pathlib import Path
    import numpy as np
    from dflcore.errors import DflError
    from dflcore.io.exr import ExrLayer, write_exr
    from dflcore.io.plate import Window

    window = Window(x=0, y=0, width=512, height=512)
    pixels = np.random.default_rng(0).random((512, 512, 3)).astype(np.float16)
    try:
        write_exr(
            Path(sys.argv[1]), layers=[ExrLayer(name="", channels=("R", "G", "B"), pixels=pixels)],
            data_window=window, display_window=window,
        )
    except DflError as error:
        print(error.reason, error.message)
"""
"""Writes an EXR of more than a megabyte and prints how that was refused."""


def _refused(folder, *before, **options):
    script = folder / "refused.py"
    script.write_text(textwrap.dedent(REFUSED))
    environment = {**os.environ, "PYTHONPATH": str(Path(dflcore.__file__).parents[1])}
    (folder / "out").mkdir()
    command = [*before, sys.executable, str(script), str(folder / "out/a.exr")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False, **options)


def test_a_full_disk_is_called_so(tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    mount = f"mount -t tmpfs -o size=300k tmpfs {tmp_path}/out"
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", f"mkdir {tmp_path}/out && {mount}"], check=False)
    if probe.returncode:
        pytest.skip("this system lets us mount nothing")
    (tmp_path / "out").rmdir()
    result = _refused(tmp_path, "unshare", "-rm", "sh", "-c", f'{mount} && "$@" && ls -A {tmp_path}/out', "sh")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("DISK_FULL The disk is full while writing")
    assert len(result.stdout.splitlines()) == 1  # nothing is left in the folder


def test_another_refusal_is_quoted(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = _refused(tmp_path, preexec_fn=limit)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("CANNOT_WRITE")
    assert os.strerror(errno.EFBIG) in result.stdout
    assert not list((tmp_path / "out").iterdir())


def test_complete_and_incomplete_files(tmp_path):
    noise = np.random.default_rng(3).random((256, 256, 3)).astype(np.float16)
    path = _write(tmp_path / "a.exr", [ExrLayer(name="", channels=("R", "G", "B"), pixels=noise)])
    assert is_valid_exr(path)
    assert not is_valid_exr(tmp_path / "none.exr")
    data = path.read_bytes()
    for kept in (0, 3, 200, len(data) // 2, len(data) - 100):
        cut = tmp_path / "cut.exr"
        cut.write_bytes(data[:kept])
        assert not is_valid_exr(cut), kept
        with pytest.raises(DataCorrupt, match=r"cut\.exr"):
            read_exr_layers(cut)
    with pytest.raises(NotFound):
        read_exr_layers(tmp_path / "none.exr")
