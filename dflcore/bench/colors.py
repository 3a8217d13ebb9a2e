"""What a colour match of one face costs, beside what the reference implementation takes for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.bench.figures import Figure, median_seconds
from dflcore.color.matching.methods import MAX_GAIN, METHODS, match

STAGE: Final = "colors"
SIZES: Final = (256, 512)
REPEATS: Final = 7
REFERENCE_MS: Final = {"rct": 7.9, "lct": 7.1, "mkl": 12.9, "hist": 8.7, "idt": 325.0, "mix": 677.0, "sot": 2825.0}
"""DeepFaceLab 46fc239's merger on one face of 256 px on two cores of an Intel Xeon with AVX-512: the masked variants of
rct, mkl, idt, sot and mix; lct and hist have none. Its IDT goes two thirds of the way."""
_REFERENCE_SIZE: Final = 256


def bench_colors(
    *, sizes: Sequence[int] = SIZES, names: Collection[str] | None = None, repeats: int = REPEATS
) -> list[Figure]:
    """Time of every method as merging uses it: measure a face and a plate inside a mask, then change the face.

    Args:
        sizes: sides of the face in pixels.
        names: methods; all by default.
        repeats: matches of which the median is taken.
    """
    figures: list[Figure] = []
    for size in sizes:
        face, reference, mask = _make_faces(size)
        for name in METHODS if names is None else names:
            work = partial(match, name, face, reference, mask, mask, max_gain=MAX_GAIN)
            seconds = median_seconds(work, repeats)
            note = f"one face of {size}x{size}, masked, CPU, {torch.get_num_threads()} threads"
            figures.append(Figure(stage=STAGE, name=name, value=1000.0 * seconds, unit="ms", note=note))
            if size == _REFERENCE_SIZE and name in REFERENCE_MS:
                figures.append(_compare(name, 1000.0 * seconds))
    return figures


def _compare(name: str, own_ms: float) -> Figure:
    return Figure(
        stage=STAGE,
        name=f"{name}, over the reference",
        value=REFERENCE_MS[name] / own_ms,
        unit="x",
        note=f"{REFERENCE_MS[name]:g} ms, measured elsewhere: DeepFaceLab on two cores",
    )


def _make_faces(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Face and reference (1, 3, R, R), sRGB-encoded with grain, and mask (1, 1, R, R): an oval with a soft edge."""
    generator = torch.Generator().manual_seed(0)
    faces = []
    for tint in ((1.0, 0.75, 0.65), (0.8, 0.7, 0.7)):
        coarse = torch.rand(1, 1, 7, 7, generator=generator) * torch.tensor(tint).view(1, 3, 1, 1)
        smooth = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
        faces.append(smooth + 0.02 * torch.randn(1, 3, size, size, generator=generator))
    places = torch.linspace(-1.0, 1.0, size)
    radius = ((places[:, None] / 0.9).square() + (places[None] / 0.7).square()).sqrt()
    return faces[0], faces[1], ((1.0 - radius) / 0.1).clamp(0.0, 1.0)[None, None]
