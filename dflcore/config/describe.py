"""A settings class as a list of knob descriptions: what the CLI, the daemon, the hosts and the manual are made from."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from dflcore.config.base import Audience, Settings

KnobType = Literal["bool", "int", "float", "string", "choice"]


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


def describe_settings(cls: type[Settings], audience: Audience = Audience.INTERNAL) -> list[KnobDescription]:
    """All knobs of a settings class that ``audience`` may see, in the order of declaration.

    ``ARTIST`` sees artist knobs, ``TD`` sees artist and TD knobs, ``INTERNAL`` sees all.
    """
    order = [Audience.ARTIST, Audience.TD, Audience.INTERNAL]
    visible = set(order[: order.index(audience) + 1])
    knobs = [_describe(name, field) for name, field in cls.model_fields.items()]
    return [knob for knob in knobs if knob.audience in visible]


def in_groups(knobs: Iterable[KnobDescription]) -> dict[str, list[KnobDescription]]:
    """Heading → its knobs: headings in the order in which they first occur, the knobs of each in the order given."""
    groups: dict[str, list[KnobDescription]] = {}
    for knob in knobs:
        groups.setdefault(knob.group, []).append(knob)
    return groups


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def _describe(name: str, field: FieldInfo) -> KnobDescription:
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
