"""Delivered ST maps put to the test as a compositor would: pull the face out of the plate, put it back, compare.

What is read is the merged file. The operator here knows nothing of the product but the convention: as Nuke's STMap
node, s runs right and t runs **up**, 0 and 1 are the outer edges of the source's format, values are those of pixel
centres, the source is read bilinearly between its pixel centres. Pixel (x, y) has its centre at (x + 0.5, y + 0.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.demo.one_frame import DemoFrame, Layers, Pixels, cell, square_around, write_sheet
from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate
from dflcore.io.aligned_image import to_uint8
from dflcore.types import Affine

LIMIT_PX: Final = 0.05
"""What a map may be off, in plate pixels (the design's budget)."""
FORMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "half zip": {},
    "float zip": {"bit_depth": "float"},
    "half dwaa": {"compression": "dwaa"},
    "half dwab": {"compression": "dwab"},
    "float dwaa": {"bit_depth": "float", "compression": "dwaa"},
}
"""How a file is written → the settings that write it so."""
CHECKER_PX: Final = 8
DIFFERENCE_GAIN: Final = 4
_CELL_PX: Final = 300
_LAYERS: Final = "matte,st,st_inverse"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapErrors:
    """How far a frame's maps are off, in plate pixels, over the matte: (largest, median).

    Attributes:
        st: against the transform the face was cut with. st_inverse: against its inverse.
        round_trip: of a point that is pulled with ``st_inverse`` and put back with ``st``.
        pixels: of the matte that were judged.
    """

    st: tuple[float, float]
    st_inverse: tuple[float, float]
    round_trip: tuple[float, float]
    pixels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFigures:
    """Errors by form of the file, and of the checkerboard: mean absolute difference in 8-bit steps over the matte."""

    errors: Mapping[str, MapErrors]
    checker_steps: float

    def lines(self) -> list[str]:
        """The figures as text."""
        found = [
            f"ST maps, {form}: round trip {one.round_trip[0]:.5f} px at most, {one.round_trip[1]:.6f} px median; st "
            f"{one.st[0]:.5f} px, st_inverse {one.st_inverse[0]:.5f} px off the exact transform at most "
            f"({one.pixels} px of matte, limit {LIMIT_PX:g})"
            for form, one in self.errors.items()
        ]
        return [
            *found,
            f"ST maps: a checkerboard of {CHECKER_PX} px comes back within {self.checker_steps:.2f} of 255 on average",
        ]


def write_st_maps(stage: DemoFrame, path: Path) -> MapFigures:
    """The picture, a checkerboard on the face and what came back of it, and the errors of every form of file.

    Raises:
        DflError: the frame cannot be merged, or the picture cannot be written.
    """
    record = stage.record
    size = stage.swapper.resolution
    exact = model_from_plate(record, stage.swapper.face_type, size)
    errors, first = {}, None
    for form, settings in FORMS.items():
        layers = stage.merge({"layers": _LAYERS, **settings})
        first = layers if first is None else first
        errors[form] = measure_maps(layers, exact, size)
    assert first is not None
    image = stage.read_plate()
    plate = stage.show(image.rgb(), image.color_space)
    board = with_checkers(plate)
    st, st_inverse = map_of(first, "st"), map_of(first, "st_inverse")
    square = pull(board.astype(np.float32), st_inverse)
    back = pull(square, st)
    matte = np.asarray(first["matte.A"], np.float32) > 0.0
    difference = np.where(matte[..., None], np.abs(back - board), 0.0)
    steps = float(difference[matte].mean())
    rows, columns = square_around(record, (board.shape[1], board.shape[0]))
    worst = max(one.round_trip[0] for one in errors.values())
    median = max(one.round_trip[1] for one in errors.values())
    put_back = np.where(matte[..., None], to_bytes(back), plate)
    cells = [
        cell(board[rows, columns], _CELL_PX, "checkerboard on the plate", f"{CHECKER_PX} px squares"),
        cell(_square_cut(to_bytes(square)), _CELL_PX, "pulled by st_inverse", "the face's square, over the frame"),
        cell(put_back[rows, columns], _CELL_PX, "put back by st, in the matte", "bilinear both times"),
        cell(
            to_bytes(difference[rows, columns] * DIFFERENCE_GAIN),
            _CELL_PX,
            f"difference x {DIFFERENCE_GAIN} (bilinear's blur)",
            f"geometry: max {worst:.5f} px, median {median:.5f} px",
        ),
    ]
    write_sheet(path, [cells])
    return MapFigures(errors=errors, checker_steps=steps)


