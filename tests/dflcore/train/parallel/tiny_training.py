"""A process of a training group as the product has it, but for a tiny network and a look at its weights at the end."""

from __future__ import annotations

import sys

from dflcore.config.network import QuickSettings
from dflcore.models import presets, registry
from dflcore.train.parallel.member import leave, run_member
from dflcore.train.parallel.training import train_as_member
from dflcore.train.trainer import Trainer

TINY = QuickSettings(resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16)
close = Trainer.close


def tiny() -> registry.Preset:
    return registry.Preset(help="Tiny.", network=TINY, build=presets.quick().build, recipe=presets.QUICK_RECIPE)


def look_and_close(trainer: Trainer) -> None:
    if sys.exc_info()[0] is None:
        for network in trainer.steps.networks():
            assert trainer.steps.group.is_same(network), "the processes' weights parted"
    close(trainer)


presets.tiny = tiny  # type: ignore[attr-defined]
registry._PRESETS._builtin["tiny"] = "dflcore.models.presets:tiny"  # type: ignore[index]
Trainer.close = look_and_close  # type: ignore[method-assign]

if __name__ == "__main__":
    leave(run_member(train_as_member, sys.argv[1:]))
