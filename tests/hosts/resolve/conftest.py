"""A Resolve to test with: strict by the public stubs, and lying as the real one does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "strict", HERE.parents[2] / "hosts" / "resolve"):
    sys.path.append(str(folder))  # after the folders above, whose conftest others import by name

from fake_resolve import World  # noqa: E402 - found by the lines above
from pretend_session import FakeSession  # noqa: E402

from dflresolve.app import App  # noqa: E402
from dflresolve.host import Host  # noqa: E402


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Studio 20 with a timeline: one EXR sequence of 8 frames on track 1, the playhead in it."""
    made = World(tmp_path)
    yield made
    assert made.faults == []


@pytest.fixture
def session() -> FakeSession:
    """A daemon that answers at once."""
    return FakeSession()


@pytest.fixture
def app(world: World, session: FakeSession, tmp_path: Path) -> App:
    """The buttons, with a model and a folder chosen."""
    made = App(Host(world.resolve), str(tmp_path / "preferences" / "resolve.json"), session.connect)
    made.remember(made.preferences.with_values(model="/models/anna", folder=str(tmp_path / "swap")))
    return made
