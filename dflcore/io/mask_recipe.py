"""Which masks of a face make the mask to use, as a short text: ``label > xseg > hull``, ``(xseg | painted) & !hands``.

Grammar, strongest first: ``!a`` complement, ``a & b`` intersection, ``a | b`` union, ``a > b`` priority (the first that
this face has), parentheses. Names are mask sources; ``hull`` is computed from the landmarks and always there, ``label``
is the rasterised drawing.

A source that a face does not have falls through: it takes no part in ``&`` and ``|``, its complement is not there
either, and ``>`` goes on to the next. Values: ``min`` for intersection, ``max`` for union, ``1 - a`` for complement, so
that soft edges obey De Morgan's laws too. The text is parsed, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import cv2
import numpy as np

from dflcore.errors import InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.mask_labels import rasterize
from dflcore.types import FaceRecord, FloatArray

if TYPE_CHECKING:
    from dflcore.io.masks import MaskStore

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


@dataclass(frozen=True, slots=True)
class MaskRecipe:
    """A parsed recipe. Equal recipes have equal text: ``str`` writes it in one canonical form that parses back."""

    term: Term

    @classmethod
    def parse(cls, text: str) -> MaskRecipe:
        """Read a recipe.

        Raises:
            InvalidInput: what was not understood, with its position counted from 1.
        """
        return cls(_Parser(text).read())

    @property
    def sources(self) -> tuple[str, ...]:
        """Names in the order of first use, ``hull`` and ``label`` among them."""
        return tuple(dict.fromkeys(self.term.names()))

    def combine(self, face: str, store: MaskStore, record: FaceRecord, size: int) -> FloatArray:
        """The mask of one face.

        Args:
            face: its name in the store.
            store: the faceset's masks.
            record: its row in the index: landmarks and transform for ``hull``, aligned size for ``label``.
            size: side of the result in pixels; stored masks of another size are resized, area or linear.

        Returns:
            (size, size) float32 in [0, 1].

        Raises:
            NotFound: the face has none of the recipe's masks; ``... > hull`` rules that out.
            DataCorrupt: a stored mask is damaged.
        """
        mask = self.find(face, store, record, size)
        if mask is None:
            raise NotFound(
                f"The face {face} has no mask for {str(self)!r}: none of {', '.join(self.sources)} is there. Make one, "
                f"or end the recipe with '> hull'.",
                reason="MASK_NOT_FOUND",
                face=face,
            )
        return mask

    def find(self, face: str, store: MaskStore, record: FaceRecord, size: int) -> FloatArray | None:
        """As :meth:`combine`, None where the face has none of the recipe's masks."""
        return _evaluate(self.term, lambda name: _source_mask(name, face, store, record, size))

    def faces_without(self, faces: Iterable[str], store: MaskStore) -> list[str]:
        """Those of ``faces`` for which :meth:`combine` would find nothing; cheap, no mask is read."""
        sources = [name for name in self.sources if name != "hull"]
        if len(sources) < len(self.sources):
            return []
        have: set[str] = set()
        for name in sources:
            have.update(store.labelled_faces() if name == "label" else store.faces_with(name))
        return [face for face in faces if face not in have]

    def __str__(self) -> str:
        return str(self.term)


def face_hull(record: FaceRecord, size: int) -> FloatArray:
    """The hull of a face's landmarks in its aligned square, (size, size) float32 in [0, 1]."""
    points = affine.apply(record.aligned_from_plate * (size / record.aligned_size), record.landmarks.points)
    return hull_mask(points, size, size)


def resize_mask(mask: FloatArray, size: int) -> FloatArray:
    """(S, S) → (size, size) float32: areas averaged when shrinking, linear when growing. Never leaves [0, 1]."""
    if mask.shape == (size, size):
        return mask
    method = cv2.INTER_AREA if size < mask.shape[0] else cv2.INTER_LINEAR
    resized = cv2.resize(np.asarray(mask, dtype=np.float32), (size, size), interpolation=method)
    return np.clip(resized, 0.0, 1.0)


def _source_mask(name: str, face: str, store: MaskStore, record: FaceRecord, size: int) -> FloatArray | None:
    if name == "hull":
        return face_hull(record, size)
    if name == "label":
        label = store.label(face)
        if label is None:
            return None
        base = None if label.has_includes else face_hull(record, size)
        return rasterize(label, size, label_size=record.aligned_size, base=base)
    stored = store.mask(face, name)
    return None if stored is None else resize_mask(stored, size)


def _evaluate(term: Term, mask_of: Callable[[str], FloatArray | None]) -> FloatArray | None:
    if term.operator is None:
        return mask_of(term.name)
    if term.operator == ">":
        return next((mask for mask in (_evaluate(one, mask_of) for one in term.operands) if mask is not None), None)
    found = [mask for mask in (_evaluate(one, mask_of) for one in term.operands) if mask is not None]
    if not found:
        return None
    if term.operator == "!":
        return np.float32(1.0) - found[0]
    merge = np.minimum if term.operator == "&" else np.maximum
    result = found[0]
    for mask in found[1:]:
        result = merge(result, mask)
    return result


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
