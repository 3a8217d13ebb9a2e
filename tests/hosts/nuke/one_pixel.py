"""A pixel of a script's graph: what comes out of a node, given what its files hold. Evenly lit frames only."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

Pixel = dict[str, float]
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def solve(node: Any, expression: str, frame: int) -> float:
    """An expression of a knob, with ``parent`` and ``frame``."""
    text = expression.replace("&&", " and ").replace("||", " or ").replace("!=", "≠").replace("!", " not ")
    return float(_solve(ast.parse(text.replace("≠", "!=").strip(), mode="eval").body, node, frame))


def _solve(tree: ast.expr, node: Any, frame: int) -> Any:
    if isinstance(tree, ast.Constant):
        return tree.value
    if isinstance(tree, ast.Name) and tree.id == "frame":
        return frame
    if isinstance(tree, ast.Attribute) and isinstance(tree.value, ast.Name) and tree.value.id == "parent":
        knob = node._owner[tree.attr]
        return knob.values().index(knob.value()) if knob.Class() == "Enumeration_Knob" else knob.value()
    if isinstance(tree, ast.BoolOp):
        values = [_solve(value, node, frame) for value in tree.values]
        return all(values) if isinstance(tree.op, ast.And) else any(values)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        return not _solve(tree.operand, node, frame)
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1:
        left, right = (_solve(one, node, frame) for one in (tree.left, tree.comparators[0]))
        return OPERATORS[type(tree.ops[0])](left, right)
    raise ValueError(f"Nuke may know {ast.unparse(tree)}, this does not")


def number(node: Any, knob: str, frame: int) -> float:
    found = node[knob]
    return solve(node, found._expression, frame) if found.hasExpression() else float(found.value())


def _in_mask(channel: str, mask: str) -> bool:
    layers = {"rgb": ("rgba.red", "rgba.green", "rgba.blue")}
    return mask == "all" or channel in layers.get(mask, ()) or channel.partition(".")[0] == mask


def pixel(node: Any, frame: int, files: Callable[[str, int], Pixel], plate: Pixel) -> Pixel:
    """Channel → value of a node's output.

    Args:
        files: path and frame → what that file holds. plate: what comes into the group.
    """

    def above(index: int) -> Pixel:
        return pixel(node.input(index), frame, files, plate)

    kind = node.Class()
    if kind == "Input":
        return dict(plate)
    if kind == "Read":
        return _read(node, frame, files)
    if kind == "Switch":
        return above(int(number(node, "which", frame)))
    if kind == "Keymix":
        base, over, mask = above(0), above(1), above(2).get(node["maskChannel"].value(), 0.0)
        mixed = {name: base.get(name, 0) * (1 - mask) + over.get(name, 0) * mask for name in over}
        return {**base, **{name: value for name, value in mixed.items() if _in_mask(name, node["channels"].value())}}
    found = above(0)
    if kind in ("Output", "FilterErode", "Blur") or number(node, "disable", frame):
        return found
    if kind == "Write":
        return found
    if kind == "Grade":
        gain = number(node, "multiply", frame)
        for name in found:
            if _in_mask(name, node["channels"].value()):
                found[name] = min(1.0, max(0.0, found[name] * gain))
        return found
    if kind == "Premult":
        alpha = found[node["alpha"].value()]
        return {name: value * (alpha if _in_mask(name, "rgb") else 1) for name, value in found.items()}
    if kind == "Copy":
        source = above(1)
        found.update({name: value for name, value in source.items() if _in_mask(name, node["channels"].value())})
        for index in range(4):
            origin, target = node[f"from{index}"].value(), node[f"to{index}"].value()
            if "none" not in (origin, target):
                found[target] = source.get(origin, 0.0)
        return found
    raise ValueError(kind)


def _read(node: Any, frame: int, files: Callable[[str, int], Pixel]) -> Pixel:
    first, last = node["first"].value(), node["last"].value()
    if not first <= frame <= last:
        side = "before" if frame < first else "after"
        if node[side].value() == "black":
            return {}
        frame = first if frame < first else last
    return dict(files(node["file"].value(), frame))
