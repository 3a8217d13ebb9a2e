"""Settings of extraction: plate → aligned faces → faceset."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from dflcore.authorization import parse_last_day
from dflcore.config.base import Audience, Settings, knob
from dflcore.errors import InvalidInput
from dflcore.types import FaceType

MissingFrames = Literal["error", "skip"]


class ExtractSettings(Settings):
    """Everything ``extract`` can be told."""

    detector: str = knob("auto", "Face detector by registry name; auto takes the best one whose weights are here.")
    landmarker: str = knob("auto", "Landmarker by registry name; auto takes the best one whose weights are here.")
    face_type: FaceType = knob(FaceType.FULL, "How much of the head the aligned face shows.")
    aligned_size: int = knob(256, "Side of the square aligned image.", ge=64, le=2048, unit="px")
    max_faces: int = knob(0, "Keep only the largest faces of a frame; 0 keeps all.", ge=0, le=100)
    min_face_size: int = knob(24, "Faces whose shorter box side is smaller are ignored.", ge=8, le=4096, unit="px")
    min_score: float = knob(0.0, "Faces the detector is less sure of are ignored.", ge=-10.0, le=10.0)
    detect_size: int = knob(
        960,
        "Plates are shrunk to this longer side before detection.",
        ge=128,
        le=8192,
        unit="px",
        audience=Audience.TD,
    )
    compute_identity: bool = knob(True, "Store an identity descriptor with every face.", audience=Audience.TD)
    input_colorspace: str = knob(
        "auto",
        "Colour space of the plate as OpenColorIO names it; auto reads the header, then goes by file type.",
    )
    ocio_config: str = knob(
        "",
        "OpenColorIO config file or built-in name; empty takes $OCIO, then the built-in.",
        audience=Audience.TD,
    )
    missing_frames: MissingFrames = knob("error", "A frame of the range that is not on disk: stop, or skip and report.")
    authorization_person: str = knob("", "Whose face this is.", affects_pixels=False)
    authorization_project: str = knob("", "The production this face may be used for.", affects_pixels=False)
    authorization_use: str = knob("", "What this face may be used for.", affects_pixels=False)
    authorization_until: str = knob(
        "", "Last day of the permission, as 2027-12-31; empty for no end.", affects_pixels=False
    )
    authorization_reference: str = knob(
        "", "Contract or release number that gives the permission.", affects_pixels=False
    )

    @field_validator("authorization_until")
    @classmethod
    def _check_last_day(cls, value: str) -> str:
        try:
            parse_last_day(value)
        except InvalidInput as error:
            raise ValueError("not a date; write it as 2027-12-31, or leave it empty for no end") from error
        return value
