"""S3FD (Zhang et al. 2017, "S3FD: Single Shot Scale-invariant Face Detector"), the detector of the paper.

Source: the network of the package ``face-alignment`` 1.5.0 (BSD-3-Clause). Its decoding is not used: it walks over
candidates one by one and switches a global setting of torch. The boxes are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.detect.anchors import DEFAULT_MIN_SCORE, detections_of, load_network, network_input, pick_candidates
from dflcore.types import Detection
from dflcore.weights.store import WeightStore

_STEPS = (4, 8, 16, 32, 64, 128)
_ANCHOR_OVER_STEP = 4
_SAME_FACE_OVERLAP = 0.3
_EDGE_PX = 1.0
_LEAST_SIDE_PX = 32
"""The network halves the picture five times."""


class S3fdDetector:
    """Faces from about 16 pixels, in any number.

    Args:
        store: has ``s3fd``.
        device: torch device.
        min_score: least probability returned; 0 is the usual 0.5.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu", min_score: float = 0.0) -> None:
        self._device = torch.device(device)
        self._min_score = min_score if min_score > 0.0 else DEFAULT_MIN_SCORE
        self._network = load_network("s3fd", _create_network, store, self._device)
        if self._device.type == "cpu":
            # A fifth less time there, the same numbers. torch's own stubs do not know the argument.
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See :class:`dflcore.detect.base.Detector`."""
        return self.detect_batch(image[None])[0]

    @torch.inference_mode()
    def detect_batch(self, images: NDArray[np.uint8]) -> list[list[Detection]]:
        """See :class:`dflcore.detect.base.BatchDetector`."""
        if min(images.shape[1:3]) < _LEAST_SIDE_PX:
            return [[] for _ in images]
        answers = self._network(network_input(images, self._device))  # per step: (B, 2, h, w), (B, 4, h, w)
        candidates = [
            pick_candidates(
                classes.softmax(1)[:, 1, :, :, None],
                offsets.permute(0, 2, 3, 1)[:, :, :, None],
                step,
                (_ANCHOR_OVER_STEP * step,),
                self._min_score,
            )
            for step, classes, offsets in zip(_STEPS, answers[::2], answers[1::2], strict=True)
        ]
        return detections_of(candidates, len(images), overlap=_SAME_FACE_OVERLAP, edge=_EDGE_PX)


def _create_network() -> Any:
    from face_alignment.detection.sfd.net_s3fd import s3fd  # takes seconds, hence not at the top

    return s3fd()
