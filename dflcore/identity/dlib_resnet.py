"""dlib's ResNet descriptor, the identity measure of the paper (0.60 and nearer: the same person)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import dlib
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.errors import InvalidInput
from dflcore.identity.dlib_file import CHIP_PX, DESCRIPTOR_SIZE, read_face_network
from dflcore.identity.dlib_network import DlibFaceNetwork
from dflcore.identity.workers import create_workers
from dflcore.types import FloatArray, Landmarks
from dflcore.weights.store import WeightStore

_FACE_PX = 300
"""The face is cut out at about this size: dlib takes whole-pixel landmarks and makes a chip of 150 px."""
_MARGIN = 0.6
"""Pixels kept around the landmarks, as a share of their extent; dlib's chip needs 25 % and turns it upright."""
_CHIP_PADDING = 0.25
_MAX_BATCH = 8
"""Faces through the network at once on a CPU; more gain little and take memory."""
_MAX_BATCH_ON_GPU = 64


class DlibResnetEncoder:
    """128 numbers per face, those of dlib's ``face_recognition_model_v1`` up to rounding.

    dlib cuts the face out, which is quick; the network itself runs in torch, several times faster, on a CPU with one
    core for a face or a few. One encoder may be used by several threads, which then do not wait for each other.

    Args:
        store: has ``dlib_identity``.
        device: torch device the network runs on.

    Raises:
        NotFound: the weights are missing.
        DataCorrupt: they are damaged, or something else.
    """

    def __init__(self, store: WeightStore, *, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = DlibFaceNetwork(read_face_network(store.find("dlib_identity"))).to(self._device)
        self._workers = create_workers() if self._device.type == "cpu" else None

    @property
    def same_person_distance(self) -> float:
        """dlib's own threshold."""
        return 0.6

    def describe(self, image: NDArray[np.uint8], landmarks: Landmarks) -> FloatArray:
        """See :class:`dflcore.identity.base.IdentityEncoder`.

        Raises:
            InvalidInput: the landmarks do not lie in the image.
        """
        described: FloatArray = self.describe_chips(self.cut_chip(image, landmarks)[None])[0]
        return described

    def describe_batch(self, images: Sequence[NDArray[np.uint8]], landmarks: Sequence[Landmarks]) -> FloatArray:
        """See :class:`dflcore.identity.base.BatchIdentityEncoder`.

        Raises:
            InvalidInput: the landmarks of a face do not lie in its image; ``details`` names its ``index``.
        """
        chips = np.empty((len(images), CHIP_PX, CHIP_PX, 3), dtype=np.uint8)
        for index, (image, points) in enumerate(zip(images, landmarks, strict=True)):
            try:
                chips[index] = self.cut_chip(image, points)
            except InvalidInput as error:
                raise InvalidInput(error.message, reason=error.reason, index=index) from error
        return self.describe_chips(chips)

    def cut_chip(self, image: NDArray[np.uint8], landmarks: Landmarks) -> NDArray[np.uint8]:
        """What the network sees of a face, small enough to be kept until there are enough for a batch.

        Args:
            image: (H, W, 3) uint8 sRGB-encoded RGB.
            landmarks: in pixels of the image.

        Returns:
            (150, 150, 3) uint8 sRGB-encoded RGB, the face upright.

        Raises:
            InvalidInput: the landmarks do not lie in the image.
        """
        face, points = _cut_face(image, landmarks.points)
        whole = [dlib.point(x, y) for x, y in np.rint(points.astype(np.float64) - 0.5).astype(int).tolist()]
        shape = dlib.full_object_detection(dlib.rectangle(0, 0, face.shape[1] - 1, face.shape[0] - 1), whole)
        return np.asarray(dlib.get_face_chip(face, shape, CHIP_PX, _CHIP_PADDING), dtype=np.uint8)

    def describe_chips(self, chips: NDArray[np.uint8]) -> FloatArray:
        """(N, 128) float32 unit-free descriptors of faces as :meth:`cut_chip` gives them.

        Args:
            chips: (N, 150, 150, 3) uint8 sRGB-encoded RGB, N of 0 or more.

        Raises:
            InvalidInput: another shape.
        """
        if chips.shape[1:] != (CHIP_PX, CHIP_PX, 3):
            raise InvalidInput(
                f"The identity network reads faces (N, {CHIP_PX}, {CHIP_PX}, 3), not {chips.shape}.",
                reason="BAD_FACE_SHAPE",
            )
        if not len(chips):
            return np.zeros((0, DESCRIPTOR_SIZE), dtype=np.float32)
        if self._workers is None:
            return np.concatenate([self._run(part) for part in _parts(chips, _MAX_BATCH_ON_GPU)])
        return np.concatenate(list(self._workers.map(self._run, _parts(chips, _MAX_BATCH))))

    @torch.inference_mode()
    def _run(self, chips: NDArray[np.uint8]) -> FloatArray:
        batch = torch.from_numpy(np.ascontiguousarray(chips)).to(self._device)  # (n, 150, 150, 3)
        described: FloatArray = self._network(batch.permute(0, 3, 1, 2).float()).cpu().numpy()
        return described


def _parts(chips: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """Runs of up to ``size`` faces."""
    return [chips[start : start + size] for start in range(0, len(chips), size)]


def _cut_face(image: NDArray[np.uint8], points: FloatArray) -> tuple[NDArray[np.uint8], FloatArray]:
    """The face at a handy size, and its landmarks there."""
    if not np.isfinite(points).all():
        raise InvalidInput("The landmarks are not numbers.", reason="BAD_POINTS")
    low, high = points.min(0), points.max(0)
    extent = float((high - low).max())
    height, width = image.shape[:2]
    left, top = np.maximum(np.floor(low - _MARGIN * extent), 0).astype(int)
    right = min(int(np.ceil(high[0] + _MARGIN * extent)), width)
    bottom = min(int(np.ceil(high[1] + _MARGIN * extent)), height)
    if extent < 1.0 or right - left < 2 or bottom - top < 2:
        raise InvalidInput("The landmarks do not lie in the image.", reason="BAD_POINTS")
    part = image[top:bottom, left:right]
    scale = _FACE_PX / extent
    size = (max(round(part.shape[1] * scale), 2), max(round(part.shape[0] * scale), 2))
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    face = np.ascontiguousarray(cv2.resize(part, size, interpolation=method), dtype=np.uint8)
    scales = np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
    return face, ((points - [left, top]) * scales).astype(np.float32)
