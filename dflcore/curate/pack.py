"""A faceset's images into one file and back again.

A hundred thousand small files are slow to list, copy and back up. Packing puts them into ``faces.pack`` (see
:mod:`dflcore.io.pack`); unpacking restores the very same bytes. Whenever either is killed, each image is whole in the
pack, loose, or in both; running either again goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import DataCorrupt, NotFound, ResourceExhausted
from dflcore.io.atomic import atomic_path, remove_leftovers, sync_file, sync_folder, translate_disk_errors, write_bytes
from dflcore.io.faceset import Faceset, lock_faceset
from dflcore.io.pack import (
    PACK_NAME,
    TRASH_LIST_NAME,
    FacePack,
    is_image_name,
    restore_members,
    trash_members,
    trashed_members,
    write_pack,
)
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest

TRASH_FOLDER = "trash"
_STAGING = ".unpacking"
_PROGRESS_EVERY = 64
"""Faces between two reports: writing one takes microseconds."""
_SPARE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PackResult:
    """What packing or unpacking left behind.

    Attributes:
        faces: images in the pack, or restored from it.
        bytes: size of the pack.
        stopped: why it ended early; everything is then where it was, or in the pack and loose.
    """

    faces: int
    bytes: int
    stopped: StopRequest | None


def pack_faceset(path: Path, control: RunControl) -> PackResult:
    """Move the images of all faces of a faceset into its pack, making it when needed.

    The pack is written beside, flushed, read back and compared, and only then takes its name; after that the loose
    images go. Images that are no face of the index stay where they are, and so does the trash folder.

    Args:
        path: the faceset.
        control: told of faces done, asked for a stop before each.

    Raises:
        NotFound: there is no faceset, or it has no faces.
        Conflict: another process writes to it.
        DataCorrupt: the earlier pack is damaged, or what was written does not read back.
        ResourceExhausted: the disk has no room for the pack beside the loose images.
        InvalidInput: the folder cannot be written.
    """
    path = Path(path)
    Faceset.open(path).close()  # an older index is brought up to date before the lock is taken
    with _locked(path), contextlib.ExitStack() as stack:
        remove_leftovers(path)
        with Faceset.open(path) as faceset:
            names = faceset.names
        earlier = _open_pack(path, stack)
        loose = _loose_images(path, names)
        members = list(dict.fromkeys([*names, *(earlier.names() if earlier else ())]))
        members = [name for name in members if name in loose or (earlier is not None and name in earlier)]
        if not members:
            raise NotFound(f"The faceset {path} has no faces to pack.", reason="NO_FACES", path=path)
        try:
            if earlier is None:
                restore_members(path, trashed_members(path))  # a list that outlived its pack means nothing
            if earlier is None or not _holds(earlier, path, loose):
                _require_room(path, sum(_size(name, loose, earlier) for name in members))
                _write(path, members, loose, earlier, control)
            _bring_back_replaced(path, loose, earlier)
            _remove_loose(path, loose, control)
        except _Stopped as stop:
            return PackResult(faces=len(members), bytes=_size_of(path / PACK_NAME), stopped=stop.request)
    return PackResult(faces=len(members), bytes=_size_of(path / PACK_NAME), stopped=None)


def unpack_faceset(path: Path, control: RunControl) -> PackResult:
    """Restore all images of a pack as loose files, bit for bit, and remove the pack.

    Packed faces that were put aside go to the trash folder. An image that lies loose already is newer than the pack's
    and stays.

    Args:
        path: the faceset.
        control: told of faces done, asked for a stop before each.

    Raises:
        NotFound: there is no pack.
        Conflict: another process writes to the faceset.
        DataCorrupt: the pack is damaged; it stays, and no image is touched.
        ResourceExhausted: the disk has no room for the images beside the pack.
        InvalidInput: the folder cannot be written.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        pack = stack.enter_context(FacePack.open(path / PACK_NAME))
        stack.enter_context(_locked(path))
        size = _size_of(pack.path)
        trashed = trashed_members(path)
        targets = {name: path / TRASH_FOLDER / name if name in trashed else path / name for name in pack.names()}
        todo = {name: target for name, target in targets.items() if not target.exists()}
        _require_room(path, sum(pack.size(name) for name in todo))
        staging = path / _STAGING
        _remove_folder(staging)  # of a run that was killed before it moved anything
        try:
            with translate_disk_errors(path):
                _restore(pack, list(todo), staging, control)
                _move_all(staging, todo)
                _remove_folder(staging)
                pack.path.unlink()
                (path / TRASH_LIST_NAME).unlink(missing_ok=True)
                sync_folder(path)
        except _Stopped as stop:
            return PackResult(faces=len(pack), bytes=size, stopped=stop.request)
        finally:
            _remove_folder(staging)
        return PackResult(faces=len(pack), bytes=size, stopped=None)


class _Stopped(Exception):
    def __init__(self, request: StopRequest) -> None:
        super().__init__(request)
        self.request = request


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with translate_disk_errors(path):
        lock = lock_faceset(path)
    try:
        yield
    finally:
        os.close(lock)


def _go_on(control: RunControl) -> None:
    stop = control.stop_requested()
    if stop is not None:
        raise _Stopped(stop)


def _report(control: RunControl, done: int, total: int, path: Path | None = None) -> None:
    if done % _PROGRESS_EVERY == 0 or done == total:
        control.emit(FrameProgress(done=done, total=total, path=None if path is None else str(path)))


def _open_pack(path: Path, stack: contextlib.ExitStack) -> FacePack | None:
    try:
        return stack.enter_context(FacePack.open(path / PACK_NAME))
    except NotFound:
        return None


