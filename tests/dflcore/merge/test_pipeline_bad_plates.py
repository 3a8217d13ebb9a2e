"""Plates as they should not be, merged: what is refused, in which words, and what survives."""

import os
from types import SimpleNamespace

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound, Unsupported
from dflcore.frames import FrameRange
from dflcore.io.exr import ExrLayer, is_valid_exr, read_exr_layers, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Window
from dflcore.merge.pipeline import select_records
from dflcore.progress import Notice

SIZE = (320, 240)
"""Of the plate in conftest."""


def bits(array):
    return array.view(np.uint16 if array.dtype == np.float16 else np.uint32)


def channels(shot, frame=1001, output="out/swap.{}.exr"):
    return read_exr_layers(shot.folder / output.format(frame))


def save(path, names, pixels, *, tiles=0, color_space="ACEScg", **attributes):
    """A single-part EXR of half or float channels through OpenImageIO."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], len(names), str(pixels.dtype).replace("float16", "half"))
    spec.channelnames = tuple(names)
    if tiles:
        spec.tile_width = spec.tile_height = tiles
    for name, value in {"colorspace": color_space, **attributes}.items():
        spec.attribute(name, value)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), spec), target.geterror()
    assert target.write_image(np.ascontiguousarray(pixels)), target.geterror()
    target.close()


def save_parts(path, parts, **attributes):
    """A multi-part EXR: (part's name, channel names, pixels, view)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    specs = []
    for name, names, pixels, view in parts:
        spec = oiio.ImageSpec(
            pixels.shape[1], pixels.shape[0], len(names), str(pixels.dtype).replace("float16", "half")
        )
        spec.channelnames = tuple(names)
        spec.attribute("oiio:subimagename", name)
        for key, value in {"colorspace": "ACEScg", **({"view": view} if view else {}), **attributes}.items():
            spec.attribute(key, value)
        specs.append(spec)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), tuple(specs)), target.geterror()
    for number, (_, _, pixels, _) in enumerate(parts):
        assert not number or target.open(str(path), specs[number], "AppendSubimage"), target.geterror()
        assert target.write_image(np.ascontiguousarray(pixels)), target.geterror()
    target.close()


def merge_plate(shot, pattern, *, frames=None, missing_frames="error", **settings):
    asked = None if frames is None else FrameRange.of(frames)
    plate = open_plate(str(pattern), frames=asked, missing=missing_frames, resolve_space=shot.converter.find)
    return shot.merge(plate=plate, missing_frames=missing_frames, **settings)


def is_the_plates_outside(merged, pixels):
    """Every bit outside the matte, and a face inside."""
    outside = merged["matte.A"] == 0
    assert 0.02 < 1 - outside.mean() < 0.5
    for index, channel in enumerate("RGB"):
        assert (bits(merged[channel])[outside] == bits(np.ascontiguousarray(pixels[..., index]))[outside]).all()
        assert (merged[channel][~outside] != pixels[..., index][~outside]).mean() > 0.4


# The range.


def test_a_plate_longer_than_its_tracks_goes_on_as_itself_and_says_so(make_shot):
    shot = make_shot(frames=tuple(range(1001, 1006)), face_frames=(1001, 1002))
    result, control = shot.merge()
    assert (result.frames_written, result.frames_without_face) == (5, 3)
    merged, plate = channels(shot, 1005), channels(shot, 1005, "plate/shot.{}.exr")
    assert not merged["matte.A"].any()
    assert all((bits(merged[name]) == bits(plate[name])).all() for name in "RGB")
    (notice,) = (event for event in control.events if getattr(event, "reason", "") == "FRAMES_NOT_EXTRACTED")
    assert "1003-1005" in notice.message
    assert notice.details["frame"] == "1003-1005"


def test_a_frame_that_was_looked_at_and_shows_nobody_is_nothing_to_tell(make_shot):
    from dflcore.io.faceset import FacesetWriter
    from dflcore.types import Authorization, FaceType

    shot = make_shot(frames=(1001, 1002), face_frames=(1001,))
    with FacesetWriter(
        shot.faceset, face_type=FaceType.FULL, aligned_size=64, settings={}, authorization=Authorization()
    ) as writer:
        writer.add_frame(shot.pattern, 1002, SIZE, [])
    _, control = shot.merge()
    assert "FRAMES_NOT_EXTRACTED" not in control.reasons


