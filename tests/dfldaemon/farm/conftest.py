"""A small shot to submit, and the OpenJobDescription programs where they are installed."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dfldaemon.cli.main import main
from frame_shot import FrameShot, make_frame_shot


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    return make_frame_shot(tmp_path_factory.mktemp("farm-shot"))


@pytest.fixture
def shot(tmp_path: Path, template: FrameShot) -> FrameShot:
    """Four frames, a faceset and a model, to be spoilt."""
    shutil.copytree(template.folder, tmp_path / "show")
    return FrameShot(tmp_path / "show")


@pytest.fixture
def submit(shot: FrameShot, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``dfl farm submit merge`` of the shot; later words count more. Answers with exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        usual = ["--model", shot.model, "--faceset", shot.faceset, "--chunk", 2]
        usual += ["--output", shot.folder / "out" / "{version}" / "swap.####.exr"]
        code = main([str(word) for word in ("farm", "submit", "merge", shot.plate, *usual, *words)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def dfl_program(tmp_path: Path) -> Path:
    """``dfl`` as a program of its own, of the interpreter that runs the tests."""
    path = tmp_path / "dfl"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dfldaemon.cli.main "$@"\n')
    path.chmod(0o700)
    return path


@pytest.fixture(scope="session")
def openjd_python() -> str:
    """An interpreter with ``openjd-cli``: the one of DFL_OPENJD_PYTHON, else that of the ``openjd`` on the PATH."""
    named = os.environ.get("DFL_OPENJD_PYTHON", "")
    program = shutil.which("openjd")
    found = named or (str(Path(program).resolve().with_name("python")) if program else "")
    if not found or not Path(found).exists():
        pytest.skip("openjd-cli is not here: set DFL_OPENJD_PYTHON to an interpreter that has it")
    return found