def _loose_images(path: Path, names: Sequence[str]) -> dict[str, os.stat_result]:
    """Faces whose image lies in the folder, and the state of the file as it is about to be packed."""
    wanted = {name for name in names if is_image_name(name)}
    return {
        entry.name: entry.stat(follow_symlinks=False)
        for entry in os.scandir(path)
        if entry.name in wanted and entry.is_file(follow_symlinks=False)  # a link stays a link
    }


def _size(name: str, loose: Mapping[str, os.stat_result], earlier: FacePack | None) -> int:
    if name in loose:
        return loose[name].st_size
    return earlier.size(name) if earlier is not None else 0


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _require_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if free < needed + _SPARE_BYTES:
        raise ResourceExhausted(
            f"{path} needs {needed / 1e6:.0f} MB more while the images are there twice, and the disk has "
            f"{free / 1e6:.0f} MB free. Free some space and run again; nothing was changed.",
            reason="DISK_FULL",
            path=path,
        )


def _holds(pack: FacePack, path: Path, loose: Mapping[str, os.stat_result]) -> bool:
    """A run that was killed while it removed loose images has written this pack already."""
    return all(
        name in pack and pack.size(name) == stat.st_size and pack.crc(name) == zlib.crc32((path / name).read_bytes())
        for name, stat in loose.items()
    )


def _write(
    path: Path,
    members: Sequence[str],
    loose: Mapping[str, os.stat_result],
    earlier: FacePack | None,
    control: RunControl,
) -> None:
    """The new pack, read back before it takes the place of the earlier one. Each image counts half when written."""
    checksums: dict[str, int] = {}

    def contents() -> Iterator[tuple[str, bytes, int]]:
        for index, name in enumerate(members):
            _go_on(control)
            try:
                data = _read_member(path, name, loose, earlier)
            except FileNotFoundError:  # deleted by hand meanwhile: the face is gone
                continue
            checksums[name] = zlib.crc32(data)
            yield name, data, _mtime_ns(name, loose, earlier)
            _report(control, (index + 1) // 2, len(members))

    with atomic_path(path / PACK_NAME) as temporary:
        write_pack(temporary, contents())
        sync_file(temporary)
        with FacePack.open(temporary) as written:
            for index, name in enumerate(written.names()):
                _go_on(control)
                if zlib.crc32(written.read(name)) != checksums[name]:
                    raise DataCorrupt(
                        f"The image {name} does not read back from the pack in {path}; the disk may be failing. "
                        "Nothing was removed.",
                        reason="PACK_NOT_VERIFIED",
                        path=path,
                    )
                _report(control, (len(members) + index + 1) // 2, len(members))


def _read_member(path: Path, name: str, loose: Mapping[str, os.stat_result], earlier: FacePack | None) -> bytes:
    if name in loose:
        return (path / name).read_bytes()
    assert earlier is not None  # members come from nowhere else
    return earlier.read(name)


def _mtime_ns(name: str, loose: Mapping[str, os.stat_result], earlier: FacePack | None) -> int:
    if name in loose:
        return loose[name].st_mtime_ns
    return earlier.mtime_ns(name) if earlier is not None else 0


def _bring_back_replaced(path: Path, loose: Mapping[str, os.stat_result], earlier: FacePack | None) -> None:
    """A face put aside and cut again since is there again; the picture that was put aside goes to the trash folder."""
    again = trashed_members(path) & loose.keys()
    if not again:
        return
    for name in again:
        target = path / TRASH_FOLDER / name
        if earlier is not None and name in earlier and not target.exists():
            write_bytes(target, earlier.read(name))
    restore_members(path, again)


def _remove_loose(path: Path, loose: Mapping[str, os.stat_result], control: RunControl) -> None:
    """Delete what the pack holds, unless somebody saved over it meanwhile."""
    changed = []
    for name, packed in loose.items():
        _go_on(control)
        try:
            now = (path / name).stat(follow_symlinks=False)
        except FileNotFoundError:  # deleted by hand meanwhile
            trash_members(path, [name])
            continue
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (packed.st_size, packed.st_mtime_ns, packed.st_ino):
            changed.append(name)
            continue
        (path / name).unlink()
    if changed:
        control.emit(
            Notice(
                message=f"{len(changed)} images were changed while they were packed and stay loose, beginning with "
                f"{changed[0]}; the loose ones count. Pack again to take them in.",
                reason="CHANGED_WHILE_PACKED",
                details={"path": str(path / changed[0])},
            )
        )


def _restore(pack: FacePack, names: Sequence[str], staging: Path, control: RunControl) -> None:
    """All images on the disk for certain, in a folder of their own."""
    staging.mkdir()
    for index, name in enumerate(names):
        _go_on(control)
        (staging / name).write_bytes(pack.read(name))
        if pack.mtime_ns(name):
            os.utime(staging / name, ns=(pack.mtime_ns(name), pack.mtime_ns(name)))
        _report(control, index + 1, len(names), staging.parent / name)
    if hasattr(os, "sync"):
        os.sync()  # all at once first: flushing thousands of files one by one takes minutes
    for name in names:
        sync_file(staging / name)


def _move_all(staging: Path, targets: Mapping[str, Path]) -> None:
    folders = {target.parent for target in targets.values()}
    for folder in folders:
        folder.mkdir(exist_ok=True)
    for name, target in targets.items():
        os.rename(staging / name, target)
    for folder in folders:
        sync_folder(folder)


def _remove_folder(folder: Path) -> None:
    with translate_disk_errors(folder), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
