"""Settings as widgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dflcore.config.describe import describe_settings
from dflcore.config.extract import ExtractSettings
from dflcore.config.knobs import Audience
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dfldaemon.convert import knob_to_message
from dflhost import wire
from dflhost.errors import HostError
from dflhost.knobs import BOOL, CHOICE, FLOAT, INT, STRING, KnobSpec, changed_settings, in_groups, specs_from_answer
from dflproto.v1 import daemon_service_pb2

KNOB = KnobSpec("size", "Size", INT, 4, "How large.", "px", "artist", 0.0, 10.0, (), False, False, "")
GAIN = replace(KNOB, name="gain", kind=FLOAT, default=0.1, minimum=0.0, maximum=1.0)
MODE = replace(KNOB, name="mode", kind=CHOICE, default="a", choices=("a", "b"))
ON = replace(KNOB, name="on", kind=BOOL, default=True)
TEXT = replace(KNOB, name="text", kind=STRING, default="")
MAYBE = replace(KNOB, name="maybe", default=None, is_optional=True)


def specs_of(settings: Any, audience: Audience = Audience.INTERNAL) -> list[KnobSpec]:
    """As the daemon sends them."""
    knobs = [knob_to_message(knob) for knob in describe_settings(settings, audience)]
    data = daemon_service_pb2.DescribeSettingsResponse(knobs=knobs).SerializeToString()
    return specs_from_answer(wire.decode("dflproto.v1.DescribeSettingsResponse", data))


@pytest.mark.parametrize("settings", [ExtractSettings, TrainSettings, MergeSettings])
def test_every_setting_becomes_a_widget_whose_default_changes_nothing(settings: Any) -> None:
    knobs = specs_of(settings)
    assert [knob.name for knob in knobs] == [knob.name for knob in describe_settings(settings)]
    defaults = {knob.name: knob.default for knob in knobs}
    assert changed_settings(knobs, defaults) == {}
    assert settings.from_values({name: value for name, value in defaults.items() if value is not None}) == settings()
    for knob in knobs:
        assert knob.label[0].isupper() or knob.label[0].isdigit()
        assert knob.help in knob.tool_tip
    names = [knob.name for group in in_groups(knobs).values() for knob in group]
    assert sorted(names) == sorted(defaults)


def test_audiences_see_more_and_more() -> None:
    counts = [len(specs_of(TrainSettings, audience)) for audience in (Audience.ARTIST, Audience.TD, Audience.INTERNAL)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


@pytest.mark.parametrize(
    ("knob", "value", "cleaned"),
    [
        (KNOB, "7", 7),
        (KNOB, 7.0, 7),
        (GAIN, 1.00000001, 1.0),
        (GAIN, "0.5", 0.5),
        (GAIN, 1, 1.0),
        (MODE, "b", "b"),
        (ON, 0, False),
        (ON, "off", False),
        (TEXT, "", ""),
        (MAYBE, "", None),
        (MAYBE, None, None),
    ],
)
def test_values_of_widgets_are_cleaned(knob: KnobSpec, value: Any, cleaned: Any) -> None:
    found = knob.clean(value)
    assert found == cleaned
    assert type(found) is type(cleaned)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        (KNOB, 11),
        (KNOB, 2.5),
        (KNOB, "x"),
        (KNOB, None),
        (GAIN, float("nan")),
        (MODE, "c"),
        (ON, "perhaps"),
        (KNOB, -1),
    ],
)
def test_values_that_cannot_be_are_refused_with_their_field(knob: KnobSpec, value: Any) -> None:
    with pytest.raises(HostError) as failure:
        knob.clean(value)
    assert failure.value.reason == "BAD_SETTING"
    assert failure.value.details == {"field": knob.name}
    assert failure.value.message.startswith(knob.label)


def test_only_what_differs_is_sent_and_strangers_are_kept() -> None:
    values = {"size": 4, "gain": 0.10000000149011612, "mode": "b", "on": True, "maybe": None, "newer": 3}
    assert changed_settings([KNOB, GAIN, MODE, ON, MAYBE], values) == {"mode": "b", "newer": 3}
    assert changed_settings([ON], {"on": False}) == {"on": False}


def test_kinds_of_a_newer_daemon_are_texts() -> None:
    knob = wire.new("dflproto.v1.Knob")
    spec = specs_from_answer({"knobs": [{**knob, "name": "lr_curve", "type": 99, "audience": 77}]})[0]
    assert (spec.kind, spec.audience, spec.label, spec.default) == (STRING, "internal", "LR curve", None)
