"""Critics: which patches they judge, sizes of the reference, any resolution."""

import pytest
import torch
from torch import nn

from dflcore.models.discriminators import CodeDiscriminator, PatchDiscriminator, patch_strides, receptive_field

TABLE = {
    3: (3, "2"),
    8: (7, "22"),
    12: (11, "212"),
    16: (15, "222"),
    20: (19, "2122"),
    28: (27, "21212"),
    32: (31, "2222"),
    40: (39, "22122"),
    48: (47, "22212"),
    52: (51, "212212"),
    56: (55, "221212"),
    64: (63, "22222"),
    80: (79, "222122"),
    96: (95, "222212"),
    128: (127, "222222"),
    160: (159, "2222122"),
    256: (255, "2222222"),
    512: (511, "22222222"),
    640: (639, "222222122"),
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("patch", TABLE)
def test_strides_of_the_reference(patch: int) -> None:
    field, strides = TABLE[patch]
    assert patch_strides(patch) == tuple(int(digit) for digit in strides)
    assert receptive_field(patch_strides(patch)) == field


def test_a_smaller_patch_wins_a_tie() -> None:
    assert receptive_field(patch_strides(5)) == 3
    assert receptive_field(patch_strides(6)) == 7


@pytest.mark.parametrize(
    ("patch", "size"), [(3, 10_450), (16, 233_650), (28, 3_799_090), (32, 946_994), (40, 3_799_090), (56, 9_698_354)]
)
def test_patch_parameter_counts_of_the_reference(patch: int, size: int) -> None:
    with torch.device("meta"):
        assert count(PatchDiscriminator(patch, 16, 224)) == size


@pytest.mark.parametrize(("side", "size"), [(8, 2_229_505), (16, 6_949_633)])
def test_code_parameter_counts_of_the_reference(side: int, size: int) -> None:
    with torch.device("meta"):
        assert count(CodeDiscriminator(256, side)) == size


@pytest.mark.parametrize("resolution", [96, 100, 224, 37])
@pytest.mark.parametrize("patch", [3, 20, 28, 127])
def test_patches_of_any_resolution(patch: int, resolution: int) -> None:
    torch.manual_seed(0)
    critic = PatchDiscriminator(patch, 4, resolution)
    faces = torch.rand(1, 3, resolution, resolution, requires_grad=True)
    patches, pixels = critic(faces)
    assert pixels.shape == (1, 1, resolution, resolution)
    assert patches.shape[-1] == -(-resolution // int(torch.tensor(critic.strides).prod()))
    (patches.mean() + pixels.mean()).backward()
    assert bool((faces.grad != 0).all())
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in critic.parameters() if p.ndim > 1)


def test_a_logit_of_the_bottom_sees_one_patch() -> None:
    torch.manual_seed(0)
    critic = PatchDiscriminator(20, 4, 64)
    faces = torch.rand(1, 3, 64, 64, requires_grad=True)
    critic(faces)[0][0, 0, 4, 4].backward()
    seen = (faces.grad[0] != 0).any(0)
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == critic.receptive_field == 19


def test_a_patch_is_no_larger_than_the_picture() -> None:
    assert PatchDiscriminator(640, 4, 64).receptive_field <= 64


@pytest.mark.parametrize("side", [2, 4, 7, 8, 16, 64, 128])
def test_codes_of_any_side(side: int) -> None:
    with torch.device("meta"):
        critic = CodeDiscriminator(8, side)
        logits = critic(torch.empty(2, 8, side, side))
    assert logits.shape[:2] == (2, 1)
    assert logits.shape[-1] >= 1


def test_a_code_critic_can_learn() -> None:
    torch.manual_seed(0)
    critic = CodeDiscriminator(4, 8)
    code = torch.randn(2, 4, 8, 8, requires_grad=True)
    critic(code).mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in critic.parameters())
    assert bool(code.grad.abs().max() > 0)
