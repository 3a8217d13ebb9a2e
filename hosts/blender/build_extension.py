# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the extension: this folder's package with the shared client inside, as a folder or the zip artists install.

``python hosts/blender/build_extension.py [OUTPUT.zip]``; no network, no Blender. The HTTP/2 packages are copied from
the Python that runs this.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "dflblender"
SHARED = HERE.parent / "shared"
CLIENT = "_dflhost"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", CLIENT)
_FIRST_DAY = (2020, 1, 1, 0, 0, 0)
"""Time of every file in the zip: the same sources give the same bytes."""


def build_folder(parent: Path) -> Path:
    """The extension as a folder ``dflblender`` that Blender can load; answers with it. An older one is replaced."""
    folder = parent / PACKAGE.name
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(PACKAGE, folder, ignore=_LEFT_OUT)
    sys.path.insert(0, str(SHARED))
    try:
        from dflhost.vendor import copy_client
    finally:
        sys.path.remove(str(SHARED))
    copy_client(folder, CLIENT)
    return folder


def build_zip(output: Path, scratch: Path) -> Path:
    """The extension as one zip with the manifest at its root.

    Args:
        output: the file, or a folder for ``dflblender-<version>.zip``.
        scratch: an empty folder to build in.
    """
    folder = build_folder(scratch)
    version = tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))["version"]
    path = output / f"{PACKAGE.name}-{version}.zip" if output.is_dir() else output
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _FIRST_DAY)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return path


def main(arguments: list[str]) -> int:
    """Build the zip into the given file or folder, or the current folder."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        path = build_zip(Path(arguments[0]) if arguments else Path.cwd(), Path(scratch))
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
