"""Values that cross between the parts of the core, and the conventions they share.

Convention:
    Points are (x, y) with the origin at the top-left *corner* of the top-left pixel of the display window; the centre
    of pixel column i is x = i + 0.5. Sizes are (width, height) in points, arrays are (H, W, C).
    A transform named ``b_from_a`` maps points of space a to space b: ``p_b = M[:, :2] @ p_a + M[:, 2]``.
    Angles are radians: yaw > 0 nose toward image-left, pitch > 0 looking up, roll > 0 clockwise in the image.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
"""float32 of any shape."""
Affine = NDArray[np.float64]
"""(2, 3) float64 matrix of a 2-D affine transform, see the conventions above."""


class FaceType(enum.Enum):
    """How much of the head an aligned face shows (deepfacelab fact sheet §3.5)."""

    HALF = "half"
    MIDFULL = "midfull"
    FULL = "full"
    WHOLE = "whole"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class Box:
    """A detector's rectangle in plate pixels; ``right`` and ``bottom`` are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Detection:
    """One face found in a plate.

    Attributes:
        box: plate pixels, left < right and top < bottom whatever the turn.
        score: the detector's own, higher is surer.
        turn: 0, 90, 180 or 270: degrees by which the picture was turned clockwise when the face was seen upright.
    """

    box: Box
    score: float
    turn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """Ordered points with a named layout.

    Attributes:
        points: (68, 2) float32, plate or aligned pixels as the holder says.
        layout: ``ibug68``.
        depth: (68,) float32 in the pixels of ``points``, smaller is nearer to the camera; None where not known.
    """

    points: FloatArray
    layout: str = "ibug68"
    depth: FloatArray | None = None


class Origin(enum.Enum):
    """How a face's landmarks came about; what nobody saw is never passed off as seen."""

    DETECTED = "detected"
    INTERPOLATED = "interpolated"
    MANUAL = "manual"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A face as one frame shows it, before it is linked to other frames or smoothed.

    Attributes:
        frame: frame number as on disk.
        box: plate pixels.
        score: the detector's own, higher is surer.
        landmarks: plate pixels.
        spread: how far several looks at this face lie apart: root mean square distance of their points from the mean,
            in units of the alignment template (the face's own size); None after a single look.
        identity: float32 unit-free descriptor, None when not computed.
        detector, landmarker: registry names of what produced it.
    """

    frame: int
    box: Box
    score: float
    landmarks: Landmarks
    detector: str
    landmarker: str
    spread: float | None = None
    identity: FloatArray | None = None
    origin: Origin = Origin.DETECTED


@dataclass(frozen=True, slots=True)
class Pose:
    """Head rotation in radians, signs as the conventions of this module."""

    pitch: float
    yaw: float
    roll: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRecord:
    """One row of a faceset's index: everything known about one aligned face except its pixels.

    Attributes:
        name: file name of the aligned image inside the faceset folder.
        plate: the plate as the user named it (pattern or movie path).
        frame: frame number as on disk.
        face_index: 0 is the largest face of the frame.
        plate_size: (width, height) of the plate's display window in pixels.
        landmarks: in plate pixels.
        aligned_from_plate: (2, 3), plate pixels to aligned pixels.
        aligned_size: side of the square aligned image in pixels.
        sharpness: variance of the Laplacian of the aligned face's luma (0..1 scale), higher is sharper.
        identity: float32 unit-free descriptor, None when not computed.
        detector, landmarker: registry names of what produced it.
        track_id: faces with the same number are one person followed through one shot of the plate.
        spread: see :class:`Sighting`.
        original_name: file name the image had before it came into this faceset; None for faces cut here.
    """

    name: str
    plate: str
    frame: int
    face_index: int
    plate_size: tuple[int, int]
    box: Box
    score: float
    landmarks: Landmarks
    face_type: FaceType
    aligned_size: int
    aligned_from_plate: Affine
    pose: Pose
    sharpness: float
    detector: str
    landmarker: str
    identity: FloatArray | None = None
    track_id: int | None = None
    spread: float | None = None
    origin: Origin = Origin.DETECTED
    original_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """Who allowed this face or model to be used, for what, until when (design: consent and provenance).

    Attributes:
        person: whose face; free text or an id.
        project: the production it is allowed for.
        use: what it may be used for.
        until: ISO date of the last allowed day, or empty for no end.
        reference: contract or release number; never written to frame headers unless asked.
    """

    person: str = ""
    project: str = ""
    use: str = ""
    until: str = ""
    reference: str = ""

    @property
    def is_stated(self) -> bool:
        """At least a person or a reference was given."""
        return bool(self.person or self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class FacesetInfo:
    """What a faceset says about itself as a whole."""

    path: str
    face_count: int
    face_type: FaceType
    aligned_size: int
    plates: tuple[str, ...]
    authorization: Authorization
    settings: dict[str, object] = field(default_factory=dict)
    software: str = ""
