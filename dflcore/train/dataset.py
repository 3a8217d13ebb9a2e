"""Faces for training: decoded ahead by a thread, kept in memory up to a budget, drawn in batches.

A :class:`FacePool` holds at most as many faces as its budget allows. While it has room it grows; when the faceset is
larger than the budget it exchanges a few faces per step, so that every face is seen and memory stays bounded. What is
in the pool depends on the seed and the number of steps only, never on timing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate
from dflcore.geometry.landmarks import hull_mask
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.masks import MASKS_NAME, MaskRecipe, MaskStore
from dflcore.progress import Notice
from dflcore.types import Affine, FaceRecord, FacesetInfo, FaceType, FloatArray

DECODE_AHEAD = 16
"""Faces the loader thread works ahead of the trainer."""
EXCHANGE_SHARE = 4
"""A full pool that cannot hold the whole faceset takes in one new face per this many faces drawn."""


class TrainingFaces(Protocol):
    """What training needs of a faceset; :class:`dflcore.io.faceset.Faceset` is one."""

    names: list[str]

    @property
    def info(self) -> FacesetInfo: ...

    def record(self, name: str) -> FaceRecord: ...

    def read_image(self, name: str) -> NDArray[np.uint8]: ...


class Decoder(Protocol):
    """What a pool needs to fill itself; used from its loader thread only."""

    stored_size: int
    """Side of the decoded faces in pixels."""

    def decode(self, name: str) -> Tensor:
        """(4, S, S) uint8 on the CPU: sRGB-encoded RGB and the mask.

        Raises:
            NotFound, DataCorrupt: the face is gone or damaged.
        """


class FaceDecoder:
    """One face of a faceset → what the pool stores.

    Args:
        faces: an open faceset; used from the loader thread only.
        face_type: what the model paints, and so what the faces must show.
        resolution: side of the model's face in pixels.
        margin: ratio of stored side to ``resolution``, >= 1, so that augmentation finds real pixels.
        recipe: which stored masks say where the face is; faces without any, and None, use the hull.

    Raises:
        InvalidInput: the faces show more or less of the head.
        DataCorrupt, Unsupported, Conflict: the faceset's masks cannot be read.
    """

    def __init__(
        self,
        faces: TrainingFaces,
        face_type: FaceType,
        resolution: int,
        margin: float,
        recipe: MaskRecipe | None = None,
    ) -> None:
        if faces.info.face_type is not face_type:
            raise InvalidInput(
                f"The model paints {face_type.value} faces, the faceset {faces.info.path} holds "
                f"{faces.info.face_type.value} ones. Extract again with face_type {face_type.value}.",
                reason="FACE_TYPE_DIFFERS",
                path=faces.info.path,
            )
        self.faces = faces
        self.resolution = resolution
        self.stored_size = stored_size(resolution, margin)
        self._masks = None if recipe is None else _StoredMasks.open(Path(faces.info.path), recipe)

    def decode(self, name: str) -> Tensor:
        """(4, S, S) uint8 on the CPU: sRGB-encoded RGB and the stored or hull mask, borders replicated.

        Raises:
            NotFound, DataCorrupt: the face is gone, or it or its mask is damaged.
        """
        record = self.faces.record(name)
        image = torch.from_numpy(self.faces.read_image(name)).permute(2, 0, 1).float() / 255.0
        stored_from_plate = self._stored_from_plate(record)
        stored_from_aligned = affine.compose(stored_from_plate, affine.invert(record.aligned_from_plate))
        size = self.stored_size
        stored = None if self._masks is None else self._masks.find(record)
        if stored is not None:
            planes = warp_to_aligned(torch.cat([image, torch.from_numpy(stored)[None]]), stored_from_aligned, size)
        else:
            face = warp_to_aligned(image, stored_from_aligned, size)
            points = affine.apply(stored_from_plate, record.landmarks.points)
            planes = torch.cat([face, torch.from_numpy(hull_mask(points, size, size))[None]])
        return (planes.clamp(0, 1) * 255).round().to(torch.uint8)

    @property
    def masked_faces(self) -> int:
        """Faces of the set whose mask is a stored one."""
        return 0 if self._masks is None else sum(name in self._masks.names for name in self.faces.names)

    def close(self) -> None:
        """Let go of the faceset's masks."""
        if self._masks is not None:
            self._masks.store.close()

    def _stored_from_plate(self, record: FaceRecord) -> Affine:
        border = (self.stored_size - self.resolution) / 2.0
        return affine.compose(affine.shift(border, border), model_from_plate(record, self.resolution))


@dataclass(frozen=True, slots=True)
class _StoredMasks:
    """The masks of one faceset that a recipe names.

    Attributes:
        store: opens its file when it is first read; a store may be used in any thread.
        names: faces that had any when training began. The others are not looked up.
    """

    store: MaskStore
    recipe: MaskRecipe
    names: frozenset[str]

    @classmethod
    def open(cls, faceset_path: Path, recipe: MaskRecipe) -> _StoredMasks | None:
        """None where there is nothing of the recipe's."""
        if not (faceset_path / MASKS_NAME).is_file():
            return None
        with MaskStore.open(faceset_path) as store:
            names = recipe.faces_with_stored(store)
        return cls(store, recipe, names) if names else None

    def find(self, record: FaceRecord) -> FloatArray | None:
        """(S, S) float32 in [0, 1] at the faceset's aligned size."""
        if record.name not in self.names:
            return None
        return self.recipe.find(record.name, self.store, record, record.aligned_size)


def stored_size(resolution: int, margin: float) -> int:
    """Side of a stored face in pixels: even distance to the model's side, at least ``resolution * margin``."""
    return resolution + 2 * int(np.ceil(resolution * (margin - 1.0) / 2.0 - 1e-6))


