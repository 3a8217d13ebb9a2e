"""Settings of training: source and target facesets → face model."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from dflcore.config.base import Audience, Settings, knob
from dflcore.config.mask_terms import check_recipe
from dflcore.types import FaceType

Precision = Literal["auto", "float32", "bfloat16"]


DEFAULT_PRESET = "quick"


class TrainSettings(Settings):
    """Everything ``train`` can be told. Fields fixed once trained keep the values the model was created with."""

    preset: str | None = knob(
        None,
        "Network preset by registry name; empty keeps the model's own, and takes quick, made for CPUs, for a new one.",
        fixed_once_trained=True,
    )
    iterations: int | None = knob(
        None, "Stop after this many iterations in all; empty trains until stopped.", ge=1, le=100_000_000
    )
    minutes: float | None = knob(
        None, "Stop after this many minutes of training in all.", ge=0.01, le=100_000, unit="min"
    )
    batch_size: int | None = knob(None, "Faces of each side per step; empty takes the preset's.", ge=1, le=256)
    resolution: int | None = knob(
        None,
        "Side of the face the network paints; empty takes the preset's.",
        ge=32,
        le=1024,
        unit="px",
        fixed_once_trained=True,
    )
    face_type: FaceType | None = knob(
        None, "How much of the head the network paints; empty takes the facesets'.", fixed_once_trained=True
    )
    learning_rate: float | None = knob(
        None, "Peak learning rate; empty takes the preset's.", ge=1e-7, le=1e-1, audience=Audience.TD
    )
    random_warp: bool = knob(True, "Distort the faces the encoder sees, so that expressions generalise.")
    random_flip_source: bool = knob(False, "Mirror source faces now and then.")
    random_flip_target: bool = knob(False, "Mirror target faces now and then.")
    masked_training: bool = knob(True, "Look at the face only, not at what surrounds it.")
    masks: str = knob(
        "label > xseg > hull",
        "Where the face is: which of the masks stored in the facesets, as a mask recipe; faces without any use the "
        "outline of their landmarks (hull).",
    )
    save_interval_s: float = knob(
        60.0, "Seconds between two saves; at most this much work can be lost.", ge=1.0, le=3600.0, unit="s"
    )
    preview_interval_s: float = knob(30.0, "Seconds between two preview pictures.", ge=1.0, le=3600.0, unit="s")
    keep_generations: int = knob(3, "Saved generations kept on disk.", ge=2, le=100, audience=Audience.TD)
    cache_mb: int = knob(
        256,
        "Memory for decoded faces; the faceset itself may be any size.",
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
    authorization_project: str = knob("", "The production this model is made for.", affects_pixels=False)
    authorization_use: str = knob("", "What this model may be used for.", affects_pixels=False)
    authorization_reference: str = knob("", "Contract or release number that permits this model.", affects_pixels=False)

    @field_validator("masks")
    @classmethod
    def _check_masks(cls, value: str) -> str:
        return check_recipe(value)
