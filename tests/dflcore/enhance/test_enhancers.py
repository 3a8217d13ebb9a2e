from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dflcore.enhance.base import ENHANCERS, create_enhancer, enhance_in_tiles
from dflcore.enhance.face_enhancer import PARAMETER_COUNT, FaceEnhancer, FaceEnhancerNetwork
from dflcore.enhance.lanczos import resize_lanczos
from dflcore.enhance.onnx_model import OnnxOptions
from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.weights.store import WeightStore
from tiny_onnx import color_matrix_nhwc, color_matrix_x2, stride_two

MATRIX = np.array([[0.6, 0.2, 0.1], [0.0, 0.5, 0.3], [0.2, 0.0, 0.7]], dtype=np.float32)
BIAS = np.array([0.05, 0.0, 0.02], dtype=np.float32)


def make_faces(side: int = 64, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(count, side, side, 3)).astype(np.float32)


def doubled(faces: np.ndarray) -> np.ndarray:
    return faces.repeat(2, axis=1).repeat(2, axis=2)


def onnx_name(tmp_path: Path, data: bytes, options: str = "") -> str:
    path = tmp_path / "netz für Zoë.onnx"
    path.write_bytes(data)
    return f"onnx:{path}" + (f"?{options}" if options else "")


# ONNX


def test_an_onnx_network_is_fed_rgb_in_unit_range_and_its_scale_is_found(tmp_path: Path) -> None:
    enhancer = create_enhancer(onnx_name(tmp_path, color_matrix_x2(MATRIX, BIAS)), WeightStore())
    faces = make_faces()
    assert enhancer.scale == 2
    wanted = doubled(np.clip(faces @ MATRIX.T + BIAS, 0, 1))
    np.testing.assert_allclose(enhancer.enhance(faces), wanted, atol=1e-6)
    one = enhancer.enhance(faces[1:])
    np.testing.assert_array_equal(one[0], enhancer.enhance(faces)[1])


@pytest.mark.parametrize(("name", "factor", "offset"), [("signed", 2.0, -1.0), ("byte", 255.0, 0.0)])
def test_other_ranges_and_bgr(tmp_path: Path, name: str, factor: float, offset: float) -> None:
    options = f"range={name}&channels=bgr"
    enhancer = create_enhancer(onnx_name(tmp_path, color_matrix_x2(MATRIX, BIAS), options), WeightStore())
    faces = make_faces()
    network_sees = faces[..., ::-1] * factor + offset
    answer = network_sees @ MATRIX.T + BIAS
    wanted = doubled(np.clip((answer - offset) / factor, 0, 1)[..., ::-1])
    np.testing.assert_allclose(enhancer.enhance(faces), wanted, atol=1e-5)


def test_channels_last_is_recognised(tmp_path: Path) -> None:
    enhancer = create_enhancer(onnx_name(tmp_path, color_matrix_nhwc(MATRIX)), WeightStore())
    faces = make_faces(50)
    assert enhancer.scale == 1
    np.testing.assert_allclose(enhancer.enhance(faces), np.clip(faces @ MATRIX.T, 0, 1), atol=1e-6)


def test_a_network_of_one_size_sees_the_whole_face_or_tiles(tmp_path: Path) -> None:
    data = color_matrix_x2(MATRIX, BIAS, (1, 3, 32, 32))
    flat = np.full((1, 80, 80, 3), 0.5, np.float32)
    noise = make_faces(80, 1)
    wanted = doubled(np.clip(noise @ MATRIX.T + BIAS, 0, 1))
    tiled = create_enhancer(onnx_name(tmp_path, data, "fit=tile"), WeightStore())
    np.testing.assert_allclose(tiled.enhance(noise), wanted, atol=1e-5)
    whole = create_enhancer(onnx_name(tmp_path, data), WeightStore())
    assert whole.enhance(noise).shape == (1, 160, 160, 3)
    np.testing.assert_allclose(whole.enhance(flat), doubled(flat @ MATRIX.T + BIAS), atol=1e-5)


def test_networks_that_are_no_enhancer_are_named(tmp_path: Path) -> None:
    for data, what in (
        (stride_two(), "64 px into 32x32"),
        (color_matrix_nhwc(MATRIX, (1, 64, 32, 3)), "not square"),
        (color_matrix_nhwc(MATRIX, (4, 64, 64, 3)), "batches of 4"),
        (color_matrix_nhwc(np.ones((5, 3)), (1, 64, 64, 3)), "is no image"),
    ):
        with pytest.raises(Unsupported, match=what):
            create_enhancer(onnx_name(tmp_path, data), WeightStore())
    with pytest.raises(DataCorrupt, match="cannot be loaded"):
        create_enhancer(onnx_name(tmp_path, b"no network at all"), WeightStore())


