"""The faces, labels and masks of one faceset, as the editor's page sees them. Knows no HTTP."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dflcore.curate.trash import move_to_trash, restore
from dflcore.curate.views import load_view
from dflcore.errors import Conflict, NotFound
from dflcore.io.faceset import Faceset
from dflcore.io.lock import take_lock
from dflcore.io.mask_labels import Label, check_label, label_from_values
from dflcore.io.masks import LABEL_SOURCE, MaskStore
from dfldaemon.label_editor import pictures

MADE_BY: Final = "label_editor"
LOCK_NAME: Final = ".labels.lock"
LOCK_DEADLINE_S: Final = 5.0
"""It is held for one small transaction; whoever waits longer waits for something that hangs."""
_LOCK_RETRY_S: Final = 0.01
_HEAD_BYTES: Final = 64
_THUMBNAILS_KEPT: Final = 2000
"""A few kilobytes each."""


@dataclass(frozen=True, slots=True)
class LabelState:
    """A label and its version; version 0 is a face that never had one. A label taken away has no polygons."""

    version: int
    label: Label

    def as_json(self) -> dict[str, Any]:
        return {"version": self.version, "label": json.loads(self.label.to_json())}


class LabelChanged(Conflict):
    """Somebody else saved the label in the meantime; nothing was written.

    Attributes:
        answer: what is stored now, for the page to show.
    """

    default_reason = "LABEL_CHANGED"

    def __init__(self, name: str, now: LabelState) -> None:
        super().__init__(f"The label of {name} was changed somewhere else since you began.", face=name)
        self.answer = now.as_json()


class Workspace:
    """One faceset opened for labelling. Safe to use from several threads; others may work on the faceset meanwhile.

    Args:
        path: the faceset.
        view: name of a list in the faceset's folder of views that says which faces, in which order; all when None.

    Raises:
        NotFound, DataCorrupt, Unsupported: as :meth:`Faceset.open`; or there is no such view, or it is damaged.
        InvalidInput: labels cannot be written there, or the view's name is none.
    """

    def __init__(self, path: Path, *, view: str | None = None) -> None:
        self.path = Path(path)
        self.view = view
        self._lock = threading.RLock()
        self._revision = 0
        self._names: tuple[str, ...] = ()
        self._positions: dict[str, int] = {}
        self._faceset = Faceset.open(self.path)
        try:
            self._set_names(_viewed(self._faceset, view))
            self._store = MaskStore.open(self.path, create=True)
        except BaseException:
            self._faceset.close()
            raise
        self._kept_thumbnail = functools.lru_cache(maxsize=_THUMBNAILS_KEPT)(self._make_thumbnail)

    def describe(self, *, face: str = "", look_again: bool = False) -> dict[str, Any]:
        """What the page needs to begin: the faceset, how many faces there are, which are labelled.

        Args:
            face: a face whose position the page wants to know; 0 is answered when there is none.
            look_again: list the folder anew, as faces come and go.
        """
        if look_again:
            with Faceset.open(self.path) as opened:
                self._set_names(_viewed(opened, self.view))
        with self._lock:
            positions, total, revision = self._positions, len(self._names), self._revision
        labelled = sorted(positions[name] for name in self._store.labelled_faces() if name in positions)
        return {
            "name": self.path.resolve().name,
            "view": self.view or "",
            "face_type": self._faceset.face_type.value,
            "size": self._faceset.aligned_size,
            "total": total,
            "revision": revision,
            "position": positions.get(face, 0),
            "labelled": labelled,
            "sources": list(self._store.sources()),
        }

    def faces(self, start: int, count: int) -> dict[str, Any]:
        """A stretch of the list. ``revision`` tells the page when positions it remembers hold no more."""
        with self._lock:
            names, revision, total = self._names[start : start + count], self._revision, len(self._names)
        labelled = set(self._store.labelled_faces())
        rows = [
            {"name": name, "is_labelled": name in labelled, "is_masked": bool(self._store.masks_of(name))}
            for name in names
        ]
        return {"revision": revision, "total": total, "start": start, "faces": rows}

    def image(self, name: str) -> tuple[bytes, str]:
        """The picture of a face and its media type: the file itself where a browser shows it right, else 8-bit PNG.

        Raises:
            NotFound: there is no such face, or no more.
            DataCorrupt: its file is no picture.
        """
        path = self._file(name)
        try:
            with path.open("rb") as stream:
                head = stream.read(_HEAD_BYTES)
                content_type = pictures.browser_type(path, head)
                if content_type is not None:
                    return head + stream.read(), content_type
        except FileNotFoundError:
            raise self._gone(name) from None
        return pictures.encode_face(self._faceset.read_image(name)), pictures.PNG

    def thumbnail(self, name: str) -> tuple[bytes, str]:
        """A small picture of a face and its media type. Raises as :meth:`image`."""
        try:
            changed_at = self._file(name).stat().st_mtime_ns
        except FileNotFoundError:
            raise self._gone(name) from None
        return self._kept_thumbnail(name, changed_at), pictures.JPEG

    def label(self, name: str) -> LabelState:
        """The newest label of a face. Raises NotFound."""
        self._file(name)
        return self._state(name)

    def save_label(self, name: str, values: object, *, based_on: int) -> int:
        """Store a label as a new version, unless another one was stored since the one it was drawn on.

        Args:
            values: the label as JSON gave it.
            based_on: the version that was read before drawing.

        Returns:
            The version it has now.

        Raises:
            NotFound: there is no such face.
            InvalidInput: no label that could be stored.
            LabelChanged: a version after ``based_on`` is there; nothing was written.
        """
        self._file(name)
        label = label_from_values(values)
        check_label(label)
        with self._sole_writer():
            now = self._state(name)
            if now.version != based_on:
                raise LabelChanged(name, now)
            return self._store.set_label(name, label, made_by=MADE_BY)

    def masks_of(self, name: str) -> dict[str, int]:
        """Sources of the masks a face has, with their newest version. Raises NotFound."""
        self._file(name)
        return self._store.masks_of(name)

    def mask(self, name: str, source: str) -> tuple[bytes, str]:
        """A stored mask as grey PNG, size as stored, and its media type.

        Raises:
            NotFound: there is no such face or mask.
            InvalidInput: no name of a source.
        """
        self._file(name)
        mask = self._store.mask(name, source)
        if mask is None:
            raise NotFound(f"The face {name} has no mask {source!r}.", reason="MASK_NOT_FOUND", face=name)
        return pictures.encode_mask(mask), pictures.PNG

    def hull(self, name: str) -> list[tuple[float, float]]:
        """The outline of the landmarks' hull in aligned pixels. Raises NotFound."""
        self._file(name)
        with self._lock:
            record = self._faceset.record(name)
        return pictures.hull_outline(record)

    def trash(self, name: str) -> None:
        """Move a face into the faceset's trash; its label stays stored.

        Raises:
            NotFound: there is no such face.
            InvalidInput, Conflict: as :func:`~dflcore.curate.trash.move_to_trash`.
        """
        self._file(name)
        if not move_to_trash(self.path, [name], MADE_BY).moved:
            raise self._gone(name)
        with self._lock:
            self._set_names([other for other in self._names if other != name])

    def restore(self, name: str) -> None:
        """Move a face back from the trash.

        Raises:
            NotFound: it is not there.
            InvalidInput, Conflict: as :func:`~dflcore.curate.trash.restore`.
        """
        result = restore(self.path, [name])
        if not result.moved:
            why = result.skipped.get(name, "not in the trash")
            raise NotFound(f"The face {name} was not brought back: {why}.", reason="NOT_RESTORED", face=name)

    def close(self) -> None:
        self._store.close()
        self._faceset.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_names(self, names: Sequence[str]) -> None:
        with self._lock:
            if tuple(names) != self._names:
                self._names = tuple(names)
                self._positions = {name: position for position, name in enumerate(self._names)}
                self._revision += 1

    def _file(self, name: str) -> Path:
        """Where a face lies. Only names out of the index become a path."""
        with self._lock:
            if name not in self._positions:
                raise NotFound(f"The faceset has no face {name!r}.", reason="FACE_NOT_FOUND", face=name)
        return self.path / name

    def _gone(self, name: str) -> NotFound:
        return NotFound(f"The face {name} was deleted or moved meanwhile.", reason="FACE_GONE", face=name)

    def _state(self, name: str) -> LabelState:
        versions = self._store.versions(name, LABEL_SOURCE)
        if not versions:
            return LabelState(0, Label(()))
        newest = versions[-1].version
        return LabelState(newest, self._store.label(name, version=newest) or Label(()))

    def _make_thumbnail(self, name: str, changed_at: int) -> bytes:
        return pictures.encode_thumbnail(self._faceset.read_image(name))

    @contextlib.contextmanager
    def _sole_writer(self) -> Iterator[None]:
        """Between looking which version there is and writing the next, no other editor does the same."""
        busy = Conflict(f"Another program holds the labels of {self.path}; try again.", reason="LABELS_BUSY")
        end = time.monotonic() + LOCK_DEADLINE_S
        while True:
            try:
                descriptor = take_lock(self.path / LOCK_NAME, busy)
                break
            except Conflict:
                if time.monotonic() >= end:
                    raise
                time.sleep(_LOCK_RETRY_S)
        try:
            yield
        finally:
            os.close(descriptor)


def _viewed(faceset: Faceset, view: str | None) -> Sequence[str]:
    """Names of the faces that are there, as the view orders and chooses them."""
    return faceset.names if view is None else load_view(faceset, view).names
