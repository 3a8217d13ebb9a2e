"""Weights that come inside an installed Python package, found without importing it.

``face_recognition_models`` imports ``pkg_resources``, which newer setuptools no longer have; its files are all we need.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path


def find_embedded(package: str, member: str) -> Path | None:
    """The file ``member`` of an installed package, None when the package or the file is not there."""
    spec = importlib.util.find_spec(package)  # a top-level name: finding it runs none of its code
    if spec is None:
        return None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder) / member
        if path.is_file():
            return path
    return None
