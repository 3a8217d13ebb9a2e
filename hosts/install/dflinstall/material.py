"""What is installed: the integrations' files, from the checkout this package lies in or from its wheel."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import zipfile
from pathlib import Path
from types import ModuleType

from dflcore.errors import ERROR_CLASSES, DflError, Internal, NotFound
from dflcore.version import __version__
from dflhost.discovery import COMMAND_NAME
from dflhost.errors import HostError
from dflhost.vendor import copy_client
from dflinstall.installed import copy_folder

HERE = Path(__file__).resolve().parent
PLACES = (HERE.parents[1], HERE / "hosts")
"""``hosts`` of a checkout; the folder that wheels carry."""
CLIENT, BLENDER_CLIENT = "dflhost", "_dflhost"
"""Folder of the client in what is installed."""
RESOLVE_SCRIPTS = {
    "Face Swap.py": ("Edit", "Utility"),
    "Face Swap (file).lua": ("Edit", "Utility"),
    "Face Swap (into this composition).lua": ("Comp",),
    "Face Swap Self Test.py": ("Utility",),
}
"""Menu script → sub-folders of Resolve's *Scripts* it goes into."""


def find(host: str) -> Path:
    """The folder of a host's integration.

    Raises:
        NotFound: this installation of the software came without it.
    """
    for place in PLACES:
        if (place / host / "README.md").is_file():
            return place / host
    raise NotFound(
        f"The files for {host} are not part of this installation of dfl-compositor {__version__}; install it again.",
        reason="HOST_FILES_MISSING",
    )


def make_nuke(folder: Path) -> None:
    """The folder for Nuke's plug-in path, with the client beside the integration. Raises DflError."""
    copy_folder(find("nuke"), folder)
    _copy_client(folder)


def make_resolve(folder: Path) -> dict[str, bytes]:
    """The package that Resolve's menu scripts look for; answers with the scripts. Raises DflError.

    Returns:
        Path below Resolve's *Fusion* folder → contents.
    """
    source = find("resolve")
    copy_folder(source / "dflresolve", folder / "dflresolve")
    shutil.copyfile(source / "README.md", folder / "README.md")
    _copy_client(folder)
    return {
        f"Scripts/{menu}/{name}": (source / name).read_bytes()
        for name, menus in RESOLVE_SCRIPTS.items()
        for menu in menus
    }


def make_blender(folder: Path, scratch: Path) -> Path:
    """The extension's zip in a folder; answers with it. Raises DflError."""
    folder.mkdir(parents=True)
    builder = _module(find("blender") / "build_extension.py")
    try:
        path = builder.build_zip(folder, scratch)
    except HostError as error:
        raise _ours(error) from error
    assert isinstance(path, Path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{BLENDER_CLIENT}/{COMMAND_NAME}", archive.infolist()[0].date_time)
        entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
        archive.writestr(entry, start_command())
    return path


def start_command() -> str:
    """What starts ``dfl`` from this installation, for the client to read; the user's Python is never guessed at."""
    return json.dumps([sys.executable, "-P", "-m", "dfldaemon.cli.main"]) + "\n"


def _copy_client(folder: Path) -> None:
    try:
        client = copy_client(folder)
        (client / COMMAND_NAME).write_text(start_command(), encoding="utf-8")
    except HostError as error:
        raise _ours(error) from error


def _ours(error: HostError) -> DflError:
    """The client's error as the command line knows them."""
    classes = {one.default_reason: one for one in ERROR_CLASSES}
    return classes.get(error.category, Internal)(error.message, reason=error.reason, **error.details)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
