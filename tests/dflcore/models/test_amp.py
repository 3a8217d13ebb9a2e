"""AMP: which channel of the code comes from whom."""

import pytest
import torch

from dflcore.errors import InvalidInput, Unsupported
from dflcore.models.amp import draw_switch, mix_codes
from tiny_networks import tiny_amp

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
CHANNELS = 32


@pytest.fixture
def faces() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_morph_takes_the_first_channels_from_the_source(faces: torch.Tensor) -> None:
    model = tiny_amp()
    with torch.no_grad():
        flat = model.encoder(faces)
        source, target = model.inter_source(flat), model.inter_target(flat)
        for morph in (0.0, 0.3, 0.5, 1.0):
            count = int(CHANNELS * morph)
            face, mask = model.decoder(torch.cat([source[:, :count], target[:, count:]], dim=1))
            swapped = model.swap(faces, morph=morph)
            torch.testing.assert_close(swapped.face, face, **CLOSE)
            torch.testing.assert_close(swapped.source_mask, mask, **CLOSE)
            torch.testing.assert_close(swapped.target_mask, model.decoder(target)[1], **CLOSE)
            back = model.swap(faces, identity="target", morph=1.0 - morph)
            torch.testing.assert_close(back.face, face, **CLOSE)


def test_without_morph_the_target_is_painted(faces: torch.Tensor) -> None:
    model = tiny_amp()
    with torch.no_grad():
        painted = model.reconstruct({"target": faces})["target"]
        torch.testing.assert_close(painted.code, model.inter_target(model.encoder(faces)), **CLOSE)
        torch.testing.assert_close(model.swap(faces, morph=0.0).face, painted.face, **CLOSE)


def test_a_morph_factor_can_be_a_tensor_for_exporters(faces: torch.Tensor) -> None:
    model = tiny_amp()
    with torch.no_grad():
        each = model.swap(faces, morph=torch.tensor([0.0, 0.5, 1.0])).face
        for number, morph in enumerate((0.0, 0.5, 1.0)):
            alone = model.swap(faces, morph=morph).face
            torch.testing.assert_close(each[number], alone[number], **CLOSE)
            torch.testing.assert_close(model.swap(faces, morph=torch.tensor(morph)).face, alone, **CLOSE)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.3, 0.5, 0.999, 1.0])
def test_a_share_rounds_down(share: float) -> None:
    code = mix_codes(torch.ones(1, CHANNELS, 2, 2), torch.zeros(1, CHANNELS, 2, 2), share)
    assert int(code[0, :, 0, 0].sum()) == int(CHANNELS * share)


@pytest.mark.parametrize("morph_factor", [0.1, 0.5])
def test_training_switches_whole_channels_of_each_picture_at_random(faces: torch.Tensor, morph_factor: float) -> None:
    model = tiny_amp(morph_factor=morph_factor).train()
    with torch.no_grad():
        flat = model.encoder(faces)
        source, target = model.inter_source(flat), model.inter_target(flat)
        code = model.reconstruct({"source": faces, "target": faces})["source"].code
    from_source = torch.isclose(code, source, **CLOSE).flatten(2).all(2)
    from_target = torch.isclose(code, target, **CLOSE).flatten(2).all(2)
    assert bool((from_source ^ from_target).all())
    assert from_source.sum(1).tolist() == [int(CHANNELS * morph_factor)] * 3
    assert not torch.equal(from_source[0], from_source[1])


def test_training_draws_from_the_default_generator(faces: torch.Tensor) -> None:
    model = tiny_amp().train()
    with torch.no_grad():
        state = torch.get_rng_state()
        first, second = (model.reconstruct({"source": faces})["source"].face for _ in range(2))
        torch.set_rng_state(state)
        again = model.reconstruct({"source": faces})["source"].face
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_evaluation_draws_nothing(faces: torch.Tensor) -> None:
    model = tiny_amp().eval()
    state = torch.get_rng_state()
    with torch.no_grad():
        painted = model.reconstruct({"source": faces})["source"].face
        torch.testing.assert_close(painted, model.swap(faces, morph=model.morph_factor).face, **CLOSE)
    assert torch.equal(state, torch.get_rng_state())


def test_every_channel_is_switched_as_often() -> None:
    torch.manual_seed(0)
    switch = draw_switch(4000, 16, 4)
    assert switch.sum(1).unique().tolist() == [4]
    torch.testing.assert_close(switch.float().mean(0), torch.full((16,), 0.25), atol=0.03, rtol=0)


def test_both_inters_learn(faces: torch.Tensor) -> None:
    model = tiny_amp().train()
    model.reconstruct({"source": faces, "target": faces})["source"].face.sum().backward()
    for inter in (model.inter_source, model.inter_target):
        assert bool(inter.dense.weight.grad.abs().max() > 0)
    assert model.person_modules() == (model.inter_source, model.inter_target)


@pytest.mark.parametrize("morph", [-0.1, 1.5, float("nan")])
def test_a_morph_factor_out_of_range_is_refused(faces: torch.Tensor, morph: float) -> None:
    with pytest.raises(InvalidInput, match="0 to 1"):
        tiny_amp().swap(faces, morph=morph)


def test_style_losses_are_refused() -> None:
    model = tiny_amp()
    assert model.has_morph
    with pytest.raises(Unsupported, match="AMP takes no style losses"):
        model.paint_swap(torch.zeros(1, CHANNELS, 2, 2))
