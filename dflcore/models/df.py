"""The paper's DF network: shared encoder and inter, one decoder per identity; letters ``u``, ``d``, ``t``, ``c``.

Source: architecture facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); paper arXiv:2005.05535, §3.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from dflcore.models.autoencoder import Decoder, Encoder, Inter, Letters
from dflcore.models.blocks import initialize_glorot
from dflcore.models.wirings import OneCode


class DfModel(OneCode):
    """The DF face model.

    Args:
        resolution: side of the face in pixels; a multiple of 16, of 32 with ``subpixel`` or ``deep``.
        ae_dims: width of the bottleneck.
        e_dims, d_dims, d_mask_dims: width of the encoder, the face branch and the mask branch of the decoders.
        likeness, subpixel, deep, cosine: letters u, d, t, c; see :class:`~dflcore.models.autoencoder.Letters`.
        sources: people with a decoder besides the target.

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
        sources: int = 1,
    ) -> None:
        super().__init__()
        letters = Letters(likeness=likeness, subpixel=subpixel, deep=deep, cosine=cosine)
        letters.require_resolution(resolution)
        self.resolution = resolution
        self.encoder = Encoder(e_dims, letters)
        self.inter = Inter(self.encoder.flat_size(resolution), ae_dims, ae_dims, resolution, letters)
        self.add_decoders(sources, lambda: Decoder(ae_dims, d_dims, d_mask_dims, letters))
        initialize_glorot(self)

    def encode(self, faces: Tensor) -> Tensor:
        return self.inter(self.encoder(faces))  # type: ignore[no-any-return]

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.inter,)
