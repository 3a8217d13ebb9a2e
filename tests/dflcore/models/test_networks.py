"""What every face network offers: shapes, ranges, gradients, one face alone, refusals."""

import pytest
import torch

from dflcore.errors import InvalidInput
from dflcore.models.blocks import initialize_glorot
from dflcore.models.face_model import FaceModel
from dflcore.models.registry import load_preset
from tiny_networks import TINY_NETWORKS

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(params=TINY_NETWORKS)
def model(request: pytest.FixtureRequest) -> FaceModel:
    return TINY_NETWORKS[request.param]()


def test_shapes_ranges_and_gradients(model: FaceModel) -> None:
    side = model.resolution
    source, target = torch.rand(2, 3, side, side), torch.rand(3, 3, side, side)
    painted = model.reconstruct({"source": source, "target": target})
    assert list(painted) == ["source", "target"]
    assert painted["source"].face.shape == (2, 3, side, side)
    assert painted["source"].mask.shape == (2, 1, side, side)
    assert painted["target"].face.shape == (3, 3, side, side)
    assert painted["target"].mask.shape == (3, 1, side, side)
    assert painted["source"].code.shape[1:] == painted["target"].code.shape[1:]
    pictures = [tensor for person in painted.values() for tensor in (person.face, person.mask)]
    assert all(0 <= float(tensor.detach().min()) <= float(tensor.detach().max()) <= 1 for tensor in pictures)
    sum(tensor.square().mean() for tensor in pictures).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    assert all(bool(p.grad.abs().max() > 0) for p in model.parameters() if p.ndim > 1)


def test_everybody_can_be_painted_from_the_others_picture(model: FaceModel) -> None:
    side = model.resolution
    faces = torch.rand(2, 3, side, side)
    with torch.no_grad():
        swaps = {identity: model.swap(faces, identity=identity) for identity in model.identities}
        default = model.swap(faces)
    assert all(swap.face.shape == faces.shape for swap in swaps.values())
    assert all(swap.source_mask.shape == swap.target_mask.shape == (2, 1, side, side) for swap in swaps.values())
    assert torch.equal(default.face, swaps["source"].face)
    assert not torch.allclose(swaps["source"].face, swaps["target"].face, atol=1e-3)


def test_one_face_alone_equals_that_face_in_a_batch(model: FaceModel) -> None:
    faces = torch.rand(3, 3, model.resolution, model.resolution)
    model.eval()
    with torch.no_grad():
        together, alone = model.swap(faces), model.swap(faces[1:2])
        painted = model.reconstruct({"source": faces, "target": faces.flip(0)})
        painted_alone = model.reconstruct({"target": faces[1:2]})
    torch.testing.assert_close(together.face[1:2], alone.face, **CLOSE)
    torch.testing.assert_close(together.target_mask[1:2], alone.target_mask, **CLOSE)
    torch.testing.assert_close(painted["target"].face[1:2], painted_alone["target"].face, **CLOSE)


def test_the_memory_layout_changes_nothing(model: FaceModel) -> None:
    faces = torch.rand(2, 3, model.resolution, model.resolution)
    with torch.no_grad():
        contiguous = model.swap(faces)
        model.to(memory_format=torch.channels_last)
        channels_last = model.swap(faces.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(contiguous, channels_last, **CLOSE)


def test_half_precision_paints_in_full_precision(model: FaceModel) -> None:
    faces = torch.rand(2, 3, model.resolution, model.resolution)
    with torch.no_grad():
        exact = model.swap(faces)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = model.swap(faces)
    assert coarse.face.dtype == coarse.source_mask.dtype == torch.float32
    assert float((exact.face - coarse.face).abs().mean()) < 0.02
    assert float((exact.source_mask - coarse.source_mask).abs().mean()) < 0.02


@pytest.mark.slow
def test_it_learns(model: FaceModel) -> None:
    """Two people of one colour each are told apart within seconds, faces and masks."""
    side = model.resolution
    torch.manual_seed(0)
    initialize_glorot(model)
    colors = {"source": torch.tensor([0.8, 0.3, 0.2]), "target": torch.tensor([0.2, 0.4, 0.8])}
    faces = {name: color[:, None, None].expand(2, 3, side, side) for name, color in colors.items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=7e-4, betas=(0.9, 0.99))
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        painted = model.reconstruct(faces)
        loss = sum((painted[name].face - faces[name]).square().mean() for name in faces)
        loss = loss + sum((painted[name].mask - 0.9).square().mean() for name in faces)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("shape", [(1, 3, 48, 48), (1, 4, 32, 32), (3, 64, 64)])
def test_faces_of_another_size_are_refused(model: FaceModel, shape: tuple[int, ...]) -> None:
    good = torch.zeros(1, 3, model.resolution, model.resolution)
    with pytest.raises(InvalidInput, match="align them at"):
        model.swap(torch.zeros(shape))
    with pytest.raises(InvalidInput, match="align them at"):
        model.reconstruct({"source": good, "target": torch.zeros(shape)})


def test_strangers_are_refused(model: FaceModel) -> None:
    faces = torch.zeros(1, 3, model.resolution, model.resolution)
    with pytest.raises(InvalidInput, match="nobody called 'source9'"):
        model.swap(faces, identity="source9")
    with pytest.raises(InvalidInput, match="nobody called 'source9'"):
        model.reconstruct({"source9": faces})


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
