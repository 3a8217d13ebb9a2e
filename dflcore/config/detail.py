"""Settings of training a personal detail enhancer: one person's faces → what soft pictures of that person lack."""

from __future__ import annotations

from typing import Any

from dflcore.config.base import PERMISSION, Audience, Settings, knob
from dflcore.config.network import NetworkSettings
from dflcore.config.train import Precision
from dflcore.types import FaceType

DEFAULT_DETAIL_PRESET = "detail"


def _width(default: int, help: str, *, ge: int, le: int) -> Any:
    return knob(default, help, ge=ge, le=le, audience=Audience.TD, fixed_once_trained=True)


class DetailSettings(NetworkSettings):
    """The detail network."""

    resolution: int = knob(
        192,
        "Side of the soft faces it learns from, a multiple of 8; it takes faces of any size.",
        ge=32,
        le=1024,
        unit="px",
        fixed_once_trained=True,
    )
    scale: int = knob(2, "How many times larger the clearer face's side is.", ge=1, le=2, fixed_once_trained=True)
    width: int = _width(48, "Width of the fine level.", ge=4, le=256)
    coarse_width: int = _width(96, "Width of the coarse level.", ge=4, le=512)
    layers: int = _width(2, "Layers of the coarse level.", ge=1, le=32)


class DetailTrainSettings(Settings):
    """Everything ``train-detail`` can be told. Fields fixed once trained keep the values the model was created with."""

    preset: str | None = knob(
        None,
        "Detail network by registry name; empty keeps the model's own, and takes detail, made for CPUs, for a new one.",
        fixed_once_trained=True,
    )
    face_model: str = knob(
        "",
        "Folder of a face model trained on the same person: its own painting of their faces is what is to become "
        "clear; empty learns from invented softness alone.",
    )
    painted_share: float = knob(
        0.6, "Share of faces taken from the face model's painting; the others are made soft by invention.", ge=0, le=1
    )
    iterations: int | None = knob(
        None, "Stop after this many iterations in all; empty trains until stopped.", ge=1, le=100_000_000
    )
    minutes: float | None = knob(
        None, "Stop after this many minutes of training in all.", ge=0.01, le=100_000, unit="min"
    )
    batch_size: int | None = knob(None, "Pieces of faces per step; empty takes the preset's.", ge=1, le=256)
    resolution: int | None = knob(
        None,
        "Side of the soft faces it learns from; empty takes the face model's, else the preset's.",
        ge=32,
        le=1024,
        unit="px",
        fixed_once_trained=True,
    )
    scale: int | None = knob(
        None,
        "How many times larger the clearer face's side is; empty takes the preset's.",
        ge=1,
        le=2,
        fixed_once_trained=True,
    )
    face_type: FaceType | None = knob(
        None,
        "How much of the head the faces show; empty takes the face model's, else the first faceset's.",
        fixed_once_trained=True,
    )
    learning_rate: float | None = knob(
        None, "Peak learning rate; empty takes the preset's.", ge=1e-7, le=1e-1, audience=Audience.TD
    )
    sharpest: float = knob(
        0.75,
        "Share of the faces to learn from, the sharpest ones: a blurred face teaches nothing.",
        ge=0.01,
        le=1.0,
    )
    softness_px: float = knob(
        2.4, "Strongest invented blur, as a Gaussian's sigma at the soft face's size.", ge=0.0, le=8.0, unit="px"
    )
    noise: float = knob(
        0.012, "Strongest invented noise, as a share of white; it keeps detail from flickering.", ge=0.0, le=0.2
    )
    compression: float = knob(0.25, "Share of faces with invented traces of compression.", ge=0.0, le=1.0)
    texture: float = knob(
        0.3,
        "How much it counts that skin and hair are as rough as in the truth; more is crisper, and more of it made up.",
        ge=0.0,
        le=4.0,
    )
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
