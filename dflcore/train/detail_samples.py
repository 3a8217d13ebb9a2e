"""Faces for training a detail network: the sharpest of several facesets, and how a face model paints each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dflcore.models.checkpoint import load_model
from dflcore.models.face_model import SOURCE
from dflcore.progress import Notice
from dflcore.train.open_facesets import OpenFacesets
from dflcore.types import FaceType

FEWEST = 8
"""However small the share of the sharpest, at least so many faces are learnt from."""


class DetailSamples(OpenFacesets):
    """The faces to learn from. Use as a context manager, or close it.

    Args:
        paths: the facesets.
        sharpest: share of all faces, by the sharpness that was measured when they were extracted.

    Attributes:
        names: the samples, in the facesets' order.

    Raises:
        InvalidInput: no faceset was named, or there are no faces.
        NotFound, DataCorrupt, Unsupported: a faceset cannot be opened.
    """

    def __init__(self, paths: Sequence[Path], sharpest: float = 1.0) -> None:
        super().__init__(paths)
        with self._closed_on_error():
            self.names = self._choose(sharpest)
            if not self.names:
                raise self._no_faces()

    def _choose(self, sharpest: float) -> list[str]:
        found = [
            (record.sharpness * record.aligned_size, f"{number}/{record.name}")
            for number, faceset in enumerate(self._facesets)
            for record in faceset.records()
        ]
        wanted = max(round(len(found) * sharpest), min(FEWEST, len(found)))
        kept = {name for _, name in sorted(found, reverse=True)[:wanted]}
        return [name for _, name in found if name in kept]


class FacePainter:
    """A face model's painting of its own source person.

    Args:
        path: the model's folder.
        device: where it paints.

    Attributes:
        notices: damaged generations passed over.

    Raises:
        NotFound, InvalidInput, DataCorrupt: as :func:`dflcore.models.checkpoint.load_model`.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._model, folder, generation, notices = load_model(path, device)
        self._model.requires_grad_(False)
        self._device = device
        self.path = folder.path
        self.resolution = folder.description.resolution
        self.face_type = folder.description.face_type
        self.facts = {
            "path": str(folder.path),
            "model_id": folder.description.model_id,
            "iteration": generation.iteration,
            "weights_sha256": generation.weights_sha256,
        }
        self.notices: list[Notice] = notices

    def paint(self, face: Tensor) -> Tensor:
        """(3, R, R) sRGB-encoded in [0, 1] → (4, R, R) on the CPU: the painted face and its mask, both in [0, 1]."""
        with torch.inference_mode():
            painted = self._model.reconstruct({SOURCE: face[None].to(self._device)})[SOURCE]
            return torch.cat([painted.face, painted.mask], dim=1)[0].float().cpu()


class DetailDecoder:
    """One sample → what the pool holds. Used from the pool's loader thread only.

    Args:
        samples: open facesets.
        face_type: how much of the head is shown. resolution: side of the soft face. scale: of the sharp one.
        painter: paints each face as it is read.

    Attributes:
        stored_size: side of the sharp face. planes: 3 of the sharp face; with a painter, its four too, which fit into
            one plane where the sharp face is twice as large.
    """

    def __init__(
        self,
        samples: DetailSamples,
        face_type: FaceType,
        resolution: int,
        scale: int,
        painter: FacePainter | None = None,
    ) -> None:
        self._samples, self._face_type, self._painter = samples, face_type, painter
        self._resolution, self._scale = resolution, scale
        self.stored_size = resolution * scale
        self.planes = 3 if painter is None else 3 + 4 // scale**2

    def decode(self, name: str) -> Tensor:
        """(P, S, S) uint8 on the CPU: the sharp face, sRGB-encoded RGB, and what :func:`unpack` takes apart.

        Raises:
            NotFound, DataCorrupt: the face is gone or damaged.
        """
        sharp = _planes(self._samples.read(name, self._face_type, self.stored_size))
        if self._painter is None:
            return sharp
        side = self._painter.resolution
        seen = _planes(self._samples.read(name, self._face_type, side)).float() / 255.0
        painted = self._painter.paint(seen)
        if side != self._resolution:
            painted = F.interpolate(
                painted[None], size=self._resolution, mode="bicubic", align_corners=False, antialias=True
            )[0]
        levels = (painted.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
        return torch.cat([sharp, F.pixel_shuffle(levels, self._scale)])


def unpack(stored: Tensor, scale: int) -> tuple[Tensor, Tensor | None]:
    """Sharp faces (B, 3, S, S), and what a face model painted of them with its mask, (B, 4, S / scale, S / scale).

    Args:
        stored: (B, P, S, S) as the pool draws them; the second answer is None where nothing was painted.
    """
    if stored.shape[1] == 3:
        return stored, None
    return stored[:, :3], F.pixel_unshuffle(stored[:, 3:], scale)


def _planes(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()
