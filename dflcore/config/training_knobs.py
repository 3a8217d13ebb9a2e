"""Settings that the trainings of masks and of detail share to the letter. Each class says where among its own they
stand: that is their order in help texts, user interfaces and the manual.
"""

from __future__ import annotations

from typing import Any

from dflcore.config.knobs import PERMISSION, Audience, knob


def width(default: int, help: str, *, ge: int, le: int) -> Any:
    """A width of the network, for those who know it."""
    return knob(default, help, ge=ge, le=le, audience=Audience.TD, fixed_once_trained=True)


ITERATIONS = knob(None, "Stop after this many iterations in all; empty trains until stopped.", ge=1, le=100_000_000)
MINUTES = knob(None, "Stop after this many minutes of training in all.", ge=0.01, le=100_000, unit="min")
LEARNING_RATE = knob(None, "Peak learning rate; empty takes the preset's.", ge=1e-7, le=1e-1, audience=Audience.TD)
RANDOM_FLIP = knob(True, "Mirror faces now and then.")
SAVE_INTERVAL_S = knob(
    60.0, "Seconds between two saves; at most this much work can be lost.", ge=1.0, le=3600.0, unit="s"
)
PREVIEW_INTERVAL_S = knob(30.0, "Seconds between two preview pictures.", ge=1.0, le=3600.0, unit="s")
KEEP_GENERATIONS = knob(3, "Saved generations kept on disk.", ge=2, le=100, audience=Audience.TD)
CACHE_MB = knob(
    256,
    "Memory for decoded faces; the facesets themselves may be any size.",
    ge=16,
    le=65536,
    unit="MB",
    audience=Audience.TD,
)
SEED = knob(0, "Seed of all random choices.", ge=0, le=2**31 - 1, audience=Audience.TD)
DEVICE = knob("auto", "Torch device: auto, cpu, cuda, cuda:1.", audience=Audience.TD)
PRECISION = knob(
    "auto", "Arithmetic of the network; auto is bfloat16 on GPUs made for it, else float32.", audience=Audience.TD
)
AUTHORIZATION_PROJECT = knob("", "The production this model is made for.", group=PERMISSION, affects_pixels=False)
AUTHORIZATION_USE = knob("", "What this model may be used for.", group=PERMISSION, affects_pixels=False)
AUTHORIZATION_REFERENCE = knob(
    "", "Contract or release number that permits this model.", group=PERMISSION, affects_pixels=False
)
