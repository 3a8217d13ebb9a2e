"""Choosing faces in words: ``blur > 0.3 and abs(yaw) < 40 and not (track in (1, 3)) and name like "shot010*"``.

The text is parsed into a small tree and worked out over whole columns; nothing of it is ever run as code.

Grammar::

    condition   = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | test
    test        = sum { ("<" | "<=" | ">" | ">=" | "==" | "=" | "!=") sum }
                | sum ["not"] "in" "(" sum { "," sum } ")" | sum ["not"] "like" TEXT
    sum         = product { ("+" | "-") product }
    product     = factor { ("*" | "/") factor }
    factor      = "-" factor | NUMBER | TEXT | FIELD | ("abs" | "min" | "max") "(" sum { "," sum } ")"
                | "known" "(" FIELD ")" | "(" condition ")"

What is not known of a face (no track, no descriptor, a damaged picture) makes a test neither true nor false, also under
``not``; such a face is chosen only where the rest decides. ``known(track)`` asks for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate.fields import FIELDS, FaceField
from dflcore.curate.table import FaceTable
from dflcore.errors import InvalidInput

MAX_LENGTH: Final = 4096
"""Characters of a filter."""
MAX_DEPTH: Final = 40
"""Parentheses, functions, minus signs and nots inside one another."""

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?|\.\d+(?:[eE][+-]?\d{1,3})?)
    |(?P<word>[^\W\d]\w*)
    |(?P<text>"[^"]*"|'[^']*')
    |(?P<sign><=|>=|==|!=|[-+*/<>=(),])
    |(?P<end>\Z)
    |(?P<other>.))""",
    re.VERBOSE | re.DOTALL,
)
_FUNCTIONS: Final[dict[str, Callable[..., NDArray[np.float64]]]] = {
    "abs": np.abs,
    "min": np.minimum,
    "max": np.maximum,
}
_WORDS: Final = ("and", "or", "not", "in", "like", "known", *_FUNCTIONS)
_FALSE, _UNKNOWN, _TRUE = np.int8(0), np.int8(1), np.int8(2)

Values = NDArray[Any]
"""(n,) or a single value: float64, text, or int8 truth (0 no, 1 not known, 2 yes)."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of the tree: how to work it out, what comes of it, and where it stands in the text."""

    kind: str
    """``number``, ``text`` or ``truth``."""
    at: int
    work_out: Callable[[FaceTable], Values]
    constant: str | None = None


class Filter:
    """A parsed filter.

    Args:
        text: as in the grammar above.

    Raises:
        InvalidInput: it cannot be understood; the message says where and names fields that are near.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._fields: dict[str, None] = {}
        self._condition = _Parser(text, self._fields).parse()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields it looks at."""
        return tuple(self._fields)

    @property
    def needs_pixels(self) -> bool:
        """The faceset must have been measured."""
        return any(FIELDS[name].needs_pixels for name in self._fields)

    def select(self, table: FaceTable) -> NDArray[np.bool_]:
        """(n,) which faces of a table it is true for.

        Raises:
            InvalidInput: it looks at measures, and not every face is measured.
        """
        with np.errstate(all="ignore"):  # x / 0 is not known, and that is all
            truth = self._condition.work_out(table)
        return np.asarray(np.broadcast_to(truth == _TRUE, len(table)), dtype=np.bool_).copy()


def select_faces(table: FaceTable, where: str) -> FaceTable:
    """The faces of a table that a filter is true for, in table order. Raises InvalidInput."""
    return table.take(Filter(where).select(table))


