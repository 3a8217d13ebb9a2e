"""The README and the project say the same."""

import re
import shlex
from pathlib import Path

import pytest

from dflcore.merge.aovs import LAYERS
from dfldaemon.cli.parser import build_parser


def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("document", "least"), [("README.md", 6), ("docs/facesets.md", 10)])
def test_commands_parse(repository: Path, document: str, least: int) -> None:
    text = (repository / document).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^(?:\.venv/bin/)?(dfl .*)", text, flags=re.MULTILINE)
    assert len(commands) >= least
    for command in commands:
        options = build_parser().parse_args(shlex.split(command, comments=True)[1:])
        assert options.command


def test_make_targets_exist(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", readme(repository), flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_named_files_exist(repository: Path) -> None:
    text = readme(repository)
    named = re.findall(r"`((?:dflcore|daemon|protos|docs)/[\w./-]+)`", text) + re.findall(r"\]\(([\w./-]+)\)", text)
    assert len(named) > 5
    assert not [name for name in named if not (repository / name).exists()]


def test_layer_table_names_every_layer(repository: Path) -> None:
    text = readme(repository)
    assert not [name for name in LAYERS if name and f"`{name}`" not in text]


@pytest.mark.parametrize("word", ["pypi.", "/tmp/", "/root/"])
def test_no_machine_of_ours_is_named(repository: Path, word: str) -> None:
    documents = [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    assert not [path for path in documents if word in path.read_text(encoding="utf-8")]
