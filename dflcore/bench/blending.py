"""What seamless blending costs, beside OpenCV's in 8 bits: ``python -m dflcore.bench.blending --threads 2``.

A face is an oval that fills a square of the plate, as after putting back; its light differs from the plate's by a
gradient, its texture is noise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.bench.figures import Figure, median_seconds, print_figures
from dflcore.merge.poisson import solve_membrane
from dflcore.merge.seamless import blend_seamlessly
from dflcore.types import FloatArray

SIDES = (256, 324, 800)
_STAGE = "blending"


def bench_blending(sides: Sequence[int] = SIDES, *, repeats: int = 9, device: str = "cpu") -> list[Figure]:
    """Milliseconds of one face of each side, with torch's threads, and how far the membrane is from an accurate one."""
    return [figure for side in sides for figure in _bench_side(side, repeats, device)]


def _bench_side(side: int, repeats: int, device: str) -> list[Figure]:
    face, plate, region = make_pair(side)
    note = f"{side} px face, {int(region.sum())} px in the region, {device}, {torch.get_num_threads()} threads"
    seconds = median_seconds(lambda: blend_seamlessly(face, plate, region, device=device), repeats)
    inside = torch.from_numpy(region).to(device)
    border = torch.from_numpy(plate - face).permute(2, 0, 1).contiguous().to(device)
    error = (solve_membrane(inside, border) - solve_membrane(inside, border, tolerance=1e-6)).abs().amax()
    span = float(border[:, inside].amax() - border[:, inside].amin())
    source, under, mask = (_eight_bits(picture) for picture in (face, plate, region.astype(np.float32)))
    center = (side // 2, side // 2)
    theirs = median_seconds(lambda: cv2.seamlessClone(source, under, mask, center, cv2.NORMAL_CLONE), repeats)
    their_note = f"{side} px face, 8 bits, {cv2.getNumThreads()} threads"
    return [
        Figure(stage=_STAGE, name="blend", value=1e3 * seconds, unit="ms", note=note),
        Figure(stage=_STAGE, name="membrane's error", value=float(error) / span, unit="of the span", note=note),
        Figure(stage=_STAGE, name="OpenCV's clone", value=1e3 * theirs, unit="ms", note=their_note),
    ]


def make_pair(side: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Face and plate (side, side, 3) scene-linear, and the region, which keeps off the edge."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    texture = random.normal(1.0, 0.05, (2, side, side, 1)).astype(np.float32)
    tint = np.array([1.0, 0.75, 0.6], np.float32)
    face = 0.3 * texture[0] * (1.0 + 0.3 * np.sin(9.0 * y))[..., None] * tint
    plate = 0.2 * texture[1] * np.exp2(-3.0 * x)[..., None] * tint[::-1]
    return face.astype(np.float32), plate.astype(np.float32), (x / 0.42) ** 2 + (y / 0.48) ** 2 < 1.0


def _eight_bits(picture: FloatArray) -> NDArray[np.uint8]:
    return np.asarray(np.clip(255.0 * picture, 0.0, 255.0), np.uint8)


def main(arguments: list[str]) -> int:
    """Sides, threads and device from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, action="append", help="of a face, px; may be given several times")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    figures = bench_blending(given.side or SIDES, repeats=given.repeats, device=given.device)
    print_figures(figures, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
