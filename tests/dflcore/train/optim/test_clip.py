"""Clipping against torch's own, and its law."""

import pytest
import torch
from torch import nn

from dflcore.train.optim.clip import clip_gradients


def parameters(scale: float) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(2)
    made = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2, 2, 3, 3), (1,))]
    for parameter in made[:3]:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return made


def length(made: list[nn.Parameter]) -> float:
    return float(torch.cat([one.grad.flatten() for one in made if one.grad is not None]).norm())


def test_long_gradients_are_shortened_together() -> None:
    ours, theirs = parameters(3.0), parameters(3.0)
    before = length(ours)
    assert float(clip_gradients(ours, 1.0)) == pytest.approx(before)
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    assert length(ours) == pytest.approx(1.0, rel=1e-5)
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_short_gradients_stay_as_they_are() -> None:
    ours = parameters(1e-3)
    before = [one.grad.clone() for one in ours[:3]]
    clip_gradients(ours, 1.0)
    assert all(torch.equal(one.grad, grad) for one, grad in zip(ours, before, strict=False))


def test_no_gradient_at_all() -> None:
    assert float(clip_gradients([nn.Parameter(torch.ones(2))], 1.0)) == 0.0


def test_a_gradient_that_is_not_finite_is_not_hidden() -> None:
    ours = parameters(1.0)
    ours[0].grad[0, 0] = torch.nan
    assert not clip_gradients(ours, 1.0).isfinite()
    assert not ours[1].grad.isfinite().any()
