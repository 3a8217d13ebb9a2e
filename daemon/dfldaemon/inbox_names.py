"""What a client may announce: names that stay inside their folder, sizes and hashes that can be true."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from dflcore.errors import InvalidInput

MAX_FILES = 50_000
MAX_FILE_BYTES = 1 << 42
MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 200
MAX_PARTS = 16
HASH_BYTES = 32
ID_DIGITS = 32
STAMP_BEGIN_S, STAMP_SPAN_S = 1_000_000_000, 500_000_000


@dataclass(frozen=True, slots=True)
class AnnouncedFile:
    """One file of a set. ``sha256`` is 32 bytes."""

    name: str
    size: int
    sha256: bytes

    @property
    def stamp_s(self) -> int:
        """Time of change that the finished file gets, made from its hash; who writes to it later changes the time.

        So one look at the folder tells a file that is as it was sent, and a reader that goes by the time of change
        sees that another file has come.
        """
        return STAMP_BEGIN_S + int.from_bytes(self.sha256[:8], "big") % STAMP_SPAN_S


def check_announcement(name: str, files: Sequence[AnnouncedFile]) -> None:
    """Raises InvalidInput: ``BAD_NAME``, ``BAD_SIZE``, ``BAD_HASH``, ``TOO_MANY_FILES`` or ``NO_FILES``."""
    _check_parts(name, most=1)
    if name.startswith("."):
        raise _bad_name(name, "it begins with a dot")
    if not files:
        raise InvalidInput("A set has at least one file; this one is empty.", reason="NO_FILES", field="files")
    if len(files) > MAX_FILES:
        raise InvalidInput(
            f"The set has {len(files)} files; at most {MAX_FILES} can be sent at once. Pack the faceset, or send "
            "fewer frames.",
            reason="TOO_MANY_FILES",
            field="files",
        )
    names: set[str] = set()
    folders: set[str] = set()
    for file in files:
        _check_parts(file.name, most=MAX_PARTS)
        _check_facts(file)
        if file.name in names:
            raise _bad_name(file.name, "it is there twice")
        names.add(file.name)
        parts = file.name.split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    for clash in sorted(names & folders)[:1]:
        raise _bad_name(clash, "it names a file and a folder")


def set_id(name: str, files: Sequence[AnnouncedFile]) -> str:
    """The same for the same files under the same name, in whichever order."""
    facts = [name, sorted([file.name, file.size, file.sha256.hex()] for file in files)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:ID_DIGITS]


def _check_parts(name: str, most: int) -> None:
    parts = name.split("/")
    if len(name.encode()) > MAX_NAME_BYTES or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise _bad_name(name[:40] + "...", f"it is longer than {MAX_PART_BYTES} bytes, or {MAX_NAME_BYTES} in all")
    if any(part in ("", ".", "..") for part in parts):
        raise _bad_name(name, "it is empty, absolute, or has an empty part, `.` or `..`")
    if "\\" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise _bad_name(name, "it has a backslash or a control character")
    if len(parts) > most:
        raise _bad_name(name, f"it has more than {most} part{'s' if most > 1 else ''}")


def _check_facts(file: AnnouncedFile) -> None:
    if not 0 <= file.size <= MAX_FILE_BYTES:
        raise InvalidInput(
            f"size_bytes = {file.size} of {file.name!r} is no size.", reason="BAD_SIZE", field="size_bytes"
        )
    if len(file.sha256) != HASH_BYTES:
        raise InvalidInput(
            f"sha256 of {file.name!r} has {len(file.sha256)} bytes instead of {HASH_BYTES}.",
            reason="BAD_HASH",
            field="sha256",
        )


def _bad_name(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"The name {name!r} cannot be taken: {why}.", reason="BAD_NAME", field="name")
