"""Labels: polygons a person drew around a face and around what hides it, and the masks they stand for.

Convention:
    Points are (x, y) in aligned pixels of the faceset's size, origin at the top-left corner, centre of pixel column i
    at i + 0.5; they may lie outside the image. Masks are (S, S) float32, the covered share of each pixel: 1 is face.
    A polygon covers what its outline winds around, concave ones too. Excludes are taken out after all includes are in,
    whatever the order they were drawn in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.types import FloatArray

MAX_LABEL_POINTS = 20_000
"""Points of all polygons of one label; more is a mistake or an attack, not a drawing."""
MAX_COORDINATE_PX = 1e6
_MAX_JSON_BYTES = 4 << 20
_CHUNK_SEGMENTS = 1 << 20
"""Pieces of outline worked on at once, which bounds memory at some 100 MB."""


@dataclass(frozen=True, slots=True)
class Polygon:
    """One closed outline.

    Attributes:
        include: the inside is face; False: the inside hides the face (hand, microphone, glasses).
        points: three or more (x, y), see the conventions above.
    """

    include: bool
    points: tuple[tuple[float, float], ...]

    def scaled(self, factor: float) -> Polygon:
        """The same outline in an image ``factor`` times the size."""
        return Polygon(self.include, tuple((x * factor, y * factor) for x, y in self.points))


@dataclass(frozen=True, slots=True)
class Label:
    """All polygons of one face. Without polygons it says nothing, as if the face had no label."""

    polygons: tuple[Polygon, ...]

    def scaled(self, factor: float) -> Label:
        """The same label for an image ``factor`` times the size."""
        return Label(tuple(polygon.scaled(factor) for polygon in self.polygons))

    @property
    def has_includes(self) -> bool:
        return any(polygon.include for polygon in self.polygons)

    def to_json(self) -> str:
        """``{"polygons": [{"include": true, "points": [[x, y], ...]}]}``."""
        polygons = [{"include": one.include, "points": [list(point) for point in one.points]} for one in self.polygons]
        return json.dumps({"polygons": polygons}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Label:
        """Read what :meth:`to_json` wrote, or a client sent.

        Raises:
            InvalidInput: not such JSON, or a label :func:`check_label` refuses.
        """
        if len(text) > _MAX_JSON_BYTES:
            raise _bad(f"The label has {len(text)} characters of JSON; at most {_MAX_JSON_BYTES} are read.")
        try:
            read = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise _bad(f"The label is not JSON: {str(error)[:200]}.") from error
        label = label_from_values(read)
        check_label(label)
        return label


def label_from_values(read: Any) -> Label:
    """The label in values that JSON gave. Raises InvalidInput; what the numbers are is left to :func:`check_label`."""
    polygons = read.get("polygons") if isinstance(read, dict) else None
    if not isinstance(polygons, list):
        raise _bad('The label is not of the form {"polygons": [{"include": true, "points": [[x, y], ...]}]}.')
    result = []
    for position, polygon in enumerate(polygons):
        include = polygon.get("include") if isinstance(polygon, dict) else None
        if not isinstance(include, bool):
            raise _bad(f'Polygon {position} of the label does not say "include": true or false.')
        result.append(Polygon(include, points_from_values(polygon.get("points"), f"Polygon {position} of the label")))
    return Label(tuple(result))


def points_from_values(read: Any, what: str) -> tuple[tuple[float, float], ...]:
    """Points from a JSON list of [x, y]. Raises InvalidInput naming ``what`` has none."""
    if not isinstance(read, list) or len(read) > MAX_LABEL_POINTS:
        raise _bad(f"{what} has no list of at most {MAX_LABEL_POINTS} points.")
    points = []
    for point in read:
        if not isinstance(point, list) or len(point) != 2 or not all(type(value) in (int, float) for value in point):
            raise _bad(f"{what} has a point that is not [x, y]: {str(point)[:60]}.")
        try:
            points.append((float(point[0]), float(point[1])))
        except OverflowError as error:
            raise _bad(f"{what} has a point that is no position.") from error
    return tuple(points)


def check_label(label: Label) -> None:
    """Raises InvalidInput for fewer than three points in a polygon, too many in all, and numbers that are no place."""
    total = 0
    for position, polygon in enumerate(label.polygons):
        total += len(polygon.points)
        if len(polygon.points) < 3:
            raise _bad(f"Polygon {position} of the label has {len(polygon.points)} points; it needs three or more.")
        if total > MAX_LABEL_POINTS:
            raise _bad(f"The label has more than {MAX_LABEL_POINTS} points; draw it with fewer.")
        for x, y in polygon.points:
            if not (abs(x) <= MAX_COORDINATE_PX and abs(y) <= MAX_COORDINATE_PX):  # NaN fails as well
                raise _bad(f"Polygon {position} of the label has a point ({x}, {y}) that is no place in an image.")


def rasterize(label: Label, size: int, *, label_size: int, base: FloatArray | None = None) -> FloatArray:
    """The mask a label stands for.

    Overlapping includes do not add up (the greater coverage counts); then every exclude is taken out,
    ``min(mask, 1 - exclude)``.

    Args:
        size: side of the mask in pixels.
        label_size: side of the image the points refer to, the faceset's aligned size.
        base: (size, size) in [0, 1], what a label without includes takes its excludes from, usually the landmark
            hull; None: the whole square. A label with includes does not look at it.

    Returns:
        (size, size) float32 in [0, 1], the exact area covered of each pixel.

    Raises:
        InvalidInput: a label :func:`check_label` refuses, or a base of another size.
    """
    check_label(label)
    if base is not None and base.shape != (size, size):
        raise InvalidInput(f"The base mask is {base.shape}, not {(size, size)}.", reason="BAD_SHAPE")
    if label.has_includes:
        mask = np.zeros((size, size), np.float32)
    else:
        mask = np.ones((size, size), np.float32) if base is None else base.astype(np.float32)
    for polygon in label.polygons:
        if polygon.include:
            mask = np.maximum(mask, polygon_coverage(polygon.points, size, scale=size / label_size))
    for polygon in label.polygons:
        if not polygon.include:
            mask = np.minimum(mask, 1.0 - polygon_coverage(polygon.points, size, scale=size / label_size))
    return mask


def polygon_coverage(points: Sequence[tuple[float, float]], size: int, *, scale: float = 1.0) -> FloatArray:
    """The area of each pixel that a polygon covers.

    Every outline piece within one pixel adds the area to its right, signed by its direction; sums along the rows give
    the winding number's area. Exact for outlines that do not cross themselves, which then are covered where the
    winding is not zero.

    Args:
        points: (x, y) in pixels of an image 1 / ``scale`` times the size; parts outside are cut off.

    Returns:
        (size, size) float32 in [0, 1].
    """
    corners = np.asarray(points, dtype=np.float64).reshape(-1, 2) * scale
    edges = np.concatenate([corners, np.roll(corners, -1, axis=0)], axis=1)  # (N, 4) x0 y0 x1 y1
    edges = _clip_to_square(edges, float(size))
    area = np.zeros(size * (size + 2))
    pieces = np.abs(edges[:, 2:] - edges[:, :2]).sum(1) + 3.0
    chunk = np.floor(np.cumsum(pieces) / _CHUNK_SEGMENTS)
    for part in np.split(edges, np.flatnonzero(np.diff(chunk)) + 1) if len(edges) else []:
        area += _edge_areas(part, size)
    winding = np.cumsum(area.reshape(size, size + 2)[:, :size], axis=1)
    return np.clip(np.abs(winding), 0.0, 1.0).astype(np.float32)


def _clip_to_square(edges: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Edges cut at the top and bottom; what lies left or right of the square is pressed onto its side."""
    edges = edges[edges[:, 1] != edges[:, 3]]
    step = edges[:, 2:] - edges[:, :2]
    crossings = np.sort(np.stack([(0.0 - edges[:, 1]) / step[:, 1], (size - edges[:, 1]) / step[:, 1]]), axis=0)
    first, last = np.clip(crossings, 0.0, 1.0)
    start = edges[:, :2] + step * first[:, None]
    stop = edges[:, :2] + step * last[:, None]
    edges = np.concatenate([start, stop], axis=1)[last > first]
    for side in (0.0, size):
        is_crossing = (edges[:, 0] - side) * (edges[:, 2] - side) < 0.0
        cut = edges[is_crossing]
        share = (side - cut[:, 0]) / (cut[:, 2] - cut[:, 0])
        middle = np.stack([np.full(len(cut), side), cut[:, 1] + (cut[:, 3] - cut[:, 1]) * share], axis=1)
        halves = [np.concatenate([cut[:, :2], middle], axis=1), np.concatenate([middle, cut[:, 2:]], axis=1)]
        edges = np.concatenate([edges[~is_crossing], *halves])
    return np.clip(edges, 0.0, size)


