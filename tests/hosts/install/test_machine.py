"""Folders of the user's on the three systems, and where hosts are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflinstall.machine import LINUX, MACOS, WINDOWS, Machine

POSIX = {"HOME": "/home/anna"}


def test_linux() -> None:
    machine = Machine(LINUX, POSIX)
    assert machine.data_folder == Path("/home/anna/.local/share/dfl/hosts")
    assert machine.nuke_folder == Path("/home/anna/.nuke")
    assert machine.fusion_folder == Path("/home/anna/.local/share/DaVinciResolve/Fusion")
    assert Machine(LINUX, {**POSIX, "XDG_DATA_HOME": "/data"}).data_folder == Path("/data/dfl/hosts")
    assert Machine(LINUX, {**POSIX, "XDG_DATA_HOME": "data"}).data_folder == machine.data_folder


def test_macos() -> None:
    machine = Machine(MACOS, POSIX)
    support = Path("/home/anna/Library/Application Support")
    assert machine.data_folder == support / "dfl" / "hosts"
    assert machine.nuke_folder == Path("/home/anna/.nuke")
    assert machine.fusion_folder == support / "Blackmagic Design" / "DaVinci Resolve" / "Fusion"


def test_windows(tmp_path: Path) -> None:
    profile, local, roaming = tmp_path, tmp_path / "Local", tmp_path / "Roaming"
    environ = {"USERPROFILE": str(profile), "LOCALAPPDATA": str(local), "APPDATA": str(roaming)}
    machine = Machine(WINDOWS, environ)
    assert machine.data_folder == local / "dfl" / "hosts"
    assert machine.nuke_folder == profile / ".nuke"
    assert machine.fusion_folder == roaming / "Blackmagic Design" / "DaVinci Resolve" / "Support" / "Fusion"
    assert Machine(WINDOWS, {**environ, "HOME": str(tmp_path / "h")}).nuke_folder == tmp_path / "h" / ".nuke"


def test_resolves_own_script_looks_where_we_install(repository: Path) -> None:
    """``Face Swap.py`` finds its package by the same folders."""
    text = (repository / "hosts" / "resolve" / "Face Swap.py").read_text("utf-8")
    places = {
        LINUX: '".local", "share", "DaVinciResolve", "Fusion"',
        MACOS: '"Library", "Application Support", "Blackmagic Design", "DaVinci Resolve", "Fusion"',
        WINDOWS: '"Blackmagic Design", "DaVinci Resolve", "Support", "Fusion"',
    }
    for system, words in places.items():
        assert words in text
        parts = [word.strip('"') for word in words.split(", ")]
        assert Machine(system, {"HOME": "/h", "USERPROFILE": "/h"}).fusion_folder.parts[-len(parts) :] == tuple(parts)


@pytest.mark.parametrize(
    ("system", "places", "newest"),
    [
        (LINUX, ("usr/local/Nuke9.0v9", "usr/local/Nuke14.1v2", "opt/Nuke15.0v4", "opt/Nuke"), ("Nuke15.0v4", 15)),
        (MACOS, ("Applications/Nuke14.0v5", "Applications/Nuke13.2v9"), ("Nuke14.0v5", 14)),
    ],
)
def test_the_newest_nuke_is_found(
    tmp_path: Path, system: str, places: tuple[str, ...], newest: tuple[str, int]
) -> None:
    assert Machine(system, POSIX, tmp_path).find_nuke() is None
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    found = Machine(system, POSIX, tmp_path).find_nuke()
    assert found is not None
    assert (found[0].name, found[1]) == newest


def test_blender_and_resolve_are_found(tmp_path: Path) -> None:
    machine = Machine(LINUX, {**POSIX, "PATH": ""}, tmp_path)
    assert (machine.find_blender(), machine.find_resolve()) == (None, None)
    for place in ("opt/blender-4.2.3/blender", "opt/blender-4.10.0/blender", "opt/resolve/bin/resolve"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    assert machine.find_blender() == tmp_path / "opt/blender-4.10.0/blender"
    assert machine.find_resolve() == tmp_path / "opt/resolve/bin/resolve"
