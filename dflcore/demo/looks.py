"""One frame of a finished demo through every mode, colour transfer and effect, and what light, ST maps and an enhancer
come to: pictures with labels, and figures.

The manual's pictures are made by it: ``python -m dflcore.demo looks --demo build/demo --output docs/images``, with
``--detail <model>`` for the enhancer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dflcore.demo.enhanced import write_enhancer
from dflcore.demo.highlight import write_highlight
from dflcore.demo.layout import DemoLayout
from dflcore.demo.one_frame import DemoFrame, Pixels, cell, rgb_of, square_around, write_sheet
from dflcore.demo.st_maps import write_st_maps

CELL_PX: Final = 300
COLUMNS: Final = 4
SHEETS: Final[Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]] = {
    "modes": [
        ("the plate", {"mode": "original"}),
        ("overlay", {}),
        ("seamless", {"mode": "seamless"}),
        ("histogram", {"mode": "histogram", "color_transfer": "none"}),
        ("seamless_histogram", {"mode": "seamless_histogram", "color_transfer": "none"}),
        ("overlay, no colour transfer", {"color_transfer": "none"}),
        ("seamless, no colour transfer", {"mode": "seamless", "color_transfer": "none"}),
        ("raw_rgb", {"mode": "raw_rgb"}),
    ],
    "color_transfers": [
        ("none", {"color_transfer": "none"}),
        ("rct", {"color_transfer": "rct"}),
        ("lct", {"color_transfer": "lct"}),
        ("mkl", {"color_transfer": "mkl"}),
        ("idt", {"color_transfer": "idt"}),
        ("sot", {"color_transfer": "sot"}),
        ("mix", {"color_transfer": "mix"}),
        ("rct, color_area square", {"color_transfer": "rct", "color_area": "square"}),
    ],
    "effects": [
        ("as painted", {}),
        ("sharpen 60", {"sharpen": 60.0}),
        ("sharpen -100", {"sharpen": -100.0}),
        ("denoise 200", {"denoise": 200.0}),
        ("degrade 60", {"degrade": 60.0}),
        ("color_degrade 100", {"color_degrade": 100.0}),
        ("grain 100", {"grain": 100.0}),
        ("motion_blur 100", {"motion_blur": 100.0}),
    ],
}
"""Sheet → what stands on a picture, and the settings that made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The manual's pictures, and what was measured while they were made, as sentences."""

    pictures: tuple[Path, ...]
    figures: tuple[str, ...]


def write_looks(layout: DemoLayout, output: Path, *, frame: int | None = None, detail: Path | None = None) -> Looks:
    """One JPEG per sheet of :data:`SHEETS`, one of a highlight, one of the ST maps, and one of an enhancer.

    Args:
        layout: of a finished demo.
        frame: of its target plate; None for the middle.
        detail: folder of a detail model trained on the demo's source; without it there is no picture of an enhancer.

    Raises:
        DflError: the demo is not finished, or a file cannot be written.
    """
    stage = DemoFrame.open(layout, frame)
    pictures = []
    for name, looks in SHEETS.items():
        cells = [cell(_picture(stage, settings), CELL_PX, label) for label, settings in looks]
        rows = [cells[first : first + COLUMNS] for first in range(0, len(cells), COLUMNS)]
        pictures.append(write_sheet(output / f"{name}.jpg", rows))
    pictures += [output / "highlight.jpg", output / "st_map.jpg"]
    figures = write_highlight(stage, pictures[-2]).lines()
    figures += write_st_maps(stage, pictures[-1]).lines()
    if detail is not None:
        pictures.append(output / "enhancer.jpg")
        figures += write_enhancer(stage, detail, pictures[-1]).lines()
    return Looks(pictures=tuple(pictures), figures=tuple(figures))


def _picture(stage: DemoFrame, settings: Mapping[str, Any]) -> Pixels:
    """The surroundings of the face, merged with these settings."""
    rgb = rgb_of(stage.merge(settings))
    rows, columns = square_around(stage.record, (rgb.shape[1], rgb.shape[0]))
    return stage.show(rgb[rows, columns], stage.read_plate().color_space)
