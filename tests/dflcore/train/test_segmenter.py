"""Few-shot training of masks: it learns, resumes as if never stopped, survives kills, and says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dflcore.config.segment import MaskTrainSettings
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.masks import MaskStore
from dflcore.models import segment_presets
from dflcore.models.checkpoint import KEPT_DAMAGED, ModelFolder
from dflcore.progress import Notice, Preview, Saved, StopRequest, TrainProgress
from dflcore.segment.network import open_segmenter
from dflcore.train.segmenter import MaskLoss, train_segmenter
from dflcore.types import FaceType
from mask_training import SIZE, oval_face, oval_faceset, tiny_preset
from small_facesets import Watcher
from trained_models import assert_same_weights, newest, train_and_kill

SUPPORT = Path(__file__).resolve().parents[2] / "support"


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """The preset ``xseg-light`` is a tiny network here; sums do not depend on timing."""
    monkeypatch.setattr(segment_presets, "xseg_light", tiny_preset)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    oval_faceset(tmp_path / "faces", 6, labelled=4)
    return tmp_path / "faces"


def settings(iterations: int, **changes: object) -> MaskTrainSettings:
    return MaskTrainSettings.from_values({"iterations": iterations, "device": "cpu", **changes})


def test_it_writes_a_model_previews_and_curves(faces: Path, tmp_path: Path) -> None:
    control = Watcher()
    result = train_segmenter(settings(5), [faces], tmp_path / "model", control)
    assert (result.iteration, result.generation, result.labelled_faces, result.stopped) == (5, 1, 4, None)
    assert set(result.losses) == {"mask", "overlap_error"}
    generation = newest(tmp_path / "model")
    assert generation.state["settings"]["iterations"] == 5
    assert generation.state["provenance"]["facesets"][0]["path"] == str(faces)
    assert generation.state["provenance"]["samples"] == 4
    assert ModelFolder.open(tmp_path / "model").description.kind == "segment"
    assert {type(event) for event in control.events} >= {TrainProgress, Preview, Saved}
    picture = cv2.imread(str(tmp_path / "model" / "previews" / "preview.png"))
    assert picture.shape == (6 * SIZE, 3 * SIZE, 3)  # two unlabelled and four labelled faces: face, mask, overlay
    assert list((tmp_path / "model" / "events").iterdir())


@pytest.mark.slow
def test_it_learns_a_covered_shape_from_eight_labels(tmp_path: Path) -> None:
    oval_faceset(tmp_path / "faces", 8, labelled=8)
    train_segmenter(settings(350, occluders=0.2), [tmp_path / "faces"], tmp_path / "model")
    segmenter, _ = open_segmenter(tmp_path / "model", device="cpu")
    overlaps = []
    for seed in range(100, 116):  # places of oval and bar it has not seen
        image, _, truth = oval_face(seed)
        mask = segmenter.segment(image[None])[0] >= 0.5
        overlaps.append((mask & truth).sum() / (mask | truth).sum())
    assert np.mean(overlaps) > 0.9


@pytest.mark.parametrize("pretrain", [False, True])
def test_a_resumed_run_equals_one_that_never_stopped(faces: Path, tmp_path: Path, pretrain: bool) -> None:
    train_segmenter(settings(8, pretrain=pretrain), [faces], tmp_path / "whole")
    # the schedule looks at the budget, so both runs must know the same one
    stopped = train_segmenter(settings(8, pretrain=pretrain), [faces], tmp_path / "parts", Watcher(stop_after=3))
    assert (stopped.iteration, stopped.stopped) == (3, StopRequest.CANCEL)
    resumed = train_segmenter(settings(8, pretrain=pretrain), [faces], tmp_path / "parts")
    assert (resumed.iteration, resumed.generation) == (8, 2)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_changed_labels_are_told_and_learnt(faces: Path, tmp_path: Path) -> None:
    train_segmenter(settings(2), [faces], tmp_path / "model")
    with MaskStore.open(faces) as store:
        store.remove_labels(store.labelled_faces()[:1])
    control = Watcher()
    result = train_segmenter(settings(4), [faces], tmp_path / "model", control)
    assert (result.iteration, result.labelled_faces) == (4, 3)
    assert "FACESET_CHANGED" in control.reasons()


def test_a_used_budget_is_told(faces: Path, tmp_path: Path) -> None:
    train_segmenter(settings(2), [faces], tmp_path / "model")
    control = Watcher()
    assert train_segmenter(settings(2), [faces], tmp_path / "model", control).generation == 1
    assert "BUDGET_USED" in control.reasons()


def test_no_labels_says_what_to_do(tmp_path: Path) -> None:
    oval_faceset(tmp_path / "faces", 3, labelled=0)
    with pytest.raises(InvalidInput, match="Label 10 to 16 faces") as caught:
        train_segmenter(settings(2), [tmp_path / "faces"], tmp_path / "model")
    assert caught.value.reason == "NO_LABELLED_FACES"
    assert "None of the 3 faces" in caught.value.message
    assert not (tmp_path / "model").exists()
    with MaskStore.open(tmp_path / "faces", create=True) as store:
        store.add_mask("shot_000001_0.png", "painted", np.ones((32, 32), np.float32), made_by="test")
    with pytest.raises(InvalidInput, match="Masks stored there: painted"):
        train_segmenter(settings(2), [tmp_path / "faces"], tmp_path / "model")
    result = train_segmenter(settings(2, masks="label > painted"), [tmp_path / "faces"], tmp_path / "model")
    assert result.labelled_faces == 1


@pytest.mark.parametrize("facesets", [[], ["nowhere"]])
def test_no_facesets(tmp_path: Path, facesets: list[str]) -> None:
    with pytest.raises((InvalidInput, NotFound), match="faceset"):
        train_segmenter(settings(2), [tmp_path / name for name in facesets], tmp_path / "model")


def test_facesets_of_two_types_train_one_model(tmp_path: Path) -> None:
    oval_faceset(tmp_path / "whole", 3, labelled=2, face_type=FaceType.WHOLE)
    oval_faceset(tmp_path / "full", 3, labelled=2, first_frame=50)
    result = train_segmenter(settings(2), [tmp_path / "whole", tmp_path / "full"], tmp_path / "model")
    assert result.labelled_faces == 4
    assert ModelFolder.open(tmp_path / "model").description.face_type is FaceType.WHOLE


def test_pretraining_needs_no_labels_and_hands_its_weights_on(tmp_path: Path) -> None:
    oval_faceset(tmp_path / "faces", 4, labelled=0)
    result = train_segmenter(settings(3, pretrain=True), [tmp_path / "faces"], tmp_path / "model")
    assert (result.labelled_faces, set(result.losses)) == (4, {"structure", "pixel"})
    with pytest.raises(NotFound, match="only been pretrained"):
        open_segmenter(tmp_path / "model")
    before = newest(tmp_path / "model").weights
    oval_faceset(tmp_path / "labelled", 2, labelled=2)
    control = Watcher()
    trained = train_segmenter(settings(1, learning_rate=1e-7), [tmp_path / "labelled"], tmp_path / "model", control)
    assert (trained.iteration, trained.generation) == (1, 2)
    assert "PRETRAIN_SWITCHED" in control.reasons()
    for name, tensor in newest(tmp_path / "model").weights.items():
        torch.testing.assert_close(tensor, before[name], atol=1e-5, rtol=0)
    open_segmenter(tmp_path / "model")


def test_fixed_settings_are_kept(faces: Path, tmp_path: Path) -> None:
    train_segmenter(settings(1), [faces], tmp_path / "model")
    with pytest.raises(InvalidInput, match="resolution is 64, not 128") as caught:
        train_segmenter(settings(2, resolution=128), [faces], tmp_path / "model")
    assert caught.value.reason == "FIXED_ONCE_TRAINED"


def test_unfit_settings_leave_no_folder(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="multiple of 64"):
        train_segmenter(settings(2, resolution=100), [faces], tmp_path / "model")
    with pytest.raises(NotFound, match="segmentation network"):
        train_segmenter(settings(2, preset="xseq"), [faces], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_damaged_face_is_told_once_and_a_damaged_set_is_an_error(faces: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in faces.glob("*.png"))[:4]
    (faces / names[0]).write_bytes(b"no picture")
    control = Watcher()
    assert train_segmenter(settings(3), [faces], tmp_path / "model", control).iteration == 3
    assert control.reasons().count("FACE_DAMAGED") == 1
    for name in names:
        (faces / name).write_bytes(b"no picture")
    with pytest.raises(DataCorrupt) as caught:
        train_segmenter(settings(6), [faces], tmp_path / "model")
    assert caught.value.reason == "FACESET_UNREADABLE"


def test_two_trainings_of_one_model(faces: Path, tmp_path: Path) -> None:
    train_segmenter(settings(1), [faces], tmp_path / "model")
    with ModelFolder.open(tmp_path / "model").lock(), pytest.raises(Conflict, match="Another process trains"):
        train_segmenter(settings(2), [faces], tmp_path / "model")


def test_a_damaged_generation_falls_back(faces: Path, tmp_path: Path) -> None:
    train_segmenter(settings(2), [faces], tmp_path / "model")
    train_segmenter(settings(4), [faces], tmp_path / "model")
    last = max((tmp_path / "model" / "generations").glob("????????"))
    (last / "weights.safetensors").write_bytes(b"")
    segmenter, notices = open_segmenter(tmp_path / "model")
    assert [notice.reason for notice in notices] == ["GENERATION_DAMAGED"]
    control = Watcher()
    assert train_segmenter(settings(5), [faces], tmp_path / "model", control).iteration == 5
    assert "GENERATION_DAMAGED" in control.reasons()
    assert open_segmenter(tmp_path / "model")[0].digest != segmenter.digest


def test_what_was_set_aside_long_ago_is_removed_and_told(faces: Path, tmp_path: Path) -> None:
    generations = tmp_path / "model" / "generations"
    told = []
    for iterations in range(1, KEPT_DAMAGED + 4):
        control = Watcher()
        train_segmenter(settings(iterations), [faces], tmp_path / "model", control)
        told.append("DAMAGED_REMOVED" in control.reasons())
        if iterations > 1:
            (generations / "00000002" / "weights.safetensors").write_bytes(b"")
    assert told == [False] * (KEPT_DAMAGED + 2) + [True]
    assert len(list(generations.glob("damaged-*"))) == KEPT_DAMAGED


def test_diverging_keeps_the_last_good_generation(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_segmenter(settings(2), [faces], tmp_path / "model")
    monkeypatch.setattr(MaskLoss, "forward", lambda self, logits, truth: logits.sum() * torch.full((2,), torch.nan))
    with pytest.raises(InvalidInput, match="Generation 1 on disk is good") as caught:
        train_segmenter(settings(5), [faces], tmp_path / "model")
    assert caught.value.reason == "TRAINING_DIVERGED"
    assert [path.name for path in (tmp_path / "model" / "generations").glob("????????")] == ["00000001"]


_ENDLESS = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
from mask_training import tiny_preset
from dflcore.config.segment import MaskTrainSettings
from dflcore.models import segment_presets
from dflcore.train.segmenter import train_segmenter
torch.set_num_threads(1)
segment_presets.xseg_light = tiny_preset
train_segmenter(MaskTrainSettings(save_interval_s=1.0, device="cpu"), [Path(sys.argv[2])], Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_kill_loses_at_most_what_was_not_saved(faces: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    at_kill = train_and_kill(_ENDLESS, SUPPORT, faces, model=model)
    resumed = train_segmenter(settings(at_kill + 2), [faces], model)
    assert resumed.iteration == at_kill + 2


def test_notices_of_a_missing_permission_and_a_project_that_differs(faces: Path, tmp_path: Path) -> None:
    control = Watcher()
    train_segmenter(settings(1), [faces], tmp_path / "model", control)
    about = json.loads(max((tmp_path / "model" / "generations").glob("*/state.json")).read_text())
    assert about["provenance"]["facesets"][0]["authorization"]["person"] == "Eileen Collins"
    assert not [event for event in control.events if isinstance(event, Notice) and "AUTHOR" in event.reason]


def test_mask_loss() -> None:
    truth = torch.zeros(1, 1, 4, 4)
    truth[..., :2] = 1.0
    good, none = MaskLoss(0.5)(truth * 40 - 20, truth)
    assert good < 1e-6
    assert none < 1e-6
    total, overlap_error = MaskLoss(0.5)(torch.zeros_like(truth), truth)
    # sigmoid 1/2 everywhere: shared 4, sums 8 + 8
    torch.testing.assert_close(overlap_error, torch.tensor(1 - 9 / 17))
    torch.testing.assert_close(total, torch.log(torch.tensor(2.0)) + 0.5 * (1 - 9 / 17))
