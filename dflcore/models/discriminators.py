"""The two critics of adversarial training: one of codes (TrueFace), one of pictures (GAN).

Source: layer definitions as measured facts of DeepFaceLab 46fc239 (GPL-3.0, nothing copied); U-Net critics:
Schönfeld et al., arXiv:2002.12655; critics of patches: Isola et al., arXiv:1611.07004.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate, pairwise, product
from operator import mul

import torch
from torch import Tensor, nn

from dflcore.models.blocks import activate_, initialize_glorot
from dflcore.models.xseg import initialize_transposed

MAX_PATCH_LAYERS = 9
_MAX_PATCH_WIDTH = 512
_CODE_WIDTH = 256


class CodeDiscriminator(nn.Module):
    """Whose code is it? Code → logits, above 0 for the target's.

    Where the reference would go on halving after a single position is left, no more layers are added.

    Args:
        channels, side: of the codes.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Conv2d] = []
        before = channels
        for number in range(1 + side // 8):
            if number and side == 1:
                break
            kernel, padding = (4, 2) if number == 0 else (3, 1)
            width = _CODE_WIDTH * min(2**number, 8)
            layers.append(nn.Conv2d(before, width, kernel, stride=2, padding=padding))
            before, side = width, (side + 2 * padding - kernel) // 2 + 1
        self.layers = nn.ModuleList(layers)
        self.head = nn.Conv2d(before, 1, 1)
        initialize_glorot(self)

    def forward(self, code: Tensor) -> Tensor:
        """(B, channels, side, side) → (B, 1, h, w)."""
        x = code
        for layer in self.layers:
            x = activate_(layer(x), 0.1)
        return self.head(x)  # type: ignore[no-any-return]


class PatchDiscriminator(nn.Module):
    """Is it a photograph? A U-Net that judges patches at its bottom and single pixels at its end, by logits.

    Sides that the strides do not divide are judged whole: a level that is one pixel short of the double is painted one
    pixel short (the reference stops with an error there).

    Args:
        patch_size: side in pixels of what a logit at the bottom sees; the nearest that strides allow is taken, and no
            more than the picture.
        base: width at full size.
        resolution: side of the pictures in pixels.

    Attributes:
        strides: of the levels. receptive_field: side of a patch in pixels.
    """

    def __init__(self, patch_size: int, base: int, resolution: int) -> None:
        super().__init__()
        self.strides = patch_strides(min(patch_size, resolution))
        self.receptive_field = receptive_field(self.strides)
        widths = [base, *(min(base * 2 ** (i + 1), _MAX_PATCH_WIDTH) for i in range(len(self.strides)))]
        self.stem = nn.Conv2d(3, base, 1)
        self.downs = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=stride, padding=1)
            for (i, o), stride in zip(pairwise(widths), self.strides, strict=True)
        )
        self.center = nn.Conv2d(widths[-1], widths[-1], 1)
        self.center_head = nn.Conv2d(widths[-1], 1, 1)
        deepest = len(self.strides) - 1
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(o * (1 if level == deepest else 2), i, 3, stride=stride, padding=1)
            for level, ((i, o), stride) in reversed(list(enumerate(zip(pairwise(widths), self.strides, strict=True))))
        )
        self.head = nn.Conv2d(base * 2, 1, 1)
        initialize_glorot(self)
        initialize_transposed(self)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) → logits of patches (B, 1, h, w) and of pixels (B, 1, H, W), above 0 for photographs."""
        features = [activate_(self.stem(faces), 0.2)]
        for down in self.downs:
            features.append(activate_(down(features[-1]), 0.2))
        bottom = features.pop()
        x = activate_(self.center(bottom), 0.2)
        for up, feature in zip(self.ups, reversed(features), strict=True):
            raised = up(x, output_size=feature.shape[-2:])
            x = torch.cat([feature, activate_(raised, 0.2)], dim=1)
        return self.center_head(bottom), self.head(x)


def receptive_field(strides: tuple[int, ...]) -> int:
    """Side in pixels of what one number sees after 3x3 convolutions with those strides."""
    return 1 + 2 * sum(accumulate(strides[:-1], mul, initial=1))


@cache
def patch_strides(patch_size: int) -> tuple[int, ...]:
    """Strides of the 3x3 convolutions whose receptive field comes nearest to a patch size.

    There are 1 to 9 layers, the first with stride 2. Of two fields as near, the smaller is taken; of two stacks with
    the same field, the one with fewer layers, then the one with the larger strides.

    Args:
        patch_size: side in pixels.
    """

    def rank(strides: tuple[int, ...]) -> tuple[int, int, int, int]:
        field = receptive_field(strides)
        return abs(field - patch_size), field, len(strides), -sum(strides)

    stacks = [(2, *others) for count in range(MAX_PATCH_LAYERS) for others in product((1, 2), repeat=count)]
    return min(stacks, key=rank)
