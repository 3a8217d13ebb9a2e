"""A trained segmentation model, ready to use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dflcore.errors import InvalidInput, NotFound
from dflcore.models.checkpoint import SEGMENT_KIND, Generation, ModelFolder, load_weights
from dflcore.models.device import resolve_autocast, resolve_device
from dflcore.models.segment_presets import build_segment_network
from dflcore.progress import Notice
from dflcore.types import FaceType, FloatArray

CERTAIN = 0.1
"""Values below are no face at all."""


class NetworkSegmenter:
    """A network as a segmenter.

    Args:
        network: logits from faces, see :mod:`dflcore.models.segment_presets`; taken over: moved and set to evaluation.
        size, face_type: what it reads.
        digest: see :class:`dflcore.segment.base.Segmenter`.
        device: torch device, or ``auto``.
        precision: as in the training settings.
    """

    def __init__(
        self,
        network: nn.Module,
        size: int,
        face_type: FaceType,
        digest: str,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.size, self.face_type, self.digest = size, face_type, digest
        self._device = resolve_device(device)
        self._autocast = resolve_autocast(precision, self._device)
        self._network = network.to(self._device).eval()
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def segment(self, faces: NDArray[np.uint8]) -> FloatArray:
        """Masks of faces; soft, values below 0.1 are 0.

        Args:
            faces: (N, S, S, 3) uint8 sRGB RGB, S = :attr:`size`.

        Returns:
            (N, S, S) in [0, 1], 1 is face.

        Raises:
            InvalidInput: another shape.
        """
        if faces.ndim != 4 or faces.shape[1:] != (self.size, self.size, 3):
            raise InvalidInput(
                f"The segmenter reads faces (N, {self.size}, {self.size}, 3), not {faces.shape}.",
                reason="BAD_FACE_SHAPE",
            )
        if not len(faces):
            return np.zeros((0, self.size, self.size), np.float32)
        batch = torch.from_numpy(np.ascontiguousarray(faces)).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        with torch.autocast(self._device.type, dtype=self._autocast, enabled=self._autocast is not None):
            logits = self._network(batch.contiguous(memory_format=torch.channels_last))
        masks = logits.float().sigmoid()[:, 0]
        return np.asarray(torch.where(masks < CERTAIN, 0.0, masks).cpu().numpy(), dtype=np.float32)


def open_segmenter(
    path: Path, *, device: str = "auto", precision: str = "auto"
) -> tuple[NetworkSegmenter, list[Notice]]:
    """The newest whole generation of a segmentation model, and notices about damaged ones passed over.

    Raises:
        NotFound: there is no model, or it has not been trained on masks.
        InvalidInput: it is a face model.
        DataCorrupt: it is damaged beyond its generations.
        Unsupported: no such device.
    """
    folder = ModelFolder.open(path)
    folder.require_kind(SEGMENT_KIND)
    generation, notices = folder.load(with_training=False)
    if generation is None or generation.state.get("pretrain"):
        done = "only been pretrained" if generation else "never been saved"
        raise NotFound(
            f"The segmentation model {path} has {done}; train it on labelled faces first.",
            reason="MODEL_NOT_TRAINED",
            path=path,
        )
    network = build_segment_network(folder.description)
    load_weights(network, generation, folder.path)
    segmenter = NetworkSegmenter(
        network,
        folder.description.resolution,
        folder.description.face_type,
        _digest(folder, generation),
        device=device,
        precision=precision,
    )
    return segmenter, notices


def _digest(folder: ModelFolder, generation: Generation) -> str:
    return f"{folder.description.preset} {generation.weights_sha256[:16]}"
