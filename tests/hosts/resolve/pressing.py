"""An artist who presses, in the window or without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fake_resolve import World
from fake_window import Bmd, Dispatcher, FusionApp, Widgets, Window

from dflresolve import marks, window
from dflresolve.app import App
from dflresolve.clips import under_playhead
from dflresolve.host import Host

DEADLINE_S = 30.0


def show(
    world: World, connect: Callable[..., Any], tmp_path: Path, script: Callable[[Dispatcher, Window], None]
) -> tuple[App, Widgets]:
    """Open the window; ``script`` presses."""
    ui = Widgets()
    host = Host(world.resolve, FusionApp(world, ui), Bmd(script))
    app = App(host, str(tmp_path / "resolve.json"), connect)
    assert window.open_window(app)
    return app, ui


def wait(dispatcher: Dispatcher, until: Callable[[], Any]) -> None:
    """Let the timer tick until it is so."""
    end = time.monotonic() + DEADLINE_S
    while not until():
        assert time.monotonic() < end, "it never comes"
        dispatcher.On.Timeout({})
        time.sleep(0.002)


def fill(main: Window, tmp_path: Path) -> None:
    """What must be chosen."""
    main.items["Model"].Text = "/models/anna"
    main.items["Folder"].Text = str(tmp_path / "swap")


def finish(app: App) -> list[str]:
    """All states the artist sees on the way."""
    seen: list[str] = []
    end = time.monotonic() + 10
    while app.desk.is_busy and time.monotonic() < end:
        app.tick()
        if not seen or seen[-1] != app.desk.text:
            seen.append(app.desk.text)
        time.sleep(0.001)
    assert not app.desk.is_busy
    return seen


def mark(app: App) -> Any:
    """What we left on the clip under the playhead."""
    return marks.read_mark(under_playhead(app.host)[0])


def touch_plates(world: World, frames: Iterable[int]) -> None:
    """The files of the plate."""
    for frame in frames:
        (world.folder / f"plate.{frame}.exr").write_bytes(b"plate")
