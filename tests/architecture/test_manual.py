"""The manual of facesets lists what there is, in the words of its one home."""

from pathlib import Path

import pytest

from dflcore.config.curate import OPERATIONS
from dflcore.curate.fields import fields
from dflcore.curate.sorts import SORTS


@pytest.fixture(scope="module")
def manual(repository: Path) -> str:
    return (repository / "docs" / "facesets.md").read_text(encoding="utf-8")


def test_every_field_of_filters_is_listed(manual: str) -> None:
    rows = [f"| `{one.name}` | {one.unit} | {one.help}{' *' if one.needs_pixels else ''} |" for one in fields()]
    assert not [row for row in rows if row not in manual]


def test_every_sort_is_listed(manual: str) -> None:
    rows = [f"| `{one.name}` | {one.help}{' *' if one.needs_pixels else ''} |" for one in SORTS.values()]
    assert not [row for row in rows if row not in manual]


def test_every_operation_is_listed(manual: str) -> None:
    rows = [f"| `{name.replace('_', '-')}` | {one.help} |" for name, one in OPERATIONS.items()]
    assert not [row for row in rows if row not in manual]
