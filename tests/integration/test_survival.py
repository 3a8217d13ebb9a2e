"""Kill -9 of the worker and of the daemon, in the middle of training and of merging: nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import psutil
import pytest

from dflcore.io.exr import is_valid_exr, read_exr_layers
from dfldaemon.client import DaemonClient
from dflproto.v1 import common_pb2, job_service_pb2
from journey import FIRST_FRAME, FRAME_COUNT, Daemon, Shot, merge_spec, train_spec, wait_for_state, wait_until

pytestmark = pytest.mark.slow

DONE = common_pb2.JOB_STATE_SUCCEEDED
TARGET_ITERATIONS = 60


def events_of(client: DaemonClient, job_id: str) -> list[job_service_pb2.JobEvent]:
    return list(client.watch(job_id))


def wait_for_save(client: DaemonClient, job_id: str, model: Path) -> None:
    """At least one generation of this model is on disk, and training goes on."""
    wait_until(lambda: bool(client.get_job(job_id).train_progress.iteration), "training makes progress")
    wait_until(lambda: bool(client.get_model(str(model)).generations), "a generation is saved")
    assert client.get_job(job_id).state == common_pb2.JOB_STATE_RUNNING


def assert_training_went_on(client: DaemonClient, job_id: str) -> None:
    """It ended at its last iteration, and never fell back to the start after the first save."""
    assert wait_for_state(client, job_id, DONE).train_progress.iteration == TARGET_ITERATIONS
    events = events_of(client, job_id)
    saved = 0
    for event in events:
        kind = event.WhichOneof("body")
        if kind == "saved":
            saved = max(saved, event.saved.iteration)
        if kind == "train_progress":
            assert event.train_progress.iteration >= saved
    assert saved == TARGET_ITERATIONS
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))


def start_training(client: DaemonClient, shot: Shot, model: Path) -> str:
    spec = train_spec(shot.source, shot.target, model, iterations=TARGET_ITERATIONS, resolution=96, batch_size=4)
    return client.submit(spec).id


def test_training_survives_its_worker(shot: Shot, daemon: Daemon, tmp_path: Path) -> None:
    client = daemon.start()
    job_id = start_training(client, shot, tmp_path / "model")
    wait_for_save(client, job_id, tmp_path / "model")
    daemon.worker().kill()
    assert_training_went_on(client, job_id)
    assert client.get_job(job_id).attempt_count == 2


def test_training_survives_the_daemon(shot: Shot, daemon: Daemon, tmp_path: Path) -> None:
    client = daemon.start()
    job_id = start_training(client, shot, tmp_path / "model")
    wait_for_save(client, job_id, tmp_path / "model")
    worker = daemon.worker()
    daemon.kill()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running()  # no orphan keeps the device
    assert_training_went_on(daemon.start(), job_id)


def test_a_graceful_stop_saves_first_and_goes_on_later(shot: Shot, daemon: Daemon, tmp_path: Path) -> None:
    client = daemon.start()
    job_id = start_training(client, shot, tmp_path / "model")
    wait_for_save(client, job_id, tmp_path / "model")
    assert daemon.stop() == 0
    client = daemon.start()
    assert_training_went_on(client, job_id)
    assert client.get_job(job_id).attempt_count == 1  # nobody died


def test_pause_and_resume(shot: Shot, daemon: Daemon, tmp_path: Path) -> None:
    client = daemon.start()
    job_id = start_training(client, shot, tmp_path / "model")
    wait_for_save(client, job_id, tmp_path / "model")
    client.pause(job_id)
    paused_at = wait_for_state(client, job_id, common_pb2.JOB_STATE_PAUSED).train_progress.iteration
    assert client.get_model(str(tmp_path / "model")).iteration >= paused_at
    client.resume(job_id)
    assert_training_went_on(client, job_id)


def assert_merge_is_whole(job: job_service_pb2.Job, output: Path, reference: Path) -> None:
    """All frames, none torn, and the same pixels as an undisturbed run."""
    assert job.state == DONE
    names = {path.name for path in output.glob("swap.*.exr")}
    assert names == {f"swap.{FIRST_FRAME + index}.exr" for index in range(FRAME_COUNT)}
    for name in sorted(names):
        assert is_valid_exr(output / name)
        got, wanted = read_exr_layers(output / name), read_exr_layers(reference / name)
        assert got.keys() == wanted.keys()
        for channel, pixels in wanted.items():
            np.testing.assert_array_equal(got[channel], pixels, err_msg=f"{name} {channel}")


@pytest.fixture(scope="module")
def undisturbed(shot: Shot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames of a merge nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    daemon = Daemon(folder)
    try:
        client = daemon.start()
        output = folder / "out" / "swap.####.exr"
        wait_for_state(client, client.submit(merge_spec(shot.plate, shot.model, shot.target, output)).id, DONE)
    finally:
        daemon.close()
    return folder / "out"


@pytest.mark.parametrize("victim", ["worker", "daemon"])
def test_merging_survives(victim: str, shot: Shot, daemon: Daemon, tmp_path: Path, undisturbed: Path) -> None:
    client = daemon.start()
    output = tmp_path / "out"
    job_id = client.submit(merge_spec(shot.plate, shot.model, shot.target, output / "swap.####.exr")).id
    wait_until(lambda: output.is_dir() and len(list(output.glob("swap.*.exr"))) >= 2, "two frames are there")
    if victim == "worker":
        daemon.worker().kill()
    else:
        daemon.kill()
        client = daemon.start()
    job = wait_for_state(client, job_id, DONE)
    assert_merge_is_whole(job, output, undisturbed)
    kept = int(job.result["frames_kept"])
    assert kept >= 1, "finished frames are not done again"


def test_the_daemon_log_names_no_token(shot: Shot, daemon: Daemon) -> None:
    client = daemon.start()
    client.close()
    logs = [path for path in daemon.state_dir.rglob("*") if path.is_file() and "token" not in path.name]
    texts = [path.read_text(errors="replace") for path in logs]
    tokens = [path.read_text().strip() for path in daemon.state_dir.rglob("*") if "token" in path.name]
    tokens += [path.read_text().strip() for path in daemon.runtime_dir.rglob("*token*") if path.is_file()]
    assert any(re.fullmatch(r"[0-9a-f]{64}", token) for token in tokens)
    assert not [token for token in tokens for text in texts if token and token in text]
