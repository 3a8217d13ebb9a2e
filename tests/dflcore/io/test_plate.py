"""Plates of stills: numbers as stored, windows, names, colour space, and every way a file can be wrong."""

import contextlib
import os
import shutil
import struct

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.errors import DataCorrupt, InvalidInput, NotFound, ResourceExhausted, Unsupported
from dflcore.frames import FrameRange
from dflcore.io import stills
from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import MetadataValue, PlateImage, Window


def _write(path, pixels, *, names=None, kind=None, formats=None, window=None, display=None, **attributes):
    """One file through OIIO; ``pixels`` (H, W, C)."""
    height, width, count = pixels.shape
    kind = kind or {"float16": "half", "float32": "float"}.get(pixels.dtype.name, pixels.dtype.name)
    spec = oiio.ImageSpec(width, height, count, kind)
    if names:
        spec.channelnames = tuple(names)
    if formats:
        spec.channelformats = tuple(oiio.TypeDesc(name) for name in formats)
    if window:
        spec.x, spec.y = window
    if display:
        spec.full_x, spec.full_y, spec.full_width, spec.full_height = display
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    path.parent.mkdir(parents=True, exist_ok=True)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), spec), target.geterror()
    assert target.write_image(np.ascontiguousarray(pixels)), target.geterror()
    target.close()
    return path


def _write_parts(path, parts):
    """Multi-part EXR: list of (part name, channel names, value, attributes)."""
    specs = []
    for name, channels, _, attributes in parts:
        spec = oiio.ImageSpec(16, 8, len(channels), oiio.HALF)
        spec.channelnames = tuple(channels)
        spec.attribute("name", name)
        spec.attribute("oiio:subimagename", name)
        for key, value in attributes.items():
            spec.attribute(key, value)
        specs.append(spec)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), tuple(specs)), target.geterror()
    for index, (spec, part) in enumerate(zip(specs, parts, strict=True)):
        if index:
            assert target.open(str(path), spec, "AppendSubimage"), target.geterror()
        assert target.write_image(np.full((8, 16, spec.nchannels), part[2], np.float32)), target.geterror()
    target.close()
    return path


def _noise(height=8, width=16, channels=3, dtype=np.float16, seed=0):
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.uniform(-0.5, 12, (height, width, channels)).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)


def _patched_size(source, target, width, height):
    """The same EXR whose header claims another size."""
    data = bytearray(source.read_bytes())
    for key in (b"dataWindow\0box2i\0", b"displayWindow\0box2i\0"):
        start = data.index(key) + len(key) + 4
        data[start : start + 16] = struct.pack("<4i", 0, 0, width - 1, height - 1)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("suffix", "dtype", "scale"),
    [
        (".exr", np.float16, None),
        (".exr", np.float32, None),
        (".tif", np.float32, None),
        (".tif", np.uint16, 65535),
        (".tif", np.uint8, 255),
        (".png", np.uint16, 65535),
        (".png", np.uint8, 255),
    ],
)
def test_pixels_come_as_stored(tmp_path, suffix, dtype, scale):
    pixels = _noise(dtype=dtype, channels=4)
    path = _write(tmp_path / f"a.0001{suffix}", pixels, oiio__UnassociatedAlpha=1)
    image = open_plate(str(tmp_path / f"a.####{suffix}"), color_space="ACEScg").read(1)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.channel_names == ("R", "G", "B", "A")
    assert image.is_float == (scale is None)
    expected = pixels.astype(np.float32) / np.float32(scale or 1)
    np.testing.assert_array_equal(image.rgb(), expected[..., :3])
    np.testing.assert_array_equal(image.alpha(), expected[..., 3])
    assert image.rgb().dtype == np.float32
    assert image.premultiplied == (suffix == ".exr")
    assert image.source_path == path


def test_dpx_10_bit(tmp_path):
    codes = np.arange(0, 1024, dtype=np.uint16).reshape(32, 32, 1).repeat(3, axis=2)
    full = np.round(codes * (65535 / 1023)).astype(np.uint16)
    path = _write(tmp_path / "a.0001.dpx", full, oiio__BitsPerSample=10)
    image = open_plate(str(path), color_space="ADX10").read(1)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_allclose(image.rgb() * 1023, codes, atol=0.05)
    assert image.color_space == "ADX10"


