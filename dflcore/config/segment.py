"""Settings of training a segmentation network: labelled faces → masks of all faces."""

from __future__ import annotations

from typing import Any

from dflcore.config.base import PERMISSION, Audience, Settings, knob
from dflcore.config.network import NetworkSettings
from dflcore.config.train import Precision
from dflcore.types import FaceType

DEFAULT_SEGMENT_PRESET = "xseg-light"


def _width(default: int, help: str, *, ge: int, le: int) -> Any:
    return knob(default, help, ge=ge, le=le, audience=Audience.TD, fixed_once_trained=True)


class XSegSettings(NetworkSettings):
    """The XSeg network."""

    resolution: int = knob(
        256,
        "Side of the face the network reads, a multiple of 64.",
        ge=64,
        le=1024,
        unit="px",
        fixed_once_trained=True,
    )
    base_dims: int = _width(32, "Width of the first level.", ge=4, le=128)
    bottleneck_dims: int = _width(512, "Width of the bottleneck.", ge=16, le=2048)


class TernausSettings(NetworkSettings):
    """The TernausNet network."""

    resolution: int = knob(
        256,
        "Side of the face the network reads, a multiple of 32.",
        ge=32,
        le=1024,
        unit="px",
        fixed_once_trained=True,
    )
    base_dims: int = _width(64, "Width of the first level; 64 is VGG-11's.", ge=4, le=128)


class MaskTrainSettings(Settings):
    """Everything ``train-mask`` can be told. Fields fixed once trained keep the values the model was created with."""

    preset: str | None = knob(
        None,
        "Segmentation network by registry name; empty keeps the model's own, and takes xseg-light, made for CPUs, for "
        "a new one.",
        fixed_once_trained=True,
    )
    masks: str = knob(
        "label",
        "What to learn from, as a mask recipe: label, or for example 'label > painted'; faces without any are left "
        "out.",
    )
    iterations: int | None = knob(
        None, "Stop after this many iterations in all; empty trains until stopped.", ge=1, le=100_000_000
    )
    minutes: float | None = knob(
        None, "Stop after this many minutes of training in all.", ge=0.01, le=100_000, unit="min"
    )
    batch_size: int | None = knob(None, "Faces per step; empty takes the preset's.", ge=1, le=256)
    resolution: int | None = knob(
        None,
        "Side of the face the network reads; empty takes the preset's.",
        ge=32,
        le=1024,
        unit="px",
        fixed_once_trained=True,
    )
    face_type: FaceType | None = knob(
        None, "How much of the head the network reads; empty takes the first faceset's.", fixed_once_trained=True
    )
    learning_rate: float | None = knob(
        None, "Peak learning rate; empty takes the preset's.", ge=1e-7, le=1e-1, audience=Audience.TD
    )
    pretrain: bool = knob(
        False, "Learn what faces look like from all faces, labelled or not; switch it off afterwards to learn masks."
    )
    occluders: float = knob(
        0.6, "Share of faces with an invented hand, bar, microphone or other thing in front.", ge=0.0, le=1.0
    )
    backgrounds: float = knob(0.4, "Share of faces with another picture behind them.", ge=0.0, le=1.0)
    random_flip: bool = knob(True, "Mirror faces now and then.")
    save_interval_s: float = knob(
        60.0, "Seconds between two saves; at most this much work can be lost.", ge=1.0, le=3600.0, unit="s"
    )
    preview_interval_s: float = knob(30.0, "Seconds between two preview pictures.", ge=1.0, le=3600.0, unit="s")
    keep_generations: int = knob(3, "Saved generations kept on disk.", ge=2, le=100, audience=Audience.TD)
    cache_mb: int = knob(
        256,
        "Memory for decoded faces; the facesets themselves may be any size.",
        ge=16,
        le=65536,
        unit="MB",
        audience=Audience.TD,
    )
    seed: int = knob(0, "Seed of all random choices.", ge=0, le=2**31 - 1, audience=Audience.TD)
    device: str = knob("auto", "Torch device: auto, cpu, cuda, cuda:1.", audience=Audience.TD)
    precision: Precision = knob(
        "auto", "Arithmetic of the network; auto is bfloat16 on GPUs made for it, else float32.", audience=Audience.TD
    )
    authorization_project: str = knob(
        "", "The production this model is made for.", group=PERMISSION, affects_pixels=False
    )
    authorization_use: str = knob("", "What this model may be used for.", group=PERMISSION, affects_pixels=False)
    authorization_reference: str = knob(
        "", "Contract or release number that permits this model.", group=PERMISSION, affects_pixels=False
    )
