"""AMP: two codes of the same face, mixed channel by channel, so that likeness can be dialled when merging.

Source: architecture facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dflcore.errors import InvalidInput, Unsupported
from dflcore.models.autoencoder import Decoder, Encoder, Letters
from dflcore.models.blocks import initialize_glorot
from dflcore.models.face_model import SOURCE, TARGET, FaceModel, Painted, Swap
from dflcore.models.wirings import join_people, split_people

_LETTERS = Letters(likeness=True, subpixel=True, deep=True)


class AmpEncoder(nn.Module):
    """Shared by both: (B, 3, R, R) in [0, 1] → (B, ae)."""

    def __init__(self, resolution: int, width: int, code_width: int) -> None:
        super().__init__()
        self.levels = Encoder(width, _LETTERS)
        self.dense = nn.Linear(self.levels.flat_size(resolution), code_width)

    def forward(self, face: Tensor) -> Tensor:
        return self.dense(self.levels(face))  # type: ignore[no-any-return]


class AmpInter(nn.Module):
    """One person's code: (B, ae) → (B, inter, s, s)."""

    def __init__(self, code_width: int, width: int, side: int) -> None:
        super().__init__()
        self.width, self.side = width, side
        self.dense = nn.Linear(code_width, width * side * side)

    def forward(self, flat: Tensor) -> Tensor:
        return self.dense(flat).view(-1, self.width, self.side, self.side)  # type: ignore[no-any-return]


class AmpModel(FaceModel):
    """The AMP face model. With E the encoder, S and T the two inters, D the decoder, s = R / 32::

        target            D(T(E target))
        source            D(channels of S(E source) and of T(E source), switched at random)
        swap at morph v   D(the first int(v inter_dims) channels of S(E target), the others of T(E target))

    While training, each picture draws which int(``morph_factor`` ``inter_dims``) channels come from S, from torch's
    default generator of the CPU; otherwise it is the first ones, so that the same picture is always painted the same.

    The inters learn here as everything else does. The reference hands its optimiser the encoder and the decoder only,
    so that its inters stay as random as they began.

    There is no ``paint_swap``: style losses do not fit, because how much of the source a swap shows is dialled later.

    Args:
        resolution: side of the face in pixels, a multiple of 32.
        ae_dims: width of the encoder's end. inter_dims: channels of each code.
        e_dims, d_dims, d_mask_dims: width of the encoder, the face branch and the mask branch of the decoder.
        morph_factor: share of the source's code that its own inter gives while training.

    Raises:
        InvalidInput: the resolution does not fit the network.
    """

    has_morph = True

    def __init__(
        self,
        *,
        resolution: int,
        ae_dims: int,
        inter_dims: int,
        e_dims: int,
        d_dims: int,
        d_mask_dims: int,
        morph_factor: float,
    ) -> None:
        super().__init__()
        _LETTERS.require_resolution(resolution)
        self.resolution = resolution
        self.morph_factor = morph_factor
        side = resolution // _LETTERS.inter_step
        self.encoder = AmpEncoder(resolution, e_dims, ae_dims)
        self.inter_source = AmpInter(ae_dims, inter_dims, side)
        self.inter_target = AmpInter(ae_dims, inter_dims, side)
        self.decoder = Decoder(inter_dims, d_dims, d_mask_dims, _LETTERS)
        initialize_glorot(self)

    def reconstruct(self, faces: Mapping[str, Tensor]) -> dict[str, Painted]:
        flat = self.encoder(join_people(self, faces))  # one pass for both people, here and in the decoder
        performed: Tensor = self.inter_target(flat)
        people = zip(faces, split_people(flat, faces), split_people(performed, faces), strict=True)
        codes = torch.cat(
            [code if identity == TARGET else self._mix_source(mine, code) for identity, mine, code in people]
        )
        face, mask = self.decoder(codes)
        parts = (split_people(tensor, faces) for tensor in (face, mask, codes))
        return {identity: Painted(*tensors) for identity, *tensors in zip(faces, *parts, strict=True)}

    def paint_swap(self, target_code: Tensor) -> tuple[Tensor, Tensor]:
        """Raises Unsupported: a code of the target does not say what the source's inter would have made."""
        raise Unsupported(
            "AMP takes no style losses: how much of the source a swap shows is chosen when merging. "
            "Set face and background style to 0, or choose a df or liae preset.",
            reason="NO_STYLE_LOSSES",
            field="face_style_power",
        )

    def swap(self, faces: Tensor, *, identity: str = SOURCE, morph: float | Tensor = 1.0) -> Swap:
        """As the class says; exporters give the morph factor as a tensor, of one number or of one per face."""
        self.require_identity(identity)
        self.require_faces(faces)
        if not isinstance(morph, Tensor) and not 0.0 <= morph <= 1.0:
            raise InvalidInput(f"The morph factor is 0 to 1, not {morph:g}.", reason="BAD_MORPH", field="morph")
        flat = self.encoder(faces)
        source, target = self.inter_source(flat), self.inter_target(flat)
        painted = mix_codes(source, target, morph if identity == SOURCE else 1.0 - morph)
        performer = target if identity == SOURCE else mix_codes(source, target, self.morph_factor)
        face, mask = self.decoder(painted)
        return Swap(face, mask, self.decoder.paint_mask(performer))

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.inter_source, self.inter_target)

    def _mix_source(self, flat: Tensor, performed: Tensor) -> Tensor:
        """The code the source is painted from, of its encoded pictures and what the target's inter made of them."""
        own: Tensor = self.inter_source(flat)
        if not self.training:
            return mix_codes(own, performed, self.morph_factor)
        batch, channels = own.shape[:2]
        switch = draw_switch(batch, channels, int(channels * self.morph_factor)).to(own.device)
        return torch.where(switch[:, :, None, None], own, performed)


def mix_codes(source: Tensor, target: Tensor, share: float | Tensor) -> Tensor:
    """The first int(``share`` C) channels of the source's code, the others of the target's.

    Args:
        source, target: (B, C, h, w).
        share: 0..1; a tensor holds one number, or one per face.
    """
    channels = source.shape[1]
    if isinstance(share, Tensor):
        numbers = torch.arange(1, channels + 1, device=source.device)
        is_source = numbers <= share.reshape(-1, 1) * channels
        return torch.where(is_source[:, :, None, None], source, target)
    count = int(channels * share)
    return torch.cat([source[:, :count], target[:, count:]], dim=1)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def draw_switch(batch: int, channels: int, count: int) -> Tensor:
    """(batch, channels) bool on the CPU: in every row ``count`` channels are on, all choices alike.

    It is drawn outside of compiled code, which would draw other numbers.
    """
    return torch.rand(batch, channels).argsort(dim=1) < count
