"""Settings: one frozen class per stage, the only home of defaults, ranges, units and help.

CLI flags, wire messages, host knobs and documentation tables are derived from these classes or checked against them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from dflcore.config.knobs import describe_knob
from dflcore.errors import InvalidInput


class Settings(BaseModel):
    """Base of all settings classes: frozen, keyword-only, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, ser_json_inf_nan="strings")

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """Build from loosely typed values (strings from a command line, numbers from a message).

        Raises:
            InvalidInput: names every field that is unknown or out of range, with the value and the range.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _invalid(cls, error) from error

    def values(self) -> dict[str, Any]:
        """Plain JSON-able values of every field."""
        return self.model_dump(mode="json")

    def digest(self, names: Collection[str] | None = None) -> str:
        """16 hex digits over the settings that matter for pixels; equal settings give equal digests.

        Args:
            names: only these settings count; by default all of them.
        """
        fields = type(self).model_fields
        kept = {
            name: value
            for name, value in self.values().items()
            if cast("dict[str, Any]", fields[name].json_schema_extra or {}).get("affects_pixels", True)
            and (names is None or name in names)
        }
        text = json.dumps(kept, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _invalid(cls: type[Settings], error: ValidationError) -> InvalidInput:
    """One message that lists all faults: field, value, what is allowed."""
    faults: list[str] = []
    names: list[str] = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"]) or cls.__name__
        names.append(name)
        flag = "--" + name.replace("_", "-")
        if fault["type"] == "extra_forbidden":
            faults.append(f"{name} is not a setting of {cls.__name__}")
            continue
        faults.append(f"{name} ({flag}) = {fault['input']!r}: {_reason_text(cls, name, fault)}")
    return InvalidInput("; ".join(faults) + ".", reason="BAD_SETTING", field=",".join(names))


def _reason_text(cls: type[Settings], name: str, fault: ErrorDetails) -> str:
    """What a validator of ours says, else what is allowed, else what pydantic says."""
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    return _allowed_text(cls, name) or fault["msg"]


def _allowed_text(cls: type[Settings], name: str) -> str:
    field = cls.model_fields.get(name)
    return describe_knob(name, field).allowed_text() if field is not None else ""
