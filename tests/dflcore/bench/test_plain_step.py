"""A plain step of every network there is: it learns, and it is the network's own work that is counted."""

from __future__ import annotations

import pytest
import torch

from dflcore.bench.flops import measure_network
from dflcore.bench.plain_step import PlainStep, _dissimilarity, _window
from dflcore.models.registry import load_preset, preset_names
from dflcore.qc.ssim import structural_similarity

CPU = torch.device("cpu")
NARROW = {
    "ae_dims": 16,
    "inter_dims": 32,
    "e_dims": 8,
    "d_dims": 8,
    "d_mask_dims": 4,
    "code_dims": 16,
    "coarse_dims": 16,
    "middle_dims": 16,
    "fine_dims": 16,
}


def narrow(name: str):
    preset = load_preset(name)
    has = type(preset.network).model_fields
    overrides = {width: value for width, value in NARROW.items() if width in has}
    return preset.build(preset.resolve_network({**overrides, "resolution": 64}))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "deepfakes" else name for name in preset_names()]
)
def test_every_network_can_be_counted_and_stepped(name: str) -> None:
    model = narrow(name)
    cost = measure_network(model, 1, CPU)
    weights = [weight for weight in model.parameters() if weight.ndim > 1]
    assert cost.operations > 2 * sum(weight.numel() for weight in weights)
    assert sum(cost.calls.values()) > len(weights)  # forward and backward; some layers run as one
    before = [weight.detach().clone() for weight in weights]
    PlainStep(model, 1, CPU).step()
    moved = [not torch.equal(weight, old) for weight, old in zip(weights, before, strict=True)]
    assert sum(moved) > 0.9 * len(moved)


def test_it_learns() -> None:
    torch.manual_seed(0)
    plain = PlainStep(narrow("quick"), 2, CPU)
    losses = []
    for _ in range(60):
        plain.step()
        losses.append(plain.loss)
    assert losses[-1] < 0.95 * losses[0]


def test_its_structure_term_is_half_of_what_ssim_lacks() -> None:
    a, b = torch.rand(40, 40), torch.rand(40, 40)
    expected = (1.0 - structural_similarity(a.numpy(), b.numpy())) / 2.0
    found = _dissimilarity(a[None, None], b[None, None], _window(11, 1, CPU))
    assert float(found) == pytest.approx(expected, abs=1e-5)
