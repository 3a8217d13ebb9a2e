"""Which plates a faceset's index names, read without the image libraries that facesets come with."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from dflcore.errors import DataCorrupt, NotFound

INDEX_NAME = "index.sqlite"
"""As :mod:`dflcore.io.faceset` calls it."""
BUSY_TIMEOUT_S = 2.0


def plates_of_faceset(path: Path) -> list[str]:
    """Plates as the user named them, in the order they came.

    Raises:
        NotFound: the folder holds no faceset.
        DataCorrupt: its index cannot be read.
    """
    index = path / INDEX_NAME
    if not index.is_file():
        raise NotFound(
            f"{path} holds no {INDEX_NAME}, so it is not a faceset; make one with `dfl extract`.",
            reason="NOT_A_FACESET",
            path=path,
        )
    mode = "rw" if index.with_name(INDEX_NAME + "-journal").exists() else "ro"  # SQLite rolls back what a kill left
    address = f"file:{quote(str(index.absolute()))}?mode={mode}"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S)) as database:
            names = [name for (name,) in database.execute("SELECT name FROM plate ORDER BY id")]
    except sqlite3.Error as error:
        raise DataCorrupt(
            f"The faceset index {index} cannot be read: {error}.", reason="FACESET_INDEX_DAMAGED", path=index
        ) from error
    if not all(isinstance(name, str) for name in names):
        raise DataCorrupt(
            f"The faceset index {index} is damaged: a plate's name is no text.",
            reason="FACESET_INDEX_DAMAGED",
            path=index,
        )
    return names
