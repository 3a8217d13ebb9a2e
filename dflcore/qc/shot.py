"""Measure a merged shot: every frame once, beside its plate, in bounded memory.

Per frame: read plate and result → develop the plate as the merge did → compare bits outside the matte → cut out every
face → examine it. What needs a neighbour is kept as a few small pictures per face until the next frame has come.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.geometry import affine
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate, PlateImage, Window
from dflcore.merge.composite import inside, intersect, to_float
from dflcore.merge.light import PlateDeveloper, PlateLight
from dflcore.merge.stages import run_stages
from dflcore.progress import FrameProgress, RunControl, StopRequest
from dflcore.qc.confidence import Confidence
from dflcore.qc.delivery import LOSSY_COMPRESSIONS, DeliveredFrame, Delivery
from dflcore.qc.exactness import changed_pixels
from dflcore.qc.faces import FaceCutout, FaceExaminer, People, square_of, square_points, square_type, square_window
from dflcore.qc.steadiness import PAIRED, FaceTrace, compare_traces, oddness, oddness_and_jumps
from dflcore.types import FaceRecord, FaceType, FloatArray

WAITING_FRAMES: Final = 1
"""Frames that may wait between two stages; at most four are in memory."""
STAGE: Final = "measure"
_BRIGHTEST: Final = 4.0
"""Light above this is cut before a face is resampled, so that a sparkle is no halo; a display shows 1."""


@dataclass(slots=True, kw_only=True)
class MeasuredFace:
    """A face of a frame; ``label`` is the same over the shot."""

    label: str
    track: int | None
    name: str
    values: dict[str, float]
    note: str = ""


@dataclass(slots=True, kw_only=True)
class MeasuredFrame:
    """A frame of the range. ``error`` says why it could not be measured."""

    frame: int
    values: dict[str, float] = field(default_factory=dict)
    faces: list[MeasuredFace] = field(default_factory=list)
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Measurements:
    """A shot's raw figures.

    Attributes:
        color_space: scene-linear space of the result.
        has_lossy: some frame was written with a compression that loses bits.
        stopped: why it ended early; what was measured until then is of no use.
    """

    frames: list[MeasuredFrame] = field(default_factory=list)
    color_space: str = ""
    has_lossy: bool = False
    stopped: StopRequest | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Pair:
    """One frame on its way through the stages."""

    frame: int
    plate: PlateImage | None = None
    result: DeliveredFrame | None = None
    error: DflError | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShotMaterial:
    """A merged shot, opened.

    Attributes:
        plate: for frames that are there.
        records: faces by frame, of the target's faceset.
        frames: all that are asked for, those missing in the result too.
    """

    plate: Plate
    delivery: Delivery
    faceset: Faceset
    records: Mapping[int, Sequence[FaceRecord]]
    frames: FrameRange
    converter: ColorConverter


class ShotMeter:
    """Measures the frames of one shot.

    Args:
        people: whom each face is compared with, by label.
    """

    def __init__(self, material: ShotMaterial, examiner: FaceExaminer, *, people: Mapping[str, People]) -> None:
        self._material = material
        self._examiner = examiner
        self._people = people
        self._developer = PlateDeveloper(material.converter)
        self._square: FaceType = square_type(material.faceset)
        self._confidence = Confidence.of(material.records)
        self._there = set(material.delivery.frames)
        self._gap = smallest_gap(material.frames)
        self._last: dict[str, tuple[int, FaceTrace]] = {}
        self._pairs: dict[str, dict[str, dict[int, float]]] = {}
        self._found = Measurements()

    def measure(self, control: RunControl) -> Measurements:
        """All frames in order.

        Raises:
            InvalidInput: the plate has no colour, or its colour space cannot be converted.
            ResourceExhausted: memory ran out.
        """
        stop = threading.Event()
        total = len(self._material.frames)
        self._found.stopped = control.stop_requested()
        control.emit(FrameProgress(done=0, total=total, stage=STAGE))
        todo: Iterator[int] = iter(()) if self._found.stopped else iter(self._material.frames)
        for measured in run_stages(todo, (self._read, self._look), depth=WAITING_FRAMES, stop=stop):
            self._found.frames.append(measured)
            done, faces = len(self._found.frames), len(measured.faces)
            control.emit(FrameProgress(done=done, total=total, frame=measured.frame, faces=faces, stage=STAGE))
            self._found.stopped = self._found.stopped or control.stop_requested()
            if self._found.stopped:
                stop.set()
        if len(self._found.frames) == total:
            self._found.stopped = None
        self._add_steadiness()
        return self._found

    def _read(self, frame: int) -> _Pair:
        pair = _Pair(frame=frame)
        try:
            if frame not in self._there:
                raise NotFound(
                    f"{self._material.delivery.pattern.path(frame).name} is not there.", reason="FRAME_MISSING"
                )
            pair.result = self._material.delivery.read(frame)
            pair.plate = self._material.plate.read(frame)
        except (NotFound, DataCorrupt, InvalidInput) as error:
            pair.error = error
        return pair

    def _look(self, pair: _Pair) -> MeasuredFrame:
        measured = MeasuredFrame(frame=pair.frame)
        records = self._material.records.get(pair.frame, ())
        values = measured.values
        values["faces"] = float(len(records))
        values["missing"] = float(pair.error is not None and pair.error.reason in ("FRAME_MISSING", "NO_MATTE"))
        values["unreadable"] = float(pair.error is not None and not values["missing"])
        values["no_face"] = float(not records)
        if pair.error is not None or pair.plate is None or pair.result is None:
            measured.error = pair.error.message if pair.error is not None else ""
            return measured
        with torch.inference_mode():
            try:
                self._measure(measured, records, pair.plate, pair.result)
            except DataCorrupt as error:
                measured.error, values["unreadable"] = error.message, 1.0
        return measured

    def _measure(
        self, measured: MeasuredFrame, records: Sequence[FaceRecord], image: PlateImage, result: DeliveredFrame
    ) -> None:
        light, result = self._develop(image, result)
        self._found.color_space = light.color_space
        measured.values |= _frame_values(light.beauty, result)
        if result.compression in LOSSY_COMPRESSIONS:
            self._found.has_lossy = True
            measured.values.pop("outside_px")
        measured.values["stray_matte"] = float(not records and bool(result.matte.any()))
        for record in records:
            face = self._face(record, light, result)
            if face is not None:
                measured.faces.append(face)

    def _develop(self, image: PlateImage, result: DeliveredFrame) -> tuple[PlateLight, DeliveredFrame]:
        """The plate as the merge delivered it where there is no matte, and the result over all of it."""
        light = self._developer.develop(image, "half" if result.beauty.dtype == np.float16 else "float")
        result = self._material.delivery.over_plate(result, light)
        if light.data_window != result.window:
            raise DataCorrupt(
                f"The result covers {_words(result.window)}, its plate {_words(light.data_window)}.",
                reason="FRAME_SIZE_DIFFERS",
            )
        return light, result

    def _face(self, record: FaceRecord, light: PlateLight, result: DeliveredFrame) -> MeasuredFace | None:
        """None for a face wholly outside the data window."""
        label = face_label(record)
        display = light.image.display_window
        square_from_plate = square_of(record, self._square, display)
        window = intersect(square_window(square_from_plate), light.data_window)
        if window is None:
            return None
        rows, columns = inside(window, light.data_window)
        cutout = FaceCutout(
            plate=_limited(light.beauty[rows, columns, :3]),
            result=_limited(result.beauty[rows, columns, :3]),
            show=lambda linear: np.clip(self._material.converter.to_network(linear, light.color_space), 0.0, 1.0),
            matte=np.clip(np.nan_to_num(to_float(np.ascontiguousarray(result.matte[rows, columns]))), 0.0, 1.0),
            square_from_cutout=affine.compose(square_from_plate, affine.shift(window.x, window.y)),
            points=square_points(record, square_from_plate, display),
        )
        examined = self._examiner.examine(cutout, self._people.get(label, People()))
        values = {**examined.values, "confidence": self._confidence.of_face(record)}
        self._follow(label, record.frame, examined.trace)
        return MeasuredFace(label=label, track=record.track_id, name=record.name, values=values, note=examined.note)

    def _follow(self, label: str, frame: int, trace: FaceTrace | None) -> None:
        """Compare with the frame before, if that is the nearest that was asked for."""
        before = self._last.pop(label, None)
        if trace is None:
            return
        self._last[label] = (frame, trace)
        if before is not None and frame - before[0] == self._gap:
            for name, change in compare_traces(before[1], trace).items():
                self._pairs.setdefault(label, {}).setdefault(name, {})[before[0]] = change

    def _add_steadiness(self) -> None:
        """Flicker, boiling, jitter and jumps of the matte, now that neighbours are known."""
        frames = self._material.frames.frames
        for label in {face.label for one in self._found.frames for face in one.faces}:
            of_face = {one.frame: face for one in self._found.frames for face in one.faces if face.label == label}
            for name in PAIRED:
                stands_out = oddness_and_jumps if name == "flicker" else oddness
                for frame, value in stands_out(self._pairs.get(label, {}).get(name, {}), frames).items():
                    if frame in of_face:
                        of_face[frame].values[name] = value
            self._add_jumps(of_face)

    def _add_jumps(self, of_face: Mapping[int, MeasuredFace]) -> None:
        areas = {frame: face.values["matte_area"] for frame, face in of_face.items()}
        usual = float(np.median([area for area in areas.values() if area > 0.0] or [0.0]))
        for frame, area in areas.items():
            before = areas.get(frame - self._gap)
            if before is not None and usual > 0.0:
                of_face[frame].values["matte_jump"] = 100.0 * abs(area - before) / usual


def face_label(record: FaceRecord) -> str:
    """What a face is called in the report: its track's number, else its place by size."""
    return f"track {record.track_id}" if record.track_id is not None else f"face {record.face_index + 1}"


