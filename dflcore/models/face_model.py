"""What every face model offers, whatever its network: reconstruct two identities, swap one for the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from dflcore.errors import InvalidInput


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

        Raises:
            InvalidInput: see :meth:`require_faces`.
        """

    @abstractmethod
    def swap(self, target: Tensor) -> Swap:
        """Paint the source identity in the target's place; what merging uses.

        Args:
            target: faces as the class says.

        Raises:
            InvalidInput: see :meth:`require_faces`.
        """

    def require_faces(self, faces: Tensor) -> None:
        """Refuse what is not a batch of faces of this model's size.

        Raises:
            InvalidInput: the shape is not (B, 3, R, R).
        """
        side = self.resolution
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, side, side):
            raise InvalidInput(
                f"The model reads faces (B, 3, {side}, {side}), not {tuple(faces.shape)}; align them at {side} px.",
                reason="BAD_FACE_SHAPE",
                field="resolution",
            )

    def forward(self, target: Tensor) -> Swap:
        """Same as :meth:`swap`, so that exporters can trace the model."""
        return self.swap(target)
