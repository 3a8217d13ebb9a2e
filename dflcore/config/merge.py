"""Settings of merging: plate + model + faceset → multilayer EXR."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, Literal, Self

from pydantic import field_validator, model_validator

from dflcore.config.base import Settings
from dflcore.config.cast_text import check_casting, parse_casting
from dflcore.config.frame_overrides import parse_overrides, values_at
from dflcore.config.knobs import PERMISSION, Audience, knob
from dflcore.config.mask_terms import check_recipe

Profile = Literal["layered", "flat", "patch"]
Mode = Literal["overlay", "seamless", "histogram", "seamless_histogram", "raw_rgb", "raw_predict", "original"]
MatteMode = Literal[
    "learned_and_hull",
    "hull",
    "learned_source",
    "learned_target",
    "learned_both",
    "learned_sum",
    "segmentation_source",
    "segmentation_target",
    "segmentation_both",
    "learned_and_segmentation",
    "full",
]
ColorTransfer = Literal["none", "rct", "lct", "mkl", "idt", "sot", "mix"]
ColorArea = Literal["matte", "square"]
SharpenMode = Literal["gaussian", "box"]
SeamlessLight = Literal["scaled", "added"]
BitDepth = Literal["auto", "half", "float"]
Compression = Literal["zip", "zips", "piz", "rle", "dwaa", "dwab", "none"]
ProvenanceAttributes = Literal["full", "minimal", "off"]
MATTE, COLOUR, EFFECTS = "matte", "colour", "effects"
MAX_SMOOTH_FRAMES: Final = 12
OVERRIDABLE: Final = frozenset(
    {
        "mode",
        "seamless_light",
        "matte_mode",
        "matte_erode",
        "matte_feather",
        "color_transfer",
        "color_area",
        "histogram_threshold",
        "opacity",
        "face_scale",
        "sharpen",
        "sharpen_mode",
        "denoise",
        "degrade",
        "color_degrade",
        "motion_blur",
        "grain",
        "enhance_power",
    }
)
"""Settings that may differ from frame to frame."""
SEAMLESS_MODES: Final = frozenset({"seamless", "seamless_histogram"})
HISTOGRAM_MODES: Final = frozenset({"histogram", "seamless_histogram"})
SEGMENTER_MODES: Final = frozenset({"segmentation_source", "segmentation_both", "learned_and_segmentation"})
"""Matte modes that look at the painted face with a mask network."""
DEFAULT_LAYERS = "swap,raw,matte,matte_learned_source,matte_learned_target,matte_segmentation,matte_hull,st"


class MergeSettings(Settings):
    """Everything ``merge`` can be told."""

    profile: Profile = knob(
        "layered",
        "layered: one multilayer EXR per frame; flat: RGBA EXR with matte and patch siblings; patch: one EXR of only "
        "what changes, to be put over the plate.",
    )
    layers: str = knob(DEFAULT_LAYERS, "Layers beside the beauty, joined by commas; names as in the manual's table.")
    mode: Mode = knob(
        "overlay",
        "How the face comes into the plate. overlay: mixed by the matte; seamless: its light is bent to meet the plate "
        "at the matte's edge; histogram: its tones become those of the plate's face; raw_rgb: the network's whole "
        "square, no matte; raw_predict: that square alone, as large as the network paints it; original: the plate, "
        "with all layers.",
    )
    seamless_light: SeamlessLight = knob(
        "scaled",
        "What the seamless modes carry in from the edge: scaled keeps dark detail dark, added keeps differences.",
    )
    matte_mode: MatteMode = knob(
        "learned_and_hull",
        "What the composite's matte is made from. segmentation_target is the stored masks alone; segmentation_source "
        "needs a segmenter.",
        group=MATTE,
    )
    matte_erode: float = knob(
        0.0,
        "Shrink the matte; negative grows it. In percent of the aligned face's side.",
        ge=-25.0,
        le=25.0,
        unit="%",
        group=MATTE,
    )
    matte_feather: float = knob(
        5.0,
        "Soften the matte's edge inward. In percent of the aligned face's side.",
        ge=0.0,
        le=25.0,
        unit="%",
        group=MATTE,
    )
    segmentation: str = knob(
        "label > xseg",
        "Stored masks of the target's faceset that take things in front of the face out of the matte; empty uses none.",
        group=MATTE,
    )
    segmenter: str = knob(
        "",
        "Mask network that looks at the painted face, for the matte modes with segmentation_source: a model folder, or "
        "a segmenter's name.",
        group=MATTE,
    )
    smooth_matte: int = knob(
        0,
        "Average the learned masks over so many frames on either side of a frame.",
        ge=0,
        le=MAX_SMOOTH_FRAMES,
        unit="frames",
        group=MATTE,
    )
    color_transfer: ColorTransfer = knob("mkl", "Match the swapped face's colour to the plate's.", group=COLOUR)
    color_area: ColorArea = knob(
        "matte", "Where both faces' colours are judged: inside the matte, or the whole aligned square.", group=COLOUR
    )
    histogram_threshold: float = knob(
        100.0,
        "The histogram modes leave out the plate's tones above this, in percent of white.",
        ge=0.0,
        le=100.0,
        unit="%",
        group=COLOUR,
    )
    smooth_colors: int = knob(
        0,
        "Judge colours over so many frames on either side of a frame, against flicker.",
        ge=0,
        le=MAX_SMOOTH_FRAMES,
        unit="frames",
        group=COLOUR,
    )
    identity: str = knob(
        "source",
        "Who is painted: source, or source2 and so on of a model that knows several; target puts the performer's face "
        "on footage of the source, whose faceset is then the one to give.",
    )
    cast: str = knob(
        "",
        "Which model paints whom, where several people are in the shot: 'track 3 = /models/anna; others = plate'. "
        "Empty: the merge's model paints everybody.",
    )
    morph: float = knob(
        1.0, "How much of the painted person is put on, 0 to 1; only models with a morph factor (AMP).", ge=0.0, le=1.0
    )
    opacity: float = knob(1.0, "Strength of the composite.", ge=0.0, le=1.0)
    face_scale: float = knob(0.0, "Grow (positive) or shrink the swapped face.", ge=-50.0, le=50.0, unit="%")
    smooth_landmarks: int = knob(
        0,
        "Steady the face's place over so many frames on either side of a frame, from 2 on; beyond what extraction did.",
        ge=0,
        le=MAX_SMOOTH_FRAMES,
        unit="frames",
    )
    sharpen: float = knob(
        0.0, "Sharpen the swapped face; negative softens it.", ge=-100.0, le=100.0, unit="%", group=EFFECTS
    )
    sharpen_mode: SharpenMode = knob("gaussian", "Kernel that sharpening compares with.", group=EFFECTS)
    denoise: float = knob(
        0.0, "Take noise off the swapped face, as a median does.", ge=0.0, le=500.0, unit="%", group=EFFECTS
    )
    degrade: float = knob(
        0.0, "Lower the swapped face's resolution to a softer plate's.", ge=0.0, le=100.0, unit="%", group=EFFECTS
    )
    color_degrade: float = knob(
        0.0, "Reduce the swapped face's colours, as a poor camera does.", ge=0.0, le=100.0, unit="%", group=EFFECTS
    )
    motion_blur: float = knob(
        0.0,
        "Blur the swapped face along its own motion; 100 % is a shutter open for the whole frame.",
        ge=0.0,
        le=100.0,
        unit="%",
        group=EFFECTS,
    )
    grain: float = knob(
        0.0,
        "Give the swapped face the grain measured around it; 100 % is as strong as the plate's.",
        ge=0.0,
        le=200.0,
        unit="%",
        group=EFFECTS,
    )
    enhancer: str = knob(
        "", "Enhancer that adds detail to the painted face, as detail:<model folder>; empty for none.", group=EFFECTS
    )
    enhance_power: float = knob(
        100.0, "How much of the enhancer's result is used.", ge=0.0, le=100.0, unit="%", group=EFFECTS
    )
    overrides: str = knob(
        "",
        "Settings that differ on some frames: '1001-1040: opacity=0>1; 1100: mode=original'. A settings file has them "
        "as tables.",
    )
    bit_depth: BitDepth = knob("auto", "Pixel type of the beauty; auto keeps the plate's, and half for integer plates.")
    compression: Compression = knob("zip", "EXR compression.", audience=Audience.TD)
    dwa_level: float = knob(
        45.0,
        "How much dwaa and dwab may lose; larger makes smaller files.",
        ge=1.0,
        le=500.0,
        audience=Audience.TD,
    )
    input_colorspace: str = knob(
        "auto",
        "Colour space of the plate as OpenColorIO names it; auto reads the header, then goes by file type.",
    )
    ocio_config: str = knob(
        "",
        "OpenColorIO config file or built-in name; empty takes $OCIO, then the built-in.",
        audience=Audience.TD,
    )
    missing_frames: Literal["error", "skip", "hold"] = knob(
        "error",
        "A frame that is not on disk: stop, skip it (or a damaged one) and report, or hold the frame before it.",
        affects_pixels=False,
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

    @field_validator("cast")
    @classmethod
    def _check_cast(cls, value: str) -> str:
        return check_casting(value)

    @model_validator(mode="after")
    def _check_overrides(self) -> Self:
        if self.mode == "raw_predict" and self.profile != "layered":
            raise ValueError("the mode raw_predict delivers one square per frame; use the profile layered")
        for block in parse_overrides(self.overrides, OVERRIDABLE):
            for frame in (block.frames.frames[0], block.frames.frames[-1]):
                self.at(frame)
        return self

    def digest(self, names: Collection[str] | None = None) -> str:
        """As of the base class; of networks' folders the names count, since their places differ between machines.

        What the networks are is in a merge's key by their own digests.
        """
        kind, colon, argument = self.enhancer.partition(":")
        path, query, rest = argument.partition("?")
        places = {
            "enhancer": f"{kind}{colon}{_last(path)}{query}{rest}",
            "segmenter": _last(self.segmenter),
            "cast": str(parse_casting(self.cast).with_folders(_last)),
        }
        return super(MergeSettings, self.model_copy(update=places)).digest(names)

    def at(self, frame: int) -> MergeSettings:
        """What holds on a frame: these settings, with its overrides applied and none left.

        Raises:
            InvalidInput: an override is out of range.
        """
        if not self.overrides:
            return self
        changed = values_at(parse_overrides(self.overrides, OVERRIDABLE), frame)
        return MergeSettings.from_values(self.values() | {"overrides": ""} | changed)


def _last(path: str) -> str:
    """The last part of a path of either kind of system."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]
