"""Who shares what: the right decoder on the right code, exactly."""

import pytest
import torch

from dflcore.errors import InvalidInput
from dflcore.models.wirings import OneCode, TwoCodes
from tiny_networks import tiny_deepfakes, tiny_df, tiny_dfhd, tiny_liae, tiny_liaehd, tiny_quick

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
ONE_CODE = {"df": tiny_df, "dfhd": tiny_dfhd, "quick": tiny_quick, "deepfakes": tiny_deepfakes}
TWO_CODES = {"liae": lambda: tiny_liae(""), "liae-udt": lambda: tiny_liae("udt"), "liaehd": tiny_liaehd}


@pytest.fixture(params=ONE_CODE)
def df(request: pytest.FixtureRequest) -> OneCode:
    return ONE_CODE[request.param]()


@pytest.fixture(params=TWO_CODES)
def liae(request: pytest.FixtureRequest) -> TwoCodes:
    return TWO_CODES[request.param]()


def faces_for(model: OneCode | TwoCodes, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, model.resolution, model.resolution, generator=torch.Generator().manual_seed(seed))


def test_df_paints_a_person_with_the_persons_decoder(df: OneCode) -> None:
    source, target = faces_for(df, 1), faces_for(df, 2)
    with torch.no_grad():
        painted = df.reconstruct({"source": source, "target": target})
        for identity, picture in (("source", source), ("target", target)):
            face, mask = df.decoder_of(identity)(df.encode(picture))
            torch.testing.assert_close(painted[identity].face, face, **CLOSE)
            torch.testing.assert_close(painted[identity].mask, mask, **CLOSE)
            torch.testing.assert_close(painted[identity].code, df.encode(picture), **CLOSE)


def test_df_swap_is_the_source_decoder_on_the_target_code(df: OneCode) -> None:
    target = faces_for(df)
    with torch.no_grad():
        swapped, painted = df.swap(target), df.reconstruct({"source": target, "target": target})
        restyled, _ = df.paint_swap(painted["target"].code)
        back = df.swap(target, identity="target")
    torch.testing.assert_close(swapped.face, painted["source"].face, **CLOSE)
    torch.testing.assert_close(swapped.source_mask, painted["source"].mask, **CLOSE)
    torch.testing.assert_close(swapped.target_mask, painted["target"].mask, **CLOSE)
    torch.testing.assert_close(restyled, swapped.face, **CLOSE)
    torch.testing.assert_close(back.face, painted["target"].face, **CLOSE)
    torch.testing.assert_close(back.target_mask, painted["source"].mask, **CLOSE)


def test_df_compares_the_whole_code_and_keeps_everything_learning(df: OneCode) -> None:
    code = torch.rand(1, 8, 2, 2)
    assert df.compared_code(code) is code
    assert df.person_modules()
    assert not df.resting_modules_without_warp()


def test_liae_joins_its_codes_in_the_order_of_the_reference(liae: TwoCodes) -> None:
    source, target = faces_for(liae, 1), faces_for(liae, 2)
    with torch.no_grad():
        painted = liae.reconstruct({"source": source, "target": target})
        source_flat, target_flat = liae.encoder(source), liae.encoder(target)
        expected = {
            "source": torch.cat([liae.inter_AB(source_flat), liae.inter_AB(source_flat)], dim=1),
            "target": torch.cat([liae.inter_B(target_flat), liae.inter_AB(target_flat)], dim=1),
        }
        for identity, code in expected.items():
            face, mask = liae.decoder(code)
            torch.testing.assert_close(painted[identity].code, code, **CLOSE)
            torch.testing.assert_close(painted[identity].face, face, **CLOSE)
            torch.testing.assert_close(painted[identity].mask, mask, **CLOSE)


