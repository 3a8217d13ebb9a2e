"""Segmentation networks by name: ours, and those that other packages register.

A package adds one with ``[project.entry-points."dflcore.segment_networks"] mine = "pkg.module:factory"``, where
``factory()`` returns a :class:`SegmentPreset`. Its network is called with (B, 3, R, R) sRGB faces in [0, 1] and returns
(B, 1, R, R) logits; it takes ``use_skips=False`` for pretraining.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import nn

from dflcore.config.network import NetworkSettings
from dflcore.config.segment import TernausSettings, XSegSettings
from dflcore.models.checkpoint import ModelDescription
from dflcore.models.ternausnet import TernausNet, read_state_dict
from dflcore.models.xseg import XSeg
from dflcore.registry import Registry
from dflcore.weights.store import WeightStore

VGG11_WEIGHTS = "vgg11"
"""Name in the weight store of VGG-11 trained on ImageNet, in torchvision's layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecipe:
    """How a preset is trained.

    Attributes:
        batch_size: faces per step. learning_rate: peak of the schedule. beta2: Adam's second decay.
        overlap_weight: weight of the soft overlap (Dice) term beside the cross-entropy.
    """

    batch_size: int
    learning_rate: float
    beta2: float = 0.99
    overlap_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPreset:
    """A network with its numbers, and how it is trained.

    Attributes:
        help: one sentence for people who choose.
        network: default numbers; their class is the settings class of the architecture.
        build: settings of that class → an initialised network on the CPU.
        recipe: training defaults.
        start: puts weights learnt elsewhere into a new network where the store has them; says whether it did.
    """

    help: str
    network: NetworkSettings
    build: Callable[[NetworkSettings], nn.Module]
    recipe: SegmentRecipe
    start: Callable[[nn.Module, WeightStore], bool] | None = None

    def resolve_network(self, overrides: Mapping[str, object]) -> NetworkSettings:
        """The preset's numbers with some replaced.

        Raises:
            InvalidInput: an override is unknown or out of range.
        """
        return type(self.network).from_values({**self.network.values(), **overrides})


SegmentPresetFactory = Callable[[], SegmentPreset]

_PRESETS: Registry[SegmentPresetFactory] = Registry(
    "segmentation network",
    "dflcore.segment_networks",
    {
        "xseg-light": "dflcore.models.segment_presets:xseg_light",
        "xseg": "dflcore.models.segment_presets:xseg",
        "ternausnet": "dflcore.models.segment_presets:ternausnet",
    },
)


def segment_preset_names() -> list[str]:
    """All registered networks, ours first."""
    return _PRESETS.names()


def load_segment_preset(name: str) -> SegmentPreset:
    """The preset of that name.

    Raises:
        NotFound: there is none; the message lists those there are.
        Unsupported: its package cannot be imported here.
    """
    return _PRESETS.load(name)()


def build_segment_network(description: ModelDescription) -> nn.Module:
    """A new network as the description says, freshly initialised."""
    preset = load_segment_preset(description.preset)
    return preset.build(preset.resolve_network(description.network))


def xseg_light() -> SegmentPreset:
    """A small XSeg that two CPU cores train in a quarter of an hour."""
    return SegmentPreset(
        help="A small XSeg of 128 px that two CPU cores train in a quarter of an hour.",
        network=XSegSettings(resolution=128, base_dims=16),
        build=_build_xseg,
        recipe=SegmentRecipe(batch_size=8, learning_rate=7e-4),
    )


def xseg() -> SegmentPreset:
    """The reference's XSeg network."""
    return SegmentPreset(
        help="The reference's XSeg network of 256 px; for GPUs.",
        network=XSegSettings(),
        build=_build_xseg,
        recipe=SegmentRecipe(batch_size=8, learning_rate=5e-4),
    )


def ternausnet() -> SegmentPreset:
    """U-Net on VGG-11."""
    return SegmentPreset(
        help="U-Net on the layers of VGG-11, of 256 px; starts from ImageNet weights where they are; for GPUs.",
        network=TernausSettings(),
        build=_build_ternausnet,
        recipe=SegmentRecipe(batch_size=8, learning_rate=1e-4),
        start=_start_ternausnet,
    )


def _build_xseg(settings: NetworkSettings) -> nn.Module:
    values = cast("XSegSettings", settings)
    return XSeg(values.resolution, values.base_dims, values.bottleneck_dims)


def _build_ternausnet(settings: NetworkSettings) -> nn.Module:
    values = cast("TernausSettings", settings)
    return TernausNet(values.resolution, values.base_dims)


def _start_ternausnet(network: nn.Module, store: WeightStore) -> bool:
    """Raises DataCorrupt, InvalidInput when the weights are there but damaged or other ones."""
    model = cast("TernausNet", network)
    if model.width != _VGG11_WIDTH or VGG11_WEIGHTS not in store.names() or not store.has(VGG11_WEIGHTS):
        return False
    model.load_encoder(read_state_dict(store.find(VGG11_WEIGHTS)))
    return True


_VGG11_WIDTH = 64