def test_dpx_metadata_can_be_written_to_exr(tmp_path):
    path = _write(tmp_path / "a.0001.dpx", _noise(dtype=np.uint16), oiio__BitsPerSample=10, Copyright="us")
    image = open_plate(str(path), color_space="ADX10").read(1)
    layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=image.rgb())
    window = image.data_window
    write_exr(tmp_path / "b.exr", layers=[layer], data_window=window, display_window=window, metadata=image.metadata)
    assert open_plate(str(tmp_path / "b.exr")).read(1).metadata["Copyright"].value == "us"


@pytest.mark.parametrize(("suffix", "dtype"), [(".dpx", np.uint16), (".tif", np.float32)])
def test_log_or_linear_is_never_guessed(tmp_path, suffix, dtype):
    path = _write(tmp_path / f"a.0001{suffix}", _noise(dtype=dtype))
    with pytest.raises(InvalidInput, match="--input-colorspace") as caught:
        open_plate(str(path))
    assert caught.value.reason == "COLOR_SPACE_REQUIRED"


def test_overscan_crop_and_aspect(tmp_path):
    for frame, window in ((1, (-4, -2)), (2, (3, 5))):
        _write(
            tmp_path / f"a.{frame:04d}.exr",
            _noise(12, 20),
            window=window,
            display=(0, 0, 16, 10),
            PixelAspectRatio=2.0,
        )
    plate = open_plate(str(tmp_path))
    assert plate.size == (16, 10)
    for frame, (x, y) in ((1, (-4, -2)), (2, (3, 5))):
        image = plate.read(frame)
        assert image.data_window == Window(x=x, y=y, width=20, height=12)
        assert image.display_window == Window(x=0, y=0, width=16, height=10)
        assert image.pixel_aspect == 2.0
        assert image.rgb().shape == (12, 20, 3)


@pytest.mark.parametrize(
    ("names", "color", "alpha"),
    [
        ("R G B", (0, 1, 2), None),
        ("R G B A", (0, 1, 2), 3),
        ("r g b a", (0, 1, 2), 3),
        ("Y", (0, 0, 0), None),
        ("Y A", (0, 0, 0), 1),
        ("Image.R Image.G Image.B Image.A", (0, 1, 2), 3),
        ("matte.A fg.red fg.green fg.blue fg.alpha", (1, 2, 3), 4),
        ("depth.Z fg.R fg.G fg.B R G B A", (4, 5, 6), 7),
        ("view.combined.R view.combined.G view.combined.B", (0, 1, 2), None),
        ("mask.V", (0, 0, 0), None),
        ("albedo.R albedo.G albedo.B beauty.R beauty.G beauty.B beauty.A", (3, 4, 5), 6),
        ("albedo.B albedo.G albedo.R view.rgba.B view.rgba.G view.rgba.R", (5, 4, 3), None),
        ("N.X N.Y N.Z beauty.r beauty.g beauty.b", (3, 4, 5), None),
        ("N.X N.Y N.Z fg.Y", (3, 3, 3), None),
        ("A Y Z", (1, 1, 1), 0),
        ("RED GREEN BLUE ALPHA", (0, 1, 2), 3),
    ],
)
def test_which_channels_are_the_colour(names, color, alpha):
    image = _image_of(names.split())
    np.testing.assert_array_equal(image.rgb(), image.pixels[..., list(color)])
    if alpha is None:
        assert image.alpha() is None
    else:
        np.testing.assert_array_equal(image.alpha(), image.pixels[..., alpha])


@pytest.mark.parametrize("names", ["A", "matte.A", "st.R st.G", "Z", "N.X N.Y N.Z", "X Y Z", "BY RY Y", "A BY RY Y"])
def test_no_colour_is_said(names):
    with pytest.raises(InvalidInput, match="no colour channels") as caught:
        _image_of(names.split()).rgb()
    assert caught.value.reason == "NO_COLOR_CHANNELS"


def _image_of(names):
    window = Window(x=0, y=0, width=16, height=8)
    return PlateImage(
        frame=1,
        pixels=_noise(channels=len(names), dtype=np.float32),
        channel_names=tuple(names),
        data_window=window,
        display_window=window,
        pixel_aspect=1.0,
        color_space="ACEScg",
        source_path=None,
    )


def test_mixed_half_and_float_lose_nothing(tmp_path):
    pixels = _noise(channels=4, dtype=np.float32)
    pixels[..., :3] = pixels[..., :3].astype(np.float16)
    path = _write(
        tmp_path / "a.exr", pixels, names=("R", "G", "B", "Z"), kind="float", formats=("half", "half", "half", "float")
    )
    image = open_plate(str(path)).read(1)
    assert image.channel_types == ("half", "half", "half", "float")
    assert image.color_type == "half"
    assert image.channel_names == ("R", "G", "B", "Z")
    np.testing.assert_array_equal(image.pixels, pixels)


