import xml.etree.ElementTree as ET

import pytest

from dflcore.config.qc import QcSettings
from dflcore.qc.measures import MEASURES
from dflcore.qc.plots import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    FrameScale,
    Series,
    draw_plot,
    draw_timeline,
    frames_text,
    nice_step,
    number_text,
)
from dflcore.qc.report import Finding

INFO = MEASURES["flicker"].info(QcSettings())


def series(values, first=1001, flagged=None):
    points = [(first + index, value) for index, value in enumerate(values) if value is not None]
    return Series(label="track 0", style="s0", points=points, flagged=flagged or {})


def drawing(values, **more):
    text = draw_plot(INFO, [series(values, **more)], FrameScale(1001, 1000 + len(values)), 1)
    return ET.fromstring(text)


def places(element):
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


@pytest.mark.parametrize("values", [[0.0] * 5, [1e-9] * 3, [3.0, 2.0, 50.0], [-0.2, 0.4], [123456.0, 3.0], [0.7]])
def test_every_curve_lies_inside_its_frame(values):
    root = drawing(values)
    found = [place for line in root.iter("polyline") for place in places(line)]
    found += [(float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter("circle")]
    assert len(found) == len(values)
    assert all(LEFT <= x <= RIGHT and TOP - 0.1 <= y <= BOTTOM + 0.1 for x, y in found)


def test_missing_frames_break_the_curve():
    root = drawing([0.1, 0.2, None, 0.3, None, 0.4, 0.5])
    assert [len(places(line)) for line in root.iter("polyline")] == [2, 2]
    assert len(list(root.iter("circle"))) == 1


def test_flags_can_be_read_without_scripts():
    root = drawing([0.1, 2.5, 0.2], flagged={1002: "look"})
    (flag,) = [one for one in root.iter("circle") if "flag" in one.get("class")]
    assert flag.find("title").text == "1002: 2.50 %"


def test_a_near_limit_is_drawn_and_a_far_one_is_not():
    assert len([one for one in drawing([0.4, 0.6]).iter("line") if one.get("class") == "limit"]) == 1
    assert not [one for one in drawing([0.01, 0.02]).iter("line") if one.get("class") == "limit"]


def test_a_limit_that_is_broken_is_always_drawn_with_what_lies_beyond():
    for info, values in ((MEASURES["sharpness"].info(QcSettings()), [0.02, 0.021]), (INFO, [900.0, 901.0])):
        root = ET.fromstring(draw_plot(info, [series(values)], FrameScale(1001, 1002), 1))
        (limit,) = [one for one in root.iter("line") if one.get("class") == "limit"]
        (zone,) = [one for one in root.iter("rect") if one.get("class") == "beyond"]
        (curve,) = [places(line) for line in root.iter("polyline")]
        top, bottom = float(zone.get("y")), float(zone.get("y")) + float(zone.get("height"))
        assert all(top <= y <= bottom for _, y in curve)
        assert TOP <= float(limit.get("y1")) <= BOTTOM


def test_timeline_places_runs():
    finding = Finding(
        measure="flicker", level="look", face=None, frames="1003-1005", count=3, worst_frame=1004, worst=2.0, severity=2
    )
    root = ET.fromstring(draw_timeline([("Flicker <x>", [finding])], FrameScale(1001, 1011, 200, 1100), 1))
    (bar,) = root.iter("rect")
    assert float(bar.get("x")) == pytest.approx(200 + 1.5 * 90)
    assert float(bar.get("width")) == pytest.approx(270)
    assert bar.find("title").text == "Flicker <x>: 1003-1005, worst at 1004"


@pytest.mark.parametrize(("span", "step"), [(1.0, 0.25), (7.0, 2.0), (100.0, 25.0), (0.013, 0.005), (0.0, 1.0)])
def test_steps_are_round(span, step):
    assert nice_step(span, 4) == pytest.approx(step)


def test_words():
    assert frames_text("1001-1003,1007") == "1001–1003, 1007"
    assert frames_text("-5--1,3") == "-5--1, 3"
    assert [number_text(value, 2) for value in (1.005, 1234567.0, 0.0)] == ["1.00", "1.23e+06", "0.00"]
