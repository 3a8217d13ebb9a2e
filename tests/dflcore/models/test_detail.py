"""The detail network: what it leaves alone, whatever it has learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from dflcore.config.detail import DetailSettings
from dflcore.errors import InvalidInput, NotFound
from dflcore.models.checkpoint import FACE_KIND, ModelDescription, ModelFolder
from dflcore.models.detail import DetailNetwork, enlarge
from dflcore.models.detail_presets import (
    DETAIL_KIND,
    build_detail_network,
    detail_preset_names,
    load_detail_model,
    load_detail_preset,
)
from dflcore.types import FaceType


def lively(scale: int = 2) -> DetailNetwork:
    """With weights as after much training: all of them count."""
    torch.manual_seed(3)
    network = DetailNetwork(32, scale, width=12, coarse_width=8, layers=2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("head", "surroundings.gates")):
                parameter.normal_(std=0.3)
    return network.eval().requires_grad_(False)


def pictures(height: int = 32, width: int = 32, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scale", [1, 2])
def test_a_new_network_only_enlarges(scale: int) -> None:
    network = DetailNetwork(32, scale, width=12, coarse_width=8, layers=2).requires_grad_(False)
    torch.testing.assert_close(network(pictures()), enlarge(pictures(), scale), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", [(32, 32), (40, 56), (33, 31), (100, 90)])
def test_any_size_is_enlarged_and_no_border_is_lost(scale: int, size: tuple[int, int]) -> None:
    result = lively(scale)(pictures(*size))
    assert result.shape == (2, 3, size[0] * scale, size[1] * scale)
    assert (result - enlarge(pictures(*size), scale)).abs().amax() > 0.01


@pytest.mark.parametrize("level", [-0.5, 0.0, 0.3, 1.0, 4.0])
def test_flat_stays_flat(level: float) -> None:
    color = torch.tensor([level, 0.5 * level, level + 0.1]).view(1, 3, 1, 1)
    result = lively()(color.expand(1, 3, 40, 52))
    torch.testing.assert_close(result, color.expand(1, 3, 80, 104), rtol=1e-5, atol=1e-4)  # rounding of means


def test_values_beyond_the_range_pass() -> None:
    network = lively()
    faces = pictures()
    faces[:, :, 8:20, 8:20] += 3.0
    faces[:, :, 24:, :6] -= 0.5
    expected = enlarge(faces, 2) + (network(faces.clamp(0, 1)) - enlarge(faces.clamp(0, 1), 2))
    torch.testing.assert_close(network(faces), expected)
    assert network(faces)[:, :, 20:36, 20:36].mean() > 3.0


def test_light_and_colours_are_left_alone() -> None:
    """Whatever it adds has no mean, over the whole picture and nearly none over its large cells."""
    added = lively().residual(pictures(128, 128))
    assert added.abs().mean() > 0.05
    assert added.mean(dim=(2, 3)).abs().max() < 0.02 * added.abs().mean()
    cells = F.avg_pool2d(added, 64)
    assert cells.abs().mean() < 0.15 * F.avg_pool2d(added.abs(), 64).mean()


def test_twice_the_contrast_gets_twice_the_detail() -> None:
    network = lively()
    torch.nn.init.zeros_(network.surroundings.gates.weight)  # the surroundings know how strong contrast is
    faces = pictures() * 0.4 + 0.3
    strong = (faces - 0.5) * 2.0 + 0.5
    torch.testing.assert_close(network.residual(strong), 2.0 * network.residual(faces), rtol=1e-3, atol=1e-4)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput, match="multiple of 8"):
        DetailNetwork(36)
    with pytest.raises(InvalidInput, match="1 or 2 times"):
        DetailNetwork(32, 3)


def test_presets_are_small_and_are_built_from_a_description() -> None:
    assert detail_preset_names()[:2] == ["detail", "detail-wide"]
    with torch.device("meta"):
        sizes = {
            name: sum(
                one.numel() for one in load_detail_preset(name).build(load_detail_preset(name).network).parameters()
            )
            for name in ("detail", "detail-wide")
        }
    assert 200_000 < sizes["detail"] < 1_000_000 < sizes["detail-wide"] < 3_000_000
    values = DetailSettings(resolution=64, scale=1, width=8, coarse_width=8, layers=1).values()
    described = ModelDescription(preset="detail", network=values, face_type=FaceType.FULL, kind=DETAIL_KIND)
    network = build_detail_network(described)
    assert isinstance(network, DetailNetwork)
    assert (network.resolution, network.scale) == (64, 1)


def test_models_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    values = DetailSettings(resolution=64, width=8, coarse_width=8, layers=1).values()
    for kind in (DETAIL_KIND, FACE_KIND):
        description = ModelDescription(preset="detail", network=values, face_type=FaceType.FULL, kind=kind)
        ModelFolder.create(tmp_path / kind, description)
    with pytest.raises(NotFound, match="never been saved"):
        load_detail_model(tmp_path / DETAIL_KIND)
    with pytest.raises(InvalidInput, match="a face model"):
        load_detail_model(tmp_path / FACE_KIND)
    with pytest.raises(NotFound, match="no model"):
        load_detail_model(tmp_path / "nowhere")