def test_integer_ids_beside_colours_do_not_disturb(tmp_path):
    pixels = _noise(channels=4, dtype=np.float32)
    pixels[..., :3] = pixels[..., :3].astype(np.float16)
    path = _write(
        tmp_path / "a.exr", pixels, names=("R", "G", "B", "id"), kind="float", formats=("half", "half", "half", "uint")
    )
    image = open_plate(str(path)).read(1)
    assert image.channel_names == ("R", "G", "B")
    np.testing.assert_array_equal(image.rgb(), pixels[..., :3])


def test_integer_ids_are_said_to_be_left_out(tmp_path):
    formats = ("half", "half", "half", "uint")
    _write(tmp_path / "a.exr", _noise(channels=4, dtype=np.float32), names=["R", "G", "B", "id"], formats=formats)
    plate = open_plate(str(tmp_path / "a.exr"))
    (notice,) = [notice for notice in plate.notices if notice.reason == "CHANNELS_NOT_READ"]
    assert notice.details["channels"] == "id"


def test_a_plate_of_integers_only_is_refused(tmp_path):
    path = _write(tmp_path / "a.exr", _noise(dtype=np.uint32), kind="uint")
    with pytest.raises(InvalidInput) as caught:
        open_plate(str(path)).read(1)
    assert caught.value.reason == "PIXEL_TYPE_NOT_READ"


def test_of_several_layers_the_one_taken_is_named(tmp_path):
    names = [f"{layer}.{channel}" for layer in ("diffuse", "specular") for channel in "RGB"]
    plate = open_plate(str(_write(tmp_path / "a.exr", _noise(channels=6), names=names)))
    (notice,) = [notice for notice in plate.notices if notice.reason == "COLOR_LAYER_ASSUMED"]
    assert notice.details["layer"] == "diffuse"
    assert "specular" in notice.message
    for told in (["fg.R", "fg.G", "fg.B"], ["beauty.R", "beauty.G", "beauty.B", *names]):
        path = _write(tmp_path / "b.exr", _noise(channels=len(told)), names=told)
        assert "COLOR_LAYER_ASSUMED" not in [notice.reason for notice in open_plate(str(path)).notices]


def test_luminance_and_chroma_are_refused_by_name(tmp_path):
    path = tmp_path / "yc.exr"
    path.write_bytes(_chroma_at_half_size())
    with pytest.raises(Unsupported, match="R G B") as caught:
        open_plate(str(path)).read(1)
    assert caught.value.reason == "SUBSAMPLED_CHANNELS"


def _chroma_at_half_size(width=4, height=2):
    """An uncompressed EXR of Y and, at half the size, RY and BY."""

    def attribute(name, kind, value):
        return f"{name}\0{kind}\0".encode() + struct.pack("<i", len(value)) + value

    channels = b"".join(
        name + b"\0" + struct.pack("<iB3xii", 1, 0, step, step) for name, step in ((b"BY", 2), (b"RY", 2), (b"Y", 1))
    )
    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = (
        struct.pack("<ii", 20000630, 2)
        + attribute("channels", "chlist", channels + b"\0")
        + attribute("compression", "compression", b"\0")
        + attribute("dataWindow", "box2i", box)
        + attribute("displayWindow", "box2i", box)
        + attribute("lineOrder", "lineOrder", b"\0")
        + attribute("pixelAspectRatio", "float", struct.pack("<f", 1.0))
        + attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0.0, 0.0))
        + attribute("screenWindowWidth", "float", struct.pack("<f", 1.0))
        + b"\0"
    )
    lines, offsets = b"", []
    for y in range(height):
        values = np.full(width + (0 if y % 2 else width), 0.5, np.float16).tobytes()
        offsets.append(len(header) + 8 * height + len(lines))
        lines += struct.pack("<ii", y, len(values)) + values
    return header + struct.pack(f"<{height}Q", *offsets) + lines


@pytest.mark.parametrize("beauty", [0, 1, 2])
def test_multi_part_takes_the_beauty_and_keeps_the_view(tmp_path, beauty):
    parts = [("mask", ("mask.A",), 5.0, {"view": "left"}), ("diffuse", ("R", "G", "B"), 6.0, {"view": "left"})]
    parts.insert(beauty, ("rgba", ("R", "G", "B", "A"), 0.25, {"view": "left"}))
    image = open_plate(str(_write_parts(tmp_path / "a.exr", parts))).read(1)
    assert image.channel_names == ("R", "G", "B", "A")
    assert image.pixels.min() == image.pixels.max() == 0.25
    assert image.metadata["view"].value == "left"


