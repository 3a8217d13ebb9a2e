"""Where things lie on this machine: folders of the user's, and programs of the hosts.

Sources: the hosts' own manuals on start-up scripts (Nuke: ``~/.nuke``; Blender: user folders by platform; Resolve: its
scripting README), and the XDG base directory specification.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import NotFound

LINUX, MACOS, WINDOWS = "linux", "darwin", "win32"


@dataclass(frozen=True, slots=True)
class Machine:
    """A system, the user's environment, and the root folder programs are looked for below.

    Attributes:
        system: ``linux``, ``darwin`` or ``win32``, as ``sys.platform`` has it; others are treated as Linux.
    """

    system: str
    environ: Mapping[str, str]
    root: Path = Path("/")

    @classmethod
    def this(cls, environ: Mapping[str, str]) -> Machine:
        """The one this runs on."""
        return cls(sys.platform, environ)

    @property
    def home(self) -> Path:
        """The user's folder.

        Raises:
            NotFound: nothing names one.
        """
        named = self.environ.get("USERPROFILE" if self.system == WINDOWS else "HOME", "")
        try:
            return Path(named) if named else Path.home()
        except RuntimeError as error:
            raise NotFound("This user has no home folder; set HOME to one.", reason="NO_HOME") from error

    @property
    def data_folder(self) -> Path:
        """Of ours, for the integrations."""
        return self._data_home / "dfl" / "hosts"

    @property
    def _data_home(self) -> Path:
        if self.system == MACOS:
            return self.home / "Library" / "Application Support"
        if self.system == WINDOWS:
            return self._named("LOCALAPPDATA", self.home / "AppData" / "Local")
        return self._named("XDG_DATA_HOME", self.home / ".local" / "share")

    @property
    def nuke_folder(self) -> Path:
        """Nuke's own of this user."""
        if self.system == WINDOWS:
            return self._named("HOME", self.home) / ".nuke"
        return self.home / ".nuke"

    @property
    def fusion_folder(self) -> Path:
        """Resolve's of this user, with ``Scripts`` in it."""
        if self.system == MACOS:
            support = self.home / "Library" / "Application Support"
            return support / "Blackmagic Design" / "DaVinci Resolve" / "Fusion"
        if self.system == WINDOWS:
            roaming = self._named("APPDATA", self.home / "AppData" / "Roaming")
            return roaming / "Blackmagic Design" / "DaVinci Resolve" / "Support" / "Fusion"
        return self.home / ".local" / "share" / "DaVinciResolve" / "Fusion"

    @property
    def program_folders(self) -> tuple[Path, ...]:
        """Where applications are installed for all users."""
        if self.system == MACOS:
            return (self.root / "Applications",)
        if self.system == WINDOWS:
            return (self._named("ProgramFiles", self.root / "Program Files"),)
        return (self.root / "usr" / "local", self.root / "opt")

    def program(self, name: str) -> Path | None:
        """A program of the search path."""
        found = shutil.which(name, path=self.environ.get("PATH", ""))
        return Path(found) if found else None

    def find_nuke(self) -> tuple[Path, int] | None:
        """Folder and major version of the newest Nuke in the usual places."""
        found = []
        for folder in self.program_folders:
            for path in _inside(folder, "Nuke*"):
                version = re.match(r"Nuke(\d+)\.(\d+)", path.name)
                if version:
                    found.append(((int(version[1]), int(version[2])), path))
        return (max(found)[1], max(found)[0][0]) if found else None

    def find_blender(self) -> Path | None:
        """The ``blender`` of the search path, else the newest in the usual places."""
        in_path = self.program("blender")
        if in_path:
            return in_path
        patterns = {
            MACOS: "Blender*.app/Contents/MacOS/Blender",
            WINDOWS: "Blender Foundation/Blender */blender.exe",
        }
        pattern = patterns.get(self.system, "blender*/blender")
        found = [path for folder in self.program_folders for path in _inside(folder, pattern)]
        return max(found, key=_numbers) if found else None

    def find_resolve(self) -> Path | None:
        """The program of DaVinci Resolve."""
        places = {
            MACOS: "DaVinci Resolve/DaVinci Resolve.app",
            WINDOWS: "Blackmagic Design/DaVinci Resolve/Resolve.exe",
        }
        place = places.get(self.system, "resolve/bin/resolve")
        found = [folder / place for folder in self.program_folders if (folder / place).exists()]
        return found[0] if found else None

    def _named(self, variable: str, otherwise: Path) -> Path:
        """A folder by the environment; relative ones are not followed, as the specification of XDG has it."""
        named = Path(self.environ.get(variable, ""))
        return named if named.is_absolute() else otherwise


def _inside(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]
