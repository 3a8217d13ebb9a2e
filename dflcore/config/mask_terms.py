"""The grammar of mask recipes: which masks of a face make the mask to use, as a short text.

Strongest first: ``!a`` complement, ``a & b`` intersection, ``a | b`` union, ``a > b`` priority (the first that a face
has), parentheses. What the terms mean for pixels is :mod:`dflcore.io.mask_recipe`'s business; settings are checked
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from dflcore.errors import InvalidInput

MAX_TEXT = 1000
MAX_NAMES = 64
MAX_DEPTH = 32

Operator = Literal["!", "&", "|", ">"]
_BINDING: Final[dict[Operator, int]] = {">": 0, "|": 1, "&": 2, "!": 3}
_BINARY: Final[tuple[Operator, ...]] = (">", "|", "&")
_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z0-9_]+)|(?P<sign>[!&|>()]))")
_NAME = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True)
class Term:
    """A node of a parsed recipe: a name, or an operator with its operands."""

    operator: Operator | None
    name: str = ""
    operands: tuple[Term, ...] = ()

    def names(self) -> Iterator[str]:
        """Sources in the order they are written."""
        if self.operator is None:
            yield self.name
        for operand in self.operands:
            yield from operand.names()

    def __str__(self) -> str:
        if self.operator is None:
            return self.name
        parts = [f"({one})" if self._needs_parentheses(one) else str(one) for one in self.operands]
        return f"!{parts[0]}" if self.operator == "!" else f" {self.operator} ".join(parts)

    def _needs_parentheses(self, operand: Term) -> bool:
        if operand.operator is None or self.operator is None:
            return False
        inner, outer = _BINDING[operand.operator], _BINDING[self.operator]
        return inner < outer or (inner == outer and self.operator != "!")


def parse_recipe(text: str) -> Term:
    """Read a recipe.

    Raises:
        InvalidInput: what was not understood, with its position counted from 1.
    """
    return _Parser(text).read()


def check_recipe(text: str) -> str:
    """For settings: the text as it is, if it is a recipe.

    Raises:
        ValueError: what was not understood.
    """
    try:
        parse_recipe(text)
    except InvalidInput as error:
        raise ValueError(error.message.rstrip(".")) from error
    return text


class _Parser:
    """Recursive descent, one method per strength of binding."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise InvalidInput(
                f"The mask recipe has {len(text)} characters; at most {MAX_TEXT} are read.", reason="BAD_MASK_RECIPE"
            )
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        if sum(is_name for _, _, is_name in self._tokens) > MAX_NAMES:
            raise InvalidInput(f"The mask recipe has more than {MAX_NAMES} names.", reason="BAD_MASK_RECIPE")

    def read(self) -> Term:
        term = self._binary(0, 0)
        if self._peek():
            raise self._error("an operator (>, |, &) or the end")
        return term

    def _binary(self, level: int, depth: int) -> Term:
        if level == len(_BINARY):
            return self._single(depth)
        operands = [self._binary(level + 1, depth)]
        while self._peek() == _BINARY[level]:
            self._next += 1
            operands.append(self._binary(level + 1, depth))
        if len(operands) == 1:
            return operands[0]
        flat = [inner for one in operands for inner in (one.operands if one.operator == _BINARY[level] else (one,))]
        return Term(_BINARY[level], operands=tuple(flat))

    def _single(self, depth: int) -> Term:
        if depth > MAX_DEPTH:
            raise self._error(f"no more than {MAX_DEPTH} levels")
        sign = self._peek()
        if sign == "!":
            self._next += 1
            return Term("!", operands=(self._single(depth + 1),))
        if sign == "(":
            self._next += 1
            term = self._binary(0, depth + 1)
            if self._peek() != ")":
                raise self._error("')'")
            self._next += 1
            return term
        if self._next == len(self._tokens) or not self._tokens[self._next][2]:
            raise self._error("the name of a mask, '!' or '('")
        if not _NAME.fullmatch(sign):
            raise self._error("a name of lower-case letters, digits and underscores, at most 32,")
        self._next += 1
        return Term(None, sign)

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _error(self, expected: str) -> InvalidInput:
        is_end = self._next == len(self._tokens)
        position = len(self._text) if is_end else self._tokens[self._next][1]
        found = "the end" if is_end else repr(self._peek())
        return _recipe_error(self._text, position, f"{expected} expected, but there is {found}")


def _tokens(text: str) -> Iterator[tuple[str, int, bool]]:
    """Text, position and whether it is a name, of each token. Raises InvalidInput."""
    position = 0
    stripped = len(text.rstrip())
    while position < stripped:
        match = _TOKEN.match(text, position)
        if match is None:
            place = position + len(text[position:]) - len(text[position:].lstrip())
            raise _recipe_error(text, place, f"{text[place]!r} means nothing here")
        kind = "name" if match["name"] else "sign"
        yield match[kind], match.start(kind), kind == "name"
        position = match.end()


def _recipe_error(text: str, position: int, what: str) -> InvalidInput:
    return InvalidInput(
        f"The mask recipe {text[:200]!r} cannot be read at character {position + 1}: {what}. An example: "
        "'label > (xseg | painted) & !hands > hull'.",
        reason="BAD_MASK_RECIPE",
        field="masks",
        position=position + 1,
    )
