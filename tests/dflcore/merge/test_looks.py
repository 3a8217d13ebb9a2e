"""What an artist can ask of a merge, seen in the frames: modes, effects, colours over time, overrides, saved looks."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch

from dflcore.config.merge import MergeSettings
from dflcore.config.settings_file import read_settings_file
from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.io.exr import ExrLayer, is_valid_exr, read_exr_layers, write_exr
from dflcore.io.faceset import INDEX_NAME
from dflcore.io.plate import Window
from dflcore.types import FaceType

FRAMES = tuple(range(1001, 1008))


def frame(shot, number=1001, name="out"):
    return read_exr_layers(shot.folder / name / f"swap.{number}.exr")


def plate(shot, number=1001):
    return read_exr_layers(Path(shot.pattern.replace("####", str(number))))


def rgb(layers, name=""):
    prefix = f"{name}." if name else ""
    return np.stack([layers[f"{prefix}{channel}"].astype(np.float32) for channel in "RGB"], axis=-1)


def flicker(shot, portrait_linear):
    """Every other frame of the plate is brighter by a third."""
    height, width = portrait_linear.shape[:2]
    window = Window(x=0, y=0, width=width, height=height)
    for number in shot.frames:
        pixels = (portrait_linear * (1.0 + number % 2 / 3.0)).astype(np.float32)
        layer = ExrLayer(name="", channels=("R", "G", "B"), pixels=pixels, pixel_type="float")
        path = Path(shot.pattern.replace("####", str(number)))
        write_exr(path, layers=[layer], data_window=window, display_window=window, color_space="ACEScg")


def move_faces(shot, pixels_per_frame):
    """One person, followed through the shot, who moves to the right; where they are on frame 1003 stays."""
    with contextlib.closing(sqlite3.connect(shot.faceset / INDEX_NAME)) as index, index:
        for name, number, points, square in index.execute(
            "SELECT name, frame, landmarks, aligned_from_plate FROM face"
        ).fetchall():
            x = pixels_per_frame * (number - 1003)
            moved = np.frombuffer(points, "<f4").reshape(-1, 2) + np.float32([x, 0])
            matrix = affine.compose(np.frombuffer(square, "<f8").reshape(2, 3), affine.shift(-x, 0.0))
            index.execute(
                "UPDATE face SET track_id = 1, landmarks = ?, aligned_from_plate = ? WHERE name = ?",
                (moved.astype("<f4").tobytes(), matrix.astype("<f8").tobytes(), name),
            )


@pytest.mark.parametrize("mode", ["overlay", "seamless", "histogram", "seamless_histogram", "raw_rgb"])
def test_every_mode_changes_the_face_and_nothing_else(make_shot, mode):
    shot = make_shot(frames=(1001,), dtype=np.float32)
    shot.merge(mode=mode)
    layers, before = frame(shot), plate(shot)
    outside = layers["matte.A"] == 0
    assert (rgb(layers)[outside] == rgb(before)[outside]).all()
    assert np.abs(rgb(layers) - rgb(before))[~outside].max() > 0.02
    assert np.isfinite(rgb(layers)).all()
    again = rgb(before) + layers["matte.A"][..., None] * (rgb(layers, "swap") - rgb(before))
    np.testing.assert_allclose(rgb(layers), again, atol=2e-3)


def test_original_is_the_plate_with_all_layers(make_shot):
    shot = make_shot(frames=(1001,))
    shot.merge(mode="original")
    layers, before = frame(shot), plate(shot)
    assert all(np.array_equal(layers[channel], before[channel]) for channel in "RGB")
    assert layers["matte.A"].max() > 0.9
    assert np.abs(layers["swap.R"]).max() > 0.01


def test_raw_rgb_is_the_networks_square(make_shot):
    shot = make_shot(frames=(1001,))
    shot.merge(mode="raw_rgb")
    layers = frame(shot)
    square = layers["st.R"] > 0
    assert (layers["matte.A"][square] > 0.99).mean() > 0.98
    assert np.array_equal(layers["swap.G"], layers["raw.G"])


def test_raw_predict_is_the_square_alone(make_shot, fake_swapper):
    shot = make_shot(frames=(1001, 1002), face_frames=(1001,))
    result, _ = shot.merge(mode="raw_predict", swapper=fake_swapper(resolution=64))
    assert set(frame(shot)) == {"R", "G", "B", "A"}
    assert frame(shot)["R"].shape == (64, 64)
    assert frame(shot)["A"].max() > 0.9
    assert not any(values.any() for values in frame(shot, 1002).values())
    assert result.frames_without_face == 1
    with pytest.raises(InvalidInput, match="layered"):
        MergeSettings.from_values({"mode": "raw_predict", "profile": "flat"})


def test_seamless_meets_the_plate_at_the_mattes_edge(make_shot, fake_swapper):
    shot = make_shot(frames=(1001,), dtype=np.float32)
    swapper = fake_swapper(tint=(0.5, 0.5, 0.5))
    shot.merge("plain/swap.####.exr", swapper=swapper, color_transfer="none")
    shot.merge("seamless/swap.####.exr", swapper=swapper, color_transfer="none", mode="seamless")
    before = rgb(plate(shot))
    edge = (frame(shot, name="plain")["matte.A"] > 0.1) & (frame(shot, name="plain")["matte.A"] < 0.3)
    jump = {name: np.abs(rgb(frame(shot, name=name), "swap") - before)[edge].mean() for name in ("plain", "seamless")}
    assert jump["seamless"] < 0.35 * jump["plain"]


def test_histogram_carries_the_plates_tones_over(make_shot, fake_swapper):
    shot = make_shot(frames=(1001,), dtype=np.float32)
    swapper = fake_swapper(tint=(0.6, 0.8, 0.9))
    shot.merge(swapper=swapper, mode="histogram", color_transfer="none")
    layers = frame(shot)
    core = layers["matte.A"] == 1
    for share in (10, 50, 90):
        ours = np.percentile(rgb(layers, "swap")[core], share, axis=0)
        np.testing.assert_allclose(ours, np.percentile(rgb(plate(shot))[core], share, axis=0), rtol=0.08, atol=0.01)


@pytest.mark.parametrize(
    "changed",
    [
        {"sharpen": 40.0},
        {"sharpen": 40.0, "sharpen_mode": "box"},
        {"sharpen": -60.0},
        {"denoise": 100.0},
        {"degrade": 70.0},
        {"color_degrade": 100.0},
        {"grain": 100.0},
        {"color_transfer": "lct"},
        {"color_transfer": "rct"},
        {"color_transfer": "idt"},
        {"color_transfer": "sot"},
        {"color_transfer": "mix"},
        {"color_area": "square"},
        {"matte_mode": "learned_sum"},
        {"matte_mode": "full"},
    ],
    ids=str,
)
def test_every_knob_changes_the_face_and_keeps_the_plate(make_shot, changed, portrait_linear):
    noise = np.random.default_rng(3).standard_normal(portrait_linear.shape).astype(np.float32)
    grainy = portrait_linear * (1.0 + 0.05 * noise)
    shot = make_shot(frames=(1001,), dtype=np.float32, pixels=grainy)
    shot.merge("usual/swap.####.exr")
    shot.merge("changed/swap.####.exr", **changed)
    usual, ours = frame(shot, name="usual"), frame(shot, name="changed")
    core = usual["matte.A"] > 0.5
    assert not np.array_equal(rgb(usual)[core], rgb(ours)[core])
    assert np.isfinite(rgb(ours)).all()
    outside = ours["matte.A"] == 0
    assert (rgb(ours)[outside] == rgb(plate(shot))[outside]).all()


def test_sharpening_sharpens_and_softening_softens(make_shot):
    shot = make_shot(frames=(1001,), dtype=np.float32)

    def detail(name, **settings):
        shot.merge(f"{name}/swap.####.exr", **settings)
        layers = frame(shot, name=name)
        core = (layers["matte.A"] == 1)[:, 1:]
        return float(np.abs(np.diff(layers["swap.G"], axis=1))[core].mean())

    soft, usual, sharp = detail("soft", sharpen=-80.0), detail("usual"), detail("sharp", sharpen=80.0)
    assert soft < 0.9 * usual < usual < 0.9 * sharp
    assert detail("worn", degrade=90.0) < 0.7 * usual


def test_segmentation_modes_ask_for_a_network(make_shot):
    with pytest.raises(InvalidInput, match="segmenter") as caught:
        make_shot().merge(matte_mode="segmentation_source")
    assert caught.value.reason == "NO_SEGMENTER"
    with pytest.raises(InvalidInput, match="segmenter"):
        make_shot().merge(overrides="1002: matte_mode=segmentation_both")


def test_segmentation_target_without_a_mask_is_the_hull(make_shot):
    shot = make_shot(frames=(1001,))
    shot.merge("hull/swap.####.exr", matte_mode="hull")
    shot.merge("stored/swap.####.exr", matte_mode="segmentation_target")
    assert np.array_equal(frame(shot, name="hull")["matte.A"], frame(shot, name="stored")["matte.A"])


class Steady:
    """Paints the same face whatever it is shown, or a brighter one every other time."""

    resolution, face_type, name, digest = 64, FaceType.FULL, "steady", "0" * 64

    def __init__(self, pulse=0.0):
        self.pulse, self.count = pulse, 0

    def swap(self, target):
        self.count += 1
        ramp = torch.linspace(0.2, 0.5, 64).expand(len(target), 3, 64, 64) * (1.0 + self.pulse * (self.count % 2))
        masks = torch.ones(len(target), 1, 64, 64)
        return ramp, masks, masks


@pytest.mark.parametrize("pulse", [0.0, 0.5])
def test_smoothed_colours_flicker_less(make_shot, portrait_linear, pulse):
    shot = make_shot(frames=FRAMES, dtype=np.float32)
    flicker(shot, portrait_linear)

    def swing(name, **settings):
        shot.merge(f"{name}/swap.####.exr", swapper=Steady(pulse), **settings)
        means = []
        for number in FRAMES[2:5]:
            layers = frame(shot, number, name)
            means.append(float(layers["swap.G"][layers["matte.A"] == 1].mean()))
        return abs(means[0] - 2 * means[1] + means[2])

    assert swing("smooth", smooth_colors=2) < 0.5 * swing("usual")


@pytest.mark.parametrize("settings", [{"smooth_colors": 2}, {"smooth_matte": 2}, {"smooth_landmarks": 3}], ids=str)
def test_chunks_give_the_pixels_of_the_whole_range(make_shot, portrait_linear, settings):
    shot = make_shot(frames=FRAMES, dtype=np.float32)
    flicker(shot, portrait_linear)
    shot.merge("whole/swap.####.exr", **settings)
    shot.merge("part/swap.####.exr", frames=FRAMES[2:4], **settings)
    for number in FRAMES[2:4]:
        whole, part = frame(shot, number, "whole"), frame(shot, number, "part")
        assert all(np.array_equal(whole[name], part[name]) for name in whole)
    result, _ = shot.merge("part/swap.####.exr", **settings)
    assert (result.frames_kept, result.frames_written) == (2, len(FRAMES) - 2)


def test_a_changed_neighbour_makes_a_smoothed_frame_anew(make_shot, portrait_linear):
    shot = make_shot(frames=FRAMES, dtype=np.float32)
    shot.merge(smooth_colors=2)
    path = Path(shot.pattern.replace("####", "1001"))
    path.write_bytes(path.read_bytes())
    result, _ = shot.merge(smooth_colors=2, overwrite=True)
    assert result.frames_written == 3  # 1001, 1002 and 1003 look at it


def test_a_missing_neighbour_lends_nothing(make_shot):
    shot = make_shot(frames=FRAMES)
    Path(shot.pattern.replace("####", "1004")).unlink()
    result, _ = shot.merge(frames=(1003, 1005), smooth_colors=2, smooth_matte=1)
    assert result.frames_written == 2
    assert is_valid_exr(shot.folder / "out" / "swap.1003.exr")


def test_overrides_hold_on_their_frames_only(make_shot):
    shot = make_shot(frames=(1001, 1002, 1003))
    shot.merge("usual/swap.####.exr")
    shot.merge("over/swap.####.exr", overrides="1002: opacity=0.5; 1003: mode=original")
    same = [np.array_equal(frame(shot, n, "usual")["G"], frame(shot, n, "over")["G"]) for n in (1001, 1002, 1003)]
    assert same == [True, False, False]
    np.testing.assert_allclose(
        frame(shot, 1002, "over")["matte.A"], 0.5 * frame(shot, 1002, "usual")["matte.A"], atol=1e-3
    )
    result, _ = shot.merge("over/swap.####.exr", overrides="1002: opacity=0.25; 1003: mode=original", overwrite=True)
    assert (result.frames_kept, result.frames_written) == (2, 1)


def test_bad_overrides_are_refused_before_anything_is_read():
    with pytest.raises(InvalidInput, match="opacity"):
        MergeSettings(overrides="1-5: opacity=0>7")
    with pytest.raises(InvalidInput, match="profile"):
        MergeSettings(overrides="1-5: profile=flat")


def test_the_look_is_kept_beside_the_frames_and_reads_back(make_shot):
    shot = make_shot(frames=(1001,))
    chosen = {"matte_erode": 2.5, "color_transfer": "mkl", "overrides": "1001: opacity=0.5"}
    shot.merge(**chosen)
    (path,) = (shot.folder / "out").glob("*.toml")
    again = MergeSettings.from_values(read_settings_file(path, MergeSettings))
    assert again == MergeSettings(**chosen)
    shot.merge(**chosen)
    assert len(list((shot.folder / "out").glob("*.toml"))) == 1


def test_motion_blur_follows_the_face(make_shot):
    shot = make_shot(frames=FRAMES, dtype=np.float32)
    shot.merge("still/swap.####.exr", motion_blur=100.0)
    shot.merge("usual/swap.####.exr")
    for name in frame(shot, 1003, "usual"):  # nobody moves
        assert np.array_equal(frame(shot, 1003, "still")[name], frame(shot, 1003, "usual")[name])


def test_motion_blur_smears_a_moving_face_and_keeps_the_plate(make_shot):
    shot = make_shot(frames=FRAMES, dtype=np.float32)
    move_faces(shot, pixels_per_frame=12.0)
    shot.merge("sharp/swap.####.exr")
    shot.merge("smeared/swap.####.exr", motion_blur=100.0)
    sharp, smeared = frame(shot, 1003, "sharp"), frame(shot, 1003, "smeared")
    assert smeared["matte.A"].astype(np.float64).sum() == pytest.approx(sharp["matte.A"].sum(), rel=0.02)
    columns = {name: np.flatnonzero(one["matte.A"].max(0) > 0.02) for name, one in (("a", sharp), ("b", smeared))}
    assert 4 <= np.ptp(columns["b"]) - np.ptp(columns["a"]) <= 20
    outside = smeared["matte.A"] == 0
    assert (rgb(smeared)[outside] == rgb(plate(shot, 1003))[outside]).all()
