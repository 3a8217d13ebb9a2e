"""What cannot be tested without the real application, tried in it: each trap once, on a project of its own.

The project *Face Swap self test* is made anew, used, and removed; no other project is saved or changed. A report as
JSON says for each step whether Resolve did what the integration counts on.
"""

from __future__ import annotations

import json
import os
import platform
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dflhost.errors import HostError
from dflhost.messages import explain
from dflhost.plates import FrameSet, frame_path
from dflhost.results import Result

from . import VERSION, clips, marks, place, window
from .app import App
from .host import Host, ask, listed, must
from .plates import PlateRender
from .saver import SaverRender

PROJECT = "Face Swap self test"
FRAMES = 8
RENDER_DEADLINE_S = 120.0
_SIDE_PX = 64


@dataclass
class Report:
    """Step → what came out."""

    facts: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, str]] = field(default_factory=list)

    def try_step(self, name: str, work: Callable[[], object]) -> None:
        """Do it, and note what happened; a step that fails does not keep the next ones."""
        began = time.monotonic()
        try:
            said, state = work(), "passed"
        except HostError as error:
            said, state = f"{error.reason}: {error.message}", "failed"
        except Exception as error:  # a report is worth more than a stack trace
            said, state = f"{type(error).__name__}: {error}", "broken"
        seconds = f"{time.monotonic() - began:.2f}"
        self.steps.append({"step": name, "state": state, "said": str(said or ""), "seconds": seconds})

    @property
    def is_good(self) -> bool:
        """Every step passed."""
        return bool(self.steps) and all(step["state"] == "passed" for step in self.steps)

    def to_json(self) -> str:
        """Ready to be sent to us; no path of the user's but the scratch folder's, no token."""
        values = {"format": 1, "integration": VERSION, **self.facts, "good": self.is_good, "steps": self.steps}
        return json.dumps(values, indent=1, ensure_ascii=False)


def run(resolve: Any, fusion: Any = None, bmd: Any = None, folder: str = "") -> Report:
    """All steps, and the report written into ``folder`` (a new one in the system's temporary folder where empty)."""
    scratch = folder or tempfile.mkdtemp(prefix="dfl_resolve_self_test_")
    report = Report()
    host = Host(resolve, fusion, bmd)
    report.facts = {
        "resolve": f"{host.product} {host.version_text}",
        "python": platform.python_version(),
        "system": sys.platform,
        "may_open_windows": host.may_open_windows,
        "folder": scratch,
    }
    manager = must("DaVinci Resolve does not answer", resolve, "GetProjectManager")
    before = ask(ask(manager, "GetCurrentProject"), "GetName")
    ask(manager, "DeleteProject", PROJECT)  # of a run that was broken off
    must("The scratch project cannot be made", manager, "CreateProject", PROJECT)
    try:
        _steps(host, scratch, report)
    finally:
        ask(manager, "CloseProject", ask(manager, "GetCurrentProject"))
        if before:
            ask(manager, "LoadProject", before)
        ask(manager, "DeleteProject", PROJECT)
        with open(os.path.join(scratch, "report.json"), "w", encoding="utf-8") as file:
            file.write(report.to_json())
    return report


def tell(resolve: Any, fusion: Any = None, bmd: Any = None, say: Callable[[str], object] | None = None) -> int:
    """:func:`run`, and what came out in the console. Answers with the exit code."""
    write = say or (lambda text: sys.stdout.write(text + "\n"))
    try:
        report = run(resolve, fusion, bmd)
    except HostError as error:
        write(explain(error).text)
        return 1
    for step in report.steps:
        write("{state:8} {step}: {said}".format(**step))
    write(f"Report: {os.path.join(report.facts['folder'], 'report.json')}")
    return 0 if report.is_good else 1