def smallest_gap(frames: FrameRange) -> int:
    """Step between neighbouring frames of a range; 1 for a single frame."""
    numbers = frames.frames
    return min((after - before for before, after in itertools.pairwise(numbers)), default=1)


def _frame_values(plate: NDArray[Any], result: DeliveredFrame) -> dict[str, float]:
    """Figures of a whole frame: bits outside the matte, numbers that are none, highlights in the matte."""
    matte = to_float(result.matte)
    changed = changed_pixels(plate, result.beauty)
    values = {"outside_px": 0.0, "not_finite_px": 0.0}
    part = _bounds(changed | (matte > 0.0))
    if part is None:
        return values
    values["outside_px"] = float(np.count_nonzero(changed[part] & (matte[part] == 0.0)))
    own, wanted = (to_float(np.ascontiguousarray(one[part])) for one in (result.beauty, plate))  # halves are slow
    own_finite, wanted_finite = _is_finite(own), _is_finite(wanted)
    values["not_finite_px"] = float(np.count_nonzero(wanted_finite & ~own_finite))
    is_face = (matte[part] > 0.0) & wanted_finite & own_finite
    if is_face.any():
        values["highlight"] = float(own[is_face][:, :3].max())
        values["highlight_plate"] = float(wanted[is_face][:, :3].max())
        values["highlight_ratio"] = max(values["highlight"], 1.0) / max(values["highlight_plate"], 1.0)
    return values


def _bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Smallest rows and columns that hold every true pixel; None without one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _limited(rgb: NDArray[Any]) -> FloatArray:
    """(h, w, 3) light that can be resampled: what is no number is black, highlights end well above what is shown."""
    finite = np.nan_to_num(to_float(np.ascontiguousarray(rgb)), nan=0.0, posinf=_BRIGHTEST, neginf=0.0)
    return np.clip(finite, -_BRIGHTEST, _BRIGHTEST)


def _is_finite(pixels: FloatArray) -> NDArray[np.bool_]:
    """(H, W) pixels whose three colours are numbers."""
    finite = np.isfinite(pixels)
    return np.asarray(finite[..., 0] & finite[..., 1] & finite[..., 2], dtype=np.bool_)


def _words(window: Window) -> str:
    return f"{window.width}x{window.height} px at {window.x}, {window.y}"
