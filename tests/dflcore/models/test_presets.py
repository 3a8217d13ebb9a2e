"""Presets: sizes of the reference, resolutions, what each is trained with."""

import pytest
import torch
from torch import nn

from dflcore.config.network import DfSettings, LiaeSettings, QuickSettings
from dflcore.errors import InvalidInput, NotFound
from dflcore.models.face_model import FaceModel
from dflcore.models.registry import load_preset, preset_names

OURS = [
    *("quick", "quick96", "df", "df-ud", "df-udt", "liae", "liae-ud", "liae-udt", "dfhd", "liaehd", "amp"),
    *("deepfakes", "small-card", "large-card"),
]


def build(preset: str, **numbers: object) -> FaceModel:
    """On the meta device: sizes without memory."""
    chosen = load_preset(preset)
    with torch.device("meta"):
        return chosen.build(chosen.resolve_network(numbers))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("preset", "resolution", "encoder", "inter", "decoder", "total"),
    [
        ("liae-ud", 128, 4_306_560, 19_933_440, 38_203_115, 82_376_555),
        ("liae", 128, 4_306_560, 26_249_472, 38_157_824, 94_963_328),
        ("liae-udt", 128, 15_654_144, 4_202_752, 53_477_803, 77_537_451),
        ("liae-udt", 224, 15_654_144, 12_870_400, 53_477_803, 94_872_747),
        ("liae-ud", 224, 4_306_560, 41_577_216, 38_203_115, 125_664_107),
        ("liae-udt", 256, 15_654_144, 16_810_240, 53_477_803, 102_752_427),
        ("liae-udt", 320, 15_654_144, 26_265_856, 53_477_803, 121_663_659),
        ("liae-udt", 416, 15_654_144, 44_389_120, 53_477_803, 157_910_187),
        ("df-ud", 128, 4_306_560, 11_801_856, 19_181_291, 54_470_998),
        ("df", 128, 4_306_560, 14_959_872, 19_136_000, 57_538_432),
        ("df-udt", 128, 15_654_144, 3_150_080, 34_455_979, 87_716_182),
        ("df-ud", 256, 4_306_560, 40_125_696, 19_181_291, 82_794_838),
        ("quick96", 96, 4_306_560, 3_098_368, 15_444_701, 38_294_330),
        ("amp", 224, 22_076_928, 12_895_232, 53_477_803, 101_345_195),
    ],
)
def test_parameter_counts_of_the_reference(
    preset: str, resolution: int, encoder: int, inter: int, decoder: int, total: int
) -> None:
    model = build(preset, resolution=resolution)
    parts = {name: count(child) for name, child in model.named_children()}
    assert count(model) == total == sum(parts.values())
    assert parts["encoder"] == encoder
    assert {size for name, size in parts.items() if name.startswith("inter")} == {inter}
    assert {size for name, size in parts.items() if name.startswith("decoder")} == {decoder}


def test_the_autoencoder_of_2017_has_the_sizes_of_2017() -> None:
    model = build("deepfakes")
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    widths = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in convolutions]
    assert widths[:5] == [(3, 128, 5), (128, 256, 5), (256, 512, 5), (512, 1024, 5), (1024, 2048, 3)]
    dense = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert dense == [(16384, 1024), (1024, 16384)]
    face = [(512, 1024, 3), (256, 512, 3), (128, 256, 3), (64, 3, 5)]
    assert [one for one in widths if one in face] == face * 2


@pytest.mark.parametrize("preset", OURS)
def test_every_preset_paints_at_its_own_size(preset: str) -> None:
    model = build(preset)
    side = model.resolution
    faces = {identity: torch.empty(1, 3, side, side, device="meta") for identity in model.identities}
    for painted in model.reconstruct(faces).values():
        assert painted.face.shape == (1, 3, side, side)
        assert painted.mask.shape == (1, 1, side, side)


def test_df_presets_take_several_sources() -> None:
    assert build("df-ud", sources=3).identities == ("source", "source2", "source3", "target")
    with pytest.raises(InvalidInput, match="sources"):
        load_preset("liae").resolve_network({"sources": 2})