def _steps(host: Host, scratch: str, report: Report) -> None:
    if host.may_open_windows and host.fusion is not None:
        report.try_step("build the window", lambda: _window(host, scratch))
    plate = write_sequence(os.path.join(scratch, "plate"), "plate", 40)
    result = write_result(os.path.join(scratch, "v001"))
    found: list[clips.Clip] = []

    def timeline() -> str:
        media = must(
            "A sequence cannot be imported",
            host.pool,
            "ImportMedia",
            [{"FilePath": plate.replace("####", "%04d"), "StartIndex": 1001, "EndIndex": 1000 + FRAMES}],
        )
        must("A timeline cannot be made", host.pool, "CreateTimelineFromClips", "Self test", [media[0]])
        items = listed(ask(host.timeline, "GetItemListInTrack", "video", 1))
        found.append(clips.read_clip(host, items[0]))
        return repr(found[0])

    def direct() -> str:
        got = clips.plate_of(found[0])
        if got.path != plate or got.frames != FrameSet.span(1001, 1000 + FRAMES):
            raise HostError(f"{got} is not the plate", reason="OTHER_PLATE")
        return got.path

    def render(by: type[PlateRender] | type[SaverRender], name: str) -> str:
        one = by(host, found[0], os.path.join(scratch, name), "")
        end = time.monotonic() + RENDER_DEADLINE_S
        while not one.step():
            if time.monotonic() > end:
                one.cancel()
                raise HostError("The render did not end", reason="RENDER_TIMEOUT")
            time.sleep(0.5)
        return one.plate.path if one.plate is not None else ""

    report.try_step("import a sequence and make a timeline", timeline)
    if not found:
        return
    report.try_step("read the clip's files and frames", direct)
    report.try_step("find the playhead", lambda: clips.playhead(host))
    report.try_step("find all clips under the playhead", lambda: _all_clips(host))
    report.try_step("remember on the clip", lambda: _remember(found[0]))
    for name in (place.TRACK, place.FUSION, place.MATTE, place.TAKE):
        report.try_step(f"place as {name}", lambda to=name: _placed(host, found[0], result, to))  # type: ignore[misc]
    report.try_step("render a plate by a Saver", lambda: render(SaverRender, "saved"))
    report.try_step("render a plate", lambda: render(PlateRender, "rendered"))


def _window(host: Host, scratch: str) -> str:
    """All its widgets, without showing it."""
    ui = host.fusion.UIManager
    made = window.Window(App(host, os.path.join(scratch, "preferences.json")), ui, host.bmd.UIDispatcher(ui))
    return f"{made.widget_count} widgets"


def _all_clips(host: Host) -> str:
    found, refused = clips.all_under_playhead(host)
    if not found or refused:
        raise HostError(f"{len(found)} clips, and {refused}", reason="OTHER_CLIPS")
    return f"{len(found)} clips"


def _remember(clip: clips.Clip) -> str:
    marks.write_mark(clip, marks.Mark("job:7", "/out/v001/a.####.exr", place.TAKE), "Queued")
    mark = marks.read_mark(clip)
    if mark is None or mark.job != "job:7":
        raise HostError("The marker came back otherwise", reason="OTHER_MARK")
    return "read back"


def _placed(host: Host, clip: clips.Clip, result: Result, to: str) -> str:
    placed = place.place_result(host, clip, result, to)
    return " ".join([placed.text, *placed.notes])


def write_result(folder: str) -> Result:
    """Beauty, patch and matte, as a merge leaves them."""
    patterns = {name: write_sequence(folder, f"swap{name}", 200) for name in ("", "_patch", "_matte")}
    siblings = {"patch": patterns["_patch"], "matte": patterns["_matte"]}
    return Result(patterns[""], FrameSet.span(1001, 1000 + FRAMES), 1, siblings)


def write_sequence(folder: str, name: str, gray: int) -> str:
    """A few small pictures; EXR would need a library, so PNG. Answers with the pattern."""
    os.makedirs(folder, exist_ok=True)
    pattern = os.path.join(folder, f"{name}.####.png")
    for index in range(FRAMES):
        with open(frame_path(pattern, 1001 + index), "wb") as file:
            file.write(_png(gray + index))
    return pattern


def _png(gray: int) -> bytes:
    """An even picture, 8 bit gray (W3C PNG, third edition)."""
    rows = (b"\0" + bytes([gray]) * _SIDE_PX) * _SIDE_PX
    header = struct.pack(">IIBBBBB", _SIDE_PX, _SIDE_PX, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
