"""Merging over whatever a plate is stored as: file types, channel names, parts, numbers of frames."""

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange
from dflcore.io.exr import is_valid_exr, read_exr_layers
from dflcore.io.open_plate import open_plate
from dflcore.merge.light import PlateDeveloper


def _save(path, parts, **attributes):
    """One file of (channel names, pixels) parts through OIIO."""
    path.parent.mkdir(parents=True, exist_ok=True)
    specs = []
    for number, (names, pixels) in enumerate(parts):
        kind = {"float16": "half", "float32": "float"}.get(pixels.dtype.name, pixels.dtype.name)
        spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], len(names), kind)
        spec.channelnames = tuple(names)
        if len(parts) > 1:
            spec.attribute("oiio:subimagename", f"part{number}")
        for name, value in attributes.items():
            spec.attribute(name.replace("__", ":"), value)
        specs.append(spec)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), tuple(specs) if len(specs) > 1 else specs[0]), target.geterror()
    for number, (_, pixels) in enumerate(parts):
        assert not number or target.open(str(path), specs[number], "AppendSubimage"), target.geterror()
        assert target.write_image(np.ascontiguousarray(pixels)), target.geterror()
    target.close()


def _merged(shot, pattern, *, color_space="auto", frames=None, **settings):
    """The plate of that pattern merged with the shot's faceset, and the frames written."""
    asked = None if frames is None else FrameRange.of(frames)
    plate = open_plate(str(pattern), frames=asked, color_space=color_space, resolve_space=shot.converter.find)
    result, control = shot.merge(plate=plate, **settings)
    return plate, result, control


def _outside_is_the_plates(shot, plate, frame=1001):
    """Pixels outside the matte are the plate's light; returns the merged channels."""
    merged = read_exr_layers(shot.folder / f"out/swap.{frame}.exr")
    outside = merged["matte.A"] == 0
    assert 0.02 < 1 - outside.mean() < 0.5
    wanted = PlateDeveloper(shot.converter).develop(plate.read(frame), "auto").beauty
    for index, channel in enumerate("RGBA"):
        np.testing.assert_array_equal(merged[channel][outside], wanted[..., index][outside])
    for channel in "RGB":
        assert np.isfinite(merged[channel]).all()
    return merged


@pytest.mark.parametrize(
    ("suffix", "dtype", "space", "attributes"),
    [
        (".png", np.uint8, "srgb_tx", {}),
        (".png", np.uint16, "srgb_tx", {}),
        (".tif", np.uint8, "srgb_tx", {}),
        (".tif", np.uint16, "srgb_tx", {}),
        (".tif", np.float32, "ACEScg", {}),
        (".dpx", np.uint16, "ACEScct", {"oiio__BitsPerSample": 10}),
        (".exr", np.float16, "ACEScct", {}),
        (".dpx", np.uint16, "ARRI LogC3 (EI800)", {"oiio__BitsPerSample": 10}),
        (".exr", np.float16, "ARRI LogC4", {}),
        (".exr", np.float16, "S-Log3 S-Gamut3.Cine", {}),
        (".exr", np.float16, "Log3G10 REDWideGamutRGB", {}),
    ],
)
def test_stills_of_every_kind(make_shot, portrait_linear, suffix, dtype, space, attributes):
    shot = make_shot(frames=(1001,))
    encoded = shot.converter.convert(portrait_linear, "ACEScg", space)
    if np.dtype(dtype).kind == "u":
        encoded = np.rint(np.clip(encoded, 0, 1) * np.iinfo(dtype).max)
    pattern = shot.folder / f"stills/shot.####{suffix}"
    _save(shot.folder / f"stills/shot.1001{suffix}", [("RGB", encoded.astype(dtype))], **attributes)
    plate, result, _ = _merged(shot, pattern, color_space=space)
    assert (result.frames_written, result.frames_without_face) == (1, 0)
    merged = _outside_is_the_plates(shot, plate)
    wanted = np.float32 if (suffix, dtype) == (".tif", np.float32) else np.float16
    assert merged["R"].dtype == wanted
    assert (merged["A"] == 1).all()


