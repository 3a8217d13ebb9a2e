"""Nuke: a folder of ours, and two marked lines in the user's ``init.py`` that add it to the plug-in path.

With ``--target`` no file of Nuke's is touched: the folder is for a studio's ``NUKE_PATH``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path

from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.io.atomic import atomic_path
from dflcore.version import __version__
from dflinstall import material
from dflinstall.checks import check_daemon, check_files, check_writable
from dflinstall.installed import (
    Installed,
    check_ours,
    clear_up,
    disk_errors,
    put_in_place,
    remove_if_empty,
    take_away,
)
from dflinstall.lines import CHANGED, KEPT, NOTE, OK, SAME, WRONG, Line, Lines, removed
from dflinstall.machine import Machine

HOST = "nuke"
MARK = b"# dfl face swap:"
_FIRST = MARK + b" the next line was written by `dfl hosts install nuke`; `dfl hosts uninstall nuke` removes both"
_BROKEN = b" (and the line break before)"
_MADE_FILE, _MADE_FOLDER = b" (and this file)", b" (and this file and its folder)"
BACKUP_SUFFIX = ".before-dfl"
LEAST_VERSION = 14
PYTHON_OF = {13: "3.7", 14: "3.9", 15: "3.10", 16: "3.11", 17: "3.11"}
"""Major version of Nuke → its Python."""


def install(machine: Machine, target: Path | None = None) -> Lines:
    """Put the folder in place and Nuke's start-up file in order.

    Raises:
        DflError: it cannot be done; what was there is there still.
    """
    folder = target or machine.data_folder / HOST
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / HOST
        with disk_errors(made):
            material.make_nuke(made)
        changed, kept = put_in_place(made, folder, Installed(HOST, __version__, {}))
    state, verb = (CHANGED, "are now") if changed else (SAME, "were already")
    yield Line(state, "files", f"The files of version {__version__} {verb} in {folder}.")
    for name in kept:
        yield Line(KEPT, "files", f"{folder / name} is not ours and was kept.")
    if target:
        yield Line(NOTE, "start_up", "Nuke's own start-up file was left alone.", f"Put {folder} on NUKE_PATH.")
        return
    yield _add_lines(machine.nuke_folder / "init.py", folder)
    yield Line(
        NOTE, "next", "Start Nuke anew: the menu Face Swap is in the bar, and Tab finds DFL Swap.",
        f"For a whole studio, put {folder} on NUKE_PATH instead.",
    )  # fmt: skip


def uninstall(machine: Machine, target: Path | None = None) -> Lines:
    """Take the lines out of the start-up file, then the folder away. Raises DflError."""
    folder = target or machine.data_folder / HOST
    clear_up(folder)
    if not target:
        yield _remove_lines(machine.nuke_folder / "init.py")
    installed = check_ours(folder, HOST)
    if installed is None:
        yield Line(SAME, "files", f"Nothing of this software is in {folder}.")
        return
    kept = take_away(folder, installed)
    if not target:
        remove_if_empty(folder.parent, folder.parent.parent)
    yield from removed(folder, kept)


def doctor(machine: Machine, target: Path | None = None) -> Lines:
    """What is wrong, and what to do about it."""
    folder = target or machine.data_folder / HOST
    yield from check_files(folder, HOST, f"dfl hosts install {HOST}")
    if not target:
        yield _check_lines(machine.nuke_folder / "init.py", folder)
        yield check_writable(machine.nuke_folder, "start_up")
    yield check_writable(folder.parent, "files")
    yield _check_nuke(machine)
    yield from check_daemon(machine, folder / material.CLIENT)


def _check_nuke(machine: Machine) -> Line:
    found = machine.find_nuke()
    if found is None:
        program = machine.program("nuke") or machine.program("Nuke")
        where = f"Nuke's program is {program}; its version is not known." if program else "No Nuke was found here."
        return Line(NOTE, "host", where, f"Nuke {LEAST_VERSION} or newer is needed.")
    path, version = found
    python = PYTHON_OF.get(version)
    said = f"Nuke {version} is in {path}" + (f" (Python {python})." if python else ".")
    if version < LEAST_VERSION:
        return Line(WRONG, "host", said, f"Nuke {LEAST_VERSION} or newer is needed.")
    return Line(OK, "host", said)


def _check_lines(path: Path, folder: Path) -> Line:
    try:
        data = _read(path)
    except DflError as error:
        return Line(WRONG, "start_up", error.message, "Give yourself permission to read it.")
    remedy = "Run `dfl hosts install nuke`."
    if MARK not in data:
        return Line(WRONG, "start_up", f"{path} does not name our folder, so Nuke does not find it.", remedy)
    if _statement(folder) not in data:
        return Line(WRONG, "start_up", f"{path} names another folder than {folder}.", remedy)
    fault = _fault(data)
    if fault:
        remedy = "Mend it: Nuke reads nothing of a file with such a fault, ours neither."
        return Line(WRONG, "start_up", f"{path} is no Python that Nuke can read ({fault}).", remedy)
    return Line(OK, "start_up", f"{path} names our folder.")


# The start-up file. It is the user's: bytes in, the same bytes out, but for the two lines.


def with_lines(data: bytes, folder: Path, made: bytes = b"") -> bytes:
    """A start-up file with our two lines at its end, and no others of ours; ``made`` says what was not there before."""
    data = without_lines(data)
    line_break = b"\r\n" if b"\r\n" in data else b"\n"
    is_cut = bool(data) and not data.endswith(b"\n")
    before = line_break if is_cut else b""
    first = _FIRST + (_BROKEN if is_cut else b"") + made
    return data + before + first + line_break + _statement(folder) + line_break


def without_lines(data: bytes) -> bytes:
    """A start-up file as it was before :func:`with_lines`, with what was written into it since."""
    lines = data.splitlines(keepends=True)
    kept: list[bytes] = []
    number = 0
    while number < len(lines):
        if not lines[number].startswith(MARK):
            kept.append(lines[number])
            number += 1
            continue
        is_last = number + 2 >= len(lines)
        if _BROKEN in lines[number] and is_last and kept:
            kept[-1] = kept[-1].removesuffix(b"\n").removesuffix(b"\r")
        has_statement = number + 1 < len(lines) and b"pluginAddPath" in lines[number + 1]
        number += 2 if has_statement else 1
    return b"".join(kept)


def _statement(folder: Path) -> bytes:
    """The line that does it, in ASCII whatever the folder's name; a folder that is gone does no harm."""
    return f"import nuke; nuke.pluginAddPath({folder.as_posix()!a})".encode("ascii")


