"""Face models by name: our presets, and those that other packages register.

A package adds one with ``[project.entry-points."dflcore.models"] mine = "pkg.module:factory"``, where ``factory()``
returns a :class:`Preset`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dflcore.config.network import NetworkSettings
from dflcore.models.face_model import FaceModel
from dflcore.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a preset is trained unless the settings say otherwise.

    Attributes:
        batch_size: faces of each person per step.
        learning_rate: peak rate of the schedule.
        optimizer: ``adam``, ``adabelief`` or ``rmsprop``. beta1, beta2: decays of its first and second moment;
            RMSprop has the second only.
        lr_dropout: share of the weights that rests in each step. lr_cycle: period of the rate's cosine, 0 for none.
        clip_gradients: longest gradient, 0 for no limit. ema_decay: of the running mean of weights, 0 for none.
        rotation_deg, scale, shift, warp, light: symmetric ranges of augmentation; shift in sides of the face, warp in
            cells of the warp grid, light as gain.
        open_end_factor: share of the peak rate that a run without a budget trains at.
        warp_share: share of a budgeted run after which the random warp ends. Warped faces teach expressions, straight
            ones sharpness: what the encoder sees of a warped face leaves the place of every detail uncertain.
        edge_weight: weight of the edge term of the loss.
        two_windows: compare structure with two window sizes whatever the resolution.
        eyes_mouth_priority: errors in eyes and mouth count more, whatever the settings say.
        background_weight: weight of the target's surroundings in masked training; 0 leaves them to chance.
        supports: of the settings ``true_face``, ``style``, ``gan``, ``pretrain``: those that fit the network.
    """

    batch_size: int
    learning_rate: float
    optimizer: str = "adam"
    beta1: float = 0.9
    beta2: float
    lr_dropout: float = 0.0
    lr_cycle: int = 0
    clip_gradients: float = 0.0
    ema_decay: float = 0.0
    rotation_deg: float
    scale: float
    shift: float
    warp: float
    light: float
    open_end_factor: float = 1.0
    warp_share: float = 1.0
    edge_weight: float = 0.0
    two_windows: bool = False
    eyes_mouth_priority: bool = False
    background_weight: float = 0.0
    supports: frozenset[str] = frozenset({"true_face", "style", "gan", "pretrain"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A network with its numbers, and how it is trained.

    Attributes:
        help: one sentence for people who choose.
        network: default numbers; their class is the settings class of the architecture.
        build: settings of that class → an initialised model on the CPU.
        recipe: training defaults.
    """

    help: str
    network: NetworkSettings
    build: Callable[[NetworkSettings], FaceModel]
    recipe: Recipe

    def resolve_network(self, overrides: Mapping[str, object]) -> NetworkSettings:
        """The preset's numbers with some replaced.

        Raises:
            InvalidInput: an override is unknown or out of range.
        """
        return type(self.network).from_values({**self.network.values(), **overrides})


PresetFactory = Callable[[], Preset]

_PRESETS: Registry[PresetFactory] = Registry(
    "network preset",
    "dflcore.models",
    {
        "quick": "dflcore.models.presets:quick",
        "quick96": "dflcore.models.presets:quick96",
        "df": "dflcore.models.presets:df",
        "df-ud": "dflcore.models.presets:df_ud",
        "df-udt": "dflcore.models.presets:df_udt",
        "liae": "dflcore.models.presets:liae",
        "liae-ud": "dflcore.models.presets:liae_ud",
        "liae-udt": "dflcore.models.presets:liae_udt",
        "dfhd": "dflcore.models.presets:dfhd",
        "liaehd": "dflcore.models.presets:liaehd",
        "amp": "dflcore.models.presets:amp",
        "deepfakes": "dflcore.models.presets:deepfakes",
        "small-card": "dflcore.models.presets:small_card",
        "large-card": "dflcore.models.presets:large_card",
    },
)


def preset_names() -> list[str]:
    """All registered presets, ours first."""
    return _PRESETS.names()


def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        NotFound: there is none; the message lists those there are.
        Unsupported: its package cannot be imported here.
    """
    return _PRESETS.load(name)()
