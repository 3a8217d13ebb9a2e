"""Settings of extraction: plate → aligned faces → faceset."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from dflcore.authorization import parse_last_day
from dflcore.config.base import Settings
from dflcore.config.knobs import PERMISSION, Audience, knob
from dflcore.errors import InvalidInput
from dflcore.types import FaceType

MissingFrames = Literal["error", "skip", "hold"]
Rotations = Literal["upright", "all"]
AlignedFormat = Literal["png", "png16", "exr", "jpeg"]
People = Literal["together", "separate"]


LOOK_FIELDS = frozenset(
    {
        "detector",
        "landmarker",
        "max_faces",
        "min_face_size",
        "min_score",
        "detect_size",
        "rotations",
        "landmark_passes",
        "landmark_looks",
        "mesh_above_yaw",
        "compute_identity",
        "identity_encoder",
        "input_colorspace",
        "ocio_config",
    }
)
"""What is seen in a frame depends on these; frames are looked at again when one of them changes."""
CUT_FIELDS = frozenset(
    {"face_type", "aligned_size", "aligned_format", "jpeg_quality", "input_colorspace", "ocio_config"}
)
"""How a face is cut out depends on these; which faces there are is part of what is cut."""


class ExtractSettings(Settings):
    """Everything ``extract`` can be told."""

    detector: str = knob("auto", "Face detector by registry name; auto takes the best one whose weights are here.")
    landmarker: str = knob("auto", "Landmarker by registry name; auto takes the best one whose weights are here.")
    face_type: FaceType = knob(FaceType.FULL, "How much of the head the aligned face shows.")
    aligned_size: int = knob(256, "Side of the square aligned image.", ge=64, le=2048, unit="px")
    aligned_format: AlignedFormat = knob(
        "png",
        "File of an aligned face: 8- or 16-bit PNG, half-float EXR in linear Rec.709 that keeps light above 1, JPEG.",
    )
    jpeg_quality: int = knob(95, "Quality of JPEG files.", ge=50, le=100, unit="%")
    max_faces: int = knob(0, "Keep only the largest faces of a frame; 0 keeps all.", ge=0, le=100)
    min_face_size: int = knob(24, "Faces whose shorter box side is smaller are ignored.", ge=8, le=4096, unit="px")
    min_score: float = knob(0.0, "Faces the detector is less sure of are ignored.", ge=-10.0, le=10.0)
    detect_size: int = knob(
        0,
        "Plates are shrunk to this longer side before detection; 0 takes 960 for dlib_hog, which sees no face below "
        "80 px, and 640 for the others.",
        ge=0,
        le=8192,
        unit="px",
        audience=Audience.TD,
    )
    rotations: Rotations = knob(
        "upright", "Look for upright faces only, or turn a frame without a face by 90, 270 and 180 degrees too."
    )
    landmark_passes: int = knob(
        2, "Looks at a face, each at the crop the one before it suggests.", ge=1, le=4, audience=Audience.TD
    )
    landmark_looks: int = knob(
        0,
        "Slightly shifted crops whose landmarks are averaged; their spread is kept as a confidence. 1 looks once, 0 "
        "takes 5, or 1 for fan2d on a CPU.",
        ge=0,
        le=25,
    )
    mesh_above_yaw: float = knob(
        40.0,
        "Heads turned further than this get their landmarks from the 3-D face mesh, where its weights are here; "
        "90 never does.",
        ge=0.0,
        le=90.0,
        unit="deg",
    )
    detect_batch: int = knob(
        0,
        "Frames given to the detector at once; 0 takes 8 on a GPU, one per core for dlib_hog, else 1.",
        ge=0,
        le=64,
        audience=Audience.TD,
    )
    compute_identity: bool = knob(True, "Store an identity descriptor with every face.", audience=Audience.TD)
    identity_encoder: str = knob(
        "dlib_resnet",
        "Identity encoder by registry name; tracks and people are told apart with it.",
        audience=Audience.TD,
    )
    smoothing_radius: int = knob(
        5,
        "Frames before and after that steady the landmarks of a track; 0 leaves them as they were seen, 1 changes "
        "nothing either.",
        ge=0,
        le=50,
        unit="frames",
    )
    max_gap: int = knob(
        5,
        "Misses of up to so many frames inside a track are filled in between their neighbours and marked so.",
        ge=0,
        le=100,
        unit="frames",
    )
    split_at_cuts: bool = knob(True, "End tracks and smoothing where the plate cuts to another shot.")
    keep_person: str = knob(
        "", "Picture of the only person to keep; several pictures are joined by the system's path separator."
    )
    keep_tracks: str = knob("", "Track numbers to keep, joined by commas; empty keeps all.")
    same_person_distance: float = knob(
        0.0,
        "Descriptors nearer than this belong to one person; 0 takes the encoder's own distance.",
        ge=0.0,
        le=10.0,
        audience=Audience.TD,
    )
    people: People = knob(
        "together", "Put all faces into one faceset, or every person into a faceset of their own (person_01, ...)."
    )
    restore_deleted: bool = knob(
        False, "Cut faces again whose pictures were deleted or moved to the trash.", affects_pixels=False
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
    missing_frames: MissingFrames = knob(
        "error",
        "A frame that is not on disk: stop, skip it (or a damaged one) and report, or hold the frame before it.",
    )
    authorization_person: str = knob("", "Whose face this is.", group=PERMISSION, affects_pixels=False)
    authorization_project: str = knob(
        "", "The production this face may be used for.", group=PERMISSION, affects_pixels=False
    )
    authorization_use: str = knob("", "What this face may be used for.", group=PERMISSION, affects_pixels=False)
    authorization_until: str = knob(
        "", "Last day of the permission, as 2027-12-31; empty for no end.", group=PERMISSION, affects_pixels=False
    )
    authorization_reference: str = knob(
        "", "Contract or release number that gives the permission.", group=PERMISSION, affects_pixels=False
    )

    def look_digest(self) -> str:
        """16 hex digits over :data:`LOOK_FIELDS`."""
        return self.digest(LOOK_FIELDS)

    def cut_digest(self) -> str:
        """16 hex digits over :data:`CUT_FIELDS`."""
        return self.digest(CUT_FIELDS)

    @field_validator("authorization_until")
    @classmethod
    def _check_last_day(cls, value: str) -> str:
        try:
            parse_last_day(value)
        except InvalidInput as error:
            raise ValueError("not a date; write it as 2027-12-31, or leave it empty for no end") from error
        return value
