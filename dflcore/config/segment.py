"""Settings of training a segmentation network: labelled faces → masks of all faces."""

from __future__ import annotations

from dflcore.config import training_knobs
from dflcore.config.base import Settings
from dflcore.config.knobs import knob
from dflcore.config.network import NetworkSettings
from dflcore.config.train import Precision
from dflcore.types import FaceType

DEFAULT_SEGMENT_PRESET = "xseg-light"


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
    base_dims: int = training_knobs.width(32, "Width of the first level.", ge=4, le=128)
    bottleneck_dims: int = training_knobs.width(512, "Width of the bottleneck.", ge=16, le=2048)


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
    base_dims: int = training_knobs.width(64, "Width of the first level; 64 is VGG-11's.", ge=4, le=128)


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
    iterations: int | None = training_knobs.ITERATIONS
    minutes: float | None = training_knobs.MINUTES
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
    learning_rate: float | None = training_knobs.LEARNING_RATE
    pretrain: bool = knob(
        False, "Learn what faces look like from all faces, labelled or not; switch it off afterwards to learn masks."
    )
    occluders: float = knob(
        0.6, "Share of faces with an invented hand, bar, microphone or other thing in front.", ge=0.0, le=1.0
    )
    backgrounds: float = knob(0.4, "Share of faces with another picture behind them.", ge=0.0, le=1.0)
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
