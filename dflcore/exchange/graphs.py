"""A trained face model as one function of plain tensors, which exporters can record.

What is recorded knows the operations that were carried out, not the Python that chose them: the number of faces and the
morph factor must reach every operation as tensors.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.models.amp import AmpModel
from dflcore.models.blocks import SubpixelHead
from dflcore.models.face_model import SOURCE, FaceModel
from dflcore.models.wirings import TwoCodes

Painting = tuple[Tensor, Tensor, Tensor]
"""Face (N, 3, R, R), where the painted face is, where the face in the picture is, both (N, 1, R, R); all in [0, 1]."""


class SwapGraph(nn.Module, ABC):
    """Faces (N, 3, R, R), RGB in [0, 1], and a morph factor (1,) in [0, 1] → :data:`Painting`."""

    has_morph: bool = False
    """The morph factor changes the picture."""

    @abstractmethod
    def forward(self, faces: Tensor, morph: Tensor) -> Painting: ...


class PlainGraph(SwapGraph):
    """Any model whose own swap does not depend on the number of faces."""

    def __init__(self, model: FaceModel, identity: str) -> None:
        super().__init__()
        self.model, self.identity = model, identity

    def forward(self, faces: Tensor, morph: Tensor) -> Painting:
        swap = self.model.swap(faces, identity=self.identity)
        return swap.face, swap.source_mask, swap.target_mask


class TwoCodesGraph(SwapGraph):
    """LIAE; shared parts run once."""

    def __init__(self, model: TwoCodes, identity: str) -> None:
        super().__init__()
        self.model, self.is_source = model, identity == SOURCE

    def forward(self, faces: Tensor, morph: Tensor) -> Painting:
        flat = self.model.encoder(faces)
        both, own = self.model.inter_AB(flat), self.model.inter_B(flat)
        source, target = torch.cat([both, both], dim=1), torch.cat([own, both], dim=1)
        painted, performer = (source, target) if self.is_source else (target, source)
        face, mask = self.model.decoder(painted)
        return face, mask, self.model.decoder.paint_mask(performer)


class AmpGraph(SwapGraph):
    """AMP; the morph factor is an input."""

    has_morph = True
    ranks: Tensor

    def __init__(self, model: AmpModel, identity: str) -> None:
        super().__init__()
        self.model, self.is_source = model, identity == SOURCE
        self.register_buffer("ranks", torch.arange(1.0, model.inter_source.width + 1.0).view(1, -1, 1, 1))

    def forward(self, faces: Tensor, morph: Tensor) -> Painting:
        flat = self.model.encoder(faces)
        source, target = self.model.inter_source(flat), self.model.inter_target(flat)
        share = morph if self.is_source else 1.0 - morph
        painted = self._mix(source, target, share.view(1, 1, 1, 1))
        usual = torch.full_like(morph, self.model.morph_factor).view(1, 1, 1, 1)
        performer = target if self.is_source else self._mix(source, target, usual)
        face, mask = self.model.decoder(painted)
        return face, mask, self.model.decoder.paint_mask(performer)

    def _mix(self, source: Tensor, target: Tensor, share: Tensor) -> Tensor:
        """The first int(share C) channels of the source's code, the others of the target's."""
        return torch.where(self.ranks <= share * source.shape[1], source, target)


class FaceGraph(nn.Module):
    """Without a morph factor, for models that know none."""

    def __init__(self, graph: SwapGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, faces: Tensor) -> Painting:
        return self.graph(faces, torch.ones(1))  # type: ignore[no-any-return]


class ReferenceGraph(nn.Module):
    """As the reference's exports: (N, R, R, 3) BGR → target's mask, face (BGR), mask of the painted face; all NHWC."""

    def __init__(self, graph: SwapGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, faces: Tensor, morph: Tensor) -> Painting:
        face, mask, target_mask = self.graph(_swap_colors(faces.permute(0, 3, 1, 2)), morph)
        return (
            target_mask.permute(0, 2, 3, 1),
            _swap_colors(face).permute(0, 2, 3, 1),
            mask.permute(0, 2, 3, 1),
        )


class ReferenceFaceGraph(nn.Module):
    """:class:`ReferenceGraph` without a morph factor."""

    def __init__(self, graph: SwapGraph) -> None:
        super().__init__()
        self.graph = ReferenceGraph(graph)

    def forward(self, faces: Tensor) -> Painting:
        return self.graph(faces, torch.ones(1))  # type: ignore[no-any-return]


class FoldedHead(nn.Module):
    """A :class:`~dflcore.models.blocks.SubpixelHead` whose four convolutions have become one for good.

    The head puts its kernels together in every pass, with operators that neither old TorchScript nor old ONNX knows.
    """

    def __init__(self, head: SubpixelHead) -> None:
        super().__init__()
        phases = [phase for phase in head.phases if isinstance(phase, nn.Conv2d)]
        first, last = phases[0], phases[-1]
        self.conv = nn.Conv2d(first.in_channels, first.out_channels * len(phases), last.kernel_size[0], padding=1)
        with torch.no_grad():
            weights, biases = self.conv.weight.zero_(), self.conv.bias
            assert biases is not None
            for number, phase in enumerate(phases):
                inset = (last.kernel_size[0] - phase.kernel_size[0]) // 2
                end = last.kernel_size[0] - inset
                weights[number :: len(phases), :, inset:end, inset:end] = phase.weight
                assert phase.bias is not None
                biases[number :: len(phases)] = phase.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def build_graph(model: FaceModel, identity: str) -> SwapGraph:
    """The function that paints ``identity``, sharing the model's weights as far as they need no change.

    Raises:
        InvalidInput: the model does not know that person.
    """
    model.require_identity(identity)
    model = copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SubpixelHead):
                setattr(parent, name, FoldedHead(child))
    graph: SwapGraph
    if isinstance(model, AmpModel):
        graph = AmpGraph(model, identity)
    elif isinstance(model, TwoCodes):
        graph = TwoCodesGraph(model, identity)
    else:
        graph = PlainGraph(model, identity)
    return graph.eval()


def _swap_colors(x: Tensor) -> Tensor:
    return torch.cat([x[:, 2:3], x[:, 1:2], x[:, 0:1]], dim=1)
