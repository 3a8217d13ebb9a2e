"""2DFAN-4 (Bulat and Tzimiropoulos 2017), the landmarker of the paper.

Source: the network of the package ``face-alignment`` 1.5.0 (BSD-3-Clause). Its cropping and decoding are not used: they
round crops and landmarks to whole pixels, which shakes. Crop: deepfacelab fact sheet §3.3. Differs: peaks are placed
by fitting a Gaussian instead of a quarter-pixel rule; two looks, the second upright from the first's points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dflcore.errors import DataCorrupt, Unsupported
from dflcore.geometry import affine
from dflcore.geometry.landmarks import MIRRORED_INDEXES
from dflcore.landmark.base import FaceCrop, UprightLandmarker, cut_crop, square_crop, upright_face
from dflcore.types import Affine, FloatArray, Landmarks
from dflcore.weights.store import WeightStore

_CROP_PX = 256
_REFERENCE_PX = 195.0
"""Mean of width and height, in crop units of 200, that the network was trained to see around the landmarks."""
_REFERENCE_SIDE = 200.0
_LIFT = 0.12
"""The crop's centre lies this share of the box's side above the box's centre."""
_TINY = 1e-6


class Fan2dLandmarker(UprightLandmarker):
    """2DFAN with four hourglasses, averaged over the picture and its mirror image.

    Args:
        store: has ``fan2d``.
        device: torch device.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu") -> None:
        path = store.find("fan2d")
        self._device = torch.device(device)
        network = _create_network()
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch reports a damaged file with a dozen unrelated classes, at length
            raise DataCorrupt(
                f"The weights {path} are damaged, or not those of 2DFAN-4.", reason="WEIGHTS_DAMAGED", path=path
            ) from error
        self._network = network.to(self._device).eval()
        if self._device.type == "cpu":
            self._network.to(memory_format=torch.channels_last)  # a seventh less time there, the same numbers

    def look(self, image: NDArray[np.uint8], crops: Sequence[FaceCrop]) -> list[Landmarks]:
        """See :class:`dflcore.landmark.base.Landmarker`."""
        placed = [_network_crop(face) for face in crops]
        pixels = np.stack([cut_crop(image, one, _CROP_PX, outside_black=True) for one in placed])
        heat = self._heat(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self._device))
        peaks = decode_heatmaps(heat.flatten(0, 1).cpu()).reshape(len(crops), -1, 2) * (_CROP_PX / heat.shape[-1])
        found = [affine.apply(affine.invert(one), points) for one, points in zip(placed, peaks, strict=True)]
        return [Landmarks(points=points.astype(np.float32)) for points in found]

    def frame(self, points: FloatArray) -> FaceCrop:
        """The crop the network was trained with: from the extent of the upright landmarks."""
        _, _, roll = upright_face(points)
        upright_from_image = square_crop((0.0, 0.0), 1.0, 1, roll)
        upright = affine.apply(upright_from_image, points)
        low, high = upright.min(0), upright.max(0)
        width, height = high - low
        side = (width + height) / 2.0
        middle = (low + high) / 2.0 + [0.0, _LIFT * (side - height)]  # the lift in training was a share of the height
        x, y = affine.apply(affine.invert(upright_from_image), middle)
        return FaceCrop(float(x), float(y), float(side), roll)

    @torch.inference_mode()
    def _heat(self, batch: Tensor) -> Tensor:
        """(N, 68, 64, 64): mean of the heat maps of crops (N, 3, 256, 256) and of their mirror images."""
        maps = self._network(torch.cat([batch, batch.flip(-1)]))[-1]  # the last hourglass's
        straight, mirrored = maps.chunk(2)
        heat: Tensor = (straight + mirrored.flip(-1)[:, list(MIRRORED_INDEXES)]) / 2.0
        return heat


def _network_crop(face: FaceCrop) -> Affine:
    """``crop_from_image`` of what the network is shown of a face."""
    up = _LIFT * face.side
    center = (face.x + math.sin(face.roll) * up, face.y - math.cos(face.roll) * up)
    return square_crop(center, 2.0 * face.side / _REFERENCE_PX * _REFERENCE_SIDE, _CROP_PX, face.roll)


def decode_heatmaps(heat: Tensor) -> NDArray[np.float64]:
    """(N, h, w) maps to (N, 2) points in map pixels, origin at the corner.

    The logarithm of a Gaussian is a parabola: its peak between pixels follows from three values per axis.
    """
    count, height, width = heat.shape
    index = heat.reshape(count, -1).argmax(1)
    column, row = index % width, index // width
    log_heat = heat.clamp_min(_TINY).log()
    which = torch.arange(count)

    def offset(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
        curvature = 2.0 * at - before - after
        shift = (after - before) / (2.0 * curvature).clamp_min(_TINY)
        return shift.clamp(-0.5, 0.5)

    at = log_heat[which, row, column]
    left, right = (column - 1).clamp_min(0), (column + 1).clamp_max(width - 1)
    above, below = (row - 1).clamp_min(0), (row + 1).clamp_max(height - 1)
    x = offset(log_heat[which, row, left], at, log_heat[which, row, right])
    y = offset(log_heat[which, above, column], at, log_heat[which, below, column])
    return torch.stack([column + 0.5 + x, row + 0.5 + y], -1).double().numpy()


def _create_network() -> Any:
    try:
        from face_alignment.models.fan import FAN  # takes seconds, hence not at the top
    except ImportError as error:
        raise Unsupported(
            f"2DFAN needs the package face-alignment: {error}.", reason="COMPONENT_NOT_INSTALLED", name="fan2d"
        ) from error
    return FAN(4)
