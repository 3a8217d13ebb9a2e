"""RetinaFace (Deng et al. 2019, "RetinaFace: Single-stage Dense Face Localisation in the Wild") on a small MobileNet.

Source: layout and parameter names of biubug6/Pytorch_Retinaface (MIT), ``mobilenet0.25``, so that its weights load. The
package ``face-alignment`` 1.5.0 has the network too, but needs torchvision for one container, gives it red where it was
trained with blue, and cannot take several images at once.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.detect.anchors import DEFAULT_MIN_SCORE, detections_of, load_network, network_input, pick_candidates
from dflcore.types import Detection
from dflcore.weights.store import WeightStore

_STEPS = (8, 16, 32)
_ANCHOR_SIDES = ((16, 32), (64, 128), (256, 512))
"""Pixels, per step."""
_SAME_FACE_OVERLAP = 0.4
_LEAST_SIDE_PX = 32
_SLOPE = 0.1
"""Of the leaky ReLUs."""
_CHANNELS = 64
_ANCHORS = 2


class RetinaFaceDetector:
    """Fast on a CPU; faces from about 16 pixels.

    Args:
        store: has ``retinaface``.
        device: torch device.
        min_score: least probability returned; 0 is the usual 0.5.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu", min_score: float = 0.0) -> None:
        self._device = torch.device(device)
        self._min_score = min_score if min_score > 0.0 else DEFAULT_MIN_SCORE
        self._network = load_network("retinaface", RetinaFace, store, self._device)

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See :class:`dflcore.detect.base.Detector`."""
        return self.detect_batch(image[None])[0]

    @torch.inference_mode()
    def detect_batch(self, images: NDArray[np.uint8]) -> list[list[Detection]]:
        """See :class:`dflcore.detect.base.BatchDetector`."""
        if min(images.shape[1:3]) < _LEAST_SIDE_PX:
            return [[] for _ in images]
        answers = self._network(network_input(images, self._device))
        candidates = [
            pick_candidates(classes.softmax(-1)[..., 1], offsets, step, sides, self._min_score)
            for step, sides, (classes, offsets) in zip(_STEPS, _ANCHOR_SIDES, answers, strict=True)
        ]
        return detections_of(candidates, len(images), overlap=_SAME_FACE_OVERLAP, edge=0.0)


class RetinaFace(nn.Module):
    """(B, 3, H, W) BGR less means → for strides 8, 16, 32: classes (B, h, w, 2, 2) and offsets (B, h, w, 2, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"stage1": _stage1(), "stage2": _stage2(), "stage3": _stage3()})
        self.fpn = _Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = _Context(), _Context(), _Context()
        self.ClassHead = nn.ModuleList(_Head(2) for _ in _STEPS)
        self.BboxHead = nn.ModuleList(_Head(4) for _ in _STEPS)
        self.LandmarkHead = nn.ModuleList(_Head(10) for _ in _STEPS)  # its weights are in the file; not asked

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        stages = []
        for stage in self.body.values():
            x = stage(x)
            stages.append(x)
        levels = zip((self.ssh1, self.ssh2, self.ssh3), self.fpn(stages), strict=True)
        features = [context(level) for context, level in levels]
        heads = zip(self.ClassHead, self.BboxHead, features, strict=True)
        return [(classes(feature), offsets(feature)) for classes, offsets, feature in heads]


class _Pyramid(nn.Module):
    """Three levels of 64 channels, the coarse ones added to the fine ones."""

    def __init__(self) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (_conv(given, _CHANNELS, size=1) for given in (64, 128, 256))
        self.merge1, self.merge2 = _conv(_CHANNELS, _CHANNELS), _conv(_CHANNELS, _CHANNELS)

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = self.output1(stages[0]), self.output2(stages[1]), self.output3(stages[2])
        middle = self.merge2(middle + F.interpolate(coarse, size=middle.shape[2:], mode="nearest"))
        fine = self.merge1(fine + F.interpolate(middle, size=fine.shape[2:], mode="nearest"))
        return [fine, middle, coarse]


class _Context(nn.Module):
    """Answers seen through 3, 5 and 7 pixels, side by side."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = _CHANNELS // 2, _CHANNELS // 4
        self.conv3X3 = _conv(_CHANNELS, half, slope=None)
        self.conv5X5_1 = _conv(_CHANNELS, quarter)
        self.conv5X5_2 = _conv(quarter, quarter, slope=None)
        self.conv7X7_2 = _conv(quarter, quarter)
        self.conv7x7_3 = _conv(quarter, quarter, slope=None)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        wide = self.conv7x7_3(self.conv7X7_2(shared))
        return F.relu(torch.cat([self.conv3X3(x), self.conv5X5_2(shared), wide], 1))


class _Head(nn.Module):
    """``values`` numbers for each anchor: (B, 64, h, w) → (B, h, w, 2, values)."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Conv2d(_CHANNELS, _ANCHORS * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.conv1x1(x)
        channels_last = answers.permute(0, 2, 3, 1)
        return channels_last.reshape(*channels_last.shape[:3], _ANCHORS, -1)


def _conv(given: int, made: int, *, stride: int = 1, size: int = 3, slope: float | None = _SLOPE) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(given, made, size, stride, size // 2, bias=False), nn.BatchNorm2d(made)]
    if slope is not None:
        layers.append(nn.LeakyReLU(slope))
    return nn.Sequential(*layers)


def _separable(given: int, made: int, stride: int = 1) -> nn.Sequential:
    """A convolution per channel, then one per pixel (MobileNet)."""
    layers = [nn.Conv2d(given, given, 3, stride, 1, groups=given, bias=False), nn.BatchNorm2d(given)]
    mix = [nn.Conv2d(given, made, 1, bias=False), nn.BatchNorm2d(made)]
    return nn.Sequential(*layers, nn.LeakyReLU(_SLOPE), *mix, nn.LeakyReLU(_SLOPE))


def _stage1() -> nn.Sequential:
    plan = ((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
    return nn.Sequential(_conv(3, 8, stride=2), *(_separable(*step) for step in plan))


def _stage2() -> nn.Sequential:
    return nn.Sequential(_separable(64, 128, 2), *(_separable(128, 128) for _ in range(5)))


def _stage3() -> nn.Sequential:
    return nn.Sequential(_separable(128, 256, 2), _separable(256, 256))
