"""A copy of this client that needs nothing but Python: for the folder of a host integration.

The three packages of HTTP/2 go under the private name ``_vendor``, and their imports of each other are rewritten, so
that no ``h2``, ``hpack`` or ``hyperframe`` appears in the host for other add-ons to meet. Nothing of them is committed:
they are copied from the running environment when an integration is installed or its package is built.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
from pathlib import Path

from .discovery import COMMAND_NAME
from .errors import HostError

PACKAGES = ("h2", "hpack", "hyperframe")
VENDOR_FOLDER = "_vendor"
_ABSOLUTE = re.compile(rf"^(?P<indent>\s*)from (?P<package>{'|'.join(PACKAGES)})(?P<rest>[.\s])", re.MULTILINE)
_PLAIN = re.compile(rf"^\s*import (?:{'|'.join(PACKAGES)})\b", re.MULTILINE)
_LICENSE_NAME = re.compile(r"(?:^|/)(LICEN[CS]E|COPYING)[^/]*$", re.IGNORECASE)


def copy_client(target: Path, name: str = "dflhost") -> Path:
    """A whole client in ``<target>/<name>``, made anew; what was there is removed once the new one is whole.

    Returns:
        The folder.

    Raises:
        HostError: a package is not installed here (``PACKAGE_MISSING``), or nothing can be written (``NOT_WRITABLE``).
    """
    folder, fresh = target / name, target / f".{name}.new"
    try:
        target.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", VENDOR_FOLDER, COMMAND_NAME)
        shutil.copytree(Path(__file__).parent, fresh, ignore=ignored)
        vendor_packages(fresh)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(fresh, folder)
    except OSError as error:
        raise HostError(
            f"{folder} cannot be written: {error.strerror or error}.",
            reason="NOT_WRITABLE",
            category="INVALID_INPUT",
            details={"path": str(folder)},
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def vendor_packages(client: Path) -> Path:
    """The three packages in ``<client>/_vendor``, with their licences. Raises as :func:`copy_client`, and OSError."""
    vendor = client / VENDOR_FOLDER
    shutil.rmtree(vendor, ignore_errors=True)
    vendor.mkdir(parents=True)
    (vendor / "__init__.py").write_text(
        '"""Copies of other people\'s packages; their licences are beside them."""\n', "utf-8"
    )
    for package in PACKAGES:
        source = _source(package)
        for path in sorted(source.rglob("*.py")):
            place = path.relative_to(source)
            copied = vendor / package / place
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_text(_rewritten(path.read_text("utf-8"), len(place.parts), path), "utf-8")
        _copy_license(package, vendor / package)
    return vendor


def _source(package: str) -> Path:
    """Folder of an installed package; of this client's own copy where it runs from one."""
    own = Path(__file__).parent / VENDOR_FOLDER / package
    if own.is_dir():
        return own
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise HostError(
            f"The Python package {package} is not installed here; install dfl-compositor with its extra `hosts`.",
            reason="PACKAGE_MISSING",
            category="NOT_FOUND",
            details={"package": package},
        )
    return Path(next(iter(found.submodule_search_locations)))


def _rewritten(text: str, depth: int, path: Path) -> str:
    """Source with relative imports; ``depth`` is that of the module below ``_vendor``, 1 for a package's own."""
    rewritten = _ABSOLUTE.sub(
        lambda match: f"{match['indent']}from {'.' * (depth + 1)}{match['package']}{match['rest']}", text
    )
    if _PLAIN.search(rewritten):
        raise HostError(f"{path} imports in a way that cannot be rewritten.", reason="PACKAGE_NOT_FIT")
    return rewritten


def _copy_license(package: str, target: Path) -> None:
    own = Path(__file__).parent / VENDOR_FOLDER / package / "LICENSE"
    if own.is_file():
        shutil.copyfile(own, target / "LICENSE")
        return
    for file in importlib.metadata.files(package) or ():
        if _LICENSE_NAME.search(file.as_posix()):
            shutil.copyfile(str(file.locate()), target / "LICENSE")
            return
