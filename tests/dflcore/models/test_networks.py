"""Networks: sizes of the reference, shapes, ranges, gradients."""

import pytest
import torch

from dflcore.config.network import DfSettings, QuickSettings
from dflcore.errors import InvalidInput, NotFound
from dflcore.models.blocks import SubpixelHead, Upscale, pixel_norm
from dflcore.models.df import DfModel
from dflcore.models.face_model import FaceModel
from dflcore.models.quick import QuickModel
from dflcore.models.registry import load_preset, preset_names


def tiny_df(*, likeness: bool = True, subpixel: bool = True) -> DfModel:
    torch.manual_seed(0)
    return DfModel(resolution=64, ae_dims=16, e_dims=8, d_dims=8, d_mask_dims=4, likeness=likeness, subpixel=subpixel)


def tiny_quick() -> QuickModel:
    torch.manual_seed(0)
    return QuickModel(
        resolution=32, grid_blocks=8, code_dims=16, e_dims=8, coarse_dims=16, middle_dims=16, fine_dims=16
    )


@pytest.mark.parametrize(("preset", "count"), [("df", 57_538_432), ("df-ud", 54_470_998), ("quick96", 38_294_330)])
def test_parameter_counts_of_the_reference(preset: str, count: int) -> None:
    chosen = load_preset(preset)
    with torch.device("meta"):
        model = chosen.build(chosen.network)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    "model", [tiny_df(), tiny_df(likeness=False, subpixel=False), tiny_quick()], ids=["df-ud", "df", "quick"]
)
def test_shapes_ranges_and_gradients(model: FaceModel) -> None:
    side = model.resolution
    source, target = torch.rand(2, 3, side, side), torch.rand(3, 3, side, side)
    painted = model.reconstruct({"source": source, "target": target})
    assert painted["source"].face.shape == (2, 3, side, side)
    assert painted["source"].mask.shape == (2, 1, side, side)
    assert painted["target"].face.shape == (3, 3, side, side)
    assert painted["target"].mask.shape == (3, 1, side, side)
    pictures = [tensor for person in painted.values() for tensor in (person.face, person.mask)]
    assert all(0 <= float(tensor.detach().min()) <= float(tensor.detach().max()) <= 1 for tensor in pictures)
    sum(tensor.square().mean() for tensor in pictures).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    assert all(bool(p.grad.abs().max() > 0) for p in model.parameters() if p.ndim > 1)


@pytest.mark.parametrize("model", [tiny_df(), tiny_quick()], ids=["df-ud", "quick"])
def test_swap_is_the_source_decoder_on_the_target_code(model: FaceModel) -> None:
    target = torch.rand(2, 3, model.resolution, model.resolution)
    with torch.no_grad():
        swapped, painted = model.swap(target), model.reconstruct({"source": target, "target": target})
    torch.testing.assert_close(swapped.face, painted["source"].face, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(swapped.source_mask, painted["source"].mask, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(swapped.target_mask, painted["target"].mask, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("model", [tiny_df(), tiny_quick()], ids=["df-ud", "quick"])
def test_one_face_alone_equals_that_face_in_a_batch(model: FaceModel) -> None:
    faces = torch.rand(3, 3, model.resolution, model.resolution)
    with torch.no_grad():
        torch.testing.assert_close(model.swap(faces).face[1:2], model.swap(faces[1:2]).face, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("preset", "resolution"), [("quick", 120), ("df", 120), ("df-ud", 144)])
def test_a_resolution_that_does_not_fit_is_refused(preset: str, resolution: int) -> None:
    chosen = load_preset(preset)
    with pytest.raises(InvalidInput, match="multiple of"):
        chosen.build(chosen.resolve_network({"resolution": resolution}))


@pytest.mark.parametrize(("resolution", "grid_blocks"), [(64, 32), (96, 32), (192, 32), (40, 8)])
def test_quick_paints_any_resolution_on_the_same_grid(resolution: int, grid_blocks: int) -> None:
    chosen = load_preset("quick")
    numbers = {"resolution": resolution, "grid_blocks": grid_blocks, "coarse_dims": 16, "middle_dims": 16}
    model = chosen.build(chosen.resolve_network(numbers))
    face = torch.rand(1, 3, resolution, resolution)
    with torch.no_grad():
        swapped = model.swap(face)
    assert swapped.face.shape == face.shape
    assert swapped.source_mask.shape == swapped.target_mask.shape == (1, 1, resolution, resolution)


def test_a_grid_that_cannot_be_halved_twice_is_refused() -> None:
    chosen = load_preset("quick")
    with pytest.raises(InvalidInput, match="multiple of 4"):
        chosen.build(chosen.resolve_network({"grid_blocks": 30, "resolution": 120}))


@pytest.mark.parametrize("model", [tiny_df(), tiny_quick()], ids=["df-ud", "quick"])
@pytest.mark.parametrize("shape", [(1, 3, 48, 48), (1, 4, 32, 32), (3, 64, 64)])
def test_faces_of_another_size_are_refused(model: FaceModel, shape: tuple[int, ...]) -> None:
    good = torch.zeros(1, 3, model.resolution, model.resolution)
    with pytest.raises(InvalidInput, match="align them at"):
        model.swap(torch.zeros(shape))
    with pytest.raises(InvalidInput, match="align them at"):
        model.reconstruct({"source": good, "target": torch.zeros(shape)})


def test_unknown_preset_and_unknown_number() -> None:
    assert preset_names()[:4] == ["quick", "quick96", "df", "df-ud"]
    with pytest.raises(NotFound, match="quick96"):
        load_preset("quick97")
    with pytest.raises(InvalidInput, match="wings"):
        load_preset("quick").resolve_network({"wings": 2})


def test_presets_carry_their_own_settings_class() -> None:
    assert isinstance(load_preset("quick").network, QuickSettings)
    assert isinstance(load_preset("df-ud").network, DfSettings)


def test_pixel_norm() -> None:
    x = torch.randn(2, 50) * 7
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(2), atol=1e-4, rtol=0)
    assert bool(pixel_norm(torch.zeros(1, 5)).isfinite().all())


def test_subpixel_head_places_its_phases() -> None:
    head = SubpixelHead(4, 3)
    with torch.no_grad():
        for number, phase in enumerate(head.phases):
            phase.weight.zero_()
            phase.bias.fill_(float(number))
        picture = head(torch.zeros(1, 4, 2, 2))
    expected = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat(2, 2)
    torch.testing.assert_close(picture, expected.expand(1, 3, 4, 4))


def test_upscale_doubles() -> None:
    assert Upscale(4, 6)(torch.zeros(1, 4, 5, 5)).shape == (1, 6, 10, 10)
