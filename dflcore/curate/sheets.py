"""Contact sheets: an order of faces as pages of small pictures with their names and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from dflcore.curate.drawing import BOLD, Color, Pixels, fill, paper, shorten_to, write_png, write_text_on
from dflcore.errors import DflError
from dflcore.io.faceset import Faceset

_PAPER: Final[Color] = (24, 24, 24)
_INK: Final[Color] = (226, 226, 226)
_FAINT: Final[Color] = (150, 150, 150)
_MISSING: Final[Color] = (70, 30, 30)
_MARGIN_PX: Final = 20
_GAP_PX: Final = 8
_CAPTION_PX: Final = 34
_HEADER_PX: Final = 44


def write_sheets(
    faceset: Faceset,
    names: Sequence[str],
    folder: Path,
    *,
    title: str,
    values: Mapping[str, float] | None = None,
    unit: str = "",
    columns: int = 10,
    rows: int = 6,
    cell_px: int = 160,
    max_pages: int | None = None,
) -> list[Path]:
    """Write ``sheet_001.png``, ``sheet_002.png``... with place, name and value under each face.

    Args:
        values: by name; faces without one get none.
        cell_px: side of a face on the sheet.
        max_pages: leave off the rest; None writes all.

    Returns:
        The pages written, in order. A face that cannot be read shows as an empty field that says so.

    Raises:
        InvalidInput, ResourceExhausted: the folder cannot be written.
    """
    per_page = columns * rows
    count = -(-len(names) // per_page)
    pages = []
    for page in range(count if max_pages is None else min(count, max_pages)):
        chosen = names[page * per_page : (page + 1) * per_page]
        heading = f"{title}   {len(names)} faces   page {page + 1} of {count}"
        sheet = _draw_page(faceset, chosen, page * per_page, heading, values or {}, unit, columns, cell_px)
        path = Path(folder) / f"sheet_{page + 1:03d}.png"
        write_png(path, sheet)
        pages.append(path)
    return pages


def _draw_page(
    faceset: Faceset,
    names: Sequence[str],
    first: int,
    heading: str,
    values: Mapping[str, float],
    unit: str,
    columns: int,
    cell_px: int,
) -> Pixels:
    rows = -(-len(names) // columns)
    step_x, step_y = cell_px + _GAP_PX, cell_px + _CAPTION_PX + _GAP_PX
    width = 2 * _MARGIN_PX + columns * step_x - _GAP_PX
    sheet = paper(width, _HEADER_PX + _MARGIN_PX + rows * step_y, _PAPER)
    write_text_on(sheet, (_MARGIN_PX, 30), heading, 18, _INK, weight=BOLD)
    for place, name in enumerate(names):
        left = _MARGIN_PX + place % columns * step_x
        top = _HEADER_PX + place // columns * step_y
        try:
            face = cv2.resize(faceset.read_image(name), (cell_px, cell_px), interpolation=cv2.INTER_AREA)
            sheet[top : top + cell_px, left : left + cell_px] = np.asarray(face)
        except DflError:
            fill(sheet, left, top, left + cell_px, top + cell_px, _MISSING)
            words = shorten_to("cannot be read", 13, cell_px)
            write_text_on(sheet, (left + cell_px // 2, top + cell_px // 2), words, 13, _INK, align="center")
        below = top + cell_px + 14
        label = f"{first + place + 1}"
        write_text_on(sheet, (left, below), label, 12, _INK, weight=BOLD)
        if name in values:
            value = f"{values[name]:.4g} {unit}".strip()
            room = cell_px - 8 * len(label) - 10
            write_text_on(sheet, (left + cell_px, below), shorten_to(value, 12, room), 12, _INK, align="right")
        write_text_on(sheet, (left, below + 14), shorten_to(name, 11, cell_px), 11, _FAINT)
    return sheet
