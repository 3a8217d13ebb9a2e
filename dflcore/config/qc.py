"""Settings of the review of a merged shot: which limits flag a frame, and what goes into the report."""

from __future__ import annotations

from dflcore.config.base import Settings
from dflcore.config.knobs import Audience, knob

LIMITS = "limits"


class QcSettings(Settings):
    """Measure a merged shot against its plate, and write a report that names the frames to look at first."""

    worst_frames: int = knob(
        12, "Pictures of so many of the frames to look at first.", ge=0, le=200, affects_pixels=False
    )
    spread_frames: int = knob(
        6, "Pictures of so many frames spread evenly over the shot.", ge=0, le=200, affects_pixels=False
    )
    landmarker: str = knob(
        "dlib68",
        "Landmarker that looks at plate and result alike; the embedded one keeps figures of all machines comparable.",
        audience=Audience.TD,
    )
    input_colorspace: str = knob(
        "auto",
        "Colour space of the plate as OpenColorIO names it; auto takes what the merge took, else what the plate says.",
    )
    ocio_config: str = knob(
        "",
        "OpenColorIO config file or built-in name; empty takes $OCIO, then the built-in.",
        audience=Audience.TD,
    )
    overwrite: bool = knob(
        False, "Replace files of the report's name that are no report of this result.", affects_pixels=False
    )
    device: str = knob("auto", "Torch device: auto, cpu, cuda, cuda:1.", audience=Audience.TD, affects_pixels=False)
    max_identity_distance: float = knob(
        0.6,
        "Face descriptors of result and source further apart than this are not one person; 0.6 is the encoder's own.",
        group=LIMITS,
        ge=0.0,
        le=2.0,
    )
    min_similarity: float = knob(
        0.1, "Least structural similarity (SSIM) of the face with the plate's.", group=LIMITS, ge=-1.0, le=1.0
    )
    max_perceptual: float = knob(
        0.6, "Largest distance from the plate's face in a network's early layers.", group=LIMITS, ge=0.0, le=2.0
    )
    max_landmark_error: float = knob(
        10.0,
        "Largest mean distance of the landmarks from the plate's, of the distance between the eyes' outer corners.",
        group=LIMITS,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    max_pose_error: float = knob(
        15.0, "Largest difference of the head's pose from the plate's.", group=LIMITS, ge=0.0, le=180.0, unit="deg"
    )
    min_sharpness: float = knob(
        0.3, "Least sharpness of the face as a share of the plate's face.", group=LIMITS, ge=0.0, le=1.0
    )
    min_grain: float = knob(
        0.4, "Least noise of the face as a share of the plate's; 0 asks for none.", group=LIMITS, ge=0.0, le=1.0
    )
    max_grain: float = knob(2.0, "Most noise of the face as a multiple of the plate's.", group=LIMITS, ge=1.0, le=100.0)
    max_seam: float = knob(
        2.0,
        "Steepest step across the matte's edge that the plate has not, per 1/256 of the face's square.",
        group=LIMITS,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    max_flicker: float = knob(
        0.5,
        "Largest change of the face's mean colour from its neighbours that the plate does not make.",
        group=LIMITS,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    max_boil: float = knob(
        2.0,
        "Largest change of what is inside the face from its neighbours that the plate does not make.",
        group=LIMITS,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    max_jitter: float = knob(
        2.5,
        "Largest jump of the landmarks from their neighbours that the plate's do not make.",
        group=LIMITS,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    max_matte_jump: float = knob(
        15.0,
        "Largest change of the matte's area from the frame before, of its usual area.",
        group=LIMITS,
        ge=0.0,
        le=100.0,
        unit="%",
    )
    max_highlight: float = knob(
        2.0, "Brightest light in the matte as a multiple of the plate's there.", group=LIMITS, ge=1.0, le=1000.0
    )
    min_confidence: float = knob(
        0.4,
        "Least sureness of detector and landmarks, compared with the rest of the track; filled-in faces have none.",
        group=LIMITS,
        ge=0.0,
        le=1.0,
    )
