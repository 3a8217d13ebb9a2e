"""DaVinci Resolve: a package in ``DFL`` of the user's *Fusion* folder, and menu scripts in its *Scripts* folders.

``--target`` names another *Fusion* folder, for example that of all users.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dflcore.errors import DflError
from dflcore.io.atomic import write_bytes
from dflcore.version import __version__
from dflinstall import material
from dflinstall.checks import check_daemon, check_files, check_writable, names
from dflinstall.installed import (
    ASIDE,
    Installed,
    check_ours,
    clear_up,
    digest,
    disk_errors,
    put_in_place,
    read_list,
    remove_if_empty,
    take_away,
    write_list,
)
from dflinstall.lines import CHANGED, KEPT, NOTE, OK, SAME, WRONG, Line, Lines, removed
from dflinstall.machine import MACOS, WINDOWS, Machine

HOST = "resolve"
PACKAGE = "DFL"
KNOWN_AT_MOST = 5
LEAST_PYTHON = (3, 9)
_MADE = "made"
"""Note of the list: folders that were not there before, innermost first, parted by line breaks."""
_MENUS = {f"Scripts/{menu}" for menus in material.RESOLVE_SCRIPTS.values() for menu in menus}
_FOLDERS = (*sorted(_MENUS), "Scripts")


def install(machine: Machine, target: Path | None = None) -> Lines:
    """Put package and scripts in place.

    Raises:
        DflError: it cannot be done; what was there is there still.
    """
    fusion = target or machine.fusion_folder
    folder = fusion / PACKAGE
    clear_up(folder)
    old = check_ours(folder, HOST)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / PACKAGE
        made.mkdir()
        with disk_errors(made):
            scripts = material.make_resolve(made)
        known = _known(scripts, old)
        gone = {name: ours for name, ours in old.elsewhere.items() if name not in scripts} if old else {}
        notes = old.notes if old else {_MADE: "\n".join(name for name in _FOLDERS if not (fusion / name).exists())}
        changed, kept = put_in_place(made, folder, Installed(HOST, __version__, {}, known | gone, notes))
    state, verb = (CHANGED, "is now") if changed else (SAME, "was already")
    yield Line(state, "files", f"The package of version {__version__} {verb} in {folder}.")
    for name in kept:
        yield Line(KEPT, "files", f"{folder / name} is not ours and was kept.")
    written = 0
    for name, data in scripts.items():
        aside = _make_room(fusion / name, known[name])
        if aside:
            yield Line(KEPT, "script", f"{fusion / name} was not ours; it is {aside.name} now, beside it.")
        written += _put_script(fusion / name, data)
    for name, ours in gone.items():
        yield from _take_script(fusion / name, ours)
    current = read_list(folder) if gone else None
    if current:
        write_list(folder, replace(current, elsewhere=known))
    state, verb = (CHANGED, "are now") if written else (SAME, "were already")
    yield Line(
        state, "script", f"The menu scripts {verb} in {fusion / 'Scripts'}: {', '.join(material.RESOLVE_SCRIPTS)}."
    )
    yield Line(NOTE, "next", "In Resolve: Workspace, Scripts, Face Swap.")


def _known(scripts: Mapping[str, bytes], old: Installed | None) -> dict[str, tuple[str, ...]]:
    """Checksums of each script that are ours: the new one, and older ones that a killed command may have left."""
    before = old.elsewhere if old else {}
    known = {}
    for name, data in scripts.items():
        new = hashlib.sha256(data).hexdigest()
        earlier = [one for one in before.get(name, ()) if one != new]
        known[name] = (new, *earlier)[:KNOWN_AT_MOST]
    return known


def _make_room(path: Path, known: tuple[str, ...]) -> Path | None:
    """Move a file that is not ours out of a script's way; answers with where it is now."""
    with disk_errors(path):
        if not os.path.lexists(path) or (path.is_file() and digest(path) in known):
            return None
        aside = _free(path)
        os.rename(path, aside)
        return aside


def _put_script(path: Path, data: bytes) -> bool:
    """Write a script unless it is there; says whether it did."""
    with disk_errors(path):
        if path.is_file() and path.read_bytes() == data:
            return False
        write_bytes(path, data)
        return True


