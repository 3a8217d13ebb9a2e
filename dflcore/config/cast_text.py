"""The grammar of a casting: which model paints whom, as a short text or a table of a settings file.

    track 3 = /models/anna; track 5, 7-9 = /models/bob, identity source2, morph 0.7; others = plate
    anna: track 3 = /models/anna

Entries are joined by ``;`` or new lines. Left of ``=``: an optional name for mattes and a colon, then ``track`` (or
``tracks``) and numbers; or ``others`` for every face nobody is named for. Right of it: a model's folder, in double
quotes where it holds ``,``, ``;`` or ``"`` (doubled), then ``identity`` and ``morph`` where they differ from the
usual; or ``plate``, which leaves the face as it was shot; or ``model``, the merge's own (``./model`` is a folder of
that name). As a table, the left sides are its keys, the right sides its values or tables of ``model``, ``identity`` and
``morph``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dflcore.errors import InvalidInput

MAX_TEXT = 10_000
MAX_TRACK = 10_000_000
PLATE: Final = "plate"
"""Stands for a model: the face stays as it was shot."""
OWN_MODEL: Final = "model"
"""Stands for a model: the one the merge was given."""
OTHERS: Final = "others"
_SOURCE: Final = "source"
_SIDES = re.compile(r'((?:"[^"]*"|[^";\n])*)(?:[;\n]|\Z)')
_LEFT = re.compile(r"(?:(?P<name>[^:=]*):)? ?(?:(?P<others>others)|tracks? (?P<tracks>[\d ,-]+))", re.IGNORECASE)
_NUMBERS = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")
_NAME = re.compile(r"[A-Za-z0-9_. -]{1,64}")
_RIGHT = re.compile(r'(?:"(?P<quoted>(?:[^"]|"")*)"\s*|(?P<plain>[^",;]*))(?P<rest>,.*)?', re.DOTALL)
_EXAMPLE = "'track 3 = /models/anna; track 5 = /models/bob, morph 0.7; others = plate'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Whom some faces are painted as.

    Attributes:
        model: a model's folder, or :data:`PLATE` or :data:`OWN_MODEL`.
        identity, morph: as ``MergeSettings`` has them, but of this part; the merge's own where the model is its own.
    """

    model: str
    identity: str = _SOURCE
    morph: float = 1.0

    @property
    def is_folder(self) -> bool:
        return self.model not in (PLATE, OWN_MODEL)

    def __str__(self) -> str:
        if not self.is_folder:
            return self.model
        is_plain = not re.search(r'[",;\n]', self.model) and self.model == self.model.strip()
        text = self.model if is_plain else '"' + self.model.replace('"', '""') + '"'
        text += f", identity {self.identity}" if self.identity != _SOURCE else ""
        return text + (f", morph {self.morph!r}" if self.morph != 1.0 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Tracks that are one person.

    Attributes:
        tracks: increasing numbers, at least one.
        name: for mattes; empty where nobody gave one.
    """

    tracks: tuple[int, ...]
    part: Part
    name: str = ""

    def __str__(self) -> str:
        name = f"{self.name}: " if self.name else ""
        return f"{name}track {_numbers_text(self.tracks)} = {self.part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Casting:
    """Who is painted by which model.

    Attributes:
        others: of faces without a role; None where the casting says nothing of them.
    """

    roles: tuple[Role, ...] = ()
    others: Part | None = None

    def __bool__(self) -> bool:
        return bool(self.roles) or self.others is not None

    def __str__(self) -> str:
        """The shortest text that says the same."""
        entries = [str(role) for role in self.roles]
        return "; ".join([*entries, f"{OTHERS} = {self.others}"] if self.others is not None else entries)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part once."""
        others = () if self.others is None else (self.others,)
        return tuple(dict.fromkeys([*(role.part for role in self.roles), *others]))

    @property
    def folders(self) -> tuple[str, ...]:
        """Every model's folder once, as it is written."""
        return tuple(dict.fromkeys(part.model for part in self.parts if part.is_folder))

    def with_folders(self, change: Callable[[str], str]) -> Casting:
        """The same casting with other folders, for paths that another machine knows by another name."""

        def moved(part: Part) -> Part:
            return replace(part, model=change(part.model)) if part.is_folder else part

        return Casting(
            roles=tuple(replace(role, part=moved(role.part)) for role in self.roles),
            others=None if self.others is None else moved(self.others),
        )


def parse_casting(source: str | Mapping[str, object]) -> Casting:
    """Read a casting; an empty one says nothing.

    Raises:
        InvalidInput: an entry that cannot be read, a track or ``others`` twice, a morph outside 0..1.
    """
    entries = list(_entries(source) if isinstance(source, str) else _rows(source))
    roles: list[Role] = []
    others: Part | None = None
    for left, right in entries:
        match = _LEFT.fullmatch(" ".join(left.split()))
        if match is None:
            raise _error(f"{left.strip()!r} says not whom: write 'track 3', 'anna: track 3, 7-9' or 'others'")
        part = _part(right) if isinstance(right, str) else _part_of_table(left.strip(), right)
        if match["others"] is None:
            roles.append(Role(tracks=_tracks(match["tracks"]), part=part, name=_name(match["name"])))
        elif others is not None or match["name"] is not None:
            raise _error("'others' can be said once, and has no name")
        else:
            others = part
    _check_doubles(roles)
    return Casting(roles=tuple(roles), others=others)


def check_casting(text: str) -> str:
    """For settings: the casting in its shortest form.

    Raises:
        ValueError: what was not understood.
    """
    try:
        return str(parse_casting(text))
    except InvalidInput as error:
        raise ValueError(error.message.rstrip(".")) from error


def _entries(text: str) -> Iterator[tuple[str, str]]:
    if len(text) > MAX_TEXT:
        raise _error(f"it has {len(text)} characters, at most {MAX_TEXT} are read")
    position = 0
    while position < len(text):
        match = _SIDES.match(text, position)
        if match is None:
            raise _error(f"a quotation mark is not closed in {text[position : position + 80].strip()!r}")
        position = match.end()
        if match[1].strip():
            left, sign, right = match[1].partition("=")
            if not sign:
                raise _error(f"{match[1].strip()!r} has no '='")
            yield left, right


def _rows(table: Mapping[str, object]) -> Iterator[tuple[str, str | Mapping[str, object]]]:
    for left, right in table.items():
        if not isinstance(right, (str, Mapping)):
            raise _error(f"{left!r} must be a text or a table, not {right!r}")
        yield left, right


def _part(text: str) -> Part:
    match = _RIGHT.fullmatch(text.strip())
    if match is None:
        raise _error(f"{text.strip()!r} cannot be read")
    folder = match["plain"].strip() if match["quoted"] is None else match["quoted"].replace('""', '"')
    options: dict[str, object] = {}
    for option in (match["rest"] or "").split(",")[1:]:
        word, _, value = option.strip().partition(" ")
        if word not in ("identity", "morph") or not value.strip() or word in options:
            raise _error(f"{option.strip()!r} means nothing after a model: write 'identity source2' or 'morph 0.7'")
        options[word] = value.strip()
    return _checked_part(folder, options)


def _part_of_table(left: str, table: Mapping[str, object]) -> Part:
    unknown = sorted(set(table) - {"model", "identity", "morph"})
    if unknown or not isinstance(table.get("model"), str):
        found = f"not {', '.join(unknown)}" if unknown else "and model is missing"
        raise _error(f"the table of {left!r} may have model, identity and morph, {found}")
    return _checked_part(str(table["model"]), {key: value for key, value in table.items() if key != "model"})


def _checked_part(folder: str, options: Mapping[str, object]) -> Part:
    if not folder.strip():
        raise _error("a model's folder is missing after '='")
    if folder in (PLATE, OWN_MODEL) and options:
        raise _error(f"{folder!r} takes neither identity nor morph")
    identity = options.get("identity", _SOURCE)
    if not isinstance(identity, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,64}", identity):
        raise _error(f"{identity!r} is no identity: source, source2 or target")
    return Part(model=folder, identity=identity, morph=_morph(options.get("morph", 1.0)))


def _morph(value: object) -> float:
    try:
        morph = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else -1.0
    except ValueError:
        morph = -1.0
    if not 0.0 <= morph <= 1.0:
        raise _error(f"morph {value!r} is not within 0 to 1")
    return morph


def _tracks(text: str) -> tuple[int, ...]:
    numbers: set[int] = set()
    for token in text.split(","):
        match = _NUMBERS.fullmatch(token.strip())
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < first or last > MAX_TRACK or last - first > 10_000:
            raise _error(f"{token.strip()!r} is no track: write numbers such as 3, 7-9")
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def _name(text: str | None) -> str:
    if text is None:
        return ""
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise _error(f"{name!r} is no name: letters, digits, '_', '-', '.' and blanks, at most 64")
    return name


def _check_doubles(roles: Iterable[Role]) -> None:
    tracks: list[int] = [track for role in roles for track in role.tracks]
    doubles = sorted({track for track in tracks if tracks.count(track) > 1})
    if doubles:
        raise _error(f"track {', '.join(map(str, doubles))} is cast twice")


def _numbers_text(numbers: Iterable[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _error(what: str) -> InvalidInput:
    return InvalidInput(f"The casting cannot be used: {what}. An example: {_EXAMPLE}.", reason="BAD_CAST", field="cast")
