"""What a person does wrong with `dfl train`, through `dfl` and a real daemon.

The answer is one sentence and the right exit code; nothing is left behind and nothing is lost.
"""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from dflcore.models.checkpoint import SEGMENT_KIND, ModelDescription, ModelFolder
from dflcore.models.layout import generation_folders, read_facts
from dflcore.types import FaceType
from journey import DFL, Daemon, dfl, json_lines
from small_facesets import noise_faceset

pytestmark = pytest.mark.slow

NARROW = ["--preset", "df", "--ae-dims", "32", "--e-dims", "16", "--d-dims", "16", "--d-mask-dims", "8"]
SMALL = [*NARROW, "--resolution", "64", "--batch-size", "1"]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    folder = tmp_path_factory.mktemp("people")
    return ["--source", noise_faceset(folder / "source"), "--target", noise_faceset(folder / "target")]


@pytest.fixture(scope="module")
def made(running: Daemon, people: list[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of two iterations; tests that change it do so to a copy."""
    path = tmp_path_factory.mktemp("made") / "model"
    dfl("train", *people, "--model", path, *SMALL, "--iterations", "2", daemon=running)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def iterations(model: Path) -> list[int]:
    return [read_facts(folder)[0]["iteration"] for folder in generation_folders(model)]


def refused(daemon: Daemon, *arguments: str | Path, code: int, says: str) -> None:
    result = dfl("--json", *arguments, daemon=daemon, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    error = list(json_lines(result.stdout or result.stderr))[-1]
    assert says in json.dumps(error, ensure_ascii=False), error
    assert "Traceback" not in result.stdout + result.stderr


def test_a_model_gets_a_folder_of_its_own(running: Daemon, people: list[str | Path], made: Path) -> None:
    faceset, last = Path(people[1]), ["--iterations", "1"]
    before = content(faceset), content(made)
    refused(running, "train", *people, "--model", faceset, *last, code=4, says="is a faceset")
    refused(running, "train", *people, "--model", faceset.parent, *last, code=4, says="holds other things")
    refused(running, "train", *people, "--model", made / "generations", *last, code=4, says="lies inside the model")
    refused(running, "train", *people, "--model", faceset / "index.sqlite", *last, code=4, says="is a file")
    refused(running, "train", "--source", made, *people[2:], "--model", made, *last, code=3, says="not a faceset")
    assert (content(faceset), content(made)) == before


def test_a_model_of_masks_learns_no_faces(running: Daemon, people: list[str | Path], tmp_path: Path) -> None:
    network = {"resolution": 64, "base_dims": 4, "bottleneck_dims": 16}
    masks = ModelDescription(preset="xseg-light", network=network, face_type=FaceType.FULL, kind=SEGMENT_KIND)
    ModelFolder.create(tmp_path / "m", masks)
    before = content(tmp_path)
    refused(running, "train", *people, "--model", tmp_path / "m", code=2, says="is a segmentation model")
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--preset", "df", "--letters", "uudx"], "each at most once"),
        (["--letters", "ud"], "The network of the preset quick has no letters"),
        ([*SMALL, "--gan-power", "0.1", "--gan-patch-size", "65"], "more than the face of 64 px"),
        (["--preset", "small-card", "--resolution", "100"], "multiple of 32"),
        (["--preset", "amp", "--inter-dims", "33", "--source", "SOURCE"], "learns one source, not 2"),
        (["--iterations", "0"], "1 to 100000000"),
    ],
)
def test_what_does_not_fit_leaves_no_model(
    running: Daemon, people: list[str | Path], tmp_path: Path, given: list[str], says: str
) -> None:
    named = [str(people[1]) if value == "SOURCE" else value for value in given]
    refused(running, "train", *people, "--model", tmp_path / "m", *named, code=2, says=says)
    assert list(tmp_path.iterdir()) == []


def test_facesets_without_a_face_leave_no_model(running: Daemon, people: list[str | Path], tmp_path: Path) -> None:
    faceset = noise_faceset(tmp_path / "faces", 2)
    for picture in faceset.glob("*.png"):
        picture.write_bytes(b"no picture")
    train = ["train", "--source", faceset, *people[2:], "--model", tmp_path / "m", *SMALL, "--iterations", "1"]
    refused(running, *train, code=6, says="No face of the source faceset can be read")
    for picture in faceset.glob("*.png"):
        picture.unlink()
    refused(running, *train, code=2, says="holds no faces")
    assert not (tmp_path / "m").exists()


def test_a_device_that_is_not_there(running: Daemon, people: list[str | Path], tmp_path: Path) -> None:
    refused(running, "train", *people, "--model", tmp_path / "m", "--device", "abacus", code=7, says="no such kind")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_has_had_its_iterations_is_left_alone(
    running: Daemon, people: list[str | Path], made: Path
) -> None:
    before = content(made / "generations")
    result = dfl("train", *people, "--model", made, "--iterations", "1", daemon=running)
    assert "has had its 2 iterations" in result.stderr
    assert content(made / "generations") == before


def test_things_among_the_generations_do_no_harm(running: Daemon, people: list[str | Path], tmp_path: Path) -> None:
    model = tmp_path / "model"
    dfl("train", *people, "--model", model, *SMALL, "--iterations", "2", daemon=running)
    generations = model / "generations"
    (generations / "notes.txt").write_text("mine")
    (generations / "copy of 00000001").mkdir()
    (generations / "00000007").mkdir()
    (generations / "00000099").write_text("a file with the name of a generation")
    result = dfl("--json", "train", *people, "--model", model, "--iterations", "4", daemon=running)
    assert "GENERATION_DAMAGED" in result.stdout
    assert iterations(model) == [4, 2]
    assert (generations / "notes.txt").read_text() == "mine"
    (aside,) = generations.glob("damaged-00000099-*")
    assert aside.read_text() == "a file with the name of a generation"


def test_backups_that_cannot_be_written_cost_no_training(
    running: Daemon, people: list[str | Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    dfl("train", *people, "--model", model, *SMALL, "--iterations", "2", daemon=running)
    (model / "backups").write_text("in the way")
    more = ["--iterations", "4", "--backup-interval-h", "0.0001"]
    result = dfl("train", *people, "--model", model, *more, daemon=running)
    assert f"A backup was not written; training goes on, and saves. {model / 'backups'}: File exists." in result.stderr
    assert iterations(model)[0] == 4
    (model / "backups").unlink()
    dfl("train", *people, "--model", model, "--iterations", "40", *more[2:], daemon=running)
    assert (model / "backups" / "iteration_00000040").is_dir()


def test_who_detaches_finds_the_training_cancelled_and_saved(
    running: Daemon, people: list[str | Path], tmp_path: Path
) -> None:
    """Ctrl-C twice: the second leaves at once, the first still counts."""
    model = tmp_path / "model"
    command = ["train", *map(str, people), "--model", str(model), *SMALL, "--iterations", "100000"]
    process = subprocess.Popen(
        [*DFL, "--json", *command], env=running.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    job = json.loads(process.stdout.readline())["job"]["id"]
    next(line for line in process.stdout if '"iteration"' in line)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) is not None
    assert process.returncode == 130
    watched = dfl("--json", "job", "watch", job, daemon=running, check=False)
    assert watched.returncode == 130
    assert iterations(model)
    assert not list(model.rglob("*.partial-*"))