@pytest.mark.parametrize("face_frames", [(1001, 1002), (1005,)])
def test_a_part_of_the_shot_without_a_face_is_the_plate(make_shot, face_frames):
    """A farm's task knows its own frames only, and gives what the whole range would."""
    shot = make_shot(frames=tuple(range(1001, 1006)), face_frames=face_frames)
    shot.merge("whole/swap.####.exr")
    result, control = shot.merge(frames=(1003, 1004))
    assert (result.frames_written, result.frames_without_face) == (2, 2)
    assert "NO_FACES_IN_RANGE" in control.reasons
    for frame in (1003, 1004):
        part, whole = (shot.folder / f"{name}/swap.{frame}.exr" for name in ("out", "whole"))
        assert part.read_bytes() == whole.read_bytes()


def test_a_part_of_a_movie_that_was_never_extracted_is_the_plate_as_of_a_sequence(make_shot):
    shot = make_shot(frames=(1, 2), face_frames=(1, 2))

    def select(**movie):
        plate = SimpleNamespace(name=shot.pattern, size=SIZE, frames=FrameRange.parse("5-6"), **movie)
        with Faceset.open(shot.faceset) as faceset:
            return select_records(plate, faceset, is_part=True)

    records, notices = select(last_frame=6)
    assert sorted(records) == [1, 2]
    assert [notice.reason for notice in notices] == ["NO_FACES_IN_RANGE"]
    with pytest.raises(InvalidInput, match="holds no face"):
        select()  # of what is no movie and has no files


def test_a_plate_of_another_size_than_was_extracted_is_refused(make_shot, portrait_linear):
    shot = make_shot()
    for frame in shot.frames:
        save(shot.folder / f"plate/shot.{frame}.exr", "RGB", portrait_linear[:200, :300].astype(np.float16))
    with pytest.raises(InvalidInput, match=r"300x200 px, but was 320x240.*Extract it again") as caught:
        shot.merge()
    assert caught.value.reason == "PLATE_SIZE_DIFFERS"
    assert not (shot.folder / "out").exists()


def test_missing_frames_stop_or_are_skipped_and_named(make_shot):
    shot = make_shot()
    (shot.folder / "plate/shot.1002.exr").unlink()
    with pytest.raises(NotFound, match="1002"):
        merge_plate(shot, shot.pattern, frames=shot.frames)
    assert not (shot.folder / "out").exists()
    result, control = merge_plate(shot, shot.pattern, frames=shot.frames, missing_frames="skip")
    assert (result.frames_written, result.frames_skipped) == (2, 1)
    (notice,) = (event for event in control.events if getattr(event, "reason", "") == "FRAMES_MISSING")
    assert "1002" in notice.message
    assert not (shot.folder / "out/swap.1002.exr").exists()


def test_an_empty_range_is_refused(make_shot):
    shot = make_shot()
    for frames in ((), (2001,)):
        with pytest.raises(DflError) as caught:
            merge_plate(shot, shot.pattern, frames=frames, missing_frames="skip")
        assert caught.value.reason == "EMPTY_FRAME_RANGE"


def test_a_long_list_of_missing_frames_stays_readable(make_shot):
    shot = make_shot()
    with pytest.raises(NotFound, match="499998 frames") as caught:
        merge_plate(shot, shot.pattern, frames=range(1, 1_000_001, 2))
    assert "1,3,5," in caught.value.message
    assert "999999;" in caught.value.message
    assert len(caught.value.message) + len(caught.value.details["frame"]) < 1500


def test_frames_far_beyond_32_bits_keep_their_numbers(make_shot, portrait_linear):
    number = 5_000_000_000
    shot = make_shot(frames=(1001,), face_frames=(number,))
    pixels = portrait_linear.astype(np.float16)
    save(shot.folder / f"far/shot.{number}.exr", "RGB", pixels)
    result, _ = merge_plate(shot, shot.folder / "far/shot.####.exr", provenance_attributes="full")
    assert (result.frames_written, result.frames_without_face) == (1, 0)
    is_the_plates_outside(channels(shot, number), pixels)
    assert merge_plate(shot, shot.folder / "far/shot.####.exr", provenance_attributes="full")[0].frames_kept == 1


