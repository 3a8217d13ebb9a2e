"""Masks and labels from elsewhere into a faceset: labelme drawings, painted masks, mattes of the whole plate.

Files are matched to faces by name: ``shot_001001_0.png``'s label is ``shot_001001_0.json``, its mask
``shot_001001_0.*`` or ``shot_001001_0_mask.*``. Whatever cannot be used is left out, named in the result and summed up
in a notice; only when nothing at all could be used does an import fail. What is imported becomes a new version, so
earlier masks are not lost.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import torch

from dflcore.curate.mask_pixels import matte_channel, needed_bits, read_mask_image
from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.geometry import affine
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.faceset import Faceset
from dflcore.io.labelme import read_labelme
from dflcore.io.mask_recipe import resize_mask
from dflcore.io.masks import Bits, MaskStore, check_source
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Plate, PlateImage
from dflcore.io.sequence import STILL_SUFFIXES
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import Affine, FaceRecord, FloatArray

P = ParamSpec("P")
T = TypeVar("T")

_MASK_ENDING = "_mask"
_NAMED = 10
"""So many names are spelt out in a notice; the result has them all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file or frame that could not be used, and why."""

    path: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of every file.

    Attributes:
        imported: faces that have a new mask or label.
        without_face: files that belong to no face of the set.
        refused: files that cannot be used.
        resized: how many masks had another size than the faces.
        clipped: how many masks had values outside [0, 1].
        empty: labels without a shape; the face's label is left as it was.
        stopped: asked to stop before the last file.
    """

    imported: tuple[str, ...]
    without_face: tuple[str, ...]
    refused: tuple[Refusal, ...]
    resized: int = 0
    clipped: int = 0
    empty: tuple[str, ...] = ()
    stopped: StopRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatteImportResult:
    """What became of every frame with faces.

    Attributes:
        imported: faces that have a new mask.
        missing_frames: frames with faces of which there is no matte.
        refused: frames whose matte cannot be used.
        empty: faces the matte covers nothing of; they have a mask, all zero.
        stopped: asked to stop before the last frame.
    """

    imported: tuple[str, ...]
    missing_frames: FrameRange
    refused: tuple[Refusal, ...]
    empty: tuple[str, ...]
    stopped: StopRequest | None = None


def import_labels(
    faceset_path: Path, folder_or_file: Path, control: RunControl, *, exclude_names: Collection[str] = ()
) -> ImportResult:
    """Import labelme JSON files, one for each face.

    Args:
        exclude_names: labels of shapes that exclude, beside those :mod:`dflcore.io.labelme` knows.

    Raises:
        NotFound: no such faceset, folder or file, no JSON in the folder, or the one file's face is not in the set.
        InvalidInput: none of the files can be used, or the faceset cannot be written.
        Conflict, DataCorrupt, ResourceExhausted, Unsupported: as the faceset's and its masks' files say.
    """
    files, is_one = _files(folder_or_file, {".json"}, "labelme JSON files")
    tally = _Tally(control, faceset_path, "label files")
    unknown: list[str] = []
    empty: list[str] = []
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path, create=True) as store:
        for path, face in tally.each(files, FaceNames(faceset.names)):
            read = tally.attempt(path, read_labelme, path, faceset.aligned_size, exclude_names=exclude_names)
            if read is None:
                continue
            if not read.label.polygons:
                empty.append(str(path))
                continue
            unknown.extend(read.unknown_names)
            store.set_label(face, read.label, made_by=f"labelme {path.name}")
            tally.imported.append(face)
    tally.finish(is_one, is_fruitful=bool(empty))
    if empty:
        tally.notice("LABELS_EMPTY", f"{len(empty)} label files hold no shape and change nothing", empty)
    if unknown:
        names = sorted(set(unknown))
        message = f"{len(unknown)} shapes were taken as face, as their labels say neither include nor exclude"
        tally.notice("LABEL_NAMES_UNKNOWN", message, [repr(name) for name in names])
    return ImportResult(
        imported=tuple(tally.imported),
        without_face=tuple(tally.without_face),
        refused=tuple(tally.refused),
        empty=tuple(empty),
        stopped=tally.stopped,
    )


