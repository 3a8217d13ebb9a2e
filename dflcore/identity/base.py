"""Identity encoders: a face as a vector whose distance tells people apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dflcore.registry import Registry
from dflcore.types import FloatArray, Landmarks
from dflcore.weights.store import WeightStore


class IdentityEncoder(Protocol):
    """Describes who a face is.

    Attributes:
        same_person_distance: two descriptors nearer than this belong to one person, as the encoder's makers say.
    """

    @property
    def same_person_distance(self) -> float: ...

    def describe(self, image: NDArray[np.uint8], landmarks: Landmarks) -> FloatArray:
        """(128,) float32 unit-free descriptor of one face.

        Args:
            image: (H, W, 3) uint8 sRGB-encoded RGB.
            landmarks: in pixels of the image.
        """


@runtime_checkable
class BatchIdentityEncoder(IdentityEncoder, Protocol):
    """An encoder that describes several faces in one go; see :func:`describe_batch`."""

    def describe_batch(self, images: Sequence[NDArray[np.uint8]], landmarks: Sequence[Landmarks]) -> FloatArray:
        """(N, 128) float32: what :meth:`describe` says of each of N faces, N of 1 or more."""


class IdentityEncoderFactory(Protocol):
    """Makes an encoder from the weights in the store."""

    def __call__(self, store: WeightStore, *, device: str) -> IdentityEncoder:
        """``device`` is a torch device.

        Raises:
            NotFound: weights are missing.
            Unsupported: a package is missing.
            DataCorrupt: the weights are damaged.
        """


IDENTITY_ENCODERS: Registry[IdentityEncoderFactory] = Registry(
    "identity encoder",
    "dflcore.identity_encoders",
    {"dlib_resnet": "dflcore.identity.dlib_resnet:DlibResnetEncoder"},
)
DEFAULT_ENCODER = "dlib_resnet"


def create_identity_encoder(
    name: str = DEFAULT_ENCODER, store: WeightStore | None = None, *, device: str = "cpu"
) -> IdentityEncoder:
    """An encoder by registry name; without a store only embedded weights are found.

    Raises:
        NotFound: no such encoder, or its weights are missing.
        Unsupported: it cannot be loaded here.
    """
    return IDENTITY_ENCODERS.load(name)(WeightStore() if store is None else store, device=device)


def describe_batch(
    encoder: IdentityEncoder, images: Sequence[NDArray[np.uint8]], landmarks: Sequence[Landmarks]
) -> list[FloatArray]:
    """The descriptor of every face: what one call per face gives up to rounding, faster where the encoder can.

    Args:
        images: one per face, each (H, W, 3) uint8 sRGB-encoded RGB; sizes may differ, one picture may come twice.
        landmarks: as many, each in pixels of its image.

    Raises:
        InvalidInput: landmarks that do not lie in their image.
    """
    if len(images) > 1 and isinstance(encoder, BatchIdentityEncoder):
        return list(encoder.describe_batch(images, landmarks))
    return [encoder.describe(image, points) for image, points in zip(images, landmarks, strict=True)]


def identity_distance(a: FloatArray, b: FloatArray) -> float:
    """Euclidean distance of two descriptors of the same encoder."""
    return float(np.linalg.norm(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)))
