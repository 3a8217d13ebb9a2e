"""The zip artists install: whole, small, with nothing of other people's in the open, and the same bytes each time."""

from __future__ import annotations

import ast
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

BLENDER_FREE = ("desk", "orders", "mask_labels", "knob_store", "flat_exr", "strip_plates")


@pytest.fixture(scope="module")
def archive(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = builder.build_zip(tmp_path_factory.mktemp("zip"), tmp_path_factory.mktemp("scratch"))
    assert isinstance(path, Path)
    return path


def test_the_zip_has_the_manifest_at_its_root_and_the_client_inside(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        manifest = tomllib.loads(opened.read("blender_manifest.toml").decode())
    assert manifest["blender_version_min"] == "4.2.0"
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(manifest["permissions"]) == {"network", "files"}
    assert archive.name == f"dflblender-{manifest['version']}.zip"
    assert {"__init__.py", "_dflhost/session.py", "_dflhost/_vendor/h2/connection.py"} <= names
    assert {f"_dflhost/_vendor/{package}/LICENSE" for package in ("h2", "hpack", "hyperframe")} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("/")]
    assert archive.stat().st_size < 1 << 20


def test_the_same_sources_give_the_same_zip(archive: Path, builder: ModuleType, tmp_path: Path) -> None:
    again = builder.build_zip(tmp_path, tmp_path / "scratch")
    assert again.read_bytes() == archive.read_bytes()


def test_nothing_of_the_extension_needs_a_package_that_blender_lacks(extension: Path) -> None:
    allowed = {"bpy", "__future__"}
    for file in (extension / "dflblender").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names.append(node.module or "")
            for name in names:
                top = name.partition(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{file.name}: {name}"
                assert top != "bpy" or file.stem not in BLENDER_FREE, file.name
                assert top not in {"socket", "threading"}, f"{file.name}: only the client knows sockets"


def test_the_version_is_that_of_the_client(archive: Path, part: object) -> None:
    assert callable(part)
    with zipfile.ZipFile(archive) as opened:
        manifest = tomllib.loads(opened.read("blender_manifest.toml").decode())
    assert manifest["version"] == part("_dflhost.version").VERSION
