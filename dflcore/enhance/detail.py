"""A personal detail enhancer: ``detail:<model folder>``, trained on the person's own faces.

Each frame is made clear on its own and the same way every time, without random numbers, so nothing flickers that does
not flicker in what it is shown. Values outside [0, 1] pass: the network adds to the face, and sees it clipped.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dflcore.enhance.base import check_faces
from dflcore.errors import InvalidInput, ResourceExhausted
from dflcore.models.detail_presets import load_detail_model
from dflcore.models.device import resolve_device
from dflcore.progress import Notice
from dflcore.types import FaceType, FloatArray
from dflcore.weights.store import WeightStore

logger = logging.getLogger(__name__)


class DetailEnhancer:
    """A trained detail network; see :class:`dflcore.enhance.base.Enhancer`.

    Args:
        network: taken over: moved and set to evaluation.
        scale: how many times larger its result is.
        resolution, face_type: of the faces it learnt from; it takes others, whose detail it then misjudges.
        digest: equal digests make equal faces.
        device: torch device, or ``auto``; it computes in float32 on any.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        scale: int,
        resolution: int,
        face_type: FaceType,
        digest: str,
        device: str = "cpu",
    ) -> None:
        self.resolution, self.face_type, self.digest = resolution, face_type, digest
        self._scale = scale
        self._device = resolve_device(device)
        self._network = network.to(self._device).eval().requires_grad_(False)

    @property
    def scale(self) -> int:
        return self._scale

    @torch.inference_mode()
    def enhance(self, faces: FloatArray) -> FloatArray:
        """(N, S, S, 3) → (N, S * scale, S * scale, 3), float32 RGB, sRGB-encoded, any S, any range.

        Raises:
            InvalidInput: these are no faces.
            ResourceExhausted: the device has too little memory.
        """
        check_faces(faces)
        # one at a time: a face in a batch is the face alone, to the last digit
        made = [self._enhance_one(np.ascontiguousarray(face, dtype=np.float32)) for face in faces]
        side = faces.shape[1] * self._scale
        return np.stack(made) if made else np.zeros((0, side, side, 3), np.float32)

    def _enhance_one(self, face: FloatArray) -> FloatArray:
        planes = torch.from_numpy(face).to(self._device).permute(2, 0, 1)[None].contiguous()
        try:
            clearer = self._network(planes)
        except torch.OutOfMemoryError as error:
            raise ResourceExhausted(
                f"The device {self._device} has too little memory for a detail enhancer at {face.shape[0]} px; use "
                "the CPU, or a smaller face model.",
                reason="DEVICE_OUT_OF_MEMORY",
                device=self._device,
            ) from error
        return np.ascontiguousarray(clearer[0].permute(1, 2, 0).cpu().numpy())


def open_detail_enhancer(path: Path, *, device: str = "cpu") -> tuple[DetailEnhancer, list[Notice]]:
    """The newest whole generation of a detail model, and notices about damaged ones passed over.

    Raises:
        NotFound: there is no model, or it has never been saved.
        InvalidInput: it is a model of another kind.
        DataCorrupt: it is damaged beyond its generations.
        Unsupported: no such device.
    """
    network, folder, generation, notices = load_detail_model(path)
    description = folder.description
    enhancer = DetailEnhancer(
        network,
        scale=int(description.network["scale"]),
        resolution=description.resolution,
        face_type=description.face_type,
        digest=f"{description.preset} {generation.weights_sha256[:16]}",
        device=device,
    )
    return enhancer, notices


def create_detail_enhancer(store: WeightStore, *, device: str = "cpu", argument: str = "") -> DetailEnhancer:
    """The enhancer from its model's folder; the store is not asked.

    Raises:
        InvalidInput: no folder was named, or it is a model of another kind.
        NotFound, DataCorrupt, Unsupported: as :func:`open_detail_enhancer`.
    """
    if not argument:
        raise InvalidInput(
            "Say which model: detail:<folder of a detail model>, trained on the person's own faces.",
            reason="BAD_ARGUMENT",
        )
    enhancer, notices = open_detail_enhancer(Path(argument), device=device)
    for notice in notices:
        logger.warning("%s", notice.message)
    return enhancer