def test_frames_beyond_64_bits_are_refused(make_shot, portrait_linear):
    """As in files that are named by date and time to the microsecond."""
    shot = make_shot(frames=(1001,))
    save(shot.folder / "far/shot.20240101123045123456.exr", "RGB", portrait_linear.astype(np.float16))
    with pytest.raises(InvalidInput, match="rename the files") as caught:
        merge_plate(shot, shot.folder / "far/shot.####.exr")
    assert caught.value.reason == "FRAME_NUMBER_TOO_LARGE"


def test_negative_frames_under_either_spelling(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,), face_frames=(-5, -4))
    pixels = portrait_linear.astype(np.float16)
    for name in ("-005", "-0004"):  # as printf pads them, and with the sign beside the digits
        save(shot.folder / f"early/shot.{name}.exr", "RGB", pixels)
    result, _ = merge_plate(shot, shot.folder / "early/shot.####.exr", frames=(-5, -4))
    assert (result.frames_written, result.frames_without_face) == (2, 0)
    assert {path.name for path in (shot.folder / "out").glob("*.exr")} == {"swap.-005.exr", "swap.-004.exr"}


# Files that are none.


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "folder"])
@pytest.mark.parametrize("frame", [1001, 1002])
def test_a_frame_that_is_no_picture_is_named_or_skipped(make_shot, damage, frame):
    """The first frame of a range is no other than the rest: its header decides nothing if it has none."""
    shot = make_shot()
    path = shot.folder / f"plate/shot.{frame}.exr"
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "text": b"not a picture\n"}[damage])
    with pytest.raises((DataCorrupt, NotFound), match=rf"shot\.{frame}\.exr") as caught:
        merge_plate(shot, shot.pattern, frames=shot.frames)
    assert caught.value.details["frame"] == str(frame)
    result, control = merge_plate(shot, shot.pattern, frames=shot.frames, missing_frames="skip")
    assert result.frames_written + result.frames_kept == 2
    told = [event for event in control.events if isinstance(event, Notice) and str(frame) in event.message]
    assert {event.reason for event in told} & {"FRAME_SKIPPED", "FRAMES_MISSING"}
    assert not (shot.folder / f"out/swap.{frame}.exr").exists()


def test_when_every_frame_is_damaged_that_is_an_error_even_when_skipping(make_shot):
    shot = make_shot()
    for frame in shot.frames:
        (shot.folder / f"plate/shot.{frame}.exr").write_bytes(b"")
    with pytest.raises(DataCorrupt, match=r"shot\.1001\.exr"):
        merge_plate(shot, shot.pattern, frames=shot.frames, missing_frames="skip")


def test_deep_plates_are_refused_with_what_to_do(make_shot):
    shot = make_shot(frames=(1001,))
    path = shot.folder / "deep/shot.1001.exr"
    path.parent.mkdir()
    spec = oiio.ImageSpec(*SIZE, 5, "half")
    spec.channelnames = ("R", "G", "B", "A", "Z")
    spec.channelformats = (oiio.HALF, oiio.HALF, oiio.HALF, oiio.HALF, oiio.FLOAT)
    spec.deep = True
    data = oiio.DeepData()
    data.init(SIZE[0] * SIZE[1], 5, spec.channelformats, spec.channelnames)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), spec), target.geterror()
    assert target.write_deep_image(data), target.geterror()
    target.close()
    with pytest.raises(Unsupported, match="deep image; flatten it"):
        merge_plate(shot, shot.folder / "deep/shot.####.exr")


# Channels.


@pytest.mark.parametrize("names", [("A",), ("matte.A",), ("Z",), ("X", "Y", "Z")])
def test_a_plate_without_colour_is_refused_before_anything_is_written(make_shot, portrait_linear, names):
    shot = make_shot(frames=(1001,))
    save(shot.folder / "gray/shot.1001.exr", names, portrait_linear.astype(np.float16)[..., : len(names)])
    with pytest.raises(InvalidInput, match="no colour channels") as caught:
        merge_plate(shot, shot.folder / "gray/shot.####.exr")
    assert caught.value.reason == "NO_COLOR_CHANNELS"
    assert all(name in caught.value.message for name in names)
    assert "R, G and B" in caught.value.message
    assert not (shot.folder / "out").exists()


