"""Resolve's UIManager in memory: widgets, windows, and a dispatcher whose loop is a script that presses buttons."""

# ruff: noqa: N802 - methods are named as Resolve names them
from __future__ import annotations

from typing import Any, ClassVar

from fake_resolve import World


class Widgets:
    """The UIManager: widgets by name, their properties checked by a table of those that are documented."""

    KNOWN: ClassVar[dict[str, set[str]]] = {
        "VGroup": {"Spacing", "Weight"},
        "HGroup": {"Spacing", "Weight"},
        "Label": {"ID", "Text", "Weight", "WordWrap", "ToolTip"},
        "LineEdit": {"ID", "Text", "ToolTip", "Weight", "PlaceholderText"},
        "TextEdit": {"ID", "ReadOnly", "PlainText", "HTML", "Weight"},
        "Button": {"ID", "Text", "ToolTip", "Weight"},
        "CheckBox": {"ID", "Text", "Checked", "ToolTip", "Weight"},
        "ComboBox": {"ID", "ToolTip", "Weight", "CurrentIndex", "CurrentText"},
        "SpinBox": {"ID", "Minimum", "Maximum", "Value", "ToolTip", "Weight"},
        "DoubleSpinBox": {"ID", "Minimum", "Maximum", "Value", "Decimals", "ToolTip", "Weight"},
        "Timer": {"ID", "Interval", "SingleShot"},
    }

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}

    def __getattr__(self, name: str) -> Any:
        known = Widgets.KNOWN[name]

        def make(first: Any = None, children: Any = None) -> Widget:
            table, inner = (first, children) if isinstance(first, dict) else ({}, first)
            unknown = set(table) - known
            assert not unknown, f"{name} has no {unknown}"
            return Widget(name, table, list(inner or []))

        return make

    def FindWindow(self, name: str) -> Any:
        return self.windows.get(name)


class Widget:
    def __init__(self, kind: str, table: dict[str, Any], children: list[Widget]) -> None:
        blank = {"Text": "", "PlainText": "", "HTML": "", "Checked": False, "CurrentIndex": 0, "Value": 0}
        self.__dict__.update(blank, **table)
        self.kind, self.children, self.choices, self.is_running = kind, children, [], False

    def AddItems(self, texts: list[str]) -> None:
        assert self.kind == "ComboBox"
        self.choices += texts

    def Start(self) -> None:
        self.is_running = True

    def Stop(self) -> None:
        self.is_running = False

    def walk(self) -> list[Widget]:
        return [self, *(inner for child in self.children for inner in child.walk())]


class Handlers:
    """``On.Button.Clicked`` and ``On["Button"].Clicked``."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self._kept.setdefault(name, type("Events", (), {})())

    def __getattr__(self, name: str) -> Any:
        return self[name]


class Window:
    def __init__(self, name: str, children: list[Widget]) -> None:
        self.name, self.On, self.is_shown = name, Handlers(), False
        drawn = [widget for child in children for widget in child.walk()]
        self.labels = [widget.Text for widget in drawn if widget.kind == "Label"]
        found = [widget for widget in drawn if hasattr(widget, "ID")]
        self.items = {widget.ID: widget for widget in found}
        assert len(self.items) == len(found), "two widgets have one ID"

    def GetItems(self) -> dict[str, Widget]:
        return self.items

    def Show(self) -> None:
        self.is_shown = True

    def Hide(self) -> None:
        self.is_shown = False

    def Raise(self) -> None: ...

    def choose(self, name: str, index: int) -> None:
        self.items[name].CurrentIndex = index
        self.On[name].CurrentIndexChanged({})

    def click(self, name: str) -> None:
        self.On[name].Clicked({})


class Dispatcher:
    """``script`` is what the artist does while the window is open: a function that gets the main window."""

    def __init__(self, ui: Widgets, script: Any) -> None:
        self.ui, self._script, self.On = ui, script, Handlers()
        self.is_over = False

    def AddWindow(self, table: dict[str, Any], children: list[Widget]) -> Window:
        window = self.ui.windows[table["ID"]] = Window(table["ID"], children)
        return window

    def RunLoop(self) -> int:
        self._script(self, next(iter(self.ui.windows.values())))
        return 0

    def ExitLoop(self, code: int = 0) -> None:
        self.is_over = True


class FusionApp:
    """The ``fusion`` of a menu script. The free edition answers a question for windows with a dialog of its own."""

    def __init__(self, world: World, ui: Widgets) -> None:
        self._world, self._ui = world, ui

    @property
    def UIManager(self) -> Any:
        if self._world.product.endswith("Studio") or tuple(self._world.version[:2]) < (19, 1):
            return self._ui
        self._world.is_modal_open = True
        return None

    def RequestDir(self, start: str) -> str:
        return str(self._world.folder / "chosen")


class Bmd:
    """The ``bmd`` of a menu script."""

    def __init__(self, script: Any) -> None:
        self._script = script

    def UIDispatcher(self, ui: Widgets) -> Dispatcher:
        return Dispatcher(ui, self._script)
