"""Mix: lightness by mean and spread, chroma by its whole distribution."""

from collections.abc import Callable

import torch
from torch import Tensor

from dflcore.color.lab import LAB_FROM_ROOTS, roots_from_srgb
from dflcore.color.matching.methods import match


def lab(picture: Tensor) -> Tensor:
    """(1, 3, N), L without its constant."""
    return LAB_FROM_ROOTS.to(picture) @ roots_from_srgb(picture.flatten(2))


def test_lightness_is_changed_by_one_gain_and_one_offset(picture: Tensor, reference: Tensor) -> None:
    before, after, wanted = lab(picture)[0, 0], lab(match("mix", picture, reference))[0, 0], lab(reference)[0, 0]
    gain = wanted.std(correction=0) / before.std(correction=0)
    torch.testing.assert_close(after, (before - before.mean()) * gain + wanted.mean(), atol=0.02, rtol=0)


def test_chroma_takes_over_the_distribution(
    picture: Tensor, reference: Tensor, distance: Callable[[Tensor, Tensor], float]
) -> None:
    def chroma(of: Tensor) -> Tensor:
        return torch.nn.functional.pad(lab(of)[:, 1:], (0, 0, 1, 0))[..., None]

    before = distance(chroma(picture), chroma(reference))
    after = {name: distance(chroma(match(name, picture, reference)), chroma(reference)) for name in ("mix", "rct")}
    assert after["mix"] < 0.06 * before
    assert after["mix"] < 0.5 * after["rct"]
