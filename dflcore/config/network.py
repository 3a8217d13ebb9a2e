"""Settings of the face networks. All are fixed once a model has been created and are kept in its folder."""

from __future__ import annotations

from dflcore.config.base import Settings
from dflcore.config.knobs import Audience, knob


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


class AutoencoderSettings(NetworkSettings):
    """The paper's DF and LIAE networks; the names of the widths are the reference's own."""

    ae_dims: int = knob(256, "Width of the bottleneck.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True)
    e_dims: int = knob(64, "Width of the encoder.", ge=8, le=512, audience=Audience.TD, fixed_once_trained=True)
    d_dims: int = knob(64, "Width of the decoders.", ge=8, le=512, audience=Audience.TD, fixed_once_trained=True)
    d_mask_dims: int = knob(
        22, "Width of the decoders' mask branch.", ge=2, le=512, audience=Audience.TD, fixed_once_trained=True
    )
    likeness: bool = knob(
        False, "Letter u: normalise the code, for more likeness.", audience=Audience.TD, fixed_once_trained=True
    )
    subpixel: bool = knob(
        False, "Letter d: half the work per painted pixel.", audience=Audience.TD, fixed_once_trained=True
    )
    deep: bool = knob(
        False, "Letter t: one more level, with shortcuts in the encoder.", audience=Audience.TD, fixed_once_trained=True
    )
    cosine: bool = knob(False, "Letter c: x cos(x) as activation.", audience=Audience.TD, fixed_once_trained=True)


class DfSettings(AutoencoderSettings):
    """The paper's DF network: one decoder per person."""

    sources: int = knob(
        1,
        "People the model can put on the performer; they share everything but a decoder each.",
        ge=1,
        le=16,
        fixed_once_trained=True,
    )


class LiaeSettings(AutoencoderSettings):
    """The paper's LIAE network: one decoder, and a code in two parts."""


class HdSettings(NetworkSettings):
    """The paper's DFHD and LIAEHD networks."""

    ae_dims: int = knob(256, "Width of the bottleneck.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True)
    e_dims: int = knob(64, "Width of the encoder.", ge=8, le=512, audience=Audience.TD, fixed_once_trained=True)
    d_dims: int = knob(48, "Width of the decoders.", ge=8, le=512, audience=Audience.TD, fixed_once_trained=True)
    d_mask_dims: int = knob(
        16, "Width of the decoders' mask branch.", ge=2, le=512, audience=Audience.TD, fixed_once_trained=True
    )


class AmpSettings(NetworkSettings):
    """AMP: two codes, mixed channel by channel, so that likeness can be dialled when merging."""

    resolution: int = knob(
        224, "Side of the face the network paints.", ge=32, le=1024, unit="px", fixed_once_trained=True
    )
    ae_dims: int = knob(256, "Width of the bottleneck.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True)
    inter_dims: int = knob(
        1024, "Width of the two codes.", ge=32, le=2048, audience=Audience.TD, fixed_once_trained=True
    )
    e_dims: int = knob(64, "Width of the encoder.", ge=8, le=512, audience=Audience.TD, fixed_once_trained=True)
    d_dims: int = knob(64, "Width of the decoder.", ge=8, le=512, audience=Audience.TD, fixed_once_trained=True)
    d_mask_dims: int = knob(
        22, "Width of the decoder's mask branch.", ge=2, le=512, audience=Audience.TD, fixed_once_trained=True
    )
    morph_factor: float = knob(
        0.5, "Share of the code that the source claims while training.", ge=0.1, le=0.5, fixed_once_trained=True
    )


class DeepfakesSettings(NetworkSettings):
    """The shared-encoder autoencoder of 2017, the paper's baseline."""

    resolution: int = knob(
        64, "Side of the face the network paints.", ge=32, le=1024, unit="px", fixed_once_trained=True
    )
    ae_dims: int = knob(1024, "Width of the bottleneck.", ge=16, le=2048, audience=Audience.TD, fixed_once_trained=True)
