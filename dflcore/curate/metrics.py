"""Measures of the aligned pictures themselves: taken once, kept beside the faceset, taken again when a picture changes.

``metrics.sqlite`` in the faceset folder is a cache: deleting it loses time, nothing else. Each face's row carries the
file size and time the picture had, so that measures of an older picture are never used. A picture that cannot be read
has a row without values.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.curate.metric_store import FaceMetrics, MetricStore, Stamp
from dflcore.curate.sharpness import perceived_sharpness
from dflcore.curate.table import FaceTable
from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.faceset import Faceset
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import FloatArray

THUMB_PX: Final = 32
HASH_PX: Final = 8
"""The perceptual hash is the signs of this many by this many low frequencies."""
MOTION_KERNEL: Final = 11
BATCH_FACES: Final = 256
"""Faces per transaction: what a kill loses at most."""
AHEAD_PER_THREAD: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureResult:
    """What :func:`measure` did.

    Attributes:
        faces: present in the faceset.
        measured: in this run.
        kept: measured before and unchanged since.
        damaged: names of faces whose picture cannot be read, of this run.
        stopped: why it left early.
    """

    faces: int
    measured: int
    kept: int
    damaged: tuple[str, ...]
    stopped: StopRequest | None


def measure(
    faceset_path: Path, control: RunControl, *, threads: int | None = None, again: bool = False
) -> MeasureResult:
    """Measure every face that is new or whose picture changed; a stopped run goes on where it left.

    Args:
        threads: faces measured at a time; None takes one per processor core.
        again: measure all faces, whatever is known of them.

    Raises:
        NotFound, Unsupported, DataCorrupt: as :meth:`Faceset.open`.
        InvalidInput, ResourceExhausted: the measures cannot be written into the folder.
        Conflict: another process holds the measures for longer than a moment.
    """
    workers = threads or os.cpu_count() or 1
    table = FaceTable.open(faceset_path)
    with Faceset.open(faceset_path) as faceset, MetricStore.open(table.path, create=True) as store:
        if store.was_replaced:
            control.emit(_replaced_notice(store.path))
        stamps = store.stamps_on_disk()
        known = {} if again else store.stamps()
        present = [name for name in table.names if name in stamps]
        todo = [name for name in present if known.get(name) != stamps[name]]
        kept = len(present) - len(todo)
        run = _Run(table, faceset, store, stamps, control)
        stopped = run.measure_all(todo, workers, kept, len(present))
    return MeasureResult(
        faces=len(present), measured=run.measured, kept=kept, damaged=tuple(run.damaged), stopped=stopped
    )


def measure_face(image: NDArray[np.uint8], points: FloatArray) -> FaceMetrics:
    """All measures of one picture.

    Args:
        image: (S, S, 3) uint8 RGB, sRGB-encoded.
        points: (68, 2) landmarks in aligned pixels.

    Raises:
        InvalidInput: the landmarks are not 68 finite points.
    """
    size = image.shape[0]
    is_face = hull_mask(points, size, size) >= 0.5
    masked = image * is_face[..., None]
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    gray_masked = np.asarray(gray * is_face, dtype=np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    thumb = np.asarray(cv2.resize(image, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return FaceMetrics(
        blur=perceived_sharpness(gray_masked),
        motion_blur=float(cv2.Laplacian(masked, cv2.CV_64F, ksize=MOTION_KERNEL).var()),
        brightness=float(hsv[..., 2].mean()),
        hue=float(hsv[..., 0].mean()),
        black=int(image.size - np.count_nonzero(image)),
        phash=perceptual_hash(thumb),
        gray_masked=_histogram(gray_masked),
        gray=_histogram(np.asarray(gray, dtype=np.uint8)),
        color=np.concatenate([_histogram(image[..., channel]) for channel in range(3)]),
        thumb=thumb,
    )


def perceptual_hash(thumb: NDArray[np.uint8]) -> int:
    """64 bits that pictures which look alike share for the most part: low frequencies above their median.

    Args:
        thumb: (THUMB_PX, THUMB_PX, 3) uint8 RGB.

    Returns:
        Signed, as SQLite keeps it.
    """
    gray = cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = np.asarray(cv2.dct(gray))[:HASH_PX, :HASH_PX].ravel()
    bits = np.packbits(low > np.median(low[1:]))
    return int(bits.view(">i8")[0])


def _histogram(channel: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return np.bincount(channel.ravel(), minlength=256).astype(np.uint32)


class _Run:
    """One pass over faces; reads and measures in threads, writes from the caller's."""

    def __init__(
        self,
        table: FaceTable,
        faceset: Faceset,
        store: MetricStore,
        stamps: dict[str, Stamp],
        control: RunControl,
    ) -> None:
        self.measured = 0
        self.damaged: list[str] = []
        self._faceset = faceset
        self._store = store
        self._stamps = stamps
        self._control = control
        self._points = table.aligned_landmarks
        self._row = {name: row for row, name in enumerate(table.names)}

    def measure_all(self, names: Sequence[str], workers: int, done: int, total: int) -> StopRequest | None:
        pending: list[tuple[str, Stamp, FaceMetrics | None]] = []
        stopped = None
        try:
            with ThreadPoolExecutor(workers, thread_name_prefix="measure") as pool:
                for name, found in self._in_order(pool, names, workers):
                    if isinstance(found, NotFound):  # deleted since; nothing to keep
                        continue
                    pending.append((name, self._stamps[name], self._accept(name, found)))
                    done += 1
                    self._control.emit(FrameProgress(done=done, total=total, path=str(self._faceset.path / name)))
                    if len(pending) >= BATCH_FACES:
                        self._store.put(pending)
                        pending = []
                    stopped = self._control.stop_requested()
                    if stopped is not None:
                        break
        finally:
            self._store.put(pending)
        return stopped

    def _in_order(
        self, pool: ThreadPoolExecutor, names: Sequence[str], workers: int
    ) -> Iterator[tuple[str, FaceMetrics | DflError]]:
        waiting: deque[tuple[str, Future[FaceMetrics | DflError]]] = deque()
        try:
            for name in names:
                waiting.append((name, pool.submit(self._measure_one, name)))
                if len(waiting) > workers * AHEAD_PER_THREAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def _measure_one(self, name: str) -> FaceMetrics | DflError:
        try:
            return measure_face(self._faceset.read_image(name), self._points[self._row[name]])
        except (DataCorrupt, InvalidInput, NotFound) as error:
            return error

    def _accept(self, name: str, found: FaceMetrics | DflError) -> FaceMetrics | None:
        if isinstance(found, DflError):
            self.damaged.append(name)
            self._control.emit(Notice(message=found.message, reason=found.reason, details=dict(found.details)))
            return None
        self.measured += 1
        return found


def _replaced_notice(path: Path) -> Notice:
    return Notice(
        message=f"The measures in {path} were damaged or of another version; they are taken again.",
        reason="METRICS_REPLACED",
        details={"path": str(path)},
    )