class FacePool:
    """A bounded set of decoded faces of one side.

    Args:
        decoder: turns names into faces.
        names: all faces of the faceset.
        budget_bytes: most memory for decoded faces.
        batch_size: faces drawn per step.
        seed: of the order in which faces enter.
        side: ``source`` or ``target``, for messages.

    Raises:
        InvalidInput: the faceset is empty.
    """

    def __init__(
        self,
        decoder: Decoder,
        names: Sequence[str],
        *,
        budget_bytes: int,
        batch_size: int,
        seed: int,
        side: str,
    ) -> None:
        if not names:
            raise InvalidInput(
                f"The {side} faceset holds no faces; extract some, or name another folder.",
                reason="EMPTY_FACESET",
                field=side,
            )
        self._decoder = decoder
        self._names = list(names)
        self._side = side
        self._batch_size = batch_size
        size = decoder.stored_size
        self.capacity = max(1, min(len(self._names), budget_bytes // (4 * size * size)))
        """Most faces held at one time."""
        self._faces = torch.empty(self.capacity, 4, size, size, dtype=torch.uint8)
        self._slots: list[int] = []
        self._next_slot = 0
        self._order: deque[int] = deque()
        self._generator = torch.Generator().manual_seed(seed)
        self._pending: deque[tuple[int, Future[Tensor]]] = deque()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"dfl-{side}-faces")
        self._unreadable: set[int] = set()
        self.notices: list[Notice] = []
        """Faces that could not be read since the last look; the trainer reports and clears them."""

    def __len__(self) -> int:
        """Faces held now."""
        return len(self._slots)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Let the pool move on by one step, then draw a batch with replacement.

        Returns:
            (B, 4, S, S) float32 in [0, 1]: sRGB-encoded RGB and mask.

        Raises:
            DataCorrupt: no face of the faceset can be read.
        """
        self._advance()
        chosen = torch.randint(len(self._slots), (self._batch_size,), generator=generator)
        return self._faces[chosen].float() / 255.0

    def first(self, count: int) -> Tensor:
        """The first faces of the faceset, always the same, for previews: (n, 4, S, S) float32 in [0, 1]."""
        spread = torch.linspace(0, len(self._names) - 1, min(count, len(self._names))).long().tolist()
        readable = []
        for index in spread:
            try:
                readable.append(self._executor.submit(self._decoder.decode, self._names[index]).result())
            except (NotFound, DataCorrupt):
                continue
        if not readable:
            return torch.empty(0, 4, self._decoder.stored_size, self._decoder.stored_size)
        return torch.stack(readable).float() / 255.0

    def state(self) -> dict[str, Tensor]:
        """What :meth:`restore` needs to go on as if never stopped."""
        upcoming = [index for index, _ in self._pending] + list(self._order)
        return {
            "slots": torch.tensor(self._slots, dtype=torch.int64),
            "next_slot": torch.tensor([self._next_slot], dtype=torch.int64),
            "upcoming": torch.tensor(upcoming, dtype=torch.int64),
            "generator": self._generator.get_state(),
            "names": torch.frombuffer(bytearray(self._names_digest()), dtype=torch.uint8),
        }

    def restore(self, state: dict[str, Tensor]) -> bool:
        """Fill the pool as it was. Returns False, with the pool as new, when the faceset or the budget differ."""
        same_faces = bytes(state["names"].tolist()) == self._names_digest()
        if not same_faces or len(state["slots"]) > self.capacity:
            return False
        slots = [int(index) for index in state["slots"].tolist()]
        try:
            for slot, index in enumerate(slots):
                self._faces[slot] = self._executor.submit(self._decoder.decode, self._names[index]).result()
        except (NotFound, DataCorrupt):
            return False
        self._slots = slots
        self._next_slot = int(state["next_slot"])
        self._order = deque(int(index) for index in state["upcoming"].tolist())
        self._generator.set_state(state["generator"])
        return True

    def close(self) -> None:
        """Stop the loader thread."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _advance(self) -> None:
        if len(self._slots) < self.capacity:
            wanted = min(self._batch_size, self.capacity - len(self._slots))
        elif self.capacity < len(self._names):
            wanted = max(1, self._batch_size // EXCHANGE_SHARE)
        else:
            return
        for _ in range(wanted):
            index, face = self._next_face()
            if len(self._slots) < self.capacity:
                self._faces[len(self._slots)] = face
                self._slots.append(index)
            else:
                self._faces[self._next_slot] = face
                self._slots[self._next_slot] = index
                self._next_slot = (self._next_slot + 1) % self.capacity

    def _next_face(self) -> tuple[int, Tensor]:
        while True:
            while len(self._pending) < min(DECODE_AHEAD, len(self._names)):
                index = self._next_index()
                self._pending.append((index, self._executor.submit(self._decoder.decode, self._names[index])))
            index, future = self._pending.popleft()
            try:
                return index, future.result()
            except (NotFound, DataCorrupt) as error:
                self._note_unreadable(index, error)

    def _next_index(self) -> int:
        if not self._order:
            self._order.extend(torch.randperm(len(self._names), generator=self._generator).tolist())
        return self._order.popleft()

    def _note_unreadable(self, index: int, error: NotFound | DataCorrupt) -> None:
        if index not in self._unreadable:
            self._unreadable.add(index)
            self.notices.append(
                Notice(message=error.message, reason=error.reason, details={"side": self._side, **error.details})
            )
        if len(self._unreadable) == len(self._names):
            raise DataCorrupt(
                f"No face of the {self._side} faceset can be read; the last fault: {error.message}",
                reason="FACESET_UNREADABLE",
                field=self._side,
            ) from error

    def _names_digest(self) -> bytes:
        return hashlib.sha256("\n".join(self._names).encode()).digest()
