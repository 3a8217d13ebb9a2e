"""dlib's face recognition network in torch: 29 layers with residual blocks, equal to dlib's up to rounding.

It runs without the interpreter's lock, takes several faces at once and works on any device; dlib's own does neither.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dflcore.identity.dlib_file import BLOCKS, ConvWeights, FaceNetworkWeights

_SCALE = 1.0 / 256.0


class DlibFaceNetwork(nn.Module):
    """Descriptors of faces, for inference only.

    Args:
        weights: as :func:`dflcore.identity.dlib_file.read_face_network` gives them.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, weights: FaceNetworkWeights) -> None:
        super().__init__()
        self.stem = _Conv(weights.stem, stride=2)
        self.blocks = nn.ModuleList(
            _Block(first, second, halves=halves)
            for (first, second), (_, halves) in zip(weights.blocks, BLOCKS, strict=True)
        )
        self.register_buffer("mean", torch.from_numpy(weights.mean).view(1, 3, 1, 1))
        self.register_buffer("projection", torch.from_numpy(weights.projection))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, chips: Tensor) -> Tensor:
        """(N, 128) unit-free descriptors.

        Args:
            chips: (N, 3, 150, 150) float RGB, sRGB codes 0..255.
        """
        x = ((chips - self.mean) * _SCALE).contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu_(self.stem(x)), 3, 2)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3)) @ self.projection


class _Block(nn.Module):
    """Two convolutions whose outcome is added to their input, which a halving block shrinks first."""

    def __init__(self, first: ConvWeights, second: ConvWeights, *, halves: bool) -> None:
        super().__init__()
        self.first = _Conv(first, stride=2 if halves else 1)
        self.second = _Conv(second, stride=1)
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(F.relu_(self.first(x)))
        if not self.halves:
            return F.relu_(y.add_(x))
        x = F.avg_pool2d(x, 2)
        # What dlib adds may differ in channels and in size; the missing numbers are zeros at the far ends.
        taller, wider = x.shape[2] - y.shape[2], x.shape[3] - y.shape[3]
        if taller or wider:
            y = F.pad(y, (0, wider, 0, taller))
        y[:, : x.shape[1]] += x
        return F.relu_(y)


class _Conv(nn.Module):
    """Unlike torch's own layer, made without drawing random weights first; dlib pads convolutions of stride 1 only."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weights: ConvWeights, *, stride: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(weights.weight))
        self.register_buffer("bias", torch.from_numpy(weights.bias))
        self.stride = stride
        self.padding = self.weight.shape[2] // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
