"""What the worker process does without a daemon, and what its end means to one."""

import errno
import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dflcore.errors import Internal, ResourceExhausted
from dflcore.progress import FrameProgress, Notice, Preview, Saved, TrainProgress
from dfldaemon.jobs import JobKind, JobState, StateChange, Work
from dfldaemon.supervisor import explain_exit
from dfldaemon.worker import explain
from dfldaemon.worker_protocol import (
    EXIT_FAILED,
    EXIT_ORPHANED,
    decode_line,
    encode_line,
    event_from_json,
    event_to_json,
    work_from_json,
    work_to_json,
)


def test_the_worker_ends_when_its_daemon_is_gone(worker_command: tuple[str, ...]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [*worker_command, f"--channel={theirs.fileno()}"]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    assert process.wait(20) == EXIT_ORPHANED


def test_the_worker_says_how_it_ended(worker_command: tuple[str, ...], tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [*worker_command, f"--channel={theirs.fileno()}"]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)
    work = Work(
        kind=JobKind.EXTRACT, paths={"plate": "/p", "faceset": str(tmp_path / "good")}, frames="1-3", settings={}
    )
    with ours, ours.makefile("rb") as lines:
        ours.sendall(encode_line({"type": "start", "work": work_to_json(work), "limits": {"threads": 1}}))
        messages = [decode_line(line) for line in lines]
    assert process.wait(20) == 0
    assert messages[-1] == {"type": "succeeded", "result": {"frames": "3"}}
    frames = [message["event"]["frame"] for message in messages if message["type"] == "event"]
    assert frames == [1, 2, 3]
    assert any(message["type"] == "heartbeat" for message in messages)


def test_the_worker_refuses_links_out_of_its_roots(worker_command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "p.0001.exr").symlink_to(tmp_path / "p.0001.exr")
    ours, theirs = socket.socketpair()
    with theirs:
        command = [*worker_command, f"--channel={theirs.fileno()}"]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
    root = tmp_path.resolve() / "root"
    paths = {"plate": str(root / "p.####.exr"), "faceset": str(root / "good")}
    work = Work(kind=JobKind.EXTRACT, paths=paths, frames="", settings={})
    with ours, ours.makefile("rb") as lines:
        limits = {"roots": [str(root)]}
        ours.sendall(encode_line({"type": "start", "work": work_to_json(work), "limits": limits}))
        messages = [decode_line(line) for line in lines]
    assert process.wait(20) == EXIT_FAILED
    assert messages[-1]["error"]["reason"] == "PATH_OUTSIDE_ROOTS"
    assert not (root / "good").exists()


@pytest.mark.parametrize(
    ("code", "error_class", "words"),
    [
        (-signal.SIGKILL, ResourceExhausted, "out of memory.*batch_size"),
        (-signal.SIGSEGV, Internal, "SIGSEGV"),
        (-signal.SIGABRT, Internal, "SIGABRT"),
        (-99, Internal, "-?99"),
        (15, ResourceExhausted, "SIGTERM"),
        (3, Internal, "code 3"),
    ],
)
def test_an_exit_code_is_told_in_words(code: int, error_class: type, words: str) -> None:
    error = explain_exit(code, JobKind.TRAIN)
    assert isinstance(error, error_class)
    assert error.reason.startswith("WORKER_")
    assert re.search(words, error.message)


def test_exceptions_nobody_meant_are_told_in_words() -> None:
    assert explain(MemoryError(), JobKind.TRAIN).reason == "OUT_OF_MEMORY"
    full = explain(OSError(errno.ENOSPC, "No space left on device", "/out/a.exr"), JobKind.MERGE)
    assert (full.reason, full.details["path"]) == ("DISK_FULL", "/out/a.exr")
    assert (
        "dfl-compositor[core,daemon]" in explain(ModuleNotFoundError("No module named 'torch'"), JobKind.MERGE).message
    )
    assert "KeyError" in explain(KeyError("x"), JobKind.MERGE).message


@pytest.mark.parametrize(
    "body",
    [
        FrameProgress(done=1, total=2),
        TrainProgress(
            iteration=1,
            target_iterations=2,
            elapsed_s=0.1,
            target_s=None,
            losses={"a": 1.0},
            step_ms=1.0,
            data_ms=1.0,
            learning_rate=1.0,
        ),
        Preview(path="/p", title="t"),
        Saved(path="/m", iteration=1, generation=2),
        Notice(message="m", reason="R"),
        StateChange(state=JobState.SUCCEEDED, result={"a": "b"}),
    ],
)
def test_events_survive_the_channel(body: object) -> None:
    line = encode_line({"type": "event", "event": event_to_json(body)})
    assert line.count(b"\n") == 1
    assert event_from_json(decode_line(line)["event"]) == body


def test_work_survives_the_channel() -> None:
    work = Work(kind=JobKind.MERGE, paths={"plate": "/ü/a b"}, frames="1-2", settings={"a": None, "b": 1.5})
    assert work_from_json(json.loads(json.dumps(work_to_json(work)))) == work


@pytest.mark.parametrize("line", [b"", b"[]\n", b"{}\n", b'{"type": 3}\n', b"\xff\n"])
def test_lines_that_make_no_sense_are_refused(line: bytes) -> None:
    with pytest.raises(Internal):
        decode_line(line)


@pytest.mark.parametrize("values", [{}, {"kind": "x"}, {"kind": "saved"}, {"kind": "state", "state": "done"}])
def test_events_that_make_no_sense_are_refused(values: dict) -> None:
    with pytest.raises(Internal):
        event_from_json(values)


@dataclass(frozen=True)
class Result:
    output: str
    frames: int
    seconds: float
    stopped: None
    steps: dict


def test_facts_are_the_plain_fields_of_a_result() -> None:
    from dfldaemon.worker_jobs import facts_of

    facts = facts_of(Result(output="/o", frames=3, seconds=0.123456789, stopped=None, steps={"a": 1}))
    assert facts == {"output": "/o", "frames": "3", "seconds": "0.123457"}


@dataclass(frozen=True)
class Review:
    identity_to_source: float
    sharpness_ratio: float
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    iteration: int
    review: Review | None


def test_the_review_of_a_training_is_among_its_facts() -> None:
    from dfldaemon.worker_jobs import facts_of

    review = Review(identity_to_source=float("nan"), sharpness_ratio=0.75, advice=("Train on.", "Then rest."))
    assert facts_of(Trained(7, review)) == {
        "iteration": "7",
        "sharpness_ratio": "0.75",
        "advice": "Train on. Then rest.",
    }
    assert facts_of(Trained(7, None)) == {"iteration": "7"}


@pytest.mark.parametrize("kind", list(JobKind))
def test_every_kind_has_advice_for_memory_that_ran_out(kind: JobKind) -> None:
    assert "lose other programs" in explain(MemoryError(), kind).message


def test_the_server_side_of_the_worker_needs_no_torch() -> None:
    script = (
        "import sys, dfldaemon.server, dfldaemon.worker, dfldaemon.query_worker, dfldaemon.__main__;"
        "sys.exit(bool({'torch', 'cv2', 'OpenImageIO', 'av', 'dlib', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_permission_is_that_of_the_weights_that_were_loaded(tmp_path: Path) -> None:
    from dfldaemon.worker_jobs import authorization_of

    for number, person in ((1, "Eileen"), (2, "Nobody")):
        folder = tmp_path / "generations" / f"{number:08d}"
        folder.mkdir(parents=True)
        provenance = {"source": {"authorization": {"person": person}}}
        state = {"iteration": number, "elapsed_s": 1.0, "provenance": provenance}
        (folder / "state.json").write_text(json.dumps(state))
        files = {"weights.safetensors": {"sha256": f"digest-{number}", "size": 1}}
        (folder / "manifest.json").write_text(json.dumps({"files": files}))
    assert authorization_of(tmp_path, "digest-1").person == "Eileen"
    assert authorization_of(tmp_path, "digest-2").person == "Nobody"
    assert authorization_of(tmp_path, "gone").person == "Nobody"
