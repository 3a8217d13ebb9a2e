"""Fusion's tables, read back by other means than they are written with."""

from __future__ import annotations

import re
from typing import Any

_TOKENS = re.compile(
    r'\s*(?:(?P<text>"(?:\\.|[^"\\])*")|(?P<number>-?\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>[{}=,\[\]()]))'
)


class Table(dict[Any, Any]):
    """A table; ``kind`` is the word before its braces. Values without a key are counted from 1, as Lua does."""

    kind = ""


def read_comp(text: str) -> Table:
    """A whole file. Raises ValueError where it has a fault."""
    tokens: list[tuple[str, str]] = []
    place = 0
    while text[place:].strip():
        match = _TOKENS.match(text, place)
        if match is None:
            raise ValueError(f"what is {text[place : place + 20]!r}?")
        tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
        place = match.end()
    value, rest = _value(tokens)
    if rest or not isinstance(value, Table):
        raise ValueError("something follows the table")
    return value


def _value(tokens: list[tuple[str, str]]) -> tuple[Any, list[tuple[str, str]]]:
    if not tokens:
        raise ValueError("it ends too early")
    (kind, text), rest = tokens[0], tokens[1:]
    if kind == "text":
        return re.sub(r"\\(.)", lambda hit: {"n": "\n", "r": "\r", "0": "\0"}.get(hit[1], hit[1]), text[1:-1]), rest
    if kind == "number":
        return float(text) if "." in text or "e" in text else int(text), rest
    if kind == "name":
        if text in ("true", "false"):
            return text == "true", rest
        if rest[:2] == [("sign", "("), ("sign", ")")]:
            rest = rest[2:]
        table, rest = _value(rest)
        if not isinstance(table, Table):
            raise ValueError(f"{text} has no table")
        table.kind = text
        return table, rest
    if text != "{":
        raise ValueError(f"{text} where a value should be")
    return _table(rest)


def _table(rest: list[tuple[str, str]]) -> tuple[Table, list[tuple[str, str]]]:
    table = Table()
    while rest and rest[0] != ("sign", "}"):
        key: Any = len(table) + 1
        if rest[0] == ("sign", "["):
            key, rest = _value(rest[1:])
            if rest[:2] != [("sign", "]"), ("sign", "=")]:
                raise ValueError("a key without a value")
            rest = rest[2:]
        elif rest[0][0] == "name" and rest[1:2] == [("sign", "=")]:
            key, rest = rest[0][1], rest[2:]
        table[key], rest = _value(rest)
        if rest[:1] == [("sign", ",")]:
            rest = rest[1:]
        elif rest[:1] != [("sign", "}")]:
            raise ValueError("a comma is missing")
    if not rest:
        raise ValueError("a brace is missing")
    return table, rest[1:]
