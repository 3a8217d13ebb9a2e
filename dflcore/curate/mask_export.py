"""Masks and labels of a faceset for other tools: images, labelme JSON, pictures for checking, mattes of the plate.

Names follow the faces': ``shot_001001_0.png`` gives ``shot_001001_0_mask.png``, ``shot_001001_0.json`` and
``shot_001001_0_debug.jpg``, which :mod:`dflcore.curate.mask_import` finds its way back from. Faces that differ in
their suffix only keep it: ``shot_001001_0.jpg_mask.png``. Files of the same name are replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.curate.mask_import import plate_of
from dflcore.curate.mask_pixels import needed_bits
from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.warp import plate_bounds, warp_to_plate
from dflcore.io.atomic import write_bytes
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.labelme import write_labelme
from dflcore.io.mask_recipe import MaskRecipe, face_hull
from dflcore.io.masks import MaskStore
from dflcore.io.plate import Window
from dflcore.io.sequence import SequencePattern
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import FaceRecord, FloatArray

_JPEG_QUALITY = 90
_HULL_COLOR = (0, 200, 80)
_HULL_OPACITY = 0.5
_POINT_COLOR = (255, 40, 40)
_SHIFT_BITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        written: files, in the order of the faces or frames.
        without: faces that have nothing to export.
        stopped: asked to stop before the last one.
    """

    written: tuple[str, ...]
    without: tuple[str, ...]
    stopped: StopRequest | None = None


def export_masks(faceset_path: Path, folder: Path, masks: str, control: RunControl) -> ExportResult:
    """Write each face's mask as a gray PNG of the faceset's size, 8 bits or, where that would lose something, 16.

    Args:
        folder: made when it is not there.
        masks: a recipe, see :mod:`dflcore.io.mask_recipe`; one source's name is one.

    Raises:
        InvalidInput: the recipe cannot be read, or the folder not be written.
        NotFound, Conflict, DataCorrupt, ResourceExhausted, Unsupported: as the faceset's and its masks' files say.
    """
    recipe = MaskRecipe.parse(masks)
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path) as store:

        def write(record: FaceRecord, stem: str) -> Path | None:
            mask = recipe.find(record.name, store, record, faceset.aligned_size)
            if mask is None:
                return None
            path = Path(folder) / f"{stem}_mask.png"
            write_bytes(path, _gray_png(mask))
            return path

        return _each_face(faceset, control, write, f"have no mask of {recipe}")


def export_labels(faceset_path: Path, folder: Path, control: RunControl) -> ExportResult:
    """Write each labelled face's polygons as labelme JSON. Raises as :func:`export_masks`.

    labelme looks for the aligned image beside the file; export into the faceset's own folder, or put the images there.
    """
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path) as store:
        labelled = set(store.labelled_faces())

        def write(record: FaceRecord, stem: str) -> Path | None:
            label = store.label(record.name) if record.name in labelled else None
            if label is None:
                return None
            path = Path(folder) / f"{stem}.json"
            write_labelme(path, label, image_name=record.name, size=faceset.aligned_size)
            return path

        return _each_face(faceset, control, write, "")  # faces without a label are the rule, no notice


def export_debug_pictures(
    faceset_path: Path, folder: Path, control: RunControl, *, masks: str = "hull"
) -> ExportResult:
    """Write each face with its landmarks and, half transparent, a mask, as JPEG. Raises as :func:`export_masks`."""
    recipe = MaskRecipe.parse(masks)
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path) as store:

        def write(record: FaceRecord, stem: str) -> Path | None:
            mask = recipe.find(record.name, store, record, faceset.aligned_size)
            if mask is None:
                return None
            picture = draw_debug(faceset.read_image(record.name), record, mask)
            path = Path(folder) / f"{stem}_debug.jpg"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            write_bytes(path, encoded.tobytes())
            return path

        return _each_face(faceset, control, write, f"have no mask of {recipe}")


def export_mattes(
    faceset_path: Path, pattern: str, plate: str | None, masks: str, control: RunControl, *, pixel_aspect: float = 1.0
) -> ExportResult:
    """Write the masks as mattes in plate space: half-float EXR, R, G, B and A alike, one for each frame with a face.

    Several faces of a frame unite. The data window holds the faces' squares, the display window is the plate.

    Args:
        pattern: ``folder/matte.####.exr``.
        plate: the plate's name in the faceset; None where it has one plate only.
        masks: a recipe, see :mod:`dflcore.io.mask_recipe`.
        pixel_aspect: the plate's, for the header.

    Raises:
        InvalidInput: as :func:`export_masks`, or no such pattern.
        NotFound, Conflict, DataCorrupt, ResourceExhausted, Unsupported: as :func:`export_masks`.
    """
    recipe = MaskRecipe.parse(masks)
    sequence = SequencePattern.parse(pattern)
    if sequence.is_single or sequence.suffix != ".exr":
        raise InvalidInput(
            f"{pattern!r} is no EXR sequence; write it like mattes/matte.####.exr.",
            reason="BAD_PATTERN",
            field="pattern",
        )
    written: list[str] = []
    without: list[str] = []
    stopped = None
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path) as store:
        frames = faceset.records_by_frame(plate_of(faceset, plate))
        for done, (frame, records) in enumerate(sorted(frames.items())):
            stopped = control.stop_requested()
            if stopped is not None:
                break
            found = []
            for record in records:
                mask = recipe.find(record.name, store, record, record.aligned_size)
                if mask is None:
                    without.append(record.name)
                else:
                    found.append((record, mask))
            if found:
                path = sequence.path(frame)
                _write_matte(path, found, pixel_aspect)
                written.append(str(path))
            control.emit(FrameProgress(done=done + 1, total=len(frames), frame=frame, faces=len(found)))
    _say_without(control, faceset_path, without, f"have no mask of {recipe}")
    return ExportResult(written=tuple(written), without=tuple(without), stopped=stopped)


