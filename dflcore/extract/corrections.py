"""What an artist says about the faces of a frame: here is one, its landmarks are these, that is none.

A correction is about a place in the plate, not about a number in a list, so it stays right when detection is run
again with other settings. As JSON::

    {"corrections": [
        {"frame": 1001, "box": [left, top, right, bottom]},
        {"frame": 1002, "landmarks": [[x, y], ... 68 points]},
        {"frame": 1003, "placement": {"nose": [x, y], "size": 180, "roll": -4.0}},
        {"frame": 1004, "box": [left, top, right, bottom], "remove": true}
    ]}

All numbers are plate pixels, origin at the top-left corner of the display window, and degrees, clockwise positive.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE, HEAD_MODEL
from dflcore.types import Box, FloatArray, Sighting

POINT_COUNT = 68
MAX_FILE_BYTES = 256 << 20
MAX_COORDINATE = 1e6
NOSE_TIP = 30
MIN_OVERLAP = 0.2
"""A correction is about the face it shares at least this much of its area with, else about a face nobody saw."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A face laid on by hand where no landmarker can see one.

    Attributes:
        nose: tip of the nose in plate pixels.
        size: side of the template's unit square in plate pixels, their height where they are not square: about the
            width of the brows.
        roll: radians, clockwise positive.
    """

    nose: tuple[float, float]
    size: float
    roll: float = 0.0

    def points(self, pixel_aspect: float = 1.0) -> FloatArray:
        """(68, 2) float32 landmarks of the mean face, seen from the front, in plate pixels.

        Args:
            pixel_aspect: width of a plate pixel in heights; ``size`` counts heights.
        """
        face = mean_face()
        turn = self.size * np.array([[math.cos(self.roll), -math.sin(self.roll)],
                                     [math.sin(self.roll), math.cos(self.roll)]])  # fmt: skip
        offsets = (face - face[NOSE_TIP]) @ turn.T / [pixel_aspect, 1.0]
        return np.asarray(offsets + np.asarray(self.nose), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One statement about one frame; exactly one of ``box``, ``points``, ``placement`` is given.

    Attributes:
        frame: frame number as on disk.
        box: a face is here; its landmarks are looked for in it.
        points: 68 landmarks in plate pixels.
        placement: the mean face, laid on.
        remove: what is there is no face.
    """

    frame: int
    box: Box | None = None
    points: tuple[tuple[float, float], ...] | None = None
    placement: Placement | None = None
    remove: bool = False

    def landmarks_in(self, pixel_aspect: float) -> FloatArray | None:
        """(68, 2) float32 in plate pixels of that aspect, None where they are still to be looked for."""
        if self.points is not None:
            return np.asarray(self.points, dtype=np.float32)
        return None if self.placement is None else self.placement.points(pixel_aspect)

    @property
    def landmarks(self) -> FloatArray | None:
        """As :meth:`landmarks_in` square pixels."""
        return self.landmarks_in(1.0)

    @property
    def area(self) -> Box:
        """Where the face is, for comparison with what was seen."""
        points = self.landmarks
        if points is None:
            assert self.box is not None, "a correction names a place"
            return self.box
        return box_of_points(points)

    def values(self) -> dict[str, Any]:
        """As in the JSON file."""
        values: dict[str, Any] = {"frame": self.frame}
        if self.box is not None:
            values["box"] = [self.box.left, self.box.top, self.box.right, self.box.bottom]
        if self.points is not None:
            values["landmarks"] = [list(point) for point in self.points]
        if self.placement is not None:
            placed = self.placement
            values["placement"] = {"nose": list(placed.nose), "size": placed.size, "roll": math.degrees(placed.roll)}
        if self.remove:
            values["remove"] = True
        return values


def mean_face() -> NDArray[np.float64]:
    """(68, 2) landmarks of the mean head from the front, in template units.

    The points the alignment uses are the template's own; the others are the head model's, fitted to them.
    """
    indexes = list(ALIGNMENT_INDEXES)
    template_from_model = affine.estimate_similarity(HEAD_MODEL[indexes, :2], ALIGNMENT_TEMPLATE)
    points = affine.apply(template_from_model, HEAD_MODEL[:, :2])
    points[indexes] = ALIGNMENT_TEMPLATE
    return points


def box_of_points(points: FloatArray) -> Box:
    """What the landmarks span."""
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return Box(float(left), float(top), float(right), float(bottom))


