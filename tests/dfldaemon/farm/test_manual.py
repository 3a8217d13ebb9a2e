"""The manual of farms names what there is."""

import re
import shlex
from pathlib import Path

import pytest

from dfldaemon.cli.parser import build_parser
from dfldaemon.farm.backends import BACKENDS


@pytest.fixture(scope="module")
def manual(repository: Path) -> str:
    return (repository / "docs" / "farms.md").read_text(encoding="utf-8")


def test_commands_parse(manual: str) -> None:
    commands = re.findall(r"^(dfl .*)", manual.replace("\\\n", " "), flags=re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert build_parser().parse_args(shlex.split(command)[1:]).command == "farm_command:submit"


def test_every_farm_has_its_row_and_its_extra(manual: str, repository: Path) -> None:
    project = (repository / "pyproject.toml").read_text(encoding="utf-8")
    for name, backend in BACKENDS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*", manual, flags=re.MULTILINE)
        if backend.extra:
            assert f"`{backend.extra}`" in row
            assert f"\n{backend.extra} = [" in project
        else:
            assert "untested" in row


def test_every_example_is_listed_and_run(repository: Path) -> None:
    listed = (repository / "examples" / "README.md").read_text(encoding="utf-8")
    tests = (repository / "tests" / "examples" / "test_examples.py").read_text(encoding="utf-8")
    for path in (repository / "examples").glob("*.py"):
        assert f"`{path.name}`" in listed
        assert f'"{path.name}"' in tests
