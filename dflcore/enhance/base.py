"""Enhancers: what one is, which there are, and how large faces are handed to one piece by piece.

Convention:
    Faces are (N, S, S, 3) float32 RGB, sRGB-encoded, in [0, 1]. ``detail`` also takes and gives what lies beyond; any
    enhancer does through :func:`dflcore.enhance.mix.enhance_faces`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from dflcore.errors import InvalidInput
from dflcore.registry import Registry
from dflcore.types import FloatArray
from dflcore.weights.store import WeightStore


class Enhancer(Protocol):
    """Makes faces clearer, at the same size or a larger one."""

    @property
    def scale(self) -> int:
        """How many times larger the result's side is, 1 to 4."""

    @property
    def digest(self) -> str:
        """Equal digests enhance alike."""

    def enhance(self, faces: FloatArray) -> FloatArray:
        """(N, S, S, 3) → (N, S * scale, S * scale, 3), both float32 RGB, sRGB-encoded, in [0, 1]."""


class EnhancerFactory(Protocol):
    """Makes an enhancer from the weights in the store."""

    def __call__(self, store: WeightStore, *, device: str, argument: str) -> Enhancer:
        """``device`` is a torch device; ``argument`` what stood behind the colon of the name.

        Raises:
            NotFound: weights are missing.
            InvalidInput: an argument is missing, wrong or not wanted.
            Unsupported: a package is missing.
        """


ENHANCERS: Registry[EnhancerFactory] = Registry(
    "enhancer",
    "dflcore.enhancers",
    {
        "faceenhancer": "dflcore.enhance.face_enhancer:create_face_enhancer",
        "onnx": "dflcore.enhance.onnx_model:create_onnx_enhancer",
        "detail": "dflcore.enhance.detail:create_detail_enhancer",
        "torchscript": "dflcore.enhance.torchscript_model:create_torchscript_enhancer",
    },
)


def create_enhancer(name: str, store: WeightStore, *, device: str = "cpu") -> Enhancer:
    """An enhancer by registry name, with an argument behind a colon where it takes one.

    Args:
        name: ``faceenhancer``, ``detail:<folder of a detail model>``, ``onnx:<weights name or path>`` (see
            :mod:`dflcore.enhance.onnx_model`), ``torchscript:<weights name>``, or a registered one.

    Raises:
        NotFound: no such enhancer, or its weights are missing.
        InvalidInput: the argument is wrong.
        Unsupported: it cannot be loaded here.
    """
    registered, _, argument = name.partition(":")
    return ENHANCERS.load(registered)(store, device=device, argument=argument)


def file_digest(path: Path) -> str:
    """16 hex digits over a file of weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def check_faces(faces: FloatArray) -> None:
    """Raises InvalidInput for anything but (N, S, S, 3) floats."""
    if faces.ndim != 4 or faces.shape[1] != faces.shape[2] or faces.shape[3] != 3 or faces.dtype.kind != "f":
        raise InvalidInput(
            f"Enhancers take (N, S, S, 3) float faces, not {faces.shape} {faces.dtype}.", reason="BAD_IMAGE"
        )


def enhance_in_tiles(face: FloatArray, run: Callable[[FloatArray], FloatArray], tile: int, scale: int) -> FloatArray:
    """A network that takes squares of one size only, over a whole face.

    Source: deepfacelab fact sheet §5.11: half-overlapping tiles, the last one flush with the border, weighted by a
    triangular ramp. A face smaller than a tile is grown by repeating its edge, not by black, so its rim stays clean.

    Args:
        face: (S, S, 3) float32.
        run: (tile, tile, 3) → (tile * scale, tile * scale, 3).

    Returns:
        (S * scale, S * scale, 3) float32.
    """
    side = face.shape[0]
    missing = max(tile - side, 0)
    if missing:
        before = missing // 2
        face = np.pad(face, ((before, missing - before), (before, missing - before), (0, 0)), mode="edge")
        whole = run(face)
        return whole[before * scale : (before + side) * scale, before * scale : (before + side) * scale]
    starts = [*range(0, side - tile, max(tile // 2, 1)), side - tile]
    weight = _ramp(tile * scale)
    total = np.zeros((side * scale, side * scale, 3), np.float32)
    weights = np.zeros((side * scale, side * scale, 1), np.float32)
    for top in starts:
        for left in starts:
            part = run(face[top : top + tile, left : left + tile])
            area = (slice(top * scale, (top + tile) * scale), slice(left * scale, (left + tile) * scale))
            total[area] += part * weight
            weights[area] += weight
    return np.asarray(total / weights, dtype=np.float32)


def _ramp(side: int) -> FloatArray:
    """(side, side, 1): largest in the middle, never 0."""
    line = np.minimum(np.arange(side) + 1.0, side - np.arange(side)) / side
    return np.asarray((line[:, None] * line)[..., None], dtype=np.float32)
