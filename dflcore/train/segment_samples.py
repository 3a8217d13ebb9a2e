"""Labelled faces for training a segmentation network: which there are, and how they become what the pool holds."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.io.faceset import Faceset
from dflcore.io.masks import MaskRecipe, MaskStore
from dflcore.segment.crop import cut_for_network, cut_mask_for_network
from dflcore.types import FacesetInfo, FaceType


class MaskSamples:
    """The faces of several facesets that have a mask to learn from. Use as a context manager, or close it.

    Args:
        paths: the facesets.
        recipe: which masks to learn from.
        with_masks: False takes every face, with an empty mask (pretraining).

    Attributes:
        names: the samples, as ``<number of the faceset>/<face>``.
        others: faces without a mask to learn from, for previews.

    Raises:
        InvalidInput: no faceset was named, or no face has a mask; says what to do.
        NotFound, DataCorrupt, Unsupported: a faceset cannot be opened.
    """

    def __init__(self, paths: Sequence[Path], recipe: MaskRecipe, *, with_masks: bool = True) -> None:
        if not paths:
            raise InvalidInput("Name at least one faceset to learn from.", reason="NO_FACESET", field="facesets")
        self.recipe, self.with_masks = recipe, with_masks
        self._facesets: list[Faceset] = []
        self._stores: list[MaskStore] = []
        self.names: list[str] = []
        self.others: list[str] = []
        try:
            for path in paths:
                self._add(Path(path))
            if not self.names:
                raise self._nothing_to_learn()
        except BaseException:
            self.close()
            raise

    @property
    def infos(self) -> list[FacesetInfo]:
        """What the facesets say of themselves."""
        return [faceset.info for faceset in self._facesets]

    def decoder(self, face_type: FaceType, resolution: int) -> SampleDecoder:
        """Faces as a network reads them."""
        return SampleDecoder(self, face_type, resolution)

    def open_face(self, name: str) -> tuple[Faceset, MaskStore, str]:
        """Where a sample lies, and the face's own name."""
        number, _, face = name.partition("/")
        return self._facesets[int(number)], self._stores[int(number)], face

    def close(self) -> None:
        """Close all facesets and mask stores."""
        with contextlib.ExitStack() as stack:
            for faceset in self._facesets:
                stack.callback(faceset.close)
            for store in self._stores:
                stack.callback(store.close)

    def __enter__(self) -> MaskSamples:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, path: Path) -> None:
        number = len(self._facesets)
        faceset = Faceset.open(path)
        self._facesets.append(faceset)
        store = MaskStore.open(path)
        self._stores.append(store)
        without = set(self.recipe.faces_without(faceset.names, store)) if self.with_masks else set()
        self.names += [f"{number}/{name}" for name in faceset.names if name not in without]
        self.others += [f"{number}/{name}" for name in faceset.names if name in without]

    def _nothing_to_learn(self) -> InvalidInput:
        where = " and ".join(str(faceset.path) for faceset in self._facesets)
        if not self.with_masks or not self.others:
            return InvalidInput(
                f"There are no faces in {where}; extract some, or name other facesets.", reason="EMPTY_FACESET"
            )
        stored = sorted({source for store in self._stores for source in store.sources()})
        instead = f" Masks stored there: {', '.join(stored)}." if stored else ""
        return InvalidInput(
            f"None of the {len(self.others)} faces in {where} has a mask for {str(self.recipe)!r}. Label 10 to 16 "
            "faces that differ in pose and in what covers them, import masks, or set masks to a recipe that they fit."
            + instead,
            reason="NO_LABELLED_FACES",
            field="masks",
        )


class SampleDecoder:
    """One sample → what the pool holds. Used from the pool's loader thread only.

    Args:
        samples: open facesets.
        face_type, resolution: what the network reads; other face types are cut anew.
    """

    def __init__(self, samples: MaskSamples, face_type: FaceType, resolution: int) -> None:
        self._samples, self._face_type = samples, face_type
        self.stored_size = resolution

    def decode(self, name: str) -> Tensor:
        """(4, R, R) uint8 on the CPU: sRGB-encoded RGB and the mask to learn.

        Raises:
            NotFound, DataCorrupt: the face is gone or damaged, or has lost its mask.
        """
        faceset, store, face = self._samples.open_face(name)
        record = faceset.record(face)
        size = self.stored_size
        mask = np.zeros((size, size), np.float32)
        if self._samples.with_masks:
            try:
                full = self._samples.recipe.combine(face, store, record, record.aligned_size)
            except InvalidInput as error:  # a label that cannot be filled counts as damaged, as a damaged image does
                raise DataCorrupt(error.message, reason="LABEL_DAMAGED", face=face) from error
            mask = cut_mask_for_network(full, record, self._face_type, size)
        levels = torch.from_numpy(np.rint(mask * 255.0).astype(np.uint8))
        return torch.cat([self.decode_face(name), levels[None]])

    def decode_face(self, name: str) -> Tensor:
        """(3, R, R) uint8 on the CPU, of faces without a mask too. Raises as :meth:`decode`."""
        faceset, _, face = self._samples.open_face(name)
        image = cut_for_network(faceset.read_image(face), faceset.record(face), self._face_type, self.stored_size)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()
