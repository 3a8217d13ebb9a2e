"""What a person does wrong, through `dfl` and a real daemon: one sentence that helps, the right exit code."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import av
import numpy as np
import pytest

from dflcore.io.exr import ExrLayer, is_valid_exr, write_exr
from dflcore.io.plate import Window
from dflproto.v1 import common_pb2
from journey import DFL, Daemon, Shot, dfl, json_lines, train_spec, wait_for_state, wait_until

pytestmark = pytest.mark.slow


def refused(daemon: Daemon, *arguments: str | Path, code: int, says: str) -> dict[str, object]:
    """Run, expect the exit code, and one object on the last line whose message holds the words."""
    result = dfl("--json", *arguments, daemon=daemon, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    text = result.stdout + result.stderr
    assert "Traceback" not in text
    assert says in text, text
    return list(json_lines(result.stdout or result.stderr))[-1]


def write_frame(path: Path, width: int = 320, height: int = 240, channels: tuple[str, ...] = ("R", "G", "B")) -> None:
    window = Window(x=0, y=0, width=width, height=height)
    gray = np.full((height, width, len(channels)), 0.18, dtype=np.float16)
    layer = ExrLayer(name="", channels=channels, pixels=gray)
    write_exr(path, layers=[layer], data_window=window, display_window=window, color_space="ACEScg")


def test_missing_plate(running: Daemon, tmp_path: Path) -> None:
    refused(running, "extract", tmp_path / "no.####.exr", "--faceset", tmp_path / "f", code=3, says="no.####.exr")
    refused(running, "extract", tmp_path / "no.mov", "--faceset", tmp_path / "f", code=3, says="no.mov")
    assert not (tmp_path / "f").exists()


def test_unreadable_and_truncated_frames(running: Daemon, shot: Shot, tmp_path: Path) -> None:
    (tmp_path / "junk.1.exr").write_bytes(b"this is no picture")
    refused(running, "extract", tmp_path / "junk.#.exr", "--faceset", tmp_path / "f", code=6, says="junk.1.exr")
    whole = (shot.folder / "plates" / "target.1001.exr").read_bytes()
    (tmp_path / "cut.1001.exr").write_bytes(whole[: len(whole) // 3])
    refused(running, "extract", tmp_path / "cut.####.exr", "--faceset", tmp_path / "f", code=6, says="cut.1001.exr")


def test_frame_ranges(running: Daemon, shot: Shot, tmp_path: Path) -> None:
    extract = ["extract", shot.plate, "--faceset", tmp_path / "f", "--frames"]
    refused(running, *extract, "1010-1001", code=2, says="last frame must not come before the first")
    refused(running, *extract, "nonsense", code=2, says="nonsense")
    refused(running, *extract, "5000-5003", code=3, says="5000-5003")


def test_movie_without_video(running: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    refused(running, "extract", path, "--faceset", tmp_path / "f", code=2, says="sound.mp4")


def test_frames_of_differing_size(running: Daemon, tmp_path: Path) -> None:
    write_frame(tmp_path / "p.1.exr")
    write_frame(tmp_path / "p.2.exr", width=400)
    text = refused(running, "extract", tmp_path / "p.#.exr", "--faceset", tmp_path / "f", code=2, says="400")
    assert "320" in json.dumps(text)


def test_plates_without_colour(running: Daemon, tmp_path: Path) -> None:
    for name, channels in (("alpha", ("A",)), ("xyz", ("X", "Y", "Z"))):
        write_frame(tmp_path / f"{name}.1.exr", channels=channels)
        pattern = tmp_path / f"{name}.#.exr"
        error = refused(running, "extract", pattern, "--faceset", tmp_path / "f", code=2, says="no colour channels")
        assert "NO_COLOR_CHANNELS" in json.dumps(error)


def test_no_face_in_any_frame(running: Daemon, tmp_path: Path) -> None:
    write_frame(tmp_path / "gray.1.exr")
    write_frame(tmp_path / "gray.2.exr")
    error = refused(running, "extract", tmp_path / "gray.#.exr", "--faceset", tmp_path / "f", code=2, says="face")
    assert "NO_FACE_FOUND" in json.dumps(error)


def test_faceset_of_another_face_type(running: Daemon, shot: Shot, tmp_path: Path) -> None:
    """No mistake: it is converted, and where something is lost by that it is said."""
    other = tmp_path / "whole"
    dfl("extract", shot.plate, "--faceset", other, "--face-type", "whole", "--frames", "1001-1002", daemon=running)
    merge = ["merge", shot.plate, "--model", shot.model, "--faceset", other, "--frames", "1001-1002"]
    result = dfl("--json", *merge, "--output", tmp_path / "out" / "a.####.exr", daemon=running)
    assert "FACE_TYPE_CONVERTED" in result.stdout
    assert is_valid_exr(tmp_path / "out" / "a.1002.exr")
    train = ["train", "--model", tmp_path / "m", "--resolution", "64", "--iterations", "2", "--batch-size", "1"]
    cut = dfl("--json", *train, "--source", shot.source, "--target", other, daemon=running)
    assert "FACE_TYPE_EXTENDED" not in cut.stdout
    train[2] = tmp_path / "m2"
    extended = dfl("--json", *train, "--source", other, "--target", shot.target, daemon=running)
    assert "FACE_TYPE_EXTENDED" in extended.stdout


def test_a_damaged_model_falls_back_and_says_so(running: Daemon, shot: Shot, tmp_path: Path) -> None:
    model = tmp_path / "model"
    train = ["train", "--source", shot.source, "--target", shot.target, "--model", model, "--batch-size", "1"]
    dfl(*train, "--resolution", "64", "--iterations", "2", daemon=running)
    dfl(*train, "--iterations", "4", daemon=running)
    newest = max(model.rglob("weights.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    newest.write_bytes(damaged)
    merge = ["merge", shot.plate, "--model", model, "--faceset", shot.target, "--frames", "1001"]
    result = dfl("--json", *merge, "--output", tmp_path / "out" / "a.####.exr", daemon=running)
    assert "GENERATION_DAMAGED" in result.stdout
    assert is_valid_exr(tmp_path / "out" / "a.1001.exr")
    for weights in model.rglob("weights.safetensors"):
        weights.write_bytes(b"nothing left")
    refused(running, *merge, "--output", tmp_path / "out2" / "a.####.exr", code=6, says=str(model))


def test_unknown_and_impossible_settings(running: Daemon, shot: Shot, tmp_path: Path) -> None:
    merge = ["merge", shot.plate, "--model", shot.model, "--faceset", shot.target, "--output", tmp_path / "a.####.exr"]
    error = refused(running, *merge, "--opacity", "3", code=2, says="opacity")
    assert "0 to 1" in json.dumps(error)
    refused(running, *merge, "--sparkle", "1", code=2, says="sparkle")
    refused(running, *merge, "--layers", "swap,depths", code=2, says="depths")
    refused(running, *merge, "--input-colorspace", "ACEScq", code=2, says="ACEScg")
    train = ["train", "--source", shot.source, "--target", shot.target, "--model", tmp_path / "m"]
    refused(running, *train, "--preset", "huge", code=3, says="quick")
    refused(running, *train, "--resolution", "100", "--iterations", "1", code=2, says="multiple of")


def test_results_are_not_overwritten(running: Daemon, shot: Shot, tmp_path: Path) -> None:
    output = tmp_path / "out" / "a.####.exr"
    merge = ["merge", shot.plate, "--model", shot.model, "--faceset", shot.target, "--frames", "1001-1002"]
    dfl(*merge, "--output", output, daemon=running)
    before = (tmp_path / "out" / "a.1001.exr").read_bytes()
    refused(running, *merge, "--output", output, "--opacity", "0.5", code=4, says="overwrite")
    assert (tmp_path / "out" / "a.1001.exr").read_bytes() == before
    refused(running, *merge, "--output", shot.plate, code=2, says="plate")


def test_existing_models_keep_their_network(running: Daemon, shot: Shot) -> None:
    """Going on with a model needs none of the flags it was made with."""
    train = ["train", "--source", shot.source, "--target", shot.target, "--model", shot.model, "--batch-size", "1"]
    dfl(*train, "--iterations", "3", daemon=running)
    refused(running, *train, "--iterations", "3", "--preset", "df", code=2, says="preset")
    refused(running, *train, "--iterations", "3", "--resolution", "96", code=2, says="resolution")


def test_daemon_not_running(tmp_path: Path) -> None:
    absent = Daemon(tmp_path / "absent")
    refused(absent, "job", "list", code=8, says="dfl daemon start")


def test_wrong_token(tmp_path: Path, running: Daemon) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    address = json.loads((running.state_dir / "session.json").read_text())["address"]
    running.extra["DFL_TOKEN_FILE"] = str(token)
    try:
        refused(running, "--address", address, "job", "list", code=8, says="token")
    finally:
        running.extra.clear()


def test_a_second_daemon_is_refused(running: Daemon) -> None:
    process = subprocess.run(
        [*DFL[:1], "-m", "dfldaemon"], env=running.environment(), capture_output=True, text=True, timeout=30
    )
    assert process.returncode == 3
    assert "already" in process.stderr


def test_a_cancelled_job_keeps_what_it_did(running: Daemon, shot: Shot, tmp_path: Path) -> None:
    train = ["train", "--source", shot.source, "--target", shot.target, "--model", tmp_path / "model"]
    limits = ["--iterations", "100000", "--batch-size", "1", "--resolution", "64"]
    process = subprocess.Popen(
        [*DFL, "--json", *map(str, train), *limits],
        env=running.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '"iteration"' in line:
            break
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 130, output + errors
    assert '"action": "cancel"' in errors + output
    model = json.loads(dfl("--json", "job", "list", daemon=running).stdout.splitlines()[0])
    assert "CANCELLED" in json.dumps(model).upper()
    assert list((tmp_path / "model").rglob("weights.safetensors"))


def test_a_full_disk_fails_the_job_and_keeps_the_model(shot: Shot, daemon: Daemon, tmp_path: Path) -> None:
    """A real full disk, where this test may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        client = daemon.start()
        spec = train_spec(shot.source, shot.target, disk / "model", iterations=100000)
        job_id = client.submit(spec).id
        wait_until(lambda: client.get_job(job_id).state == common_pb2.JOB_STATE_FAILED, "the disk is full", 120)
        job = wait_for_state(client, job_id, common_pb2.JOB_STATE_FAILED)
        assert job.error.reason == "DISK_FULL"
        assert "disk" in job.error.message.lower()
        assert client.server_info().running_count == 0
    finally:
        time.sleep(0.2)
        subprocess.run(["umount", "-l", str(disk)], check=False)
        shutil.rmtree(disk, ignore_errors=True)
