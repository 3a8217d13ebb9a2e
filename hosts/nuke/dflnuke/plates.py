"""The plate as Nuke has it: files of a Read above the node where nothing lies between, or frames that Nuke writes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import nuke

from dflhost.errors import HostError
from dflhost.plates import FrameSet, Plate, frame_path, sequence_pattern

from .group import PLATE_WRITE
from .host import not_undoable
from .layout import OTHERS, VOLATILE

PASSED = frozenset({"Dot", "NoOp"})
"""Classes that change nothing."""
LINEAR_FILES = (".exr", ".sxr")
READABLE_FILES = (*LINEAR_FILES, ".dpx", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".mov", ".mp4", ".mxf")
NUKE_WORKING_SPACE = "lin_rec709"
"""What Nuke's own colour management works in, as OpenColorIO's configs name it."""
COSMETIC = frozenset(
    [
        "xpos",
        "ypos",
        "selected",
        "name",
        "label",
        "note_font",
        "note_font_size",
        "note_font_color",
        "tile_color",
        "gl_color",
        "postage_stamp",
        "postage_stamp_frame",
        "bookmark",
        "hide_input",
        "icon",
        "dope_sheet",
        "cached",
        "help",
        "panel",
        "lifetimeStart",
        "lifetimeEnd",
        "useLifetime",
        "localizationPolicy",
        "indicators",
    ]
)
"""Knobs whose change changes no pixel."""


@dataclass(frozen=True)
class PlateSource:
    """Where the plate comes from.

    Attributes:
        pattern: files, with ``%V`` for the view; of a rendered plate empty until :meth:`rendered` is asked.
        is_rendered: Nuke writes the files.
        color_space: of the files, as OpenColorIO names it; empty leaves it to the daemon.
        read_color_space, read_raw: how a Read shows such files as they are meant.
        graph: text of all that lies above the node; empty for files that are sent as they are.
        files: patterns of what the graph reads.
        first, last: frames the plate has.
    """

    pattern: str
    is_rendered: bool
    color_space: str
    read_color_space: str
    read_raw: bool
    graph: str
    files: tuple[str, ...]
    first: int
    last: int

    @property
    def is_linear(self) -> bool:
        """The files are scene-linear, so that results come in the same space as the plate."""
        return self.is_rendered or self.pattern.lower().endswith(LINEAR_FILES)

    def graph_hash(self) -> str:
        """32 hex digits of the graph and of the files it reads; looks at disks: not for the main thread."""
        if not self.is_rendered:
            return ""
        digest = hashlib.sha256(self.graph.encode("utf-8"))
        for pattern in self.files:
            for frame in range(self.first, self.last + 1):
                try:
                    status = os.stat(frame_path(pattern, frame))
                except OSError:
                    continue
                digest.update(f"{frame} {status.st_size} {status.st_mtime_ns}".encode())
        return digest.hexdigest()[:32]

    def plate(self, folder: str, name: str, view: str, frames: FrameSet) -> Plate:
        """What the daemon is sent; a rendered plate lies in a folder of its graph's, so that old files never lie."""
        key = self.graph_hash()
        path = rendered_pattern(folder, name, key) if self.is_rendered else self.pattern
        return Plate(for_view(path, view), frames, self.color_space, key)


def rendered_pattern(folder: str, name: str, key: str) -> str:
    """Files of a rendered plate, with ``%V``."""
    return f"{folder}/plates/{key[:12]}/%V/{name}_plate.####.exr"


def for_view(path: str, view: str) -> str:
    """``%V`` is a view's name, ``%v`` its first letter."""
    return path.replace("%V", view).replace("%v", view[:1])


def find_source(node: Any, *, use_files: bool) -> PlateSource:
    """What the node's input gives.

    Raises:
        HostError: nothing is connected (reason ``NO_PLATE``).
    """
    above = node.input(0)
    if above is None:
        raise HostError(
            "Nothing is connected to the node's input. Connect the plate.", reason="NO_PLATE", category="INVALID_INPUT"
        )
    bare = _skip_passed(above)
    if use_files and bare is not None and is_bare_read(bare):
        return _from_read(bare)
    files: list[str] = []
    lines: list[str] = []
    _describe(above, lines, files, {})
    managed = is_ocio()
    space = plain_color_space(_text(nuke.root(), "workingSpaceLUT")) if managed else NUKE_WORKING_SPACE
    return PlateSource(
        "",
        True,
        space,
        "",
        True,
        "\n".join([space, *lines]),
        tuple(files),
        int(above.firstFrame()),
        int(above.lastFrame()),
    )


def is_ocio() -> bool:
    """The script's colours are managed by OpenColorIO."""
    return _text(nuke.root(), "colorManagement") == "OCIO"


def plain_color_space(text: str) -> str:
    """A colour space's name out of what Nuke's menus say: ``default (ACES - ACEScg)``, ``name<tab>label``."""
    name = text.split("\t")[0].strip()
    while name.startswith(("default (", "scene_linear (")) and name.endswith(")"):
        name = name.partition("(")[2][:-1].strip()
    return "" if name == "default" else name


def color_space_names(knob: Any) -> list[str]:
    """Entries of a menu of colour spaces, without their labels."""
    listing: Any = nuke.getColorspaceList
    return [str(entry).split("\t")[0] for entry in listing(knob)]


