"""Which masks of a face make the mask to use, as a short text: ``label > xseg > hull``, ``(xseg | painted) & !hands``.

Grammar, strongest first: ``!a`` complement, ``a & b`` intersection, ``a | b`` union, ``a > b`` priority (the first that
this face has), parentheses. Names are mask sources; ``hull`` is computed from the landmarks and always there, ``label``
is the rasterised drawing.

A source that a face does not have falls through: it takes no part in ``&`` and ``|``, its complement is not there
either, and ``>`` goes on to the next. Values: ``min`` for intersection, ``max`` for union, ``1 - a`` for complement, so
that soft edges obey De Morgan's laws too. The text is parsed, never evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from dflcore.config.mask_terms import Term, parse_recipe
from dflcore.errors import NotFound
from dflcore.geometry import affine
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.mask_labels import rasterize
from dflcore.io.masks import MaskStore
from dflcore.types import FaceRecord, FloatArray


@dataclass(frozen=True, slots=True)
class MaskRecipe:
    """A parsed recipe. Equal recipes have equal text: ``str`` writes it in one canonical form that parses back."""

    term: Term

    @classmethod
    def parse(cls, text: str) -> MaskRecipe:
        """Read a recipe.

        Raises:
            InvalidInput: what was not understood, with its position counted from 1.
        """
        return cls(parse_recipe(text))

    @property
    def sources(self) -> tuple[str, ...]:
        """Names in the order of first use, ``hull`` and ``label`` among them."""
        return tuple(dict.fromkeys(self.term.names()))

    def combine(self, face: str, store: MaskStore, record: FaceRecord, size: int) -> FloatArray:
        """The mask of one face.

        Args:
            face: its name in the store.
            store: the faceset's masks.
            record: its row in the index: landmarks and transform for ``hull``, aligned size for ``label``.
            size: side of the result in pixels; stored masks of another size are resized, area or linear.

        Returns:
            (size, size) float32 in [0, 1].

        Raises:
            NotFound: the face has none of the recipe's masks; ``... > hull`` rules that out.
            DataCorrupt: a stored mask is damaged.
        """
        mask = self.find(face, store, record, size)
        if mask is None:
            raise NotFound(
                f"The face {face} has no mask for {str(self)!r}: none of {', '.join(self.sources)} is there. Make one, "
                f"or end the recipe with '> hull'.",
                reason="MASK_NOT_FOUND",
                face=face,
            )
        return mask

    def find(self, face: str, store: MaskStore, record: FaceRecord, size: int) -> FloatArray | None:
        """As :meth:`combine`, None where the face has none of the recipe's masks."""
        return _evaluate(self.term, lambda name: _source_mask(name, face, store, record, size))

    def faces_without(self, faces: Iterable[str], store: MaskStore) -> list[str]:
        """Those of ``faces`` for which :meth:`combine` would find nothing; cheap, no mask is read."""
        if "hull" in self.sources:
            return []
        have = self.faces_with_stored(store)
        return [face for face in faces if face not in have]

    def faces_with_stored(self, store: MaskStore) -> frozenset[str]:
        """Faces that have a label or stored mask the recipe names; cheap, no mask is read."""
        sources = [name for name in self.sources if name != "hull"]
        listed = (store.labelled_faces() if name == "label" else store.faces_with(name) for name in sources)
        return frozenset(face for faces in listed for face in faces)

    def __str__(self) -> str:
        return str(self.term)


def face_hull(record: FaceRecord, size: int) -> FloatArray:
    """The hull of a face's landmarks in its aligned square, (size, size) float32 in [0, 1]."""
    points = affine.apply(record.aligned_from_plate * (size / record.aligned_size), record.landmarks.points)
    return hull_mask(points, size, size)


def resize_mask(mask: FloatArray, size: int) -> FloatArray:
    """(S, S) → (size, size) float32: areas averaged when shrinking, linear when growing. Never leaves [0, 1]."""
    if mask.shape == (size, size):
        return mask
    method = cv2.INTER_AREA if size < mask.shape[0] else cv2.INTER_LINEAR
    resized = cv2.resize(np.asarray(mask, dtype=np.float32), (size, size), interpolation=method)
    return np.clip(resized, 0.0, 1.0)


def _source_mask(name: str, face: str, store: MaskStore, record: FaceRecord, size: int) -> FloatArray | None:
    if name == "hull":
        return face_hull(record, size)
    if name == "label":
        label = store.label(face)
        if label is None:
            return None
        base = None if label.has_includes else face_hull(record, size)
        return rasterize(label, size, label_size=record.aligned_size, base=base)
    stored = store.mask(face, name)
    return None if stored is None else resize_mask(stored, size)


def _evaluate(term: Term, mask_of: Callable[[str], FloatArray | None]) -> FloatArray | None:
    if term.operator is None:
        return mask_of(term.name)
    if term.operator == ">":
        return next((mask for mask in (_evaluate(one, mask_of) for one in term.operands) if mask is not None), None)
    found = [mask for mask in (_evaluate(one, mask_of) for one in term.operands) if mask is not None]
    if not found:
        return None
    if term.operator == "!":
        return np.float32(1.0) - found[0]
    merge = np.minimum if term.operator == "&" else np.maximum
    result = found[0]
    for mask in found[1:]:
        result = merge(result, mask)
    return result
