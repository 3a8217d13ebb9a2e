"""OpenCue: the specification that pyoutline makes of a job. pyoutline lives in an environment of its own."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflcore.errors import DflError
from dfldaemon.discovery import find_session
from frame_shot import FrameShot

WAIT_S = 200.0
PROGRAM = """
import sys
sys.path += {path}
from dfldaemon.cli.main import main
sys.exit(main({words}))
"""


@pytest.fixture(scope="session")
def opencue_python() -> str:
    """An interpreter with pyoutline."""
    found = os.environ.get("DFL_OPENCUE_PYTHON", "")
    if not found:
        pytest.skip("pyoutline is not here: set DFL_OPENCUE_PYTHON to an interpreter that has opencue-pyoutline")
    return found


@pytest.fixture
def submit_to(
    opencue_python: str, shot: FrameShot, tmp_path: Path, repository: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``dfl farm submit`` of the shot by that interpreter, with further words and variables."""

    def run(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        line = ["farm", "submit", "merge", shot.plate, "--model", shot.model, "--faceset", shot.faceset, "--chunk", "2"]
        line += ["--output", shot.folder / "out" / "swap.####.exr", "--backend", "opencue", *words]
        own = [str(repository), str(repository / "daemon"), str(repository / "protos")]
        packages = [path for path in sys.path if path.endswith("-packages")]
        program = PROGRAM.format(path=[*own, *packages], words=[str(word) for word in line])
        environ = {**os.environ, "HOME": str(tmp_path), **variables}
        return subprocess.run(
            [opencue_python, "-c", program], capture_output=True, text=True, env=environ, timeout=WAIT_S, check=False
        )

    return run


@pytest.mark.slow
def test_a_layer_has_a_frame_for_each_part(submit_to: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a job"
    done = submit_to("--frames", "1001-1003,1010", "--gpus", "1", "--dry-run", folder)
    assert done.returncode == 0, done.stderr
    layer = ET.parse(folder / "opencue_job.xml").getroot().find("./job/layers/layer")
    assert layer is not None
    assert layer.findtext("range") == "1-2"
    assert layer.findtext("chunk") == "1"
    assert layer.findtext("gpus") == "1"
    assert layer.findtext("cmd") == f"dfl farm task --job '{folder / 'job.json'}' --chunk #IFRAME#/2"


@pytest.mark.slow
def test_names_are_quoted_for_the_shell_and_plain_where_opencue_wants_them(submit_to: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a 'b' $(touch x) ü"
    done = submit_to("--frames", "1001", "--name", "顔", "--dry-run", folder, SHOW="bigshow", SHOT="sh010")
    assert done.returncode == 0, done.stderr
    job = ET.parse(folder / "opencue_job.xml").getroot()
    assert (job.findtext("show"), job.findtext("shot")) == ("bigshow", "sh010")
    named = job.find("./job")
    assert named is not None
    assert re.fullmatch(r"[\w.-]{3,}", named.get("name", ""), flags=re.ASCII)
    command = job.findtext("./job/layers/layer/cmd", "")
    words = shlex.split(command)
    assert words == ["dfl", "farm", "task", "--job", str(folder / "job.json"), "--chunk", "#IFRAME#/1"]


@pytest.mark.slow
def test_a_real_rqd_runs_the_frames_on_one_daemon(
    submit_to: Any, opencue_python: str, shot: FrameShot, tmp_path: Path, dfl_program: Path
) -> None:
    has_rqd = subprocess.run([opencue_python, "-c", "import rqd"], capture_output=True, check=False).returncode == 0
    if not has_rqd:
        pytest.skip("opencue-rqd is not there")
    state, folder = tmp_path / "state", tmp_path / "cuebot"
    folder.mkdir()
    line = [opencue_python, str(Path(__file__).with_name("stand_in_cuebot.py")), str(folder)]
    environ = {**os.environ, "DFL_STATE_DIR": str(state)}
    try:
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environ) as cuebot:
            assert cuebot.stdout is not None
            port = cuebot.stdout.readline().strip()
            done = submit_to("--frames", "1001-1004", "--dfl", dfl_program, CUEBOT_HOSTS=f"127.0.0.1:{port}")
            assert done.returncode == 0, done.stderr
            frames = json.loads(cuebot.stdout.read())
        assert [frame["exit_status"] for frame in frames] == [0, 0], frames
        assert all("openjd_progress: 100.0" in frame["log"] for frame in frames)
        assert len(list((shot.folder / "out").glob("swap.*.exr"))) == 4
        assert find_session(state).is_alive  # both frames', and it leaves by itself when idle
    finally:
        with contextlib.suppress(DflError):
            os.kill(find_session(state).pid, signal.SIGTERM)