def _edge_areas(edges: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(size * (size + 2),) signed area to the right of the edges: in their own pixel, and the rest in the next one."""
    count = len(edges)
    shares, owners = [np.zeros(count), np.ones(count)], [np.arange(count), np.arange(count)]
    for axis in (0, 1):
        start, stop = edges[:, axis], edges[:, axis + 2]
        first = np.floor(np.minimum(start, stop)) + 1.0
        lines = np.maximum(np.ceil(np.maximum(start, stop)) - first, 0.0).astype(np.int64)  # whole numbers between
        owner = np.repeat(np.arange(count), lines)
        position = np.arange(len(owner)) - np.repeat(np.cumsum(lines) - lines, lines)
        shares.append((first[owner] + position - start[owner]) / (stop - start)[owner])
        owners.append(owner)
    share, owner = np.concatenate(shares), np.concatenate(owners)
    order = np.lexsort((share, owner))
    share, owner = share[order], owner[order]
    is_piece = owner[1:] == owner[:-1]
    begin, end, owner = share[:-1][is_piece], share[1:][is_piece], owner[:-1][is_piece]
    step = edges[owner, 2:] - edges[owner, :2]
    middle = edges[owner, :2] + step * ((begin + end) / 2.0)[:, None]
    height = step[:, 1] * (end - begin)
    column = np.clip(np.floor(middle[:, 0]), 0, size).astype(np.int64)
    row = np.clip(np.floor(middle[:, 1]), 0, size - 1).astype(np.int64)
    rest = height * (middle[:, 0] - column)
    place = row * (size + 2) + column
    length = size * (size + 2)
    here = np.bincount(place, height - rest, length)
    return np.asarray(here + np.bincount(place + 1, rest, length), dtype=np.float64)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _bad(message: str) -> InvalidInput:
    return InvalidInput(message, reason="BAD_LABEL")
