"""An artist's session in a full Blender with a window, on whatever display ``DFL_BLENDER`` brings or ``DISPLAY`` names.

Screenshots are kept in the test's folder; ``DFL_SCREENSHOTS`` names another.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import DaemonProcess

from frame_shot import write_plate

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).parent / "programs" / "ui_session.py"
BLENDER = shlex.split(os.environ.get("DFL_BLENDER", ""))
MANY = range(1, 200)
LONGEST_S = 200.0
TRAINING = {"preset": "df", "resolution": "64", "batch_size": "2", "preview_interval_s": "1.0"}
TRAINING |= {"ae_dims": "32", "e_dims": "16", "d_dims": "16", "d_mask_dims": "16"}


@pytest.mark.timeout(400)
@pytest.mark.skipif(not BLENDER, reason="DFL_BLENDER names no Blender with a window")
def test_tab_button_progress_result_undo_and_esc(
    builder: ModuleType,
    shot: Any,
    merging_daemon: DaemonProcess,
    tmp_path: Path,
    answer_of: Callable[..., dict[str, Any]],
) -> None:
    environment = {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
        "DFL_STATE_DIR": str(merging_daemon.folder / "state"),
    }
    archive = builder.build_zip(tmp_path, tmp_path / "scratch")
    install = [*BLENDER, "--command", "extension", "install-file", "-r", "user_default", "-e", str(archive)]
    subprocess.run(install, env=environment, check=True, capture_output=True, timeout=120)
    pictures = Path(os.environ.get("DFL_SCREENSHOTS", tmp_path))
    pictures.mkdir(parents=True, exist_ok=True)
    write_plate(shot, 1001)
    slow = tmp_path / "slow"
    slow.mkdir()
    for number in MANY:
        (slow / f"slow.{number:04d}.exr").symlink_to(shot.file(1001))
    facts = {
        "plate": shot.plate,
        "model": str(shot.model),
        "faces": str(shot.faceset),
        "output": str(tmp_path / "out"),
        "pictures": str(pictures),
        "slow_plate": str(slow / "slow.0001.exr"),
        "new_model": str(tmp_path / "new model"),
        "training": TRAINING,
    }
    window = ["-noaudio", "-p", "0", "0", "1600", "900", "--enable-event-simulate"]
    for program in (PROGRAM, PROGRAM.with_name("inside.py")):
        shutil.copy(program, tmp_path)  # a Blender in a container of its own sees the temporary folder at most
    script = ["--python", str(tmp_path / PROGRAM.name), "--", json.dumps(facts)]
    output = _run([*BLENDER, *window, *script], environment)
    said = answer_of(output, "")
    assert said["tab"] == "Face Swap"
    assert said["is_started"]
    assert said["outcome"] == "SUCCEEDED"
    assert said["strips"] == ["Take_1_swap v001 1001-1004", "Take_1_swap v001 1001-1004 matte"]
    assert set(said["lengths_while_working"]) <= {1, 2, 3, 4}
    assert said["strips_after_undo"] == []
    assert said["outcome_after_esc"] == "CANCELLED"
    assert "model" in said["failure"]
    assert said["image"] == "shot swap 1001"
    assert said["previews"] == ["Face Swap Preview"]
    assert said["training"].startswith("Training ")
    assert said["training_outcome"] == "CANCELLED"
    assert said["nodes"] == "SUCCEEDED"
    assert (pictures / "3_done.png").stat().st_size > 10_000


def _run(command: list[str], environment: dict[str, str]) -> str:
    """What it prints; ends it with everything it started when it takes too long."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        return process.communicate(timeout=LONGEST_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]
