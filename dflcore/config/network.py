"""Settings of the face networks. All are fixed once a model has been created and are kept in its folder."""

from __future__ import annotations

from dflcore.config.base import Audience, Settings, knob


class NetworkSettings(Settings):
    """What every network is told."""

    resolution: int = knob(
        128, "Side of the face the network paints.", ge=32, le=1024, unit="px", fixed_once_trained=True
    )


class QuickSettings(NetworkSettings):
    """The network made for CPUs."""

    resolution: int = knob(
        192, "Side of the face the network paints.", ge=32, le=1024, unit="px", fixed_once_trained=True
    )
    grid_blocks: int = knob(
        32,
        "Blocks of pixels along each side, painted at once; the resolution is a multiple of it.",
        ge=4,
        le=256,
        audience=Audience.TD,
        fixed_once_trained=True,
    )
    code_dims: int = knob(
        256, "Width of the bottleneck.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True
    )
    e_dims: int = knob(
        64, "Width of the encoder's first layer.", ge=8, le=512, audience=Audience.TD, fixed_once_trained=True
    )
    coarse_dims: int = knob(
        256, "Decoder width at the coarsest grid.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True
    )
    middle_dims: int = knob(
        128, "Decoder width at the middle grid.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True
    )
    fine_dims: int = knob(
        96, "Decoder width at the finest grid.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True
    )


class DfSettings(NetworkSettings):
    """The paper's DF network; the names of the widths are the reference's own."""

    ae_dims: int = knob(256, "Width of the bottleneck.", ge=16, le=1024, audience=Audience.TD, fixed_once_trained=True)
    e_dims: int = knob(64, "Width of the encoder.", ge=8, le=256, audience=Audience.TD, fixed_once_trained=True)
    d_dims: int = knob(64, "Width of the decoders.", ge=8, le=256, audience=Audience.TD, fixed_once_trained=True)
    d_mask_dims: int = knob(
        22, "Width of the decoders' mask branch.", ge=2, le=256, audience=Audience.TD, fixed_once_trained=True
    )
    likeness: bool = knob(
        False, "Letter u: normalise the code, for more likeness.", audience=Audience.TD, fixed_once_trained=True
    )
    subpixel: bool = knob(
        False, "Letter d: half the work per painted pixel.", audience=Audience.TD, fixed_once_trained=True
    )
