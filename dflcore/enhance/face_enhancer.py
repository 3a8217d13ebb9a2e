"""The reference's face enhancer: a U-Net that returns faces four times as large.

Source: deepfacelab fact sheet §5.11 (layer table). Differs in how small faces are grown, see
:func:`dflcore.enhance.base.enhance_in_tiles`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dflcore.enhance.base import check_faces, enhance_in_tiles, file_digest
from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.types import FloatArray
from dflcore.weights.store import WeightStore

WEIGHTS_NAME: Final = "faceenhancer"
TILE_PX: Final = 192
PARAMETER_COUNT: Final = 33_111_401
_LEVELS: Final = (64, 112, 192, 336, 512)
_UP_LEVELS: Final = (512, 512, 288, 160, 96)
"""Channels on the way up, the deepest first."""
_SLOPE: Final = 0.1
_STEER: Final = (0.2, 1.0)
"""The two scalars the network was trained with; always these at inference."""


class FaceEnhancerNetwork(nn.Module):
    """(B, 3, H, W) BGR in [-1, 1], H and W multiples of 32 → (B, 3, 4 H, 4 W), about the same range."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, _LEVELS[0])
        self.steer = nn.ModuleList(nn.Linear(1, _LEVELS[0], bias=False) for _ in _STEER)
        inputs = (_LEVELS[0], *_LEVELS[:-1])
        self.down = nn.ModuleList(_Pair(before, after) for before, after in zip(inputs, _LEVELS, strict=True))
        self.center = nn.Sequential(_Pair(512, 512), _Pair(512, 512))
        below = (_LEVELS[-1], *_UP_LEVELS[:-1])
        self.up = nn.ModuleList(
            _Pair(deeper + skip, after)
            for deeper, skip, after in zip(below, reversed(_LEVELS), _UP_LEVELS, strict=True)
        )
        self.twofold = _Pair(96, 96)
        self.fourfold = _Pair(96, 72)
        self.heads = nn.ModuleList([_Head(96, 48), _Head(96, 48), _Head(72, 36)])

    def forward(self, image: Tensor) -> Tensor:
        scalars = [image.new_full((1, 1), value) for value in _STEER]
        steer = sum(dense(scalar)[..., None, None] for dense, scalar in zip(self.steer, scalars, strict=True))
        x = F.leaky_relu(self.stem(image) + steer, _SLOPE)
        skips: list[Tensor] = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        x = self.center(x)
        for level in self.up:
            x = level(torch.cat([_double(x), skips.pop()], dim=1))
        result = image + self.heads[0](x)
        x = _double(self.twofold(x))
        result = _double(result) + self.heads[1](x)
        x = _double(self.fourfold(x))
        finest: Tensor = _double(result) + self.heads[2](x)
        return finest


class FaceEnhancer:
    """The network with its weights; see :class:`dflcore.enhance.base.Enhancer`."""

    def __init__(self, network: FaceEnhancerNetwork, device: str, digest: str = "") -> None:
        self.digest = digest
        self._device = torch.device(device)
        self._network = network.to(self._device).eval().requires_grad_(False)

    @property
    def scale(self) -> int:
        return 4

    def enhance(self, faces: FloatArray) -> FloatArray:
        """See :class:`dflcore.enhance.base.Enhancer`. Any S; tiles of 192 px, one at a time."""
        check_faces(faces)
        return np.stack([enhance_in_tiles(face, self._run, TILE_PX, self.scale) for face in faces])

    @torch.inference_mode()
    def _run(self, tile: FloatArray) -> FloatArray:
        bgr = np.ascontiguousarray(tile[..., ::-1].transpose(2, 0, 1))
        answer = self._network(torch.from_numpy(bgr)[None].to(self._device) * 2.0 - 1.0)
        pixels = ((answer[0] + 1.0) / 2.0).clamp(0.0, 1.0).cpu().numpy()
        return np.asarray(pixels.transpose(1, 2, 0)[..., ::-1], dtype=np.float32)


def create_face_enhancer(store: WeightStore, *, device: str = "cpu", argument: str = "") -> FaceEnhancer:
    """The enhancer with the weights ``faceenhancer`` (safetensors, this module's own names).

    Raises:
        NotFound: the weights are not here.
        InvalidInput: an argument was given; it takes none.
        DataCorrupt: the weights are not this network's.
    """
    if argument:
        raise InvalidInput(f"The enhancer faceenhancer takes no argument, not {argument!r}.", reason="BAD_ARGUMENT")
    path = _find(store)
    with torch.device("meta"):
        network = FaceEnhancerNetwork()  # without drawing 33 million random numbers first
    try:
        network.load_state_dict(load_file(path), strict=True, assign=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataCorrupt(
            f"The weights {path} are not those of the face enhancer: {reason}", reason="WEIGHTS_DAMAGED", path=path
        ) from error
    return FaceEnhancer(network.float(), device, f"faceenhancer {file_digest(path)}")


def _find(store: WeightStore) -> Path:
    """The checked file; nobody publishes these weights, so what is missing here is said with the way to see it."""
    if WEIGHTS_NAME in store.names() and not store.has(WEIGHTS_NAME):
        looked = ", ".join(str(folder) for folder in store.folders) or "no folder"
        raise NotFound(
            f"The weights {WEIGHTS_NAME} ({store.info(WEIGHTS_NAME).file}) are in no weights folder ({looked}); "
            f"`dfl weights list` shows what is where, and the personal enhancer detail:<folder> needs none.",
            reason="WEIGHTS_MISSING",
            name=WEIGHTS_NAME,
        )
    return store.find(WEIGHTS_NAME)


class _Pair(nn.Sequential):
    """Two convolutions, each followed by its activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        activation = nn.LeakyReLU(_SLOPE)
        super().__init__(_conv(inputs, outputs), activation, _conv(outputs, outputs), activation)


class _Head(nn.Sequential):
    """What is added to the picture: within ±1."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__(_conv(inputs, inner), nn.LeakyReLU(_SLOPE), _conv(inner, 3), nn.Tanh())


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