@pytest.mark.parametrize(
    ("names", "beauty"),
    [
        (("red", "green", "blue"), 0),
        (("plate.R", "plate.G", "plate.B"), 0),
        (("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha"), 0),
        (("A", "B", "G", "R"), None),
        (("depth.Z", "plate.B", "plate.G", "plate.R"), None),
        (("left.R", "left.G", "left.B", "right.R", "right.G", "right.B"), 0),
    ],
)
def test_colour_by_other_names_is_merged_bit_for_bit(make_shot, portrait_linear, names, beauty):
    shot = make_shot(frames=(1001,))
    rgb = portrait_linear.astype(np.float16)
    last = [name.rpartition(".")[2][0].upper() for name in names]
    planes = [rgb[..., "RGB".index(one)] if one in "RGB" else np.ones_like(rgb[..., 0]) for one in last]
    if names[0] == "left.R":
        planes[3:] = [np.float16(0.5) * plane for plane in planes[3:]]
    save(shot.folder / "named/shot.1001.exr", names, np.stack(planes, axis=2))
    _, control = merge_plate(shot, shot.folder / "named/shot.####.exr")
    merged = channels(shot)
    is_the_plates_outside(merged, rgb)
    if names[0] == "left.R":
        (notice,) = (event for event in control.events if getattr(event, "reason", "") == "COLOR_LAYER_ASSUMED")
        assert notice.details["layer"] == "left"
        (notice,) = (event for event in control.events if getattr(event, "reason", "") == "CHANNELS_DROPPED")
        assert notice.details["channels"] == "right.R,right.G,right.B"  # names of views are no layers of ours


def test_a_plate_of_luminance_alone_is_a_gray_picture(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,))
    gray = portrait_linear.astype(np.float16)[..., 1:2]
    save(shot.folder / "gray/shot.1001.exr", ("Y",), gray)
    merge_plate(shot, shot.folder / "gray/shot.####.exr")
    is_the_plates_outside(channels(shot), np.repeat(gray, 3, axis=2))


def test_a_frame_whose_channels_differ_is_named_and_the_rest_is_done(make_shot, portrait_linear):
    shot = make_shot()
    save(shot.folder / "plate/shot.1002.exr", ("A",), portrait_linear.astype(np.float16)[..., :1])
    with pytest.raises(InvalidInput, match=r"shot\.1002\.exr has no colour channels, only A") as caught:
        shot.merge()
    assert caught.value.details["frame"] == "1002"
    assert {path.name for path in (shot.folder / "out").glob("*.exr")} == {"swap.1001.exr", "swap.1003.exr"}


# Parts, views, tiles.


def test_multi_part_as_blender_5_writes_it(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,))
    rgb = portrait_linear.astype(np.float16)
    alpha = np.ones_like(rgb[..., :1])
    parts = [
        ("ViewLayer.Combined", ("ViewLayer.Combined.R", "ViewLayer.Combined.G", "ViewLayer.Combined.B",
                                "ViewLayer.Combined.A"), np.concatenate([rgb, alpha], axis=2), ""),
        ("ViewLayer.Depth", ("ViewLayer.Depth.Z",), rgb[..., :1].astype(np.float32), ""),
        ("ViewLayer.Normal", ("ViewLayer.Normal.X", "ViewLayer.Normal.Y", "ViewLayer.Normal.Z"), rgb, ""),
    ]  # fmt: skip
    save_parts(shot.folder / "blender/shot.1001.exr", parts)
    _, control = merge_plate(shot, shot.folder / "blender/shot.####.exr")
    is_the_plates_outside(channels(shot), rgb)
    (notice,) = (event for event in control.events if getattr(event, "reason", "") == "PARTS_NOT_READ")
    assert "ViewLayer.Depth" in notice.details["parts"]


def test_stereo_takes_the_first_view_keeps_its_name_and_says_so(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,))
    rgb = portrait_linear.astype(np.float16)
    parts = [("rgba.left", "RGB", rgb, "left"), ("rgba.right", "RGB", np.zeros_like(rgb), "right")]
    save_parts(shot.folder / "stereo/shot.1001.exr", parts)
    _, control = merge_plate(shot, shot.folder / "stereo/shot.####.exr")
    is_the_plates_outside(channels(shot), rgb)
    (notice,) = (event for event in control.events if getattr(event, "reason", "") == "PARTS_NOT_READ")
    assert (notice.details["part"], notice.details["parts"]) == ("rgba.left", "rgba.right")
    source = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr"))
    assert source.spec().get_string_attribute("view") == "left"
    source.close()


