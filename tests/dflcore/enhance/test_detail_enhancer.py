"""Personal detail enhancers from their folder, how much of an enhancer a face gets, and TorchScript from the store."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dflcore.config.detail import DetailSettings
from dflcore.enhance.base import ENHANCERS, create_enhancer
from dflcore.enhance.detail import open_detail_enhancer
from dflcore.enhance.mix import enhance_faces, enlarge_faces
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder
from dflcore.models.detail_presets import DETAIL_KIND, build_detail_network
from dflcore.types import FaceType, FloatArray
from dflcore.weights.store import WeightStore


def make_faces(side: int = 40, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(count, side, side, 3)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A detail model of 32 px that adds something."""
    network = DetailSettings(resolution=32, width=12, coarse_width=8, layers=1).values()
    description = ModelDescription(preset="detail", network=network, face_type=FaceType.WHOLE, kind=DETAIL_KIND)
    torch.manual_seed(4)
    built = build_detail_network(description)
    torch.nn.init.normal_(built.head.weight, std=0.05)
    folder = ModelFolder.create(tmp_path / "Zoë's detail", description)
    with folder.lock():
        state = {"iteration": 3, "elapsed_s": 1.0}
        weights = dict(built.state_dict())
        folder.save(Generation(weights=weights, training={}, history=torch.zeros(0, 2), state=state), keep=2)
    return folder.path


# The detail enhancer


def test_it_is_made_by_name_and_every_face_stands_alone(model: Path) -> None:
    enhancer = create_enhancer(f"detail:{model}", WeightStore())
    faces = make_faces()
    result = enhancer.enhance(faces)
    assert enhancer.scale == 2
    assert (result.shape, result.dtype) == ((3, 80, 80, 3), np.float32)
    assert np.abs(result - enlarge_faces(faces, 2)).max() > 0.05
    for index in range(3):
        np.testing.assert_array_equal(result[index], enhancer.enhance(faces[index : index + 1])[0])
    np.testing.assert_array_equal(result, create_enhancer(f"detail:{model}", WeightStore()).enhance(faces))
    assert enhancer.enhance(faces[:0]).shape == (0, 80, 80, 3)


def test_it_says_what_it_was_made_for(model: Path) -> None:
    enhancer, notices = open_detail_enhancer(model)
    assert (enhancer.resolution, enhancer.face_type, notices) == (32, FaceType.WHOLE, [])
    generation, _ = ModelFolder.open(model).load()
    assert generation is not None
    assert enhancer.digest == f"detail {generation.weights_sha256[:16]}"


