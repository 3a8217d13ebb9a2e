"""Merges with enhancers, from their weights to the pixels: through the worker, as a job runs it."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dflcore.config.detail import DetailSettings
from dflcore.config.merge import MergeSettings
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.io.exr import read_exr_layers
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder
from dflcore.models.detail_presets import DETAIL_KIND, build_detail_network
from dflcore.progress import LoggedRun
from dflcore.types import FaceType
from dflcore.weights import store as weight_store
from dfldaemon.jobs import JobKind, Work
from dfldaemon.worker_jobs import run_work
from frame_shot import FrameShot, make_frame_shot
from tiny_onnx import color_matrix_x2

IDENTITY = np.eye(3, dtype=np.float32)
DARKER = 0.5 * IDENTITY
NONE = np.zeros(3, np.float32)


class Twice(nn.Module):
    """Darker, and twice as large."""

    def forward(self, faces: Tensor) -> Tensor:
        return faces.repeat_interleave(2, 2).repeat_interleave(2, 3) * 0.5


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> FrameShot:
    return make_frame_shot(tmp_path_factory.mktemp("shot"))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder and an index that knows ``twice``, both as ONNX and as TorchScript."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "twice.onnx").write_bytes(color_matrix_x2(DARKER, NONE))
    (folder / "twice.pt").write_bytes(scripted(Twice()))
    index = folder / "index.toml"
    index.write_text(
        "\n".join(
            f'[{name}]\nfile = "{file}"\nsha256 = "{digest(folder / file)}"\nsize = 0\nlicence = "x"\norigin = "x"\n'
            'url = ""\n'
            for name, file in (("twice", "twice.onnx"), ("twice-script", "twice.pt"))
        )
    )
    monkeypatch.setitem(weight_store.WeightStore.__init__.__kwdefaults__, "index", index)
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scripted(network: nn.Module) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stream = io.BytesIO()
        torch.jit.save(torch.jit.script(network), stream)
    return stream.getvalue()


def merge(
    shot: FrameShot, output: Path, *, frames: str = "1001", weights: Path | None = None, **settings: object
) -> Mapping[str, str]:
    """What a merge job does; its facts."""
    work = Work(
        kind=JobKind.MERGE,
        paths={
            "plate": shot.plate,
            "faceset": str(shot.faceset),
            "model": str(shot.model),
            "output": str(output / "swap.####.exr"),
        },
        frames=frames,
        settings=MergeSettings(
            **{"color_transfer": "none", "bit_depth": "float", "matte_mode": "hull", **settings}
        ).values(),
    )
    return run_work(work, LoggedRun(), [] if weights is None else [str(weights)]).facts


def layers(output: Path, frame: int = 1001) -> dict[str, np.ndarray]:
    return read_exr_layers(output / f"swap.{frame}.exr")


def rgb(found: Mapping[str, np.ndarray], prefix: str = "") -> np.ndarray:
    return np.stack([found[f"{prefix}{channel}"] for channel in "RGB"], axis=2).astype(np.float32)


def detail_model(folder: Path, strength: float = 0.2) -> Path:
    """A detail model that adds something to any face that has detail."""
    network = DetailSettings(resolution=32, width=12, coarse_width=8, layers=1).values()
    description = ModelDescription(preset="detail", network=network, face_type=FaceType.FULL, kind=DETAIL_KIND)
    torch.manual_seed(4)
    built = build_detail_network(description)
    nn.init.normal_(built.head.weight, std=strength)
    model = ModelFolder.create(folder, description)
    with model.lock():
        state = {"iteration": 3, "elapsed_s": 1.0}
        weights = dict(built.state_dict())
        model.save(Generation(weights=weights, training={}, history=torch.zeros(0, 2), state=state), keep=2)
    return folder


@pytest.mark.parametrize("enhancer", ["onnx:twice", "torchscript:twice-script", "detail"])
def test_an_enhancer_changes_the_face_inside_the_matte_and_nothing_else(
    shot: FrameShot, weights: Path, tmp_path: Path, enhancer: str
) -> None:
    if enhancer == "detail":
        enhancer = f"detail:{detail_model(tmp_path / 'Zoë')}"
    merge(shot, tmp_path / "plain")
    merge(shot, tmp_path / "clear", weights=weights, enhancer=enhancer, enhance_power=100.0)
    plain, clear, plate = layers(tmp_path / "plain"), layers(tmp_path / "clear"), read_exr_layers(shot.file(1001))
    inside, outside = clear["matte.A"] > 0.99, clear["matte.A"] == 0.0
    assert np.abs(rgb(clear) - rgb(plain))[inside].mean() > 0.002
    assert np.isfinite(rgb(clear)).all()
    assert (rgb(clear)[outside] == rgb(plate)[outside]).all()
    for name in ("matte.A", "matte_hull.A", "st.R", "st.G"):
        assert clear[name].tobytes() == plain[name].tobytes(), name


def test_a_darkening_network_darkens_the_face_as_much_as_power_says(
    shot: FrameShot, weights: Path, tmp_path: Path
) -> None:
    """Half the encoded value everywhere: less than a third of the light."""
    for power in (20.0, 100.0):
        merge(shot, tmp_path / f"{power:g}", weights=weights, enhancer="onnx:twice", enhance_power=power)
    merge(shot, tmp_path / "plain")
    plain, some, most = (rgb(layers(tmp_path / name), "swap.") for name in ("plain", "20", "100"))
    inside = layers(tmp_path / "plain")["matte.A"] > 0.99
    means = [np.median(picture[inside]) for picture in (plain, some, most)]
    assert means[0] > means[1] > means[2] > 0.0
    assert means[1] / means[0] == pytest.approx(0.9**2.2, abs=0.1)
    assert means[2] / means[0] == pytest.approx(0.5**2.2, abs=0.1)


@pytest.mark.parametrize("mode", ["overlay", "seamless", "raw_rgb"])
def test_no_power_is_no_enhancer_to_the_bit(shot: FrameShot, weights: Path, tmp_path: Path, mode: str) -> None:
    look = {"mode": mode, "color_transfer": "mkl", "sharpen": 30.0}
    merge(shot, tmp_path / "plain", **look)
    merge(shot, tmp_path / "none", weights=weights, enhancer="onnx:twice", enhance_power=0.0, **look)
    plain, none = layers(tmp_path / "plain"), layers(tmp_path / "none")
    assert plain.keys() == none.keys()
    for name in plain:
        assert plain[name].tobytes() == none[name].tobytes(), name


def test_a_little_power_is_nearly_no_enhancer(shot: FrameShot, weights: Path, tmp_path: Path) -> None:
    """A power that runs from 0 to its value does not pop when it leaves 0."""
    merge(shot, tmp_path / "plain")
    merge(shot, tmp_path / "little", weights=weights, enhancer="onnx:twice", enhance_power=0.01)
    plain, little = layers(tmp_path / "plain"), layers(tmp_path / "little")
    assert np.abs(rgb(little) - rgb(plain)).max() < 1e-3
    assert plain["matte.A"].tobytes() == little["matte.A"].tobytes()


def test_frames_are_kept_until_the_weights_are_others(shot: FrameShot, tmp_path: Path) -> None:
    network, output = tmp_path / "net.onnx", tmp_path / "out"
    network.write_bytes(color_matrix_x2(DARKER, NONE))
    chosen = {"enhancer": f"onnx:{network}", "overwrite": True}
    assert merge(shot, output, **chosen)["frames_written"] == "1"
    first = rgb(layers(output))
    assert merge(shot, output, **chosen)["frames_kept"] == "1"
    network.write_bytes(color_matrix_x2(0.8 * IDENTITY, NONE))
    facts = merge(shot, output, **chosen)
    assert (facts["frames_written"], facts["frames_kept"]) == ("1", "0")
    assert np.abs(rgb(layers(output)) - first).max() > 0.01
    model = detail_model(tmp_path / "detail")
    learnt = {"enhancer": f"detail:{model}", "overwrite": True}
    assert merge(shot, output, **learnt)["frames_written"] == "1"
    assert merge(shot, output, **learnt)["frames_kept"] == "1"
    folder = ModelFolder.open(model)
    generation, _ = folder.load()
    assert generation is not None
    with folder.lock():  # trained further
        weights = {name: 1.1 * tensor for name, tensor in generation.weights.items()}
        state = {"iteration": 4, "elapsed_s": 2.0}
        folder.save(Generation(weights=weights, training={}, history=torch.zeros(0, 2), state=state), keep=2)
    assert merge(shot, output, **learnt)["frames_written"] == "1"


def test_frames_without_a_face_need_nothing_of_it(shot: FrameShot, weights: Path, tmp_path: Path) -> None:
    facts = merge(shot, tmp_path, frames="1003-1004", weights=weights, enhancer="onnx:twice")
    assert facts["frames_without_face"] == "1"
    assert (rgb(layers(tmp_path, 1004)) == rgb(read_exr_layers(shot.file(1004)))).all()


@pytest.mark.parametrize(
    ("enhancer", "error", "says"),
    [
        ("onnx:sharpest", NotFound, "`dfl weights list`"),
        ("torchscript:sharpest", NotFound, "`dfl weights list`"),
        ("faceenhancer", NotFound, "`dfl weights list`"),
        ("detail:nowhere", NotFound, "no model"),
        ("detail", InvalidInput, "detail:<folder"),
        ("sharpest", NotFound, "known are|There is no"),
        ("onnx:broken.onnx", DataCorrupt, "broken.onnx cannot be loaded"),
        ("onnx:half.onnx", Unsupported, "is no enhancer"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence_and_writes_nothing(
    shot: FrameShot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    enhancer: str,
    error: type[Exception],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    (tmp_path / "half.onnx").write_bytes(color_matrix_x2(DARKER, NONE, (4, 3, 64, 64)))
    with pytest.raises(error, match=says) as caught:
        merge(shot, tmp_path / "out", enhancer=enhancer, weights=tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_changed_weights_of_the_index_are_refused(shot: FrameShot, weights: Path, tmp_path: Path) -> None:
    for file in ("twice.onnx", "twice.pt"):
        (weights / file).write_bytes((weights / file).read_bytes() + b"\0")
    for enhancer in ("onnx:twice", "torchscript:twice-script"):
        with pytest.raises(DataCorrupt, match="not the published file"):
            merge(shot, tmp_path / "out", enhancer=enhancer, weights=weights)
