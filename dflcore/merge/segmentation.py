"""The target's stored masks for merging: which there are, which versions, and their pixels, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dflcore.geometry.template import FACE_TYPE_CROPS
from dflcore.io.mask_recipe import MaskRecipe
from dflcore.io.masks import LABEL_SOURCE, MASKS_NAME, MaskStore, MaskVersion
from dflcore.segment.crop import cut_mask_for_network
from dflcore.types import FaceRecord, FaceType, FloatArray


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Masks that take things in front of the face out of the matte, as they were when the merge began.

    A mask that is changed while the merge runs may be used already; the frame then has the key of the older one and is
    made anew by the next merge.
    """

    recipe: MaskRecipe | None = None
    store: MaskStore | None = None
    versions: Mapping[str, Mapping[str, MaskVersion]] = field(default_factory=dict)
    """Face → source → newest version, of the faces that have any of the recipe's masks."""

    @classmethod
    def open(cls, faceset_path: Path, recipe_text: str, records: Mapping[int, Sequence[FaceRecord]]) -> Segmentation:
        """Look up the faces of a range.

        Args:
            recipe_text: a mask recipe; empty uses no masks.

        Raises:
            DataCorrupt, Unsupported, Conflict: the masks cannot be read.
        """
        if not recipe_text or not (faceset_path / MASKS_NAME).is_file():
            return cls()
        recipe = MaskRecipe.parse(recipe_text)
        with MaskStore.open(faceset_path) as store:
            have = recipe.faces_with_stored(store)
            names = [record.name for faces in records.values() for record in faces if record.name in have]
            versions = {name: _newest(store, recipe, name) for name in names}
        return cls(recipe, store, versions)

    def identify(self, records: Sequence[FaceRecord]) -> list[str]:
        """Text that changes when a mask of these faces does; empty where they have none."""
        return [
            f"{record.face_index} {source} {version.version} {version.made_at} {version.made_by}"
            for record in records
            for source, version in self.versions.get(record.name, {}).items()
        ]

    def used(self, records: Sequence[FaceRecord]) -> dict[str, dict[str, int]]:
        """Face → source → version, for the manifest."""
        return {
            record.name: {source: one.version for source, one in self.versions[record.name].items()}
            for record in records
            if record.name in self.versions
        }

    def read(self, records: Sequence[FaceRecord], face_type: FaceType, size: int) -> dict[str, FloatArray]:
        """Name → mask (size, size) float32 in [0, 1] in a model's square, of the faces that have one.

        Where the model shows more of the head than the faceset, a mask goes on beyond its square as at its edge: cut
        off there, it would end the matte in a straight line across the face.

        Args:
            face_type, size: of the model's square.

        Raises:
            DataCorrupt: a mask is damaged, or landmarks do not tell where the square of another type lies.
        """
        found: dict[str, FloatArray] = {}
        if self.recipe is None or self.store is None:
            return found
        for record in records:
            if record.name in self.versions:
                mask = self.recipe.find(record.name, self.store, record, _own_size(record, face_type, size))
                if mask is not None and record.face_type is not face_type:
                    mask = cut_mask_for_network(mask, record, face_type, size, padding="border")
                if mask is not None:
                    found[record.name] = mask
        return found

    def close(self) -> None:
        """Let go of the masks' file."""
        if self.store is not None:
            self.store.close()


def _own_size(record: FaceRecord, face_type: FaceType, size: int) -> int:
    """Side of a face's own square at which its pixels are as large as those of the model's square."""
    if record.face_type is face_type:
        return size
    return math.ceil(size * FACE_TYPE_CROPS[record.face_type].side / FACE_TYPE_CROPS[face_type].side)


def _newest(store: MaskStore, recipe: MaskRecipe, name: str) -> dict[str, MaskVersion]:
    stored = store.masks_of(name)
    if LABEL_SOURCE in recipe.sources and store.label(name) is not None:
        stored[LABEL_SOURCE] = 0
    return {source: store.versions(name, source)[-1] for source in recipe.sources if source in stored}
