"""MediaPipe's face mesh through onnxruntime: 468 points with depth, of which 68 are kept.

Source: Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, Unsupported
from dflcore.geometry import affine
from dflcore.landmark.base import FaceCrop, UprightLandmarker, cut_crop, square_crop
from dflcore.types import Affine, FloatArray, Landmarks
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


class Mesh468Landmarker(UprightLandmarker):
    """See :class:`dflcore.landmark.base.Landmarker`. Gives depth.

    Args:
        store: has ``face_mesh_468``.
        device: ``cuda`` is used where onnxruntime offers it, else one CPU thread.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu") -> None:
        path = store.find("face_mesh_468")
        self._session = _open_session(str(path), device)
        given = self._session.get_inputs()[0]
        self._input = given.name
        self._takes_many = not isinstance(given.shape[0], int)

    def look(self, image: NDArray[np.uint8], crops: Sequence[FaceCrop]) -> list[Landmarks]:
        """See :class:`dflcore.landmark.base.Landmarker`."""
        placed = [square_crop((face.x, face.y), face.side * _CROP_OVER_BOX, _CROP_PX, face.roll) for face in crops]
        pixels = [cut_crop(image, crop_from_image, _CROP_PX) for crop_from_image in placed]
        meshes = self._ask(np.stack(pixels)) if self._takes_many else [self._ask(one[None])[0] for one in pixels]
        return [_landmarks(mesh, crop_from_image) for mesh, crop_from_image in zip(meshes, placed, strict=True)]

    def _ask(self, batch: FloatArray) -> NDArray[np.float64]:
        """(N, 192, 192, 3) float32 in [0, 1] → (N, 468, 3): x, y and depth in pixels of the crop."""
        answer = self._session.run(None, {self._input: batch})[0]
        if answer.size != len(batch) * _MESH_POINTS * 3 or not np.isfinite(answer).all():
            raise DataCorrupt("The face mesh network gave no mesh of 468 points.", reason="WEIGHTS_DAMAGED")
        return np.asarray(answer, dtype=np.float64).reshape(len(batch), _MESH_POINTS, 3)


def _landmarks(mesh: NDArray[np.float64], crop_from_image: Affine) -> Landmarks:
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