class _Parser:
    """Recursive descent, one method per rule of the grammar."""

    def __init__(self, text: str, used: dict[str, None]) -> None:
        self._text = text
        self._used = used
        self._depth = 0
        if len(text) > MAX_LENGTH:
            raise InvalidInput(
                f"The filter has {len(text)} characters; {MAX_LENGTH} are allowed.", reason="FILTER_TOO_LONG"
            )
        self._tokens = list(self._split())
        self._next = 0

    def parse(self) -> _Node:
        condition = self._condition()
        if self._here.kind != "end":
            raise self._fault(f"{self._here.text!r} is out of place", self._here.at)
        return self._want(condition, "truth")

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while not tokens or tokens[-1].kind != "end":
            match = _TOKEN.match(self._text, at)
            assert match is not None  # every character is matched by one branch
            assert match.lastgroup is not None
            found = _Token(match.lastgroup, match.group(match.lastgroup), match.start(match.lastgroup))
            if found.kind == "other":
                what = "a quotation mark is not closed" if found.text in "\"'" else f"{found.text!r} means nothing here"
                raise self._fault(what, found.at)
            tokens.append(found)
            at = match.end()
        return tokens

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        """The token here if it is one of these words or signs."""
        token = self._here
        if token.kind not in ("word", "sign") or token.text.lower() not in texts:
            return None
        self._next += 1
        return token

    def _expect(self, sign: str) -> None:
        if self._take(sign) is None:
            found = "the end" if self._here.kind == "end" else repr(self._here.text)
            raise self._fault(f"expected {sign!r} instead of {found}", self._here.at)

    def _deeper(self, rule: Callable[[], _Node]) -> _Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fault(f"more than {MAX_DEPTH} levels inside one another", self._here.at)
        node = rule()
        self._depth -= 1
        return node

    def _condition(self) -> _Node:
        return self._joined("or", self._conjunction, np.maximum)

    def _conjunction(self) -> _Node:
        return self._joined("and", self._negation, np.minimum)

    def _joined(self, word: str, rule: Callable[[], _Node], join: Callable[..., Values]) -> _Node:
        first = rule()
        parts = [first]
        while self._take(word):
            parts.append(rule())
        if len(parts) == 1:
            return first
        wanted = [self._want(part, "truth") for part in parts]

        def work_out(table: FaceTable) -> Values:
            truth = wanted[0].work_out(table)
            for part in wanted[1:]:
                truth = join(truth, part.work_out(table))
            return truth

        return _Node("truth", first.at, work_out)

    def _negation(self) -> _Node:
        token = self._take("not")
        if token is None:
            return self._test()
        inner = self._want(self._deeper(self._negation), "truth")
        return _Node("truth", token.at, lambda table: _TRUE - inner.work_out(table))

    def _test(self) -> _Node:
        left = self._sum()
        tests: list[_Node] = []
        while token := self._take("<", "<=", ">", ">=", "==", "=", "!="):
            right = self._sum()
            tests.append(self._comparison(left, token, right))
            left = right
        if tests:
            return _Node("truth", tests[0].at, lambda table: _all(test.work_out(table) for test in tests))
        negated = self._take("not")
        if token := self._take("in"):
            found = self._membership(left, token)
        elif token := self._take("like"):
            found = self._likeness(left)
        elif negated:
            raise self._fault("'not' must be followed by 'in' or 'like' here", negated.at)
        else:
            return left
        return _Node("truth", left.at, lambda table: _TRUE - found.work_out(table)) if negated else found

    def _comparison(self, left: _Node, sign: _Token, right: _Node) -> _Node:
        for side in (left, right):
            if side.kind == "truth":
                raise self._fault("a condition cannot be compared", side.at)
        if left.kind != right.kind:
            raise self._fault(f"a {left.kind} cannot be compared with a {right.kind}", sign.at)
        if left.kind == "text" and sign.text not in ("==", "=", "!="):
            raise self._fault(f"texts have no order; {sign.text!r} compares numbers", sign.at)
        compare = _COMPARISONS[sign.text]
        return _Node("truth", left.at, lambda table: _compared(compare, left.work_out(table), right.work_out(table)))

    def _membership(self, left: _Node, token: _Token) -> _Node:
        self._expect("(")
        tests = [self._comparison(left, _Token("sign", "==", token.at), self._deeper(self._sum))]
        while self._take(","):
            tests.append(self._comparison(left, _Token("sign", "==", token.at), self._deeper(self._sum)))
        self._expect(")")
        return _Node("truth", left.at, lambda table: _any(test.work_out(table) for test in tests))

    def _likeness(self, left: _Node) -> _Node:
        self._want(left, "text")
        pattern = self._here
        if pattern.kind != "text":
            raise self._fault("'like' needs a text in quotation marks, for example \"shot010*\"", pattern.at)
        self._next += 1
        matches = glob_matcher(pattern.text[1:-1])
        return _Node("truth", left.at, lambda table: _matched(matches, left.work_out(table)))

    def _sum(self) -> _Node:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> _Node:
        return self._arithmetic(("*", "/"), self._factor)

    def _arithmetic(self, signs: tuple[str, ...], rule: Callable[[], _Node]) -> _Node:
        node = rule()
        if self._here.text not in signs:
            return node
        first, parts = self._want(node, "number"), []
        while token := self._take(*signs):
            parts.append((_ARITHMETIC[token.text], self._want(rule(), "number")))

        def work_out(table: FaceTable) -> Values:
            value = first.work_out(table)
            for operation, part in parts:
                value = operation(value, part.work_out(table))
            return value

        return _Node("number", first.at, work_out)

    def _factor(self) -> _Node:
        token = self._here
        if self._take("-"):
            inner = self._want(self._deeper(self._factor), "number")
            return _Node("number", token.at, lambda table: -inner.work_out(table))
        if self._take("("):
            inside = self._deeper(self._condition)
            self._expect(")")
            return inside
        self._next += 1
        if token.kind == "number":
            number = np.float64(token.text)
            return _Node("number", token.at, lambda _table: np.asarray(number))
        if token.kind == "text":
            words = np.asarray(token.text[1:-1], dtype=object)
            return _Node("text", token.at, lambda _table: words)
        if token.kind == "word":
            return self._word(token)
        self._next -= 1
        found = "the filter ends" if token.kind == "end" else f"{token.text!r} stands"
        raise self._fault(f"{found} where a field, a number or a text should be", token.at)

    def _word(self, token: _Token) -> _Node:
        name = token.text.lower()
        if name == "known":
            self._expect("(")
            self._next += 1
            asked = self._field(self._tokens[self._next - 1])
            self._expect(")")
            return _Node("truth", token.at, lambda table: _truth(~_missing(asked.read(table))))
        if name in _FUNCTIONS:
            return self._function(name, token)
        asked = self._field(token)
        return _Node("text" if asked.is_text else "number", token.at, asked.read)

    def _function(self, name: str, token: _Token) -> _Node:
        self._expect("(")
        parts = [self._want(self._deeper(self._sum), "number")]
        while self._take(","):
            parts.append(self._want(self._deeper(self._sum), "number"))
        self._expect(")")
        if (name == "abs") != (len(parts) == 1):
            wanted = "one value" if name == "abs" else "two values or more"
            raise self._fault(f"{name}() takes {wanted}", token.at)
        function = _FUNCTIONS[name]

        def work_out(table: FaceTable) -> Values:
            value = parts[0].work_out(table)
            if len(parts) == 1:
                return function(value)
            for part in parts[1:]:
                value = function(value, part.work_out(table))
            return value

        return _Node("number", token.at, work_out)

    def _field(self, token: _Token) -> FaceField:
        name = token.text.lower()
        if token.kind != "word" or name in _WORDS:
            what = "the filter ends" if token.kind == "end" else f"{token.text!r} stands"
            raise self._fault(f"{what} where a field, a number or a text should be", token.at)
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(FIELDS)}"
            raise self._fault(f"there is no field {token.text!r}; {hint}", token.at, reason="UNKNOWN_FIELD")
        self._used[name] = None
        return FIELDS[name]

    def _want(self, node: _Node, kind: str) -> _Node:
        if node.kind != kind:
            names = {"number": "a number", "text": "a text", "truth": "a condition such as yaw > 10"}
            raise self._fault(f"{names[node.kind]} stands where {names[kind]} should be", node.at)
        return node

    def _fault(self, what: str, at: int, *, reason: str = "BAD_FILTER") -> InvalidInput:
        excerpt = self._text[max(at - 20, 0) : at] + "⟨here⟩" + self._text[at : at + 20]
        return InvalidInput(
            f"The filter cannot be understood at character {at + 1}: {what} ({excerpt.strip()}).",
            reason=reason,
            field="where",
            position=at + 1,
        )


