"""Segmentation networks: the reference's numbers, the laws of their layers, and weights that start them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dflcore.config.segment import TernausSettings, XSegSettings
from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.models.checkpoint import SEGMENT_KIND, ModelDescription, ModelFolder, load_model
from dflcore.models.segment_presets import (
    VGG11_WEIGHTS,
    build_segment_network,
    load_segment_preset,
    segment_preset_names,
)
from dflcore.models.ternausnet import VGG11_CONVOLUTIONS, TernausNet, read_state_dict
from dflcore.models.xseg import BlurPool, FilterResponseNorm, ThresholdedUnit, UpBlock, XSeg
from dflcore.types import FaceType
from dflcore.weights.store import WeightStore


def parameter_count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def vgg11_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Named and shaped as torchvision's, dense layers included; values are random."""
    generator = torch.Generator().manual_seed(seed)
    widths = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    tensors = {"classifier.6.bias": torch.zeros(1000)}
    for place, before, after in zip(VGG11_CONVOLUTIONS, widths[:-1], widths[1:], strict=True):
        tensors[f"features.{place}.weight"] = torch.randn(after, before, 3, 3, generator=generator)
        tensors[f"features.{place}.bias"] = torch.randn(after, generator=generator)
    return tensors


def test_the_reference_network_has_the_reference_count() -> None:
    assert parameter_count(load_segment_preset("xseg").build(XSegSettings())) == 17_569_317