def overlap(a: Box, b: Box) -> float:
    """Shared area over united area, 0 to 1."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(width, 0.0) * max(height, 0.0)
    united = a.width * a.height + b.width * b.height - shared
    return shared / united if united > 0 else 0.0


def corrected_by(correction: Correction, sightings: Iterable[Sighting]) -> Sighting | None:
    """The sighting a correction is about, None where nothing was seen there.

    Faces are compared by what their landmarks span, since detectors draw boxes of many sizes; a correction that is a
    box itself is compared with both and the better one counts.
    """
    best, best_overlap = None, MIN_OVERLAP
    for seen in sightings:
        shared = overlap(correction.area, box_of_points(seen.landmarks.points))
        if correction.box is not None:
            shared = max(shared, overlap(correction.box, seen.box))
        if shared >= best_overlap:
            best, best_overlap = seen, shared
    return best


def parse_corrections(values: object, *, where: str) -> list[Correction]:
    """Corrections from JSON values.

    Args:
        where: what to call their origin in messages.

    Raises:
        InvalidInput: names the entry and what is wrong with it.
    """
    entries = values.get("corrections") if isinstance(values, Mapping) else values
    if not isinstance(entries, list):
        raise InvalidInput(
            f'{where} holds no list of corrections; expected {{"corrections": [{{"frame": 1, "box": [...]}}, ...]}}.',
            reason="BAD_CORRECTION",
        )
    return [_parse_entry(entry, f"Correction {number} of {where}") for number, entry in enumerate(entries, start=1)]


def read_corrections(path: Path) -> list[Correction]:
    """Corrections from a JSON file. Raises NotFound, and InvalidInput as :func:`parse_corrections`."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput(f"{path} is too large to be a file of corrections.", reason="BAD_CORRECTION", path=path)
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", reason="FILE_NOT_FOUND", path=path) from error
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidInput(f"{path} is no JSON file: {error}.", reason="BAD_CORRECTION", path=path) from error
    return parse_corrections(values, where=str(path))


def _parse_entry(entry: object, where: str) -> Correction:
    if not isinstance(entry, Mapping):
        raise _bad(where, f"is {entry!r}, not an object")
    unknown = sorted(set(entry) - {"frame", "box", "landmarks", "placement", "remove"})
    if unknown:
        raise _bad(where, f"has unknown fields {', '.join(unknown)}")
    frame, remove = entry.get("frame"), entry.get("remove", False)
    if not isinstance(frame, int) or isinstance(frame, bool):
        raise _bad(where, f"needs a whole frame number, got {frame!r}")
    if not isinstance(remove, bool):
        raise _bad(where, "says remove with something else than true or false")
    places = [name for name in ("box", "landmarks", "placement") if entry.get(name) is not None]
    if len(places) != 1:
        raise _bad(where, "must give exactly one of box, landmarks and placement")
    box = points = placement = None
    if places == ["box"]:
        left, top, right, bottom = _numbers(entry["box"], 4, where, "box")
        if right <= left or bottom <= top:
            raise _bad(where, "has a box whose right or bottom is not beyond its left or top")
        box = Box(left, top, right, bottom)
    elif places == ["landmarks"]:
        rows = entry["landmarks"]
        if not isinstance(rows, list) or len(rows) != POINT_COUNT:
            raise _bad(where, f"needs {POINT_COUNT} landmarks")
        points = tuple((x, y) for x, y in (_numbers(row, 2, where, "landmarks") for row in rows))
    else:
        placement = _parse_placement(entry["placement"], where)
    return Correction(frame=frame, box=box, points=points, placement=placement, remove=remove)


def _parse_placement(entry: object, where: str) -> Placement:
    if not isinstance(entry, Mapping) or set(entry) - {"nose", "size", "roll"} or not {"nose", "size"} <= set(entry):
        raise _bad(where, 'needs a placement such as {"nose": [x, y], "size": 180, "roll": -4}')
    x, y = _numbers(entry["nose"], 2, where, "nose")
    size, roll = _numbers([entry["size"], entry.get("roll", 0.0)], 2, where, "size and roll")
    if size <= 0:
        raise _bad(where, "has a placement of no size")
    return Placement((x, y), size, math.radians(roll))


def _numbers(values: object, count: int, where: str, name: str) -> list[float]:
    is_list = isinstance(values, list) and len(values) == count
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)] if is_list else []  # type: ignore[attr-defined]
    if len(numbers) != count or not all(math.isfinite(v) and abs(v) <= MAX_COORDINATE for v in numbers):
        raise _bad(where, f"needs {count} finite numbers for {name}")
    return numbers


def _bad(where: str, text: str) -> InvalidInput:
    return InvalidInput(f"{where} {text}.", reason="BAD_CORRECTION", field="corrections")
