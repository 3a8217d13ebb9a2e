"""``meta.dat``: metadata saved by the reference before its pictures were edited elsewhere (fact sheet §1.8)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import DataCorrupt, NotFound
from dflcore.io.legacy.jpeg import MAX_PICTURE_SIDE_PX, LegacyFace, face_from_metadata
from dflcore.io.legacy.pickle_values import Value, iterate_items
from dflcore.io.legacy.reading import translate_read_errors

META_NAME = "meta.dat"


@dataclass(frozen=True, slots=True)
class SavedMetadata:
    """What was kept of one picture.

    Attributes:
        name: file name of the aligned picture.
        face: its metadata; ``size`` is the one the picture had.
    """

    name: str
    face: LegacyFace


def read_meta_dat(path: Path) -> Iterator[SavedMetadata]:
    """Every picture's metadata, in the order saved.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it asks for something to be run (``HOSTILE_PICKLE``).
        DataCorrupt: it is damaged; what stands before the fault has been given out by then.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"There is no saved metadata {path}.", reason="META_DAT_NOT_FOUND", path=path)
    with contextlib.ExitStack() as stack:
        with translate_read_errors(path):
            stream = stack.enter_context(open(path, "rb"))
        for item in iterate_items(stream, path.stat().st_size, str(path)):
            yield _saved(item, path)


def _saved(item: Value, path: Path) -> SavedMetadata:
    name, value = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
    if not isinstance(name, str) or not isinstance(value, (tuple, list)) or len(value) != 2:
        raise DataCorrupt(
            f"{path} is damaged: an entry is not a file name with shape and metadata.",
            reason="META_DAT_DAMAGED",
            path=path,
        )
    shape, metadata = value
    is_shape = isinstance(shape, (tuple, list)) and len(shape) in (2, 3)
    if not is_shape or any(type(side) is not int or not 0 < side <= MAX_PICTURE_SIDE_PX for side in shape[:2]):
        raise DataCorrupt(
            f"{path} is damaged: the picture size of {name[:80]} is {str(shape)[:40]}.",
            reason="META_DAT_DAMAGED",
            path=path,
        )
    return SavedMetadata(name, face_from_metadata(metadata, (shape[1], shape[0]), f"{path} ({name[:80]})"))
