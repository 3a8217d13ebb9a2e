"""Files that clients without a common disk send: sets, each a folder that no client changes once it is whole.

::

    <inbox>/<set id>/.set.json     what was announced; its time of change is the last use
    <inbox>/<set id>/.parts/       files on their way, named after the hash of their name
    <inbox>/<set id>/<name>/...    the files, each whole

A set's id is made from its name, and the names, sizes and hashes of its files: whoever sends the same files sends the
same set, and one that was broken off goes on where it stopped. A set that a job has written to (a model that was
trained on) stays as it is and is never removed; sending the first state again makes another set beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflcore.errors import DataCorrupt, InvalidInput, NotFound, ResourceExhausted
from dflcore.io.atomic import sync_file, translate_disk_errors, write_text
from dfldaemon.folders import private_folder
from dfldaemon.inbox_names import AnnouncedFile, check_announcement, set_id

SET_NAME = ".set.json"
PARTS_NAME = ".parts"
TRASH_MARK = ".removed-"
FORMAT = 1
MAX_CHUNK_BYTES = 4 << 20
RECENT_S = 600.0
"""A set used within so long is in use: more of it may be on its way, or frames of it are asked for one by one."""
LINKED_SUFFIXES = frozenset({".exr", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dpx", ".webp"})
"""Pictures are never written in place, so that two sets may share one file."""
_KNOWN_SETS = 64
_HASHERS = 64
_STRIPES = 64
_READ_BYTES = 1 << 20
_ID = re.compile(r"[0-9a-f]{32}(-[0-9]{1,4})?")
_GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that is not all there: its place in the announcement, and what has come."""

    index: int
    received: int


@dataclass(frozen=True, slots=True)
class OpenedSet:
    """A set as it stands."""

    id: str
    path: Path
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class _Set:
    id: str
    root: Path
    name: str
    files: dict[str, AnnouncedFile]

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def total(self) -> int:
        return sum(file.size for file in self.files.values())

    def final(self, file: AnnouncedFile) -> Path:
        return self.folder / file.name

    def part(self, file: AnnouncedFile) -> Path:
        return self.root / PARTS_NAME / hashlib.sha256(file.name.encode()).hexdigest()


