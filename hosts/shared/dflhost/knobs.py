"""The daemon's settings as widgets: what a host builds its knobs from, without knowing one by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union

from .errors import HostError

Value = Union[bool, int, float, str, None]
"""What a widget holds; None is "leave it to the daemon" of an optional knob."""

BOOL, INT, FLOAT, STRING, CHOICE = "bool", "int", "float", "string", "choice"
"""Kinds of widgets."""
ARTIST, TD, INTERNAL = "artist", "td", "internal"
"""Audiences; each is shown what those before it are, and more."""


@dataclass(frozen=True)
class KnobSpec:
    """One setting as a host's widget needs it.

    Attributes:
        name: field in the daemon's settings message; stable, the key under which scenes store the value.
        label: words for the widget, made from the name: ``Aligned size``.
        kind: ``bool``, ``int``, ``float``, ``string`` or ``choice``.
        default: the daemon's default; None when the knob may be empty and is by default.
        help: one sentence for the tool tip.
        unit: ``px``, ``s``, ``min``, ``frames``, ``deg``, ``%`` or empty.
        audience: ``artist``, ``td`` or ``internal``: the first that is shown it.
        minimum, maximum: inclusive; None for no limit.
        choices: allowed texts of a choice, in order.
        is_optional: may be left empty.
        fixed_once_trained: cannot change once a model was created.
        group: heading it stands under, empty for none.
    """

    name: str
    label: str
    kind: str
    default: Value
    help: str
    unit: str
    audience: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    is_optional: bool
    fixed_once_trained: bool
    group: str

    def clean(self, value: Value) -> Value:
        """A widget's or a scene's value as the daemon takes it: of the right type.

        An empty text is None where the knob is optional; numbers may come as text.

        Raises:
            HostError: out of range, no such choice, or not to be read (reason ``BAD_SETTING``).
        """
        if value is None or (value == "" and self.kind != STRING):
            if self.is_optional:
                return None
            raise self._refuse(value, "must not be empty")
        if self.kind == BOOL:
            return self._clean_bool(value)
        if self.kind in (INT, FLOAT):
            return self._clean_number(value)
        text = str(value)
        if self.kind == CHOICE and text not in self.choices:
            if self.is_optional and not text:
                return None
            raise self._refuse(value, f"must be one of {', '.join(self.choices)}")
        return None if self.is_optional and not text and self.default is None else text

    @property
    def tool_tip(self) -> str:
        """Help, range, and what cannot be changed later, in a few sentences."""
        facts = [self.help]
        unit = f" {self.unit}" if self.unit else ""
        if self.minimum is not None and self.maximum is not None:
            facts.append(f"{_number(self.minimum)} to {_number(self.maximum)}{unit}.")
        elif self.minimum is not None:
            facts.append(f"{_number(self.minimum)}{unit} or more.")
        elif self.maximum is not None:
            facts.append(f"{_number(self.maximum)}{unit} or less.")
        if self.fixed_once_trained:
            facts.append("Fixed once the model is made.")
        return " ".join(fact for fact in facts if fact)

    def _clean_bool(self, value: Value) -> bool:
        if isinstance(value, str):
            if value.lower() in ("true", "1", "yes", "on"):
                return True
            if value.lower() in ("false", "0", "no", "off"):
                return False
            raise self._refuse(value, "must be on or off")
        return bool(value)

    def _clean_number(self, value: Value) -> int | float:
        try:
            number = float(value)  # type: ignore[arg-type]  # None was answered before
            is_whole = number.is_integer()
        except ValueError:
            raise self._refuse(value, "must be a number") from None
        if not math.isfinite(number):
            raise self._refuse(value, "must be a number")
        if self.kind == INT and not is_whole:
            raise self._refuse(value, "must be a whole number")
        slack = 1e-6 * max(abs(number), 1.0)  # of widgets that store 32-bit floats
        if self.minimum is not None and number < self.minimum:
            if number < self.minimum - slack:
                raise self._refuse(value, f"must be {_number(self.minimum)} or more")
            number = self.minimum
        if self.maximum is not None and number > self.maximum:
            if number > self.maximum + slack:
                raise self._refuse(value, f"must be {_number(self.maximum)} or less")
            number = self.maximum
        if self.kind == INT:
            return value if isinstance(value, int) and not isinstance(value, bool) else int(number)
        return number

    def _refuse(self, value: Value, rule: str) -> HostError:
        unit = f" {self.unit}" if self.unit else ""
        return HostError(
            f"{self.label} = {'' if value is None else value}{unit if value not in (None, '') else ''} {rule}.",
            reason="BAD_SETTING",
            category="INVALID_INPUT",
            details={"field": self.name},
        )


_KINDS = {f"KNOB_TYPE_{kind.upper()}": kind for kind in (BOOL, INT, FLOAT, STRING, CHOICE)}
_AUDIENCES = {f"AUDIENCE_{audience.upper()}": audience for audience in (ARTIST, TD, INTERNAL)}
_KEPT_UPPER = {"ema", "gan", "ocio", "hsv", "px", "mb", "lr", "st", "exr", "png", "jpeg", "qc", "ca", "gpu", "cpu"}


def specs_from_answer(answer: Mapping[str, Any]) -> list[KnobSpec]:
    """Specs of a decoded ``DescribeSettingsResponse``, in the order in which to show them.

    A kind of knob that this client does not know becomes a string; an audience it does not know, internal.
    """
    return [_spec(knob) for knob in answer["knobs"]]


def in_groups(knobs: Iterable[KnobSpec]) -> dict[str, list[KnobSpec]]:
    """Heading → its knobs: headings in the order in which they first occur."""
    groups: dict[str, list[KnobSpec]] = {}
    for knob in knobs:
        groups.setdefault(knob.group, []).append(knob)
    return groups


def changed_settings(knobs: Iterable[KnobSpec], values: Mapping[str, Value]) -> dict[str, Value]:
    """What to send: the cleaned values that differ from the daemon's default, and names no knob has as they are.

    Names without a knob are settings of another audience, or of a newer or older daemon, that the scene remembers; the
    daemon says so where it cannot use one. None is left out: absent means the daemon's default.

    Raises:
        HostError: a value cannot be used (reason ``BAD_SETTING``, details ``field``).
    """
    by_name = {knob.name: knob for knob in knobs}
    changed: dict[str, Value] = {}
    for name, value in values.items():
        knob = by_name.get(name)
        cleaned = knob.clean(value) if knob is not None else value
        if cleaned is not None and (knob is None or not _is_same(cleaned, knob.default)):
            changed[name] = cleaned
    return changed


def label_of(name: str) -> str:
    """``aligned_size`` → ``Aligned size``; well-known abbreviations in capitals."""
    words = [word.upper() if word in _KEPT_UPPER else word for word in name.split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _spec(knob: Mapping[str, Any]) -> KnobSpec:
    return KnobSpec(
        name=knob["name"],
        label=label_of(knob["name"]),
        kind=_KINDS.get(knob["type"], STRING),
        default=_default(knob.get("default_value")),
        help=knob["help"],
        unit=knob["unit"],
        audience=_AUDIENCES.get(knob["audience"], INTERNAL),
        minimum=knob.get("minimum"),
        maximum=knob.get("maximum"),
        choices=tuple(knob["choices"]),
        is_optional=knob["optional_value"],
        fixed_once_trained=knob["fixed_once_trained"],
        group=knob["group"],
    )


def _default(value: Mapping[str, Any] | None) -> Value:
    for name in ("bool_value", "int_value", "float_value", "string_value"):
        if value is not None and name in value:
            found: Value = value[name]
            return found
    return None


def _is_same(value: Value, default: Value) -> bool:
    """Equal as far as a widget with 32-bit floats can tell."""
    if isinstance(value, float) and isinstance(default, (int, float)) and not isinstance(default, bool):
        return math.isclose(value, default, rel_tol=1e-6, abs_tol=1e-12)
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