def test_stereo_takes_the_first_view_and_names_the_other(tmp_path):
    parts = [(f"rgba.{view}", ("R", "G", "B"), value, {"view": view}) for view, value in (("left", 0.25), ("right", 4))]
    plate = open_plate(str(_write_parts(tmp_path / "a.exr", parts)))
    image = plate.read(1)
    assert image.pixels.max() == 0.25
    assert image.metadata["view"].value == "left"
    (notice,) = [notice for notice in plate.notices if notice.reason == "PARTS_NOT_READ"]
    assert "rgba.right" in notice.message


def test_views_in_one_part_leave_the_bare_one(tmp_path):
    pixels = _noise(channels=6)
    names = ("R", "G", "B", "right.R", "right.G", "right.B")
    image = open_plate(str(_write(tmp_path / "a.exr", pixels, names=names))).read(1)
    np.testing.assert_array_equal(image.rgb(), pixels[..., :3].astype(np.float32))


def test_multi_part_without_bare_names(tmp_path):
    parts = [("depth", ("Depth.V",), 5.0, {}), ("Image", ("Image.R", "Image.G", "Image.B", "Image.A"), 0.5, {})]
    image = open_plate(str(_write_parts(tmp_path / "a.exr", parts))).read(1)
    assert image.rgb().max() == 0.5


@pytest.mark.parametrize(
    ("suffix", "attributes", "expected", "is_assumed"),
    [
        (".exr", {}, "ACEScg", True),
        (".exr", {"oiio__ColorSpace": "lin_rec709"}, "Linear Rec.709 (sRGB)", False),
        (".exr", {"colorspace": "ARRI LogC4"}, "ARRI LogC4", False),
        (".exr", {"colorspace": "Client Show Log"}, "ACEScg", True),
        (".exr", {"oiio__ColorSpace": "data"}, "ACEScg", True),
        (".tif", {}, "srgb_tx", True),
        (".png", {}, "sRGB Encoded Rec.709 (sRGB)", False),
    ],
)
def test_colour_space_by_header_then_by_type(tmp_path, suffix, attributes, expected, is_assumed):
    dtype = np.float16 if suffix == ".exr" else np.uint8
    plate = open_plate(str(_write(tmp_path / f"a{suffix}", _noise(dtype=dtype), **attributes)))
    assert plate.color_space == expected
    assert plate.color_space_note
    assert [notice.reason for notice in plate.notices] == ["COLOR_SPACE_ASSUMED"] * is_assumed
    assert plate.read(1).color_space == expected


def test_chromaticities_name_a_space(tmp_path):
    window = Window(x=0, y=0, width=16, height=8)
    layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=_noise())
    xy = MetadataValue("float[8]", (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290))
    path = tmp_path / "a.exr"
    write_exr(path, layers=[layer], data_window=window, display_window=window, metadata={"chromaticities": xy})
    assert open_plate(str(path)).color_space == "Linear Rec.709 (sRGB)"


def test_stated_and_foreign_colour_spaces(tmp_path):
    path = _write(tmp_path / "a.exr", _noise(), colorspace="Client Show Log")
    assert open_plate(str(path), color_space="ACES2065-1").color_space == "ACES2065-1"
    known = {"Client Show Log": "client_log"}
    assert open_plate(str(path), resolve_space=known.get).color_space == "client_log"


def test_range_missing_and_skipped(tmp_path):
    for frame in (1, 2, 4, 7):
        _write(tmp_path / f"a.{frame:04d}.exr", _noise())
    text = str(tmp_path / "a.####.exr")
    assert open_plate(text).frames.frames == (1, 2, 4, 7)
    with pytest.raises(NotFound, match="3,5-6,8-9") as caught:
        open_plate(text, frames=FrameRange.parse("1-9"))
    assert caught.value.reason == "FRAMES_MISSING"
    plate = open_plate(text, frames=FrameRange.parse("1-9"), missing="skip")
    assert plate.frames.frames == (1, 2, 4, 7)
    assert any("3,5-6,8-9" in notice.message for notice in plate.notices)
    with pytest.raises(InvalidInput, match="None of the frames"):
        open_plate(text, frames=FrameRange.parse("20-30"), missing="skip")
    with pytest.raises(InvalidInput, match="empty"):
        open_plate(text, frames=FrameRange(()))
    with pytest.raises(NotFound):
        open_plate(str(tmp_path / "b.####.exr"))
    with pytest.raises(NotFound, match=r"a\.0003\.exr"):
        plate.read(3)