def test_the_view_asked_for_is_merged_and_named_in_the_result(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,))
    rgb = portrait_linear.astype(np.float16)
    parts = [("rgba.left", "RGB", np.zeros_like(rgb), "left"), ("rgba.right", "RGB", rgb, "right")]
    save_parts(shot.folder / "stereo/shot.1001.exr", parts)
    _, control = merge_plate(shot, f"{shot.folder}/stereo/shot.####.exr?view=right")
    is_the_plates_outside(channels(shot), rgb)
    assert "VIEW_ASSUMED" not in control.reasons
    source = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr"))
    assert source.spec().get_string_attribute("view") == "right"
    source.close()


def test_a_gap_that_is_held_has_the_pixels_of_the_frame_before(make_shot):
    shot = make_shot(frames=(1001, 1002, 1003))
    (shot.folder / "plate/shot.1002.exr").unlink()
    _, control = merge_plate(shot, shot.pattern, missing_frames="hold")
    assert "FRAMES_HELD" in control.reasons
    before, held = channels(shot, 1001), channels(shot, 1002)
    outside = (before["matte.A"] == 0) & (held["matte.A"] == 0)
    assert (held["G"][outside] == before["G"][outside]).all()
    assert held["matte.A"].max() == 1.0


def test_tiled_plates_come_back_as_scan_lines_with_the_same_bits(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,))
    rgb = portrait_linear.astype(np.float16)
    save(shot.folder / "tiled/shot.1001.exr", "RGB", rgb, tiles=64)
    merge_plate(shot, shot.folder / "tiled/shot.####.exr")
    is_the_plates_outside(channels(shot), rgb)
    source = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr"))
    assert source.spec().tile_width == 0
    source.close()


# Numbers that are none.


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("mode", ["overlay", "seamless", "histogram", "seamless_histogram"])
def test_numbers_that_are_none_stay_outside_and_are_healed_inside(make_shot, portrait_linear, mode, dtype):
    pixels = portrait_linear.astype(dtype)
    payload = np.array(0x7E55 if dtype == np.float16 else 0x7FC12345, np.uint16 if dtype == np.float16 else np.uint32)
    view = bits(pixels)
    view[4:8, 4:8] = payload  # a NaN with a payload, which arithmetic would not keep
    pixels[10, 10] = -np.inf
    pixels[100:103, 150:152] = np.nan  # on the face
    pixels[130, 170] = np.inf
    shot = make_shot(frames=(1001,), pixels=pixels, dtype=dtype)
    with np.errstate(invalid="ignore"):
        _, control = shot.merge(mode=mode, motion_blur=30.0, grain=50.0, color_transfer="mkl", sharpen=20.0)
    merged = channels(shot)
    inside = merged["matte.A"] > 0
    assert inside[100:103, 150:152].all()
    assert inside[130, 170]
    for index, channel in enumerate("RGB"):
        plate = np.ascontiguousarray(pixels[..., index])
        assert (bits(merged[channel])[~inside] == bits(plate)[~inside]).all()
        assert np.isfinite(merged[channel][inside]).all()
        assert np.isfinite(merged[f"swap.{channel}"]).all()
    (notice,) = (event for event in control.events if getattr(event, "reason", "") == "PLATE_NOT_FINITE")
    assert (notice.details["frame"], notice.details["pixels"]) == ("1001", "7")


def test_a_face_of_nothing_but_nan_is_black_light_not_a_crash(make_shot, portrait_linear):
    shot = make_shot(frames=(1001,), pixels=np.full_like(portrait_linear, np.nan))
    shot.merge()
    merged = channels(shot)
    inside = merged["matte.A"] > 0
    assert np.isfinite(merged["R"][inside]).all()
    assert np.isnan(merged["R"][~inside]).all()


# Windows and pixels.


