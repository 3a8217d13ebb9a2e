"""Who is where in a frame: each person's visible share of the matte, and the plain layers that carry it.

Convention:
    A person's coverage is what of their matte is seen: faces in front take away what they hide. The coverages of all
    people sum to the delivered matte. :mod:`dflcore.merge.cryptomatte` ranks the same coverages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from dflcore.io.plate import Window
from dflcore.merge.composite import FaceLayers, around, inside, intersect
from dflcore.types import FloatArray

LAYER_PREFIX = "id_"
ANYBODY = "face"
"""Name of a face that nobody named."""
Coverages = dict[str, tuple[Window, FloatArray]]
"""Person → window, and (h, w) float32 in [0, 1] over it."""


def measure_coverages(faces: FaceLayers) -> Coverages:
    """Every person's coverage, rearmost first, over windows inside the faces' own.

    What is shared out is ``faces.matte`` as it is, rounding for a file included; several faces of one person count
    together.
    """
    parts = faces.parts()
    if len(parts) == 1:
        return {parts[0].person or ANYBODY: (faces.window, faces.matte)}
    total = np.zeros_like(faces.matte)
    for part in parts:
        total[inside(part.window, faces.window)] += part.matte
    factor = np.divide(faces.matte, total, out=np.zeros_like(total), where=total > 0)
    coverages: Coverages = {}
    for part in parts:
        own = (part.window, part.matte * factor[inside(part.window, faces.window)])
        person = part.person or ANYBODY
        coverages[person] = _together(coverages[person], own) if person in coverages else own
    return coverages


def crop_coverages(coverages: Coverages, window: Window) -> Coverages:
    """What of the coverages lies in a window; people who are not there are left out."""
    cropped: Coverages = {}
    for person, (own, coverage) in coverages.items():
        common = intersect(own, window)
        if common is not None:
            cropped[person] = (common, coverage[inside(common, own)])
    return cropped


def suffix_names(people: Iterable[str]) -> Mapping[str, str]:
    """Person → how a layer's name ends for them: lower-case letters, digits and underscores; no two alike."""
    taken: dict[str, str] = {}
    for person in people:
        plain = re.sub(r"[^a-z0-9]+", "_", person.lower()).strip("_") or ANYBODY
        name, number = plain, 2
        while name in taken.values():
            name, number = f"{plain}_{number}", number + 1
        taken[person] = name
    return taken


def _together(one: tuple[Window, FloatArray], other: tuple[Window, FloatArray]) -> tuple[Window, FloatArray]:
    window = around([one[0], other[0]])
    total = np.zeros((window.height, window.width), np.float32)
    for own, coverage in (one, other):
        total[inside(own, window)] += coverage
    return window, total