def test_negative_frames_and_a_range_of_one(tmp_path):
    for frame in (-5, -4, 0, 1):
        _write(tmp_path / f"a.{frame:04d}.exr", np.full((8, 16, 3), frame, np.float16))
    text = str(tmp_path / "a.####.exr")
    plate = open_plate(text)
    assert plate.frames.frames == (-5, -4, 0, 1)
    assert plate.read(-5).pixels[0, 0, 0] == -5
    one = open_plate(text, frames=FrameRange.parse("-4"))
    assert one.frames.frames == (-4,)
    assert one.read(-4).frame == -4


def test_nan_and_infinity_come_as_they_are(tmp_path):
    pixels = _noise()
    pixels[0, 0] = (np.nan, np.inf, -np.inf)
    image = open_plate(str(_write(tmp_path / "a.exr", pixels))).read(1)
    np.testing.assert_array_equal(image.pixels.view(np.uint16), pixels.view(np.uint16))


@pytest.mark.parametrize("compression", ["dwaa:200", "dwab", "piz", "b44", "pxr24", "rle"])
def test_compressions_are_read(tmp_path, compression):
    rows, columns = np.mgrid[:64, :96] / np.float32(96)
    pixels = np.stack([rows, columns, rows * columns * 8], axis=2).astype(np.float16)
    image = open_plate(str(_write(tmp_path / "a.exr", pixels, compression=compression))).read(1)
    np.testing.assert_allclose(image.rgb(), pixels.astype(np.float32), atol=0.2, rtol=0.05)


def test_a_size_that_changes_is_named(tmp_path):
    _write(tmp_path / "a.0001.exr", _noise())
    _write(tmp_path / "a.0002.exr", _noise(10, 20))
    plate = open_plate(str(tmp_path))
    with pytest.raises(InvalidInput, match=r"Frame 2 .* 20x10.* 16x8") as caught:
        plate.read(2)
    assert caught.value.details["frame"] == "2"


def test_orientation_is_left_alone_and_said(tmp_path):
    pixels = _noise(dtype=np.uint8)
    plate = open_plate(str(_write(tmp_path / "a.tif", pixels, Orientation=6)))
    np.testing.assert_array_equal(plate.read(1).pixels, pixels)
    assert "ORIENTATION_IGNORED" in [notice.reason for notice in plate.notices]


def test_identity_changes_with_the_file(tmp_path):
    for frame in (1, 2):
        _write(tmp_path / f"a.{frame:04d}.exr", _noise())
    plate = open_plate(str(tmp_path))
    first, second = plate.identity(1), plate.identity(2)
    assert first != second
    assert open_plate(str(tmp_path / "a.%04d.exr")).identity(1) == first
    _write(tmp_path / "a.0001.exr", _noise(seed=9))
    assert plate.identity(1) != first


