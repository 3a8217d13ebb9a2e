"""The node itself: a Group (not a gizmo: a script that holds it needs nothing installed), made of ordinary nodes.

::

    plate ── PlateWrite ─┬───────────────────────────────┬─ Output switch ── out
                         │ (B)                           │
    Result ┐             ├── Repaint ── Beauty ┐         │
    Still ─┴ Pick ── Matte gain, erode, blur ──┼─ Color ─┴─ Layers ── AllLayers ── MatteInAlpha
                                               ├─ Patch
                                               └─ MatteOnly

With gain 1 and neither erosion nor blur the beauty is the daemon's; else it is put together here, from the ``swap``
layer, the plate and the retouched matte. Frames without a result show the plate.
"""

from __future__ import annotations

from typing import Any

import nuke

from . import layout
from .host import set_choice

NAME = "DFL_Swap1"
RESULT, STILL, PLATE_WRITE = "Result", "Still", "PlateWrite"
LAYERS = {"swap": ("red", "green", "blue"), "matte": ("alpha",)}
"""Layers that the inside needs to exist before a result has brought them."""
_IN_RANGE = "(frame >= parent.result_first && frame <= parent.result_last)"
_IS_STILL = "(parent.still_shown && frame == parent.still_frame)"


def create(*, in_panel: bool = True) -> Any:
    """A new node, connected to the selection, with the frame range of what is above it."""
    try:
        above = nuke.selectedNode()
    except ValueError:  # "no node selected"
        above = None
    node = nuke.createNode("Group", "", False)
    node.setName(NAME)
    source: Any = above if above is not None else nuke.root()
    layout.add_knobs(node, int(source.firstFrame()), int(source.lastFrame()))
    build(node)
    if above is not None:
        node.setInput(0, above)  # a Group without an Input inside could not be connected when it was made
    if in_panel and nuke.GUI:
        node.showControlPanel()
    return node


def rebuild(node: Any) -> None:
    """Make the inside of an older node as this version makes it; what it shows stays."""
    above = node.input(0)
    held = {
        name: {knob: read[knob].value() for knob in _HELD}
        for name in (RESULT, STILL)
        if (read := node.node(name)) is not None
    }
    build(node)
    for name, values in held.items():
        for knob, value in values.items():
            node.node(name)[knob].setValue(value)
    if above is not None:
        node.setInput(0, above)
    layout.upgrade(node)


_HELD = ("file", "first", "last", "origfirst", "origlast", "before", "after", "raw", "colorspace")


def build(node: Any) -> None:
    """Make the inside anew; knobs and their values stay."""
    for name, channels in LAYERS.items():
        nuke.Layer(name, [f"{name}.{channel}" for channel in channels])
    with node:
        for old in node.nodes():
            nuke.delete(old)
        plate = nuke.nodes.Input(name="plate")
        write = _plate_write(plate)
        read = _pick(_read(RESULT), _read(STILL))
        matte = _retouch(read)
        color = _colors(matte, write)
        layers = _copy("Layers", matte, color, channels="rgba")
        everything = _copy("AllLayers", write, layers, channels="all")
        alpha = _copy("MatteInAlpha", everything, everything, pairs=[("matte.alpha", "rgba.alpha")])
        alpha["disable"].setExpression("!parent.matte_in_alpha")
        out = _switch("OutputSwitch", [write, alpha], f"parent.mode < 3 && ({_IN_RANGE} || {_IS_STILL})")
        nuke.nodes.Output(name="Output1", inputs=[out])


def _plate_write(plate: Any) -> Any:
    """Writes the plate when told to; switched off otherwise, so that no farm runs it."""
    write = nuke.nodes.Write(name=PLATE_WRITE, inputs=[plate])
    write["channels"].setValue("rgba")
    write["file_type"].setValue("exr")
    write["raw"].setValue(True)  # the working space as it is; the request names it
    write["create_directories"].setValue(True)
    for knob, value in (("datatype", "16 bit half"), ("compression", "Zip (16 scanlines)")):
        if write.knob(knob) is not None:
            set_choice(write[knob], value)
    write["disable"].setValue(True)
    return write


def _read(name: str) -> Any:
    read = nuke.nodes.Read(name=name)
    for knob, value in (("before", "black"), ("after", "black"), ("on_error", "error"), ("localizationPolicy", "off")):
        set_choice(read[knob], value)
    return read


def _pick(result: Any, still: Any) -> Any:
    return _switch("Pick", [result, still], _IS_STILL)


def _retouch(read: Any) -> Any:
    gain = nuke.nodes.Grade(name="MatteGain", inputs=[read])
    gain["channels"].setValue("matte")
    gain["white_clamp"].setValue(True)
    gain["multiply"].setExpression("parent.matte_gain")
    erode = nuke.nodes.FilterErode(name="MatteErode", inputs=[gain])
    erode["channels"].setValue("matte")
    erode["size"].setExpression("parent.matte_erode")
    blur = nuke.nodes.Blur(name="MatteBlur", inputs=[erode])
    blur["channels"].setValue("matte")
    blur["size"].setExpression("parent.matte_blur")
    return blur


def _colors(matte: Any, plate: Any) -> Any:
    """What the mode puts into rgba."""
    names = ("red", "green", "blue")
    swap = _copy("SwapColor", matte, matte, pairs=[(f"swap.{name}", f"rgba.{name}") for name in names])
    repaint = nuke.nodes.Keymix(name="Repaint", inputs=[plate, swap, matte])
    repaint["channels"].setValue("rgb")
    repaint["maskChannel"].setValue("matte.alpha")
    touched = "parent.matte_gain != 1 || parent.matte_erode != 0 || parent.matte_blur != 0"
    beauty = _switch("Beauty", [matte, repaint], touched)
    with_alpha = _copy("SwapAlpha", swap, matte, pairs=[("matte.alpha", "rgba.alpha")])
    patch = nuke.nodes.Premult(name="Patch", inputs=[with_alpha])
    only = [("matte.alpha", f"rgba.{name}") for name in (*names, "alpha")]
    return _switch("Color", [beauty, patch, _copy("MatteOnly", matte, matte, pairs=only)], "parent.mode")


def _switch(name: str, inputs: list[Any], which: str) -> Any:
    switch = nuke.nodes.Switch(name=name, inputs=inputs)
    switch["which"].setExpression(which)
    return switch


def _copy(
    name: str, base: Any, source: Any, *, pairs: list[tuple[str, str]] | None = None, channels: str = "none"
) -> Any:
    """``base`` with channels of ``source``: Nuke's Copy takes the base first."""
    copy = nuke.nodes.Copy(name=name, inputs=[base, source])
    for index in range(4):
        given = pairs[index] if pairs is not None and index < len(pairs) else ("none", "none")
        copy[f"from{index}"].setValue(given[0])
        copy[f"to{index}"].setValue(given[1])
    copy["channels"].setValue(channels)
    return copy