def _free(path: Path) -> Path:
    number = 1
    while True:
        aside = path.with_name(f"{path.name}{ASIDE}{number if number > 1 else ''}")
        if not os.path.lexists(aside):
            return aside
        number += 1


def _take_script(path: Path, known: tuple[str, ...]) -> Lines:
    with disk_errors(path):
        if not os.path.lexists(path):
            return
        if path.is_symlink() or not path.is_file() or digest(path) not in known:
            yield Line(KEPT, "script", f"{path} is not as it was installed and was kept.")
            return
        path.unlink()
    yield Line(CHANGED, "script", f"{path} is removed.")


def uninstall(machine: Machine, target: Path | None = None) -> Lines:
    """Take the scripts away, then the package with the list. Raises DflError."""
    fusion = target or machine.fusion_folder
    folder = fusion / PACKAGE
    clear_up(folder)
    installed = check_ours(folder, HOST)
    if installed is None:
        yield Line(SAME, "files", f"Nothing of this software is in {fusion}.")
        return
    for name, known in installed.elsewhere.items():
        yield from _take_script(fusion / name, known)
    kept = take_away(folder, installed)
    made = [name for name in installed.notes.get(_MADE, "").splitlines() if name in _FOLDERS]
    remove_if_empty(*(fusion / name for name in made))
    yield from removed(folder, kept)


def doctor(machine: Machine, target: Path | None = None) -> Lines:
    """What is wrong, and what to do about it."""
    fusion = target or machine.fusion_folder
    folder = fusion / PACKAGE
    yield from check_files(folder, HOST, f"dfl hosts install {HOST}")
    yield from _check_scripts(fusion, folder)
    yield check_writable(fusion, "files")
    found = machine.find_resolve()
    if found:
        said = f"DaVinci Resolve is {found}; its version and edition are not known from outside."
        yield Line(OK, "host", said, "Studio 19 or newer is needed for the window.")
    else:
        remedy = "Install Studio 19 or newer; in another place it finds the scripts too."
        yield Line(NOTE, "host", "DaVinci Resolve was not found in its usual place.", remedy)
    yield _check_python(machine)
    yield from check_daemon(machine, folder / material.CLIENT)


def _check_scripts(fusion: Path, folder: Path) -> Lines:
    try:
        installed = read_list(folder) if folder.is_dir() else None
    except DflError:
        return  # was told with the files
    if installed is None:
        return
    found = {name: digest(fusion / name) if (fusion / name).is_file() else "" for name in installed.elsewhere}
    missing = tuple(name for name, one in found.items() if not one)
    changed = tuple(name for name, one in found.items() if one and one != installed.elsewhere[name][0])
    if missing:
        said = f"In {fusion} there lack {names(missing)}."
        yield Line(WRONG, "script", said, "Run `dfl hosts install resolve`.")
    if changed:
        said = f"In {fusion} somebody changed {names(changed)}."
        yield Line(NOTE, "script", said, "Installing again puts ours back and keeps theirs.")
    if not missing and not changed:
        yield Line(OK, "script", f"All menu scripts are in {fusion / 'Scripts'}.")


def _check_python(machine: Machine) -> Line:
    """The Python that Resolve runs scripts with is the system's, not ours."""
    places = {MACOS: machine.root / "usr/local/bin/python3", WINDOWS: None}
    python = places.get(machine.system, machine.root / "usr/bin/python3")
    needed = "Resolve needs a 64-bit Python 3.9 or newer that is installed for all users"
    if python is None:
        return Line(NOTE, "python", "Which Python Resolve takes is not known here.", f"{needed}.")
    try:
        command = [str(python), "-c", "import sys; print(*sys.version_info[:3])"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=True)
        version = tuple(int(number) for number in done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return Line(NOTE, "python", f"There is no Python at {python}.", f"{needed}.")
    said = f"Resolve will probably take {python}, Python {'.'.join(map(str, version))}."
    if version[:2] < LEAST_PYTHON:
        return Line(WRONG, "python", said, f"{needed}.")
    return Line(OK, "python", said)
