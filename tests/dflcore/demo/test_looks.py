"""The manual's pictures and figures: measured right, of a size the manual may hold, made by one command."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.demo.__main__ import main
from dflcore.demo.highlight import PEAK_LINEAR, SHADE_SHARE, measure_highlight, sunlit
from dflcore.demo.layout import DemoLayout
from dflcore.demo.looks import SHEETS
from dflcore.demo.one_frame import MAX_PICTURE_BYTES, cell, square_around, write_sheet
from dflcore.demo.plates import shoot_plates
from dflcore.demo.st_maps import LIMIT_PX, centers, map_of, measure_maps, pull, with_checkers
from dflcore.extract.pipeline import extract_faces
from dflcore.geometry import affine
from dflcore.geometry.warp import st_map
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Window
from dflcore.merge.composite import FaceShare
from dflcore.merge.st_inverse import map_over_plate
from dflcore.progress import LoggedRun
from dflcore.types import Box
from dflcore.weights.store import WeightStore
from frame_shot import save_model
from small_facesets import make_record

WIDTH, HEIGHT, SIDE = 320, 180, 96


def turned_square(degrees=12.0, side_px=90.0):
    radians = np.deg2rad(degrees)
    scale = SIDE / side_px
    turn = scale * np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return np.column_stack([turn, SIDE / 2 - turn @ np.array([160.0, 90.0])])


def delivered(aligned_from_plate, *, shift_px=0.0, dtype=np.float32):
    """A frame's matte and maps as a file holds them; ``shift_px`` makes the map st wrong by so much."""
    window = Window(x=0, y=0, width=WIDTH, height=HEIGHT)
    matte = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(matte, (160, 90), 30, (1.0,), -1)
    share = FaceShare(person="", window=window, matte=matte, aligned_from_plate=aligned_from_plate, size=SIDE)
    st = st_map(affine.compose(aligned_from_plate, affine.shift(shift_px, 0.0)), SIDE, (0, 0, WIDTH, HEIGHT))
    way_back = map_over_plate(share, window, window)
    return {
        "matte.A": matte,
        "st.R": st[0].astype(dtype),
        "st.G": st[1].astype(dtype),
        "st_inverse.r": way_back[..., 0].astype(dtype),
        "st_inverse.g": way_back[..., 1].astype(dtype),
    }


@pytest.mark.parametrize("degrees", [0.0, 12.0, -140.0])
def test_right_maps_measure_right(degrees):
    square = turned_square(degrees)
    found = measure_maps(delivered(square), square, SIDE)
    assert found.pixels > 2500
    assert max(found.st[0], found.st_inverse[0], found.round_trip[0]) < 1e-3


@pytest.mark.parametrize("shift", [0.04, 0.2])
def test_a_map_that_is_off_is_measured_as_far_as_it_is_off(shift):
    square = turned_square()
    found = measure_maps(delivered(square, shift_px=shift), square, SIDE)
    np.testing.assert_allclose(found.st, shift, atol=1e-3)
    np.testing.assert_allclose(found.round_trip, shift, atol=1e-3)
    assert found.st_inverse[0] < 1e-3
    assert (found.round_trip[0] > LIMIT_PX) == (shift > LIMIT_PX)


def test_half_floats_would_not_do():
    """Why the maps are 32-bit whatever the picture is."""
    square = turned_square()
    assert measure_maps(delivered(square, dtype=np.float16), square, SIDE).round_trip[0] > LIMIT_PX


def test_pulling_is_bilinear_between_pixel_centres():
    rng = np.random.default_rng(0)
    picture = rng.random((7, 9, 3))
    points = centers(9, 7)
    own = np.stack([points[..., 0] / 9, 1 - points[..., 1] / 7], axis=2)
    np.testing.assert_allclose(pull(picture, own), picture, atol=1e-12)
    half = own + np.array([0.5 / 9, 0.0])
    np.testing.assert_allclose(pull(picture, half)[:, :-1], (picture[:, :-1] + picture[:, 1:]) / 2, atol=1e-12)
    np.testing.assert_allclose(pull(picture, own + 5.0)[0, 0], picture[0, -1])  # far out, the edge is repeated: t is up


