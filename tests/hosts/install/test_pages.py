"""The page of each host: its commands are commands, and what it names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dflinstall.__main__ import build_parser

MOST_BYTES = 200_000


@pytest.mark.parametrize("host", ["nuke", "blender", "resolve"])
def test_a_page(repository: Path, host: str) -> None:
    page = repository / "docs" / "hosts" / f"{host}.md"
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^(dfl hosts .*)", text, flags=re.MULTILINE)
    assert {command.split()[2] for command in commands} == {"install", "doctor"}
    for command in commands:
        assert build_parser().parse_args(shlex.split(command)[2:]).host == host
    for name in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (page.parent / name).is_file(), name
        if name.endswith(".jpg"):
            assert (page.parent / name).stat().st_size <= MOST_BYTES
    steps = re.search(r"## First result, in five clicks\n(.*?)\n## ", text, flags=re.DOTALL)
    assert steps
    assert len(re.findall(r"^\d\. ", steps[1], flags=re.MULTILINE)) == 5
    assert "## What is tested, and what never ran" in text
