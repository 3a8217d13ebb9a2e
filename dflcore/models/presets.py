"""Our presets: which numbers each network is built with, and how it is trained."""

from __future__ import annotations

from typing import cast

from dflcore.config.network import DfSettings, NetworkSettings, QuickSettings
from dflcore.models.df import DfModel
from dflcore.models.face_model import FaceModel
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
    warp_share=0.6,
)
"""Faces arrive aligned, so they are moved just enough to forgive landmark jitter (figures: docs/measured.md)."""
PAPER_RECIPE = Recipe(
    batch_size=8,
    learning_rate=1e-4,
    beta2=0.999,
    rotation_deg=10.0,
    scale=0.15,
    shift=0.05,
    warp=0.24,
    light=0.0,
)
QUICK96_RECIPE = Recipe(
    batch_size=4,
    learning_rate=2e-4,
    beta2=0.999,
    rotation_deg=10.0,
    scale=0.05,
    shift=0.05,
    warp=0.24,
    light=0.0,
)


def quick() -> Preset:
    """The most likeness per minute on a CPU."""
    return Preset(
        help="The most likeness per minute on a CPU.", network=QuickSettings(), build=_build_quick, recipe=QUICK_RECIPE
    )


def quick96() -> Preset:
    """The network of the reference's Quick96."""
    network = DfSettings(resolution=96, ae_dims=128, d_mask_dims=16, likeness=True, subpixel=True)
    return Preset(
        help="The network of the reference's Quick96.", network=network, build=_build_df, recipe=QUICK96_RECIPE
    )


def df() -> Preset:
    """The paper's DF network."""
    return Preset(help="The paper's DF network.", network=DfSettings(), build=_build_df, recipe=PAPER_RECIPE)


def df_ud() -> Preset:
    """DF with the letters u and d."""
    return Preset(
        help="DF with the letters u and d: more likeness, half the work per painted pixel.",
        network=DfSettings(likeness=True, subpixel=True),
        build=_build_df,
        recipe=PAPER_RECIPE,
    )


def _build_quick(settings: NetworkSettings) -> FaceModel:
    values = cast("QuickSettings", settings)
    return QuickModel(
        resolution=values.resolution,
        grid_blocks=values.grid_blocks,
        code_dims=values.code_dims,
        e_dims=values.e_dims,
        coarse_dims=values.coarse_dims,
        middle_dims=values.middle_dims,
        fine_dims=values.fine_dims,
    )


def _build_df(settings: NetworkSettings) -> FaceModel:
    values = cast("DfSettings", settings)
    return DfModel(
        resolution=values.resolution,
        ae_dims=values.ae_dims,
        e_dims=values.e_dims,
        d_dims=values.d_dims,
        d_mask_dims=values.d_mask_dims,
        likeness=values.likeness,
        subpixel=values.subpixel,
    )
