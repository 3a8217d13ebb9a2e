"""A Fusion composition as the text of a ``.comp`` file: the face over its clip, the matte as a mask.

Text, since compositions that a script builds node by node are reported not to be rendered by some versions, while a
file that was imported is. A file with a fault imports as an *empty* composition without a word, so whoever imports it
looks for :data:`PATCH` in what came.

::

    MediaIn1 ───────────── FaceSwapMerge ── MediaOut1
    FaceSwapPatch (Loader) ─────┘
    FaceSwapMatte (Loader)            beside it, for painting

The patch is premultiplied with its matte as alpha (one that came over the network is so by its loader), so the plain
merge is the daemon's own composite. The matte's loader is not the merge's mask: the matte would count twice, and soft
edges would darken. Paint goes to the merge's mask.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dflhost.errors import HostError
from dflhost.plates import frame_path
from dflhost.results import PATCH as PATCH_SIBLING
from dflhost.results import Result

from .exr_parts import FACE

PATCH, MATTE, MERGE = "FaceSwapPatch", "FaceSwapMatte", "FaceSwapMerge"
MATTE_SIBLING = "matte"
_FORMATS = {".exr": "OpenEXRFormat", ".png": "PNGFormat"}
_CHANNELS = (("RedName", "R"), ("GreenName", "G"), ("BlueName", "B"), ("AlphaName", "A"))


@dataclass(frozen=True)
class Call:
    """``Name { ... }``, and ``ordered() { ... }`` where the name says so: a table with a kind."""

    name: str
    values: Mapping[str, Any] | Sequence[Any]


def face_over_clip(result: Result, length: int, offset: int = 0) -> str:
    """The composition.

    Args:
        length: frames of the clip. offset: frames of the clip before the result's first.

    Raises:
        HostError: the result has no patch beside it (``NO_PATCH``).
    """
    tools = {"MediaIn1": Call("MediaIn", {"ViewInfo": _at(0, 0)}), **_face_tools(result, length, offset, "MediaIn1")}
    tools["MediaOut1"] = Call(
        "MediaOut", {"Inputs": {"Index": Call("Input", {"Value": "0"}), "Input": _link(MERGE)}, "ViewInfo": _at(440, 0)}
    )
    ends = [0, max(0, length - 1)]
    composition = {
        "CurrentTime": 0,
        "RenderRange": ends,
        "GlobalRange": ends,
        "HiQ": True,
        "Tools": Call("ordered()", tools),
    }
    return write(Call("Composition", composition)) + "\n"


def face_alone(result: Result, length: int, offset: int = 0) -> str:
    """The loaders and the merge as the text of a ``.setting`` file, to be pasted into a composition that is there.

    Raises:
        HostError: as :func:`face_over_clip`.
    """
    return write({"Tools": Call("ordered()", _face_tools(result, length, offset)), "ActiveTool": MERGE}) + "\n"


def _face_tools(result: Result, length: int, offset: int, below: str = "") -> dict[str, Call]:
    patch = result.siblings.get(PATCH_SIBLING) or result.siblings.get(FACE)
    if patch is None or not result.frames.frames:
        raise HostError(
            "The result has no patch beside it, which the composition needs: make it again.",
            reason="NO_PATCH",
            category="CONFLICT",
        )
    is_straight = PATCH_SIBLING not in result.siblings
    tools = {PATCH: _loader(patch, result, length, offset, (0, 99), is_straight=is_straight)}
    matte = result.siblings.get(MATTE_SIBLING)
    if matte is not None:
        tools[MATTE] = _loader(matte, result, length, offset, (0, 198))
    links = {"Background": _link(below)} if below else {}
    inputs = {**links, "Foreground": _link(PATCH), "PerformDepthMerge": Call("Input", {"Value": 0})}
    tools[MERGE] = Call("Merge", {"NameSet": True, "Inputs": inputs, "ViewInfo": _at(220, 0)})
    return tools


def _loader(
    pattern: str, result: Result, length: int, offset: int, place: tuple[int, int], *, is_straight: bool = False
) -> Call:
    """Frames before and after the result show nothing: the clip as it is."""
    first, last = result.frames.frames[0], result.frames.frames[-1]
    count = last - first + 1
    clip = {
        "ID": "Clip1",
        "Filename": frame_path(pattern, first),
        "FormatID": _FORMATS.get(os.path.splitext(pattern)[1].lower(), "OpenEXRFormat"),
        "StartFrame": first,
        "Length": count,
        "LengthSetManually": True,
        "TrimIn": 0,
        "TrimOut": count - 1,
        "ExtendFirst": 0,
        "ExtendLast": 0,
        "Loop": 0,
        "AspectMode": 0,
        "Depth": 0,
        "TimeCode": 0,
        "GlobalStart": offset,
        "GlobalEnd": offset + count - 1,
    }
    inputs: dict[str, Any] = {
        "GlobalIn": Call("Input", {"Value": offset}),
        "GlobalOut": Call("Input", {"Value": max(offset + count, length) - 1}),
    }
    if is_straight:
        inputs["PostMultiplyByAlpha"] = Call("Input", {"Value": 1})
    for name, channel in _CHANNELS if clip["FormatID"] == "OpenEXRFormat" else ():
        inputs[f"Clip1.OpenEXRFormat.{name}"] = Call("Input", {"Value": Call("FuID", [channel])})
    return Call("Loader", {"NameSet": True, "Clips": [Call("Clip", clip)], "Inputs": inputs, "ViewInfo": _at(*place)})


def _link(tool: str) -> Call:
    return Call("Input", {"SourceOp": tool, "Source": "Output"})


def _at(x: int, y: int) -> Call:
    return Call("OperatorInfo", {"Pos": [x, y]})


def write(value: Any, depth: int = 0) -> str:
    """A value as a table of Fusion's (Lua's syntax, with a kind before the braces)."""
    if isinstance(value, Call):
        return f"{value.name} {_braces(value.values, depth)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return quoted(value)
    return _braces(value, depth)


def _braces(values: Any, depth: int) -> str:
    inner = "\t" * (depth + 1)
    if isinstance(values, Mapping):
        lines = [f"{inner}{_key(name)} = {write(one, depth + 1)}," for name, one in values.items()]
    else:
        written = [write(one, depth + 1) for one in values]
        if all("\n" not in one for one in written):
            return "{ " + ", ".join(written) + " }"
        lines = [f"{inner}{one}," for one in written]
    return "{\n" + "\n".join(lines) + "\n" + "\t" * depth + "}"


def _key(name: str) -> str:
    return name if name.isidentifier() else f"[{quoted(name)}]"


def quoted(text: str) -> str:
    """A text as Lua writes it; backslashes of Windows' paths and whatever else a folder may be called survive."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0") + '"'
