"""Each check fails alone when its figure is bad, and says figure and limit."""

import dataclasses

import pytest

from dflcore.demo.checks import REQUIRED_LAYERS, DemoFigures, check_demo
from dflcore.demo.measure import KEPT_ATTRIBUTES, channel_names
from dflcore.merge.aovs import LAYERS

GOOD = DemoFigures(
    frames=(1001, 1002),
    expected_frames=(1001, 1002),
    frames_without_face=(),
    identity_to_source=0.35,
    identity_to_source_max=0.41,
    identity_to_target=0.66,
    source_to_target=0.69,
    sharpness_ratio=0.6,
    contrast_ratio=1.1,
    outside_matte_px=1000,
    outside_matte_differing_px=0,
    outside_matte_max_difference=0.0,
    highlights_lost_frames=0,
    max_linear_value=7.9,
    missing_channels=(),
    changed_metadata=(),
)


def failed(**changed):
    return [check for check in check_demo(dataclasses.replace(GOOD, **changed)) if not check.passed]


def test_a_good_demo_passes():
    assert failed() == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"identity_to_source": 0.401}, "likeness"),
        ({"identity_to_target": 0.3}, "nearer to the source than to the target"),
        ({"sharpness_ratio": 0.49}, "sharpness"),
        ({"outside_matte_differing_px": 1}, "plate untouched outside the matte"),
        ({"outside_matte_px": 0}, "plate untouched outside the matte"),
        ({"highlights_lost_frames": 1}, "highlights kept"),
        ({"max_linear_value": 1.0}, "highlights kept"),
        ({"missing_channels": ("1001: st.R",)}, "every layer present"),
        ({"changed_metadata": ("1001: smpte:TimeCode",)}, "metadata kept"),
        ({"frames": (1001,)}, "every frame, same numbers"),
        ({"frames": ()}, "every frame, same numbers"),
        ({"frames_without_face": (1002,)}, "a face in every frame"),
    ],
)
def test_one_bad_figure_fails_one_check(changed, name):
    (check,) = failed(**changed)
    assert check.name == name
    assert check.figure
    assert check.limit


def test_layers_are_those_the_merge_can_write():
    assert {name: "".join(info.channels) for name, info in LAYERS.items()} == {
        name: letters for name, letters in REQUIRED_LAYERS.items() if name
    }
    assert channel_names("swap") == ["swap.R", "swap.G", "swap.B"]
    assert channel_names("") == ["R", "G", "B", "A"]


def test_time_code_is_among_the_attributes_that_must_be_kept():
    assert "smpte:TimeCode" in KEPT_ATTRIBUTES
    assert len(KEPT_ATTRIBUTES) >= 3
