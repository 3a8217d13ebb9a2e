"""What this integration relies on, tried in a real Nuke: *Face Swap ▸ Self-test* writes a report as JSON.

Nodes are made in the open script and deleted again; files go to a temporary folder.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import nuke

from dflhost.errors import HostError
from dflhost.plates import FrameSet
from dflhost.version import VERSION as CLIENT_VERSION

from . import VERSION, background, group, layout, plates
from .host import as_host_error

KNOBS = {
    "Read": "file first last origfirst origlast before after on_error frame_mode frame colorspace raw premultiplied "
    "localizationPolicy reload",
    "Write": "file channels colorspace raw file_type views create_directories disable datatype compression",
    "Copy": "from0 to0 from1 to1 from2 to2 from3 to3 channels disable",
    "Keymix": "channels maskChannel",
    "Switch": "which",
    "Grade": "channels multiply white_clamp",
    "FilterErode": "channels size",
    "Blur": "channels size",
    "Premult": "channels alpha",
}
"""Knobs that the group sets or reads, by class."""


CALLS = (
    "addAfterBackgroundFrameRender addAfterBackgroundRender choice connectViewer execute executeBackgroundNuke "
    "executeInMainThread getColorspaceList EXE_PATH FrameRanges Layer Panel ProgressTask Undo"
)
PANEL = "addFilenameSearch addSingleLineInput setWidth show value"


def run_from_menu() -> None:
    """Run, and say where the report lies. What another Nuke does in the background is added once it has ended."""
    path = write_report(os.path.join(tempfile.gettempdir(), f"dfl_nuke_selftest_{int(time.time())}.json"))
    later = try_background(path)
    nuke.message(f"The report is in {path}. {later}Please send it along.")


def try_background(path: str) -> str:
    """Have another Nuke write two plates and add to the report what came of it; answers with what to say of it."""
    node = _make()
    folder = tempfile.mkdtemp(prefix="dfl_selftest_").replace("\\", "/")
    pattern, views = f"{folder}/new/%V/plate.####.exr", (nuke.views()[0],)
    started = time.monotonic()

    def note(passed: bool, detail: str) -> None:
        _remove(node)
        shutil.rmtree(folder, ignore_errors=True)
        with open(path, encoding="utf-8") as stream:
            report = json.load(stream)
        took = round(1000 * (time.monotonic() - started))
        name = "Another Nuke writes plates in the background."
        report["checks"].append({"name": name, "passed": passed, "detail": detail, "ms": took})
        report["passed"] = report["passed"] and passed
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(report, stream, indent=1)

    def done() -> None:
        place = os.path.dirname(plates.for_view(pattern, views[0]))
        found = sorted(os.listdir(place)) if os.path.isdir(place) else []
        note(found == ["plate.0001.exr", "plate.0002.exr"], f"found {found}")

    def failed(error: HostError) -> None:
        note(False, error.message)

    try:
        background.write(node, pattern, FrameSet.of([1, 2]), views, done, failed, lambda text: None)
    except HostError as error:
        failed(error)
        return ""
    return "What another Nuke writes in the background is added to it within a minute or two. "


def write_report(path: str) -> str:
    """Run all checks; answers with the path."""
    report: dict[str, Any] = {
        "integration": VERSION,
        "client": CLIENT_VERSION,
        "nuke": nuke.NUKE_VERSION_STRING,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "window": bool(nuke.GUI),
        "checks": [_checked(check) for check in CHECKS],
    }
    report["passed"] = all(check["passed"] for check in report["checks"])
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(report, stream, indent=1)
    return path


def _checked(check: Callable[[], str]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        detail, passed = check(), True
    except Exception as error:  # the report says it
        detail, passed = as_host_error(error).message, False
    name = (check.__doc__ or check.__name__).splitlines()[0]
    return {"name": name, "passed": passed, "detail": detail, "ms": round(1000 * (time.monotonic() - started))}


def check_knobs() -> str:
    """Nodes have the knobs that the group uses."""
    lacking = []
    for kind, names in KNOBS.items():
        node = getattr(nuke.nodes, kind)()
        try:
            if kind == "Write":
                node["file_type"].setValue("exr")
            lacking += [f"{kind}.{name}" for name in names.split() if node.knob(name) is None]
        finally:
            nuke.delete(node)
    if lacking:
        raise ValueError("missing: " + ", ".join(lacking))
    return f"{sum(len(names.split()) for names in KNOBS.values())} knobs"


def check_choices() -> str:
    """Menus have the entries that the group chooses."""
    node: Any = nuke.nodes.Write()
    try:
        node["file_type"].setValue("exr")
        found = {name: list(node[name].values()) for name in ("datatype", "compression")}
    finally:
        nuke.delete(node)
    if "16 bit half" not in found["datatype"] or "Zip (16 scanlines)" not in found["compression"]:
        raise ValueError(json.dumps(found))
    return json.dumps(found)


def check_group() -> str:
    """The node can be made, shows the plate without a result, and has no error."""
    node = _make()
    try:
        inside = [inner.name() for inner in node.nodes()]
        broken = [inner.name() for inner in node.nodes() if inner.hasError() and inner.Class() != "Read"]
        if broken:
            raise ValueError("nodes with errors: " + ", ".join(broken))
        return " ".join(inside)
    finally:
        _remove(node)


def check_graph_text() -> str:
    """A plate's graph text changes with a knob that matters and with no other."""
    node = _make()
    try:
        above = node.input(0)
        before = plates.find_source(node, use_files=True).graph
        above.setXYpos(above.xpos() + 100, above.ypos())
        moved = plates.find_source(node, use_files=True).graph
        above["color"].setValue(0.7)
        changed = plates.find_source(node, use_files=True).graph
        if before != moved or before == changed:
            raise ValueError(f"before: {before!r} moved: {moved!r} changed: {changed!r}")
        return before
    finally:
        _remove(node)


