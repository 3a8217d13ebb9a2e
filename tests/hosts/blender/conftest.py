"""What the tests of the Blender extension share: the built extension, Blenders to run it in, and a real daemon.

``DFL_BPY_PYTHON`` names Pythons that can ``import bpy``, parted like ``PATH``; ``DFL_BLENDER`` a Blender with a window
(a program that brings its own display, or one that uses ``DISPLAY``). Tests that need one are skipped without it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
BUILDER = HERE.parents[2] / "hosts" / "blender" / "build_extension.py"
PYTHONS = [path for path in os.environ.get("DFL_BPY_PYTHON", "").split(os.pathsep) if path]
DEADLINE_S = 240.0
ANSWER = "ANSWER "


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """``hosts/blender/build_extension.py``."""
    spec = importlib.util.spec_from_file_location("build_extension", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def extension(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the built package ``dflblender``."""
    parent = tmp_path_factory.mktemp("extension")
    builder.build_folder(parent)
    return parent


@pytest.fixture(scope="session")
def part(extension: Path) -> Iterator[Callable[[str], Any]]:
    """A module of the extension, or of the client in it, by name; those that know no Blender."""
    sys.path.insert(0, str(extension))
    yield lambda name: importlib.import_module(f"dflblender.{name}")
    sys.path.remove(str(extension))


@pytest.fixture(params=PYTHONS or [None], ids=[Path(path).parents[1].name for path in PYTHONS] or ["none"])
def run_in_bpy(request: pytest.FixtureRequest, extension: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs a program of ``programs`` in a Python with Blender; answers with what it said."""
    if request.param is None:
        pytest.skip("DFL_BPY_PYTHON names no Python that has bpy")

    def run(program: str, **facts: object) -> dict[str, Any]:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(tmp_path),
            "BLENDER_USER_RESOURCES": str(tmp_path / "blender"),
            "PYTHONPATH": os.pathsep.join((str(extension), str(PROGRAMS))),
        }
        given = json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in facts.items()})
        done = subprocess.run(
            [request.param, "-W", "error::DeprecationWarning:dflblender", str(PROGRAMS / f"{program}.py"), given],
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return read_answer(done.stdout, done.stderr)

    run.python = request.param  # type: ignore[attr-defined]
    return run


def read_answer(output: str, errors: str) -> dict[str, Any]:
    """The last line a program said, and all it printed for whoever looks at a failure."""
    lines = [line for line in output.splitlines() if line.startswith(ANSWER)]
    assert lines, f"{output}\n{errors}"
    assert "Traceback" not in output + errors, f"{output}\n{errors}"
    answer = json.loads(lines[-1].removeprefix(ANSWER))
    assert isinstance(answer, dict)
    return answer


@pytest.fixture(scope="session")
def answer_of() -> Callable[[str, str], dict[str, Any]]:
    """Reads what a program said."""
    return read_answer


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Four frames, their faceset and a tiny model."""
    from frame_shot import make_frame_shot

    return make_frame_shot(tmp_path_factory.mktemp("shot"))
