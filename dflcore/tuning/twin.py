"""Twins: copies of networks that know shapes but hold no numbers, so that any size can be tried on any machine."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dflcore.models.face_model import FaceModel


@contextlib.contextmanager
def without_numbers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a copy of ``module`` that computes shapes only; inside, so does everything else that torch is asked to.

    Neither the module nor its gradients are touched, and no memory is taken but for Python objects. Twins live on the
    CPU whatever the module's device, so that a card's memory can be reckoned without the card; the module may be on
    the ``meta`` device too.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        memo: dict[int, object] = {}
        for part in module.modules():
            for tensor in _own_tensors(part):
                memo.setdefault(id(tensor), _empty_like(tensor))
        yield copy.deepcopy(module, memo)


def paint_everybody(model: nn.Module, batch_size: int) -> list[Tensor]:
    """All faces and masks that a face model paints in one training step, from black pictures.

    Args:
        model: a :class:`FaceModel`.
        batch_size: faces of each person.
    """
    if not isinstance(model, FaceModel):
        raise TypeError(f"{type(model).__name__} is no face model; say how it is run")
    side = model.resolution
    device = next(model.parameters()).device
    faces = {name: torch.zeros(batch_size, 3, side, side, device=device) for name in model.identities}
    return [tensor for one in model.reconstruct(faces).values() for tensor in (one.face, one.mask)]


Run = Callable[[nn.Module, int], object]
"""Runs a module, or its twin, for so many faces of each person."""


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Weights, buffers, and what else the module keeps, such as what it made last."""
    own = {name: value for name, value in vars(module).items() if name != "_modules"}
    return _tensors_in(own)


def _tensors_in(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors_in(one)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _tensors_in(getattr(value, field.name))


def _empty_like(tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty.requires_grad_(tensor.requires_grad and tensor.is_leaf)
