"""What every face model offers, whatever its network: reconstruct two identities, swap one for the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Reconstruction(NamedTuple):
    """Both identities painted by their own decoders.

    Attributes:
        source_face, target_face: (B, 3, H, W) display-referred sRGB, RGB, in [0, 1].
        source_mask, target_mask: (B, 1, H, W) in [0, 1], 1 is face.
    """

    source_face: Tensor
    source_mask: Tensor
    target_face: Tensor
    target_mask: Tensor


class Swap(NamedTuple):
    """The source identity painted with the target's pose and expression.

    Attributes:
        face: (B, 3, H, W) display-referred sRGB, RGB, in [0, 1].
        source_mask: (B, 1, H, W) in [0, 1]: where the painted face is.
        target_mask: (B, 1, H, W) in [0, 1]: where the target's own face is.
    """

    face: Tensor
    source_mask: Tensor
    target_mask: Tensor


class FaceModel(nn.Module, ABC):
    """A network that knows two identities.

    Convention:
        Faces are (B, 3, H, W) float32, display-referred sRGB-encoded RGB in [0, 1], H = W = :attr:`resolution`, in
        aligned space of the face type the model was trained with.
    """

    resolution: int
    """Side of the faces the network reads and paints, in pixels."""

    @abstractmethod
    def reconstruct(self, source: Tensor, target: Tensor) -> Reconstruction:
        """Paint each identity from its own picture; what training minimises.

        Args:
            source, target: faces as the class says. The two batches may differ in size.
        """

    @abstractmethod
    def swap(self, target: Tensor) -> Swap:
        """Paint the source identity in the target's place; what merging uses.

        Args:
            target: faces as the class says.
        """

    def forward(self, target: Tensor) -> Swap:
        """Same as :meth:`swap`, so that exporters can trace the model."""
        return self.swap(target)
