# ruff: noqa: N801, N802  (classes and methods are called as Nuke calls them)
"""Behaviour of the API's classes: knobs, nodes, groups, menus."""

from __future__ import annotations

import re
from typing import Any

from nuke_tables import ANY_NODE, NODE_KNOBS, USER_TYPES


def quoted(text: str) -> str:
    """A Tcl word."""
    if text and not re.search(r'[\s"{}\[\]$;\\#]', text):
        return text
    for letter, escape in (("\\", "\\\\"), ('"', '\\"'), ("[", "\\["), ("$", "\\$"), ("{", "\\{"), ("}", "\\}")):
        text = text.replace(letter, escape)
    return '"' + text.replace("\n", "\\n") + '"'


def behaviours(world: Any) -> dict[str, type]:
    """Behaviour of the API's classes."""

    class Knob:
        def __init__(self, name: str, label: str = "", value: Any = None) -> None:
            self._name, self._label, self._value = name, label or name, value
            self._expression = ""
            self._tooltip = ""
            self._flags = 0
            self._node: Any = None
            self._is_user = False
            self._default = value

        def Class(self) -> str:
            return type(self).__name__

        def name(self) -> str:
            return self._name

        def label(self) -> str:
            return self._label

        def node(self) -> Any:
            return self._node

        def setTooltip(self, tooltip: str) -> None:
            self._tooltip = tooltip

        def tooltip(self) -> str:
            return self._tooltip

        def setFlag(self, flag: int) -> None:
            self._flags |= flag

        def clearFlag(self, flag: int) -> None:
            self._flags &= ~flag

        def getFlag(self, flag: int) -> bool:
            return bool(self._flags & flag)

        def isAnimated(self, channel: int = 0) -> bool:
            return False

        def hasExpression(self, index: int = 0) -> bool:
            return bool(self._expression)

        def setExpression(self, expression: str, index: int = 0, view: Any = None) -> bool:
            self._expression = expression
            return True

        def value(self, *given: Any) -> Any:
            return self._value

        def setValue(self, val: Any, chan: int = 0) -> bool:
            value = self._converted(val)
            if value != self._value and self._node is not None and not world.undo_off:
                world.undoable.append(self._name)
            changed, self._value = value != self._value, value
            if changed and self._node is not None:
                world.notify(self._node, self)
            return True

        def _converted(self, value: Any) -> Any:
            return value

        def _load(self, text: str) -> None:
            if text.startswith("{") and text.endswith("}"):
                self._expression = text[1:-1].strip('"')
            else:
                self._value = self._converted(self._parsed(text))

        def _parsed(self, text: str) -> Any:
            return text

        def _text(self) -> str:
            if self._expression:
                return '{{"' + self._expression + '"}}'
            return quoted(str(self._value))

        def _saved(self) -> str | None:
            """Its line in a script; None where it holds its default."""
            is_default = self._value == self._default and not self._expression
            return None if is_default and not self._is_user else f"{self._name} {self._text()}"

        def _user_line(self) -> str:
            number = USER_TYPES[type(self).__name__]
            line = f"{number} {self._name}" + (f" l {quoted(self._label)}" if self._label != self._name else "")
            if self.getFlag(world.api.INVISIBLE):
                line += " +INVISIBLE"
            return line

    class Array_Knob:
        def setRange(self, minimum: float, maximum: float) -> None:
            self._range = (minimum, maximum)

    class Int_Knob:
        def __init__(self, name: str, label: str = "") -> None:
            Knob.__init__(self, name, label, 0)

        def _converted(self, value: Any) -> int:
            return int(value)

        def setValue(self, val: Any) -> bool:
            return Knob.setValue(self, val)

        def value(self) -> int:
            return self._value

        def _parsed(self, text: str) -> int:
            return int(text, 0)

    class Double_Knob:
        def __init__(self, name: str, label: str = "") -> None:
            Knob.__init__(self, name, label, 0.0)

        def _converted(self, value: Any) -> float:
            return float(value)

    class Boolean_Knob:
        def __init__(self, name: str, label: str = "", value: bool = False) -> None:
            Knob.__init__(self, name, label, bool(value))
            self._default = False

        def setValue(self, b: Any) -> bool:
            return Knob.setValue(self, b)

        def value(self) -> bool:
            return self._value

        def _converted(self, value: Any) -> bool:
            return bool(value)

        def _parsed(self, text: str) -> bool:
            return text == "true"

        def _text(self) -> str:
            return (self._expression and Knob._text(self)) or str(self._value).lower()

    class String_Knob:
        def __init__(self, name: str, label: str = "", value: str = "") -> None:
            Knob.__init__(self, name, label, value)

        def setValue(self, val: str, view: Any = None) -> None:
            if not isinstance(val, str):
                raise TypeError(f"{self._name} takes a str")
            Knob.setValue(self, val)

        def value(self, oc: Any = None) -> str:
            return self._value

        def _load(self, text: str) -> None:
            self._value = text

    class File_Knob:
        def setValue(self, value: str) -> None:
            String_Knob.setValue(self, value)

        def value(self) -> str:
            return self._value

        def _load(self, text: str) -> None:
            self._value = text

        def getEvaluatedValue(self) -> str:
            return re.sub(r"\[getenv (\w+)\]", "/evaluated", self._value)

    class Script_Knob:
        def __init__(self, name: str, label: str = "", command: str = "") -> None:
            Knob.__init__(self, name, label, command)
            self._runs = 0

        def command(self) -> str:
            return self._value

        def execute(self) -> None:
            self._runs += 1

    class PyScript_Knob:
        def _user_line(self) -> str:
            return f"{Knob._user_line(self)} T {quoted(self._value)}"

        def _saved(self) -> None:
            return None

    class Text_Knob:
        def __init__(self, name: str, label: str = "", value: str = "") -> None:
            Knob.__init__(self, name, label, value)

        def setValue(self, value: str) -> None:
            Knob.setValue(self, value)

        def value(self) -> str:
            return self._value

        def _user_line(self) -> str:
            return f"{Knob._user_line(self)} T {quoted(self._value)}"

        def _saved(self) -> None:
            return None

    class Tab_Knob:
        def __init__(self, name: str, label: str = "") -> None:
            Knob.__init__(self, name, label, None)

        def _saved(self) -> None:
            return None

    class Enumeration_Knob:
        def __init__(self, name: str, label: str, values: list[str]) -> None:
            Knob.__init__(self, name, label, values[0])
            self._values = list(values)

        def values(self) -> list[str]:
            return list(self._values)

        def setValues(self, items: list[str]) -> None:
            self._values = list(items)
            if self._value not in self._values:
                self._value = self._values[0]

        def setValue(self, item: Any) -> bool:
            value = self._values[item] if isinstance(item, int) else item
            if value not in self._values:
                raise ValueError(f"{self._name} has no {item!r}, only {self._values}")
            return Knob.setValue(self, value)

        def value(self) -> str:
            return self._value

        def _user_line(self) -> str:
            return f"{Knob._user_line(self)} M {quoted('|'.join(self._values))}"

    class Channel_Knob:
        def setValue(self, name: str) -> None:
            layer = name.partition(".")[0]
            if layer not in ("none", "all", "rgb", "rgba", *world.layers):
                raise ValueError(f"no layer {layer}")
            Knob.setValue(self, name)

        def value(self) -> str:
            return self._value

    class Node:
        def _begin(self, kind: str, owner: Any) -> None:
            self._kind, self._owner, self._deleted = kind, owner, False
            self._inputs: list[Any] = []
            self._nodes: list[Any] = []
            self._knobs: dict[str, Any] = {}
            for name, (cls, default) in {**ANY_NODE, **NODE_KNOBS[kind]}.items():
                self._knobs[name] = _node_knob(world.api, name, cls, default)
            for knob in self._knobs.values():
                knob._node = self
            if owner is not None:
                owner._nodes.append(self)

        def Class(self) -> str:
            return self._kind

        def name(self) -> str:
            if self._deleted:
                raise ValueError("A PythonObject is not attached to a node")
            return self._knobs["name"]._value

        def fullName(self) -> str:
            owner = self._owner.fullName() if self._owner is not world.root else ""
            return f"{owner}.{self.name()}" if owner else self.name()

        def setName(self, name: str, uncollide: bool = True, updateExpressions: bool = False) -> None:
            taken = {node.name() for node in self._owner._nodes if node is not self}
            stem = name.rstrip("0123456789")
            number = int(name[len(stem) :] or 1)
            while name in taken:
                number += 1
                name = f"{stem}{number}"
            self._knobs["name"]._value = name

        def knob(self, p: str, follow_link: bool = True) -> Any:
            self.name()
            return self._knobs.get(p)

        def knobs(self) -> dict[str, Any]:
            return dict(self._knobs)

        def addKnob(self, knob: Any) -> None:
            if knob.name() in self._knobs:
                raise ValueError(f"two knobs called {knob.name()}")
            knob._node, knob._is_user = self, True
            self._knobs[knob.name()] = knob

        def input(self, index: int) -> Any:
            return self._inputs[index] if index < len(self._inputs) else None

        def inputs(self) -> int:
            return len(self._inputs)

        def setInput(self, i: int, node: Any) -> bool:
            self._inputs += [None] * (i + 1 - len(self._inputs))
            self._inputs[i] = node
            return True

        def hasError(self) -> bool:
            return False

        def firstFrame(self) -> int:
            return self._range()[0]

        def lastFrame(self) -> int:
            return self._range()[1]

        def _range(self) -> tuple[int, int]:
            if "first" in self._knobs and self._kind == "Read":
                return self["first"].value(), self["last"].value()
            above = self.input(0)
            return above._range() if above is not None else world.root._range()

        def xpos(self) -> int:
            return self["xpos"].value()

        def ypos(self) -> int:
            return self["ypos"].value()

        def setXYpos(self, x: int, y: int) -> None:
            self["xpos"].setValue(x)
            self["ypos"].setValue(y)

        def showControlPanel(self, forceFloat: bool = False) -> None:
            self._shown = True

        def writeKnobs(self, flags: int = 0) -> str:
            return "\n".join(self._lines())

        def __getitem__(self, name: str) -> Any:
            self.name()  # raises where the node was deleted
            if name not in self._knobs:
                raise NameError(f"knob {name} does not exist")
            return self._knobs[name]

        def _lines(self) -> list[str]:
            users = [f"addUserKnob {{{knob._user_line()}}}" for knob in self._knobs.values() if knob._is_user]
            saved = [knob._saved() for knob in self._knobs.values()]
            return [*users, *(line for line in saved if line is not None)]

    class Group:
        def nodes(self) -> list[Any]:
            return list(self._nodes)

        def node(self, s: str) -> Any:
            return next((node for node in self._nodes if node.name() == s), None)

        def setInput(self, i: int, node: Any) -> bool:
            if i >= sum(inner.Class() == "Input" for inner in self._nodes):
                return False
            return Node.setInput(self, i, node)

        def __enter__(self) -> Any:
            world.enter(self)
            return self

        def __exit__(self, type: Any, value: Any, traceback: Any) -> None:
            world.leave()

    class Root:
        def __init__(self) -> None:
            Node._begin(self, "Root", None)

        def name(self) -> str:
            return self._knobs["name"]._value

        def fullName(self) -> str:
            return "root"

        def _range(self) -> tuple[int, int]:
            return self["first_frame"].value(), self["last_frame"].value()

        def firstFrame(self) -> int:
            return self._range()[0]

        def lastFrame(self) -> int:
            return self._range()[1]

    class Undo:
        @staticmethod
        def disable() -> None:
            world.undo_off += 1

        @staticmethod
        def enable() -> None:
            world.undo_off -= 1

    class Layer:
        def __init__(self, name: str, channels: list[str] | None = None) -> None:
            world.layers.setdefault(name, list(channels or []))

    class FrameRanges:
        def __init__(self, text: str) -> None:
            self._frames: list[int] = []
            for part in text.split():
                match = re.fullmatch(r"(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?", part)
                if match is None:
                    raise ValueError(f"no frame range: {text}")
                first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
                self._frames += range(first, last + 1, step)

        def toFrameList(self) -> list[int]:
            return list(self._frames)

    class Panel:
        def __init__(self, title: str) -> None:
            self._title, self._rows = title, {}
            world.panels.append(self)

        def setWidth(self, width: int) -> bool:
            return True

        def addSingleLineInput(self, name: str, value: str) -> bool:
            self._rows[name] = value
            return True

        def addFilenameSearch(self, name: str, value: str) -> bool:
            if "\\" in value:
                raise ValueError("back-slashes are escapes")
            self._rows[name] = value
            return True

        def show(self) -> int:
            return int(world.fill_panel(self._rows))

        def value(self, name: str) -> str:
            return self._rows[name]

    class ProgressTask:
        def __init__(self, name: str) -> None:
            self._said: list[str] = []
            self._cancelled = False
            world.bars.append(self)

        def setProgress(self, i: int) -> None:
            if not isinstance(i, int):
                raise TypeError("setProgress takes a whole number")

        def setMessage(self, s: str) -> None:
            self._said.append(s)

        def isCancelled(self) -> bool:
            return self._cancelled

    class Menu:
        def __init__(self, name: str = "") -> None:
            self._title = name
            self._items: dict[str, Any] = {}

        def addMenu(self, name: str, **given: Any) -> Any:
            return self._items.setdefault(name, world.api.Menu(name))

        def addCommand(self, name: str, command: Any = None, *given: Any, **named: Any) -> Any:
            self._items[name] = command
            return command

    return {name: cls for name, cls in locals().items() if isinstance(cls, type) and name != "World"}


def _node_knob(api: Any, name: str, cls: str, default: Any) -> Any:
    if cls == "Enumeration_Knob":
        return api.Enumeration_Knob(name, name, list(default))
    knob = getattr(api, cls)(name)
    knob._value = knob._default = default
    return knob