def test_a_maps_channels_are_found_whatever_their_case():
    found = map_of({"st.r": np.zeros((2, 2)), "st.g": np.ones((2, 2)), "st_inverse.R": np.full((2, 2), 5.0)}, "st")
    assert found.shape == (2, 2, 2)
    assert found[..., 1].min() == 1.0


def test_sunlit_skin_reaches_the_peak_and_falls_off_smoothly():
    record = replace(make_record(1, plate_size=(320, 240)), box=Box(100.0, 60.0, 220.0, 200.0))
    record.landmarks.points[:] = np.random.default_rng(0).uniform((105, 65), (215, 195), (68, 2))
    lit = sunlit(np.full((240, 320, 3), 0.5, np.float32), record)
    assert lit[:, 105:215].max() == pytest.approx(PEAK_LINEAR, rel=0.05)
    np.testing.assert_allclose(lit[120, 319] / lit[120, 0], SHADE_SHARE, rtol=1e-3)
    assert np.abs(np.diff(lit[120, :, 0])).max() < 0.02 * PEAK_LINEAR


def test_a_clipped_highlight_and_a_touched_plate_are_told():
    plate = np.full((60, 60, 3), 0.25, np.float16)
    plate[20:40, 20:40] = 8.4
    matte = np.zeros((60, 60), np.float16)
    matte[10:50, 10:50] = 1.0

    def layers(rgb):
        return {**{channel: rgb[..., index] for index, channel in enumerate("RGB")}, "matte.A": matte}

    clipped = np.minimum(plate, np.float16(1.0))
    touched = plate.copy()
    touched[0, 0] = 0.5
    found = measure_highlight(plate, {"good": layers(plate), "clipped": layers(clipped), "touched": layers(touched)})
    assert found.inside_max == pytest.approx({"plate": 8.4, "good": 8.4, "clipped": 1.0, "touched": 8.4}, rel=1e-3)
    assert found.clipped_share == {"good": 0.0, "clipped": 1.0, "touched": 0.0}
    assert [found.outside[name].differing_px for name in ("good", "clipped", "touched")] == [0, 0, 1]
    assert any("1 of 2000 pixels outside the matte differ" in line for line in found.lines())


def test_sheets_fit_the_manual_and_squares_the_picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.2)
    path = write_sheet(tmp_path / "sheet.jpg", [[cell(smooth, 300, "one", "two")] * 3] * 2)
    assert path.stat().st_size <= MAX_PICTURE_BYTES
    assert cv2.imread(str(path)).shape == (2 * (300 + 52), 900, 3)
    record = replace(make_record(1), box=Box(-20.0, 100.0, 150.0, 230.0))
    rows, columns = square_around(record, (320, 240))
    assert rows.stop - rows.start == columns.stop - columns.start == 240
    assert (rows.start, columns.start) == (0, 0)
    board = with_checkers(np.full((32, 32, 3), 200, np.uint8))
    assert set(np.unique(board)) == {50, 200}


def test_every_look_is_a_legal_setting():
    for looks in SHEETS.values():
        for label, settings in looks:
            assert MergeSettings(**settings), label


@pytest.mark.slow
def test_one_command_makes_all_pictures_and_prints_the_figures(tmp_path, capsys):
    layout = DemoLayout(tmp_path / "demo")
    shoot_plates(layout.plates, frame_count=2)
    plate = open_plate(str(layout.target_plate))
    extract_faces(
        plate, layout.target_faceset, ExtractSettings(max_faces=1), LoggedRun(), store=WeightStore(), device="cpu"
    )
    save_model(layout.model)
    assert main(["looks", "--demo", str(layout.folder), "--output", str(tmp_path / "images")]) == 0
    printed = capsys.readouterr().out
    names = {*(f"{name}.jpg" for name in SHEETS), "highlight.jpg", "st_map.jpg"}
    assert {path.name for path in (tmp_path / "images").iterdir()} == names
    assert all((tmp_path / "images" / name).stat().st_size < 300_000 for name in names)
    assert "ST maps, half dwaa: round trip 0.00" in printed
    assert printed.count("0 of ") >= 2  # nothing differs outside the matte
