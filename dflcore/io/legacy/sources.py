"""Where faces of the reference lie: a folder of JPEG files, or a packed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import InvalidInput, NotFound
from dflcore.io.legacy.meta_dat import META_NAME
from dflcore.io.legacy.pak import MAX_FACE_BYTES, PAK_NAME, FaceEntry, PakReader
from dflcore.io.legacy.reading import translate_read_errors

_SUFFIXES = frozenset({".jpg", ".jpeg"})
_OTHER_PICTURES = frozenset({".png", ".tif", ".tiff", ".webp", ".exr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacySource:
    """Faces that can be read in any order.

    Attributes:
        path: the folder or file.
        label: what a person would call it: the name of its folder.
        entries: every face there should be.
        read: bytes of a face's JPEG file by its place in ``entries``; None when it is not whole or not readable.
        notes: what is wrong or was left out, in words.
        saved_metadata: a ``meta.dat`` beside the pictures, None without.
    """

    path: Path
    label: str
    entries: list[FaceEntry]
    read: Callable[[int], bytes | None]
    notes: tuple[str, ...] = ()
    saved_metadata: Path | None = None


def open_source(path: Path) -> LegacySource:
    """Find the faces of a folder of JPEG files, of a ``.pak`` file, or of a folder that holds ``faceset.pak``.

    Sub-folders of a folder of JPEG files, one level deep, are persons, as they are when the reference packs it. What
    is whole of a truncated pak is offered.

    Raises:
        NotFound: there is nothing of that name.
        InvalidInput: neither folder nor pak, no faces in it, not readable for this user, or a hostile index.
        Unsupported, DataCorrupt: the pak cannot be read at all.
    """
    path = Path(path)
    if path.is_file():
        return _pak_source(path, ())
    if not path.is_dir():
        raise NotFound(f"There is no faceset {path}.", reason="LEGACY_FACESET_NOT_FOUND", path=path)
    with translate_read_errors(path):
        return _folder_source(path)


def _folder_source(path: Path) -> LegacySource:
    files = [(file, "") for file in _pictures(path)]
    if (path / PAK_NAME).is_file():
        note = f"{path} holds {PAK_NAME} and {len(files)} JPEG files; the packed faces are taken, the files are not."
        return _pak_source(path / PAK_NAME, (note,) if files else ())
    for folder in sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith(".")):
        files += [(file, folder.name) for file in _pictures(folder)]
    if not files:
        raise InvalidInput(
            f"{path} holds neither JPEG files nor {PAK_NAME}; give the folder of aligned faces.",
            reason="NO_LEGACY_FACES",
            path=path,
        )
    others = sum(file.suffix.lower() in _OTHER_PICTURES for file in path.iterdir())
    note = f"{others} pictures of {path} are not JPEG files; they hold no face metadata and are left out."
    saved = path / META_NAME
    return LegacySource(
        path=path,
        label=_label(path),
        entries=[FaceEntry(file.name, person) for file, person in files],
        read=lambda position: _read_file(files[position][0]),
        notes=(note,) if others else (),
        saved_metadata=saved if saved.is_file() else None,
    )


def _pak_source(path: Path, notes: tuple[str, ...]) -> LegacySource:
    reader = PakReader(path, salvage=True)
    if not reader.entries:
        raise InvalidInput(f"{path} holds no faces.", reason="NO_LEGACY_FACES", path=path)
    return LegacySource(
        path=path,
        label=_label(path.parent) if path.name == PAK_NAME else path.stem,
        entries=reader.entries,
        read=reader.read,
        notes=(*notes, *reader.notes),
    )


def _label(folder: Path) -> str:
    """``data_dst`` for the reference's usual ``data_dst/aligned``."""
    folder = folder.absolute()
    return folder.parent.name if folder.name == "aligned" and folder.parent.name else folder.name or "faces"


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_FACE_BYTES else None
    except OSError:
        return None
