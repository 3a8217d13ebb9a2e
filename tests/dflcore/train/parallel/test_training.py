"""Face models trained by two processes: with all that one process does, and started in every way there is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dflcore.config.network import QuickSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput
from dflcore.models import presets, registry
from dflcore.models.checkpoint import ModelFolder
from dflcore.progress import Event, Notice, Saved, StopRequest, TrainProgress
from dflcore.train.parallel.__main__ import main
from dflcore.train.parallel.training import TrainingTask, _result_from_json, _result_to_json, run_training
from dflcore.train.review import TrainingReview
from dflcore.train.trainer import TrainResult
from small_facesets import noise_faceset

Listener = Callable[..., Any]
HERE = Path(__file__).parent
WORKER = (sys.executable, str(HERE / "tiny_training.py"))


TINY = QuickSettings(resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16)


@pytest.fixture
def facesets(tmp_path: Path) -> tuple[Path, Path]:
    return noise_faceset(tmp_path / "source", 5), noise_faceset(tmp_path / "target", 6)


def task_for(facesets: tuple[Path, Path], model: Path, **values: object) -> TrainingTask:
    wanted = {"preset": "tiny", "batch_size": 2, "seed": 4, "device": "cpu", "processes": 2, **values}
    return TrainingTask(settings=TrainSettings.from_values(wanted), source=facesets[0], target=facesets[1], model=model)


def test_two_processes_train_one_model(facesets: tuple[Path, Path], tmp_path: Path, listener: Listener) -> None:
    heard = listener()
    model = tmp_path / "model"
    result = run_training(task_for(facesets, model, iterations=12), heard, worker=WORKER)
    assert isinstance(result, TrainResult)
    assert (result.iteration, result.generation, result.stopped) == (12, 1, None)
    assert [event.iteration for event in heard.events if isinstance(event, Saved)] == [12], "the lead alone saves"
    reports = [event.iteration for event in heard.events if isinstance(event, TrainProgress)]
    assert reports == sorted(set(reports))
    generation, notices = ModelFolder.open(model).load()
    assert generation is not None
    assert generation.iteration == 12
    assert not notices


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"lr_dropout": 0.7},
        {"shard_optimizer": True, "lr_dropout": 0.7},
        {"minutes": 0.03, "iterations": None},
        {"true_face_power": 0.01, "gan_power": 0.1},
        {"ema_decay": 0.9, "accumulate_steps": 2, "clip_gradients": 1.0},
    ],
    ids=["lr_dropout", "sharded", "by the clock", "critics", "accumulated"],
)
def test_weights_stay_alike_in_all_processes(
    facesets: tuple[Path, Path], tmp_path: Path, listener: Listener, values: dict[str, object]
) -> None:
    """The processes look at their weights at the end, bit by bit; a difference would be an error of theirs."""
    task = task_for(facesets, tmp_path / "model", **{"iterations": 8, **values})
    result = run_training(task, listener(), worker=WORKER)
    assert result is not None
    assert result.generation == 1


@pytest.mark.slow
@pytest.mark.parametrize("worlds", [(2, 1), (1, 2), (2, 2)])
def test_a_model_goes_on_with_another_number_of_processes(
    facesets: tuple[Path, Path],
    tmp_path: Path,
    listener: Listener,
    worlds: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preset = registry.Preset(help="Tiny.", network=TINY, build=presets.quick().build, recipe=presets.QUICK_RECIPE)
    monkeypatch.setattr(presets, "tiny", lambda: preset, raising=False)  # for the run in this process
    monkeypatch.setitem(registry._PRESETS._builtin, "tiny", "dflcore.models.presets:tiny")
    model = tmp_path / "model"
    for iterations, processes in zip((6, 12), worlds, strict=True):
        task = task_for(facesets, model, iterations=iterations, processes=processes, shard_optimizer=True)
        result = run_training(task, listener(), worker=WORKER)
        assert result is not None
        assert result.iteration == iterations
        generation, _ = ModelFolder.open(model).load()
        assert generation is not None
        steps = {
            float(value) for name, value in generation.training.items() if name.endswith(".step") or ".step." in name
        }
        assert steps == {float(iterations)}, "every weight's moments were kept"


@pytest.mark.slow
def test_a_killed_process_costs_only_what_was_not_saved(
    facesets: tuple[Path, Path], tmp_path: Path, listener: Listener
) -> None:
    heard = listener()

    def kill_after_the_first_save(event: Event) -> None:
        heard.events.append(event)
        if isinstance(event, Saved) and sum(isinstance(one, Saved) for one in heard.events) == 1:
            os.kill(psutil.Process().children()[1].pid, signal.SIGKILL)

    heard.emit = kill_after_the_first_save
    task = task_for(facesets, tmp_path / "model", minutes=0.2, save_interval_s=1.0)
    result = run_training(task, heard, worker=WORKER)
    assert result is not None
    assert [event.reason for event in heard.events if isinstance(event, Notice)].count("TRAINING_RESTARTED") == 1
    saves = [event.iteration for event in heard.events if isinstance(event, Saved)]
    assert saves == sorted(saves)
    assert result.iteration == saves[-1]
    assert result.elapsed_s == pytest.approx(12.0, abs=3.0)


@pytest.mark.slow
def test_a_stop_is_told_to_all_and_the_model_is_saved(
    facesets: tuple[Path, Path], tmp_path: Path, listener: Listener
) -> None:
    task = task_for(facesets, tmp_path / "model", save_interval_s=1.0)
    result = run_training(task, listener(stop_after_saves=1), worker=WORKER)
    assert result is not None
    assert result.stopped is StopRequest.PAUSE
    assert ModelFolder.open(tmp_path / "model").load()[0].iteration == result.iteration  # type: ignore[union-attr]


def test_an_unusable_setting_is_said_once(facesets: tuple[Path, Path], tmp_path: Path, listener: Listener) -> None:
    task = task_for(facesets, tmp_path / "model", preset="quick", resolution=33, iterations=1)
    with pytest.raises(InvalidInput, match="33"):
        run_training(task, listener(), worker=WORKER)
    assert not (tmp_path / "model").exists()


def command(facesets: tuple[Path, Path], model: Path, *more: str) -> list[str]:
    return [
        *("--source", str(facesets[0]), "--target", str(facesets[1]), "--model", str(model)),
        *("--set", "device=cpu", "--set", "resolution=64", "--set", "batch_size=1", "--set", "iterations=3"),
        *more,
    ]


@pytest.mark.slow
def test_torchrun_starts_it_without_opening_a_door(facesets: tuple[Path, Path], tmp_path: Path) -> None:
    """As the manual says it, on loopback: all that listens is the processes themselves, on loopback."""
    model = tmp_path / "model"
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file", "--rdzv-endpoint", str(tmp_path / "meeting")),
        *("--local-addr", "127.0.0.1", "-m", "dflcore.train.parallel", *command(facesets, model)),
    ]
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(torchrun, env=environment, stderr=subprocess.PIPE, text=True)
    addresses: set[str] = set()
    while running.poll() is None:
        for process in [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]:
            try:
                connections = process.net_connections("tcp")
            except psutil.Error:
                continue
            addresses |= {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
        try:
            running.wait(0.3)
        except subprocess.TimeoutExpired:
            continue
    assert running.stderr is not None
    said = running.stderr.read()
    running.stderr.close()
    assert running.returncode == 0, said
    assert addresses == {"127.0.0.1"}
    generation, _ = ModelFolder.open(model).load()
    assert generation is not None
    assert generation.iteration == 3


@pytest.mark.slow
def test_the_command_starts_processes_itself(facesets: tuple[Path, Path], tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"processes": 2}))
    arguments = command(facesets, tmp_path / "model", "--settings", str(settings))
    done = subprocess.run(
        [sys.executable, "-m", "dflcore.train.parallel", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ModelFolder.open(tmp_path / "model").is_saved


@pytest.mark.slow
def test_commands_on_several_machines_train_one_model(
    facesets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nobody else does meanwhile."""
    model = tmp_path / "model"
    length = ("--set", "iterations=100000", "--set", "minutes=0.25", "--set", "save_interval_s=2")
    words = command(facesets, model, *length, "--set", "nodes=2", "--set", "node_address=lo")
    program = [sys.executable, "-m", "dflcore.train.parallel", *words]
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("w")) for path in logs]
        machines = [stack.enter_context(subprocess.Popen(program, stderr=file)) for file in files]
        for machine in machines:
            stack.callback(machine.kill)
        while not all("2 machines train together" in path.read_text() for path in logs):
            assert all(one.poll() is None for one in machines), [path.read_text() for path in logs]
            time.sleep(0.1)
        assert main(command(facesets, model)) == 1
        assert "Several machines train" in capsys.readouterr().err
        assert main([*words, "--set", "batch_size=2"]) == 1
        assert "batch_size is 2 here and 1 on" in capsys.readouterr().err
        codes = [one.wait() for one in machines]
    said = [path.read_text() for path in logs]
    assert codes == [0, 0], said
    assert sum("2 machines train together. This one leads" in text for text in said) == 1, said
    generation, notices = ModelFolder.open(model).load()
    assert generation is not None
    assert generation.state["elapsed_s"] >= 15.0
    assert not notices
    before = generation.iteration
    assert main([*words, "--set", "iterations=1"]) == 0
    assert ModelFolder.open(model).load()[0].iteration == before, "nothing was left to do"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--set", "nodes=2", "--set", "node_address=203.0.113.9"], "node_address is '203.0.113.9'"),
        (["--set", "batch_size"], "NAME=VALUE"),
        (["--set", "batch_size=0"], "batch_size"),
        (["--settings", "nothing.json"], "nothing.json holds no settings"),
    ],
)
def test_a_command_that_makes_no_sense_says_so(
    facesets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(command(facesets, tmp_path / "model", *more)) == 1
    assert words in capsys.readouterr().err


def test_a_result_goes_through_a_channel_whole() -> None:
    review = TrainingReview(
        identity_to_source=0.4, source_to_target=0.9, sharpness_ratio=0.8, advice=("Train on.", "Save.")
    )
    result = TrainResult(
        iteration=7,
        elapsed_s=1.5,
        generation=2,
        losses={"source": 0.1},
        step_ms=3.0,
        data_ms=1.0,
        stopped=StopRequest.PAUSE,
        review=review,
    )
    assert _result_from_json(json.loads(json.dumps(_result_to_json(result)))) == result


def test_a_task_goes_through_a_channel_whole(facesets: tuple[Path, Path], tmp_path: Path) -> None:
    plain = task_for(facesets, tmp_path / "model")
    full = TrainingTask(
        settings=plain.settings,
        source=plain.source,
        target=plain.target,
        model=plain.model,
        more_sources=(tmp_path / "second",),
        weights=(tmp_path,),
        tuning_folder=tmp_path,
    )
    for task in (plain, full):
        assert TrainingTask.from_json(json.loads(json.dumps(task.to_json()))) == task
