"""Headings of settings: which knobs stand together in help texts and user interfaces."""

from __future__ import annotations

from collections.abc import Mapping

from dflcore.config.base import Settings
from dflcore.config.describe import describe_settings
from dflcore.config.train import TrainSettings

PERMISSION = "permission"
"""Heading of who allowed what, in every settings class."""
_PERMISSION_PREFIX = "authorization_"
FIRST_OF_GROUP: Mapping[type[Settings], Mapping[str, str]] = {
    TrainSettings: {
        "preset": "network",
        "iterations": "how long",
        "batch_size": "speed and memory",
        "resolution": "network",
        "optimizer": "learning",
        "random_warp": "faces",
        "masked_training": "losses",
        "pretrain": "learning",
        "save_interval_s": "saving and previews",
        "cache_mb": "speed and memory",
        "seed": "learning",
        "device": "speed and memory",
    }
}
"""Settings class → first field of each run of fields → their heading, in the order of declaration.

A class that is not named has no headings but :data:`PERMISSION`.
"""


def groups_of(settings_class: type[Settings]) -> dict[str, str]:
    """Field → heading, in the order in which to show them: headings in the order in which they first occur, the fields
    of each in the order of declaration. An empty heading is that of settings without one.
    """
    starts = FIRST_OF_GROUP.get(settings_class, {})
    group = ""
    found: dict[str, str] = {}
    for knob in describe_settings(settings_class):
        group = starts.get(knob.name, group)
        found[knob.name] = PERMISSION if knob.name.startswith(_PERMISSION_PREFIX) else group
    order = list(dict.fromkeys(found.values()))
    return dict(sorted(found.items(), key=lambda item: order.index(item[1])))