def measure_maps(layers: Layers, aligned_from_plate: Affine, size: int) -> MapErrors:
    """How far the maps of a file are off over its matte, in plate pixels.

    Args:
        layers: of a frame with one face whose data window is its display window, ``st_inverse`` stretched over it.
        aligned_from_plate: the exact transform into the face's square. size: of that square.
    """
    matte = np.asarray(layers["matte.A"], np.float32) > 0.0
    st, st_inverse = map_of(layers, "st"), map_of(layers, "st_inverse")
    height, width = matte.shape
    points = centers(width, height)
    scale = affine.scale_of(aligned_from_plate)
    told = _from_unit(st, size, size)
    wanted = affine.apply(aligned_from_plate, points.reshape(-1, 2)).reshape(points.shape)
    of_st = np.linalg.norm(told - wanted, axis=2)[matte] / scale
    stretched = points * np.array([size / width, size / height])
    exact = affine.apply(affine.invert(aligned_from_plate), stretched.reshape(-1, 2)).reshape(points.shape)
    read = _from_unit(st_inverse, width, height)
    seen = _from_unit(st, width, height).round().astype(int)[matte]  # where the matte lies in the stretched square
    columns, rows = np.clip(seen[:, 0], 0, width - 1), np.clip(seen[:, 1], 0, height - 1)
    of_inverse = np.linalg.norm(read - exact, axis=2)[rows, columns]
    returned = pull(pull(points, st_inverse), st)
    of_both = np.linalg.norm(returned - points, axis=2)[matte]
    return MapErrors(
        st=_summary(of_st), st_inverse=_summary(of_inverse), round_trip=_summary(of_both), pixels=int(matte.sum())
    )


def pull(source: NDArray[Any], st: NDArray[Any]) -> NDArray[Any]:
    """What an STMap node gives: for every pixel of the map, the source where the map points; bilinear, edge repeated.

    Args:
        source: (H, W, C) over its whole format. st: (h, w, 2), s and t.

    Returns:
        (h, w, C) float64.
    """
    height, width = source.shape[:2]
    place = _from_unit(st, width, height) - 0.5
    x, y = np.clip(place[..., 0], 0, width - 1), np.clip(place[..., 1], 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    u, v = (x - left)[..., None], (y - top)[..., None]
    upper = source[top, left] * (1 - u) + source[top, left + 1] * u
    lower = source[top + 1, left] * (1 - u) + source[top + 1, left + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)


def centers(width: int, height: int) -> NDArray[np.float64]:
    """(H, W, 2): the centre of every pixel, x and y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x + 0.5, y + 0.5], axis=2)


def map_of(layers: Layers, name: str) -> NDArray[Any]:
    """(H, W, 2) s and t of a layer, whatever case its channels have: DWA keeps small letters exact."""
    channels = {key.rpartition(".")[2].upper(): values for key, values in layers.items() if key.startswith(f"{name}.")}
    return np.stack([channels["R"], channels["G"]], axis=2)


def with_checkers(picture: Pixels) -> Pixels:
    """A picture under a checkerboard: every other square is darkened."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width] // CHECKER_PX
    return np.where(((x + y) % 2 == 0)[..., None], picture, picture // 4).astype(np.uint8)


def to_bytes(picture: NDArray[Any]) -> Pixels:
    """0 to 255 as numbers of any type → uint8, rounded and clipped."""
    return to_uint8(np.asarray(picture, np.float32) / np.float32(255.0))


def _from_unit(st: NDArray[Any], width: int, height: int) -> NDArray[np.float64]:
    """s and t → x and y in pixels, y down."""
    unit = st.astype(np.float64)
    return np.stack([unit[..., 0] * width, (1.0 - unit[..., 1]) * height], axis=2)


def _square_cut(stretched: Pixels) -> Pixels:
    """The square that is stretched over the frame, in its own shape."""
    height, width = stretched.shape[:2]
    columns = np.minimum((np.arange(height) + 0.5) * width / height, width - 1).astype(int)
    return np.ascontiguousarray(stretched[:, columns])


def _summary(errors: NDArray[np.float64]) -> tuple[float, float]:
    return float(errors.max()), float(np.median(errors))
