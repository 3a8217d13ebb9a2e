"""Adversarial losses against the textbook formula, and which way they pull."""

import numpy as np
import pytest
import torch

from dflcore.train.losses.adversarial import (
    gan_discriminator,
    gan_generator,
    quiet_outside,
    true_face_discriminator,
    true_face_generator,
)
from dflcore.train.losses.smoothness import SMOOTHNESS_WEIGHT, smoothness


def logits(seed: int, shape: tuple[int, ...] = (2, 1, 3, 3)) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cross_entropy(label: float, values: torch.Tensor) -> float:
    probability = 1 / (1 + np.exp(-values.detach().numpy()))
    return float(-(label * np.log(probability) + (1 - label) * np.log(1 - probability)).mean())


def test_true_face_is_the_formula() -> None:
    source, target = logits(1), logits(2)
    assert float(true_face_generator(source)) == pytest.approx(cross_entropy(1, source))
    assert float(true_face_discriminator(source, target)) == pytest.approx(
        0.5 * (cross_entropy(1, target) + cross_entropy(0, source))
    )


def test_true_face_draws_the_sources_codes_to_the_targets() -> None:
    """A critic and an encoder that are one number each: training moves the source, and towards the target."""
    source, target, critic = torch.tensor([-2.0]), torch.tensor([2.0]), torch.tensor([0.0])
    for _ in range(50):
        critic.requires_grad_()
        true_face_discriminator(critic * source, critic * target).backward()
        critic = (critic - 0.1 * critic.grad).detach()
    assert float(critic) > 0  # yes to the target's
    source.requires_grad_()
    true_face_generator(critic * source).backward()
    assert float(source.grad) < 0  # descending raises the source's code


def test_gan_is_the_formula() -> None:
    real, painted = (logits(3), logits(4, (2, 1, 8, 8))), (logits(5), logits(6, (2, 1, 8, 8)))
    assert float(gan_generator(painted)) == pytest.approx(sum(cross_entropy(1, one) for one in painted))
    assert float(gan_discriminator(real, painted)) == pytest.approx(
        0.5 * sum(cross_entropy(1, one) for one in real) + 0.5 * sum(cross_entropy(0, one) for one in painted)
    )


def test_gradients_and_extreme_logits() -> None:
    source, target = logits(1).requires_grad_(), logits(2).requires_grad_()
    assert torch.autograd.gradcheck(true_face_discriminator, (source, target))
    assert torch.autograd.gradcheck(lambda one, other: gan_generator((one, other)), (source, target))
    assert float(true_face_generator(torch.tensor([-1e4]))) == pytest.approx(1e4)
    assert float(true_face_generator(torch.tensor([1e4], dtype=torch.bfloat16))) == 0.0


def test_smoothness_counts_steps_along_rows_and_columns_only() -> None:
    pictures = torch.rand(2, 3, 10, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    array = pictures.numpy()
    expected = np.mean(np.diff(array, axis=2) ** 2) + np.mean(np.diff(array, axis=3) ** 2)
    assert float(smoothness(pictures)) == pytest.approx(expected)
    colored = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert float(smoothness(colored)) == 0.0
    along_rows = torch.arange(8.0).expand(1, 3, 8, 8)
    assert float(smoothness(along_rows)) == float(smoothness(along_rows.mT)) == 1.0
    assert torch.autograd.gradcheck(smoothness, pictures[:1].requires_grad_(), fast_mode=True)


def test_quiet_outside_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(4)
    painted, truth = (torch.rand(2, 3, 16, 16, generator=generator) for _ in range(2))
    outside = torch.rand(2, 1, 16, 16, generator=generator)
    expected = 0.02 * np.mean(((painted - truth) * outside).numpy() ** 2) + SMOOTHNESS_WEIGHT * smoothness(painted)
    assert float(quiet_outside(painted, truth, outside)) == pytest.approx(float(expected), rel=1e-5)


def test_smoothness_weighs_as_the_references_sum_at_its_usual_size() -> None:
    pictures = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    summed = 1e-6 * float(pictures.diff(dim=-1).square().sum() + pictures.diff(dim=-2).square().sum())
    assert SMOOTHNESS_WEIGHT * float(smoothness(pictures)) == pytest.approx(summed, rel=0.01)
