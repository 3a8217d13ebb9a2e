"""Settings of training a personal detail enhancer: one person's faces → what soft pictures of that person lack."""

from __future__ import annotations

from dflcore.config import training_knobs
from dflcore.config.base import Settings
from dflcore.config.knobs import knob
from dflcore.config.network import NetworkSettings
from dflcore.config.train import Precision
from dflcore.types import FaceType

DEFAULT_DETAIL_PRESET = "detail"


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
    width: int = training_knobs.width(48, "Width of the fine level.", ge=4, le=256)
    coarse_width: int = training_knobs.width(96, "Width of the coarse level.", ge=4, le=512)
    layers: int = training_knobs.width(2, "Layers of the coarse level.", ge=1, le=32)


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
    iterations: int | None = training_knobs.ITERATIONS
    minutes: float | None = training_knobs.MINUTES
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
    learning_rate: float | None = training_knobs.LEARNING_RATE
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
    random_flip: bool = training_knobs.RANDOM_FLIP
    save_interval_s: float = training_knobs.SAVE_INTERVAL_S
    preview_interval_s: float = training_knobs.PREVIEW_INTERVAL_S
    keep_generations: int = training_knobs.KEEP_GENERATIONS
    cache_mb: int = training_knobs.CACHE_MB
    seed: int = training_knobs.SEED
    device: str = training_knobs.DEVICE
    precision: Precision = training_knobs.PRECISION
    authorization_project: str = training_knobs.AUTHORIZATION_PROJECT
    authorization_use: str = training_knobs.AUTHORIZATION_USE
    authorization_reference: str = training_knobs.AUTHORIZATION_REFERENCE
