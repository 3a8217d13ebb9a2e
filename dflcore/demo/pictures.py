"""The pictures a person looks at after a demo: a contact sheet and a before/after movie."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.demo.layout import Delivery
from dflcore.demo.measure import FramePair, as_bytes, frame_pairs, layer, shown
from dflcore.demo.stage import SOURCE_CREDIT, TARGET_CREDIT, load_source_portrait, load_target_portrait
from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange
from dflcore.io.atomic import write_bytes
from dflcore.io.sequence import SequencePattern
from dflcore.io.video import write_movie

SHEET_ROWS = 5
CELL_WIDTH_PX = 480
LABEL_HEIGHT_PX = 26
COLUMNS = ("target plate", "raw face", "matte", "swap result")
_PAPER = 24
_INK = 225
Pixels = NDArray[np.uint8]


def write_contact_sheet(layout: Delivery, converter: ColorConverter, *, portraits: bool = False) -> Path:
    """A PNG with a row per frame: plate, raw face, matte and result; sRGB-encoded.

    Args:
        portraits: put the demo's two portraits on top.

    Raises:
        DflError: plate, result or faceset cannot be read, or the folder cannot be written.
    """
    rows = [_portrait_row()] if portraits else []
    frames = spread_frames(SequencePattern.parse(str(layout.result)).frames_on_disk(), SHEET_ROWS)
    for pair in frame_pairs(layout, frames):
        rows.append(_frame_row(pair, converter))
    sheet = np.concatenate(rows, axis=0)
    is_ok, data = cv2.imencode(".png", sheet[..., ::-1])
    if not is_ok:
        raise InvalidInput("The contact sheet cannot be encoded as PNG.", reason="NOT_WRITABLE")
    write_bytes(layout.contact_sheet, data.tobytes())
    return layout.contact_sheet


def write_before_after(
    layout: Delivery, converter: ColorConverter, rate: float | Fraction, *, and_back: bool = False
) -> Path:
    """An H.264 movie, plate left and result right.

    Args:
        and_back: append the frames in reverse, which holds them all in memory: for short shots.

    Raises:
        DflError: plate, result or faceset cannot be read, or the folder cannot be written.
    """
    frames = SequencePattern.parse(str(layout.result)).frames_on_disk()
    write_movie(layout.before_after, _side_by_side(layout, frames, converter, and_back), rate)
    return layout.before_after


def _side_by_side(layout: Delivery, frames: FrameRange, converter: ColorConverter, and_back: bool) -> Iterator[Pixels]:
    pictures: list[Pixels] = []
    for pair in frame_pairs(layout, frames):
        plate = as_bytes(shown(pair.plate.rgb(), pair.plate.color_space, converter))
        result = as_bytes(shown(layer(pair.result, "")[..., :3], pair.result.color_space, converter))
        picture = np.concatenate([_tagged(plate, f"plate {pair.frame}"), _tagged(result, "result")], axis=1)
        if and_back:
            pictures.append(picture)
        yield picture
    yield from reversed(pictures)


def spread_frames(frames: FrameRange, count: int) -> FrameRange:
    """At most ``count`` frames over the whole range, first and last among them."""
    numbers = list(frames)
    indices = np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)
    return FrameRange.of(numbers[index] for index in indices)


def _frame_row(pair: FramePair, converter: ColorConverter) -> Pixels:
    space = pair.result.color_space
    matte = np.repeat(np.asarray(layer(pair.result, "matte"), dtype=np.float32), 3, axis=2)
    pictures = (
        shown(pair.plate.rgb(), pair.plate.color_space, converter),
        shown(layer(pair.result, "raw"), space, converter),
        matte,
        shown(layer(pair.result, "")[..., :3], space, converter),
    )
    cells = [
        label_picture(as_bytes(picture), f"{title}  {pair.frame}")
        for title, picture in zip(COLUMNS, pictures, strict=True)
    ]
    return np.concatenate(cells, axis=1)


def _portrait_row() -> Pixels:
    """The two portraits in the middle of a row as wide as the others."""
    source = label_picture(as_bytes(load_source_portrait()), f"source: {SOURCE_CREDIT}")
    target = label_picture(as_bytes(load_target_portrait()), f"target: {TARGET_CREDIT}")
    height = max(source.shape[0], target.shape[0])
    row = np.full((height, CELL_WIDTH_PX * len(COLUMNS), 3), _PAPER, np.uint8)
    row[: source.shape[0], CELL_WIDTH_PX : 2 * CELL_WIDTH_PX] = source
    row[: target.shape[0], 2 * CELL_WIDTH_PX : 3 * CELL_WIDTH_PX] = target
    return row


def label_picture(picture: Pixels, label: str, width_px: int = CELL_WIDTH_PX) -> Pixels:
    """A picture at a sheet's column width, its label above."""
    height = round(picture.shape[0] * width_px / picture.shape[1])
    size = (width_px, height)
    scaled: NDArray[Any] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    head = np.full((LABEL_HEIGHT_PX, width_px, 3), _PAPER, np.uint8)
    _write(head, label, (8, 18), 0.45)
    return np.concatenate([head, np.asarray(scaled, dtype=np.uint8)], axis=0)


def _tagged(picture: Pixels, label: str) -> Pixels:
    """The picture with a small label in its corner."""
    tagged = picture.copy()
    tagged[-28:, : 14 + 11 * len(label)] //= 3
    _write(tagged, label, (8, picture.shape[0] - 9), 0.5)
    return tagged


def _write(picture: Pixels, text: str, at: tuple[int, int], scale: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (_INK, _INK, _INK), 1, cv2.LINE_AA)
