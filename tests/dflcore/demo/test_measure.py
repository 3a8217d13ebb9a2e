"""Measuring a demo: a plate that was not touched, one that was, and pictures that show it. No network is trained."""

import json

import numpy as np
import pytest

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.demo.__main__ import main
from dflcore.demo.checks import REQUIRED_LAYERS, check_demo
from dflcore.demo.layout import EXIT_ERROR, DemoLayout
from dflcore.demo.measure import FaceMeter, measure
from dflcore.demo.pictures import write_before_after, write_contact_sheet
from dflcore.demo.plates import shoot_plates
from dflcore.demo.review import ReviewLayout, review_swap
from dflcore.extract.pipeline import extract_faces
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.open_plate import open_plate
from dflcore.progress import LoggedRun
from dflcore.weights.store import WeightStore

FRAME_COUNT = 2


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Plates, the target's faceset, and a result whose face is the plate's own."""
    layout = DemoLayout(tmp_path_factory.mktemp("demo"))
    shoot_plates(layout.plates, frame_count=FRAME_COUNT)
    plate = open_plate(str(layout.target_plate))
    extract_faces(
        plate, layout.target_faceset, ExtractSettings(max_faces=1), LoggedRun(), store=WeightStore(), device="cpu"
    )
    for frame in plate.frames:
        write_result(layout, plate.read(frame))
    return layout


def write_result(layout, image, *, change=lambda pixels: pixels, leave_out=()):
    height, width = image.pixels.shape[:2]
    matte = np.zeros((height, width, 1), np.float16)
    matte[150:300, 200:450] = 1.0
    layers = [ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=change(image.pixels.copy()))]
    for name, letters in REQUIRED_LAYERS.items():
        if name and name not in leave_out:
            pixels = np.repeat(matte, len(letters), axis=2) if "matte" in name else image.pixels[..., : len(letters)]
            kind = "float" if name == "st" else "half"
            layers.append(ExrLayer(name=name, channels=tuple(letters), pixels=pixels, pixel_type=kind))
    write_exr(
        layout.result.with_name(layout.result.name.replace("####", str(image.frame))),
        layers=layers,
        data_window=image.data_window,
        display_window=image.display_window,
        metadata=image.metadata,
        color_space=image.color_space,
    )


@pytest.fixture(scope="module")
def meter():
    return FaceMeter()


def test_an_untouched_plate_is_exact_and_still_the_target(layout, meter):
    figures = measure(layout, meter, ColorConverter())
    assert figures.frames == figures.expected_frames == (1001, 1002)
    assert (figures.outside_matte_differing_px, figures.outside_matte_max_difference) == (0, 0.0)
    assert figures.max_linear_value > 4.0
    assert figures.highlights_lost_frames == 0
    assert figures.identity_to_target < 0.4 < figures.identity_to_source
    assert figures.missing_channels == figures.changed_metadata == ()
    assert {check.name for check in check_demo(figures) if not check.passed} >= {"likeness"}


def test_what_was_damaged_is_found(layout, meter, tmp_path):
    damaged = DemoLayout(tmp_path)
    damaged.plates.symlink_to(layout.plates)
    (tmp_path / "facesets").symlink_to(layout.folder / "facesets")
    plate = open_plate(str(layout.target_plate))

    def flip(pixels):
        pixels.view(np.uint16)[0, 300, 1] ^= 1
        return pixels

    write_result(damaged, plate.read(1001), change=flip)
    write_result(damaged, plate.read(1002), leave_out=("st",))
    figures = measure(damaged, meter, ColorConverter())
    assert figures.outside_matte_differing_px == 1
    assert figures.missing_channels == ("1002: st.R st.G",)


def test_pictures_are_written(layout):
    converter = ColorConverter()
    assert write_contact_sheet(layout, converter).stat().st_size > 10_000
    movie = write_before_after(layout, converter, 24, and_back=True)
    assert len(open_plate(str(movie)).frames) == 2 * FRAME_COUNT


def test_a_review_of_an_untouched_plate_finds_the_same_person(layout, tmp_path):
    review = ReviewLayout(
        target_plate=layout.target_plate,
        result=layout.result,
        source_faceset=layout.target_faceset,
        target_faceset=layout.target_faceset,
        folder=tmp_path,
    )
    figures = review_swap(review)
    assert figures["to_source_max"] < 0.15
    assert figures["source_to_target"] == 0.0
    assert json.loads(review.report.read_text()) == figures
    assert len(open_plate(str(review.before_after)).frames) == FRAME_COUNT
    assert review.contact_sheet.is_file()


def test_a_demo_that_is_not_there_is_one_line_of_json(tmp_path, capsys):
    assert main(["measure", "--demo", str(tmp_path)]) == EXIT_ERROR
    report = json.loads(capsys.readouterr().err)
    assert report["category"] == "NOT_FOUND"
