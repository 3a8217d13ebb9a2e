"""Labelled faces for training a segmentation network: which there are, and how they become what the pool holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.io.faceset import Faceset
from dflcore.io.mask_recipe import MaskRecipe
from dflcore.io.masks import MaskStore
from dflcore.segment.crop import cut_mask_for_network
from dflcore.train.open_facesets import OpenFacesets
from dflcore.types import FaceType


class MaskSamples(OpenFacesets):
    """The faces of several facesets that have a mask to learn from. Use as a context manager, or close it.

    Args:
        paths: the facesets.
        recipe: which masks to learn from.
        with_masks: False takes every face, with an empty mask (pretraining).

    Attributes:
        names: the samples, in the facesets' order.
        others: faces without a mask to learn from, for previews.

    Raises:
        InvalidInput: no faceset was named, or no face has a mask; says what to do.
        NotFound, DataCorrupt, Unsupported: a faceset or its masks cannot be opened.
    """

    def __init__(self, paths: Sequence[Path], recipe: MaskRecipe, *, with_masks: bool = True) -> None:
        super().__init__(paths)
        self.recipe, self.with_masks = recipe, with_masks
        self._stores: list[MaskStore] = []
        self.names: list[str] = []
        self.others: list[str] = []
        with self._closed_on_error():
            for number, faceset in enumerate(self._facesets):
                self._add_masks(number, faceset)
            if not self.names:
                raise self._nothing_to_learn()

    def decoder(self, face_type: FaceType, resolution: int) -> SampleDecoder:
        """Faces as a network reads them."""
        return SampleDecoder(self, face_type, resolution)

    def open_face(self, name: str) -> tuple[Faceset, MaskStore, str]:
        """Where a sample lies, and the face's own name."""
        number, face = self._find(name)
        return self._facesets[number], self._stores[number], face

    def _add_masks(self, number: int, faceset: Faceset) -> None:
        store = MaskStore.open(faceset.path)
        self._to_close.callback(store.close)
        self._stores.append(store)
        without = set(self.recipe.faces_without(faceset.names, store)) if self.with_masks else set()
        self.names += [f"{number}/{name}" for name in faceset.names if name not in without]
        self.others += [f"{number}/{name}" for name in faceset.names if name in without]

    def _nothing_to_learn(self) -> InvalidInput:
        if not self.with_masks or not self.others:
            return self._no_faces()
        stored = sorted({source for store in self._stores for source in store.sources()})
        instead = f" Masks stored there: {', '.join(stored)}." if stored else ""
        return InvalidInput(
            f"None of the {len(self.others)} faces in {self._where()} has a mask for {str(self.recipe)!r}. Label 10 to "
            "16 faces that differ in pose and in what covers them, import masks, or set masks to a recipe that they "
            "fit." + instead,
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
        image = self._samples.read(name, self._face_type, self.stored_size)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()