@pytest.mark.parametrize("shift", [(-150.0, 0.0), (-190.0, 0.0), (140.0, 0.0), (0.0, 150.0)])
def test_a_face_in_the_overscan_or_half_outside_is_merged_as_far_as_the_data_goes(make_shot, portrait_linear, shift):
    """The face's light is the plate's: moved with it, so that every place shows the same face."""
    moved = cv2.warpAffine(
        portrait_linear,
        np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32),
        SIZE,
        borderMode=cv2.BORDER_REPLICATE,
    )
    shot = make_shot(frames=(1001,), pixels=moved, overscan=60, display_origin=(11, -7), faces=(shift,))
    result, _ = shot.merge()
    assert result.frames_without_face == 0
    merged, plate = channels(shot), channels(shot, output="plate/shot.{}.exr")
    outside = merged["matte.A"] == 0
    assert merged["R"].shape == (SIZE[1] + 120, SIZE[0] + 120)
    assert (~outside).any()
    for channel in "RGB":
        assert (bits(merged[channel])[outside] == bits(plate[channel])[outside]).all()
        assert np.isfinite(merged[channel]).all()
    if shift == (-190.0, 0.0):  # the middle of the face lies left of the display window
        assert (~outside)[:, :60].sum() > (~outside)[:, 60:].sum()


@pytest.mark.parametrize("shift", [(-400.0, 0.0), (0.0, -500.0)])
def test_a_face_wholly_outside_leaves_the_plate(make_shot, shift):
    shot = make_shot(frames=(1001,), overscan=12, faces=(shift,))
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_without_face) == (1, 1)
    assert not channels(shot)["matte.A"].any()


def test_a_data_window_smaller_than_the_frame_is_kept(make_shot, portrait_linear):
    """As a renderer's autocrop leaves it, the face half in it."""
    shot = make_shot(frames=(1001,))
    rgb = portrait_linear.astype(np.float16)[:, 160:]
    layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=np.ascontiguousarray(rgb))
    write_exr(
        shot.folder / "plate/shot.1001.exr",
        layers=[layer],
        data_window=Window(x=160, y=0, width=160, height=240),
        display_window=Window(x=0, y=0, width=320, height=240),
        color_space="ACEScg",
    )
    shot.merge()
    merged = channels(shot)
    assert merged["R"].shape == (240, 160)
    is_the_plates_outside(merged, rgb)


def test_anamorphic_plates_keep_their_pixels_shape_and_the_face_its_own(make_shot, portrait_linear):
    squeezed = cv2.resize(portrait_linear, (SIZE[0] // 2, SIZE[1]), interpolation=cv2.INTER_AREA)
    wide = make_shot(frames=(1001,))
    wide.merge("wide/swap.####.exr")
    shot = make_shot(frames=(1001,), pixels=squeezed, squeeze=2, pixel_aspect=2.0)
    shot.merge()
    source = oiio.ImageInput.open(str(shot.folder / "out/swap.1001.exr"))
    assert source.spec().get_float_attribute("PixelAspectRatio") == 2.0
    source.close()
    narrow, full = channels(shot)["matte.A"], channels(wide, output="wide/swap.{}.exr")["matte.A"]
    assert narrow.astype(float).sum() * 2 == pytest.approx(full.astype(float).sum(), rel=0.02)
    unsqueezed = cv2.resize(narrow.astype(np.float32), SIZE, interpolation=cv2.INTER_LINEAR)
    assert np.abs(unsqueezed - full.astype(np.float32)).mean() < 0.01


def test_frames_of_differing_size_are_named_and_the_rest_is_done(make_shot, portrait_linear):
    shot = make_shot()
    save(shot.folder / "plate/shot.1002.exr", "RGB", portrait_linear[:200, :300].astype(np.float16))
    with pytest.raises(InvalidInput, match=r"Frame 1002 .* 300x200.* 320x240") as caught:
        shot.merge()
    assert caught.value.reason == "FRAME_SIZE_DIFFERS"
    assert {path.name for path in (shot.folder / "out").glob("*.exr")} == {"swap.1001.exr", "swap.1003.exr"}
    assert all(is_valid_exr(path) for path in (shot.folder / "out").glob("*.exr"))


def test_a_link_to_nowhere_is_a_missing_frame(make_shot):
    shot = make_shot()
    path = shot.folder / "plate/shot.1002.exr"
    path.unlink()
    os.symlink(shot.folder / "gone.exr", path)
    with pytest.raises(NotFound, match="1002"):
        merge_plate(shot, shot.pattern, frames=shot.frames)
