"""Our presets: which numbers each network is built with, and how it is trained."""

from __future__ import annotations

from dataclasses import replace

from dflcore.config.network import (
    AmpSettings,
    DeepfakesSettings,
    DfSettings,
    HdSettings,
    LiaeSettings,
    NetworkSettings,
    QuickSettings,
)
from dflcore.models.amp import AmpModel
from dflcore.models.deepfakes import DeepfakesModel
from dflcore.models.df import DfModel
from dflcore.models.face_model import FaceModel
from dflcore.models.hd import DfHdModel, LiaeHdModel
from dflcore.models.liae import LiaeModel
from dflcore.models.quick import QuickModel
from dflcore.models.registry import Preset, Recipe

QUICK_RECIPE = Recipe(
    batch_size=4,
    learning_rate=1e-3,
    beta2=0.99,
    rotation_deg=4.0,
    scale=0.03,
    shift=0.02,
    warp=0.24,
    light=0.1,
    open_end_factor=0.3,
    warp_share=0.6,
)
"""Faces arrive aligned, so they are moved just enough to forgive landmark jitter (figures: docs/measured.md)."""
PAPER_RECIPE = Recipe(
    batch_size=8,
    learning_rate=5e-5,
    optimizer="adabelief",
    beta2=0.999,
    rotation_deg=10.0,
    scale=0.15,
    shift=0.05,
    warp=0.24,
    light=0.0,
)
"""The reference's defaults for DF and LIAE."""
QUICK96_RECIPE = Recipe(
    batch_size=4,
    learning_rate=2e-4,
    optimizer="rmsprop",
    beta2=0.9,
    lr_dropout=0.7,
    rotation_deg=10.0,
    scale=0.05,
    shift=0.05,
    warp=0.24,
    light=0.0,
)
"""The reference's: RMSprop that moves 30 % of the weights in each step."""
AMP_RECIPE = replace(
    PAPER_RECIPE,
    two_windows=True,
    eyes_mouth_priority=True,
    background_weight=0.1,
    supports=frozenset({"gan"}),
)
DEEPFAKES_RECIPE = Recipe(
    batch_size=16,
    learning_rate=5e-5,
    beta1=0.5,
    beta2=0.999,
    rotation_deg=10.0,
    scale=0.05,
    shift=0.05,
    warp=0.24,
    light=0.0,
)
"""Adam as in 2017."""


def quick() -> Preset:
    """The most likeness per minute on a CPU."""
    return Preset(
        help="The most likeness per minute on a CPU.", network=QuickSettings(), build=_build_quick, recipe=QUICK_RECIPE
    )


def quick96() -> Preset:
    """The network of the reference's Quick96."""
    network = DfSettings(resolution=96, ae_dims=128, d_mask_dims=16, likeness=True, subpixel=True)
    return _df("The network of the reference's Quick96.", network, QUICK96_RECIPE)


def df() -> Preset:
    """The paper's DF network."""
    return _df("The paper's DF network: the source's likeness, and the shape of the source's face.", DfSettings())


def df_ud() -> Preset:
    """DF with the letters u and d."""
    return _df(
        "DF with the letters u and d: more likeness, half the work per painted pixel.",
        DfSettings(likeness=True, subpixel=True),
    )


def df_udt() -> Preset:
    """DF with the letters u, d and t."""
    return _df(
        "DF with the letters u, d and t: deeper, for 192 px and more.",
        DfSettings(likeness=True, subpixel=True, deep=True),
    )


def liae() -> Preset:
    """The paper's LIAE network."""
    return _liae(
        "The paper's LIAE network: keeps the light and the face shape of the performer better than DF.", LiaeSettings()
    )


def liae_ud() -> Preset:
    """LIAE with the letters u and d: the reference's default."""
    return _liae(
        "LIAE with the letters u and d, the reference's default: more likeness, half the work per painted pixel.",
        LiaeSettings(likeness=True, subpixel=True),
    )


def liae_udt() -> Preset:
    """LIAE with the letters u, d and t."""
    return _liae(
        "LIAE with the letters u, d and t: deeper, for 192 px and more.",
        LiaeSettings(likeness=True, subpixel=True, deep=True),
    )


def dfhd() -> Preset:
    """The paper's DFHD network."""
    return Preset(
        help="The paper's DFHD network: DF with more layers and shortcuts, finer and slower.",
        network=HdSettings(),
        build=_build_dfhd,
        recipe=PAPER_RECIPE,
    )


def liaehd() -> Preset:
    """The paper's LIAEHD network."""
    return Preset(
        help="The paper's LIAEHD network: LIAE with more layers and shortcuts, finer and slower.",
        network=HdSettings(),
        build=_build_liaehd,
        recipe=PAPER_RECIPE,
    )


def amp() -> Preset:
    """AMP: likeness is dialled when merging."""
    return Preset(
        help="AMP: how much of the source is put on the performer is dialled when merging.",
        network=AmpSettings(),
        build=_build_amp,
        recipe=AMP_RECIPE,
    )


def deepfakes() -> Preset:
    """The shared-encoder autoencoder of 2017."""
    return Preset(
        help="The autoencoder of 2017 that the paper compares with, at 64 px.",
        network=DeepfakesSettings(),
        build=_build_deepfakes,
        recipe=DEEPFAKES_RECIPE,
    )


def small_card() -> Preset:
    """DF for cards with 2 GB.

    Computed, not measured: weights, gradients, optimiser and remembered activations are 0.58 GiB in float32 at its
    batch of 4, and 0.49 GiB with ``checkpoint_activations``; the device's own share and work space come on top.
    """
    return _df(
        "For cards with 2 GB of memory: a narrow DF network of 128 px.",
        DfSettings(ae_dims=192, e_dims=48, d_dims=48, d_mask_dims=16, likeness=True, subpixel=True),
        replace(PAPER_RECIPE, batch_size=4),
    )


def large_card() -> Preset:
    """LIAE for cards with 24 GB.

    Computed, not measured: weights, gradients, optimiser and remembered activations are 9.9 GiB in float32 at its
    batch of 8, and 6.0 GiB with ``checkpoint_activations``; the device's own share, work space, critics and a running
    mean of the weights come on top.
    """
    return _liae(
        "For cards with 24 GB of memory: a wide LIAE network of 384 px.",
        LiaeSettings(
            resolution=384, ae_dims=384, e_dims=96, d_dims=96, d_mask_dims=32, likeness=True, subpixel=True, deep=True
        ),
    )


def _df(help: str, network: DfSettings, recipe: Recipe = PAPER_RECIPE) -> Preset:
    return Preset(help=help, network=network, build=_build_df, recipe=recipe)


def _liae(help: str, network: LiaeSettings, recipe: Recipe = PAPER_RECIPE) -> Preset:
    return Preset(help=help, network=network, build=_build_liae, recipe=recipe)


def _build_quick(settings: NetworkSettings) -> FaceModel:
    return QuickModel(**settings.values())


def _build_df(settings: NetworkSettings) -> FaceModel:
    return DfModel(**settings.values())


def _build_liae(settings: NetworkSettings) -> FaceModel:
    return LiaeModel(**settings.values())


def _build_dfhd(settings: NetworkSettings) -> FaceModel:
    return DfHdModel(**settings.values())


def _build_liaehd(settings: NetworkSettings) -> FaceModel:
    return LiaeHdModel(**settings.values())


def _build_amp(settings: NetworkSettings) -> FaceModel:
    return AmpModel(**settings.values())


def _build_deepfakes(settings: NetworkSettings) -> FaceModel:
    return DeepfakesModel(**settings.values())