def _add_lines(path: Path, folder: Path) -> Line:
    before = _read(path)
    after = with_lines(before, folder, _what_we_make(path, before))
    if after == before:
        return Line(SAME, "start_up", f"{path} named the folder already.")
    if b"\0" in before or (not _fault(before) and _fault(after)):
        raise InvalidInput(
            f"{path} cannot take another line at its end; put {folder} on NUKE_PATH instead.",
            reason="START_UP_FILE_ODD",
            path=path,
        )
    own = without_lines(before)
    was_there = path.exists()
    try:
        if own:
            _write(_backup(path), own, path)
        _write(path, after, path)
    except InvalidInput as error:
        raise InvalidInput(
            f"{error.message} The files are in {folder}: put it on NUKE_PATH instead.", reason=error.reason, path=path
        ) from error
    if not was_there:
        return Line(CHANGED, "start_up", f"{path} was made; it names the folder.")
    note = f" A copy of it as it was is {_backup(path)}." if own else ""
    return Line(CHANGED, "start_up", f"{path} names the folder now.{note}")


def _what_we_make(path: Path, data: bytes) -> bytes:
    for made in (_MADE_FOLDER, _MADE_FILE):
        if made in data:
            return made
    if not path.parent.exists():
        return _MADE_FOLDER
    return b"" if path.exists() else _MADE_FILE


def _remove_lines(path: Path) -> Line:
    before = _read(path)
    after = without_lines(before)
    if after == before:
        return Line(SAME, "start_up", f"{path} does not name our folder.")
    backup = _backup(path)
    if after or not (_MADE_FILE in before or _MADE_FOLDER in before):
        _write(path, after, path)
    else:
        with disk_errors(path):
            path.unlink()
    with disk_errors(backup):
        if backup.is_file() and backup.read_bytes() == after:
            backup.unlink()
    if _MADE_FOLDER in before:
        remove_if_empty(path.parent)
    return Line(CHANGED, "start_up", f"Our lines are taken out of {path}.")


def _backup(path: Path) -> Path:
    return path.with_name(path.name + BACKUP_SUFFIX)


def _read(path: Path) -> bytes:
    try:
        with disk_errors(path):
            return path.read_bytes()
    except FileNotFoundError:
        return b""


def _write(path: Path, data: bytes, model: Path) -> None:
    """Write a file whole, where a link leads to, with the permissions of another."""
    final = Path(os.path.realpath(path))
    try:
        with disk_errors(final), atomic_path(final) as temporary:
            temporary.write_bytes(data)
            if model.exists():
                shutil.copymode(model, temporary)
    except FileNotFoundError as error:
        raise NotFound(f"{final.parent} is not there.", reason="FOLDER_NOT_FOUND", path=final) from error


def _fault(data: bytes) -> str:
    """Why this is no Python, with its line; empty where it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(data, "init.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"{error.msg}, line {error.lineno}" if isinstance(error, SyntaxError) else str(error)
    return ""
