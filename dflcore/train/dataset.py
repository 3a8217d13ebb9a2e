"""Faces for training: decoded ahead by threads, kept in memory up to a budget, drawn in batches.

A :class:`FacePool` holds at most as many faces as its budget allows. While it has room it grows; when the faceset is
larger than the budget it exchanges a few faces per step, so that every face is seen and memory stays bounded. What is
in the pool depends on the seed and the number of steps only, never on timing.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
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

from dflcore.cores import use_one_core
from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.geometry import affine
from dflcore.geometry.alignment import network_from_aligned
from dflcore.geometry.landmarks import eyes_mask, hull_mask, mouth_mask
from dflcore.geometry.template import FACE_TYPE_CROPS
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.mask_recipe import MaskRecipe
from dflcore.io.masks import MASKS_NAME, MaskStore
from dflcore.progress import Notice
from dflcore.train.sampling import EveryFace, SamplingPolicy
from dflcore.types import Affine, FaceRecord, FacesetInfo, FaceType, FloatArray

DECODE_AHEAD = 16
"""Faces the loader threads work ahead of the trainer."""
DECODE_THREADS = max(1, min(4, (os.cpu_count() or 1) // 4))
"""Per side. A face costs a few milliseconds; on a small CPU more threads only take time from the training step."""
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
    """What a pool needs to fill itself; used from its loader threads only."""

    stored_size: int
    """Side of the decoded faces in pixels."""

    def decode(self, name: str) -> Tensor:
        """(P, S, S) uint8 on the CPU: sRGB-encoded RGB, the mask, and more where the pool was told so.

        Raises:
            NotFound, DataCorrupt: the face is gone or damaged.
        """


class FaceDecoder:
    """One face of a faceset → what the pool stores. May be used by several threads.

    Faces that show more of the head than the model paints are cropped, by their landmarks and from real pixels; those
    that show less are extended by repeating their border.

    Args:
        faces: an open faceset; used from the loader threads only.
        face_type: what the model paints.
        resolution: side of the model's face in pixels.
        margin: ratio of stored side to ``resolution``, >= 1, so that augmentation finds real pixels.
        recipe: which stored masks say where the face is; faces without any, and None, use the hull.
        priority: also tell where eyes and mouth are.

    Attributes:
        extended: the faces show less of the head than the model paints.
        planes: of a decoded face: RGB, mask and, when asked for, priority.

    Raises:
        DataCorrupt, Unsupported, Conflict: the faceset's masks cannot be read.
    """

    def __init__(
        self,
        faces: TrainingFaces,
        face_type: FaceType,
        resolution: int,
        margin: float,
        recipe: MaskRecipe | None = None,
        *,
        priority: bool = False,
    ) -> None:
        self.faces = faces
        self.face_type = face_type
        self.resolution = resolution
        self.stored_size = stored_size(resolution, margin)
        self.priority = priority
        self.planes = 5 if priority else 4
        self.extended = FACE_TYPE_CROPS[face_type].side > FACE_TYPE_CROPS[faces.info.face_type].side
        self._masks = None if recipe is None else _StoredMasks.open(Path(faces.info.path), recipe)
        self._reading = threading.Lock()

    def decode(self, name: str) -> Tensor:
        """(4 or 5, S, S) uint8 on the CPU: sRGB-encoded RGB, borders replicated, the stored or hull mask, priority.

        Priority is high in eyes and mouth where the mask is, 255 at most, 0 elsewhere.

        Raises:
            NotFound, DataCorrupt: the face is gone, or it, its landmarks or its mask is damaged.
        """
        with self._reading:
            record = self.faces.record(name)
            stored = None if self._masks is None else self._masks.find(record)
        image = torch.from_numpy(self.faces.read_image(name)).permute(2, 0, 1).float() / 255.0
        try:
            planes = self._planes(image, stored, record)
        except InvalidInput as error:
            raise DataCorrupt(
                f"The landmarks of the face {name} cannot be used: {error.message}", reason="FACE_DAMAGED", face=name
            ) from error
        return (planes.clamp(0, 1) * 255).round().to(torch.uint8)

    def _planes(self, image: Tensor, stored: FloatArray | None, record: FaceRecord) -> Tensor:
        stored_from_aligned = self._stored_from_aligned(record)
        size = self.stored_size
        points = affine.apply(affine.compose(stored_from_aligned, record.aligned_from_plate), record.landmarks.points)
        if stored is None:
            planes = warp_to_aligned(image, stored_from_aligned, size)
            planes = torch.cat([planes, torch.from_numpy(hull_mask(points, size, size))[None]])
        elif record.face_type is self.face_type:
            planes = warp_to_aligned(torch.cat([image, torch.from_numpy(stored)[None]]), stored_from_aligned, size)
        else:
            mask = warp_to_aligned(torch.from_numpy(stored)[None], stored_from_aligned, size, padding="zeros")
            planes = torch.cat([warp_to_aligned(image, stored_from_aligned, size), mask])
        if not self.priority:
            return planes
        features = torch.from_numpy(eyes_mask(points, size, size) + mouth_mask(points, size, size))
        weight = features.clamp(0.0, 1.0) * planes[3].clamp(0.0, 1.0)
        return torch.cat([planes, (weight / weight.max().clamp_min(1e-6))[None]])

    @property
    def masked_faces(self) -> int:
        """Faces of the set whose mask is a stored one."""
        return 0 if self._masks is None else sum(name in self._masks.names for name in self.faces.names)

    def close(self) -> None:
        """Let go of the faceset's masks."""
        if self._masks is not None:
            self._masks.store.close()

    def _stored_from_aligned(self, record: FaceRecord) -> Affine:
        border = (self.stored_size - self.resolution) / 2.0
        model_from_aligned = network_from_aligned(record, self.face_type, self.resolution)
        return affine.compose(affine.shift(border, border), model_from_aligned)


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
        names: all faces of the faceset, or of this process's share of it.
        budget_bytes: most memory for decoded faces.
        batch_size: faces drawn per step.
        seed: of the order in which faces enter.
        side: whose faces these are, for messages.
        planes: of a decoded face.
        policy: which faces enter and which are drawn; every face alike when not given.
        threads: decode so many faces at once; the decoder must bear it.

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
        planes: int = 4,
        policy: SamplingPolicy | None = None,
        threads: int = 1,
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
        self.capacity = max(1, min(len(self._names), budget_bytes // (planes * size * size)))
        """Most faces held at one time."""
        self._faces = torch.empty(self.capacity, planes, size, size, dtype=torch.uint8)
        self._slots: list[int] = []
        self._next_slot = 0
        self._policy: SamplingPolicy = policy or EveryFace(len(self._names))
        self._generator = torch.Generator().manual_seed(seed)
        self._upcoming: deque[int] = deque()
        self._pending: deque[tuple[int, Future[Tensor]]] = deque()
        self._executor = ThreadPoolExecutor(
            max_workers=threads, thread_name_prefix=f"dfl-{side}-faces", initializer=use_one_core
        )
        self._unreadable: set[int] = set()
        self._taken: set[int] = set()
        self.notices: list[Notice] = []
        """Faces that could not be read since the last look; the trainer reports and clears them."""
        self.waited_s = 0.0
        """Seconds that draws have waited for faces to be decoded."""

    def __len__(self) -> int:
        """Faces held now."""
        return len(self._slots)

    def draw(self, generator: torch.Generator) -> Tensor:
        """As :meth:`draw_levels`, (B, P, S, S) float32 in [0, 1]."""
        return torch.mul(self.draw_levels(generator), 1.0 / 255.0)

    def draw_levels(self, generator: torch.Generator) -> Tensor:
        """Let the pool move on by one step, then draw a batch, with replacement.

        Returns:
            (B, P, S, S) uint8 on the CPU: sRGB-encoded RGB and mask.

        Raises:
            DataCorrupt: no face of the faceset can be read.
        """
        self._advance()
        return self._faces.index_select(0, self._policy.choose(len(self._slots), self._batch_size, generator))

    def borrow(self, count: int, generator: torch.Generator) -> Tensor:
        """Any of the faces held, for another side's use; the pool does not move on unless it is empty.

        Returns:
            (count, P, S, S) uint8 on the CPU.

        Raises:
            DataCorrupt: no face of the faceset can be read.
        """
        if not self._slots:
            self._advance()
        return self._faces.index_select(0, torch.randint(len(self._slots), (count,), generator=generator))

    def first(self, count: int, names: Sequence[str] | None = None) -> Tensor:
        """Some faces of the faceset, always the same, for previews: (n, P, S, S) float32 in [0, 1].

        Args:
            names: of all faces, where the pool has a share of them only.
        """
        names = self._names if names is None else names
        spread = torch.linspace(0, len(names) - 1, min(count, len(names))).long().tolist()
        readable = []
        for future in [self._executor.submit(self._decoder.decode, names[index]) for index in spread]:
            try:
                readable.append(future.result())
            except (NotFound, DataCorrupt):
                continue
        if not readable:
            return torch.empty(0, *self._faces.shape[1:])
        return torch.stack(readable).float() / 255.0

    def state(self) -> dict[str, Tensor]:
        """What :meth:`restore` needs to go on as if never stopped."""
        upcoming = [index for index, _ in self._pending] + list(self._upcoming)
        return {
            "slots": torch.tensor(self._slots, dtype=torch.int64),
            "next_slot": torch.tensor([self._next_slot], dtype=torch.int64),
            "upcoming": torch.tensor(upcoming, dtype=torch.int64),
            "unreadable": torch.tensor(sorted(self._unreadable), dtype=torch.int64),
            "generator": self._generator.get_state(),
            "names": torch.frombuffer(bytearray(self._names_digest()), dtype=torch.uint8),
            **self._policy.state(),
        }

    def restore(self, state: dict[str, Tensor]) -> bool:
        """Fill the pool as it was. Returns False, with the pool as new, when the faceset or the budget differ."""
        same_faces = bytes(state["names"].tolist()) == self._names_digest()
        if not same_faces or len(state["slots"]) > self.capacity:
            return False
        slots: list[int] = state["slots"].tolist()
        try:
            for first in range(0, len(slots), DECODE_AHEAD):
                some = slots[first : first + DECODE_AHEAD]
                futures = [self._executor.submit(self._decoder.decode, self._names[index]) for index in some]
                for slot, future in enumerate(futures, first):
                    self._faces[slot] = future.result()
        except (NotFound, DataCorrupt):
            return False
        self._slots = slots
        self._pending.clear()  # what was decoded ahead belongs to the order that is given up
        self._next_slot = int(state["next_slot"])
        self._upcoming = deque(state["upcoming"].tolist())
        self._unreadable = set(state["unreadable"].tolist()) if "unreadable" in state else set()
        self._taken = {*slots, *self._upcoming, *self._unreadable}
        self._policy.restore(state, slots)
        self._generator.set_state(state["generator"])
        return True

    def close(self) -> None:
        """Stop the loader threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _advance(self) -> None:
        if len(self._slots) < self.capacity:
            wanted = min(self._batch_size, self.capacity - len(self._slots))
        elif self.capacity < len(self._names):
            wanted = max(1, self._batch_size // EXCHANGE_SHARE)
        else:
            return
        for _ in range(wanted):
            taken = self._take_next()
            if taken is None:
                return
            index, face = taken
            slot = len(self._slots)
            if slot < self.capacity:
                self._slots.append(index)
            else:
                slot, self._next_slot = self._next_slot, (self._next_slot + 1) % self.capacity
                self._taken.discard(self._slots[slot])
                self._slots[slot] = index
            self._faces[slot] = face
            self._policy.put(slot, index)

    def _take_next(self) -> tuple[int, Tensor] | None:
        """The next face that can be read; None when the policy has none left."""
        while True:
            self._decode_ahead()
            if not self._pending:
                return None
            index, future = self._pending.popleft()
            started = time.perf_counter()
            try:
                return index, future.result()
            except (NotFound, DataCorrupt) as error:
                self._note_unreadable(index, error)
            finally:
                self.waited_s += time.perf_counter() - started

    def _decode_ahead(self) -> None:
        while len(self._pending) < min(DECODE_AHEAD, len(self._names)):
            if self._upcoming:
                index: int | None = self._upcoming.popleft()
            else:
                index = self._policy.next_face(self._taken, self._generator)
            if index is None:
                return
            self._taken.add(index)
            self._pending.append((index, self._executor.submit(self._decoder.decode, self._names[index])))

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