def test_arguments_are_checked(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Say which model"):
        create_enhancer("detail", WeightStore())
    with pytest.raises(NotFound, match="no model"):
        create_enhancer(f"detail:{tmp_path / 'nowhere'}", WeightStore())
    with pytest.raises(InvalidInput, match="float faces"):
        create_enhancer(f"detail:{model}", WeightStore()).enhance(np.zeros((1, 8, 8, 3), np.uint8))
    assert {"detail", "torchscript"} <= set(ENHANCERS.names())


# How much of it


class Tinter:
    """Knows [0, 1] only, twice as large, and adds a little red."""

    scale = 2

    def enhance(self, faces: FloatArray) -> FloatArray:
        assert faces.min() >= 0.0
        assert faces.max() <= 1.0
        return enlarge_faces(faces, 2) + np.array([0.1, 0.0, 0.0], np.float32)


def test_power_goes_from_the_plain_enlargement_to_all_of_it(model: Path) -> None:
    faces = make_faces()
    detail = create_enhancer(f"detail:{model}", WeightStore())
    np.testing.assert_array_equal(enhance_faces(faces, detail, 0.0), enlarge_faces(faces, 2))
    np.testing.assert_allclose(enhance_faces(faces, detail, 1.0), detail.enhance(faces), atol=1e-6)
    half = 0.5 * (enlarge_faces(faces, 2) + detail.enhance(faces))
    np.testing.assert_allclose(enhance_faces(faces, detail, 0.5), half, atol=1e-6)
    with pytest.raises(InvalidInput, match="0 to 1"):
        enhance_faces(faces, detail, 40.0)


def test_light_beyond_the_range_stays_whatever_the_enhancer_knows(model: Path) -> None:
    faces = make_faces()
    faces[:, 10:30, 10:30] += 4.0
    tinted = enhance_faces(faces, Tinter(), 1.0)
    np.testing.assert_allclose(tinted, enlarge_faces(faces, 2) + np.array([0.1, 0.0, 0.0], np.float32), atol=1e-5)
    detail = create_enhancer(f"detail:{model}", WeightStore())
    np.testing.assert_allclose(enhance_faces(faces, detail, 1.0), detail.enhance(faces), atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_enlarging_keeps_flat_and_place(scale: int) -> None:
    flat = np.full((1, 12, 12, 3), 7.5, np.float32)
    np.testing.assert_allclose(enlarge_faces(flat, scale), 7.5, rtol=1e-5)
    ramp = np.broadcast_to((np.arange(24, dtype=np.float32) + 0.5)[None, None, :, None] / 24, (1, 24, 24, 3))
    wanted = (np.arange(24 * scale) + 0.5) / (24 * scale)
    inner = slice(3 * scale, -3 * scale)
    np.testing.assert_allclose(enlarge_faces(ramp, scale)[0, 5, inner, 0], wanted[inner], atol=1e-5)


# TorchScript


class Doubler(nn.Module):
    def forward(self, faces: Tensor) -> Tensor:
        return faces.repeat_interleave(2, 2).repeat_interleave(2, 3) * 0.5


class Pair(nn.Module):
    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        return faces, faces


def scripted(network: nn.Module) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stream = io.BytesIO()
        torch.jit.save(torch.jit.script(network), stream)
    return stream.getvalue()


def store_of(folder: Path, data: bytes, sha256: str | None = None) -> WeightStore:
    (folder / "twice.pt").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest() if sha256 is None else sha256
    index = folder / "index.toml"
    index.write_text(
        f'[twice]\nfile = "twice.pt"\nsha256 = "{digest}"\nsize = 0\nlicence = "x"\norigin = "x"\nurl = ""\n'
    )
    return WeightStore([folder], index=index)


def test_a_published_torchscript_network_is_an_enhancer(tmp_path: Path) -> None:
    store = store_of(tmp_path, scripted(Doubler()))
    enhancer = create_enhancer("torchscript:twice", store)
    faces = make_faces()
    assert enhancer.scale == 2
    np.testing.assert_allclose(enhancer.enhance(faces), faces.repeat(2, axis=1).repeat(2, axis=2) * 0.5, atol=1e-6)
    signed = create_enhancer("torchscript:twice?range=signed", store).enhance(faces)
    np.testing.assert_allclose(signed, ((faces * 2 - 1) * 0.5 + 1).repeat(2, 1).repeat(2, 2) / 2, atol=1e-6)


def test_torchscript_is_loaded_only_when_it_is_the_published_file(tmp_path: Path) -> None:
    data = scripted(Doubler())
    with pytest.raises(Unsupported, match="No checksum"):
        create_enhancer("torchscript:twice", store_of(tmp_path, data, ""))
    with pytest.raises(DataCorrupt, match="not the published file"):
        create_enhancer("torchscript:twice", store_of(tmp_path, data, "0" * 64))
    with pytest.raises(NotFound, match="no weights named"):
        create_enhancer(f"torchscript:{tmp_path / 'twice.pt'}", store_of(tmp_path, data))
    with pytest.raises(InvalidInput, match="Say which network"):
        create_enhancer("torchscript", WeightStore())


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataCorrupt, match="cannot be loaded"):
        create_enhancer("torchscript:twice", store_of(tmp_path, b"no archive"))
    with pytest.raises(Unsupported, match="no enhancer"):
        create_enhancer("torchscript:twice", store_of(tmp_path, scripted(Pair())))
