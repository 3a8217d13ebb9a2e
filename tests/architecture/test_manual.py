"""The manuals list what there is, in the words of its one home."""

from pathlib import Path

import pytest

from dflcore.config.curate import OPERATIONS
from dflcore.config.describe import describe_settings, in_groups
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.curate.fields import fields
from dflcore.curate.sorts import SORTS
from dflcore.merge.aovs import LAYERS, ON_REQUEST
from dflcore.models.registry import load_preset, preset_names


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


@pytest.fixture(scope="module")
def training_manual(repository: Path) -> str:
    return (repository / "docs" / "training.md").read_text(encoding="utf-8")


def test_every_preset_is_listed(training_manual: str) -> None:
    rows = [f"| `{name}` | {load_preset(name).help} |" for name in preset_names()]
    assert not [row for row in rows if row not in training_manual]


def test_every_setting_of_training_is_listed(training_manual: str) -> None:
    for group, knobs in in_groups(describe_settings(TrainSettings)).items():
        rows = "".join(f"| `{one.name}` | {one.help} |\n" for one in knobs)
        assert f"### {group.capitalize()}\n\n| setting | what it does |\n|---|---|\n{rows}" in training_manual


@pytest.fixture(scope="module")
def merging_manual(repository: Path) -> str:
    return (repository / "docs" / "merging.md").read_text(encoding="utf-8")


def test_every_setting_of_merging_is_listed(merging_manual: str) -> None:
    for group, knobs in in_groups(describe_settings(MergeSettings)).items():
        rows = "".join(f"| `{one.name}` | {one.help} |\n" for one in knobs)
        title = (group or "general").capitalize()
        assert f"### {title}\n\n| setting | what it does |\n|---|---|\n{rows}" in merging_manual


def test_every_layer_is_listed(merging_manual: str) -> None:
    rows = [f"| `{name}` | {', '.join(one.channels)} | {one.help} |" for name, one in LAYERS.items()]
    rows += [f"| `{group.name}` | {group.help} |" for group in ON_REQUEST.values()]
    assert not [row for row in rows if row not in merging_manual]
