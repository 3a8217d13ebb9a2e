"""Blender: the extension's zip in a folder of ours, installed and enabled by Blender's own command line.

Where no Blender is found, or with ``--target``, the zip is made and a sentence says how to drag it in.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import DflError, Internal, NotFound, ResourceExhausted, Unsupported
from dflcore.version import __version__
from dflhost.discovery import COMMAND_NAME
from dflinstall import material
from dflinstall.checks import check_daemon, check_files, check_writable, names
from dflinstall.installed import (
    Installed,
    check_ours,
    clear_up,
    compare,
    disk_errors,
    files_of,
    put_in_place,
    read_list,
    remove_if_empty,
    take_away,
)
from dflinstall.lines import CHANGED, KEPT, NOTE, OK, SAME, WRONG, Line, Lines, removed
from dflinstall.machine import Machine

HOST = "blender"
EXTENSION = "dflblender"
REPOSITORY = "user_default"
LEAST_VERSION = (4, 2)
DEADLINE_S = 180.0
_ANSWER = "DFL "
_QUESTION = (
    "import bpy, json, sys; print('DFL ' + json.dumps({'version': list(bpy.app.version), "
    "'python': sys.version.split()[0], 'enabled': [a for a in bpy.context.preferences.addons.keys()], "
    "'extensions': bpy.utils.user_resource('EXTENSIONS') if bpy.app.version >= (4, 2, 0) else ''}), flush=True)"
)


@dataclass(frozen=True, slots=True)
class Look:
    """A Blender as it describes itself.

    Attributes:
        version: three numbers. python: its Python's. extensions: folder of this user's. is_enabled: ours is.
    """

    program: Path
    version: tuple[int, ...]
    python: str
    extensions: Path
    is_enabled: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"Blender {'.'.join(map(str, self.version))} ({self.program})"

    @property
    def folder(self) -> Path:
        """Where our extension lies, if it does."""
        return self.extensions / REPOSITORY / EXTENSION

    def has(self, archive: Path) -> bool:
        """The extension is there, with every file as the zip has it."""
        try:
            with disk_errors(self.folder), tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(archive) as opened:
                opened.extractall(scratch)
                wanted = files_of(Path(scratch))
                found = files_of(self.folder)
        except (FileNotFoundError, zipfile.BadZipFile):
            return False
        return all(found.get(name) == known for name, known in wanted.items())


def install(machine: Machine, target: Path | None = None, program: Path | None = None) -> Lines:
    """Build the zip, and have Blender install and enable it.

    Raises:
        DflError: it cannot be built or written, or Blender is too old or refuses it.
    """
    folder = target or machine.data_folder / HOST
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "zip"
        with disk_errors(made):
            name = material.make_blender(made, Path(scratch) / "build").name
        changed, kept = put_in_place(made, folder, Installed(HOST, __version__, {}))
    archive = folder / name
    yield Line(CHANGED if changed else SAME, "files", f"The extension {'is' if changed else 'was already'} {archive}.")
    for other in kept:
        yield Line(KEPT, "files", f"{folder / other} is not of this version and was kept.")
    by_hand = f"Drag {archive} into Blender's window and press OK."
    if target:
        yield Line(NOTE, "host", "No Blender was touched.", by_hand)
        return
    blender = program or machine.find_blender()
    if blender is None:
        yield Line(NOTE, "host", "No Blender was found; name its program with --blender, or do it by hand.", by_hand)
        return
    yield from _install_into(machine, blender, archive)


def _install_into(machine: Machine, blender: Path, archive: Path) -> Lines:
    look = ask(machine, blender)
    if look.version[:2] < LEAST_VERSION:
        raise Unsupported(
            f"{look.name} is too old; 4.2 is needed. Name a newer one with --blender; the extension is {archive}.",
            reason="HOST_TOO_OLD",
        )
    if look.is_enabled and look.has(archive):
        yield Line(SAME, "host", f"{look.name} had the extension already, and it is enabled.")
        return
    _command(machine, blender, ["install-file", "-r", REPOSITORY, "-e", str(archive)])
    look = ask(machine, blender)
    if not (look.is_enabled and look.has(archive)):
        raise Internal(
            f"{look.name} did not take the extension; drag {archive} into its window to see why.",
            reason="EXTENSION_NOT_TAKEN",
        )
    yield Line(CHANGED, "host", f"{look.name} has the extension now, and it is enabled.")
    yield Line(NOTE, "next", "Start Blender anew: the tab Face Swap is in the sidebars (press N).")


def uninstall(machine: Machine, target: Path | None = None, program: Path | None = None) -> Lines:
    """Have Blender remove the extension, then take the zip away. Raises DflError."""
    folder = target or machine.data_folder / HOST
    clear_up(folder)
    installed = check_ours(folder, HOST)
    blender = None if target else program or machine.find_blender()
    if blender is not None:
        look = ask(machine, blender)
        if look.version[:2] >= LEAST_VERSION and (look.is_enabled or look.folder.exists()):
            _command(machine, blender, ["remove", f"{REPOSITORY}.{EXTENSION}"])
            yield Line(CHANGED, "host", f"{look.name} has the extension no more.")
        else:
            yield Line(SAME, "host", f"{look.name} does not have the extension.")
    elif not target:
        remedy = "Where one still has the extension: Edit, Preferences, Get Extensions, Face Swap, Uninstall."
        yield Line(NOTE, "host", "No Blender was found; name one with --blender.", remedy)
    if installed is None:
        yield Line(SAME, "files", f"Nothing of this software is in {folder}.")
        return
    kept = take_away(folder, installed)
    if not target:
        remove_if_empty(folder.parent, folder.parent.parent)
    yield from removed(folder, kept)


def doctor(machine: Machine, target: Path | None = None, program: Path | None = None) -> Lines:
    """What is wrong, and what to do about it."""
    folder = target or machine.data_folder / HOST
    yield from check_files(folder, HOST, f"dfl hosts install {HOST}")
    yield check_writable(folder.parent, "files")
    blender = program or machine.find_blender()
    look = None
    if blender is None:
        remedy = "Name one with --blender, or drag the zip into its window."
        yield Line(NOTE, "host", "No Blender was found in the search path or the usual places.", remedy)
    else:
        try:
            look = ask(machine, blender)
        except DflError as error:
            yield Line(WRONG, "host", error.message, "Name another with --blender.")
        else:
            yield from _check_blender(look, folder)
    with tempfile.TemporaryDirectory() as scratch:
        yield from check_daemon(machine, _client(look, folder, Path(scratch)))


def _client(look: Look | None, folder: Path, scratch: Path) -> Path:
    """The client that Blender has, else the one in the zip."""
    if look is not None and (look.folder / material.BLENDER_CLIENT).is_dir():
        return look.folder / material.BLENDER_CLIENT
    for archive in sorted(folder.glob("*.zip")):
        with contextlib.suppress(OSError, KeyError, zipfile.BadZipFile), zipfile.ZipFile(archive) as opened:
            opened.extract(f"{material.BLENDER_CLIENT}/{COMMAND_NAME}", scratch)
    return scratch / material.BLENDER_CLIENT


def _check_blender(look: Look, folder: Path) -> Lines:
    said = f"{look.name} has Python {look.python}."
    if look.version[:2] < LEAST_VERSION:
        yield Line(WRONG, "host", said, "Blender 4.2 or newer is needed; name one with --blender.")
        return
    yield Line(OK, "host", said)
    yield check_writable(look.extensions, "extension")
    if not look.folder.is_dir():
        said = f"{look.name} does not have the extension."
        yield Line(WRONG, "extension", said, f"Run `dfl hosts install blender --blender {look.program}`.")
        return
    if not look.is_enabled:
        remedy = "Edit, Preferences, Add-ons: tick Face Swap."
        yield Line(WRONG, "extension", f"The extension is in {look.name} but not enabled.", remedy)
        return
    yield _check_extension(look, folder)


def _check_extension(look: Look, folder: Path) -> Line:
    try:
        installed = read_list(folder) if folder.is_dir() else None
        archives = [name for name in installed.files if name.endswith(".zip")] if installed else []
        if installed and archives and not compare(folder, installed).missing:
            if look.has(folder / archives[0]):
                return Line(OK, "extension", f"The extension is in {look.folder}, whole and enabled.")
            said = f"The extension in {look.folder} differs from {names(tuple(archives))}."
            return Line(WRONG, "extension", said, "Run `dfl hosts install blender`.")
    except DflError as error:
        return Line(WRONG, "extension", error.message, "Run `dfl hosts install blender`.")
    return Line(OK, "extension", f"The extension is in {look.folder} and enabled.")


def ask(machine: Machine, blender: Path) -> Look:
    """Start a Blender without a window and ask what it is.

    Raises:
        NotFound: there is no such program. DflError: it does not answer.
    """
    said = _run(machine, blender, ["--background", "--python-expr", _QUESTION])
    lines = [line for line in said.splitlines() if line.startswith(_ANSWER)]
    try:
        answer = json.loads(lines[-1].removeprefix(_ANSWER))
        enabled = any(str(name).endswith(f".{EXTENSION}") for name in answer["enabled"])
        version = tuple(int(number) for number in answer["version"])
        return Look(blender, version, str(answer["python"]), Path(str(answer["extensions"])), enabled)
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise Unsupported(
            f"{blender} does not answer as Blender does: {_last(said)}", reason="NOT_BLENDER", path=blender
        ) from error


def _command(machine: Machine, blender: Path, arguments: Sequence[str]) -> None:
    _run(machine, blender, ["--command", "extension", *arguments])


def _run(machine: Machine, blender: Path, arguments: Sequence[str]) -> str:
    """What a Blender says. Raises DflError where it cannot be started, takes too long or ends with a fault."""
    try:
        done = subprocess.run(
            [str(blender), *arguments],
            env=dict(machine.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no Blender at {blender}; name its program with --blender.", reason="HOST_NOT_FOUND"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ResourceExhausted(
            f"{blender} did not answer within {DEADLINE_S:g} s; try again.", reason="HOST_TIMEOUT"
        ) from error
    except OSError as error:
        raise NotFound(
            f"{blender} cannot be run: {error.strerror}; name Blender's program with --blender.",
            reason="HOST_NOT_FOUND",
        ) from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise Unsupported(f"{blender} ended with code {done.returncode}: {_last(said)}", reason="HOST_REFUSED")
    return said


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing."