def test_names_and_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="which network"):
        create_enhancer("onnx", WeightStore())
    with pytest.raises(InvalidInput, match="range=unit"):
        OnnxOptions.parse("range=huge")
    with pytest.raises(InvalidInput, match="colour"):
        OnnxOptions.parse("colour=rgb")
    with pytest.raises(NotFound, match="no file"):
        create_enhancer(f"onnx:{tmp_path}/nowhere.onnx", WeightStore())
    with pytest.raises(NotFound, match="faceenhancer, onnx"):
        create_enhancer("sharpest", WeightStore())
    assert ENHANCERS.names()[:2] == ["faceenhancer", "onnx"]


# The reference's network


@pytest.fixture(scope="module")
def network() -> FaceEnhancerNetwork:
    torch.manual_seed(7)
    return FaceEnhancerNetwork()


def store_with(folder: Path, network: FaceEnhancerNetwork) -> WeightStore:
    save_file(network.state_dict(), folder / "faceenhancer.safetensors")
    index = folder / "index.toml"
    index.write_text(
        '[faceenhancer]\nfile = "faceenhancer.safetensors"\nsha256 = ""\nsize = 0\nlicence = "x"\norigin = "x"\n'
        'url = ""\n'
    )
    return WeightStore([folder], index=index)


def test_the_face_enhancer_has_as_many_parameters_as_published(network: FaceEnhancerNetwork) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETER_COUNT == 33_111_401


@pytest.mark.slow
def test_without_heads_it_only_enlarges_and_colours_stay_in_place(network: FaceEnhancerNetwork) -> None:
    silent = FaceEnhancerNetwork()
    for head in silent.heads:
        torch.nn.init.zeros_(head[2].weight)
        torch.nn.init.zeros_(head[2].bias)
    colors = np.broadcast_to(np.array([0.9, 0.5, 0.1], np.float32), (1, 192, 192, 3)).copy()
    result = FaceEnhancer(silent, "cpu").enhance(colors)
    assert result.shape == (1, 768, 768, 3)
    np.testing.assert_allclose(result, np.broadcast_to([0.9, 0.5, 0.1], result.shape), atol=1e-5)
    last_blue = FaceEnhancerNetwork()
    last_blue.load_state_dict(silent.state_dict())
    with torch.no_grad():
        last_blue.heads[2][2].bias[0] = 9.0  # tanh: +1 of [-1, 1] in the first channel, which is blue
    result = FaceEnhancer(last_blue, "cpu").enhance(colors)
    np.testing.assert_allclose(result[0, 100, 100], [0.9, 0.5, 0.6], atol=1e-4)


@pytest.mark.slow
def test_weights_come_from_the_store_and_tiles_agree(
    tmp_path: Path, network: FaceEnhancerNetwork, astronaut: np.ndarray
) -> None:
    enhancer = create_enhancer("faceenhancer", store_with(tmp_path, network))
    assert enhancer.scale == 4
    face = astronaut[60:188, 160:288].astype(np.float32)[None] / 255.0
    result = enhancer.enhance(face)
    assert result.shape == (1, 512, 512, 3)
    assert float(np.std(result)) > 0.1
    np.testing.assert_array_equal(result, FaceEnhancer(network, "cpu").enhance(face))


def test_wrong_weights_and_arguments_are_named(tmp_path: Path, network: FaceEnhancerNetwork) -> None:
    store = store_with(tmp_path, network)
    save_file({"x": torch.zeros(1)}, tmp_path / "faceenhancer.safetensors")
    with pytest.raises(DataCorrupt, match="not those of the face enhancer"):
        create_enhancer("faceenhancer", store)
    with pytest.raises(InvalidInput, match="no argument"):
        create_enhancer("faceenhancer:strong", store)
    with pytest.raises(NotFound):
        create_enhancer("faceenhancer", WeightStore([tmp_path / "none"]))


# Tiles and Lanczos


@pytest.mark.parametrize("side", [20, 32, 33, 47, 48, 100])
def test_tiles_join_without_a_seam(side: int) -> None:
    face = make_faces(side, 1)[0]
    np.testing.assert_allclose(enhance_in_tiles(face, lambda tile: tile, 32, 1), face, atol=1e-6)
    result = enhance_in_tiles(face, lambda tile: doubled(tile[None])[0], 32, 2)
    np.testing.assert_allclose(result, doubled(face[None])[0], atol=1e-6)


def test_lanczos_keeps_flat_areas_and_ramps() -> None:
    flat = np.full((2, 40, 40, 3), 0.3, np.float32)
    for size in (13, 40, 97):
        np.testing.assert_allclose(resize_lanczos(flat, size), 0.3, atol=1e-6)
    ramp = np.broadcast_to(((np.arange(64) + 0.5) / 64)[None, :, None], (64, 64, 3)).astype(np.float32)
    shrunk = resize_lanczos(ramp, 16)
    inner = slice(3, -3)
    np.testing.assert_allclose(shrunk[0, inner, 0], ((np.arange(16) + 0.5) / 16)[inner], atol=2e-3)


def test_lanczos_does_not_alias_when_shrinking() -> None:
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::2] = 1.0
    inner = resize_lanczos(stripes, 16)[:, 2:-2]
    assert np.abs(inner - 0.5).max() < 0.02
