"""Settings of merging: plate + model + faceset → multilayer EXR."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from dflcore.config.base import PERMISSION, Audience, Settings, knob
from dflcore.config.mask_terms import check_recipe

Profile = Literal["layered", "flat"]
MatteMode = Literal["learned_and_hull", "hull", "learned_source", "learned_target", "learned_both", "full"]
ColorTransfer = Literal["none", "rct"]
BitDepth = Literal["auto", "half", "float"]
Compression = Literal["zip", "zips", "piz", "dwaa", "dwab", "none"]
ProvenanceAttributes = Literal["full", "minimal", "off"]
DEFAULT_LAYERS = "swap,raw,matte,matte_learned_source,matte_learned_target,matte_segmentation,matte_hull,st"


class MergeSettings(Settings):
    """Everything ``merge`` can be told."""

    profile: Profile = knob(
        "layered", "layered: one multilayer EXR per frame; flat: RGBA EXR with matte and patch siblings."
    )
    layers: str = knob(DEFAULT_LAYERS, "Layers beside the beauty, joined by commas; names as in the manual's table.")
    matte_mode: MatteMode = knob("learned_and_hull", "What the composite's matte is made from.")
    matte_erode: float = knob(
        0.0,
        "Shrink the matte; negative grows it. In percent of the aligned face's side.",
        ge=-25.0,
        le=25.0,
        unit="%",
    )
    matte_feather: float = knob(
        5.0,
        "Soften the matte's edge inward. In percent of the aligned face's side.",
        ge=0.0,
        le=25.0,
        unit="%",
    )
    segmentation: str = knob(
        "label > xseg",
        "Stored masks of the target's faceset that take things in front of the face out of the matte; empty uses none.",
    )
    color_transfer: ColorTransfer = knob("rct", "Match the swapped face's colour to the plate's.")
    identity: str = knob(
        "source",
        "Who is painted: source, or source2 and so on of a model that knows several; target puts the performer's face "
        "on footage of the source, whose faceset is then the one to give.",
    )
    morph: float = knob(
        1.0, "How much of the painted person is put on, 0 to 1; only models with a morph factor (AMP).", ge=0.0, le=1.0
    )
    opacity: float = knob(1.0, "Strength of the composite.", ge=0.0, le=1.0)
    face_scale: float = knob(0.0, "Grow (positive) or shrink the swapped face.", ge=-50.0, le=50.0, unit="%")
    bit_depth: BitDepth = knob("auto", "Pixel type of the beauty; auto keeps the plate's, and half for integer plates.")
    compression: Compression = knob("zip", "EXR compression.", audience=Audience.TD)
    input_colorspace: str = knob(
        "auto",
        "Colour space of the plate as OpenColorIO names it; auto reads the header, then goes by file type.",
    )
    ocio_config: str = knob(
        "",
        "OpenColorIO config file or built-in name; empty takes $OCIO, then the built-in.",
        audience=Audience.TD,
    )
    missing_frames: Literal["error", "skip"] = knob(
        "error", "A frame of the range that is not on disk: stop, or skip and report.", affects_pixels=False
    )
    overwrite: bool = knob(
        False,
        "Replace frames that were made with other settings, another model or another plate.",
        affects_pixels=False,
    )
    provenance_attributes: ProvenanceAttributes = knob(
        "minimal",
        "What the header says about the making: full, minimal (synthetic mark, model hash, version) or off.",
        audience=Audience.TD,
    )
    device: str = knob("auto", "Torch device: auto, cpu, cuda, cuda:1.", audience=Audience.TD, affects_pixels=False)
    authorization_project: str = knob(
        "", "The production these frames are made for.", group=PERMISSION, affects_pixels=False
    )
    authorization_use: str = knob("", "What these frames are made for.", group=PERMISSION, affects_pixels=False)

    @field_validator("segmentation")
    @classmethod
    def _check_segmentation(cls, value: str) -> str:
        return check_recipe(value) if value.strip() else ""
