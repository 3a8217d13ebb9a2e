"""The words of the filter language: every number and text known of a face, by one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate.expression import MEASURES
from dflcore.curate.sorts import identity_distance
from dflcore.curate.table import FaceTable
from dflcore.io.masks import MaskStore


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceField:
    """One word.

    Attributes:
        name: as filters write it.
        help, unit: as a person reads it.
        is_text: a text, not a number.
        needs_pixels: the faceset must have been measured.
        read: (n,) float64 with NaN, or texts with None, where not known.
    """

    name: str
    help: str
    read: Callable[[FaceTable], NDArray[Any]]
    unit: str = ""
    is_text: bool = False
    needs_pixels: bool = False


def fields() -> list[FaceField]:
    """All words of the filter language, for help texts and menus."""
    return list(FIELDS.values())


def _number(name: str, help_text: str, unit: str = "", *, column: str | None = None) -> FaceField:
    return FaceField(name=name, help=help_text, unit=unit, read=lambda table: table.column(column or name))


def _angle(name: str, help_text: str) -> FaceField:
    return FaceField(name=name, help=help_text, unit="deg", read=lambda table: np.degrees(table.column(name)))


def _word(name: str, help_text: str, *, column: str | None = None) -> FaceField:
    return FaceField(name=name, help=help_text, is_text=True, read=lambda table: table.text(column or name))


def _metric(name: str, help_text: str, unit: str = "") -> FaceField:
    return FaceField(name=name, help=help_text, unit=unit, needs_pixels=True, read=lambda table: table.metric(name))


def _expression(number: int) -> FaceField:
    measure = MEASURES[number]
    return FaceField(
        name=measure.name,
        help=f"{measure.title.capitalize()}, as a share of the width of the brows; left is the image's.",
        unit="template",
        read=lambda table: table.expressions[:, number].astype(np.float64),
    )


def _box_side(name: str, first: int) -> FaceField:
    return FaceField(
        name=name,
        help=f"The {name.partition('_')[2]} of the face in the plate.",
        unit="px",
        read=lambda table: table.boxes[:, first + 2] - table.boxes[:, first],
    )


def _labelled(table: FaceTable) -> NDArray[np.float64]:
    with MaskStore.open(Path(table.info.path)) as masks:
        labelled = set(masks.labelled_faces())
    return np.array([float(name in labelled) for name in table.names], dtype=np.float64)


_ALL: Final = (
    FaceField(
        name="name",
        help="File name of the face.",
        is_text=True,
        read=lambda table: np.array(table.names, dtype=object),
    ),
    _word("plate", "The plate, as it was named when it was extracted."),
    _number("frame", "Frame number on disk."),
    _number("face", "0 is the largest face of its frame.", column="face_index"),
    _number("track", "The person followed through a shot; not known for faces outside any.", column="track_id"),
    _word("origin", "detected, interpolated, manual or imported."),
    _word("detector", "What found the face."),
    _word("landmarker", "What placed its landmarks."),
    _word("original", "File name before the face came into this set.", column="original_name"),
    _angle("yaw", "Turn of the head; nose toward the left of the image is positive."),
    _angle("pitch", "Looking up is positive."),
    _angle("roll", "Tilt clockwise is positive."),
    FaceField(name="size", help="Area of the face in the plate.", unit="px²", read=lambda table: table.rect_size),
    _box_side("box_width", 0),
    _box_side("box_height", 1),
    _number("score", "The detector's own; higher is surer."),
    _number("sharpness", "Variance of the Laplacian when it was extracted; higher is sharper."),
    _number("spread", "How far repeated looks at the landmarks lie apart; lower is surer.", "template"),
    FaceField(
        name="likeness",
        help="Distance of the identity to that of the set's median person; lower is more alike.",
        read=identity_distance,
    ),
    FaceField(name="labelled", help="1 where polygons were drawn by hand, else 0.", read=_labelled),
    *(_expression(number) for number in range(len(MEASURES))),
    _metric("blur", "Share of edges that do not look blurred (CPBD), 0 to 1; higher is sharper."),
    _metric("motion_blur", "Variance of a large Laplacian; higher is less smeared."),
    _metric("brightness", "Mean value (HSV) of the picture, 0 to 255.", "of 255"),
    _metric("hue", "Mean hue (HSV) of the picture, 0 to 179.", "of 180"),
    _metric("black", "Colour values that are zero.", "values"),
)
FIELDS: Final[Mapping[str, FaceField]] = {field.name: field for field in _ALL}