def check_plates() -> str:
    """Nuke writes plates to a folder that is not there yet."""
    node = _make()
    folder = tempfile.mkdtemp(prefix="dfl_selftest_").replace("\\", "/")
    try:
        pattern = f"{folder}/new/%V/plate.####.exr"
        views = (nuke.views()[0],)
        plates.write_plates(node, pattern, FrameSet.of([1, 2]), views)
        found = sorted(os.listdir(os.path.dirname(plates.for_view(pattern, views[0]))))
        if found != ["plate.0001.exr", "plate.0002.exr"]:
            raise ValueError(f"found {found}")
        return " ".join(found)
    finally:
        _remove(node)
        shutil.rmtree(folder, ignore_errors=True)


def check_colors() -> str:
    """Colour spaces as this Nuke's menus name them."""
    node = nuke.nodes.Read()
    try:
        names = plates.color_space_names(node["colorspace"])
        working = str(nuke.root()["workingSpaceLUT"].value())
    finally:
        nuke.delete(node)
    return json.dumps({"ocio": plates.is_ocio(), "working": working, "names": names[:20]})


def check_interface() -> str:
    """Calls that buttons make are there."""
    lacking = [name for name in CALLS.split() if not hasattr(nuke, name)]
    lacking += [f"Panel.{name}" for name in PANEL.split() if not hasattr(nuke.Panel, name)]
    lacking += [f"Root.{name}" for name in ("OCIO_config", "customOCIOConfigPath") if nuke.root().knob(name) is None]
    if lacking:
        raise ValueError("missing: " + ", ".join(lacking))
    return str(nuke.EXE_PATH)


def check_settings() -> str:
    """Settings' knobs keep their values in a script's text."""
    node = _make()
    try:
        node[layout.MARK].setValue(layout.LAYOUT_VERSION)
        text = node.writeKnobs(nuke.WRITE_USER_KNOB_DEFS | nuke.WRITE_NON_DEFAULT_ONLY | nuke.TO_SCRIPT)
        if layout.MARK not in text:
            raise ValueError(text[:500])
        return f"{len(text)} characters"
    finally:
        _remove(node)


CHECKS = (
    check_knobs,
    check_choices,
    check_group,
    check_graph_text,
    check_plates,
    check_colors,
    check_interface,
    check_settings,
)


def _make() -> Any:
    node = group.create(in_panel=False)
    node.setInput(0, nuke.nodes.Constant())
    return node


def _remove(node: Any) -> None:
    above = node.input(0)
    nuke.delete(node)
    if above is not None:
        nuke.delete(above)
