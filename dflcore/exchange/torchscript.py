"""Trained models as TorchScript files that Nuke's CatFileCreator takes: one picture in, one picture out.

In: (1, C, H, W), the first three channels the aligned face, RGB, any size. Out: (1, 4, H, W), the painted face and its
matte. Faces are resized to the network's side and back. What an artist may change in the host are plain attributes:

============  =====  =================================================================================================
scene_linear  bool   pictures are scene-linear with Rec.709 primaries, both ways; off: display-referred sRGB
matte         int    alpha is where the painted face is (0), where the picture's face is (1), where both are (2)
morph         float  AMP only: 0..1, how much of the identity is put on
============  =====  =================================================================================================

Only the network is in the file; aligning the face and merging it back are not. Only operators that torch 1.12 knows are
used, so that hosts with an older torch can load the file. Values beyond [0, 1] on the display are clipped.

Source: Foundry's rules for ``.cat`` files, and sRGB as IEC 61966-2-1 defines it.
"""

# Annotations are read by TorchScript's compiler, which wants them evaluated.
import copy
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.exchange.graphs import SwapGraph

ABOUT_NAME: Final = "dfl.json"
"""Name of the metadata inside the file."""


class AlignedFace(nn.Module):
    """The picture that goes in, the picture that comes out; see this module.

    Args:
        network: recorded: faces (1, 3, R, R), morph (1,) → face, mask of it, mask of the picture's face.
        half_network: the same in half precision, or None.
    """

    __constants__ = ("has_half", "side")
    probe: Tensor

    def __init__(self, network: nn.Module, half_network: nn.Module | None, side: int, scene_linear: bool) -> None:
        super().__init__()
        self.side = side
        self.has_half = half_network is not None
        self.scene_linear = scene_linear
        self.matte = 0
        self.network = network
        if half_network is not None:
            self.half_network = half_network
        self.register_buffer("probe", torch.zeros(1))  # tells whether the host has made the whole module half

    def forward(self, x: Tensor) -> Tensor:
        face, mask, target_mask = self.paint(self.read(x), self.wants_half(x))
        alpha = mask
        if self.matte == 1:
            alpha = target_mask
        elif self.matte == 2:
            alpha = torch.minimum(mask, target_mask)
        return self.write(face, alpha, x)

    def read(self, x: Tensor) -> Tensor:
        """Host picture → (1, 3, R, R), display-referred in [0, 1], float32."""
        rgb = torch.nan_to_num(x[:, :3].float(), 0.0, 1.0, 0.0).clamp(0.0, 1.0)
        if self.scene_linear:
            rgb = torch.where(rgb <= 0.0031308, rgb * 12.92, 1.055 * rgb.clamp(min=0.0031308).pow(1.0 / 2.4) - 0.055)
        return torch.ops.aten.upsample_bilinear2d(rgb, [self.side, self.side], False, None, None)  # type: ignore[no-any-return]

    def write(self, face: Tensor, alpha: Tensor, x: Tensor) -> Tensor:
        """What was painted, in the size, range and precision of the host's picture."""
        painted = torch.cat([face.float(), alpha.float()], dim=1)
        size = [x.shape[2], x.shape[3]]
        painted = torch.ops.aten.upsample_bilinear2d(painted, size, False, None, None)
        rgb = painted[:, :3]
        if self.scene_linear:
            rgb = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4))
        return torch.cat([rgb, painted[:, 3:]], dim=1).to(x.dtype)

    def wants_half(self, x: Tensor) -> bool:
        return self.probe.dtype == torch.float16 or (x.is_cuda and x.dtype == torch.float16)

    def morph_of(self, faces: Tensor) -> Tensor:
        """In single precision: half would round it to other channels."""
        return torch.ones([1], device=faces.device)

    def paint(self, faces: Tensor, half: bool) -> tuple[Tensor, Tensor, Tensor]:
        if self.has_half and half:  # has_half is a constant: without the copy the compiler does not look inside
            faces = faces.half()
            painted: tuple[Tensor, Tensor, Tensor] = self.half_network(faces, self.morph_of(faces))
            return painted
        plain: tuple[Tensor, Tensor, Tensor] = self.network(faces.to(self.probe.dtype), self.morph_of(faces))
        return plain