def import_masks(faceset_path: Path, folder: Path, source: str, control: RunControl) -> ImportResult:
    """Import mask images painted in any tool, one for each face: PNG, TIFF, JPEG or EXR of 8, 16 bits or float.

    The mask is the alpha where the image has one that is not the same everywhere, else its luma. Values are taken as
    they stand, without a transfer curve. Squares of another size than the faces' are resized.

    Args:
        folder: of the images, or one of them.
        source: name of the mask source they become, see :mod:`dflcore.io.masks`.

    Raises:
        As :func:`import_labels`.
    """
    check_source(source)
    files, is_one = _files(folder, STILL_SUFFIXES - {".dpx"}, "mask images")
    tally = _Tally(control, faceset_path, "mask images")
    resized: list[str] = []
    clipped: list[str] = []
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path, create=True) as store:
        size = faceset.aligned_size
        for path, face in tally.each(files, FaceNames(faceset.names)):
            read = tally.attempt(path, read_mask_image, path)
            if read is None:
                continue
            if read.mask.shape[0] != size:
                resized.append(str(path))
            if read.is_clipped:
                clipped.append(str(path))
            mask = resize_mask(read.mask, size)
            store.add_mask(face, source, mask, made_by=f"image {path.name}", bits=needed_bits(read.mask))
            tally.imported.append(face)
    tally.finish(is_one)
    if resized:
        tally.notice("MASKS_RESIZED", f"{len(resized)} masks of another size were resized to {size} px", resized)
    if clipped:
        tally.notice("MASKS_CLIPPED", f"{len(clipped)} masks had values outside 0 to 1, which were clipped", clipped)
    return ImportResult(
        imported=tuple(tally.imported),
        without_face=tuple(tally.without_face),
        refused=tuple(tally.refused),
        resized=len(resized),
        clipped=len(clipped),
        stopped=tally.stopped,
    )


def import_mattes(
    faceset_path: Path, matte: str, plate: str | None, source: str, control: RunControl, *, channel: str = "auto"
) -> MatteImportResult:
    """Import a matte of the whole plate: each frame is warped into the aligned space of each face it has.

    Args:
        matte: sequence pattern, folder or movie, frame numbers as the plate's. It has the plate's size, or is a proxy
            of the same shape. What lies outside its data window is 0.
        plate: the plate's name in the faceset; None where it has one plate only.
        source: name of the mask source it becomes.
        channel: a channel's name as in the file (``R``, ``roto.A``); ``auto`` is the alpha, without one the luma.

    Raises:
        NotFound: no such faceset, plate or matte.
        InvalidInput: several plates and none named, no frame in common, another shape than the plate, no such channel,
            or no frame that can be used.
        Conflict, DataCorrupt, ResourceExhausted, Unsupported: as the files say.
    """
    check_source(source)
    tally = _Tally(control, faceset_path, "matte frames")
    empty: list[str] = []
    is_full = channel == "auto"
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path, create=True) as store:
        faces = faceset.records_by_frame(plate_of(faceset, plate))
        mattes = open_plate(matte, color_space="Raw")  # values are coverage, whatever the header says
        try:
            there, missing = _common_frames(faces, mattes)
            for done, frame in enumerate(there):
                if tally.is_stopping():
                    break
                place = f"{matte}, frame {frame}"
                warped = tally.attempt(place, _warp_matte, mattes, frame, faces[frame], channel)
                if warped is not None:
                    masks, bits, is_one = warped
                    is_full = is_full and is_one
                    store.add_masks(source, masks, made_by=f"matte {place}", bits=bits)
                    tally.imported.extend(name for name, _ in masks)
                    empty.extend(name for name, mask in masks if not mask.any())
                control.emit(FrameProgress(done=done + 1, total=len(there), frame=frame, faces=len(faces[frame])))
        finally:
            mattes.close()
    tally.finish(len(there) == 1)
    if missing:
        message = f"{len(missing)} frames with faces have no matte and are left as they were"
        tally.notice("FRAMES_MISSING", message, [str(missing)])
    if empty:
        tally.notice("MATTE_EMPTY", f"The matte covers nothing of {len(empty)} faces, their masks are empty", empty)
    if is_full and tally.imported:
        message = "The matte is 1 everywhere in every frame; if it is drawn in another channel, name that one"
        tally.notice("MATTE_FULL", message, [matte])
    return MatteImportResult(
        imported=tuple(tally.imported),
        missing_frames=missing,
        refused=tuple(tally.refused),
        empty=tuple(empty),
        stopped=tally.stopped,
    )