def _skip_passed(node: Any) -> Any:
    while node is not None and (node.Class() in PASSED or (_is_disabled(node) and node.Class() != "Read")):
        node = node.input(0)
    return node


def _is_disabled(node: Any) -> bool:
    knob = node.knob("disable")
    return knob is not None and bool(knob.value())


def is_bare_read(node: Any) -> bool:
    """A Read whose files are the plate: not moved in time, nothing unmultiplied, a format the daemon reads."""
    if node.Class() != "Read" or _is_disabled(node):
        return False
    if any(knob.isAnimated() or knob.hasExpression() for knob in map(node.knob, ("file", "frame")) if knob is not None):
        return False
    mode, frame = _text(node, "frame_mode"), _text(node, "frame").strip()
    first = _text(node, "first")
    untimed = not frame or (mode == "offset" and frame == "0") or (mode == "start at" and frame == first)
    extension = os.path.splitext(_file(node))[1].lower()
    premultiplied = node.knob("premultiplied") is not None and bool(node["premultiplied"].value())
    readable = extension in (READABLE_FILES if is_ocio() else LINEAR_FILES)
    is_color_sure = bool(is_ocio() or _text(node, "colorspace") in ("", "linear", "default (linear)", "scene_linear"))
    return untimed and readable and not premultiplied and is_color_sure and os.path.isabs(_file(node))


def _file(node: Any) -> str:
    """Its files as a pattern."""
    text = str(node["file"].value() or "")
    if "[" in text:
        text = str(node["file"].getEvaluatedValue() or "")
    return sequence_pattern(text.replace("\\", "/"))


def _from_read(node: Any) -> PlateSource:
    shown = _text(node, "colorspace")
    raw = bool(node["raw"].value())
    space = plain_color_space(shown) if is_ocio() and not raw else ""
    return PlateSource(_file(node), False, space, shown, raw, "", (), int(node.firstFrame()), int(node.lastFrame()))


def _text(node: Any, name: str) -> str:
    knob = node.knob(name)
    return "" if knob is None else str(knob.value())


def _describe(node: Any, lines: list[str], files: list[str], seen: dict[str, int]) -> None:
    """Class and knobs of a node and of all above it, each once; by place in the graph, not by name.

    Nuke's own hashes depend on the current frame, and asking for another's would move the artist's playhead.
    """
    key = node.fullName()
    if key in seen:
        lines.append(f"= {seen[key]}")
        return
    seen[key] = len(seen)
    lines.append(f"{node.Class()} {{")
    hidden = COSMETIC | VOLATILE
    for line in node.writeKnobs(nuke.WRITE_NON_DEFAULT_ONLY | nuke.TO_SCRIPT).splitlines():
        name = line.strip().partition(" ")[0]
        if name not in hidden and not name.startswith(OTHERS):
            lines.append(line.strip())
    if node.Class() == "Read":
        files.append(for_view(_file(node), nuke.views()[0]))
    if node.Class() == "Group":
        for inner in node.nodes():
            _describe(inner, lines, files, seen)
    lines.append("}")
    for index in range(node.inputs()):
        above = node.input(index)
        if above is None:
            lines.append("-")
        else:
            _describe(above, lines, files, seen)


def write_plates(node: Any, pattern: str, frames: FrameSet, views: tuple[str, ...]) -> None:
    """Let Nuke write plates; it shows its own progress and may be cancelled there. Main thread only.

    Args:
        pattern: files, with ``%V``.

    Raises:
        HostError: cancelled (``PLATES_CANCELLED``), Nuke is rendering something else (``HOST_BUSY``), or it could not
            write them (``PLATES_NOT_WRITTEN``).
    """
    with ready_to_write(node, pattern) as write:
        nuke.execute(write, frame_ranges(frames), list(views))


@contextmanager
def ready_to_write(node: Any, pattern: str) -> Iterator[Any]:
    """The node's Write, switched on for these files and in full size; as it was afterwards.

    Raises:
        HostError: see :func:`write_plates`.
    """
    write = node.node(PLATE_WRITE)
    if write is None:
        raise HostError(
            "The inside of the node was changed and can write no plates. Make a new node.", reason="NODE_DAMAGED"
        )
    proxy = nuke.root()["proxy"]
    was_proxy = bool(proxy.value())
    with not_undoable():
        try:
            proxy.setValue(False)
            write["file"].setValue(_nuke_pattern(pattern))
            write["disable"].setValue(False)
            yield write
        except RuntimeError as error:
            raise _render_error(error) from None
        finally:
            write["disable"].setValue(True)
            proxy.setValue(was_proxy)


def frame_ranges(frames: FrameSet) -> Any:
    """Frames as Nuke takes them."""
    return nuke.FrameRanges(str(frames).replace(",", " "))


def _nuke_pattern(pattern: str) -> str:
    return pattern.replace("####", "%04d").replace("\\", "/")


def _render_error(error: RuntimeError) -> HostError:
    text = str(error)
    if "ancel" in text or "ancel" in type(error).__name__:
        return HostError("Writing the plates was cancelled.", reason="PLATES_CANCELLED", category="CANCELLED")
    if "already executing" in text:
        return HostError("Nuke is rendering. Press again when it is done.", reason="HOST_BUSY", category="CONFLICT")
    return HostError(f"Nuke could not write the plates: {text}", reason="PLATES_NOT_WRITTEN")
