"""What merging asks of a face model, and the trained model as such."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from dflcore.errors import DflError, InvalidInput, ResourceExhausted
from dflcore.models.checkpoint import load_model
from dflcore.models.face_model import SOURCE, FaceModel
from dflcore.progress import Notice
from dflcore.types import FaceType


class FaceSwapper(Protocol):
    """Paints the source's face in place of the target's.

    Attributes:
        resolution: side in pixels of the faces it reads and paints.
        face_type: how much of the head they show.
        name: for people; goes into headers.
        digest: SHA-256 of the weights; equal digests paint equal faces.
    """

    @property
    def resolution(self) -> int: ...
    @property
    def face_type(self) -> FaceType: ...
    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...

    def swap(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Paint a batch.

        Args:
            target: (B, 3, R, R) float32 on the CPU, sRGB-encoded RGB in [0, 1], aligned space.

        Returns:
            The face, as ``target``; where the painted face is, (B, 1, R, R) in [0, 1]; where the target's own is.
        """


class ModelSwapper:
    """A trained :class:`FaceModel` as a :class:`FaceSwapper`.

    Args:
        identity, morph: as :meth:`FaceModel.swap`.

    Raises:
        InvalidInput: the model does not know that person, or has no morph factor and one is asked for.
    """

    def __init__(
        self,
        model: FaceModel,
        *,
        face_type: FaceType,
        name: str,
        digest: str,
        device: str,
        identity: str = SOURCE,
        morph: float = 1.0,
    ) -> None:
        model.require_identity(identity)
        if morph != 1.0 and not model.has_morph:
            raise InvalidInput(
                f"The model {name} has no morph factor: it puts a person on wholly. Leave morph at 1, or train an AMP "
                "model.",
                reason="NO_MORPH",
                field="morph",
            )
        self._model = model
        self._identity, self._morph = identity, morph
        self._device = torch.device(device)
        if self._device.type == "cpu":
            _steady_over_threads(model)
        self.resolution = model.resolution
        self.face_type = face_type
        self.name = name
        self.digest = digest

    def painting(self, identity: str, morph: float) -> ModelSwapper:
        """The same network painting somebody else, or another share of them. Raises InvalidInput as the class."""
        return ModelSwapper(
            self._model,
            face_type=self.face_type,
            name=self.name,
            digest=self.digest,
            device=str(self._device),
            identity=identity,
            morph=morph,
        )

    def swap(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`FaceSwapper.swap`.

        Raises:
            ResourceExhausted: the device has too little memory.
        """
        try:
            with torch.inference_mode():
                swap = self._model.swap(target.to(self._device), identity=self._identity, morph=self._morph)
                return swap.face.float().cpu(), swap.source_mask.float().cpu(), swap.target_mask.float().cpu()
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(self._device, self.name) from error


def open_swapper(
    path: Path, device: str = "cpu", *, identity: str = SOURCE, morph: float = 1.0
) -> tuple[ModelSwapper, list[Notice]]:
    """A trained model from its folder, and notices about damaged generations passed over.

    Args:
        device: torch device, resolved (not ``auto``).
        identity, morph: as :class:`ModelSwapper`.

    Raises:
        InvalidInput: as :class:`ModelSwapper`.
        NotFound, DataCorrupt: as :func:`dflcore.models.checkpoint.load_model`.
    """
    model, folder, generation, notices = load_model(path, device)
    swapper = ModelSwapper(
        model,
        face_type=folder.description.face_type,
        name=f"{folder.path.name} ({folder.description.preset}, iteration {generation.iteration})",
        digest=generation.weights_sha256,
        device=device,
        identity=identity,
        morph=morph,
    )
    return swapper, notices


def _steady_over_threads(model: nn.Module) -> None:
    """Paint the same bits with one thread as with several.

    ATen gives 1x1 convolutions to another kernel where a process has exactly one thread, unless they are dilated, which
    means nothing for a 1x1 kernel. Farm nodes differ in cores; their frames must not.
    """
    for part in model.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1):
            part.dilation = (2, 2)


def _out_of_memory(device: torch.device, name: str) -> DflError:
    return ResourceExhausted(
        f"{device} has too little memory for the model {name}; close other jobs on it, or merge on the CPU.",
        reason="DEVICE_OUT_OF_MEMORY",
        device=device,
    )
