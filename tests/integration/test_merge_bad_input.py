"""What goes wrong at a merge, through `dfl` and a real daemon: the sentence, the exit code, what is left on disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from dflcore.io.exr import ExrLayer, is_valid_exr, write_exr
from dflcore.io.plate import Window
from frame_shot import SIZE, FrameShot, make_frame_shot
from journey import DFL, Daemon, dfl, json_lines, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def shot(tmp_path: Path, template: FrameShot) -> FrameShot:
    """A shot of one's own: only the plate is copied, so that it may be spoilt."""
    shutil.copytree(template.folder, tmp_path / "shot")
    return FrameShot(tmp_path / "shot")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    return make_frame_shot(tmp_path_factory.mktemp("template"))


def merge(shot: FrameShot, output: Path, *flags: str, plate: Path | str | None = None) -> list[str | Path]:
    words: list[str | Path] = ["--json", "merge", plate or shot.plate, "--model", shot.model]
    return [*words, "--faceset", shot.faceset, "--output", output, *flags]


def frames_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.exr"))


def write_frame(path: Path, channels: tuple[str, ...] = ("R", "G", "B")) -> None:
    gray = np.full((SIZE[1], SIZE[0], len(channels)), 0.18, dtype=np.float16)
    window = Window(x=0, y=0, width=SIZE[0], height=SIZE[1])
    layer = ExrLayer(name="", channels=channels, pixels=gray)
    write_exr(path, layers=[layer], data_window=window, display_window=window, color_space="ACEScg")


def test_damaged_frames_are_named_the_rest_is_done_and_a_second_run_finishes(
    running: Daemon, shot: FrameShot, tmp_path: Path
) -> None:
    whole = shot.file(1002).read_bytes()
    shot.file(1002).write_bytes(whole[: len(whole) // 3])
    output = tmp_path / "out" / "swap.####.exr"
    result = dfl(*merge(shot, output), daemon=running, check=False)
    assert result.returncode == 6, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    lines = list(json_lines(result.stdout))
    assert "FRAME_FAILED" in result.stdout
    assert lines[-1]["reason"] == "FRAME_CORRUPT"
    assert lines[-1]["details"]["frame"] == "1002"
    assert frames_in(tmp_path / "out") == ["swap.1001.exr", "swap.1003.exr", "swap.1004.exr"]
    shot.file(1002).write_bytes(whole)
    again = dfl(*merge(shot, output), daemon=running)
    assert '"frames_kept": "3"' in again.stdout
    assert '"frames_written": "1"' in again.stdout


def test_an_alpha_only_plate_is_refused_before_anything_is_written(
    running: Daemon, shot: FrameShot, tmp_path: Path
) -> None:
    write_frame(tmp_path / "alpha.1001.exr", ("A",))
    arguments = merge(shot, tmp_path / "out" / "a.####.exr", plate=tmp_path / "alpha.####.exr")
    result = dfl(*arguments, daemon=running, check=False)
    assert result.returncode == 2
    error = list(json_lines(result.stdout))[-1]
    assert error["reason"] == "NO_COLOR_CHANNELS"
    assert "only A; give a plate with R, G and B" in str(error["message"])
    assert not (tmp_path / "out").exists()


def test_missing_frames_and_ranges_below_zero(running: Daemon, shot: FrameShot, tmp_path: Path) -> None:
    output = tmp_path / "out" / "swap.####.exr"
    result = dfl(*merge(shot, output, "--frames", "-5-1003"), daemon=running, check=False)
    assert result.returncode == 3
    assert "-5-1000" in result.stdout
    assert not output.parent.exists()
    result = dfl(*merge(shot, output, "--frames", "1003-1006", "--missing-frames", "skip"), daemon=running)
    assert "FRAMES_MISSING" in result.stdout
    assert '"frames_skipped": "2"' in result.stdout
    assert frames_in(output.parent) == ["swap.1003.exr", "swap.1004.exr"]


def test_the_tasks_of_a_farm_fill_one_version_and_need_no_input(
    running: Daemon, shot: FrameShot, tmp_path: Path
) -> None:
    """Two tasks of the same shot, with a settings file, standard input closed."""
    look = tmp_path / "look.toml"
    look.write_text('opacity = 0.5\nlayers = "matte"\n')
    output = tmp_path / "out" / "{version}" / "swap.####.exr"
    arguments = merge(shot, output, "--settings", str(look), "--frames", "1001-1004x1")
    command = [*DFL, *map(str, arguments)]
    tasks = [
        subprocess.Popen(
            ["sh", "-c", 'exec "$@" <&-', "sh", *command, "--chunk", f"{number}/2"],
            env=running.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (1, 2)
    ]
    for task in tasks:
        text, _ = task.communicate(timeout=240)
        assert task.returncode == 0, text
    folder = tmp_path / "out" / "v001"
    assert frames_in(folder) == [f"swap.{frame}.exr" for frame in (1001, 1002, 1003, 1004)]
    (saved,) = folder.glob("*.look-*.toml")
    again = dfl(*merge(shot, output, "--settings", str(saved)), daemon=running)
    assert '"frames_kept": "4"' in again.stdout
    assert not (tmp_path / "out" / "v002").exists()


def test_a_worker_killed_in_the_middle_leaves_whole_frames_and_the_same_bits(
    running: Daemon, shot: FrameShot, tmp_path: Path
) -> None:
    for frame in range(1005, 1041):
        os.link(shot.file(1001), shot.file(frame))
    undisturbed = tmp_path / "undisturbed" / "swap.####.exr"
    dfl(*merge(shot, undisturbed), daemon=running)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*DFL, *map(str, merge(shot, out / "swap.####.exr", "--detach"))], env=running.environment()
    )
    assert process.wait(timeout=60) == 0
    wait_until(lambda: len(list(out.glob("swap.*.exr"))) >= 3, "three frames are there", 60.0)
    running.worker().send_signal(signal.SIGKILL)
    seen = list(out.glob("swap.*.exr"))
    assert all(is_valid_exr(path) for path in seen)
    wait_until(lambda: len(list(out.glob("swap.*.exr"))) == 40, "the merge goes on by itself", 120.0)
    wait_until(lambda: not list(out.rglob(".*.journal")), "it has ended", 60.0)
    for path in sorted((tmp_path / "undisturbed").glob("swap.*.exr")):
        assert (out / path.name).read_bytes() == path.read_bytes()
    time.sleep(0.2)
    kept = dfl(*merge(shot, out / "swap.####.exr"), daemon=running)
    assert '"frames_kept": "40"' in kept.stdout


def test_the_plate_is_never_the_output(running: Daemon, shot: FrameShot, tmp_path: Path) -> None:
    before = shot.file(1001).read_bytes()
    (tmp_path / "link").symlink_to(shot.folder / "plate")
    for output in (shot.folder / "plate" / "shot.%04d.exr", tmp_path / "link" / "shot.####.exr"):
        result = dfl(*merge(shot, output, "--overwrite"), daemon=running, check=False)
        assert result.returncode == 2, result.stdout
        assert "OUTPUT_IS" in result.stdout
    assert shot.file(1001).read_bytes() == before
    assert json.loads(result.stdout.splitlines()[-1])["message"]
