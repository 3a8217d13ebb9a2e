"""Activation checkpointing: the same step from less memory."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dflcore.errors import Unsupported
from dflcore.models import recompute
from dflcore.models.face_model import FaceModel
from dflcore.models.recompute import checkpoint_activations
from tiny_networks import TINY_NETWORKS


def step(model: FaceModel) -> tuple[Tensor, dict[str, Tensor]]:
    """One step's loss and gradients, from the same faces and random numbers."""
    torch.manual_seed(3)
    faces = {identity: torch.rand(2, 3, model.resolution, model.resolution) for identity in model.identities}
    model.zero_grad(set_to_none=True)
    loss = sum(person.face.square().mean() + person.mask.mean() for person in model.reconstruct(faces).values())
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}


def remembered_bytes(model: FaceModel, monkeypatch: pytest.MonkeyPatch) -> int:
    """Memory of what the backward pass will need: saved tensors, and what checkpointed parts start from."""
    own = {id(parameter) for parameter in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def remember(tensor: Tensor) -> Tensor:
        if id(tensor) not in own and id(tensor._base) not in own:
            storage = tensor.untyped_storage()
            storages[storage._cdata] = storage
        return tensor

    def watched(compute: object, *inputs: object, **options: object) -> object:
        for one in inputs:
            if isinstance(one, Tensor):
                remember(one)
        return checkpoint(compute, *inputs, **options)

    monkeypatch.setattr(recompute, "checkpoint", watched)
    faces = {identity: torch.rand(4, 3, model.resolution, model.resolution) for identity in model.identities}
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        painted = model.reconstruct(faces)
    assert painted
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("name", TINY_NETWORKS)
def test_losses_and_gradients_are_the_same(name: str) -> None:
    model = TINY_NETWORKS[name]()
    names = list(model.state_dict())
    loss, gradients = step(model)
    checkpoint_activations(model)
    again_loss, again_gradients = step(model)
    assert list(model.state_dict()) == names
    assert torch.equal(loss, again_loss)
    for key, gradient in gradients.items():
        torch.testing.assert_close(again_gradients[key], gradient, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", TINY_NETWORKS)
def test_less_is_remembered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TINY_NETWORKS[name]()
    all_of_it = remembered_bytes(model, monkeypatch)
    checkpoint_activations(model)
    assert remembered_bytes(model, monkeypatch) < 0.7 * all_of_it
    checkpoint_activations(model, enabled=False)
    assert remembered_bytes(model, monkeypatch) == all_of_it


def test_a_network_without_such_parts_is_refused() -> None:
    with pytest.raises(Unsupported, match="computed twice"):
        checkpoint_activations(nn.Linear(2, 2))
    checkpoint_activations(nn.Linear(2, 2), enabled=False)
