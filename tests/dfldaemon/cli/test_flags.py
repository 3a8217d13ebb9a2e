"""Flags are the settings: none missing, none invented, same ranges, defaults left to the daemon."""

import argparse

import pytest

from dflcore.config.base import Settings
from dflcore.config.describe import describe_settings
from dflcore.config.exchange import ModelExportSettings, ModelImportSettings
from dflcore.config.extract import ExtractSettings
from dflcore.config.knobs import Audience, knob
from dflcore.config.merge import MergeSettings
from dflcore.config.qc import QcSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput
from dfldaemon.cli.flags import add_settings_flags, flag_help, flag_name, given_settings
from dfldaemon.cli.parser import build_parser
from dflproto.v1 import settings_pb2

WORK = {
    "extract": (ExtractSettings, ["extract", "in", "--faceset", "f"]),
    "train": (TrainSettings, ["train", "--source", "s", "--target", "t", "--model", "m"]),
    "merge": (MergeSettings, ["merge", "in", "--model", "m", "--faceset", "f", "--output", "o"]),
    "model import": (ModelImportSettings, ["model", "import", "old", "--model", "m"]),
    "model export": (ModelExportSettings, ["model", "export", "m", "--output", "o"]),
    "qc": (QcSettings, ["qc", "result", "--plate", "p", "--faceset", "f", "--output", "o"]),
}


def sample_value(description):
    """A legal value that is not the default."""
    if description.type == "bool":
        return not description.default
    if description.choices:
        return next(choice for choice in description.choices if choice != description.default)
    if description.name == "authorization_until":
        return "2027-12-31"
    if description.name in ("masks", "segmentation"):
        return "label & !hands > hull"
    if description.name == "cast":
        return "track 3 = /models/anna"
    if description.name == "overrides":
        return "1001: opacity=0.5"
    if description.name == "letters":
        return "ud"
    if description.type == "string":
        return "some text"
    low = 1.0 if description.minimum is None else description.minimum
    high = low + 1 if description.maximum is None else min(low + 1, description.maximum)
    value = low if low != description.default else high
    return int(value) if description.type == "int" else float(value)


def as_flags(description, value):
    if description.type == "bool":
        return [flag_name(description.name) if value else "--no-" + flag_name(description.name)[2:]]
    return [f"{flag_name(description.name)}={value}"]


@pytest.mark.parametrize("command", WORK)
def test_every_setting_has_its_flag_and_reaches_the_message(command):
    settings_class, arguments = WORK[command]
    wanted = {description.name: sample_value(description) for description in describe_settings(settings_class)}
    flags = [
        flag
        for description in describe_settings(settings_class)
        for flag in as_flags(description, wanted[description.name])
    ]
    values = given_settings(build_parser().parse_args([*arguments, *flags]), settings_class)
    assert values == wanted
    message = getattr(settings_pb2, settings_class.__name__)(**values)
    assert {field.name: value for field, value in message.ListFields()} == pytest.approx(wanted)


@pytest.mark.parametrize("command", WORK)
def test_nothing_given_means_nothing_sent(command):
    settings_class, arguments = WORK[command]
    assert given_settings(build_parser().parse_args(arguments), settings_class) == {}


@pytest.mark.parametrize("command", WORK)
def test_help_names_unit_range_and_default(command, capsys):
    settings_class, _ = WORK[command]
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([*command.split(), "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for description in describe_settings(settings_class):
        flag = flag_name(description.name)
        assert f"--[no-]{flag[2:]}" in text if description.type == "bool" else flag in text
    sample = describe_settings(settings_class)[-1]
    assert flag_help(sample).split()[0] in text


def test_help_of_a_number_says_what_is_allowed():
    by_name = {description.name: description for description in describe_settings(MergeSettings)}
    assert flag_help(by_name["matte_erode"]).endswith("[-25 to 25 %%; default 0]")
    assert "default on" in flag_help({d.name: d for d in describe_settings(TrainSettings)}["random_warp"])


def test_help_begins_with_what_must_be_said(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["train", "--help"])
    usage = " ".join(capsys.readouterr().out.partition("\n\n")[0].split())
    assert usage == "usage: dfl train --source DIR --target DIR --model DIR [--detach | --watch] [FLAGS]"


def test_help_shows_the_headings_artists_first(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["train", "--help"])
    text = capsys.readouterr().out
    headings = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    for_artists = ["network", "how long", "speed and memory", "learning", "faces", "losses", "saving and previews"]
    assert headings[2:10] == [*for_artists, "permission"]
    assert all(heading.endswith(", for technical directors") for heading in headings[10:])
    assert text.index("--preset") < text.index("--resolution") < text.index("--batch-size") < text.index("--ae-dims")


def test_internal_settings_work_but_are_not_shown():
    class Odd(Settings):
        hidden: int = knob(1, "Nobody needs this.", ge=0, le=5, audience=Audience.INTERNAL)

    parser = argparse.ArgumentParser()
    add_settings_flags(parser, Odd)
    assert "--hidden" not in parser.format_help()
    assert given_settings(parser.parse_args(["--hidden", "3"]), Odd) == {"hidden": 3}


def test_all_values_out_of_range_are_named_together():
    options = build_parser().parse_args([*WORK["merge"][1], "--opacity", "2", "--matte-feather", "-1"])
    with pytest.raises(InvalidInput, match=r"opacity.*matte_feather|matte_feather.*opacity"):
        given_settings(options, MergeSettings)


def test_global_flags_stand_before_or_after_the_command():
    parser = build_parser()
    assert parser.parse_args(["--json", "job", "list"]).json
    assert parser.parse_args(["job", "list", "--json"]).json
    assert parser.parse_args(["--address", "unix:/a", "job", "list"]).address == "unix:/a"
    assert not parser.parse_args(["job", "list"]).json
