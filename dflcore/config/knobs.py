"""A knob: one setting with its range, unit and help, as it is declared and as it is described to others."""

from __future__ import annotations

import enum
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic import Field
from pydantic.fields import FieldInfo

KnobType = Literal["bool", "int", "float", "string", "choice"]
PERMISSION = "permission"
"""The group of who allowed what, in every settings class."""


class Audience(enum.Enum):
    """Who is shown a setting: an artist sees ``ARTIST``, a TD sees both, nobody is shown ``INTERNAL``."""

    ARTIST = "artist"
    TD = "td"
    INTERNAL = "internal"


def knob(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    group: str = "",
    unit: str = "",
    audience: Audience = Audience.ARTIST,
    fixed_once_trained: bool = False,
    affects_pixels: bool = True,
) -> Any:
    """Declare one setting.

    Args:
        default: value when the user says nothing.
        help: one sentence an artist understands; it is the flag's help, the knob's tool tip and the manual's row.
        group: heading under which it stands in help texts, user interfaces and the manual; empty for none.
        ge, le: inclusive range, enforced.
        unit: ``px``, ``s``, ``min``, ``frames``, ``deg``, ``%``; empty for a plain number.
        audience: who is shown it.
        fixed_once_trained: cannot change after a model has been created.
        affects_pixels: part of the key that decides whether an existing result is still current.
    """
    extra: dict[str, Any] = {
        "group": group,
        "unit": unit,
        "audience": audience.value,
        "fixed_once_trained": fixed_once_trained,
        "affects_pixels": affects_pixels,
    }
    return Field(default=default, description=help, ge=ge, le=le, json_schema_extra=extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobDescription:
    """One setting as data.

    ``minimum`` and ``maximum`` are inclusive; ``optional`` means it may be left empty; ``group`` is the heading it
    stands under, empty for none.
    """

    name: str
    group: str
    type: KnobType
    default: bool | int | float | str | None
    help: str
    unit: str
    audience: Audience
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    optional: bool
    fixed_once_trained: bool

    def allowed_text(self) -> str:
        """The allowed values in words, for error messages and tables."""
        unit = f" {self.unit}" if self.unit else ""
        if self.choices:
            return "allowed are " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"allowed are {_number(self.minimum)} to {_number(self.maximum)}{unit}"
        if self.minimum is not None:
            return f"must be {_number(self.minimum)}{unit} or more"
        if self.maximum is not None:
            return f"must be {_number(self.maximum)}{unit} or less"
        kind = {"bool": "true or false", "int": "a whole number", "float": "a number", "string": "text"}
        return f"must be {kind[self.type]}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def describe_knob(name: str, field: FieldInfo) -> KnobDescription:
    """A field that :func:`knob` declared, as data."""
    extra = cast("dict[str, Any]", field.json_schema_extra or {})
    annotation, optional = _strip_optional(field.annotation)
    kind, choices = _kind(annotation)
    minimum, maximum = _limits(field)
    default = field.default.value if isinstance(field.default, enum.Enum) else field.default
    return KnobDescription(
        name=name,
        group=extra.get("group", ""),
        type=kind,
        default=default,
        help=field.description or "",
        unit=extra.get("unit", ""),
        audience=Audience(extra.get("audience", "artist")),
        minimum=minimum,
        maximum=maximum,
        choices=choices,
        optional=optional,
        fixed_once_trained=bool(extra.get("fixed_once_trained", False)),
    )


def _strip_optional(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        kept = [part for part in get_args(annotation) if part is not type(None)]
        return kept[0], len(kept) < len(get_args(annotation))
    return annotation, False


def _kind(annotation: Any) -> tuple[KnobType, tuple[str, ...]]:
    if get_origin(annotation) is typing.Literal:
        return "choice", tuple(str(value) for value in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "choice", tuple(str(member.value) for member in annotation)
    kinds: dict[Any, KnobType] = {bool: "bool", int: "int", float: "float", str: "string"}
    return kinds[annotation], ()


def _limits(field: FieldInfo) -> tuple[float | None, float | None]:
    minimum = maximum = None
    for constraint in field.metadata:
        minimum = getattr(constraint, "ge", minimum)
        maximum = getattr(constraint, "le", maximum)
    return minimum, maximum
