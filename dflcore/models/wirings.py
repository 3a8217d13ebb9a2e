"""How the parts of a face model are wired: who shares what.

``OneCode`` (the paper's DF): one encoder and one code for everybody, a decoder for each person.
``TwoCodes`` (the paper's LIAE): one encoder and one decoder, and two codes, of which the source has only one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from dflcore.models.autoencoder import FaceDecoder
from dflcore.models.face_model import SOURCE, TARGET, FaceModel, Painted, Swap, performer_of


def name_identities(sources: int) -> tuple[str, ...]:
    """``source``, ``source2``, ``source3``... as many as there are, then ``target``."""
    return (SOURCE, *(f"{SOURCE}{number}" for number in range(2, sources + 1)), TARGET)


class OneCode(FaceModel):
    """One code for everybody, a decoder for each person: what a decoder paints is that person, whoever is shown.

    With several sources (the comb of Naruniec et al., High-Resolution Neural Face Swapping for Visual Effects, 2020)
    each has a decoder too and shares all else.
    """

    def add_decoders(self, sources: int, build: Callable[[], nn.Module]) -> None:
        """Give everybody a decoder; its parameters are named ``decoder_`` and the identity."""
        self.identities = name_identities(sources)
        for identity in self.identities:
            self.add_module(_decoder_name(identity), build())

    @abstractmethod
    def encode(self, faces: Tensor) -> Tensor:
        """(B, 3, R, R) in [0, 1] → the code (B, C, h, w) that every decoder paints from."""

    def decoder_of(self, identity: str) -> FaceDecoder:
        """Raises InvalidInput for somebody the model does not know."""
        self.require_identity(identity)
        return self.get_submodule(_decoder_name(identity))  # type: ignore[return-value]

    def reconstruct(self, faces: Mapping[str, Tensor]) -> dict[str, Painted]:
        codes = self.encode(join_people(self, faces))  # one pass through the shared part
        painted = {}
        for identity, code in zip(faces, split_people(codes, faces), strict=True):
            face, mask = self.decoder_of(identity)(code)
            painted[identity] = Painted(face, mask, code)
        return painted

    def paint_swap(self, target_code: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder_of(SOURCE)(target_code)  # type: ignore[no-any-return]

    def swap(self, faces: Tensor, *, identity: str = SOURCE, morph: float = 1.0) -> Swap:
        self.require_faces(faces)
        code = self.encode(faces)
        face, mask = self.decoder_of(identity)(code)
        return Swap(face, mask, self.decoder_of(performer_of(identity)).paint_mask(code))


class TwoCodes(FaceModel):
    """One decoder for both people, and a code in two parts: ``inter_AB`` knows both, ``inter_B`` the target alone.

    With E the encoder, D the decoder and ‖ the concatenation of channels::

        source         D(AB(E source) ‖ AB(E source))
        target         D( B(E target) ‖ AB(E target))
        swap           D(AB(E target) ‖ AB(E target))

    The paper writes the target's code the other way round; this is the order of the reference's weights. While faces
    are not warped ``inter_AB`` rests, which keeps the source's likeness.

    Args:
        encoder: face → (B, flat). inter_AB, inter_B: (B, flat) → (B, C, h, w). decoder: (B, 2 C, h, w) → face, mask.
    """

    def __init__(
        self,
        resolution: int,
        encoder: nn.Module,
        inter_AB: nn.Module,
        inter_B: nn.Module,
        decoder: FaceDecoder,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.encoder = encoder
        self.inter_AB = inter_AB
        self.inter_B = inter_B
        self.decoder = decoder

    def reconstruct(self, faces: Mapping[str, Tensor]) -> dict[str, Painted]:
        flat = self.encoder(join_people(self, faces))  # one pass for both people, here and in the decoder
        shared: Tensor = self.inter_AB(flat)
        people = zip(faces, split_people(flat, faces), split_people(shared, faces), strict=True)
        codes = torch.cat([self._code_of(*person) for person in people])
        face, mask = self.decoder(codes)
        parts = (split_people(tensor, faces) for tensor in (face, mask, codes))
        return {identity: Painted(*tensors) for identity, *tensors in zip(faces, *parts, strict=True)}

    def paint_swap(self, target_code: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.compared_code(target_code)
        return self.decoder(torch.cat([shared, shared], dim=1))  # type: ignore[no-any-return]

    def swap(self, faces: Tensor, *, identity: str = SOURCE, morph: float = 1.0) -> Swap:
        self.require_identity(identity)
        self.require_faces(faces)
        flat = self.encoder(faces)
        shared = self.inter_AB(flat)
        face, mask = self.decoder(self._code_of(identity, flat, shared))
        return Swap(face, mask, self.decoder.paint_mask(self._code_of(performer_of(identity), flat, shared)))

    def compared_code(self, code: Tensor) -> Tensor:
        """The half that ``inter_AB`` made: the paper wants the source's to approach the target's."""
        return code[:, code.shape[1] // 2 :]

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.inter_AB, self.inter_B)

    def resting_modules_without_warp(self) -> tuple[nn.Module, ...]:
        return (self.inter_AB,)

    def _code_of(self, identity: str, flat: Tensor, shared: Tensor) -> Tensor:
        """What the decoder paints that person from, with the encoder's and ``inter_AB``'s part of the same faces."""
        return torch.cat([self.inter_B(flat) if identity == TARGET else shared, shared], dim=1)


def join_people(model: FaceModel, faces: Mapping[str, Tensor]) -> Tensor:
    """All batches as one, in order.

    Raises:
        InvalidInput: the model does not know somebody, or cannot read their faces.
    """
    for identity, batch in faces.items():
        model.require_identity(identity)
        model.require_faces(batch)
    return torch.cat(list(faces.values()))


def split_people(joined: Tensor, faces: Mapping[str, Tensor]) -> list[Tensor]:
    """What was made of joined batches, apart again."""
    return list(torch.split(joined, [len(batch) for batch in faces.values()]))


def _decoder_name(identity: str) -> str:
    return f"decoder_{identity}"
