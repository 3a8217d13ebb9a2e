"""Pictures and likeness of a swap on anybody's footage: what ``make footage`` leaves to look at."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dflcore.color.ocio import ColorConverter
from dflcore.demo.measure import FaceMeter, as_bytes, frame_pairs, layer, shown
from dflcore.demo.pictures import spread_frames, write_before_after, write_contact_sheet
from dflcore.errors import InvalidInput
from dflcore.io.atomic import write_text
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.sequence import SequencePattern
from dflcore.qc.identity import measure_identity
from dflcore.types import FloatArray

MEASURED_FRAMES = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewLayout:
    """A finished swap, wherever its parts lie, and the folder its pictures go to.

    Attributes:
        target_plate: the plate that was merged: pattern or movie.
        result: pattern of the merged frames.
        source_faceset, target_faceset: of the two people.
        folder: of the pictures and ``review.json``.
    """

    target_plate: Path
    result: Path
    source_faceset: Path
    target_faceset: Path
    folder: Path

    @property
    def contact_sheet(self) -> Path:
        return self.folder / "contact_sheet.png"

    @property
    def before_after(self) -> Path:
        return self.folder / "before_after.mp4"

    @property
    def report(self) -> Path:
        return self.folder / "review.json"


def review_swap(layout: ReviewLayout) -> dict[str, float]:
    """Write the pictures and ``review.json``.

    Returns:
        Descriptor distances of the result to the source's and the target's typical face, median and worst, and of the
        two to each other.

    Raises:
        DflError: a part of the swap is not there or cannot be read, or the facesets hold no descriptors.
    """
    converter = ColorConverter()
    frames = SequencePattern.parse(str(layout.result)).frames_on_disk()
    plate = open_plate(str(layout.target_plate))
    rate = plate.rate or 24.0
    plate.close()
    write_contact_sheet(layout, converter)
    write_before_after(layout, converter, rate)
    meter = FaceMeter()
    results: list[FloatArray] = []
    for pair in frame_pairs(layout, spread_frames(frames, MEASURED_FRAMES)):
        image = as_bytes(shown(layer(pair.result, "")[..., :3], pair.result.color_space, converter))
        results += [meter.describe(image, meter.locate(image, record.box)) for record in pair.records[:1]]
    identity = measure_identity(results, _typical(layout.source_faceset), _typical(layout.target_faceset))
    figures = {**asdict(identity), "frames": float(len(frames)), "measured_frames": float(len(results))}
    write_text(layout.report, json.dumps(figures, indent=2) + "\n")
    return figures


def _typical(faceset: Path) -> FloatArray:
    """The median descriptor of a faceset, which no single odd face moves."""
    with Faceset.open(faceset) as opened:
        descriptors = [record.identity for record in opened.records() if record.identity is not None]
    if not descriptors:
        raise InvalidInput(
            f"The faceset {faceset} holds no identity descriptors; extract it again without --no-compute-identity.",
            reason="NO_IDENTITY",
            path=faceset,
        )
    return np.asarray(np.median(np.stack(descriptors), axis=0), dtype=np.float32)