@pytest.mark.parametrize(
    "names", [("r", "g", "b"), ("beauty.R", "beauty.G", "beauty.B"), ("Image.red", "Image.green", "Image.blue"), ("Y",)]
)
def test_colours_under_other_names(make_shot, portrait_linear, names):
    shot = make_shot(frames=(1001,))
    pixels = portrait_linear.astype(np.float16)[..., : len(names)]
    _save(shot.folder / "named/shot.1001.exr", [(names, pixels)], colorspace="ACEScg")
    plate, _, _ = _merged(shot, shot.folder / "named/shot.####.exr")
    _outside_is_the_plates(shot, plate)


def test_of_several_parts_the_picture_is_merged_and_the_rest_named(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,))
    rgb = portrait_linear.astype(np.float16)
    depth = ("Z",), rgb[..., :1]
    _save(shot.folder / "parts/shot.1001.exr", [depth, ("RGB", rgb)], colorspace="ACEScg", view="left")
    plate, _, control = _merged(shot, shot.folder / "parts/shot.####.exr")
    assert "PARTS_NOT_READ" in control.reasons
    _outside_is_the_plates(shot, plate)
    source = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr"))
    assert source.spec().get_string_attribute("view") == "left"
    source.close()


@pytest.mark.parametrize("names", [("A",), ("X", "Y", "Z"), ("matte.A",)])
def test_a_plate_without_colour_is_refused(make_shot, portrait_linear, names):
    shot = make_shot(frames=(1001,))
    _save(shot.folder / "gray/shot.1001.exr", [(names, portrait_linear.astype(np.float16)[..., : len(names)])])
    with pytest.raises(InvalidInput, match="no colour channels") as caught:
        _merged(shot, shot.folder / "gray/shot.####.exr")
    assert caught.value.details["frame"] == "1001"
    assert not list((shot.folder / "out").glob("*.exr"))


def test_frames_below_zero_keep_their_numbers(make_shot, portrait_linear):
    frames = (-2, -1, 0)
    shot = make_shot(frames=(1001,), face_frames=frames)
    for frame in frames:
        pixels = (portrait_linear + np.float32(0.1 * frame)).astype(np.float16)
        _save(shot.folder / f"early/shot.{frame:04d}.exr", [("RGB", pixels)], colorspace="ACEScg")
    plate, result, _ = _merged(shot, shot.folder / "early/shot.####.exr")
    assert (result.frames_written, result.frames_without_face) == (3, 0)
    for frame in frames:
        merged = read_exr_layers(shot.folder / f"out/swap.{frame:04d}.exr")
        assert merged["R"][0, 0] == plate.read(frame).pixels[0, 0, 0]
    _, kept, _ = _merged(shot, shot.folder / "early/shot.####.exr", frames=(-2,))
    assert (kept.frames_written, kept.frames_kept) == (0, 1)


def test_a_range_of_one_frame(make_shot):
    shot = make_shot()
    result, _ = shot.merge(frames=(1002,))
    assert result.frames_written == 1
    assert [path.name for path in sorted((shot.folder / "out").glob("*.exr"))] == ["swap.1002.exr"]


def test_a_frame_of_another_size_stops_the_merge_and_says_which(make_shot, portrait_linear):
    shot = make_shot(frames=(1001, 1002))
    small = portrait_linear[:200, :300].astype(np.float16)
    _save(shot.folder / "plate/shot.1002.exr", [("RGB", small)], colorspace="ACEScg")
    with pytest.raises(InvalidInput, match=r"Frame 1002 .* 300x200.* 320x240") as caught:
        shot.merge()
    assert caught.value.reason == "FRAME_SIZE_DIFFERS"
    assert is_valid_exr(shot.folder / "out/swap.1001.exr")


@pytest.mark.parametrize("compression", ["zips", "piz", "none", "dwaa", "dwab"])
def test_compressions_of_the_result(make_shot, compression):
    shot = make_shot(frames=(1001,))
    shot.merge(compression=compression)
    path = shot.folder / "out/swap.1001.exr"
    source = oiio.ImageInput.open(str(path))
    assert source.spec().get_string_attribute("compression") == compression
    source.close()
    merged, plate = read_exr_layers(path), read_exr_layers(shot.folder / "plate/shot.1001.exr")
    outside = merged["matte.A"] == 0
    if compression.startswith("dwa"):
        np.testing.assert_allclose(merged["R"][outside], plate["R"][outside], atol=0.05)
    else:
        np.testing.assert_array_equal(merged["R"][outside], plate["R"][outside])
