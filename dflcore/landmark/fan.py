"""2DFAN-4 (Bulat and Tzimiropoulos 2017), the landmarker of the paper.

Source: the network of the package ``face-alignment`` 1.5.0 (BSD-3-Clause). Its cropping and decoding are not used: they
round crops and landmarks to whole pixels, which shakes. Crop: deepfacelab fact sheet §3.3. Differs: peaks are placed
by fitting a Gaussian instead of a quarter-pixel rule; two looks, the second upright from the first's points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dflcore.errors import DataCorrupt, Unsupported
from dflcore.geometry import affine
from dflcore.geometry.landmarks import MIRRORED_INDEXES
from dflcore.landmark.base import cut_crop, square_crop, upright_face
from dflcore.types import Box, Landmarks
from dflcore.weights.store import WeightStore

_CROP_PX = 256
_REFERENCE_PX = 195.0
"""Mean of width and height, in crop units of 200, that the network was trained to see around the landmarks."""
_REFERENCE_SIDE = 200.0
_LIFT = 0.12
"""The crop's centre lies this share of the box height above the box's centre."""
_TINY = 1e-6


class Fan2dLandmarker:
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
        except Exception as error:  # torch reports a damaged file with a dozen unrelated classes
            raise DataCorrupt(
                f"The weights {path} are not those of 2DFAN-4: {error}", reason="WEIGHTS_DAMAGED", path=path
            ) from error
        self._network = network.to(self._device).eval()

    def locate(self, image: NDArray[np.uint8], box: Box) -> Landmarks:
        """See :class:`dflcore.landmark.base.Landmarker`."""
        center = ((box.left + box.right) / 2.0, (box.top + box.bottom) / 2.0 - _LIFT * box.height)
        first = self._look(image, center, (box.width + box.height) / _REFERENCE_PX * _REFERENCE_SIDE, 0.0)
        return self._look(image, *_training_frame(first))

    def _look(self, image: NDArray[np.uint8], center: tuple[float, float], side: float, roll: float) -> Landmarks:
        crop_from_image = square_crop(center, side, _CROP_PX, roll)
        crop = torch.from_numpy(cut_crop(image, crop_from_image, _CROP_PX, outside_black=True))
        batch = crop.permute(2, 0, 1)[None].to(self._device)  # (1, 3, 256, 256)
        heat = self._heat(torch.cat([batch, batch.flip(-1)]))
        points = affine.apply(affine.invert(crop_from_image), decode_heatmaps(heat.cpu()) * (_CROP_PX / heat.shape[-1]))
        return Landmarks(points=points.astype(np.float32))

    @torch.inference_mode()
    def _heat(self, pair: Tensor) -> Tensor:
        """(68, 64, 64): mean of the heat maps of a crop and of its mirror image."""
        maps = self._network(pair)[-1]  # the last hourglass's
        heat: Tensor = (maps[0] + maps[1].flip(-1)[list(MIRRORED_INDEXES)]) / 2.0
        return heat


def decode_heatmaps(heat: Tensor) -> NDArray[np.float64]:
    """(68, h, w) maps to (68, 2) points in map pixels, origin at the corner.

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


def _training_frame(landmarks: Landmarks) -> tuple[tuple[float, float], float, float]:
    """Centre, side and roll of the crop the network was trained with: from the extent of the upright landmarks."""
    _, _, roll = upright_face(landmarks.points)
    upright_from_image = square_crop((0.0, 0.0), 1.0, 1, roll)
    upright = affine.apply(upright_from_image, landmarks.points)
    low, high = upright.min(0), upright.max(0)
    width, height = high - low
    middle = (low + high) / 2.0 - [0.0, _LIFT * height]
    x, y = affine.apply(affine.invert(upright_from_image), middle)
    return (float(x), float(y)), float(width + height) / _REFERENCE_PX * _REFERENCE_SIDE, roll


def _create_network() -> Any:
    try:
        from face_alignment.models.fan import FAN  # takes seconds, hence not at the top
    except ImportError as error:
        raise Unsupported(
            f"2DFAN needs the package face-alignment: {error}.", reason="COMPONENT_NOT_INSTALLED", name="fan2d"
        ) from error
    return FAN(4)
