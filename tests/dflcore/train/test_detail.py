"""Training of detail enhancers: they learn, resume as if never stopped, survive kills, and say what is missing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dflcore.config.detail import DetailSettings, DetailTrainSettings
from dflcore.config.network import QuickSettings
from dflcore.enhance.base import create_enhancer
from dflcore.enhance.mix import enlarge_faces
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.models import detail_presets
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder, build_described
from dflcore.models.detail_presets import DetailPreset, DetailRecipe
from dflcore.progress import Notice, Preview, Saved, StopRequest, TrainProgress
from dflcore.train.detail import train_detail
from dflcore.train.detail_batches import DetailBatches
from dflcore.train.detail_degrade import Softness
from dflcore.train.detail_loss import DetailLoss, gain_db, roughness
from dflcore.train.detail_samples import DetailDecoder, DetailSamples, FacePainter, unpack
from dflcore.types import FaceType
from dflcore.weights.store import WeightStore
from small_facesets import Watcher, make_record, write_faceset
from trained_models import assert_same_weights, newest, train_and_kill

SIZE = 64
SUPPORT = Path(__file__).resolve().parents[2] / "support"


def tiny_preset() -> DetailPreset:
    """Learns in seconds: 32 px faces, twice as large as they come out."""
    return DetailPreset(
        help="tiny",
        network=DetailSettings(resolution=32, width=32, coarse_width=32, layers=1),
        build=detail_presets._build,
        recipe=DetailRecipe(batch_size=4, crop_px=32, learning_rate=5e-3),
    )


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """The preset ``detail`` is a tiny network here; sums do not depend on timing."""
    monkeypatch.setattr(detail_presets, "detail", tiny_preset)


def texture(seed: int, size: int = SIZE) -> np.ndarray:
    """Spots with hard edges in a person's own two colours, under soft light: (S, S, 3) uint8."""
    rng = np.random.default_rng(seed)
    field = cv2.resize(rng.normal(size=(9, 9)), (size, size), interpolation=cv2.INTER_CUBIC)
    light = cv2.resize(rng.uniform(0.7, 1.0, (3, 3)), (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    spots = np.where(field[..., None] > 0, (0.85, 0.6, 0.5), (0.25, 0.15, 0.1))
    return np.rint(spots * light * 255).astype(np.uint8)


def textured_faceset(folder: Path, count: int = 8, *, blurred: int = 0, first_frame: int = 1) -> Path:
    faces = []
    for index in range(count):
        image = texture(first_frame + index)
        sharpness = 0.02
        if index < blurred:
            image, sharpness = cv2.GaussianBlur(image, (0, 0), 4.0), 0.001
        faces.append((make_record(first_frame + index, size=SIZE, sharpness=sharpness), image))
    return write_faceset(folder, faces)


def softened(image: np.ndarray) -> np.ndarray:
    """What a decoder of half the size might paint of it: (S / 2, S / 2, 3) float32 in [0, 1]."""
    half = cv2.resize(image.astype(np.float32) / 255.0, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(half, (0, 0), 0.8)


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(picture - truth).mean()))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return textured_faceset(tmp_path / "faces")


def settings(iterations: int, **changes: object) -> DetailTrainSettings:
    return DetailTrainSettings.from_values({"iterations": iterations, "device": "cpu", "sharpest": 1.0, **changes})


def save_face_model(folder: Path, seed: int = 0) -> Path:
    """A face model of 32 px that has learnt nothing."""
    numbers = {"resolution": 32, "grid_blocks": 8, "code_dims": 16, "e_dims": 8}
    network = QuickSettings.from_values({**numbers, "coarse_dims": 16, "middle_dims": 16, "fine_dims": 16})
    description = ModelDescription(preset="quick", network=network.values(), face_type=FaceType.FULL)
    torch.manual_seed(seed)
    weights = dict(build_described(description).state_dict())
    model = ModelFolder.create(folder, description)
    with model.lock():
        state = {"iteration": 7, "elapsed_s": 1.0}
        model.save(Generation(weights=weights, training={}, history=torch.zeros(0, 2), state=state), keep=2)
    return folder


def test_it_writes_a_model_previews_and_curves(faces: Path, tmp_path: Path) -> None:
    control = Watcher()
    result = train_detail(settings(5), [faces], tmp_path / "model", control)
    assert (result.iteration, result.generation, result.faces, result.stopped) == (5, 1, 8, None)
    assert set(result.losses) == {"pixel", "structure", "gain_db"}
    generation = newest(tmp_path / "model")
    assert generation.state["settings"]["iterations"] == 5
    assert generation.state["provenance"]["facesets"][0]["path"] == str(faces)
    assert generation.state["provenance"]["face_model"] is None
    description = ModelFolder.open(tmp_path / "model").description
    assert (description.kind, description.resolution, description.face_type) == ("detail", 32, FaceType.FULL)
    assert {type(event) for event in control.events} >= {TrainProgress, Preview, Saved}
    picture = cv2.imread(str(tmp_path / "model" / "previews" / "preview.png"))
    assert picture.shape == (4 * SIZE, 3 * SIZE, 3)
    assert list((tmp_path / "model" / "events").iterdir())


@pytest.mark.slow
def test_held_out_faces_come_back_clearer_than_enlarged_and_nothing_flickers(tmp_path: Path) -> None:
    textured_faceset(tmp_path / "faces", 48)
    milder = {"softness_px": 1.6, "noise": 0.004, "compression": 0.0}
    train_detail(settings(300, batch_size=8, **milder), [tmp_path / "faces"], tmp_path / "model")
    enhancer = create_enhancer(f"detail:{tmp_path / 'model'}", WeightStore())
    truths = np.stack([texture(seed) for seed in range(500, 512)]).astype(np.float32) / 255.0
    soft = np.stack([softened(texture(seed)) for seed in range(500, 512)])
    restored, enlarged = enhancer.enhance(soft), enlarge_faces(soft, 2)
    gains = [psnr(a, c) - psnr(b, c) for a, b, c in zip(restored, enlarged, truths, strict=True)]
    assert np.mean(gains) > 1.2
    assert min(gains) > 0.0
    # two takes of the same frame that differ by a little noise
    noise = np.random.default_rng(1).normal(size=soft.shape).astype(np.float32) * 0.004
    moved = enhancer.enhance(soft + noise) - restored
    assert np.square(moved).mean() ** 0.5 < 2.0 * np.square(enlarge_faces(noise, 2)).mean() ** 0.5
    # light beyond 1.0, and pictures without detail
    bright = soft.copy()
    bright[:, 8:16, 8:16] += 3.0
    assert enhancer.enhance(bright)[:, 20:28, 20:28].mean() > 3.0
    flat = np.full((1, 32, 32, 3), 0.4, np.float32)
    np.testing.assert_allclose(enhancer.enhance(flat), 0.4, atol=1e-5)


@pytest.mark.parametrize("painted", [False, True])
def test_a_resumed_run_equals_one_that_never_stopped(faces: Path, tmp_path: Path, painted: bool) -> None:
    more = {"face_model": str(save_face_model(tmp_path / "face model"))} if painted else {}
    train_detail(settings(8, **more), [faces], tmp_path / "whole")
    stopped = train_detail(settings(8, **more), [faces], tmp_path / "parts", Watcher(stop_after=3))
    assert (stopped.iteration, stopped.stopped) == (3, StopRequest.CANCEL)
    control = Watcher()
    resumed = train_detail(settings(8, **more), [faces], tmp_path / "parts", control)
    assert (resumed.iteration, resumed.generation) == (8, 2)
    assert "FACE_MODEL_CHANGED" not in control.reasons()
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_a_face_models_own_painting_is_learnt_from(faces: Path, tmp_path: Path) -> None:
    face_model = save_face_model(tmp_path / "face model")
    train_detail(settings(2, face_model=str(face_model), resolution=64), [faces], tmp_path / "larger")
    train_detail(settings(2, face_model=str(face_model)), [faces], tmp_path / "model")
    facts = newest(tmp_path / "model").state["provenance"]["face_model"]
    assert facts["iteration"] == 7
    assert facts["model_id"] == ModelFolder.open(face_model).description.model_id
    control = Watcher()
    train_detail(settings(3), [faces], tmp_path / "model", control)
    assert "FACE_MODEL_CHANGED" in control.reasons()
    painter = FacePainter(face_model, torch.device("cpu"))
    with DetailSamples([faces]) as samples:
        for scale in (1, 2):
            decoder = DetailDecoder(samples, FaceType.FULL, 32, scale, painter)
            stored = decoder.decode(samples.names[3])
            assert stored.shape == (decoder.planes, 32 * scale, 32 * scale)
            sharp, soft = unpack(stored[None], scale)
            assert soft is not None
            np.testing.assert_array_equal(
                sharp[0].permute(1, 2, 0).numpy(), samples.read(samples.names[3], FaceType.FULL, 32 * scale)
            )
            seen = torch.from_numpy(samples.read(samples.names[3], FaceType.FULL, 32)).permute(2, 0, 1) / 255.0
            torch.testing.assert_close(soft[0] / 255.0, painter.paint(seen), atol=0.5 / 255 + 1e-6, rtol=0)


def test_a_face_models_painting_is_taken_inside_its_mask(faces: Path, tmp_path: Path) -> None:
    painter = FacePainter(save_face_model(tmp_path / "face model"), torch.device("cpu"))
    none = Softness(blur_px=0.0, noise=0.0, compression=0.0)
    with DetailSamples([faces]) as samples:
        batches = DetailBatches(
            samples,
            DetailDecoder(samples, FaceType.FULL, 32, 2, painter),
            scale=2,
            crop_px=32,
            softness=none,
            painted_share=1.0,
            batch_size=4,
            budget_bytes=2**20,
            seed=0,
            device=torch.device("cpu"),
            flip=False,
        )
        with contextlib.closing(batches):
            soft, sharp = batches.preview_faces
            assert [len(one) for one in batches.make()] == [4, 4]
        for index, name in enumerate(np.array(samples.names)[[0, 2, 4, 7]]):
            seen = torch.from_numpy(samples.read(str(name), FaceType.FULL, 32)).permute(2, 0, 1) / 255.0
            painted, mask = painter.paint(seen).split((3, 1))
            plain = torch.nn.functional.avg_pool2d(sharp[index], 2)
            wrong = (soft[index] - torch.lerp(plain, painted, mask)).abs() / (1.0 - mask).clamp_min(0.05)
            assert wrong.mean() < 0.15  # what is invented may still have a coarser grid
            assert ((soft[index] - plain).abs() * mask).mean() > 0.02


def test_a_face_model_that_does_not_fit_is_refused(faces: Path, tmp_path: Path) -> None:
    face_model = save_face_model(tmp_path / "face model")
    with pytest.raises(InvalidInput, match="paints faces of the type full"):
        train_detail(settings(2, face_model=str(face_model), face_type="whole"), [faces], tmp_path / "model")
    with pytest.raises(NotFound, match="no model"):
        train_detail(settings(2, face_model=str(tmp_path / "nowhere")), [faces], tmp_path / "model")
    assert not (tmp_path / "model").exists()
    train_detail(settings(1), [faces], tmp_path / "model")
    with pytest.raises(InvalidInput, match="is a detail model, where a face model"):
        train_detail(settings(2, face_model=str(tmp_path / "model")), [faces], tmp_path / "other")
    with pytest.raises(InvalidInput, match="is a face model"):
        train_detail(settings(2), [faces], face_model)


def test_the_sharpest_faces_are_learnt_from(tmp_path: Path) -> None:
    textured_faceset(tmp_path / "faces", 20, blurred=10)
    with DetailSamples([tmp_path / "faces"], 0.5) as samples:
        assert samples.names == [f"0/shot_{frame:06d}_0.png" for frame in range(11, 21)]
    with DetailSamples([tmp_path / "faces"], 0.05) as samples:
        assert len(samples.names) == 8


@pytest.mark.parametrize("facesets", [[], ["nowhere"]])
def test_no_facesets(tmp_path: Path, facesets: list[str]) -> None:
    with pytest.raises((InvalidInput, NotFound), match="faceset"):
        train_detail(settings(2), [tmp_path / name for name in facesets], tmp_path / "model")


def test_fixed_settings_are_kept_and_unfit_ones_leave_no_folder(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="multiple of 8"):
        train_detail(settings(2, resolution=36), [faces], tmp_path / "model")
    with pytest.raises(NotFound, match="detail network"):
        train_detail(settings(2, preset="detali"), [faces], tmp_path / "model")
    assert not (tmp_path / "model").exists()
    train_detail(settings(1), [faces], tmp_path / "model")
    with pytest.raises(InvalidInput, match="scale is 2, not 1") as caught:
        train_detail(settings(2, scale=1), [faces], tmp_path / "model")
    assert caught.value.reason == "FIXED_ONCE_TRAINED"


def test_changed_faces_and_damaged_ones_are_told(faces: Path, tmp_path: Path) -> None:
    train_detail(settings(2), [faces], tmp_path / "model")
    more = textured_faceset(tmp_path / "more", 4, first_frame=50)
    control = Watcher()
    result = train_detail(settings(4), [faces, more], tmp_path / "model", control)
    assert (result.iteration, result.faces) == (4, 12)
    assert "FACESET_CHANGED" in control.reasons()
    for path in more.glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataCorrupt) as caught:
        train_detail(settings(6), [more], tmp_path / "other")
    assert caught.value.reason == "FACESET_UNREADABLE"