class FaceNames:
    """Finds the face a file belongs to. Composed and decomposed accents are the same name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_name: dict[str, str] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in names:
            self._by_name[_composed(name)] = name
            self._by_stem.setdefault(_composed(Path(name).stem), []).append(name)

    def find(self, path: Path) -> str | None:
        """The face's name, or None.

        Raises:
            InvalidInput: two faces differ in their suffix only, and the file does not say which it belongs to.
        """
        stem = _composed(path.stem)
        for key in (_composed(path.name), stem, stem.removesuffix(_MASK_ENDING)):
            if key in self._by_name:
                return self._by_name[key]
            faces = self._by_stem.get(key, [])
            if len(faces) > 1:
                raise InvalidInput(
                    f"{path.name} may belong to {' or '.join(faces)}; name it {faces[0]}{path.suffix} for the first.",
                    reason="FACE_AMBIGUOUS",
                    path=path,
                )
            if faces:
                return faces[0]
        return None


class _Tally:
    """Counts what became of each file of an import, and says so."""

    def __init__(self, control: RunControl, faceset_path: Path, what: str) -> None:
        self._control = control
        self._faceset_path = faceset_path
        self._what = what
        self._first_error: DflError | None = None
        self.imported: list[str] = []
        self.without_face: list[str] = []
        self.refused: list[Refusal] = []
        self.stopped: StopRequest | None = None

    def is_stopping(self) -> bool:
        self.stopped = self._control.stop_requested()
        return self.stopped is not None

    def each(self, files: Sequence[Path], names: FaceNames) -> Iterator[tuple[Path, str]]:
        """Files that belong to a face, with its name; the first of two that belong to the same."""
        seen: dict[str, Path] = {}
        for done, path in enumerate(files):
            if self.is_stopping():
                return
            face = self.attempt(path, names.find, path)
            if face is not None and face in seen:
                message = f"{path} is a second file for the face {face}; {seen[face].name} was taken."
                self._refuse(path, InvalidInput(message, reason="FILE_TWICE", path=path))
            elif face is not None:
                seen[face] = path
                yield path, face
            elif not self.refused or self.refused[-1].path != str(path):
                self.without_face.append(str(path))
            self._control.emit(FrameProgress(done=done + 1, total=len(files), path=str(path)))

    def attempt(self, path: object, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What a file holds; None and a refusal where it cannot be used."""
        try:
            return read(*args, **kwargs)
        except DflError as error:
            self._refuse(path, error)
            return None

    def _refuse(self, path: object, error: DflError) -> None:
        self._first_error = self._first_error or error
        self.refused.append(Refusal(str(path), error.message))

    def notice(self, reason: str, message: str, names: Sequence[str]) -> None:
        """A sentence and the first few names."""
        shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        path = str(self._faceset_path)
        self._control.emit(Notice(message=f"{message}: {shown}.", reason=reason, details={"path": path}))

    def finish(self, is_one: bool, *, is_fruitful: bool = False) -> None:
        """Sum up what was left out.

        Raises:
            DflError: the first refusal, if there was one file only.
            NotFound, InvalidInput: nothing could be used.
        """
        if not self.imported and not is_fruitful and self.stopped is None:
            if self._first_error is not None and (is_one or len(self.refused) == 1):
                raise self._first_error
            if self.refused:
                shown = " ".join(refusal.message for refusal in self.refused[:3])
                raise InvalidInput(
                    f"None of the {len(self.refused)} {self._what} can be used. {shown}",
                    reason="NOTHING_IMPORTED",
                    path=self._faceset_path,
                )
            if self.without_face:
                raise NotFound(
                    f"{self.without_face[0]} belongs to no face of {self._faceset_path}"
                    + ("" if is_one else f", nor do the other {len(self.without_face) - 1} {self._what}")
                    + ". Files are matched by the face's name.",
                    reason="FACE_NOT_FOUND",
                    path=self.without_face[0],
                )
        if self.without_face:
            message = f"{len(self.without_face)} {self._what} belong to no face of {self._faceset_path}"
            self.notice("FACE_NOT_FOUND", message, [Path(path).name for path in self.without_face])
        if self.refused:
            messages = [refusal.message.removesuffix(".") for refusal in self.refused]
            self.notice("FILES_REFUSED", f"{len(self.refused)} {self._what} could not be used", messages)


