"""A segmenter over a whole faceset: one mask per face, into the faceset's mask store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeGuard, cast

import numpy as np

from dflcore.errors import DataCorrupt, DflError, NotFound
from dflcore.geometry.alignment import aligned_points
from dflcore.io.faceset import Faceset
from dflcore.io.masks import MaskStore, check_source
from dflcore.models.checkpoint import ModelFolder
from dflcore.progress import FrameProgress, LoggedRun, Notice, RunControl, StopRequest
from dflcore.segment.base import SEGMENTERS, AnySegmenter, LandmarkSegmenter, Segmenter, create_segmenter
from dflcore.segment.crop import cut_for_network, mask_to_aligned
from dflcore.segment.network import open_segmenter
from dflcore.types import FaceRecord, FloatArray
from dflcore.weights.store import WeightStore

BATCH_SIZE = 16
MAX_SINGLE_NOTICES = 3
"""Unreadable faces that are reported one by one; the rest are summed up at the end."""
DEFAULT_SOURCE = "xseg"
_CLOCK_STEP = timedelta(seconds=1)
"""The mask store writes times in whole seconds, rounded down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What an application did.

    Attributes:
        faces: in the faceset. masked: given a mask by this run. current: had one of the same segmenter already.
        unreadable: left out because their image is damaged.
        made_by: the segmenter's digest, as kept with the masks.
        stopped: why it ended early, None when every face was looked at.
    """

    faces: int
    masked: int
    current: int
    unreadable: int
    made_by: str
    stopped: StopRequest | None


def apply_segmenter(
    faceset_path: Path,
    segmenter: Path | str,
    control: RunControl | None = None,
    *,
    source: str = DEFAULT_SOURCE,
    store: WeightStore | None = None,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
) -> ApplyResult:
    """Make a mask of every face of a faceset.

    Masks stay soft; values below 0.1 are 0. A face whose newest mask came from the same segmenter, and which has not
    been written anew since, is skipped, so that a run that was stopped goes on where it was. What a new mask replaces
    stays as an older version.

    Args:
        faceset_path: the faceset.
        segmenter: a trained model's folder, or a name of the segmenter registry.
        control: told of every batch, asked for a stop before each.
        source: name the masks are kept under.
        store: where weights of registered segmenters come from.
        device: torch device; ``auto`` takes CUDA where it is.
        batch_size: faces per call of the network.

    Raises:
        NotFound: no such faceset, model or segmenter.
        InvalidInput: a reserved source name, a face model in place of a segmentation model.
        DataCorrupt: the model, or the face images of the whole set, are damaged.
    """
    control = control or LoggedRun()
    check_source(source)
    chosen, notices = open_named_segmenter(segmenter, store or WeightStore(), device)
    for notice in notices:
        control.emit(notice)
    with Faceset.open(faceset_path) as faceset, MaskStore.open(faceset_path, create=True) as masks:
        return _Application(faceset, masks, chosen, source, control, batch_size).run()


def open_named_segmenter(segmenter: Path | str, store: WeightStore, device: str) -> tuple[AnySegmenter, list[Notice]]:
    """A model's folder, or a segmenter by name; a folder that is there wins over a name of the same spelling.

    Raises:
        NotFound: it is neither. Others as :func:`open_segmenter` and :func:`create_segmenter`.
    """
    if isinstance(segmenter, Path) or ModelFolder.exists(Path(segmenter)) or segmenter not in SEGMENTERS.names():
        path = Path(segmenter)
        if not isinstance(segmenter, Path) and not path.exists():
            raise NotFound(
                f"{segmenter!r} is neither a model's folder nor a segmenter; known segmenters are "
                f"{', '.join(SEGMENTERS.names())}.",
                reason="SEGMENTER_NOT_FOUND",
                name=segmenter,
            )
        return open_segmenter(path, device=device)
    return create_segmenter(segmenter, store, device=device), []


class _Application:
    """One run over one faceset."""

    def __init__(
        self,
        faceset: Faceset,
        masks: MaskStore,
        segmenter: AnySegmenter,
        source: str,
        control: RunControl,
        batch_size: int,
    ) -> None:
        self._faceset, self._masks, self._segmenter = faceset, masks, segmenter
        self._source, self._control, self._batch_size = source, control, batch_size
        self._masked = self._current = 0
        self._unreadable: list[DflError] = []

    def run(self) -> ApplyResult:
        total, looked_at = len(self._faceset), 0
        stopped: StopRequest | None = None
        for batch in _batches(self._faceset.records(), self._batch_size):
            stopped = self._control.stop_requested()
            if stopped:
                break
            self._mask_batch([record for record in batch if not self._is_current(record)])
            looked_at += len(batch)
            self._control.emit(FrameProgress(done=looked_at, total=total, frame=batch[-1].frame))
        if self._unreadable and len(self._unreadable) == total:
            raise self._unreadable[0]
        self._sum_up_unreadable()
        return ApplyResult(
            faces=total,
            masked=self._masked,
            current=self._current,
            unreadable=len(self._unreadable),
            made_by=self._segmenter.digest,
            stopped=stopped,
        )

    def _is_current(self, record: FaceRecord) -> bool:
        """Its newest mask came from this segmenter, and its image has not been written since."""
        versions = self._masks.versions(record.name, self._source)
        if not versions or versions[-1].is_removed or versions[-1].made_by != self._segmenter.digest:
            return False
        made_before = datetime.fromisoformat(versions[-1].made_at) + _CLOCK_STEP
        written = 0.0
        with contextlib.suppress(OSError):
            written = (self._faceset.path / record.name).stat().st_mtime
        current = written < made_before.timestamp()
        self._current += current
        return current

    def _mask_batch(self, records: list[FaceRecord]) -> None:
        if reads_pixels(self._segmenter):
            made = self._segment_pixels(records, self._segmenter)
        else:
            made = self._segment_landmarks(records, cast("LandmarkSegmenter", self._segmenter))
        named = [(record.name, mask) for record, mask in made]
        if named:
            self._masks.add_masks(self._source, named, made_by=self._segmenter.digest)
        self._masked += len(named)

    def _segment_pixels(self, records: list[FaceRecord], segmenter: Segmenter) -> list[tuple[FaceRecord, FloatArray]]:
        readable, cuts = [], []
        for record in records:
            try:
                image = self._faceset.read_image(record.name)
            except (NotFound, DataCorrupt) as error:
                self._note_unreadable(error)
                continue
            readable.append(record)
            cuts.append(cut_for_network(image, record, segmenter.face_type, segmenter.size))
        if not cuts:
            return []
        found = segmenter.segment(np.stack(cuts))
        return [
            (record, mask_to_aligned(mask, record, segmenter.face_type))
            for record, mask in zip(readable, found, strict=True)
        ]

    def _segment_landmarks(
        self, records: list[FaceRecord], segmenter: LandmarkSegmenter
    ) -> list[tuple[FaceRecord, FloatArray]]:
        return [
            (record, segmenter.segment_landmarks(aligned_points(record), record.aligned_size)) for record in records
        ]

    def _note_unreadable(self, error: DflError) -> None:
        self._unreadable.append(error)
        if len(self._unreadable) <= MAX_SINGLE_NOTICES:
            self._control.emit(Notice(message=error.message, reason=error.reason, details=dict(error.details)))

    def _sum_up_unreadable(self) -> None:
        if len(self._unreadable) > MAX_SINGLE_NOTICES:
            message = f"{len(self._unreadable)} faces of {self._faceset.path} cannot be read and have no new mask."
            self._control.emit(Notice(message=message, reason="FACES_UNREADABLE"))


def reads_pixels(segmenter: AnySegmenter) -> TypeGuard[Segmenter]:
    """It looks at pictures, not at landmarks."""
    return hasattr(segmenter, "segment")


def _batches(records: Iterator[FaceRecord], size: int) -> Iterator[list[FaceRecord]]:
    batch: list[FaceRecord] = []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
