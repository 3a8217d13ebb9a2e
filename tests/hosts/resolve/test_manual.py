"""The manual's tables: every test they name is there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_proof_is_a_test(repository: Path) -> None:
    text = (repository / "docs" / "hosts" / "resolve.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    there = {name for path in HERE.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    assert len(named) > 30
    assert named <= there
