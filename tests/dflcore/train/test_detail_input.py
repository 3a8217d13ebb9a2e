"""What a person gives `dfl train-detail` by mistake: one sentence each, and what was there is left as it was."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dflcore.config.detail import DetailSettings, DetailTrainSettings
from dflcore.enhance.detail import open_detail_enhancer
from dflcore.errors import Conflict, DataCorrupt, DflError, InvalidInput, NotFound
from dflcore.io.faceset import INDEX_NAME
from dflcore.models import detail_presets
from dflcore.models.checkpoint import ModelFolder
from dflcore.models.detail_presets import DetailPreset, DetailRecipe
from dflcore.train.detail import train_detail
from small_facesets import Watcher, make_image, make_record, noise_faceset, write_faceset


def tiny_preset() -> DetailPreset:
    return DetailPreset(
        help="tiny",
        network=DetailSettings(resolution=32, width=12, coarse_width=8, layers=1),
        build=detail_presets._build,
        recipe=DetailRecipe(batch_size=2, crop_px=32, learning_rate=1e-3),
    )


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(detail_presets, "detail", tiny_preset)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return noise_faceset(tmp_path / "faces", 8)


def settings(iterations: int = 2, **changes: object) -> DetailTrainSettings:
    return DetailTrainSettings.from_values({"iterations": iterations, "device": "cpu", **changes})


def refused(error: type[DflError], says: str, faceset: Path, model: Path, **changes: object) -> DflError:
    """Train, and expect one sentence of that kind."""
    with pytest.raises(error, match=says) as caught:
        train_detail(settings(**changes), [faceset], model)
    assert "\n" not in caught.value.message
    assert caught.value.message[-1] in ".!"
    return caught.value


def test_no_faceset_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name in ("nowhere", "file", "folder"):
        refused(NotFound, name, tmp_path / name, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_faceset_that_lost_all_its_faces(faces: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(faces / INDEX_NAME)) as index, index:
        index.execute("DELETE FROM face")
    assert refused(InvalidInput, "no faces in", faces, tmp_path / "model").reason == "EMPTY_FACESET"
    assert not (tmp_path / "model").exists()


def test_a_faceset_whose_index_is_no_index(faces: Path, tmp_path: Path) -> None:
    (faces / INDEX_NAME).write_bytes(b"this is no database" * 100)
    refused(DataCorrupt, str(faces), faces, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_faceset_of_one_face_is_learnt_from(tmp_path: Path) -> None:
    one = write_faceset(tmp_path / "one", [(make_record(1), make_image(1))])
    result = train_detail(settings(3, batch_size=4), [one], tmp_path / "model")
    assert (result.faces, result.iteration) == (1, 3)
    enhancer, _ = open_detail_enhancer(tmp_path / "model")
    assert np.isfinite(enhancer.enhance(np.full((1, 32, 32, 3), 0.5, np.float32))).all()


def test_a_face_that_is_damaged_is_told_and_left_out(faces: Path, tmp_path: Path) -> None:
    next(iter(sorted(faces.glob("*.png")))).write_bytes(b"no picture")
    control = Watcher()
    assert train_detail(settings(6, sharpest=1.0), [faces], tmp_path / "model", control).iteration == 6
    assert any("UNREADABLE" in reason or "FACE" in reason for reason in control.reasons())


@pytest.mark.parametrize(
    ("prepare", "error", "says"),
    [
        (lambda path: path.write_text("x"), Conflict, "is a file"),
        (lambda path: (path.mkdir(), (path / "notes.txt").write_text("x")), Conflict, "holds other things"),
        (lambda path: noise_faceset(path), Conflict, "is a faceset"),
    ],
)
def test_an_output_that_is_something_else(
    faces: Path, tmp_path: Path, prepare: Callable[[Path], object], error: type[DflError], says: str
) -> None:
    prepare(tmp_path / "model")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    refused(error, says, faces, tmp_path / "model")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "written",
    [b"", b'{"format": 1, "kind": ', b"[1, 2, 3]", b"\xff\xfe\x00junk", b'{"format": 1}', b"null", b'"detail"'],
)
def test_a_model_whose_description_is_garbage(faces: Path, tmp_path: Path, written: bytes) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_bytes(written)
    error = refused(DataCorrupt, "model.json", faces, tmp_path / "model")
    assert "Traceback" not in error.message
    assert (tmp_path / "model" / "model.json").read_bytes() == written


@pytest.mark.parametrize(
    "changed", [{"resolution": 100_000}, {"resolution": "large"}, {"width": -1}, {"scale": 9}, {"colour": 3}]
)
def test_a_model_whose_numbers_no_network_has(faces: Path, tmp_path: Path, changed: dict[str, object]) -> None:
    train_detail(settings(), [faces], tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    told = json.loads(path.read_text())
    told["network"].update(changed)
    path.write_text(json.dumps(told))
    with pytest.raises(DflError) as caught:
        train_detail(settings(4), [faces], tmp_path / "model")
    assert any(word in caught.value.message for word in (*changed, "model.json"))


def test_a_model_none_of_whose_saves_is_whole(faces: Path, tmp_path: Path) -> None:
    for iterations in (2, 4):
        train_detail(settings(iterations), [faces], tmp_path / "model")
    for weights in (tmp_path / "model" / "generations").rglob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:40])
    control = Watcher()
    with pytest.raises(DataCorrupt) as caught:
        train_detail(settings(6), [faces], tmp_path / "model", control)
    assert str(tmp_path / "model") in caught.value.message
    with pytest.raises(DataCorrupt):
        open_detail_enhancer(tmp_path / "model")


def test_leftovers_of_others_beside_the_saves_do_not_hurt(faces: Path, tmp_path: Path) -> None:
    train_detail(settings(2), [faces], tmp_path / "model")
    generations = tmp_path / "model" / "generations"
    (generations / "notes.txt").write_text("x")
    (generations / "00000099").mkdir()
    (generations / ".00000100.partial").mkdir()
    result = train_detail(settings(4), [faces], tmp_path / "model", Watcher())
    assert result.iteration == 4
    generation, _ = ModelFolder.open(tmp_path / "model").load()
    assert generation is not None
    assert generation.iteration == 4


def test_a_model_moved_elsewhere_goes_on(faces: Path, tmp_path: Path) -> None:
    train_detail(settings(2), [faces], tmp_path / "model")
    shutil.move(tmp_path / "model", tmp_path / "Zoë's détail")
    assert train_detail(settings(4), [faces], tmp_path / "Zoë's détail").iteration == 4
