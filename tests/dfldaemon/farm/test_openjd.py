"""The bundle: its template by the specification's own library, and run by ``openjd run`` with a real daemon."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dflcore.io.exr import is_valid_exr, read_exr_layers
from dflcore.io.faceset import Faceset
from dfldaemon.cli.main import main
from dfldaemon.model_facts import read_model_facts
from frame_shot import FACES, NOBODY, FrameShot, save_model

Submit = Callable[..., tuple[int, str, str]]
WAIT_S = 240.0
CHUNKS_PROGRAM = """
import json, sys
from pathlib import Path
from openjd.model import StepParameterSpaceIterator, create_job, decode_job_template, preprocess_job_parameters
from openjd.model import DocumentType, document_string_to_object
text = Path(sys.argv[1]).read_text()
values = document_string_to_object(document=text, document_type=DocumentType.JSON)
template = decode_job_template(template=values, supported_extensions=["TASK_CHUNKING"])
given = json.loads(Path(sys.argv[2]).read_text())
here = Path(sys.argv[1]).parent
known = preprocess_job_parameters(
    job_template=template, job_parameter_values=given, job_template_dir=here, current_working_dir=here
)
job = create_job(job_template=template, job_parameter_values=known)
space = StepParameterSpaceIterator(space=job.steps[0].parameterSpace)
print(json.dumps([str(task["Frames"].value) for task in space]))
"""


def chunks(openjd_python: str, folder: Path) -> list[str]:
    """Frames of every task, as a scheduler that knows no extension but ours divides them."""
    arguments = [folder / "template.json", folder / "openjd_parameters.json"]
    done = subprocess.run(
        [openjd_python, "-c", CHUNKS_PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def frames_of(chunk: str) -> list[int]:
    from dflcore.frames import FrameRange

    return list(FrameRange.parse(chunk))


def test_every_path_is_a_parameter_and_every_file_is_json(submit: Submit, shot: FrameShot, tmp_path: Path) -> None:
    submit("--dry-run", tmp_path)
    template = json.loads((tmp_path / "template.json").read_text())
    kinds = {one["name"]: (one["type"], one.get("dataFlow")) for one in template["parameterDefinitions"]}
    assert kinds["PlateFolder"] == ("PATH", "IN")
    assert kinds["OutputFolder"] == ("PATH", "OUT")
    values = json.loads((tmp_path / "parameter_values.json").read_text())["parameterValues"]
    assert {one["name"]: str(one["value"]) for one in values} == json.loads(
        (tmp_path / "openjd_parameters.json").read_text()
    )
    references = json.loads((tmp_path / "asset_references.json").read_text())["assetReferences"]
    assert references["outputs"]["directories"] == [str(shot.folder / "out")]
    assert str(shot.model) in references["inputs"]["directories"]


def test_gpus_are_a_requirement_of_the_host(submit: Submit, tmp_path: Path) -> None:
    submit("--dry-run", tmp_path, "--gpus", "2")
    (step,) = json.loads((tmp_path / "template.json").read_text())["steps"]
    assert step["hostRequirements"] == {"amounts": [{"name": "amount.worker.gpu", "min": 2}]}


def test_no_text_of_ours_is_taken_for_a_format_string(submit: Submit, tmp_path: Path, openjd_python: str) -> None:
    submit("--dry-run", tmp_path, "--authorization-use", "{{Param.Frames}} {{x}}", "--name", "{{Job.Name}}")
    assert len(chunks(openjd_python, tmp_path)) == 2
    (step,) = json.loads((tmp_path / "template.json").read_text())["steps"]
    data = step["script"]["embeddedFiles"][0]["data"]
    assert "{{" not in data
    assert json.loads(data)["settings"]["authorization_use"] == "{{Param.Frames}} {{x}}"


def test_chunks_are_whole_runs_where_frames_need_their_neighbours(
    submit: Submit, tmp_path: Path, openjd_python: str
) -> None:
    frames = ("--frames", "1-9:2,20,30-40", "--chunk", "5")
    submit("--dry-run", tmp_path / "apart", *frames)
    submit("--dry-run", tmp_path / "window", *frames, "--smooth-colors", "2")
    apart, window = (chunks(openjd_python, tmp_path / name) for name in ("apart", "window"))
    whole = [1, 3, 5, 7, 9, 20, *range(30, 41)]
    for found in (apart, window):
        assert [frame for chunk in found for frame in frames_of(chunk)] == whole
        assert max(len(frames_of(chunk)) for chunk in found) <= 5
    for chunk in window:
        numbers = frames_of(chunk)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert len(apart) < len(window)


def run_words(openjd_python: str, bundle: Path, *words: object) -> list[str]:
    values = f"file://{bundle / 'openjd_parameters.json'}"
    line = [openjd_python, "-m", "openjd", "run", bundle / "template.json", "-p", values, *words]
    return [str(word) for word in line]


def openjd_run(openjd_python: str, bundle: Path, *words: object) -> tuple[int, str]:
    """``openjd run`` of a bundle; exit code and all it said."""
    done = subprocess.run(
        run_words(openjd_python, bundle, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return done.returncode, done.stdout


def state_of(said: str) -> str:
    """The state folder of the run's daemon."""
    (found,) = {line.partition("DFL_STATE_DIR=")[2] for line in said.splitlines() if "DFL_STATE_DIR=" in line}
    return found


