"""A settings class as a list of knob descriptions: what the CLI, the daemon, the hosts and the manual are made from."""

from __future__ import annotations

from collections.abc import Iterable

from dflcore.config.base import Settings
from dflcore.config.knobs import Audience, KnobDescription, describe_knob


def describe_settings(cls: type[Settings], audience: Audience = Audience.INTERNAL) -> list[KnobDescription]:
    """All knobs of a settings class that ``audience`` may see, in the order of declaration.

    ``ARTIST`` sees artist knobs, ``TD`` sees artist and TD knobs, ``INTERNAL`` sees all.
    """
    order = [Audience.ARTIST, Audience.TD, Audience.INTERNAL]
    visible = set(order[: order.index(audience) + 1])
    knobs = [describe_knob(name, field) for name, field in cls.model_fields.items()]
    return [knob for knob in knobs if knob.audience in visible]


def in_groups(knobs: Iterable[KnobDescription]) -> dict[str, list[KnobDescription]]:
    """Heading → its knobs: headings in the order in which they first occur, the knobs of each in the order given."""
    groups: dict[str, list[KnobDescription]] = {}
    for knob in knobs:
        groups.setdefault(knob.group, []).append(knob)
    return groups