_COMPARISONS: Final[dict[str, Callable[..., Any]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "=": np.equal,
    "!=": np.not_equal,
}
_ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}


def _missing(values: Values) -> NDArray[np.bool_]:
    """Where a value is not known, or what was divided by zero."""
    if values.dtype == object:
        return np.array([value is None for value in values.flat], dtype=np.bool_).reshape(values.shape)
    return np.asarray(~np.isfinite(values))


def _truth(is_true: Values) -> Values:
    return np.where(is_true, _TRUE, _FALSE)


def _compared(compare: Callable[..., Any], left: Values, right: Values) -> Values:
    truth = _truth(np.asarray(compare(left, right), dtype=np.bool_))
    return np.where(_missing(left) | _missing(right), _UNKNOWN, truth)


def _all(truths: Any) -> Values:
    result: Values = np.asarray(_TRUE)
    for truth in truths:
        result = np.minimum(result, truth)
    return result


def _any(truths: Any) -> Values:
    result: Values = np.asarray(_FALSE)
    for truth in truths:
        result = np.maximum(result, truth)
    return result


def _matched(matches: Callable[[str], bool], values: Values) -> Values:
    known: dict[Any, np.int8] = {None: _UNKNOWN}
    flat = values.reshape(-1).tolist()
    for value in flat:
        if value not in known:
            known[value] = _TRUE if matches(value) else _FALSE
    return np.array([known[value] for value in flat], dtype=np.int8).reshape(values.shape)


def glob_matcher(pattern: str) -> Callable[[str], bool]:
    """A test for ``*`` (anything) and ``?`` (one character), upper and lower case told apart.

    Takes time in proportion to the length of text and pattern for any pattern of few question marks, never more than
    their product: each piece between stars is found once, as far left as it can be.
    """
    pieces = [
        re.compile("".join("." if sign == "?" else re.escape(sign) for sign in piece), re.DOTALL)
        for piece in pattern.split("*")
    ]
    lengths = [len(piece) for piece in pattern.split("*")]

    def matches(text: str) -> bool:
        if len(pieces) == 1:
            return pieces[0].fullmatch(text) is not None
        last_start = len(text) - lengths[-1]
        if last_start < lengths[0] or not pieces[0].match(text) or not pieces[-1].match(text, last_start):
            return False
        at = lengths[0]
        for piece in pieces[1:-1]:
            found = piece.search(text, at, last_start)
            if found is None:
                return False
            at = found.end()
        return True

    return matches
