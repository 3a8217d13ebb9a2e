"""Settings of training: source and target facesets → face model."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from dflcore.config.base import Settings
from dflcore.config.knobs import PERMISSION, Audience, knob
from dflcore.config.mask_terms import check_recipe
from dflcore.types import FaceType

Precision = Literal["auto", "float32", "bfloat16"]
Optimizer = Literal["adam", "adabelief", "rmsprop"]
SampleColorTransfer = Literal["none", "rct", "lct", "mkl", "idt", "sot"]
Choice = Literal["auto", "on", "off"]


NETWORK = "network"
HOW_LONG = "how long"
FACES = "faces"
LOSSES = "losses"
LEARNING = "learning"
SAVING = "saving and previews"
SPEED = "speed and memory"
DEFAULT_PRESET = "quick"
LETTERS = {"u": "likeness", "d": "subpixel", "t": "deep", "c": "cosine"}
"""Letter → the network setting it switches on."""
NO_LETTERS = "none"


class TrainSettings(Settings):
    """Everything ``train`` can be told. Fields fixed once trained keep the values the model was created with."""

    preset: str | None = knob(
        None,
        "Network preset by registry name; empty keeps the model's own, and takes quick, made for CPUs, for a new one.",
        group=NETWORK,
        fixed_once_trained=True,
    )
    iterations: int | None = knob(
        None,
        "Stop after this many iterations in all; empty trains until stopped.",
        group=HOW_LONG,
        ge=1,
        le=100_000_000,
    )
    minutes: float | None = knob(
        None, "Stop after this many minutes of training in all.", group=HOW_LONG, ge=0.01, le=100_000, unit="min"
    )
    batch_size: int | None = knob(
        None, "Faces of each side per step; empty takes the preset's.", group=SPEED, ge=1, le=1024
    )
    fit_batch: bool = knob(
        False,
        "Try out, before training, how many faces per step the device has memory for, and take that many.",
        group=SPEED,
    )
    resolution: int | None = knob(
        None,
        "Side of the face the network paints; empty takes the preset's.",
        group=NETWORK,
        ge=32,
        le=1024,
        unit="px",
        fixed_once_trained=True,
    )
    face_type: FaceType | None = knob(
        None,
        "How much of the head the network paints; empty takes the facesets'.",
        group=NETWORK,
        fixed_once_trained=True,
    )
    letters: str | None = knob(
        None,
        "Options of the df and liae networks, any of u (likeness), d (half the work per pixel), t (deeper), "
        "c (cosine activation); none for no letter, empty takes the preset's.",
        group=NETWORK,
        fixed_once_trained=True,
    )
    ae_dims: int | None = knob(
        None, "Width of the bottleneck.", group=NETWORK, ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True
    )
    inter_dims: int | None = knob(
        None, "Width of AMP's code.", group=NETWORK, ge=32, le=2048, audience=Audience.TD, fixed_once_trained=True
    )
    e_dims: int | None = knob(
        None, "Width of the encoder.", group=NETWORK, ge=8, le=512, audience=Audience.TD, fixed_once_trained=True
    )
    d_dims: int | None = knob(
        None, "Width of the decoders.", group=NETWORK, ge=8, le=512, audience=Audience.TD, fixed_once_trained=True
    )
    d_mask_dims: int | None = knob(
        None,
        "Width of the decoders' mask branch.",
        group=NETWORK,
        ge=2,
        le=512,
        audience=Audience.TD,
        fixed_once_trained=True,
    )
    morph_factor: float | None = knob(
        None,
        "AMP: share of the code that the source claims while training.",
        group=NETWORK,
        ge=0.1,
        le=0.5,
        fixed_once_trained=True,
    )
    ca_init: bool = knob(
        False,
        "Start the convolutions of a new model convolution-aware, with orthogonal filters.",
        group=NETWORK,
        audience=Audience.TD,
    )
    optimizer: Optimizer | None = knob(
        None, "How weights learn; empty takes the preset's.", group=LEARNING, audience=Audience.TD
    )
    learning_rate: float | None = knob(
        None, "Peak learning rate; empty takes the preset's.", group=LEARNING, ge=1e-7, le=1e-1, audience=Audience.TD
    )
    lr_dropout: float | None = knob(
        None,
        "Learning-rate dropout: share of the weights that rests in each step; 0.7 is the paper's. Sharpens late in "
        "training. Empty takes the preset's.",
        group=LEARNING,
        ge=0.0,
        le=0.95,
    )
    lr_cycle: int | None = knob(
        None,
        "Let the learning rate fall and rise as a cosine over this many iterations; 0 for no cycle, empty takes the "
        "preset's.",
        group=LEARNING,
        ge=0,
        le=1_000_000,
        unit="iterations",
        audience=Audience.TD,
    )
    clip_gradients: float | None = knob(
        None,
        "Longest gradient of a step; longer ones are shortened to it. 0 for no limit, empty takes the preset's.",
        group=LEARNING,
        ge=0.0,
        le=1000.0,
        audience=Audience.TD,
    )
    ema_decay: float | None = knob(
        None,
        "Keep a running mean of the weights, with this decay per step, and paint with it; 0 for none, empty takes the "
        "preset's.",
        group=LEARNING,
        ge=0.0,
        le=0.99999,
        audience=Audience.TD,
    )
    random_warp: bool = knob(True, "Distort the faces the encoder sees, so that expressions generalise.", group=FACES)
    random_flip_source: bool = knob(False, "Mirror source faces now and then.", group=FACES)
    random_flip_target: bool = knob(False, "Mirror target faces now and then.", group=FACES)
    random_hsv: float = knob(
        0.0,
        "Change hue, saturation and brightness of what the encoder sees of the source by up to this share.",
        group=FACES,
        ge=0.0,
        le=0.3,
    )
    color_transfer: SampleColorTransfer = knob(
        "none", "Give source faces the colours of random target faces, by this method.", group=FACES
    )
    uniform_yaw: bool = knob(False, "Draw turned faces as often as frontal ones, however few there are.", group=FACES)
    masked_training: bool = knob(True, "Look at the face only, not at what surrounds it.", group=LOSSES)
    masks: str = knob(
        "label > xseg > hull",
        "Where the face is: which of the masks stored in the facesets, as a mask recipe; faces without any use the "
        "outline of their landmarks (hull).",
        group=LOSSES,
    )
    eyes_mouth_priority: bool = knob(
        False, "Let errors in eyes and mouth count far more than those elsewhere.", group=LOSSES
    )
    blur_out_mask: bool = knob(
        False,
        "Blur what surrounds the face in the pictures to be painted, so that nothing is learnt of it.",
        group=LOSSES,
    )
    face_style_power: float = knob(
        0.0,
        "Let the swapped face take over the target's colours and contrast; start at 0.001 and only late in training: "
        "too much breaks the model.",
        group=LOSSES,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    background_style_power: float = knob(
        0.0,
        "Let what surrounds the swapped face take over the target's surroundings; 2 is usual, too much breaks the "
        "model.",
        group=LOSSES,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    true_face_power: float = knob(
        0.0, "TrueFace: make the codes of source and target alike; 0.01 is usual.", group=LOSSES, ge=0.0, le=1.0
    )
    gan_power: float = knob(
        0.0,
        "Train against a critic that tells painted faces from real ones; 0.1 is usual, last of all.",
        group=LOSSES,
        ge=0.0,
        le=5.0,
    )
    gan_patch_size: int | None = knob(
        None,
        "Side of the patches the critic judges; empty is an eighth of the resolution.",
        group=LOSSES,
        ge=3,
        le=640,
        unit="px",
        audience=Audience.TD,
    )
    gan_dims: int = knob(16, "Width of the critic.", group=LOSSES, ge=4, le=512, audience=Audience.TD)
    pretrain: bool = knob(
        False,
        "Learn faces in general, from two facesets of many people; when it is switched off, what the network knows of "
        "who somebody is starts anew.",
        group=LEARNING,
    )
    save_interval_s: float = knob(
        60.0,
        "Seconds between two saves; at most this much work can be lost.",
        group=SAVING,
        ge=1.0,
        le=3600.0,
        unit="s",
    )
    keep_generations: int = knob(3, "Saved generations kept on disk.", group=SAVING, ge=2, le=100, audience=Audience.TD)
    backup_interval_h: float = knob(
        0.0,
        "Hours between two backups, which outlive the saved generations; 0 for none.",
        group=SAVING,
        ge=0.0,
        le=24.0,
        unit="h",
    )
    keep_backups: int = knob(24, "Backups kept on disk.", group=SAVING, ge=1, le=1000, audience=Audience.TD)
    preview_interval_s: float = knob(
        30.0, "Seconds between two preview pictures.", group=SAVING, ge=1.0, le=3600.0, unit="s"
    )
    preview_history: int = knob(
        0,
        "Keep a preview of every so many iterations, for a time-lapse; 0 keeps none.",
        group=SAVING,
        ge=0,
        le=1_000_000,
        unit="iterations",
    )
    cache_mb: int = knob(
        256,
        "Memory for decoded faces; the faceset itself may be any size.",
        group=SPEED,
        ge=16,
        le=65536,
        unit="MB",
        audience=Audience.TD,
    )
    seed: int = knob(0, "Seed of all random choices.", group=LEARNING, ge=0, le=2**31 - 1, audience=Audience.TD)
    device: str = knob("auto", "Torch device: auto, cpu, cuda, cuda:1.", group=SPEED, audience=Audience.TD)
    processes: int = knob(
        1,
        "Train with so many processes at once, one per GPU; each draws faces of its own and a step learns from all.",
        group=SPEED,
        ge=1,
        le=64,
        audience=Audience.TD,
    )
    nodes: int = knob(
        1,
        "Train on up to so many machines at once: start the same training on each; they meet beside the model, on "
        "storage that all see, and come and leave at any time.",
        group=SPEED,
        ge=1,
        le=64,
        audience=Audience.TD,
    )
    node_address: str = knob(
        "",
        "Address, host name or network interface of this machine, as the others reach it; empty finds it.",
        group=SPEED,
        audience=Audience.TD,
    )
    shard_optimizer: bool = knob(
        False, "Share the optimiser's memory out among the processes.", group=SPEED, audience=Audience.TD
    )
    precision: Precision = knob(
        "auto",
        "Arithmetic of the network; auto measures once per device whether bfloat16 is faster than float32.",
        group=SPEED,
        audience=Audience.TD,
    )
    channels_last: Choice = knob(
        "auto",
        "Memory layout of pictures, pixel by pixel; auto measures once per device.",
        group=SPEED,
        audience=Audience.TD,
    )
    compile: Choice = knob(
        "auto",
        "Compile the step before training; auto does on GPUs for runs that are long enough.",
        group=SPEED,
        audience=Audience.TD,
    )
    accumulate_steps: int = knob(
        1,
        "Add up the gradients of so many batches before weights change.",
        group=SPEED,
        ge=1,
        le=256,
        audience=Audience.TD,
    )
    checkpoint_activations: bool = knob(
        False, "Compute parts of the step twice to need less memory.", group=SPEED, audience=Audience.TD
    )
    offload_optimizer: bool = knob(
        False, "Keep the optimiser's state in main memory instead of the GPU's.", group=SPEED, audience=Audience.TD
    )
    authorization_project: str = knob(
        "", "The production this model is made for.", group=PERMISSION, affects_pixels=False
    )
    authorization_use: str = knob("", "What this model may be used for.", group=PERMISSION, affects_pixels=False)
    authorization_reference: str = knob(
        "", "Contract or release number that permits this model.", group=PERMISSION, affects_pixels=False
    )

    @field_validator("masks")
    @classmethod
    def _check_masks(cls, value: str) -> str:
        return check_recipe(value)

    @field_validator("letters")
    @classmethod
    def _check_letters(cls, value: str | None) -> str | None:
        if value is None or value == NO_LETTERS:
            return value
        if not value or len(set(value)) != len(value) or not set(value) <= set(LETTERS):
            raise ValueError(f"one or more of {', '.join(LETTERS)}, each at most once, or {NO_LETTERS}")
        return value
