"""Detail networks by name: ours, and those that other packages register.

A package adds one with ``[project.entry-points."dflcore.detail_networks"] mine = "pkg.module:factory"``, where
``factory()`` returns a :class:`DetailPreset`. Its network is called with (B, 3, H, W) sRGB-encoded faces, and returns
them ``scale`` times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from torch import nn

from dflcore.config.detail import DetailSettings
from dflcore.config.network import NetworkSettings
from dflcore.errors import NotFound
from dflcore.models.checkpoint import Generation, ModelDescription, ModelFolder, load_weights
from dflcore.models.detail import DetailNetwork
from dflcore.progress import Notice
from dflcore.registry import Registry

DETAIL_KIND: Final = "detail"
"""Of a model's folder: it makes faces of one person clearer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailRecipe:
    """How a preset is trained.

    Attributes:
        batch_size: pieces of faces per step. crop_px: side of a piece, in pixels of the soft face.
        learning_rate: peak of the schedule. beta2: Adam's second decay.
    """

    batch_size: int
    crop_px: int
    learning_rate: float
    beta2: float = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailPreset:
    """A network with its numbers, and how it is trained.

    Attributes:
        help: one sentence for people who choose.
        network: default numbers, among them ``resolution`` and ``scale``.
        build: settings of that class → an initialised network on the CPU.
        recipe: training defaults.
    """

    help: str
    network: NetworkSettings
    build: Callable[[NetworkSettings], nn.Module]
    recipe: DetailRecipe

    def resolve_network(self, overrides: Mapping[str, object]) -> NetworkSettings:
        """The preset's numbers with some replaced.

        Raises:
            InvalidInput: an override is unknown or out of range.
        """
        return type(self.network).from_values({**self.network.values(), **overrides})


DetailPresetFactory = Callable[[], DetailPreset]

_PRESETS: Registry[DetailPresetFactory] = Registry(
    "detail network",
    "dflcore.detail_networks",
    {
        "detail": "dflcore.models.detail_presets:detail",
        "detail-wide": "dflcore.models.detail_presets:detail_wide",
    },
)


def detail_preset_names() -> list[str]:
    """All registered networks, ours first."""
    return _PRESETS.names()


def load_detail_preset(name: str) -> DetailPreset:
    """The preset of that name.

    Raises:
        NotFound: there is none; the message lists those there are.
        Unsupported: its package cannot be imported here.
    """
    return _PRESETS.load(name)()


def build_detail_network(description: ModelDescription) -> nn.Module:
    """A new network as the description says, freshly initialised."""
    preset = load_detail_preset(description.preset)
    return preset.build(preset.resolve_network(description.network))


def load_detail_model(path: Path) -> tuple[nn.Module, ModelFolder, Generation, list[Notice]]:
    """A trained network on the CPU, its folder, the generation it came from, and notices about damaged ones.

    Raises:
        NotFound: there is no model, or it has never been saved.
        InvalidInput: it is a model of another kind.
        DataCorrupt: it is damaged beyond its generations, or its weights do not fit its description.
    """
    folder = ModelFolder.open(path)
    folder.require_kind(DETAIL_KIND)
    generation, notices = folder.load(with_training=False)
    if generation is None:
        raise NotFound(
            f"The detail model {path} has never been saved; train it on the person's faces first.",
            reason="MODEL_NOT_TRAINED",
            path=path,
        )
    network = build_detail_network(folder.description)
    load_weights(network, generation, folder.path)
    return network, folder, generation, notices


def detail() -> DetailPreset:
    """Small: two CPU cores train it in minutes and use it in an eye's blink."""
    return DetailPreset(
        help="For CPUs: trained in minutes on two cores.",
        network=DetailSettings(),
        build=_build,
        recipe=DetailRecipe(batch_size=4, crop_px=128, learning_rate=3e-3),
    )


def detail_wide() -> DetailPreset:
    """For GPUs."""
    return DetailPreset(
        help="For GPUs: three times the weights, for larger faces.",
        network=DetailSettings(resolution=256, width=96, coarse_width=192, layers=3),
        build=_build,
        recipe=DetailRecipe(batch_size=8, crop_px=192, learning_rate=1e-3),
    )


def _build(settings: NetworkSettings) -> nn.Module:
    values = cast("DetailSettings", settings)
    return DetailNetwork(values.resolution, values.scale, values.width, values.coarse_width, values.layers)