@pytest.mark.parametrize("preset", ["df-udt", "liae", "dfhd", "amp", "deepfakes"])
def test_networks_reach_1024_px(preset: str) -> None:
    model = build(preset, resolution=1024)
    face = torch.empty(1, 3, 1024, 1024, device="meta")
    assert model.swap(face).face.shape == face.shape


@pytest.mark.parametrize(
    ("preset", "numbers", "step"),
    [
        ("quick", {"resolution": 120}, 32),
        ("df", {"resolution": 120}, 16),
        ("df-ud", {"resolution": 144}, 32),
        ("df", {"resolution": 144, "deep": True}, 32),
        ("liae", {"resolution": 144, "deep": True}, 32),
        ("liae-ud", {"resolution": 176}, 32),
        ("dfhd", {"resolution": 120}, 16),
        ("liaehd", {"resolution": 120}, 16),
        ("amp", {"resolution": 240}, 32),
        ("deepfakes", {"resolution": 72}, 16),
    ],
)
def test_a_resolution_that_does_not_fit_is_refused(preset: str, numbers: dict[str, object], step: int) -> None:
    with pytest.raises(InvalidInput, match=f"use a multiple of {step}") as caught:
        build(preset, **numbers)
    assert caught.value.reason == "BAD_RESOLUTION"


@pytest.mark.parametrize("numbers", [{"ae_dims": 30}, {"e_dims": 20}, {"d_dims": 9}])
@pytest.mark.parametrize("preset", ["dfhd", "liaehd"])
def test_hd_widths_that_sub_pixels_do_not_fit_are_refused(preset: str, numbers: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(numbers))):
        build(preset, **numbers)


def test_a_resolution_beyond_1024_px_is_refused() -> None:
    with pytest.raises(InvalidInput, match="resolution"):
        load_preset("df").resolve_network({"resolution": 1040})


def test_unknown_preset_and_unknown_number() -> None:
    assert preset_names()[: len(OURS)] == OURS
    with pytest.raises(NotFound, match="quick96"):
        load_preset("quick97")
    with pytest.raises(InvalidInput, match="wings"):
        load_preset("quick").resolve_network({"wings": 2})


def test_presets_carry_their_own_settings_class() -> None:
    assert isinstance(load_preset("quick").network, QuickSettings)
    assert isinstance(load_preset("df-ud").network, DfSettings)
    assert isinstance(load_preset("large-card").network, LiaeSettings)


def test_help_is_one_sentence_each() -> None:
    sentences = [load_preset(name).help for name in OURS]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)


@pytest.mark.parametrize("preset", ["df", "df-ud", "df-udt", "liae", "liae-ud", "liae-udt", "dfhd", "liaehd"])
def test_papers_networks_take_every_loss(preset: str) -> None:
    recipe = load_preset(preset).recipe
    assert recipe.supports == {"true_face", "style", "gan", "pretrain"}
    assert (recipe.optimizer, recipe.learning_rate, recipe.beta2) == ("adabelief", 5e-5, 0.999)


def test_amp_is_trained_as_it_needs() -> None:
    recipe = load_preset("amp").recipe
    assert recipe.supports == {"gan"}
    assert recipe.two_windows
    assert recipe.eyes_mouth_priority
    assert recipe.background_weight == 0.1


@pytest.mark.parametrize(
    ("preset", "card_gib", "share"), [("small-card", 2, 0.5), ("large-card", 24, 0.5)], ids=["2 GB", "24 GB"]
)
def test_card_presets_leave_room(preset: str, card_gib: int, share: float) -> None:
    """Weights, gradients, two moments and what is remembered for the backward pass, in float32."""
    model = build(preset)
    batch = load_preset(preset).recipe.batch_size
    faces = {
        identity: torch.empty(batch, 3, model.resolution, model.resolution, device="meta")
        for identity in model.identities
    }
    parameters = {id(parameter) for parameter in model.parameters()}
    remembered: dict[int, torch.UntypedStorage] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in parameters and id(tensor._base) not in parameters:
            storage = tensor.untyped_storage()
            remembered[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        painted = model.reconstruct(faces)
    assert painted
    total = 16 * count(model) + sum(storage.nbytes() for storage in remembered.values())
    assert total / 2**30 < card_gib * share