class Inbox:
    """The sets of one daemon. Any thread may use it.

    Args:
        folder: of its own; made where it is not there, private to this user.
        limit_gb: more than this in all is not kept.
        clock: seconds since the epoch, for tests.
    """

    def __init__(self, folder: Path, limit_gb: float, clock: Callable[[], float] = time.time) -> None:
        self.folder = Path(os.path.realpath(private_folder(folder)))
        self._limit = int(limit_gb * _GB)
        self._clock = clock
        self._lock = threading.RLock()
        self._stripes = tuple(threading.Lock() for _ in range(_STRIPES))
        self._known: OrderedDict[str, _Set] = OrderedDict()
        self._hashers: OrderedDict[Path, tuple[Any, int]] = OrderedDict()
        for left in self.folder.glob(f"{TRASH_MARK}*"):
            shutil.rmtree(left, ignore_errors=True)

    def open(
        self, name: str, files: Sequence[AnnouncedFile], is_used: Callable[[Path], bool] = lambda _: False
    ) -> OpenedSet:
        """Take an announcement, make room for it, and say what is still to be sent.

        Args:
            is_used: a job that has not ended names this folder of a set.

        Raises:
            InvalidInput: a name, size or hash cannot be.
            ResourceExhausted: the quota (``INBOX_FULL``) or the disk (``DISK_FULL``) has no room, with every set
                nobody uses removed already.
        """
        check_announcement(name, files)
        with self._lock:
            opened, is_new = self._begin(name, files)
            left = [(index, file) for index, file in enumerate(files) if not _is_whole(opened.final(file), file)]
            if not left:
                return OpenedSet(opened.id, opened.folder, ())
            links = self._links([file for _, file in left])
            try:
                self._make_room(opened, sum(file.size for _, file in left if file.name not in links), is_used)
            except ResourceExhausted:
                if is_new:
                    self._remove(opened.id)
                raise
            for file_name, source in links.items():
                self._link(opened, opened.files[file_name], source)
            missing = [
                Missing(index, _size(opened.part(file)))
                for index, file in left
                if not _is_whole(opened.final(file), file)
            ]
        return OpenedSet(opened.id, opened.folder, tuple(missing))

    def put(self, set_name: str, name: str, offset: int, data: bytes) -> tuple[int, bool]:
        """Take the next bytes of a file; answers with what is there, and whether the file is whole.

        Raises:
            NotFound: no such set; it was removed meanwhile.
            InvalidInput: the file was not announced, the chunk is too large, or goes beyond the announced end.
            DataCorrupt: all has come, and the hash is another one. The file begins anew.
            ResourceExhausted: the disk is full; what has come is kept.
        """
        opened = self._set(set_name)
        file = opened.files.get(name)
        if file is None:
            raise InvalidInput(
                f"{name!r} was not announced; open the set with it first.", reason="NOT_ANNOUNCED", field="name"
            )
        if offset < 0 or len(data) > MAX_CHUNK_BYTES:
            raise InvalidInput(
                f"A chunk has {len(data)} bytes at {offset}; at most {MAX_CHUNK_BYTES} may come at once.",
                reason="BAD_CHUNK",
                field="data",
            )
        part = opened.part(file)
        with self._stripes[hash(part) % _STRIPES]:
            if _is_whole(opened.final(file), file):
                return file.size, True
            if _is_altered(opened.final(file), file):
                raise _not_there(set_name)  # a job has written it: the set is that job's now
            there = _size(part)
            if offset + len(data) > file.size:
                self._forget(part)
                raise InvalidInput(
                    f"{name!r} has more than the {file.size} bytes that were announced; has it changed meanwhile? Send "
                    "it again.",
                    reason="FILE_TOO_LARGE",
                    field="data",
                )
            if offset > there:
                return there, False
            with _vanished_means(set_name), translate_disk_errors(opened.final(file)):
                os.utime(opened.root / SET_NAME, (self._clock(),) * 2)
                there = self._append(part, there, data[there - offset :])
                if there == file.size:
                    self._finish(opened, file, part)
            return there, there == file.size

    def touch(self, *paths: str) -> None:
        """Sets that these paths lie in are used now."""
        for path in paths:
            found = self._id_of(path)
            if found:
                with contextlib.suppress(OSError):
                    os.utime(self.folder / found / SET_NAME, (self._clock(),) * 2)

    def __contains__(self, path: str) -> bool:
        return bool(self._id_of(path))

    def folders(self) -> Iterator[Path]:
        """The folders of all sets."""
        for root in self._roots():
            with contextlib.suppress(NotFound):
                yield self._set(root.name).folder

    def _id_of(self, path: str) -> str:
        head, _, rest = path.partition(f"{self.folder}{os.sep}")
        name = rest.partition(os.sep)[0]
        return name if not head and _ID.fullmatch(name) else ""

    def _begin(self, name: str, files: Sequence[AnnouncedFile]) -> tuple[_Set, bool]:
        """The set that was announced so, as long as nobody has written to it, else the next with a number; and whether
        it is new."""
        base = set_id(name, files)
        for number in range(1, 10_000):
            found = base if number == 1 else f"{base}-{number}"
            root = self.folder / found
            try:
                opened = self._set(found)
            except NotFound:
                return self._make(_Set(found, root, name, {file.name: file for file in files})), True
            if not any(_is_altered(opened.final(file), file) for file in files):
                os.utime(root / SET_NAME, (self._clock(),) * 2)
                return opened, False
        raise ResourceExhausted(f"There are too many sets of {name}.", reason="INBOX_FULL")

    def _make(self, made: _Set) -> _Set:
        """The folders of a new set, in place of a damaged one."""
        self._remove(made.id)
        facts = [[file.name, file.size, file.sha256.hex()] for file in made.files.values()]
        with translate_disk_errors(made.root):
            for folder in (made.root, made.root / PARTS_NAME, made.folder):
                folder.mkdir(mode=0o700)
        write_text(made.root / SET_NAME, json.dumps({"format": FORMAT, "name": made.name, "files": facts}))
        os.utime(made.root / SET_NAME, (self._clock(),) * 2)
        self._remember(made)
        return made

    def _set(self, name: str) -> _Set:
        with self._lock:
            known = self._known.get(name)
            root = self.folder / name
            if known is not None and (root / SET_NAME).is_file():
                self._known.move_to_end(name)
                return known
            self._known.pop(name, None)
            opened = _read_set(root) if _ID.fullmatch(name) else None
            if opened is None:
                raise _not_there(name)
            self._remember(opened)
            return opened

    def _remember(self, opened: _Set) -> None:
        self._known[opened.id] = opened
        while len(self._known) > _KNOWN_SETS:
            self._known.popitem(last=False)

    def _roots(self) -> list[Path]:
        return [entry for entry in self.folder.iterdir() if _ID.fullmatch(entry.name)]

    def _links(self, files: Sequence[AnnouncedFile]) -> dict[str, Path]:
        """Pictures that another set has already, by name."""
        wanted: dict[bytes, list[AnnouncedFile]] = {}
        for file in files:
            if file.size and Path(file.name).suffix.lower() in LINKED_SUFFIXES:
                wanted.setdefault(file.sha256, []).append(file)
        found: dict[str, Path] = {}
        for root in self._roots() if wanted else ():
            with contextlib.suppress(NotFound):
                other = self._set(root.name)
                for there in other.files.values():
                    for file in wanted.get(there.sha256, ()):
                        if file.name not in found and _is_whole(other.final(there), file):
                            found[file.name] = other.final(there)
        return found

    def _link(self, opened: _Set, file: AnnouncedFile, source: Path) -> None:
        """One file in two sets; where that cannot be, it is sent."""
        with contextlib.suppress(OSError, InvalidInput):
            final = _prepared(opened, file)
            os.link(source, final, follow_symlinks=False)
            self._forget(opened.part(file))

    def _make_room(self, opened: _Set, needed: int, is_used: Callable[[Path], bool]) -> None:
        """Remove the sets that were unused for longest until this one fits. Raises ResourceExhausted."""
        if opened.total > self._limit:
            raise ResourceExhausted(
                f"{opened.name} has {_in_gb(opened.total)}, and the daemon's inbox keeps {_in_gb(self._limit)} at "
                "most; send less, or raise its setting inbox_gb.",
                reason="INBOX_FULL",
                path=self.folder,
            )
        needed -= sum(_size(opened.part(file)) for file in opened.files.values())
        others = []
        for root in self._roots():
            if root == opened.root:
                continue
            last = _last_use(root)
            if is_used(root):
                os.utime(root / SET_NAME, (self._clock(),) * 2)
                last = self._clock()
            weight, has_work = self._survey(root)
            others.append((last if not has_work else self._clock(), root, weight))
        used = sum(weight for _, _, weight in others) + opened.total
        for last, root, weight in sorted(others):
            if used <= self._limit and needed <= shutil.disk_usage(self.folder).free:
                return
            if self._clock() - last >= RECENT_S:
                self._remove(root.name)
                used -= weight
        if used > self._limit:
            raise ResourceExhausted(
                f"The daemon's inbox has no room for {opened.name} ({_in_gb(opened.total)}): "
                f"{_in_gb(used - opened.total)} of {_in_gb(self._limit)} are in use by jobs, hold what jobs have made, "
                "or have come within the last minutes. Wait for the jobs, take results elsewhere, or raise its setting "
                "inbox_gb.",
                reason="INBOX_FULL",
                path=self.folder,
            )
        if needed > shutil.disk_usage(self.folder).free:
            raise ResourceExhausted(
                f"The disk of the daemon is full: {self.folder} has no room for {opened.name} "
                f"({_in_gb(needed)} are missing). Free some space there and send again.",
                reason="DISK_FULL",
                path=self.folder,
            )

    def _survey(self, root: Path) -> tuple[int, bool]:
        """What a set takes or will take, and whether a job has written into it: nobody else has that."""
        try:
            opened = self._set(root.name)
        except NotFound:
            return sum(_size(Path(folder, name)) for folder, _, names in os.walk(root) for name in names), False
        sent = {opened.final(file): file for file in opened.files.values()}
        there, has_work = 0, False
        for folder, _, names in os.walk(root):
            for path in (Path(folder, name) for name in names):
                there += _size(path)
                is_aside = path.parent == root / PARTS_NAME or path.name.startswith(".")  # ours, locks, leftovers
                if not is_aside and not (path in sent and _is_whole(path, sent[path])):
                    has_work = True
        return max(there, opened.total), has_work

    def _remove(self, name: str) -> None:
        """A set is gone at once, and its files soon after."""
        self._known.pop(name, None)
        root = self.folder / name
        if not os.path.lexists(root):
            return
        trash = self.folder / f"{TRASH_MARK}{name}-{time.monotonic_ns()}"
        with translate_disk_errors(root):
            os.replace(root, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def _append(self, part: Path, there: int, data: bytes) -> int:
        """Write after what is there. Raises OSError, and then leaves the file as it was."""
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        hasher = self._hasher(part, there)
        try:
            view, place = memoryview(data), there
            while view:
                written = os.pwrite(descriptor, view, place)
                place += written
                view = view[written:]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, there)
            raise
        finally:
            os.close(descriptor)
        hasher.update(data)
        with self._lock:
            self._hashers[part] = (hasher, place)
            while len(self._hashers) > _HASHERS:
                self._hashers.popitem(last=False)
        return place

    def _hasher(self, part: Path, there: int) -> Any:
        """The hash of what is there: as it was left, or read again."""
        with self._lock:
            hasher, place = self._hashers.pop(part, (None, 0))
        if hasher is not None and place == there:
            return hasher
        hasher = hashlib.sha256()
        with open(part, "rb") as file:
            while block := file.read(_READ_BYTES):
                hasher.update(block)
        return hasher

    def _finish(self, opened: _Set, file: AnnouncedFile, part: Path) -> None:
        """The last byte has come. Raises DataCorrupt."""
        with self._lock:
            hasher, _ = self._hashers.pop(part)
        if hasher.digest() != file.sha256:
            self._forget(part)
            raise DataCorrupt(
                f"{file.name!r} is not the file that was announced: its hash differs. Send it again.",
                reason="HASH_DIFFERS",
                path=opened.final(file),
            )
        final = _prepared(opened, file)
        os.utime(part, (file.stamp_s, file.stamp_s))
        sync_file(part)
        os.replace(part, final)

    def _forget(self, part: Path) -> None:
        with self._lock:
            self._hashers.pop(part, None)
        part.unlink(missing_ok=True)


