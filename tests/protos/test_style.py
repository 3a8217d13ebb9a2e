"""Rules of the protocol's text that a compiler does not know."""

import re
from pathlib import Path

import pytest

from dflproto.v1 import (
    common_pb2,
    daemon_service_pb2,
    faceset_service_pb2,
    job_service_pb2,
    merge_service_pb2,
    model_service_pb2,
    settings_pb2,
    storage_service_pb2,
)

FILES = (
    common_pb2,
    daemon_service_pb2,
    faceset_service_pb2,
    job_service_pb2,
    merge_service_pb2,
    model_service_pb2,
    settings_pb2,
    storage_service_pb2,
)
SELF_EXPLAINING = re.compile(
    r"(bool|int|float|string)_value|(yaw|roll)_rad|extract|train|merge|curate|train_mask|train_detail|(import|export)_model|state|frame_progress|train_progress|preview"
    r"|saved|notice|reason|message|details|id|path|job|faceset|model|page_token"
)
"""Fields that repeat what their message or the field above them says."""


def test_all_files_are_looked_at(repository: Path) -> None:
    there = {path.stem for path in (repository / "protos" / "dflproto" / "v1").glob("*.proto")}
    assert there == {module.DESCRIPTOR.name.rpartition("/")[2].removesuffix(".proto") for module in FILES}


@pytest.mark.parametrize("module", FILES, ids=lambda module: module.__name__)
def test_enums_start_at_unspecified(module) -> None:
    for name, enum in module.DESCRIPTOR.enum_types_by_name.items():
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
        assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"
        assert all(value.name.startswith(prefix) for value in enum.values)
        assert [value.number for value in enum.values] == list(range(len(enum.values)))


@pytest.mark.parametrize("module", FILES, ids=lambda module: module.__name__)
def test_every_method_has_a_request_and_a_response_of_its_own(module) -> None:
    for service in module.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            assert method.input_type.name == f"{method.name}Request"
            assert method.output_type.name == f"{method.name}Response"


@pytest.mark.parametrize("module", FILES, ids=lambda module: module.__name__)
def test_what_is_declared_is_explained(repository: Path, module) -> None:
    """By a comment above it; requests and responses by the comment of their method."""
    bare: list[str] = []
    is_told = False
    for line in (repository / "protos" / module.DESCRIPTOR.name).read_text("utf-8").splitlines():
        text = line.strip()
        field = re.match(r"(?:optional |repeated |map<.*> |[\w.]+ )+(\w+) = \d+;", text)
        declared = re.match(r"(?:rpc|enum|message|service) (\w+)", text)
        needs_no_comment = (field and SELF_EXPLAINING.fullmatch(field[1])) or (
            declared and declared[1].endswith(("Request", "Response"))
        )
        if (field or declared) and not is_told and not needs_no_comment:
            bare.append(text)
        is_told = text.startswith("//")
    assert not bare


def test_every_proto_says_what_it_is_for(repository: Path) -> None:
    for path in (repository / "protos" / "dflproto" / "v1").glob("*.proto"):
        assert path.read_text("utf-8").startswith("// "), path.name
