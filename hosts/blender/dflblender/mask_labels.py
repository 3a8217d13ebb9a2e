# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks drawn over an aligned face, as a label in labelme's JSON, which the daemon imports. No word of Blender's here.

Convention:
    Blender counts a mask's points from the bottom-left corner of a square picture in units of its side, y up; labelme
    counts pixels from the top-left corner, y down. A spline's segment from point i to i+1 is the cubic Bézier curve
    through i's right handle and i+1's left handle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from ._dflhost.errors import HostError

Point = tuple[float, float]
SEGMENT_POINTS = 12
"""Straight pieces a bent segment becomes: on a face of 512 px, off by less than half a pixel for a circle of four."""
_STRAIGHT = 1e-6


@dataclass(frozen=True)
class Spline:
    """One outline.

    Attributes:
        points: (left handle, point, right handle), each 0 to 1 from the bottom left.
    """

    points: tuple[tuple[Point, Point, Point], ...]


@dataclass(frozen=True)
class Layer:
    """A layer of a mask.

    Attributes:
        name: becomes the label: ``hand`` and the like exclude, see the manual's labels; any other includes.
        excludes: its blend mode subtracts, or it is inverted: exclude whatever the name says.
    """

    name: str
    excludes: bool
    splines: tuple[Spline, ...]


def outline(spline: Spline) -> list[Point]:
    """A closed curve as a polygon, from the bottom left, 0 to 1."""
    corners: list[Point] = []
    count = len(spline.points)
    for position, (_, start, right) in enumerate(spline.points):
        left, end, _ = spline.points[(position + 1) % count]
        corners.append(start)
        if _is_straight(start, right, left, end):
            continue
        for step in range(1, SEGMENT_POINTS):
            corners.append(_bezier(start, right, left, end, step / SEGMENT_POINTS))
    return corners


def label_text(layers: Sequence[Layer], image_name: str, size_px: int) -> str:
    """A mask as labelme JSON.

    Args:
        image_name: file of the aligned face; the faceset's face of that name gets the label.
        size_px: its side.

    Raises:
        HostError: nothing is drawn (reason ``MASK_EMPTY``).
    """
    shapes = []
    for layer in layers:
        for spline in layer.splines:
            if len(spline.points) < 3 and not _is_curved(spline):
                continue
            points = [[round(x * size_px, 3), round((1.0 - y) * size_px, 3)] for x, y in outline(spline)]
            shapes.append(
                {
                    "label": layer.name,
                    "points": points,
                    "group_id": None,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {"exclude": True} if layer.excludes else {},
                }
            )
    if not shapes:
        raise HostError(
            "The mask holds no closed shape: draw one with at least three points.",
            reason="MASK_EMPTY",
            category="INVALID_INPUT",
        )
    content: dict[str, object] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": size_px,
        "imageWidth": size_px,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_label(folder: str, layers: Sequence[Layer], image_name: str, size_px: int) -> str:
    """Write ``<folder>/<face>.json``; answers with its path. The file appears whole.

    Raises:
        HostError: nothing is drawn, or the folder cannot be written (reason ``NOT_WRITABLE``).
    """
    text = label_text(layers, image_name, size_px)
    path = os.path.join(folder, os.path.splitext(image_name)[0] + ".json")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(f"{path}.part", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{path}.part", path)
    except OSError as error:
        raise HostError(
            f"{path} cannot be written: {error.strerror}.",
            reason="NOT_WRITABLE",
            category="INVALID_INPUT",
            details={"path": path},
        ) from error
    return path


def _is_curved(spline: Spline) -> bool:
    """Two points make an area where a segment between them is bent."""
    return len(spline.points) == 2 and len(outline(spline)) > 2


def _is_straight(start: Point, right: Point, left: Point, end: Point) -> bool:
    """Both handles lie on the line between the points, or on the points."""
    return all(
        abs((end[0] - start[0]) * (handle[1] - start[1]) - (end[1] - start[1]) * (handle[0] - start[0])) < _STRAIGHT
        for handle in (right, left)
    )


def _bezier(start: Point, right: Point, left: Point, end: Point, at: float) -> Point:
    """Bernstein's form of the cubic."""
    rest = 1.0 - at
    weights = (rest**3, 3 * rest * rest * at, 3 * rest * at * at, at**3)
    corners = (start, right, left, end)
    return (
        sum(weight * corner[0] for weight, corner in zip(weights, corners, strict=True)),
        sum(weight * corner[1] for weight, corner in zip(weights, corners, strict=True)),
    )