@pytest.mark.parametrize("make", [XSeg, TernausNet])
@pytest.mark.parametrize("resolution", [64, 128])
def test_one_logit_per_pixel_with_and_without_skips(make: type[torch.nn.Module], resolution: int) -> None:
    torch.manual_seed(3)
    network = make(resolution, 4)
    faces = torch.rand(2, 3, network.resolution, network.resolution)
    with torch.no_grad():
        together = network(faces)
        assert together.shape == (2, 1, network.resolution, network.resolution)
        torch.testing.assert_close(network(faces[:1]), together[:1], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(network(faces, use_skips=False), together)


def test_without_skips_nothing_passes_beside_the_bottleneck() -> None:
    network = XSeg(64, 4, 16)
    with torch.no_grad():
        network.dense_in.weight.zero_()
        first, second = network(torch.rand(2, 3, 64, 64), use_skips=False)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(("make", "resolution"), [(XSeg, 96), (XSeg, 0), (TernausNet, 48)])
def test_a_resolution_that_does_not_fit_is_refused(make: type[torch.nn.Module], resolution: int) -> None:
    with pytest.raises(InvalidInput, match="multiple of"):
        make(resolution)


def test_filter_response_norm_is_its_formula() -> None:
    torch.manual_seed(1)
    norm = FilterResponseNorm(3)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(-1.0, 1.0)
        norm.epsilon.fill_(-0.01)  # the size counts, not the sign
    x = torch.randn(2, 3, 5, 7) * 4
    for sample in range(2):
        for channel in range(3):
            plane = x[sample, channel]
            power = sum(float(value) ** 2 for value in plane.flatten()) / 35
            expected = plane / (power + 0.01) ** 0.5 * norm.weight[channel] + norm.bias[channel]
            torch.testing.assert_close(norm(x)[sample, channel], expected)
    with torch.no_grad():
        norm.bias.zero_()
        norm.epsilon.zero_()
    torch.testing.assert_close(norm(x * 9), norm(x))


def test_thresholded_unit_is_a_floor_per_channel() -> None:
    unit = ThresholdedUnit(2)
    with torch.no_grad():
        unit.tau.copy_(torch.tensor([-1.0, 0.5]))
    x = torch.tensor([-2.0, -0.5, 3.0]).view(1, 1, 1, 3).expand(1, 2, 1, 3)
    expected = torch.tensor([[-1.0, -0.5, 3.0], [0.5, 0.5, 3.0]]).view(1, 2, 1, 3)
    torch.testing.assert_close(unit(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("taps", [2, 3, 4])
def test_blur_pool_keeps_flat_pictures_and_halves(taps: int) -> None:
    pool = BlurPool(3, taps)
    torch.testing.assert_close(pool.kernel.sum(dim=(1, 2, 3)), torch.ones(3))
    halved = pool(torch.full((1, 3, 8, 12), 0.7))
    assert halved.shape == (1, 3, 4, 6)
    torch.testing.assert_close(halved[:, :, 1:-1, 1:-1], torch.full((1, 3, 2, 4), 0.7))
    if taps == 2:
        x = torch.rand(1, 3, 8, 8)
        torch.testing.assert_close(pool(x), F.avg_pool2d(x, 2))


def test_up_block_cuts_bottom_and_right() -> None:
    block = UpBlock(1, 1)
    with torch.no_grad():
        block.conv.weight.copy_(torch.arange(9.0).view(1, 1, 3, 3))
        block.conv.bias.zero_()
        raised = block.conv(torch.ones(1, 1, 1, 1))
        assert raised.shape == (1, 1, 3, 3)
        assert block(torch.ones(1, 1, 4, 5)).shape == (1, 1, 8, 10)
        block.norm.epsilon.zero_()
        kept = block(torch.ones(1, 1, 1, 1)).flatten()
    torch.testing.assert_close(kept / kept[1], torch.tensor([0.0, 1.0, 3.0, 4.0]))


@pytest.mark.parametrize("format_name", ["safetensors", "pth"])
def test_ternausnet_starts_from_vgg11(tmp_path: Path, format_name: str) -> None:
    tensors = vgg11_tensors()
    path = tmp_path / f"vgg11.{format_name}"
    if format_name == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    network = TernausNet(32)
    network.load_encoder(read_state_dict(path))
    torch.testing.assert_close(network.encoders[0][0].weight, tensors["features.0.weight"])
    torch.testing.assert_close(network.encoders[4][2].bias, tensors["features.18.bias"])


def test_weights_of_another_network_are_named() -> None:
    tensors = vgg11_tensors()
    del tensors["features.11.weight"]
    with pytest.raises(InvalidInput, match=r"features\.11\.weight is missing"):
        TernausNet(32).load_encoder(tensors)
    with pytest.raises(InvalidInput, match=r"features\.0\.weight is of shape \(64, 3, 3, 3\)"):
        TernausNet(32, 8).load_encoder(vgg11_tensors())


class _Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a weight file ran code",))


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(_Hostile(), 2), b"", b"no weights at all", pickle.dumps([1, 2], 2)],
    ids=["hostile", "empty", "text", "list"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_hostile_or_damaged_weights_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"vgg11{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataCorrupt, match="vgg11"):
        read_state_dict(path)


def test_missing_weights_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_state_dict(tmp_path / "nothing.pth")


def test_a_preset_takes_start_weights_from_the_store_when_they_are_there(tmp_path: Path) -> None:
    preset = load_segment_preset("ternausnet")
    assert preset.start is not None
    network = preset.build(TernausSettings(resolution=32))
    assert not preset.start(network, WeightStore([tmp_path]))
    index = tmp_path / "index.toml"
    index.write_text(
        f'[{VGG11_WEIGHTS}]\nfile = "vgg11.safetensors"\nsha256 = ""\nsize = 0\nlicence = ""\norigin = ""\nurl = ""\n'
    )
    tensors = vgg11_tensors()
    save_file(tensors, tmp_path / "vgg11.safetensors")
    assert preset.start(network, WeightStore([tmp_path], index=index))
    torch.testing.assert_close(network.encoders[0][0].weight, tensors["features.0.weight"])


def test_presets_and_unknown_names() -> None:
    assert segment_preset_names()[:3] == ["xseg-light", "xseg", "ternausnet"]
    with pytest.raises(NotFound, match="xseg-light"):
        load_segment_preset("xseq")
    with pytest.raises(InvalidInput, match="wings"):
        load_segment_preset("xseg").resolve_network({"wings": 2})


def test_a_segmentation_model_is_not_taken_for_a_face_model(tmp_path: Path) -> None:
    network = XSegSettings(resolution=64, base_dims=4, bottleneck_dims=16).values()
    description = ModelDescription(preset="xseg", network=network, face_type=FaceType.WHOLE, kind=SEGMENT_KIND)
    ModelFolder.create(tmp_path / "masks", description)
    opened = ModelFolder.open(tmp_path / "masks")
    assert opened.description == description
    assert build_segment_network(opened.description).resolution == 64
    with pytest.raises(InvalidInput, match="is a segmentation model, where a face model") as caught:
        load_model(tmp_path / "masks")
    assert caught.value.reason == "WRONG_MODEL_KIND"
