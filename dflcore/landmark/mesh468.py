"""MediaPipe's face mesh through onnxruntime: 468 points with depth, of which 68 are kept.

Source: Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, Unsupported
from dflcore.geometry import affine
from dflcore.landmark.base import cut_crop, locate_twice, square_crop
from dflcore.types import Box, Landmarks
from dflcore.weights.store import WeightStore

_CROP_PX = 192
_CROP_OVER_BOX = 1.5
_MESH_POINTS = 468

IBUG68_FROM_MESH: Final[tuple[int, ...]] = (
    *(127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
"""Mesh vertex that stands for each iBUG point.

The table in common use, but for six points (0, 2, 14, 16, 17, 26) whose usual vertices lie up to 0.12 of the face's
size from where 68-point predictors put them.
"""


class Mesh468Landmarker:
    """Two looks, the second one upright and with a box drawn from the first's points. Gives depth.

    Args:
        store: has ``face_mesh_468``.
        device: ``cuda`` is used where onnxruntime offers it, else one CPU thread.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu") -> None:
        path = store.find("face_mesh_468")
        self._session = _open_session(str(path), device)
        self._input = self._session.get_inputs()[0].name

    def locate(self, image: NDArray[np.uint8], box: Box) -> Landmarks:
        """See :class:`dflcore.landmark.base.Landmarker`."""
        return locate_twice(box, lambda center, side, roll: self._look(image, center, side, roll))

    def _look(self, image: NDArray[np.uint8], center: tuple[float, float], side: float, roll: float) -> Landmarks:
        crop_from_image = square_crop(center, side * _CROP_OVER_BOX, _CROP_PX, roll)
        crop = cut_crop(image, crop_from_image, _CROP_PX)
        (answer,) = self._session.run(None, {self._input: crop[None]})[:1]
        mesh = np.asarray(answer, dtype=np.float64).reshape(-1, 3)
        if len(mesh) != _MESH_POINTS or not np.isfinite(mesh).all():
            raise DataCorrupt("The face mesh network gave no mesh of 468 points.", reason="WEIGHTS_DAMAGED")
        chosen = mesh[list(IBUG68_FROM_MESH)]
        points = affine.apply(affine.invert(crop_from_image), chosen[:, :2])
        depth = chosen[:, 2] / affine.scale_of(crop_from_image)
        return Landmarks(points=points.astype(np.float32), depth=depth.astype(np.float32))


def _open_session(path: str, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Unsupported(
            f"The face mesh needs the package onnxruntime: {error}.", reason="COMPONENT_NOT_INSTALLED", name="mesh468"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a 5 ms network: more threads cost more than they save
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime's exception classes are private
        raise DataCorrupt(
            f"The weights {path} cannot be loaded: {error}", reason="WEIGHTS_DAMAGED", path=path
        ) from error
