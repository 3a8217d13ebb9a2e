"""TernausNet: a U-Net whose encoder has the layers of VGG-11, so that it can start from weights learnt on ImageNet.

Source: Iglovikov and Shvets, arXiv:1801.05746; the variant with anti-aliased pooling as measured facts of
DeepFaceLab 143792f (GPL-3.0, nothing copied). VGG-11: Simonyan and Zisserman, arXiv:1409.1556.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.models.blocks import initialize_glorot
from dflcore.models.xseg import BlurPool, initialize_transposed

VGG11_CONVOLUTIONS = (0, 3, 6, 8, 11, 13, 16, 18)
"""Places of the convolutions in torchvision's ``features`` of VGG-11, in order."""
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_DEPTH = 5


class TernausNet(nn.Module):
    """Face picture → logits of its mask.

    Args:
        resolution: side of the pictures in pixels, a multiple of 32.
        base: width of the first level; 64 is VGG-11's, and the only one that can take its weights.

    Raises:
        InvalidInput: the resolution does not fit the five halvings.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, resolution: int = 256, base: int = 64) -> None:
        super().__init__()
        if resolution < 1 or resolution % 2**_DEPTH:
            raise InvalidInput(
                f"The resolution of TernausNet is a multiple of {2**_DEPTH}, not {resolution}.",
                reason="BAD_RESOLUTION",
                field="resolution",
            )
        self.resolution, self.width = resolution, base
        b = base
        levels = ((3, b), (b, 2 * b), (2 * b, 4 * b, 4 * b), (4 * b, 8 * b, 8 * b), (8 * b, 8 * b, 8 * b))
        self.encoders = nn.ModuleList(_convolutions(*widths) for widths in levels)
        self.pools = nn.ModuleList(BlurPool(widths[-1], 3) for widths in levels)
        self.center = nn.Conv2d(8 * b, 8 * b, 3, padding=1)
        # deepest first: from below, after the transposed convolution, skip, after joining
        steps = (
            (8 * b, 4 * b, 8 * b, 8 * b),
            (8 * b, 4 * b, 8 * b, 8 * b),
            (8 * b, 2 * b, 4 * b, 4 * b),
            (4 * b, b, 2 * b, 2 * b),
            (2 * b, b // 2, b, b),
        )
        self.ups = nn.ModuleList(nn.ConvTranspose2d(below, up, 3, stride=2) for below, up, _, _ in steps)
        self.decoders = nn.ModuleList(_convolutions(up + skip, out) for _, up, skip, out in steps)
        self.head = nn.Conv2d(b, 1, 3, padding=1)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        initialize_glorot(self)
        initialize_transposed(self)

    def forward(self, faces: Tensor, *, use_skips: bool = True) -> Tensor:
        """Logits of the mask.

        Args:
            faces: (B, 3, R, R) display-referred sRGB, RGB, in [0, 1], aligned space.
            use_skips: False feeds zeros in place of the skips (pretraining).

        Returns:
            (B, 1, R, R); the sigmoid of it is the mask.
        """
        x = (faces - self.mean) / self.std
        skips: list[Tensor] = []
        for encoder, pool in zip(self.encoders, self.pools, strict=True):
            x = encoder(x)
            skips.append(x)
            x = pool(x)
        x = self.center(x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            raised = F.relu(up(x)[..., : skip.shape[-2], : skip.shape[-1]])
            x = decoder(torch.cat([raised, skip if use_skips else torch.zeros_like(skip)], dim=1))
        return self.head(x)  # type: ignore[no-any-return]

    def load_encoder(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the convolutions of VGG-11, named as torchvision names them (``features.0.weight``...).

        Raises:
            InvalidInput: a tensor is missing or has another shape.
        """
        convolutions = [layer for layer in self.encoders.modules() if isinstance(layer, nn.Conv2d)]
        for place, layer in zip(VGG11_CONVOLUTIONS, convolutions, strict=True):
            for kind, parameter in (("weight", layer.weight), ("bias", layer.bias)):
                name = f"features.{place}.{kind}"
                found = tensors.get(name)
                if parameter is None or found is None or found.shape != parameter.shape:
                    shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
                    raise InvalidInput(
                        f"These are not the weights of VGG-11 for this network: {name} is {shape}.",
                        reason="WEIGHTS_DIFFER",
                        field=name,
                    )
                with torch.no_grad():
                    parameter.copy_(found)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file or of a torch checkpoint; nothing but tensors is ever unpickled.

    Raises:
        NotFound: there is no such file.
        DataCorrupt: it is damaged, or holds other things than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"There are no weights {path}.", reason="WEIGHTS_MISSING", path=path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataCorrupt(
            f"The weights {path} cannot be read: {first_line}. Get the file again.", reason="WEIGHTS_DAMAGED", path=path
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise DataCorrupt(
            f"{path} holds other things than named tensors; it is not a state dictionary.",
            reason="WEIGHTS_DAMAGED",
            path=path,
        )
    return {str(name): tensor for name, tensor in loaded.items()}


def _convolutions(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)
