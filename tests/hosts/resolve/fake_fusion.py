"""Fusion compositions in memory, which the public stubs say nothing about."""

# ruff: noqa: N802 - methods are named as Fusion names them
from __future__ import annotations

from pathlib import Path
from typing import Any


class Comp:
    """A Fusion composition, which the stubs say nothing about: the calls that we make, and no others.

    It renders in the background: asked the first time whether it does, it has not begun.
    """

    def __init__(self, table: Any, world: Any) -> None:
        self._tools = dict(table["Tools"]) if table else {}
        self._world = world
        self._render: dict[str, Any] = {}
        self._asked = 0
        self.is_aborted = False

    def FindTool(self, name: str) -> Any:
        return self._tools.get(name)

    def FindToolByID(self, kind: str) -> Any:
        return next((name for name, tool in self._tools.items() if getattr(tool, "kind", tool) == kind), None)

    def AddTool(self, kind: str, x: int, y: int) -> Any:
        if "no saver" in self._world.traps:
            return None
        made = self._tools["Saver1"] = Saver(self, is_deaf="saver deaf" in self._world.traps)
        return made

    def GetAttrs(self) -> dict[str, Any]:
        return {"COMPN_RenderStart": 5.0, "COMPN_RenderEnd": 12.0}

    def Render(self, settings: dict[str, Any]) -> bool:
        assert set(settings) == {"Start", "End", "Tool", "Wait"}
        self._render, self._asked = settings, 0
        return False

    def IsRendering(self) -> bool:
        world, settings = self._world, self._render
        if not settings or "saver sleeps" in world.traps:
            return False
        self._asked += 1
        saver, last = settings["Tool"], settings["End"] - ("frame lost" in world.traps)
        frame = settings["Start"] + 2 * (self._asked - 2)
        for number in (frame, frame + 1):
            if settings["Start"] <= number <= last and not self.is_aborted:
                stem = saver.inputs["Clip"][: -len(".exr")]
                Path(f"{stem}{number:04d}.exr").write_bytes(b"exr")
        return self._asked > 1 and frame < settings["End"] and not self.is_aborted

    def AbortRender(self) -> None:
        self.is_aborted = True


class Saver:
    """A Saver of a composition."""

    def __init__(self, comp: Comp, is_deaf: bool) -> None:
        self._comp, self._is_deaf = comp, is_deaf
        self.inputs: dict[str, Any] = {}

    def SetInput(self, name: str, value: Any) -> None:
        if not self._is_deaf:
            self.inputs[name] = value

    def GetInput(self, name: str) -> Any:
        return self.inputs.get(name)

    def ConnectInput(self, name: str, tool: Any) -> bool:
        return name == "Input" and tool == "MediaIn1"

    def Delete(self) -> bool:
        del self._comp._tools["Saver1"]
        return True