def test_two_trainings_of_one_model(faces: Path, tmp_path: Path) -> None:
    train_detail(settings(1), [faces], tmp_path / "model")
    with ModelFolder.open(tmp_path / "model").lock(), pytest.raises(Conflict, match="Another process trains"):
        train_detail(settings(2), [faces], tmp_path / "model")


def test_a_damaged_generation_falls_back(faces: Path, tmp_path: Path) -> None:
    train_detail(settings(2), [faces], tmp_path / "model")
    train_detail(settings(4), [faces], tmp_path / "model")
    last = max((tmp_path / "model" / "generations").glob("????????"))
    (last / "weights.safetensors").write_bytes(b"")
    assert create_enhancer(f"detail:{tmp_path / 'model'}", WeightStore()).scale == 2
    control = Watcher()
    assert train_detail(settings(5), [faces], tmp_path / "model", control).iteration == 5
    assert "GENERATION_DAMAGED" in control.reasons()


_ENDLESS = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import torch
from test_detail import tiny_preset
from dflcore.config.detail import DetailTrainSettings
from dflcore.models import detail_presets
from dflcore.train.detail import train_detail
torch.set_num_threads(1)
detail_presets.detail = tiny_preset
train_detail(DetailTrainSettings(save_interval_s=1.0, device="cpu"), [Path(sys.argv[3])], Path(sys.argv[4]))
"""


@pytest.mark.slow
def test_a_kill_loses_at_most_what_was_not_saved(faces: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    at_kill = train_and_kill(_ENDLESS, SUPPORT, Path(__file__).parent, faces, model=model)
    resumed = train_detail(settings(at_kill + 2), [faces], model)
    assert resumed.iteration == at_kill + 2


def test_a_permission_goes_with_the_model(faces: Path, tmp_path: Path) -> None:
    control = Watcher()
    train_detail(settings(1, authorization_project="Zoë"), [faces], tmp_path / "model", control)
    provenance = newest(tmp_path / "model").state["provenance"]
    assert provenance["facesets"][0]["authorization"]["person"] == "Eileen Collins"
    assert provenance["project"] == "Zoë"
    assert not [event for event in control.events if isinstance(event, Notice) and "AUTHOR" in event.reason]


def test_the_loss_knows_too_smooth_from_right() -> None:
    truth = torch.from_numpy(texture(1)).permute(2, 0, 1)[None].float() / 255.0
    smooth = torch.nn.functional.avg_pool2d(truth, 5, stride=1, padding=2, count_include_pad=False)
    loss = DetailLoss(SIZE, 1.0)
    assert loss(truth, truth)[0] < 0.02
    assert loss(smooth, truth)[0] > loss(0.5 * (smooth + truth), truth)[0] > loss(truth, truth)[0]
    assert loss(smooth, truth)[0] > DetailLoss(SIZE, 0.0)(smooth, truth)[0]
    assert (roughness(truth) > roughness(smooth)).float().mean() > 0.5


def test_gain_is_in_decibels() -> None:
    truth = torch.full((2, 3, 8, 8), 0.5)
    torch.testing.assert_close(gain_db(truth + 0.01, truth + 0.1, truth), torch.tensor(20.0), atol=1e-3, rtol=0)
    assert gain_db(truth, truth, truth) == 0.0
