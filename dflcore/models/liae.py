"""The paper's LIAE network: one encoder and decoder, two inters; letters ``u``, ``d``, ``t``, ``c``.

Source: architecture facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); paper arXiv:2005.05535, §3.2.
"""

from __future__ import annotations

from dflcore.models.autoencoder import Decoder, Encoder, Inter, Letters
from dflcore.models.blocks import initialize_glorot
from dflcore.models.wirings import TwoCodes


class LiaeModel(TwoCodes):
    """The LIAE face model.

    Args:
        resolution: side of the face in pixels; a multiple of 16, of 32 with ``subpixel`` or ``deep``.
        ae_dims: width of the bottlenecks; each of the two codes is twice as wide.
        e_dims, d_dims, d_mask_dims: width of the encoder, the face branch and the mask branch of the decoder.
        likeness, subpixel, deep, cosine: letters u, d, t, c; see :class:`~dflcore.models.autoencoder.Letters`.

    Raises:
        InvalidInput: the resolution does not fit the network.
    """

    def __init__(
        self,
        *,
        resolution: int,
        ae_dims: int,
        e_dims: int,
        d_dims: int,
        d_mask_dims: int,
        likeness: bool = False,
        subpixel: bool = False,
        deep: bool = False,
        cosine: bool = False,
    ) -> None:
        letters = Letters(likeness=likeness, subpixel=subpixel, deep=deep, cosine=cosine)
        letters.require_resolution(resolution)
        encoder = Encoder(e_dims, letters)
        inter_ab, inter_b = (
            Inter(encoder.flat_size(resolution), ae_dims, ae_dims * 2, resolution, letters) for _ in range(2)
        )
        decoder = Decoder(ae_dims * 4, d_dims, d_mask_dims, letters)
        super().__init__(resolution, encoder, inter_ab, inter_b, decoder)
        initialize_glorot(self)