def test_identity_is_the_files_wherever_it_lies(tmp_path):
    """Machines know one disk by different names; another shot's file of the same name is another."""
    here, there = tmp_path / "here" / "a.0001.exr", tmp_path / "there" / "a.0001.exr"
    for path in (here, there):
        path.parent.mkdir()
    _write(here, _noise())
    shutil.copy2(here, there)
    first = open_plate(str(here)).identity(1)
    assert open_plate(str(there)).identity(1) == first
    (tmp_path / "link").symlink_to(tmp_path / "here")
    assert open_plate(str(tmp_path / "link" / "a.0001.exr")).identity(1) == first
    time_ns = here.stat().st_mtime_ns
    os.utime(there, ns=(time_ns, time_ns // 1000 * 1000))  # as a file server that keeps microseconds
    assert open_plate(str(there)).identity(1) == first
    data = bytearray(here.read_bytes())
    data[-1] ^= 1  # the same size
    other = tmp_path / "other" / "a.0001.exr"
    other.parent.mkdir()
    other.write_bytes(data)
    os.utime(other, ns=(time_ns, time_ns))
    assert open_plate(str(other)).identity(1) != first
    os.rename(here, here.with_name("b.0001.exr"))
    assert open_plate(str(here.with_name("b.0001.exr"))).identity(1) != first


def test_rate_and_name(tmp_path):
    path = _write(tmp_path / "a.1001.exr", _noise())
    plate = open_plate(str(path))
    assert plate.rate is None
    assert plate.name == str(path)
    assert plate.frames.frames == (1001,)
    plate.close()
    plate.close()


def test_damaged_files_name_path_and_frame(tmp_path):
    whole = _write(tmp_path / "a.0001.exr", _noise(200, 200)).read_bytes()
    _write(tmp_path / "a.0002.exr", _noise(200, 200))
    plate = open_plate(str(tmp_path))
    damaged = tmp_path / "a.0002.exr"
    garbage = np.random.default_rng(1).bytes(4000)
    contents = [b"", whole[:4], whole[:150], whole[: len(whole) // 2], whole[:-50], garbage, whole[:4] + garbage]
    for content in contents:
        damaged.write_bytes(content)
        with pytest.raises(DataCorrupt, match=r"a\.0002\.exr") as caught:
            plate.read(2)
        assert caught.value.details["frame"] == "2"


def test_flipped_header_bytes_never_escape_as_other_errors(tmp_path):
    """OIIO quotes broken header bytes in its messages, which then are no text."""
    path = _write(tmp_path / "a.exr", _noise(32, 32), colorspace="ACEScg", comment="x" * 20)
    data = path.read_bytes()
    generator = np.random.default_rng(7)
    for _ in range(150):
        broken = bytearray(data)
        for position in generator.integers(4, 420, size=3):
            broken[position] = generator.integers(0, 256)
        path.write_bytes(broken)
        with contextlib.suppress(DataCorrupt, ResourceExhausted, InvalidInput, Unsupported):
            stills.read_still(path)


def test_a_suffix_that_lies(tmp_path):
    _write(tmp_path / "a.png", _noise(dtype=np.uint8))
    lying = (tmp_path / "a.png").rename(tmp_path / "a.exr")
    with pytest.raises(DataCorrupt):
        open_plate(str(lying))


@pytest.mark.parametrize("side", [20_000, 60_000, 1_000_000])
def test_a_header_that_claims_too_much_is_refused(tmp_path, side):
    path = _write(tmp_path / "a.exr", _noise())
    bomb = _patched_size(path, tmp_path / "bomb.exr", side, side)
    with pytest.raises((ResourceExhausted, DataCorrupt), match=r"bomb\.exr"):
        open_plate(str(bomb))


def test_a_real_bomb_is_refused(tmp_path, monkeypatch):
    path = _write(tmp_path / "a.png", np.zeros((2048, 2048, 3), np.uint16))
    assert path.stat().st_size < 100_000
    stills.set_limits()
    monkeypatch.setattr(stills, "MAX_IMAGE_MB", 8)
    oiio.attribute("limits:imagesize_MB", 8)
    try:
        with pytest.raises(ResourceExhausted, match="limit"):
            open_plate(str(path)).read(1)
    finally:
        oiio.attribute("limits:imagesize_MB", 4096)


def test_deep_is_not_supported(tmp_path):
    spec = oiio.ImageSpec(4, 4, 5, oiio.FLOAT)
    spec.channelnames = ("R", "G", "B", "A", "Z")
    spec.deep = True
    path = tmp_path / "deep.exr"
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), spec), target.geterror()
    data = oiio.DeepData()
    data.init(16, 5, tuple([oiio.TypeDesc("float")] * 5), spec.channelnames)
    assert target.write_deep_image(data), target.geterror()
    target.close()
    with pytest.raises(Unsupported, match="deep"):
        open_plate(str(path))


def test_plate_to_exr_and_back_is_bit_exact(tmp_path):
    """Half plate with overscan, alpha and depth: read, write, read, the same bits."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(128, 128, 4)
    path = _write(tmp_path / "a.0001.exr", halves, window=(-8, -8), display=(0, 0, 112, 112))
    image = open_plate(str(path)).read(1)
    np.testing.assert_array_equal(image.pixels.view(np.uint16), halves.view(np.uint16))
    write_exr(
        tmp_path / "b.exr",
        layers=[ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=image.pixels)],
        data_window=image.data_window,
        display_window=image.display_window,
        pixel_aspect=image.pixel_aspect,
        metadata=image.metadata,
    )
    read = read_exr_layers(tmp_path / "b.exr")
    for index, name in enumerate("RGBA"):
        np.testing.assert_array_equal(read[name].view(np.uint16), halves[..., index].view(np.uint16))
