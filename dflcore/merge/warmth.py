"""Memories for whoever renders frame after frame on request: bounded, and exact in what they give back."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from dflcore.io.faceset import INDEX_NAME
from dflcore.io.pack import PACK_NAME
from dflcore.io.plate import Plate
from dflcore.merge.light import PlateLight
from dflcore.merge.painted_face import PaintedFace
from dflcore.merge.stages import StepClock
from dflcore.merge.swapper import FaceSwapper
from dflcore.models.layout import MANIFEST_NAME, generation_folders
from dflcore.types import FaceType

V = TypeVar("V")
Outputs = tuple[Tensor, Tensor, Tensor]
"""What a network paints of a batch, see :meth:`FaceSwapper.swap`."""


class ByteCache(Generic[V]):
    """Values by key, the ones used longest ago dropped when all together are too large. One thread at a time.

    Args:
        limit: bytes; a value that is larger by itself is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self.size = 0
        """Bytes kept now."""

    def get(self, key: Hashable) -> V | None:
        """A value that was kept, None where there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, value: V, size: int) -> None:
        """Keep a value of so many bytes."""
        self._drop(key)
        if size > self._limit:
            return
        while self.size + size > self._limit:
            self._drop(next(iter(self._entries)))
        self._entries[key] = (value, size)
        self.size += size

    def clear(self) -> None:
        self._entries.clear()
        self.size = 0

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry[1]


NetworkMemory = ByteCache[Outputs]


class RememberingSwapper:
    """A :class:`FaceSwapper` that paints the very same faces only once.

    What it knows a batch by are the faces' own numbers, so that whatever reaches the network counts and nothing else
    does: the plate, the landmarks and the colour space, but none of the settings of the look.

    Args:
        memory: outputs of this and other swappers.
        person: what else decides about an output: whom it paints, how much of them, and on which device.
    """

    def __init__(self, swapper: FaceSwapper, memory: NetworkMemory, person: tuple[str, ...]) -> None:
        self._swapper = swapper
        self._memory = memory
        self._person = person
        self._ran = self._recalled = 0

    @property
    def resolution(self) -> int:
        return self._swapper.resolution

    @property
    def face_type(self) -> FaceType:
        return self._swapper.face_type

    @property
    def name(self) -> str:
        return self._swapper.name

    @property
    def digest(self) -> str:
        return self._swapper.digest

    @property
    def is_reused(self) -> bool:
        """It was asked and the network did not run."""
        return self._recalled > 0 and self._ran == 0

    @property
    def has_run(self) -> bool:
        """The network ran."""
        return self._ran > 0

    def swap(self, target: Tensor) -> Outputs:
        """See :meth:`FaceSwapper.swap`."""
        pixels = hashlib.blake2b(target.contiguous().numpy().data).digest()
        key = (self.digest, self._person, tuple(target.shape), pixels)
        known = self._memory.get(key)
        if known is None:
            self._ran += 1
            known = self._swapper.swap(target)
            self._memory.put(key, known, sum(plane.nbytes for plane in known))
        else:
            self._recalled += 1
        face, source_mask, target_mask = (torch.clone(plane) for plane in known)
        return face, source_mask, target_mask


class WatchedClock(StepClock):
    """A clock that asks at every step whether the result is still wanted.

    Args:
        check: raises when it is not.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what runs inside. Raises whatever the check raises."""
        self._check()
        with super().step(name):
            yield


def model_token(path: Path) -> tuple[object, ...]:
    """Changes with every save of a model."""
    folders = generation_folders(path)[:1]
    with contextlib.suppress(OSError):
        return tuple((folder.name, (folder / MANIFEST_NAME).stat().st_mtime_ns) for folder in folders)
    return (os.urandom(8),)  # it is just being removed


def folder_token(path: Path) -> tuple[object, ...]:
    """Changes when a faceset does: its index, and the files in it."""
    tokens: list[object] = []
    for entry in (path, path / INDEX_NAME, path / PACK_NAME):
        with contextlib.suppress(OSError):
            status = entry.stat()
            tokens.append((entry.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(tokens)


def plate_token(plate: Plate) -> str:
    """Changes when the frame does that says what all others are."""
    return plate.identity(plate.frames.frames[0])


def light_bytes(light: PlateLight) -> int:
    """What a frame's light takes in memory; views count once."""
    arrays = [light.image.pixels]
    for array in (light.beauty, light.rgb):
        if not any(np.may_share_memory(array, known) for known in arrays):
            arrays.append(array)
    return sum(array.nbytes for array in arrays)


def faces_bytes(faces: Sequence[PaintedFace]) -> int:
    """What painted faces take in memory, with what has been measured of their colours so far."""
    kept = []
    tensors = []
    for face in faces:
        aligned = (face.aligned.seen, face.aligned.hull, face.aligned.segmentation)
        kept += [*aligned, face.painted, face.enhanced, face.learned_source, face.learned_target, face.painted_mask]
        for palette in face.colors.found.values():
            tensors += [palette.weight, palette.mean, palette.covariance, palette.sample]
    measured = sum(tensor.untyped_storage().nbytes() for tensor in tensors if tensor is not None)
    return measured + sum(array.nbytes for array in kept if array is not None)
