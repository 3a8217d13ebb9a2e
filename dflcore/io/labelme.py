"""Labels as labelme JSON, the polygon format most annotation tools read and write.

Convention:
    labelme counts pixels from the top-left corner, as we do; points are scaled from its ``imageWidth`` to the faceset's
    aligned size. A file that does not say its image's size is taken to be of the faceset's.

A shape includes or excludes, the first of these that says so:
    1. its flag ``exclude`` or ``include`` being true;
    2. a ``!`` before its label: ``!hand``;
    3. one of its label's words being in :data:`EXCLUDE_NAMES`, else in :data:`INCLUDE_NAMES` (``left_hand``,
       ``mic 2``); capitals do not matter;
    4. any other label is an include, and its name is reported, so that no ``pipe`` counts as face unnoticed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.atomic import write_text
from dflcore.io.mask_labels import Label, Polygon, check_label, points_from_values

# fmt: off
EXCLUDE_NAMES = frozenset((
    "exclude", "excluded", "exclusion", "occluder", "occluders", "occlusion", "obstruction", "obstacle", "hand",
    "hands", "finger", "fingers", "arm", "mic", "mics", "microphone", "microphones", "glasses", "spectacles",
    "sunglasses", "eyeglasses", "cup", "bottle", "glass", "cigarette", "food", "phone", "prop", "props", "object",
    "background", "hole", "not_face", "notface",
))
# fmt: on
INCLUDE_NAMES = frozenset(("include", "included", "inclusion", "face", "faces", "skin", "head"))
MAX_FILE_BYTES = 64 << 20
"""labelme may embed the picture; a file beyond this is not read."""
_CIRCLE_CORNERS = 64


@dataclass(frozen=True, slots=True)
class LabelmeFile:
    """What a file said.

    Attributes:
        label: in aligned pixels of the size asked for.
        unknown_names: labels of shapes that were included by the module's rule 4.
    """

    label: Label
    unknown_names: tuple[str, ...]


def read_labelme(path: Path, size: int, *, exclude_names: Collection[str] = ()) -> LabelmeFile:
    """Read one labelme file.

    Args:
        size: the faceset's aligned size in pixels.
        exclude_names: labels that exclude, beside :data:`EXCLUDE_NAMES`.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a shape that has no area (line, point) or is not known, a picture that is not square, too many
            points, numbers that are no place, or JSON of something else; file and shape are named.
        DataCorrupt: not JSON, for instance cut short.
    """
    read = _load(path)
    shapes = read.get("shapes")
    if not isinstance(shapes, list):
        raise _bad(path, "it has no list of shapes; is it labelme JSON?")
    factor = _factor(path, read, size)
    excluding = EXCLUDE_NAMES | {name.casefold() for name in exclude_names}
    polygons: list[Polygon] = []
    unknown: list[str] = []
    for position, shape in enumerate(shapes):
        if not isinstance(shape, dict):
            raise _bad(path, f"shape {position} is not an object.")
        name = str(shape.get("label") or "")[:100]
        is_include = _is_include(shape, name, excluding)
        if is_include is None:
            unknown.append(name)
        points = _outline(path, shape, f"shape {position} ({name!r})")
        polygons.append(Polygon(is_include is not False, points).scaled(factor))
    label = Label(tuple(polygons))
    try:
        check_label(label)
    except InvalidInput as error:
        raise _bad(path, error.message) from error
    return LabelmeFile(label, tuple(dict.fromkeys(unknown)))


def write_labelme(path: Path, label: Label, *, image_name: str, size: int) -> None:
    """Write a label so that labelme opens it beside its image: includes are ``face``, excludes ``exclude``.

    Args:
        image_name: file name of the aligned image, relative to the file.
        size: aligned size in pixels.

    Raises:
        InvalidInput, ResourceExhausted: the file cannot be written.
    """
    shapes: list[dict[str, Any]] = [
        {
            "label": "face" if polygon.include else "exclude",
            "points": [list(point) for point in polygon.points],
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for polygon in label.polygons
    ]
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": size,
        "imageWidth": size,
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _bad(path, f"it has more than {MAX_FILE_BYTES >> 20} MB.")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", reason="LABEL_NOT_FOUND", path=path) from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", reason="NOT_READABLE", path=path) from error
    except UnicodeDecodeError as error:
        raise _corrupt(path, "it is not text") from error
    try:
        read = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _bad(path, "it is nested too deeply.") from error
    except _NotANumberError as error:
        raise _bad(path, f"it holds {error} where a number belongs.") from error
    except ValueError as error:
        raise _corrupt(path, str(error)[:200]) from error
    if not isinstance(read, dict):
        raise _bad(path, "it is JSON of something else than labels.")
    return read


def _factor(path: Path, read: dict[str, Any], size: int) -> float:
    """Aligned pixels per pixel of the labelled picture."""
    width, height = read.get("imageWidth"), read.get("imageHeight")
    if width is None and height is None:
        return 1.0
    if not all(isinstance(side, (int, float)) and 1 <= side <= 1e6 for side in (width, height)):
        raise _bad(path, "its imageWidth and imageHeight are no size of a picture.")
    if width != height:
        raise _bad(path, f"its picture is {width}x{height}; aligned faces are square.")
    return size / float(width or size)


def _is_include(shape: dict[str, Any], name: str, excluding: Collection[str]) -> bool | None:
    """None where nothing tells."""
    flags = shape.get("flags")
    if isinstance(flags, dict):
        if flags.get("exclude") is True:
            return False
        if flags.get("include") is True:
            return True
    plain = name.strip().casefold()
    if plain.startswith("!"):
        return False
    words = {plain, *re.split(r"[\s_\-.:\d]+", plain)}
    if words & set(excluding):
        return False
    return True if words & INCLUDE_NAMES else None


def _outline(path: Path, shape: dict[str, Any], what: str) -> tuple[tuple[float, float], ...]:
    kind = shape.get("shape_type", "polygon")
    try:
        points = points_from_values(shape.get("points"), what)
    except InvalidInput as error:
        raise _bad(path, error.message) from error
    if kind == "polygon":
        if len(points) < 3:
            raise _bad(path, f"{what} has {len(points)} points; a polygon needs three or more.")
        return points
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return ((left, top), (right, top), (right, bottom), (left, bottom))
    if kind == "rectangle" and len(points) == 4:
        return points
    if kind == "circle" and len(points) == 2:
        return _circle(*points)
    raise _bad(
        path,
        f"{what} is a {str(kind)[:40]!r} of {len(points)} points, from which no area is known; polygons, rectangles "
        "and circles are read.",
    )


def _circle(center: tuple[float, float], edge: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """A regular polygon of the circle's area."""
    step = 2.0 * math.pi / _CIRCLE_CORNERS
    radius = math.dist(center, edge) * math.sqrt(step / math.sin(step))
    angles = [index * step for index in range(_CIRCLE_CORNERS)]
    return tuple((center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle)) for angle in angles)


class _NotANumberError(Exception):
    """NaN or Infinity, which Python's reader would let pass."""


def _refuse_constant(name: str) -> float:
    raise _NotANumberError(name)


def _bad(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"The label file {path} cannot be used: {what}", reason="BAD_LABEL", path=path)


def _corrupt(path: Path, what: str) -> DataCorrupt:
    return DataCorrupt(f"The label file {path} is damaged: {what}.", reason="LABEL_DAMAGED", path=path)