def daemons_of(state: str) -> list[int]:
    return processes_with("DFL_STATE_DIR", state)


def processes_with(variable: str, value: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            if process.environ().get(variable) == value:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def frames_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.exr"))


@pytest.mark.slow
def test_two_chunks_share_a_daemon_and_a_second_run_computes_nothing(
    submit: Submit, shot: FrameShot, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    bundle = tmp_path / "bundle"
    assert submit("--dry-run", bundle, "--dfl", dfl_program)[0] == 0
    code, said = openjd_run(openjd_python, bundle)
    assert code == 0, said
    assert "Chunks run: 2" in said
    assert said.count("openjd_progress: 100.0") == 2
    assert "openjd_status: frame 1002, 2 of 2" in said
    assert "The session's daemon has ended." in said
    assert daemons_of(state_of(said)) == []
    out = shot.folder / "out" / "v001"
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.exr")}
    assert frames_in(out) == [f"swap.{frame}.exr" for frame in range(1001, 1005)]
    code, said = openjd_run(openjd_python, bundle)
    assert code == 0, said
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.exr")} == written
    assert [path.name for path in out.parent.iterdir()] == ["v001"]


@pytest.mark.slow
def test_a_failed_frame_fails_its_chunk_and_the_daemon_still_ends(
    submit: Submit, shot: FrameShot, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    whole = shot.file(1003).read_bytes()
    shot.file(1003).write_bytes(whole[: len(whole) // 3])
    bundle = tmp_path / "bundle"
    submit("--dry-run", bundle, "--dfl", dfl_program)
    code, said = openjd_run(openjd_python, bundle)
    assert code == 1
    assert "openjd_fail: " in said
    assert "(FRAME_CORRUPT)" in said
    assert "The session's daemon has ended." in said
    assert daemons_of(state_of(said)) == []
    assert frames_in(shot.folder / "out" / "v001") == ["swap.1001.exr", "swap.1002.exr", "swap.1004.exr"]
    shot.file(1003).write_bytes(whole)
    code, said = openjd_run(openjd_python, bundle, "--step", "Merge", "-tp", "Frames=1003-1004")
    assert code == 0, said
    assert len(frames_in(shot.folder / "out" / "v001")) == 4


def openjd_run_until(
    openjd_python: str,
    bundle: Path,
    word: str,
    number: signal.Signals,
    *,
    is_time: Callable[[], bool] = lambda: True,
    **variables: str,
) -> tuple[int, str]:
    """``openjd run`` that is sent a signal once it has said the word and it is time; exit code and all it said."""
    said: list[str] = []
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    with subprocess.Popen(
        run_words(openjd_python, bundle), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        end = time.monotonic() + WAIT_S
        for line in process.stdout:
            said.append(line)
            assert time.monotonic() < end
            if word in line:
                while not is_time():
                    assert time.monotonic() < end
                    time.sleep(0.01)
                process.send_signal(number)
                break
        said += process.stdout
    return process.returncode, "".join(said)


@pytest.fixture
def long_bundle(submit: Submit, shot: FrameShot, tmp_path: Path, dfl_program: Path) -> Path:
    """Of one task with 2000 frames, nearly all of them held."""
    shutil.copy(shot.file(1004), shot.file(3000))
    held = ("--frames", "1001-3000", "--chunk", 2000, "--missing-frames", "hold")
    assert submit("--dry-run", tmp_path / "bundle", "--dfl", dfl_program, *held)[0] == 0
    return tmp_path / "bundle"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cancelling_keeps_whole_frames_and_ends_the_daemon(
    long_bundle: Path, shot: FrameShot, openjd_python: str, number: signal.Signals
) -> None:
    code, text = openjd_run_until(openjd_python, long_bundle, "openjd_status: frame", number)
    assert code == 1, text
    assert "openjd_status: cancelling" in text
    assert "exited with code: 130" in text
    assert "The session's daemon has ended." in text
    assert daemons_of(state_of(text)) == []
    out = shot.folder / "out" / "v001"
    frames = list(out.glob("[!.]*.exr"))
    assert 0 < len(frames) < 2000
    assert all(is_valid_exr(path) for path in frames)
    assert not [path for path in out.rglob(".*") if ".partial-" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cancelling_while_the_daemon_starts_leaves_none(
    long_bundle: Path, shot: FrameShot, tmp_path: Path, openjd_python: str, number: signal.Signals
) -> None:
    """The session's environment is ended without notice, before anybody could say where its daemon is."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    code, text = openjd_run_until(
        openjd_python,
        long_bundle,
        "Command started as pid",
        number,
        is_time=lambda: any(sessions.rglob("start.log")),
        TMPDIR=str(sessions),
        FARM_TEST=str(tmp_path),
    )
    assert code == 1, text
    assert "DFL_STATE_DIR=" not in text, "it was cancelled too late to show anything"
    time.sleep(2.0)
    assert processes_with("FARM_TEST", str(tmp_path)) == []
    assert not (shot.folder / "out").exists()


@pytest.mark.slow
def test_a_worker_that_knows_the_show_by_another_name(
    submit: Submit, shot: FrameShot, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    bundle = tmp_path / "bundle"
    submit("--dry-run", bundle, "--dfl", dfl_program)
    here = tmp_path / "mount" / "here"
    here.parent.mkdir()
    shutil.move(shot.folder, here)
    rule: dict[str, Any] = {"source_path_format": "POSIX", "source_path": str(shot.folder)}
    rules = {"version": "pathmapping-1.0", "path_mapping_rules": [{**rule, "destination_path": str(here)}]}
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    code, said = openjd_run(openjd_python, bundle, "--path-mapping-rules", f"file://{tmp_path / 'rules.json'}")
    assert code == 0, said
    assert len(frames_in(here / "out" / "v001")) == 4
    manifest = json.loads((here / "out" / "v001" / "swap.provenance.json").read_text())
    assert [manifest["frames"][str(frame)]["faces"] for frame in (*FACES, NOBODY)] == [1, 1, 1, 0]
    assert not shot.folder.exists()


@pytest.mark.slow
def test_a_show_with_an_awkward_name_is_run_as_any_other(
    shot: FrameShot, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    show = tmp_path / "sh'0\"10 {{x}} {y} ünï 顔 $(touch x) a=b"
    shot.folder.rename(show)
    odd = FrameShot(show)
    words = [odd.plate, "--model", odd.model, "--faceset", odd.faceset, "--chunk", 3, "--name", f"{show.name}\n2"]
    words += ["--output", show / "out {z}" / "{version}" / "a 'b'.####.exr", "--authorization-use", "{{Task.X}}\n\"'"]
    line = ["farm", "submit", "merge", *words, "--dry-run", show / "bundle", "--dfl", dfl_program]
    assert main([str(word) for word in line]) == 0
    code, said = openjd_run(openjd_python, show / "bundle")
    assert code == 0, said
    assert frames_in(show / "out {z}" / "v001") == [f"a 'b'.{frame}.exr" for frame in range(1001, 1005)]
    manifest = json.loads((show / "out {z}" / "v001" / "a 'b'.provenance.json").read_text())
    assert manifest["made_for"]["use"] == "{{Task.X}}\n\"'"


@pytest.mark.slow
def test_submit_without_dry_run_runs_the_bundle_here(
    submit: Submit, shot: FrameShot, tmp_path: Path, openjd_python: str, dfl_program: Path, monkeypatch: Any
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "openjd").write_text(f'#!/bin/sh\nexec "{openjd_python}" -m openjd "$@"\n')
    (programs / "openjd").chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert submit("--dfl", dfl_program)[0] == 0
    assert len(frames_in(shot.folder / "out" / "v001")) == 4
    assert (shot.folder / "out.farm" / "0001" / "template.json").is_file()


@pytest.mark.slow
def test_a_training_is_one_task_and_goes_on_to_its_end_only(
    shot: FrameShot, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    bundle = tmp_path / "bundle"
    words = ["--source", shot.faceset, "--target", shot.faceset, "--model", tmp_path / "trained"]
    words += ["--iterations", 3, "--batch-size", 1, "--resolution", 64, "--preset", "quick96"]
    line = ["farm", "submit", "train", *words, "--dry-run", bundle, "--dfl", dfl_program]
    assert main([str(word) for word in line]) == 0
    code, said = openjd_run(openjd_python, bundle)
    assert code == 0, said
    assert "openjd_status: iteration 3" in said
    assert "openjd_progress: 100.0" in said
    weights = read_model_facts(tmp_path / "trained")[0]
    assert weights.iteration == 3
    code, said = openjd_run(openjd_python, bundle)
    assert code == 0, said
    assert read_model_facts(tmp_path / "trained")[0].weights_sha256 == weights.weights_sha256


@pytest.mark.slow
def test_a_training_on_machines_that_come_one_after_the_other(
    shot: FrameShot, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    """``openjd run`` does one task after the other: the first trains alone, the second finds nothing to do."""
    bundle = tmp_path / "bundle"
    words = ["--source", shot.faceset, "--target", shot.faceset, "--model", tmp_path / "trained"]
    words += ["--iterations", 3, "--batch-size", 1, "--resolution", 64, "--preset", "quick96", "--nodes", 2]
    line = ["farm", "submit", "train", *words, "--dry-run", bundle, "--dfl", dfl_program]
    assert main([str(word) for word in line]) == 0
    code, said = openjd_run(openjd_python, bundle)
    assert code == 0, said
    assert said.count("this one trains alone until one comes") == 2
    assert "already; raise iterations or minutes to go on" in said
    assert read_model_facts(tmp_path / "trained")[0].iteration == 3
    assert not (tmp_path / "trained.nodes").exists()


@pytest.mark.slow
@pytest.mark.footage
def test_real_talking_heads_from_movies_to_swapped_frames(
    material: Path, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    """Four bundles: two extractions, a training, and a merge whose two chunks share one daemon."""
    bundle = tmp_path / "bundle"

    def run(*words: object) -> str:
        shutil.rmtree(bundle, ignore_errors=True)
        line = ["farm", "submit", *words, "--dry-run", bundle, "--dfl", dfl_program]
        assert main([str(word) for word in line]) == 0
        code, said = openjd_run(openjd_python, bundle)
        assert code == 0, said
        assert daemons_of(state_of(said)) == []
        return said

    source, target = material / "footage" / "source_talk.mp4", material / "footage" / "target_talk.mp4"
    faces = {source: tmp_path / "source", target: tmp_path / "target"}
    numbers = range(31, 43)
    for movie, folder in faces.items():
        run("extract", movie, "--faceset", folder, "--frames", "31-42")
        with Faceset.open(folder) as faceset:
            assert sorted(faceset.records_by_frame()) == list(numbers)
    model, output = tmp_path / "model", tmp_path / "out" / "swap.####.exr"
    words = ["--source", faces[source], "--target", faces[target], "--model", model, "--iterations", 10]
    assert "openjd_status: iteration 10" in run("train", *words, "--resolution", 64)
    words = ["--model", model, "--faceset", faces[target], "--output", output, "--matte-mode", "hull"]
    said = run("merge", target, *words, "--frames", "31-42", "--chunk", 6)
    assert "Chunks run: 2" in said
    assert said.count("openjd_progress: 100.0") == 2
    assert frames_in(tmp_path / "out") == [f"swap.{number:04d}.exr" for number in numbers]
    for number in (31, 42):
        matte = read_exr_layers(tmp_path / "out" / f"swap.{number:04d}.exr")["matte.A"].astype(np.float32)
        assert matte.shape == (388, 512)
        assert 0.01 < (matte > 0.5).mean() < 0.5, "a face has its place in the frames of both chunks"


@pytest.mark.slow
@pytest.mark.footage
def test_real_footage_with_a_failing_task_a_cancel_and_another_name_of_the_show(
    material: Path, tmp_path: Path, openjd_python: str, dfl_program: Path
) -> None:
    show, bundle = tmp_path / "show", tmp_path / "bundle"
    (show / "plates").mkdir(parents=True)
    shutil.copy2(material / "footage" / "target_talk.mp4", show / "plates" / "target.mp4")
    save_model(show / "model", seed=1)

    def write(*words: object) -> None:
        shutil.rmtree(bundle, ignore_errors=True)
        line = ["farm", "submit", *words, "--dry-run", bundle, "--dfl", dfl_program]
        assert main([str(word) for word in line]) == 0

    merge = ["merge", show / "plates" / "target.mp4", "--model", show / "model", "--faceset", show / "faces"]
    merge += ["--output", show / "out" / "{version}" / "swap.####.exr", "--matte-mode", "hull"]
    write(
        "extract", show / "plates" / "target.mp4", "--faceset", show / "faces", "--frames", "31-36"
    )  # not what the second chunk has
    code, said = openjd_run(openjd_python, bundle)
    assert code == 0, said

    write(*merge, "--frames", "31-33,90001-90003", "--chunk", 3)
    code, said = openjd_run(openjd_python, bundle)
    assert code == 1, said
    assert "openjd_fail: " in said
    assert daemons_of(state_of(said)) == []
    out = show / "out" / "v001"
    done = {path: path.stat().st_mtime_ns for path in out.glob("[!.]*.exr")}
    assert frames_in(out) == [f"swap.{number:04d}.exr" for number in (31, 32, 33)]

    write(*merge, "--frames", "31-230", "--chunk", 200)
    code, said = openjd_run_until(openjd_python, bundle, "openjd_status: frame 40", signal.SIGTERM)
    assert code == 1, said
    assert "exited with code: 130" in said
    assert daemons_of(state_of(said)) == []
    cancelled = {path: path.stat().st_mtime_ns for path in out.glob("[!.]*.exr")}
    assert 10 <= len(cancelled) < 200
    assert all(is_valid_exr(path) for path in cancelled)
    assert cancelled == {**cancelled, **done}, "what was there is not done again"

    write(*merge, "--frames", "31-42", "--chunk", 6)
    here = tmp_path / "mount" / "here"
    here.parent.mkdir()
    show.rename(here)
    rule = {"source_path_format": "POSIX", "source_path": str(show), "destination_path": str(here)}
    rules = {"version": "pathmapping-1.0", "path_mapping_rules": [rule]}
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    code, said = openjd_run(openjd_python, bundle, "--path-mapping-rules", f"file://{tmp_path / 'rules.json'}")
    assert code == 0, said
    assert "Chunks run: 2" in said
    assert [path.name for path in (here / "out").iterdir()] == ["v001"]
    mapped = here / "out" / "v001"
    assert all((mapped / path.name).stat().st_mtime_ns == time_ns for path, time_ns in cancelled.items())
