"""Another face type or size for a whole faceset, without looking for faces again.

The landmarks in plate pixels say where a face of the new type lies. Its pixels come from the plate where that can still
be read, else from the old aligned image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dflcore.curate.derive import Derived, Pixels, Remade, derive_faceset, resample
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.io.aligned_image import to_uint8
from dflcore.io.faceset import Faceset
from dflcore.progress import Notice, RunControl, StopRequest
from dflcore.types import Affine, FaceRecord, FaceType, FloatArray

MIN_SIZE_PX = 64
MAX_SIZE_PX = 2048
_MAKER = "change_faces"


class PlateCutter(Protocol):
    """Cuts faces out of their plates. Asked in plate and frame order, so one open plate and frame is enough."""

    def cut(self, record: FaceRecord, aligned_from_plate: Affine, size: int) -> FloatArray | None:
        """(size, size, 3) float32 RGB, sRGB-encoded, unbounded; None where the plate is no longer there.

        Raises:
            NotFound, InvalidInput, Unsupported, DataCorrupt: as good as None.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult:
    """What :func:`change_faces` made.

    Attributes:
        faces: in the new set so far.
        from_aligned: of those, cut from the old aligned image because the plate could not be read.
        left_out: faces whose image was damaged or gone.
        path: the finished set, or the unfinished one when stopped.
        stopped: why it ended early; the same call goes on from there.
    """

    faces: int
    from_aligned: int
    left_out: int
    path: Path
    stopped: StopRequest | None


def change_faces(
    faceset_path: Path,
    output_path: Path,
    control: RunControl,
    *,
    face_type: FaceType | None = None,
    aligned_size: int | None = None,
    cutter: PlateCutter | None = None,
) -> ChangeResult:
    """A new faceset with another face type, another size, or both.

    Args:
        faceset_path: only read.
        output_path: must not exist; see :mod:`dflcore.curate.derive`.
        control: told of every frame, asked for a stop before each.
        face_type, aligned_size: None keeps the old set's.
        cutter: where better pixels come from; without, all faces are cut from the aligned images.

    Raises:
        InvalidInput: a size out of range, or neither type nor size differs from the old set's.
        Conflict, NotFound, DataCorrupt, ResourceExhausted: see :func:`dflcore.curate.derive.derive_faceset`.
    """
    with Faceset.open(faceset_path) as faceset:
        new_type, new_size = face_type or faceset.face_type, aligned_size or faceset.aligned_size
        _check_wishes(faceset, new_type, new_size)
        is_coarser = new_type is faceset.face_type and new_size < faceset.aligned_size
    remaker = _Remaker(new_type, new_size, cutter)
    wishes: dict[str, object] = {"maker": _MAKER, "from_plate": cutter is not None}
    derived = derive_faceset(
        faceset_path,
        output_path,
        control,
        maker=_MAKER,
        wishes=wishes,
        face_type=new_type,
        aligned_size=new_size,
        remake=remaker,
    )
    if derived.second_hand:
        control.emit(_second_hand_notice(derived, remaker.unreadable, is_coarser=is_coarser))
    return ChangeResult(
        faces=derived.faces,
        from_aligned=derived.second_hand,
        left_out=derived.left_out,
        path=derived.path,
        stopped=derived.stopped,
    )


def new_from_old_crop(record: FaceRecord, face_type: FaceType, size: int) -> Affine:
    """Old aligned pixels to those of another type and size.

    Only the *step* between both types is taken from the landmarks: a square that a person moved, or that was steadied
    over time, keeps what was done to it.

    Raises:
        InvalidInput: the landmarks are no face.
    """
    if face_type is record.face_type:
        factor = size / record.aligned_size
        return np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])
    square_points = affine.apply(_square_from_plate(record), record.landmarks.points)
    old = aligned_from_landmarks(square_points, record.face_type, record.aligned_size)
    new = aligned_from_landmarks(square_points, face_type, size)
    return affine.compose(new, affine.invert(old))


def _square_from_plate(record: FaceRecord) -> Affine:
    """Plate pixels to square ones: the transform a face was cut with turns and scales squares, so it shows the rest."""
    columns = np.hypot(*record.aligned_from_plate[:, :2])
    aspect = float(columns[0] / columns[1]) if columns[1] > 0.0 else math.nan
    if not 0.1 < aspect < 10.0:
        raise InvalidInput(f"The face {record.name} lies in no usable square.", reason="BAD_TRANSFORM")
    return np.array([[aspect, 0.0, 0.0], [0.0, 1.0, 0.0]])


class _Remaker:
    """Cuts one face anew; remembers which plates it could not read."""

    def __init__(self, face_type: FaceType, size: int, cutter: PlateCutter | None) -> None:
        self._face_type, self._size, self._cutter = face_type, size, cutter
        self.unreadable: dict[str, str] = {}

    def __call__(self, record: FaceRecord, image: Pixels) -> Remade:
        """See :class:`dflcore.curate.derive.Remaker`."""
        step = new_from_old_crop(record, self._face_type, self._size)
        aligned_from_plate = affine.compose(step, record.aligned_from_plate)
        cut = self._cut(record, aligned_from_plate)
        if cut is None:
            _check_size(record, image)
            pixels = resample(image, step, self._size)
        else:
            pixels = to_uint8(cut) if image.dtype == np.uint8 else cut
        return Remade(
            image=pixels,
            changes={"aligned_from_plate": aligned_from_plate},
            new_from_old=step,
            is_second_hand=cut is None,
        )

    def _cut(self, record: FaceRecord, aligned_from_plate: Affine) -> FloatArray | None:
        if self._cutter is None:
            return None
        try:
            return self._cutter.cut(record, aligned_from_plate, self._size)
        except (NotFound, InvalidInput, Unsupported, DataCorrupt) as error:
            self.unreadable.setdefault(record.plate, error.message)
            return None


def _check_size(record: FaceRecord, image: Pixels) -> None:
    if image.shape[:2] != (record.aligned_size, record.aligned_size):
        raise DataCorrupt(f"The image {record.name} has another size than the faceset.", reason="FACE_DAMAGED")


def _check_wishes(faceset: Faceset, face_type: FaceType, size: int) -> None:
    if not MIN_SIZE_PX <= size <= MAX_SIZE_PX:
        raise InvalidInput(
            f"Aligned faces are {MIN_SIZE_PX} to {MAX_SIZE_PX} px, not {size}.", reason="BAD_SIZE", field="aligned_size"
        )
    if (face_type, size) == (faceset.face_type, faceset.aligned_size):
        raise InvalidInput(
            f"{faceset.path} holds {face_type.value} faces of {size} px already; ask for another type or size.",
            reason="NOTHING_TO_CHANGE",
            path=faceset.path,
        )


def _second_hand_notice(derived: Derived, unreadable: dict[str, str], *, is_coarser: bool) -> Notice:
    text = f"{derived.second_hand} of {derived.faces} faces were cut from the aligned images, not from the plate"
    if is_coarser:
        text += "."
    else:
        text += "; they are no sharper than those, and what they did not show repeats their edge."
    if unreadable:
        text += f" {next(iter(unreadable.values()))}"
    return Notice(
        message=text,
        reason="CUT_FROM_ALIGNED",
        severity="info" if is_coarser else "warning",
        details={"plates": ", ".join(sorted(unreadable))} if unreadable else {},
    )
