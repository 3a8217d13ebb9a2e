"""``dfl farm submit`` as a TD types it, and tasks without a farm around them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dflcore.errors import Conflict
from dflcore.version import __version__
from dfldaemon.cli.main import main
from dfldaemon.farm.job import FarmJob
from dfldaemon.farm.session import enter_session, leave_session
from dfldaemon.farm.task import check_model
from dfldaemon.model_facts import read_model_facts
from frame_shot import FrameShot, save_model

Submit = Callable[..., tuple[int, str, str]]


def test_dry_run_writes_a_bundle_and_sends_nothing(submit: Submit, shot: FrameShot, tmp_path: Path) -> None:
    code, out, err = submit("--frames", "1001-1004", "--dry-run", tmp_path / "bundle")
    assert code == 0
    names = {Path(line).name for line in out.splitlines()}
    assert names == {"template.json", "parameter_values.json", "asset_references.json", "openjd_parameters.json"}
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == names
    assert "2 tasks" in err
    assert "openjd run" in err
    assert not (shot.folder / "out").exists()


def test_without_a_range_the_frames_on_disk_are_sent(submit: Submit, tmp_path: Path) -> None:
    code, out, _ = submit("--json", "--dry-run", tmp_path / "bundle")
    told = json.loads(out)
    assert (code, told["frames"], told["tasks"], told["is_sent"]) == (0, 4, 2, False)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--frames", "1010-1001"), 2, "is empty"),
        (("--frames", "ten"), 2, "Cannot read"),
        (("--chunk", "0"), 2, "--chunk 1 or more"),
        (("--output", "out.png"), 2, "EXR pattern"),
        (("--output", "/nowhere/at/all/swap.####.exr"), 2, "cannot be reached"),
        (("--model", "/nowhere"), 3, "no trained model"),
        (("--faceset", "/nowhere"), 3, "for the faceset"),
        (("--opacity", "7"), 2, "opacity"),
        (("--gpus", "-1"), 2, "0 or more"),
        (("--gpus", "some"), 2, "invalid int"),
        (("--chunk", "many"), 2, "invalid int"),
        (("--dfl", "/long" * 300), 2, "shorter path"),
        (("--frames", ",".join(str(n * n) for n in range(300))), 2, "too scattered"),
    ],
)
def test_mistakes_are_one_sentence(
    submit: Submit, tmp_path: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    found, out, err = submit(*words, "--dry-run", tmp_path / "bundle")
    assert found == code
    (line,) = err.splitlines()
    assert line.startswith("Error: ")
    assert sentence in line
    assert out == ""
    assert not (tmp_path / "bundle").exists()


def test_a_dry_run_into_a_file_is_refused(submit: Submit, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = submit("--dry-run", tmp_path / "file")
    assert code == 2
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("backend", "word"),
    [
        ("openjd", "farm-openjd"),
        ("deadline-cloud", "farm-deadline"),
        ("opencue", "farm-opencue"),
        ("deadline10", "Deadline client"),
        ("flamenco", "--dry-run"),
    ],
)
def test_a_missing_farm_names_what_installs_it(
    submit: Submit, shot: FrameShot, monkeypatch: pytest.MonkeyPatch, backend: str, word: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "outline", None)
    code, _, err = submit("--backend", backend)
    assert code == 7
    assert word in err
    assert len(err.splitlines()) == 1
    assert not (shot.folder / "out.farm").exists()


def test_extractions_and_trainings_are_one_task(shot: FrameShot, tmp_path: Path) -> None:
    extract = ["extract", shot.plate, "--faceset", tmp_path / "faces", "--detector", "dlib_hog"]
    train = ["train", "--source", shot.faceset, "--source", shot.faceset, "--target", shot.faceset]
    train += ["--model", tmp_path / "model", "--iterations", 5]
    for words in (extract, train):
        folder = tmp_path / str(words[0])
        assert main([str(word) for word in ("farm", "submit", *words, "--dry-run", folder)]) == 0
        template = json.loads((folder / "template.json").read_text())
        assert "parameterSpace" not in template["steps"][0]
        assert "extensions" not in template
    values = json.loads((tmp_path / "train" / "openjd_parameters.json").read_text())
    assert {"SourceFolder", "Source2Folder", "TargetFolder", "ModelFolder"} < set(values)


def test_a_training_on_several_machines_has_a_task_for_each(shot: FrameShot, tmp_path: Path) -> None:
    words = ["--source", shot.faceset, "--target", shot.faceset, "--model", tmp_path / "model", "--iterations", 5]
    words += ["--nodes", 2, "--nproc", 4]
    for backend in ("openjd", "deadline10", "flamenco"):
        line = ["farm", "submit", "train", *words, "--backend", backend, "--dry-run", tmp_path / backend]
        assert main([str(word) for word in line]) == 0
    template = json.loads((tmp_path / "openjd" / "template.json").read_text())
    (step,) = template["steps"]
    nodes = {"name": "Node", "type": "INT", "range": "1-2"}
    assert step["parameterSpace"] == {"taskParameterDefinitions": [nodes]}
    assert step["script"]["actions"]["onRun"]["args"][-1] == "--chunk={{Task.Param.Node}}/2"
    assert "extensions" not in template
    settings = json.loads(step["script"]["embeddedFiles"][0]["data"])["settings"]
    assert settings == {"iterations": 5, "nodes": 2, "processes": 4}
    assert "Frames=1-2\n" in (tmp_path / "deadline10" / "job_info.txt").read_text()
    assert json.loads((tmp_path / "flamenco" / "flamenco_job.json").read_text())["settings"]["task_count"] == 2


@pytest.fixture
def described(submit: Submit, tmp_path: Path) -> Path:
    """The description a worker reads, in a file of its own."""
    assert submit("--backend", "flamenco", "--dry-run", tmp_path / "sent")[0] == 0
    return tmp_path / "sent" / "job.json"


def task(path: Path, *words: object) -> tuple[int, str]:
    line = [sys.executable, "-m", "dfldaemon.cli.main", "farm", "task", "--job", path, *words]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def failure(out: str) -> str:
    (line,) = (line for line in out.splitlines() if line.startswith("openjd_fail: "))
    return line


def test_a_worker_of_another_version_refuses(described: Path) -> None:
    change(described, software="0.0.1")
    code, out = task(described, "--chunk", "1/2")
    assert code == 4
    assert "WORKER_VERSION_DIFFERS" in failure(out)


def test_a_daemon_of_another_version_is_refused(described: Path) -> None:
    job = FarmJob.from_values(json.loads(described.read_text()))
    client: Any = SimpleNamespace(server_info=lambda: SimpleNamespace(version="0.0.1"))
    with pytest.raises(Conflict, match=r"daemon is of 0\.0\.1") as caught:
        check_model(job, client)
    assert caught.value.reason == "WORKER_VERSION_DIFFERS"


def test_an_output_that_is_not_mounted_here_is_a_failure(described: Path, tmp_path: Path) -> None:
    code, out = task(described, "--chunk", "1/2", "--folder", f"output={tmp_path}/no/share/out")
    assert code == 2
    assert "path-mapping" in failure(out)
    assert not (tmp_path / "no").exists()


def test_a_part_that_does_not_exist_or_is_empty(described: Path) -> None:
    assert task(described, "--chunk", "3/2")[0] == 2
    code, out = task(described, "--chunk", "1/8")
    assert code == 0
    assert "nothing to do" in out


@pytest.mark.parametrize(
    ("name", "content", "code"), [("gone.json", None, 3), ("bad.json", "{", 6), ("no.json", "[]", 6)]
)
def test_a_description_that_cannot_be_read(tmp_path: Path, name: str, content: str | None, code: int) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    found, out = task(tmp_path / name)
    assert found == code
    assert failure(out)


def test_another_model_of_the_cast_is_refused_too(
    submit: Submit, shot: FrameShot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anna, bob = shot.folder / "anna", shot.folder / "bob"
    for seed, model in enumerate((anna, bob), start=3):
        save_model(model, seed=seed)
    cast = f"track 1 = {anna}; track 2 = {bob}; track 3 = {anna}; others = plate"
    words = ("--cast", cast, "--backend", "flamenco", "--dry-run", tmp_path / "sent")
    assert submit(*words)[0] == 0
    job = FarmJob.from_values(json.loads((tmp_path / "sent" / "job.json").read_text()))
    there = {str(path): read_model_facts(path)[0].weights_sha256 for path in (shot.model, anna, bob)}
    assert job.models == there
    client: Any = SimpleNamespace(
        server_info=lambda: SimpleNamespace(version=__version__),
        get_model=lambda path: SimpleNamespace(digest=there[path]),
    )
    check_model(job, client)
    there[str(bob)] = "0" * 64
    with pytest.raises(Conflict, match="bob is not the one") as caught:
        check_model(job, client)
    assert caught.value.reason == "MODEL_DIFFERS"
    here = job.with_mapped_settings(lambda path: path.replace(str(shot.folder), "/mnt"))
    assert set(here.models) == {str(shot.model), "/mnt/anna", "/mnt/bob"}
    assert submit(*words, "--cast", f"others = {shot.folder / 'nobody'}")[0] == 3


def test_a_model_trained_since_is_refused(described: Path, shot: FrameShot, tmp_path: Path) -> None:
    save_model(shot.model, seed=2)
    environ = {**os.environ, "DFL_STATE_DIR": str(tmp_path / "state")}
    variables = enter_session(tmp_path, environ)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dfldaemon.cli.main", "farm", "task", "--job", str(described), "--chunk", "1/2"],
            env={**environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        leave_session(tmp_path)
    assert done.returncode == 4
    assert "MODEL_DIFFERS" in failure(done.stdout)
    assert not (shot.folder / "out").exists()
    job = FarmJob.from_values(json.loads(described.read_text()))
    assert len(job.model_digest) == 64