class MorphedFace(AlignedFace):
    """The same for networks with a morph factor."""

    def __init__(self, network: nn.Module, half_network: nn.Module | None, side: int, scene_linear: bool) -> None:
        super().__init__(network, half_network, side, scene_linear)
        self.morph = 1.0

    def morph_of(self, faces: Tensor) -> Tensor:
        return torch.full([1], min(max(self.morph, 0.0), 1.0), device=faces.device)


def write_torchscript(
    graph: SwapGraph, side: int, about: Mapping[str, str], *, half: bool, scene_linear: bool
) -> bytes:
    """The file of a model.

    Args:
        graph: is changed on the way; its weights are not.
        side: R.
        about: goes into the file as :data:`ABOUT_NAME`.
        half: carry a copy in half precision for hosts that compute so.
        scene_linear: what the attribute begins with.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is called old, and warns of every shape Python looks at
        network = _record(graph, side)
        half_network = (
            copy.deepcopy(network).half() if half else None
        )  # recorded in half it would take minutes on a CPU
        kind = MorphedFace if graph.has_morph else AlignedFace
        script = torch.jit.script(kind(network, half_network, side, scene_linear).eval())
        buffer = io.BytesIO()
        torch.jit.save(script, buffer, _extra_files={ABOUT_NAME: json.dumps(dict(about), indent=2)})
    return buffer.getvalue()


class TorchScriptFile:
    """An exported file at work, in our own conventions: display-referred, at the network's side."""

    def __init__(self, path: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # see above
            self.module: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        self.module.scene_linear = False
        self.has_morph = hasattr(self.module, "morph")

    def paint(self, faces: Tensor, morph: float) -> tuple[Tensor, Tensor, Tensor]:
        """See :data:`~dflcore.exchange.graphs.Painting`."""
        if self.has_morph:
            self.module.morph = morph
        pictures = []
        with torch.no_grad():
            for matte in (0, 1):
                self.module.matte = matte
                pictures.append(torch.cat([self.module(face[None]) for face in faces]))
        return pictures[0][:, :3], pictures[0][:, 3:], pictures[1][:, 3:]


class HalfTorchScriptFile:
    """The copy in half precision of an exported file at work.

    On a GPU it computes in half precision. CPUs take minutes for that, so that there its weights alone are rounded.
    """

    def __init__(self, path: str) -> None:
        file = TorchScriptFile(path)
        self.has_morph = file.has_morph
        self._device, dtype = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)
        self._network = file.module.half_network.to(self._device, dtype)
        self._dtype = dtype

    def paint(self, faces: Tensor, morph: float) -> tuple[Tensor, Tensor, Tensor]:
        """See :data:`~dflcore.exchange.graphs.Painting`."""
        morphs = torch.full((1,), morph, device=self._device)
        given = faces.to(self._device, self._dtype)
        with torch.no_grad():
            painted = [self._network(face[None], morphs) for face in given]
        face, mask, target_mask = (torch.cat(tensors).cpu() for tensors in zip(*painted, strict=True))
        return face, mask, target_mask


class TypedLinear(nn.Module):
    """A dense layer that takes its input in any precision: what was recorded in one must run in another."""

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = dense.weight, dense.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.type_as(self.weight), self.weight, self.bias)


def _record(graph: SwapGraph, side: int) -> nn.Module:
    """The graph, which is changed; its weights are shared. It can be made half."""
    for parent in list(graph.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, TypedLinear(child))
    example = (torch.full((1, 3, side, side), 0.5), torch.full((1,), 0.5))
    return torch.jit.trace(graph, example, check_trace=False)  # type: ignore[no-any-return, no-untyped-call]
