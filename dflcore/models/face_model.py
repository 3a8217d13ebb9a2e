"""What every face model offers, whatever its network: reconstruct the people it knows, swap one for another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, NamedTuple

from torch import Tensor, nn

from dflcore.errors import InvalidInput

SOURCE: Final = "source"
TARGET: Final = "target"


class Painted(NamedTuple):
    """One person painted from their own picture.

    Attributes:
        face: (B, 3, R, R) display-referred sRGB, RGB, in [0, 1].
        mask: (B, 1, R, R) in [0, 1], 1 is face.
        code: (B, C, h, w) what the decoder painted both from; unbounded.
    """

    face: Tensor
    mask: Tensor
    code: Tensor


class Swap(NamedTuple):
    """One person painted with the pose and expression of another's picture.

    Attributes:
        face: (B, 3, R, R) display-referred sRGB, RGB, in [0, 1].
        source_mask: (B, 1, R, R) in [0, 1]: where the painted face is.
        target_mask: (B, 1, R, R) in [0, 1]: where the face in the picture is.
    """

    face: Tensor
    source_mask: Tensor
    target_mask: Tensor


class FaceModel(nn.Module, ABC):
    """A network that knows two or more people.

    Convention:
        Faces are (B, 3, R, R) float32, display-referred sRGB-encoded RGB in [0, 1], R = :attr:`resolution`, in
        aligned space of the face type the model was trained with.
    """

    resolution: int
    """Side of the faces the network reads and paints, in pixels."""
    identities: tuple[str, ...] = (SOURCE, TARGET)
    """Who it knows. ``target`` is the performer; every other one can be put on the performer."""
    has_morph: bool = False
    """Swapping takes a morph factor."""

    @abstractmethod
    def reconstruct(self, faces: Mapping[str, Tensor]) -> dict[str, Painted]:
        """Paint each person from their own picture; what training minimises.

        Args:
            faces: identity → batch, as the class says. Batches may differ in size.

        Raises:
            InvalidInput: see :meth:`require_faces`.
        """

    @abstractmethod
    def paint_swap(self, target_code: Tensor) -> tuple[Tensor, Tensor]:
        """Paint the source from the code of the target's picture; what style losses look at.

        Args:
            target_code: :attr:`Painted.code` of the target, as it is or detached.

        Returns:
            Face and mask, as :class:`Painted`.
        """

    @abstractmethod
    def swap(self, faces: Tensor, *, identity: str = SOURCE, morph: float = 1.0) -> Swap:
        """Paint one person with the pose and expression of another; what merging uses.

        Args:
            faces: pictures of the performer; of the source where ``identity`` is ``target``.
            identity: who is painted, one of :attr:`identities`.
            morph: 0..1, how much of the painted identity is put on; only where :attr:`has_morph`.

        Raises:
            InvalidInput: see :meth:`require_faces` and :meth:`require_identity`.
        """

    def compared_code(self, code: Tensor) -> Tensor:
        """The part of :attr:`Painted.code` that TrueFace wants alike for source and target; all of it by default."""
        return code

    def person_modules(self) -> tuple[nn.Module, ...]:
        """The parts that learn who somebody is: initialised anew when a pretrained network meets its people."""
        return ()

    def resting_modules_without_warp(self) -> tuple[nn.Module, ...]:
        """The parts that rest while faces are not warped, so that fine-tuning does not cost likeness."""
        return ()

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

    def require_identity(self, identity: str) -> None:
        """Refuse a person the model does not know.

        Raises:
            InvalidInput: lists those it knows.
        """
        if identity not in self.identities:
            raise InvalidInput(
                f"The model knows nobody called {identity!r}; it knows {', '.join(self.identities)}.",
                reason="NO_SUCH_IDENTITY",
                field="identity",
            )

    def forward(self, faces: Tensor) -> Swap:
        """Same as :meth:`swap`, so that exporters can trace the model."""
        return self.swap(faces)


def performer_of(identity: str) -> str:
    """Whose pictures are read when ``identity`` is painted: the target's, and the source's for the target."""
    return SOURCE if identity == TARGET else TARGET