def _not_there(name: str) -> NotFound:
    return NotFound(
        f"The daemon's inbox has no set {name[:40]!r} any more; announce it again.",
        reason="SET_NOT_FOUND",
        field="set_id",
    )


@contextlib.contextmanager
def _vanished_means(name: str) -> Iterator[None]:
    """A file that is not there: the set was removed at this moment."""
    try:
        yield
    except FileNotFoundError as error:
        raise _not_there(name) from error


def _read_set(root: Path) -> _Set | None:
    """What was announced; None where it is not there or damaged."""
    try:
        values = json.loads((root / SET_NAME).read_text("utf-8"))
        files = [AnnouncedFile(str(name), int(size), bytes.fromhex(digest)) for name, size, digest in values["files"]]
        check_announcement(values["name"], files)
    except (OSError, ValueError, KeyError, TypeError, InvalidInput):
        return None
    return _Set(root.name, root, values["name"], {file.name: file for file in files})


def _prepared(opened: _Set, file: AnnouncedFile) -> Path:
    """Where the file goes, its folder made. Raises InvalidInput when a link leads elsewhere."""
    final = opened.final(file)
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.path.realpath(final.parent) != str(final.parent):
        raise InvalidInput(f"{final.parent} leads elsewhere.", reason="LINK_IN_INBOX", path=final)
    return final


def _is_whole(path: Path, file: AnnouncedFile) -> bool:
    about = _about(path)
    return (
        about is not None
        and stat.S_ISREG(about.st_mode)
        and about.st_size == file.size
        and int(about.st_mtime) == file.stamp_s
    )


def _is_altered(path: Path, file: AnnouncedFile) -> bool:
    """Something else is there: a job has written it."""
    return _about(path) is not None and not _is_whole(path, file)


def _about(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _size(path: Path) -> int:
    about = _about(path)
    return about.st_size if about is not None else 0


def _last_use(root: Path) -> float:
    about = _about(root / SET_NAME)
    return about.st_mtime if about is not None else 0.0


def _in_gb(count: int) -> str:
    return f"{count / _GB:.3g} GB"