def draw_debug(face: NDArray[np.uint8], record: FaceRecord, mask: FloatArray | None = None) -> NDArray[np.uint8]:
    """A face with its mask, green and half transparent, and its landmarks, red.

    Args:
        face: (S, S, 3) uint8 sRGB RGB.
        mask: (S, S) in [0, 1]; None for the landmark hull.

    Returns:
        A picture of its own, (S, S, 3) uint8 sRGB RGB.
    """
    size = face.shape[0]
    weight = (face_hull(record, size) if mask is None else mask)[..., None] * np.float32(_HULL_OPACITY)
    mixed = face * (1.0 - weight) + np.array(_HULL_COLOR, np.float32) * weight
    picture = np.ascontiguousarray(np.rint(mixed), dtype=np.uint8)
    scale = size / record.aligned_size
    points = affine.apply(record.aligned_from_plate * scale, record.landmarks.points)
    reach = 4.0 * size  # OpenCV's fixed point overflows far outside
    fixed = np.rint((np.clip(points, -reach, reach) - 0.5) * (1 << _SHIFT_BITS)).astype(int)
    radius = max(round(size / 170 * (1 << _SHIFT_BITS)), 1 << _SHIFT_BITS)
    for x, y in fixed.tolist():
        cv2.circle(picture, (x, y), radius, _POINT_COLOR, cv2.FILLED, cv2.LINE_AA, _SHIFT_BITS)
    return picture


def _each_face(
    faceset: Faceset, control: RunControl, write: Callable[[FaceRecord, str], Path | None], without_what: str
) -> ExportResult:
    written: list[str] = []
    without: list[str] = []
    stopped = None
    stems = _stems(faceset.names)
    for done, record in enumerate(faceset.records()):
        stopped = control.stop_requested()
        if stopped is not None:
            break
        path = write(record, stems[record.name])
        if path is None:
            without.append(record.name)
        else:
            written.append(str(path))
        control.emit(FrameProgress(done=done + 1, total=len(stems), frame=record.frame, path=str(path or "") or None))
    if without_what:
        _say_without(control, faceset.path, without, without_what)
    return ExportResult(written=tuple(written), without=tuple(without), stopped=stopped)


def _stems(names: Iterable[str]) -> dict[str, str]:
    """Face name → what its files begin with."""
    listed = list(names)
    shared = Counter(Path(name).stem for name in listed)
    return {name: Path(name).stem if shared[Path(name).stem] == 1 else name for name in listed}


def _say_without(control: RunControl, faceset_path: Path, faces: Sequence[str], what: str) -> None:
    if faces:
        shown = ", ".join(faces[:10]) + (f" and {len(faces) - 10} more" if len(faces) > 10 else "")
        message = f"{len(faces)} faces {what} and were left out: {shown}."
        control.emit(Notice(message=message, reason="MASK_NOT_FOUND", details={"path": str(faceset_path)}))


def _gray_png(mask: FloatArray) -> bytes:
    if needed_bits(mask) == 8:
        _, encoded = cv2.imencode(".png", np.rint(mask * 255.0).astype(np.uint8))
    else:
        _, encoded = cv2.imencode(".png", np.rint(mask.astype(np.float64) * 65535.0).astype(np.uint16))
    return encoded.tobytes()


def _write_matte(path: Path, masks: Sequence[tuple[FaceRecord, FloatArray]], pixel_aspect: float) -> None:
    width, height = masks[0][0].plate_size
    bounds = np.array([plate_bounds(record.aligned_from_plate, record.aligned_size) for record, _ in masks])
    left, top = np.clip(bounds[:, :2].min(0), 0, [width - 1, height - 1]).tolist()
    right, bottom = np.clip((bounds[:, :2] + bounds[:, 2:]).max(0), [left + 1, top + 1], [width, height]).tolist()
    window = Window(x=left, y=top, width=right - left, height=bottom - top)
    matte = np.zeros((window.height, window.width), np.float32)
    for record, mask in masks:
        tensor = torch.from_numpy(np.ascontiguousarray(mask))[None]
        warped = warp_to_plate(tensor, record.aligned_from_plate, (left, top, window.width, window.height))
        matte = np.maximum(matte, np.clip(warped[0].numpy(), 0.0, 1.0))
    pixels = np.repeat(matte[..., None], 4, axis=2)
    write_exr(
        path,
        layers=[ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=pixels)],
        data_window=window,
        display_window=Window(x=0, y=0, width=width, height=height),
        pixel_aspect=pixel_aspect,
    )
