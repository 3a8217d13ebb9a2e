"""Orders and selections kept by name, and two ways to look at them: sheets of pictures, and a folder of links.

A view is ``views/<name>.json`` in the faceset folder. It names faces; it never moves them. Faces that have gone since
are passed over when it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dflcore.curate.sorts import SortResult
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.atomic import translate_disk_errors, write_text
from dflcore.io.faceset import Faceset
from dflcore.io.pack import FaceFiles
from dflcore.version import SOFTWARE

VIEWS_NAME: Final = "views"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_MAX_FILE_NAME_BYTES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An order or selection of a faceset's faces.

    Attributes:
        name: of the view, also its file's.
        title: what made it, for people: a sort, a filter.
        names: faces in order.
        values: by name, what the order was made by; may be empty.
        unit: of the values.
        when: ISO 8601, UTC.
    """

    name: str
    title: str
    names: tuple[str, ...]
    values: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    when: str = ""


def view_of(result: SortResult, name: str) -> View:
    """What a sort found, as a view."""
    return View(name=name, title=result.by, names=result.order, values=result.values, unit=result.unit)


def save_view(faceset_path: Path, view: View) -> Path:
    """Write a view, in place of one of the same name; whole or not at all.

    Raises:
        InvalidInput: the name cannot be a file's, or the folder cannot be written.
        ResourceExhausted: the disk is full.
    """
    path = _view_path(faceset_path, view.name)
    text = json.dumps(
        {
            "title": view.title,
            "unit": view.unit,
            "when": view.when or datetime.now(UTC).isoformat(timespec="seconds"),
            "software": SOFTWARE,
            "names": list(view.names),
            "values": {name: value for name, value in view.values.items() if value == value},
        },
        indent=0,
        ensure_ascii=False,
    )
    write_text(path, text)
    return path


def load_view(faceset: Faceset, name: str) -> View:
    """Read a view; faces the set no longer has are left out.

    Raises:
        NotFound: there is no such view.
        DataCorrupt: its file is damaged.
        InvalidInput: the name cannot be a view's.
    """
    path = _view_path(faceset.path, name)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        present = set(faceset.names)
        names = tuple(dict.fromkeys(face for face in entry["names"] if face in present))
        values = {face: float(value) for face, value in entry["values"].items() if face in present}
        texts = {key: _text(entry[key]) for key in ("title", "unit", "when")}
    except FileNotFoundError as error:
        known = ", ".join(list_views(faceset.path)) or "none yet"
        raise NotFound(
            f"{faceset.path} has no view named {name!r}; there is {known}.", reason="VIEW_NOT_FOUND", path=path
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataCorrupt(
            f"The view {path} is damaged: {error}. Delete it and sort again.", reason="VIEW_DAMAGED", path=path
        ) from error
    return View(name=name, names=names, values=values, **texts)


def list_views(faceset_path: Path) -> list[str]:
    """Names of the views of a faceset, in alphabetical order."""
    return sorted(path.stem for path in (Path(faceset_path) / VIEWS_NAME).glob("*.json") if _NAME.fullmatch(path.stem))


def delete_view(faceset_path: Path, name: str) -> None:
    """Remove a view; the faces are not touched. Raises NotFound, InvalidInput."""
    path = _view_path(faceset_path, name)
    try:
        with translate_disk_errors(path):
            path.unlink()
    except FileNotFoundError as error:
        raise NotFound(f"{faceset_path} has no view named {name!r}.", reason="VIEW_NOT_FOUND", path=path) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowseFolder:
    """What :func:`write_browse_folder` made."""

    path: Path
    linked: int
    copied: int


def write_browse_folder(faceset_path: Path, names: Sequence[str], folder: Path) -> BrowseFolder:
    """Show an order in a file browser: hard links ``00001__<name>``, copies where links are impossible or faces packed.

    Deleting there deletes nothing of the faceset. What an earlier call put into the folder is replaced.

    Raises:
        Conflict: the folder holds something else.
        InvalidInput, ResourceExhausted: it cannot be written.
    """
    folder = Path(folder)
    digits = max(5, len(str(len(names))))
    linked = copied = 0
    with translate_disk_errors(folder), FaceFiles.open(Path(faceset_path)) as files:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        for place, name in enumerate(names, start=1):
            target = folder / _shortened(f"{place:0{digits}d}__{name}")
            try:
                os.link(Path(faceset_path) / name, target)
                linked += 1
            except FileNotFoundError:
                with contextlib.suppress(NotFound):  # packed, or gone
                    target.write_bytes(files.read(name))
                    copied += 1
            except OSError:  # another disk, or a file system without links
                shutil.copy2(Path(faceset_path) / name, target)
                copied += 1
    return BrowseFolder(path=folder, linked=linked, copied=copied)


def _clear(folder: Path) -> None:
    ours = re.compile(r"\d{5,}__.+")
    entries = sorted(folder.iterdir())
    foreign = [entry.name for entry in entries if not ours.fullmatch(entry.name) or not entry.is_file()]
    if foreign:
        raise Conflict(
            f"{folder} holds other things ({foreign[0]}); choose an empty folder to browse in.",
            reason="FOLDER_NOT_EMPTY",
            path=folder,
        )
    for entry in entries:
        entry.unlink()


def _shortened(name: str) -> str:
    """The name cut before its suffix where the file system would refuse it."""
    path = Path(name)
    stem = path.stem
    while len((stem + path.suffix).encode()) > _MAX_FILE_NAME_BYTES:
        stem = stem[:-1]
    return stem + path.suffix


def _view_path(faceset_path: Path, name: str) -> Path:
    if not _NAME.fullmatch(name) or name != name.strip():
        raise InvalidInput(
            f"{name!r} cannot name a view: use up to 64 letters, digits, spaces, dots, dashes and underscores.",
            reason="BAD_VIEW_NAME",
            name=name,
        )
    return Path(faceset_path) / VIEWS_NAME / f"{name}.json"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
