"""The hand-written settings messages say the same as the settings classes, their one home."""

import re
from pathlib import Path

import pytest

from dflcore.config.curate import OPERATIONS
from dflcore.config.describe import describe_settings
from dflcore.config.knobs import KnobDescription
from dfldaemon.convert import SETTINGS_CLASSES
from dflproto.v1 import settings_pb2

TYPES = {"bool": "bool", "int": "int64", "float": "double", "string": "string", "choice": "string"}
CLASSES = [*SETTINGS_CLASSES.values(), *(operation.settings_class for operation in OPERATIONS.values())]


def declared(repository: Path, message: str) -> dict[str, tuple[str, str]]:
    """Field name → (type as written, comment in one line) of a message in settings.proto."""
    text = (repository / "protos" / "dflproto" / "v1" / "settings.proto").read_text("utf-8")
    body = re.search(rf"message {message} {{(.*?)\n?}}", text, re.DOTALL)
    assert body, f"settings.proto has no message {message}"
    found = re.findall(r"((?:\s*//[^\n]*\n)+)\s*optional (\w+) (\w+) = \d+;", body[1])
    return {
        name: (kind, " ".join(line.strip(" /") for line in note.strip().splitlines())) for note, kind, name in found
    }


def comment(knob: KnobDescription) -> str:
    """What the comment of a knob's field must be."""
    choices = f" One of: {', '.join(knob.choices)}." if knob.choices else ""
    unit = f" Unit: {knob.unit}." if knob.unit else ""
    return f"{knob.help}{choices}{unit}"


@pytest.mark.parametrize("settings_class", CLASSES, ids=lambda one: one.__name__)
def test_names_types_and_presence(settings_class: type) -> None:
    descriptor = getattr(settings_pb2, settings_class.__name__).DESCRIPTOR
    knobs = {knob.name: knob for knob in describe_settings(settings_class)}
    assert set(descriptor.fields_by_name) == set(knobs), "settings.proto and dflcore/config differ"
    for name, field in descriptor.fields_by_name.items():
        names = {getattr(field, key): key[5:].lower() for key in dir(field) if key.startswith("TYPE_")}
        assert names[field.type] == TYPES[knobs[name].type], name
        assert field.has_presence, f"{name} must be optional: absent means the daemon's default"


@pytest.mark.parametrize("settings_class", CLASSES, ids=lambda one: one.__name__)
def test_comments_are_the_help(repository: Path, settings_class: type) -> None:
    fields = declared(repository, settings_class.__name__)
    wrong = {
        knob.name: comment(knob)
        for knob in describe_settings(settings_class)
        if fields[knob.name] != (TYPES[knob.type], comment(knob))
    }
    assert not wrong


def test_every_settings_class_is_on_the_wire() -> None:
    from dflcore.config import curate, detail, exchange, extract, merge, qc, segment, train
    from dflcore.config.base import Settings
    from dflcore.config.network import NetworkSettings

    modules = (curate, detail, exchange, extract, merge, qc, segment, train)
    there = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    stages = {one for one in there if issubclass(one, Settings) and not issubclass(one, NetworkSettings)}
    assert stages - {Settings} == set(CLASSES)


def test_every_operation_is_a_field_of_the_curate_spec() -> None:
    from dflproto.v1 import job_service_pb2

    fields = job_service_pb2.CurateSpec.DESCRIPTOR.oneofs_by_name["operation"].fields
    declared_operations = {field.name: field.message_type.name for field in fields}
    assert declared_operations == {name: one.settings_class.__name__ for name, one in OPERATIONS.items()}