def test_liae_swap_paints_the_target_as_if_it_were_the_source(liae: TwoCodes) -> None:
    faces = faces_for(liae)
    with torch.no_grad():
        swapped, back = liae.swap(faces), liae.swap(faces, identity="target")
        painted = liae.reconstruct({"source": faces, "target": faces})
        restyled, restyled_mask = liae.paint_swap(painted["target"].code)
    torch.testing.assert_close(swapped.face, painted["source"].face, **CLOSE)
    torch.testing.assert_close(swapped.source_mask, painted["source"].mask, **CLOSE)
    torch.testing.assert_close(swapped.target_mask, painted["target"].mask, **CLOSE)
    torch.testing.assert_close(restyled, swapped.face, **CLOSE)
    torch.testing.assert_close(restyled_mask, swapped.source_mask, **CLOSE)
    torch.testing.assert_close(back.face, painted["target"].face, **CLOSE)
    torch.testing.assert_close(back.source_mask, painted["target"].mask, **CLOSE)
    torch.testing.assert_close(back.target_mask, painted["source"].mask, **CLOSE)


def test_liae_compares_what_the_shared_inter_made(liae: TwoCodes) -> None:
    target = faces_for(liae)
    with torch.no_grad():
        code = liae.reconstruct({"target": target})["target"].code
        torch.testing.assert_close(liae.compared_code(code), liae.inter_AB(liae.encoder(target)), **CLOSE)
    assert liae.person_modules() == (liae.inter_AB, liae.inter_B)
    assert liae.resting_modules_without_warp() == (liae.inter_AB,)


def test_the_source_teaches_the_shared_inter_only(liae: TwoCodes) -> None:
    liae.reconstruct({"source": faces_for(liae)})["source"].face.sum().backward()
    assert all(parameter.grad is None for parameter in liae.inter_B.parameters())
    assert all(parameter.grad is not None for parameter in liae.inter_AB.parameters())


def test_a_comb_has_a_decoder_for_each_person_and_shares_all_else() -> None:
    single, comb = tiny_df(), tiny_df(sources=3)
    assert comb.identities == ("source", "source2", "source3", "target")
    sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in comb.named_children()}
    assert set(sizes) == {"encoder", "inter", *(f"decoder_{name}" for name in comb.identities)}
    decoder = sizes["decoder_source"]
    assert sum(p.numel() for p in comb.parameters()) == sum(p.numel() for p in single.parameters()) + 2 * decoder
    assert set(single.state_dict()) < set(comb.state_dict())


def test_a_comb_paints_each_person_on_the_performer() -> None:
    comb = tiny_df(sources=2)
    target = faces_for(comb)
    with torch.no_grad():
        code = comb.encode(target)
        second, back = comb.swap(target, identity="source2"), comb.swap(target, identity="target")
        torch.testing.assert_close(second.face, comb.decoder_source2(code)[0], **CLOSE)
        torch.testing.assert_close(second.target_mask, comb.decoder_target(code)[1], **CLOSE)
        torch.testing.assert_close(back.face, comb.decoder_target(code)[0], **CLOSE)
        torch.testing.assert_close(back.target_mask, comb.decoder_source(code)[1], **CLOSE)
        painted = comb.reconstruct({name: faces_for(comb, seed) for seed, name in enumerate(comb.identities)})
        torch.testing.assert_close(
            painted["source2"].face, comb.decoder_source2(comb.encode(faces_for(comb, 1)))[0], **CLOSE
        )
    assert not torch.allclose(second.face, comb.swap(target).face, atol=1e-3)
    with pytest.raises(InvalidInput, match="source2, target"):
        comb.swap(target, identity="source3")


def test_df_keeps_its_parameter_names() -> None:
    names = set(tiny_df().state_dict())
    assert {
        "encoder.downs.3.conv.weight",
        "inter.dense1.bias",
        "inter.dense2.weight",
        "inter.upscale.conv.weight",
        "decoder_source.upscales.0.conv.weight",
        "decoder_source.residuals.2.conv2.bias",
        "decoder_target.mask_upscales.3.conv.weight",
        "decoder_target.face_head.phases.0.weight",
        "decoder_target.mask_head.weight",
    } <= names
