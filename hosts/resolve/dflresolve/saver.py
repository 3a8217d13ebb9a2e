"""Plates by a Saver of Fusion: the clip as Fusion gets it, and the Saver taken away again afterwards.

The Saver hangs on the composition's MediaIn, so what the artist built behind that is not in the plate, and neither are
the grade and the transforms, which come later.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from dflhost.errors import HostError
from dflhost.plates import Plate

from .clips import Clip, show_original
from .host import Host, ask, listed, must, refusal
from .plates import collect, exr_names, file_name, make_folder

HALF, ZIP_16_LINES = 1, 3
GRACE_STEPS = 10
"""A render that was asked for begins a little later; so often nothing may render before it counts as over."""
_FREE_PLACE = -32768
"""Where Fusion looks for room itself."""


class SaverRender:
    """A clip being rendered. Call :meth:`step` twice a second until it answers True; then :attr:`plate`.

    Args:
        folder: new and empty. color_space: of what Fusion works in, as OpenColorIO names it.

    Raises:
        HostError: Resolve would not begin; everything was put back.

    Attributes:
        done, total: frames. plate: what was written, once :meth:`step` has answered True.
    """

    def __init__(self, host: Host, clip: Clip, folder: str, color_space: str) -> None:
        self._host, self._clip, self._folder, self._color_space = host, clip, folder, color_space
        self._comp: Any = None
        self._saver: Any = None
        self._made_comp = self._page = ""
        self._take = self._idle_steps = 0
        self.done, self.total = 0, clip.duration
        self.plate: Plate | None = None
        try:
            self._begin()
        except HostError:
            self.restore()
            raise

    def step(self) -> bool:
        """Answers whether it is over.

        Raises:
            HostError: it wrote other frames than it should have (``PLATES_MISSING``). Everything is put back before.
        """
        try:
            self.done = min(self.total, len(exr_names(self._folder)))
            self._idle_steps = 0 if ask(self._comp, "IsRendering") else self._idle_steps + 1
            is_over = self._idle_steps > 0 and self.done == self.total
            if not is_over and self._idle_steps < GRACE_STEPS:
                return False
            self.plate = collect(self._folder, self.total, self._color_space)
        except HostError:
            self.restore()
            raise
        self.restore()
        return True

    def cancel(self) -> None:
        """Stop, and put everything back."""
        with contextlib.suppress(HostError):
            ask(self._comp, "AbortRender")
        self.restore()

    def restore(self) -> None:
        """Composition, take and page as they were. What cannot be put back does not keep the rest."""
        if self._saver:
            self._quietly(self._saver, "Delete")
            self._saver = None
        if self._made_comp:
            self._quietly(self._clip.item, "DeleteFusionCompByName", self._made_comp)
            self._made_comp = ""
        if self._take:
            self._quietly(self._clip.item, "SelectTakeByIndex", self._take)
            self._take = 0
        if self._page and self._page != "fusion":
            self._quietly(self._host.resolve, "OpenPage", self._page)
        self._page = ""

    def _begin(self) -> None:
        make_folder(self._folder)
        self._page = str(ask(self._host.resolve, "GetCurrentPage") or "")
        must("The Fusion page cannot be opened", self._host.resolve, "OpenPage", "fusion")
        self._take = show_original(self._clip.item)
        comp = self._comp = self._composition()
        source = must("The clip's composition has no MediaIn to render from", comp, "FindToolByID", "MediaIn")
        self._saver = must("A Saver cannot be added", comp, "AddTool", "Saver", _FREE_PLACE, _FREE_PLACE)
        path = os.path.join(self._folder, f"{file_name(self._clip.name)}.exr")
        inputs = {
            "Clip": path,
            "OutputFormat": "OpenEXRFormat",
            "OpenEXRFormat.Depth": HALF,
            "OpenEXRFormat.Compression": ZIP_16_LINES,
        }
        for name, value in inputs.items():
            ask(self._saver, "SetInput", name, value)
        if str(ask(self._saver, "GetInput", "Clip") or "") != path:
            raise refusal("The Saver does not take its file", "SetInput")
        must("The Saver cannot be connected", self._saver, "ConnectInput", "Input", source)
        attributes = ask(comp, "GetAttrs")
        first = int(attributes.get("COMPN_RenderStart") or 0) if isinstance(attributes, dict) else 0
        # its answer is no proof: what lies on disk is
        ask(comp, "Render", {"Start": first, "End": first + self.total - 1, "Tool": self._saver, "Wait": False})

    def _composition(self) -> Any:
        """The clip's first one; one of ours, taken away afterwards, where it has none."""
        item = self._clip.item
        if int(ask(item, "GetFusionCompCount") or 0):
            return must("The clip's composition cannot be opened", item, "GetFusionCompByIndex", 1)
        comp = must("A composition cannot be added", item, "AddFusionComp")
        self._made_comp = next(iter(map(str, listed(ask(item, "GetFusionCompNameList")))), "")
        return comp

    @staticmethod
    def _quietly(owner: Any, method: str, *arguments: Any) -> None:
        with contextlib.suppress(HostError):
            ask(owner, method, *arguments)