def _files(folder_or_file: Path, suffixes: Collection[str], what: str) -> tuple[list[Path], bool]:
    """Files of these kinds in a folder, sorted, or the one file; and whether it is one file that was named."""
    path = Path(folder_or_file)
    if path.is_file():
        return [path], True
    if not path.is_dir():
        raise NotFound(f"There is no file or folder {path}.", reason="PATH_NOT_FOUND", path=path)
    try:
        found = [one for one in path.iterdir() if one.suffix.lower() in suffixes and not one.name.startswith(".")]
    except PermissionError as error:
        raise InvalidInput(f"The folder {path} may not be read.", reason="NOT_READABLE", path=path) from error
    if not found:
        raise NotFound(f"The folder {path} holds no {what}.", reason="NOTHING_TO_IMPORT", path=path)
    return sorted(found), False


def plate_of(faceset: Faceset, plate: str | None) -> str:
    """The plate meant.

    Raises:
        NotFound: the faceset has no such plate.
        InvalidInput: it has several and none is named.
    """
    plates = faceset.info.plates
    names = ", ".join(plates) or "none"
    if plate is None and len(plates) == 1:
        return plates[0]
    if plate is None:
        raise InvalidInput(
            f"The faceset {faceset.path} has several plates; name one: {names}.", reason="PLATE_REQUIRED", field="plate"
        )
    if plate not in plates:
        raise NotFound(
            f"The faceset {faceset.path} has no plate {plate}; it has {names}.", reason="PLATE_NOT_FOUND", path=plate
        )
    return plate


def _common_frames(faces: Mapping[int, object], mattes: Plate) -> tuple[list[int], FrameRange]:
    """Frames with faces and a matte, and those with faces only."""
    with_matte = set(mattes.frames)
    there = sorted(frame for frame in faces if frame in with_matte)
    missing = FrameRange.of(frame for frame in faces if frame not in with_matte)
    if not there:
        raise InvalidInput(
            f"The matte {mattes.name} has frames {mattes.frames}, the faces are on {missing or 'none'}: no frame is "
            "in both.",
            reason="EMPTY_FRAME_RANGE",
            path=mattes.name,
        )
    return there, missing


def _warp_matte(
    mattes: Plate, frame: int, faces: Sequence[FaceRecord], channel: str
) -> tuple[list[tuple[str, FloatArray]], Bits, bool]:
    """The masks of one frame's faces, the bits they need, and whether the matte is 1 everywhere."""
    image = mattes.read(frame)
    pixels = matte_channel(image, channel)
    data, display = image.data_window, image.display_window
    tensor = torch.from_numpy(pixels)[None]
    masks = []
    for record in faces:
        aligned_from_matte = affine.compose(record.aligned_from_plate, _plate_from_matte(image, record))
        origin = (float(data.x - display.x), float(data.y - display.y))
        warped = warp_to_aligned(tensor, aligned_from_matte, record.aligned_size, origin=origin, padding="zeros")
        masks.append((record.name, np.clip(warped[0].numpy(), 0.0, 1.0)))
    return masks, 8 if image.pixels.dtype == np.uint8 else 16, bool((pixels == 1.0).all())


def _plate_from_matte(image: PlateImage, record: FaceRecord) -> Affine:
    """A scale, for mattes drawn on a proxy. Raises InvalidInput for one of another shape."""
    width, height = record.plate_size
    matte_width, matte_height = image.display_window.width, image.display_window.height
    x, y = width / matte_width, height / matte_height
    if abs(x - y) * min(matte_width, matte_height) > 1.0:  # more than rounding to whole pixels explains
        raise InvalidInput(
            f"The matte {image.source_path} is {matte_width}x{matte_height}, the plate {width}x{height}: another "
            "shape. Give a matte of the plate's size, or a proxy of its shape.",
            reason="MATTE_SIZE_DIFFERS",
            path=image.source_path,
            frame=image.frame,
        )
    return np.array([[x, 0.0, 0.0], [0.0, y, 0.0]])


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
