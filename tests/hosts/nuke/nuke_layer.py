# ruff: noqa: N802  (functions are called as Nuke calls them)
"""What Nuke does, as far as this integration calls it: nodes, knobs, groups, scripts, rendering, threads.

Names and arity come from the public stubs (``tests/hosts/strict``); knobs of node classes from a published scan of
Nuke 17.0. Whatever has no behaviour here fails. Calls from other threads than the main one fail as well, but for those
that Nuke allows.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nk_text
from nuke_classes import behaviours
from nuke_tables import FROM_ANY_THREAD, NODE_KNOBS, TIGHTENED, USER_TYPES
from strict_fake import load_table, make_module


class World:
    """A running Nuke: what tests look at and turn."""

    def __init__(self, *, window: bool = True) -> None:
        self.main = threading.get_ident()
        self.queue: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.views = ["main"]
        self.frame = 1001
        self.layers: dict[str, list[str]] = {}
        self.messages: list[str] = []
        self.printed: list[str] = []
        self.renders: list[dict[str, Any]] = []
        self.render: Callable[[Any, int, str], bytes] = lambda node, frame, view: b"not really an EXR"
        self.render_error: Exception | None = None
        self.commands: dict[str, Any] = {}
        self.changed: list[tuple[Callable[[], None], str]] = []
        self.loaded: list[Callable[[], None]] = []
        self.plugin_paths: list[str] = []
        self.undo_off = 0
        self.undoable: list[str] = []
        self.viewed: Any = None
        self.this: tuple[Any, Any] = (None, None)
        self.background: dict[int, dict[str, Any]] = {}
        self.background_fails = False
        self.when_written: dict[str, list[Callable[[dict[str, Any]], None]]] = {"frame": [], "end": []}
        self.chosen: list[tuple[str, list[str]]] = []
        self.choice: Callable[[list[str]], int | None] = lambda options: None
        self.panels: list[Any] = []
        self.fill_panel: Callable[[dict[str, str]], bool] = lambda values: False
        self.bars: list[Any] = []
        self.api = self._module(window)
        self.root = self.api.Root()
        self._owners: list[Any] = [self.root]
        self.selected: Any = None

    def _module(self, window: bool) -> types.ModuleType:
        functions = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}
        return make_module(
            "nuke",
            load_table("nuke_13_2"),
            functions=functions,
            classes=behaviours(self),
            values={
                "GUI": window,
                "NUKE_VERSION_STRING": "14.0v5",
                "EXE_PATH": "/opt/Nuke14.0v5/Nuke14.0",
                "nodes": _Nodes(self),
            },
            tightened=TIGHTENED,
            guard=self._guard,
        )

    def _guard(self, name: str) -> None:
        if threading.get_ident() != self.main and not name.startswith(FROM_ANY_THREAD):
            raise AssertionError(f"{name} was called from a thread of ours")

    def pump(self) -> int:
        """Nuke's event loop: run what was queued; answers with how many calls."""
        count = 0
        while self.queue:
            call, arguments = self.queue.pop(0)
            call(*arguments)
            count += 1
        return count

    def press(self, node: Any, button: str) -> None:
        """Press a button: run its text as Nuke does."""
        self.this = (node, node[button])
        program = node[button].command()
        exec(compile(program, button, "exec"), {"nuke": self.api})  # noqa: S102  (what a button is)
        self.this = (None, None)

    def change(self, node: Any, knob: str, value: Any) -> None:
        """Change a knob as an artist does: callbacks run."""
        node[knob].setValue(value)

    def notify(self, node: Any, knob: Any) -> None:
        """Call back for a changed knob, whoever changed it."""
        before, self.this = self.this, (node, knob)
        for call, kind in list(self.changed):
            if kind in ("*", node.Class()):
                call()
        self.this = before

    # nuke.* functions

    def do_root(self) -> Any:
        return self.root

    def do_createNode(self, typ: str, knobs: str = "", inpanel: bool = True) -> Any:
        node = self.make(typ, {})
        if self.selected is not None:
            node.setInput(0, self.selected)  # refused by a Group, which has no Input yet
        self.selected = node
        return node

    def do_selectedNode(self) -> Any:
        if self.selected is None:
            raise ValueError("no node selected")
        return self.selected

    def do_toNode(self, s: str) -> Any:
        owner = self.root
        for part in s.split("."):
            owner = next((node for node in owner._nodes if node.name() == part), None)
            if owner is None:
                return None
        return owner

    def do_allNodes(self, filter: str = "", group: Any = None, recurseGroups: bool = False) -> list[Any]:
        return [node for node in (self._owners[-1] if group is None else group)._nodes if filter in ("", node.Class())]

    def do_delete(self, n: Any) -> None:
        n._owner._nodes.remove(n)
        n._deleted = True

    def do_views(self) -> list[str]:
        return list(self.views)

    def do_frame(self, f: int | None = None) -> int:
        self.frame = self.frame if f is None else f
        return self.frame

    def do_thisNode(self) -> Any:
        return self.this[0]

    def do_thisKnob(self) -> Any:
        return self.this[1]

    def do_message(self, prompt: str) -> None:
        self.messages.append(prompt)

    def do_tprint(self, *args: Any, **kwargs: Any) -> None:
        self.printed.append(" ".join(str(word) for word in args))

    def do_connectViewer(self, inputNum: int, node: Any) -> None:
        self.viewed = node

    def do_executeInMainThread(self, call: Any, args: Any = (), kwargs: Any = None) -> None:
        self.queue.append((call, args))

    def do_menu(self, name: str) -> Any:
        return self.commands.setdefault(f"menu {name}", self.api.Menu(name))

    def do_pluginAddPath(self, args: str, addToSysPath: bool = True) -> None:
        self.plugin_paths.append(args)

    def do_addKnobChanged(
        self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*", node: Any = None
    ) -> None:
        self.changed.append((call, nodeClass))

    def do_removeKnobChanged(
        self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*", node: Any = None
    ) -> None:
        self.changed = [one for one in self.changed if one != (call, nodeClass)]

    def do_addOnScriptLoad(self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*") -> None:
        self.loaded.append(call)

    def do_removeOnScriptLoad(self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*") -> None:
        self.loaded = [one for one in self.loaded if one != call]

    def do_getColorspaceList(self, colorspaceKnob: Any) -> list[str]:
        return [f"{value}\tfamily/{value}" for value in colorspaceKnob.values()]

    def do_execute(self, nameOrNode: Any, *given: Any, **named: Any) -> None:
        if self.render_error is not None:
            raise self.render_error
        frames = given[0].toFrameList() if hasattr(given[0], "toFrameList") else range(given[0], given[1] + 1)
        views = named.get("views", given[1] if hasattr(given[0], "toFrameList") else self.views)
        write = nameOrNode
        assert not write["disable"].value(), "Nuke does not run a Write that is switched off"
        assert not self.root["proxy"].value(), "proxies would have been written"
        self.renders.append({"file": write["file"].value(), "frames": list(frames), "views": list(views)})
        for view in views:
            for frame in frames:
                path = Path(write["file"].value().replace("%V", view) % frame)
                if not path.parent.is_dir():
                    assert write["create_directories"].value(), "the folder is not there"
                    path.parent.mkdir(parents=True)
                path.write_bytes(self.render(write, frame, view))

    def do_executeBackgroundNuke(
        self, exe_path: str, nodes: Any, frameRange: Any, views: Any, limits: Any, continueOnError: bool = False
    ) -> int:
        """Another Nuke, which reads the script as it is now; its work is done by :meth:`finish_background`."""
        if self.background_fails:
            return -1
        (write,) = nodes
        assert exe_path == self.api.EXE_PATH
        assert isinstance(limits, dict)
        assert not write["disable"].value(), "Nuke does not run a Write that is switched off"
        assert not self.root["proxy"].value(), "proxies would have been written"
        number = len(self.background) + 1
        frames = frameRange.toFrameList()
        self.background[number] = {"file": write["file"].value(), "frames": frames, "views": list(views)}
        return number

    def finish_background(self, number: int, *, frames: int | None = None) -> None:
        """The other Nuke writes and ends, after some frames where it is cancelled; calls come from any thread."""
        work = self.background[number]
        wanted = work["frames"][:frames]
        for done, frame in enumerate(wanted, start=1):
            for view in work["views"]:
                path = Path(work["file"].replace("%V", view) % frame)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.render(None, frame, view))
            told = {"id": number, "frame": frame, "numFrames": len(work["frames"]), "frameProgress": done}
            self._call_back("frame", told)
        self._call_back("end", {"id": number})

    def _call_back(self, kind: str, context: dict[str, Any]) -> None:
        faults: list[BaseException] = []

        def work() -> None:
            for call in list(self.when_written[kind]):
                try:
                    call(context)
                except BaseException as error:  # raised again where the test sees it
                    faults.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if faults:
            raise faults[0]

    def do_addAfterBackgroundRender(self, call: Any, args: Any = (), kwargs: Any = None) -> None:
        self.when_written["end"].append(call)

    def do_addAfterBackgroundFrameRender(self, call: Any, args: Any = (), kwargs: Any = None) -> None:
        self.when_written["frame"].append(call)

    def do_choice(self, title: str, prompt: str, options: list[str], default: int = 0) -> int | None:
        self.chosen.append((prompt, list(options)))
        return self.choice(options)

    def do_scriptSaveAs(self, filename: str | None = None, overwrite: bool = False) -> None:
        assert filename is not None
        self.root["name"].setValue(filename)
        Path(filename).write_text(self.script(), "utf-8")

    def do_scriptOpen(self, filename: str | None = None) -> None:
        assert filename is not None
        parsed = nk_text.parse(Path(filename).read_text("utf-8"))
        self.root._nodes.clear()
        self.layers.update(parsed.layers)
        for name, value in parsed.knobs.items():
            if name != "inputs":
                self.root[name]._load(value)
        self._build(parsed)
        for call in list(self.loaded):
            call()

    # making nodes, and scripts

    def make(self, kind: str, given: dict[str, Any]) -> Any:
        """A node in the group that is being filled."""
        node = self.api.Group() if kind == "Group" else self.api.Node()
        node._begin(kind, self._owners[-1])
        inputs = given.pop("inputs", [])
        node.setName(given.pop("name", f"{kind}1"))
        for index, above in enumerate(inputs):
            node.setInput(index, above)
        for name, value in given.items():
            node[name].setValue(value)
        return node

    def enter(self, group: Any) -> None:
        self._owners.append(group)

    def leave(self) -> None:
        self._owners.pop()

    def _build(self, owner: nk_text.ScriptNode) -> None:
        made: dict[int, Any] = {}
        for one in owner.nodes:
            node = made[id(one)] = self.make(one.kind, {"name": one.name})
            for words in one.user_knobs:
                node.addKnob(_user_knob(self.api, words))
            for name, value in one.knobs.items():
                if name != "name":
                    node[name]._load(value)
            if one.kind == "Group":
                self.enter(node)
                self._build(one)
                self.leave()
            for index, above in enumerate(one.inputs):
                node.setInput(index, made[id(above)] if above is not None else None)

    def script(self) -> str:
        """The script as text."""
        lines = ["#! Nuke14.0 -nx", "version 14.0 v5", "Root {", " inputs 0"]
        lines += [f" {line}" for line in self.root._lines()] + ["}"]
        lines += [f"add_layer {{{name} {' '.join(channels)}}}" for name, channels in sorted(self.layers.items())]
        numbers: dict[int, str] = {}
        _write_nodes(self.root, lines, numbers)
        return "\n".join(lines) + "\n"


def _write_nodes(owner: Any, lines: list[str], numbers: dict[int, str]) -> None:
    for node in _sorted(owner._nodes):
        for above in reversed(node._inputs):
            lines.append("push 0" if above is None else f"push ${numbers[id(above)]}")
        lines.append(f"{node.Class()} {{")
        lines.append(f" inputs {len(node._inputs)}")
        lines += [f" {line}" for line in node._lines()]
        lines.append("}")
        if node.Class() == "Group":
            _write_nodes(node, lines, numbers)
            lines.append("end_group")
        numbers[id(node)] = f"N{len(numbers)}"
        lines.append(f"set {numbers[id(node)]} [stack 0]")


def _sorted(nodes: list[Any]) -> list[Any]:
    done: list[Any] = []

    def visit(node: Any) -> None:
        if node not in done:
            for above in node._inputs:
                if above is not None:
                    visit(above)
            done.append(node)

    for node in nodes:
        visit(node)
    return done


def _user_knob(api: Any, words: list[str]) -> Any:
    kind = next(name for name, number in USER_TYPES.items() if number == int(words[0]))
    flags = [word for word in words[2:] if word[:1] in ("+", "-") and word[1:].isupper()]
    plain = [word for word in words[2:] if word not in flags]
    options = dict(zip(plain[0::2], plain[1::2], strict=True))
    label = options.get("l", words[1])
    if kind == "Enumeration_Knob":
        knob = api.Enumeration_Knob(words[1], label, options["M"].split("|"))
    elif kind in ("PyScript_Knob", "Text_Knob"):
        knob = getattr(api, kind)(words[1], label, options.get("T", ""))
    else:
        knob = getattr(api, kind)(words[1], label)
    if "+INVISIBLE" in flags:
        knob.setFlag(api.INVISIBLE)
    return knob


class _Nodes:
    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind not in NODE_KNOBS:
            raise AttributeError(f"Nuke has no node {kind}, or the fake does not know it")
        return lambda **given: self._world.make(kind, given)
