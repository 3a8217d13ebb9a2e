"""A reader of Nuke scripts that knows nothing of the writer: Tcl words, a stack of nodes, groups.

Reads what scripts of plain nodes have: ``Class {knobs}``, ``set NAME [stack 0]``, ``push $NAME``, ``push 0``,
``end_group``, ``version``, ``add_layer`` and comments. Anything else is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ESCAPES = {"n": "\n", "t": "\t"}


class ScriptError(ValueError):
    """The text is no script that Nuke would read."""


@dataclass
class ScriptNode:
    """A node of a script; ``inputs`` are nodes or None; ``user_knobs`` are the words of each ``addUserKnob``.

    ``layers`` are the root's: name → channels.
    """

    kind: str
    knobs: dict[str, str] = field(default_factory=dict)
    user_knobs: list[list[str]] = field(default_factory=list)
    inputs: list[ScriptNode | None] = field(default_factory=list)
    nodes: list[ScriptNode] = field(default_factory=list)
    layers: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.knobs.get("name", "")

    def find(self, name: str) -> ScriptNode:
        """A node inside by its name."""
        return next(node for node in self.nodes if node.name == name)

    def user_names(self) -> list[str]:
        """Names of the knobs that were added, in order."""
        return [words[1] for words in self.user_knobs]


def words(text: str) -> list[list[str]]:
    """Commands of a Tcl text, each as its words with braces, quotes and backslashes resolved."""
    commands: list[list[str]] = []
    current: list[str] = []
    at = 0
    while at < len(text):
        letter = text[at]
        if letter in "\n;":
            if current:
                commands.append(current)
            current, at = [], at + 1
        elif letter.isspace():
            at += 1
        elif letter == "#" and not current:
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            word, at = _word(text, at)
            current.append(word)
    return [*commands, current] if current else commands


def _word(text: str, at: int) -> tuple[str, int]:
    if text[at] == "{":
        return _braced(text, at)
    quoted = text[at] == '"'
    at += quoted
    found: list[str] = []
    depth = 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            found.append(ESCAPES.get(text[at + 1], text[at + 1]))
            at += 2
            continue
        if quoted and letter == '"':
            return "".join(found), at + 1
        depth += (letter == "[") - (letter == "]")
        if not quoted and not depth and (letter.isspace() or letter == ";"):
            break
        found.append(letter)
        at += 1
    if quoted:
        raise ScriptError("a quote is not closed")
    return "".join(found), at


def _braced(text: str, at: int) -> tuple[str, int]:
    start, depth = at + 1, 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 2
            continue
        depth += (letter == "{") - (letter == "}")
        at += 1
        if not depth:
            return text[start : at - 1], at
    raise ScriptError("a brace is not closed")


def parse(text: str) -> ScriptNode:
    """The script's root, with its nodes."""
    root = ScriptNode("Root")
    owners, stacks, named = [root], [[]], {}
    for command in words(text):
        head, rest = command[0], command[1:]
        stack: list[ScriptNode | None] = stacks[-1]
        if head == "version":
            continue
        if head == "add_layer":
            layer = rest[0].split()
            root.layers[layer[0]] = layer[1:]
            continue
        if head == "set":
            if rest[1] != "[stack 0]":
                raise ScriptError(f"set {rest}")
            named[rest[0]] = stack[-1]
        elif head == "push":
            stack.append(None if rest[0] == "0" else named[rest[0].removeprefix("$")])
        elif head == "end_group":
            owners.pop()
            stacks.pop()
        elif head[0].isupper() and len(rest) == 1:
            node = _node(head, rest[0])
            if head == "Root":
                root.knobs.update(node.knobs)
                continue
            count = int(node.knobs.pop("inputs", "0" if head in ("Input", "Read", "Constant") else "1"))
            if count > len(stack):
                raise ScriptError(f"{node.name} wants {count} inputs, the stack has {len(stack)}")
            node.inputs = [stack.pop() for _ in range(count)]
            stack.append(node)
            owners[-1].nodes.append(node)
            if head == "Group":
                owners.append(node)
                stacks.append([])
        else:
            raise ScriptError(f"unknown command {head}")
    if len(owners) != 1:
        raise ScriptError("a group is not ended")
    return root


def _node(kind: str, body: str) -> ScriptNode:
    node = ScriptNode(kind)
    for command in words(body):
        if command[0] == "addUserKnob":
            node.user_knobs.append(words(command[1])[0])
        elif len(command) == 2:
            node.knobs[command[0]] = command[1]
        else:
            raise ScriptError(f"{kind}: {command}")
    return node
