"""How alike two faces look to a network's early layers: edges, texture, parts.

The formula is that of LPIPS without its learned weights (Zhang et al., "The unreasonable effectiveness of deep features
as a perceptual metric", CVPR 2018, eq. 1 with w = 1)::

    d(a, b) = mean over layers of mean over places of |f_a / |f_a| - f_b / |f_b||²

The network is the one that is embedded, dlib's face descriptor (:mod:`dflcore.identity.dlib_network`), cut off well
before its layers tell people apart. The paper (arXiv:2005.05535, §4.2) took a VGG network: its figures, and those of
LPIPS, are on another scale. Use this one to compare results with each other.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import Tensor

from dflcore.errors import InvalidInput
from dflcore.identity.dlib_file import CHIP_PX, read_face_network
from dflcore.identity.dlib_network import DlibFaceNetwork
from dflcore.types import FloatArray
from dflcore.weights.store import WeightStore

LAYERS: Final = ("stem", "blocks.2", "blocks.6")
"""First convolution, and the last blocks of 32 and of 64 channels."""
_SMALLEST_LENGTH: Final = 1e-10


class PerceptualMeter:
    """Distances of faces in the early layers of dlib's face network.

    Args:
        store: has ``dlib_identity``; None for the embedded weights.

    Raises:
        NotFound, DataCorrupt: as :class:`dflcore.identity.dlib_resnet.DlibResnetEncoder`.
    """

    def __init__(self, store: WeightStore | None = None) -> None:
        weights = read_face_network((store or WeightStore()).find("dlib_identity"))
        self._network = DlibFaceNetwork(weights)
        self._seen: dict[str, Tensor] = {}
        for name in LAYERS:
            self._network.get_submodule(name).register_forward_hook(self._keep(name))

    def distance(self, a: FloatArray, b: FloatArray) -> float:
        """0 for the same picture, 2 where no feature has anything in common.

        Args:
            a, b: (S, S, 3) RGB float32, sRGB-encoded, [0, 1]: aligned faces of one type and size.

        Raises:
            InvalidInput: shapes differ or are no squares.
        """
        if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3 or a.shape[0] != a.shape[1]:
            raise InvalidInput(
                f"Perceptual distance compares two square pictures of one size, not {a.shape} and {b.shape}.",
                reason="BAD_SHAPE",
            )
        layers = self._features(np.stack([_chip(a), _chip(b)]))
        return float(torch.stack([(one[0] - one[1]).square().sum(0).mean() for one in layers]).mean())

    @torch.inference_mode()
    def _features(self, chips: FloatArray) -> list[Tensor]:
        """Per layer (N, C, h, w), every place of unit length."""
        self._seen.clear()
        self._network(torch.from_numpy(chips).permute(0, 3, 1, 2) * 255.0)
        found = [self._seen[name].clamp(min=0.0) for name in LAYERS]
        return [one / one.norm(dim=1, keepdim=True).clamp(min=_SMALLEST_LENGTH) for one in found]

    def _keep(self, name: str) -> Any:
        def keep(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> None:
            self._seen[name] = output

        return keep


def _chip(picture: FloatArray) -> FloatArray:
    """(150, 150, 3): the size the network was made for."""
    method = cv2.INTER_AREA if picture.shape[0] > CHIP_PX else cv2.INTER_CUBIC
    resized = cv2.resize(np.asarray(picture, np.float32), (CHIP_PX, CHIP_PX), interpolation=method)
    return np.asarray(np.clip(resized, 0.0, 1.0), dtype=np.float32)
