"""Folders of ours: put in place whole, known by the list of their files, and taken away by it.

The list is ``dfl_install.json`` in the folder: every file with the SHA-256 it was installed with. What it does not name
is not ours; what it names with another checksum was changed by somebody, and is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dflcore.errors import Conflict, DataCorrupt, InvalidInput
from dflcore.io.atomic import translate_disk_errors, write_text

LIST_NAME = "dfl_install.json"
LIST_FORMAT = 1
ASIDE = ".yours"
"""Suffix of a copy of a file that was changed and had to make room."""
_CACHES = ("__pycache__",)


@dataclass(frozen=True, slots=True)
class Installed:
    """The list of an installation.

    Attributes:
        host: ``nuke``, ``blender`` or ``resolve``. version: of the integration.
        files: path below the folder, with ``/`` → SHA-256.
        elsewhere: path below another folder (Resolve's) → SHA-256 of what was put there, newest first.
        notes: what uninstalling must know.
    """

    host: str
    version: str
    files: Mapping[str, str]
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as it was installed; paths below the folder. Caches of Python's are nothing."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_of(folder: Path) -> dict[str, str]:
    """Path below the folder → SHA-256 of every file but our list and Python's caches."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _CACHES)
        for name in sorted(names):
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if relative != LIST_NAME:
                found[relative] = digest(path) if path.is_file() else ""
    return found


def read_list(folder: Path) -> Installed | None:
    """The list of a folder; None where there is none.

    Raises:
        DataCorrupt: it cannot be understood.
        InvalidInput: it cannot be read.
    """
    path = folder / LIST_NAME
    try:
        with disk_errors(path):
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        elsewhere = {_safe(name): tuple(map(str, known)) for name, known in values["elsewhere"].items()}
        files = {_safe(name): str(known) for name, known in values["files"].items()}
        notes = {str(name): str(value) for name, value in values["notes"].items()}
        if int(values["format"]) > LIST_FORMAT:
            raise Conflict(
                f"{folder} was installed by a newer version of this software; use that one.", reason="INSTALLED_NEWER"
            )
        return Installed(str(values["host"]), str(values["version"]), files, elsewhere, notes)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataCorrupt(
            f"The list of installed files {path} is damaged; remove the folder {folder} and install again.",
            reason="INSTALL_LIST_DAMAGED",
            path=path,
        ) from error


def write_list(folder: Path, installed: Installed) -> None:
    """Write the list of a folder, atomically."""
    values = {
        "format": LIST_FORMAT,
        "host": installed.host,
        "version": installed.version,
        "notes": dict(installed.notes),
        "files": dict(installed.files),
        "elsewhere": {name: list(known) for name, known in installed.elsewhere.items()},
    }
    write_text(folder / LIST_NAME, json.dumps(values, indent=1, sort_keys=True) + "\n")


def _safe(name: str) -> str:
    """A path of the list; ValueError where it leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ValueError(name)
    return name


def compare(folder: Path, installed: Installed) -> Difference:
    """The folder against its list."""
    with disk_errors(folder):
        found = files_of(folder)
    wanted = installed.files
    return Difference(
        missing=tuple(name for name in wanted if name not in found),
        changed=tuple(name for name, known in wanted.items() if name in found and found[name] != known),
        added=tuple(name for name in found if name not in wanted),
    )


def put_in_place(made: Path, folder: Path, installed: Installed) -> tuple[bool, tuple[str, ...]]:
    """Make a folder what ``made`` is: the new one beside it, then two renames. An older one of ours is replaced.

    Files that somebody added stay; of those somebody changed, a copy stays with the suffix ``.yours``.

    Args:
        made: a folder with the files; it is only read.
        installed: its list; ``files`` is filled in here.

    Returns:
        Whether anything changed, and files that were kept, paths below the folder.

    Raises:
        Conflict: the folder holds something that no installation put there.
        InvalidInput: it cannot be written, or is a file.
        ResourceExhausted: the disk is full.
    """
    clear_up(folder)
    new = Installed(installed.host, installed.version, files_of(made), installed.elsewhere, installed.notes)
    old = check_ours(folder, installed.host)
    difference = compare(folder, old) if old else Difference()
    if old == new and not (difference.missing or difference.changed):
        return False, ()
    fresh, former = _beside(folder)
    try:
        with disk_errors(folder):
            copy_folder(made, fresh)
            kept = tuple(_carry_over(folder, fresh, name) for name in (*difference.added, *difference.changed))
            write_list(fresh, new)
            if folder.exists():
                os.rename(folder, former)
            os.rename(fresh, folder)
    finally:
        clear_up(folder)
    return True, kept


def copy_folder(made: Path, fresh: Path) -> None:
    """Copy a folder without Python's caches, file by file, so that a full disk is told as such.

    Permissions are the user's usual ones.

    Raises:
        OSError: something could not be copied.
    """
    fresh.mkdir(parents=True)
    for parent, folders, names in os.walk(made):
        folders[:] = [name for name in folders if name not in _CACHES]
        place = fresh / Path(parent).relative_to(made)
        for name in folders:
            (place / name).mkdir()
        for name in names:
            shutil.copyfile(Path(parent) / name, place / name)


def _carry_over(folder: Path, fresh: Path, name: str) -> str:
    """Copy somebody's file into the new folder, beside ours where both have the name; answers with its name there."""
    place, number = fresh / name, 1
    while os.path.lexists(place):
        place = fresh / f"{name}{ASIDE}{number if number > 1 else ''}"
        number += 1
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(folder / name, place, follow_symlinks=False)
    return place.relative_to(fresh).as_posix()


def clear_up(folder: Path) -> None:
    """Put right what a killed installation left beside a folder: the former one comes back if there is no other."""
    fresh, former = _beside(folder)
    with disk_errors(folder):
        if former.exists() and not folder.exists():
            os.rename(former, folder)
        for leftover in (fresh, former):
            if leftover.exists():
                shutil.rmtree(leftover)


def left_by_a_cut(folder: Path) -> tuple[Path, ...]:
    """What a killed installation left beside a folder, the former one last."""
    return tuple(path for path in _beside(folder) if path.exists())


def _beside(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f".{folder.name}.dfl-new"), folder.with_name(f".{folder.name}.dfl-old")


def check_ours(folder: Path, host: str) -> Installed | None:
    """The list of a folder that may be written to; None where nothing is there yet.

    Raises:
        Conflict: it holds something of somebody else's.
        InvalidInput: it, or a folder above it, is a file.
    """
    for path in (folder, *folder.parents):
        if path.exists():
            if not path.is_dir():
                raise InvalidInput(
                    f"{path} is a file, and a folder is needed; move it away or name another place with --target.",
                    reason="NOT_A_FOLDER",
                    path=path,
                )
            break
    old = read_list(folder)
    if old is not None and old.host != host:
        raise Conflict(
            f"{folder} holds the integration for {old.host}; name another folder with --target.",
            reason="OTHER_HOST",
            path=folder,
        )
    with disk_errors(folder):
        if old is None and folder.exists() and any(folder.iterdir()):
            raise Conflict(
                f"{folder} holds files that are not of this software; name another folder with --target.",
                reason="NOT_OURS",
                path=folder,
            )
    return old


def take_away(folder: Path, installed: Installed) -> tuple[str, ...]:
    """Remove what a list names, the list last, and folders that are empty then; says which files were kept."""
    difference = compare(folder, installed)
    with disk_errors(folder):
        for name in installed.files:
            if name not in difference.changed:
                (folder / name).unlink(missing_ok=True)
        prune(folder)
        (folder / LIST_NAME).unlink(missing_ok=True)
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
    return (*difference.changed, *difference.added)


def remove_if_empty(*folders: Path) -> None:
    """Remove folders with nothing in them, one after the other."""
    for folder in folders:
        with contextlib.suppress(OSError):  # something is in it
            folder.rmdir()


def prune(folder: Path) -> None:
    """Remove caches of Python's below a folder, and folders with nothing in them; never the folder itself."""
    for parent, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            path = Path(parent) / name
            if path.is_symlink():
                continue
            if name in _CACHES:
                for cached in path.glob("*.pyc"):
                    cached.unlink()
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """As :func:`dflcore.io.atomic.translate_disk_errors`, and a sentence for every other refusal but *not found*."""
    try:
        with translate_disk_errors(path):
            yield
    except FileNotFoundError:
        raise
    except OSError as error:
        named = error.filename or path
        raise InvalidInput(
            f"{named} cannot be read or written: {error.strerror or error}.", reason="NOT_WRITABLE", path=named
        ) from error
