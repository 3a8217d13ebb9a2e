"""A strict Nuke for each test, and the integration imported into it."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "strict"):
    sys.path.append(str(folder))  # after the folder above, whose conftest others import by name

from fake_session import FakeJob, FakeSession  # noqa: E402  (found through the lines above)
from nuke_layer import World  # noqa: E402

HOST_FOLDER = HERE.parents[2] / "hosts" / "nuke"


@pytest.fixture
def nuke_folder() -> Path:
    return HOST_FOLDER


@pytest.fixture
def start_nuke(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., World]]:
    """A Nuke that has just started: no module of the integration is loaded."""

    def forget() -> None:
        for name in [name for name in sys.modules if name == "nuke" or name.split(".")[0] == "dflnuke"]:
            del sys.modules[name]

    def start(*, window: bool = True) -> World:
        forget()
        world = World(window=window)
        sys.modules["nuke"] = world.api
        return world

    monkeypatch.syspath_prepend(str(HOST_FOLDER))
    monkeypatch.setenv("DFL_NUKE_PREFERENCES", str(tmp_path_factory.mktemp("preferences") / "nuke.json"))
    monkeypatch.delenv("OCIO", raising=False)
    yield start
    forget()


@pytest.fixture
def world(start_nuke: Callable[..., World]) -> World:
    return start_nuke()


@pytest.fixture
def load() -> Callable[[str], ModuleType]:
    """A module of the integration, in the Nuke that was started last."""
    return lambda name: importlib.import_module(f"dflnuke.{name}" if name else "dflnuke")


class Shot:
    """A saved script with a Read, a node of ours under it, and a daemon of the test's."""

    def __init__(self, world: World, load: Callable[[str], ModuleType], folder: Path) -> None:
        self.world, self.load, self.folder = world, load, folder
        plates = folder / "plates"
        plates.mkdir()
        for frame in range(1001, 1011):
            (plates / f"a.{frame}.exr").write_bytes(b"plate")
        world.root["name"].setValue(str(folder / "shot.nk"))
        self.read = world.make("Read", {"name": "Read1", "first": 1001, "last": 1010, "file": f"{plates}/a.%04d.exr"})
        self.session = FakeSession()
        connection = load("connection")
        connection._held[:] = [self.session]
        load("watch").TOLD_EVERY_S = 0.01
        load("staleness").QUIET_S = 0.01
        world.selected = self.read
        self.node = load("group").create()
        self.node["model"].setValue("/models/anna")
        self.node["last"].setValue(1004)

    @property
    def status(self) -> str:
        return str(self.node["status"].value())

    def press(self, button: str) -> None:
        """Press a button by its action's name."""
        self.world.press(self.node, f"press_{button}")

    def until(self, look: Callable[[], Any]) -> Any:
        """Let Nuke's loop turn until something is so."""
        end = time.monotonic() + 20.0
        while True:
            self.world.pump()
            found = look()
            if found:
                return found
            errors = [error.message for error in self.load("results")._last_errors.values()]
            assert time.monotonic() < end, f"state: {self.status}, messages: {self.world.messages}, errors: {errors}"
            time.sleep(0.002)

    def job(self, number: int = 0) -> FakeJob:
        """A job that was submitted, once it was."""
        return self.until(lambda: len(self.session.jobs_made) > number and self.session.jobs_made[number])

    def swap(self) -> None:
        """Swap the range to its end."""
        before = len(self.session.jobs_made)
        self.press("swap_range")
        for number in range(before, before + len(self.world.views)):
            self.job(number).finish()
        self.until(lambda: self.status == "Done")


@pytest.fixture
def shot(world: World, load: Callable[[str], ModuleType], tmp_path: Path) -> Iterator[Shot]:
    yield Shot(world, load, tmp_path)
    for thread in threading.enumerate():  # one that has told its end may still be on its way out
        if thread.name.startswith("dflhost"):
            thread.join(5.0)


@pytest.fixture
def terminal_shot(start_nuke: Callable[..., World], load: Callable[[str], ModuleType], tmp_path: Path) -> Shot:
    """The same in ``nuke -t``."""
    return Shot(start_nuke(window=False), load, tmp_path)
