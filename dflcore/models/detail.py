"""The detail network: what a soft face lacks, as a picture to add to it. Small enough for two CPU cores.

A U-Net of two levels on blocks of pixels, with a look at the surroundings. With b the block's side (2), s the scale,
and g = R / b blocks a side:

    detail = seen - low-pass of seen, as blocks (B, 3b², g, g) → fine (B, width, g, g)
           → coarse (B, coarse, g/2, g/2), several layers → back, added to fine
           → blocks (B, 3(bs)², g, g) → residual (B, 3, sR, sR)
    surroundings: colours and coarse layers at (g/4, g/4) → gates of the layers above

Larger blocks would be cheaper, and learn far slower to sharpen an edge alike wherever it lies in its block: in equal
processor time blocks of 4 gained 0.8 dB on held-out textures where blocks of 2 gained 2.4.

The layers on the way from detail to residual have no biases and leaky linear units only, and the surroundings only
multiply. So twice the contrast gets twice the detail, and a picture without detail gets none: flat stays flat exactly.

Source: networks without biases generalise over strengths they have not seen (Mohan et al., arXiv:1906.05478); residual
prediction over a fixed enlargement (Kim et al., arXiv:1511.04587); sub-pixel output (Shi et al., arXiv:1609.05158).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dflcore.errors import InvalidInput
from dflcore.models.blocks import activate_, require_resolution

BLOCK_PX = 2
GRID_PX = 4 * BLOCK_PX
"""The finest step of sizes it takes without padding: the surroundings are looked at on a quarter of the grid."""
BROAD_PX = 32
"""What is broader than about this many pixels of the soft face is left alone: light and colours are not the network's
business, they are matched to the plate elsewhere."""
SURROUNDINGS_WIDTH = 64
_SLOPE = 0.1


class DetailNetwork(nn.Module):
    """Soft face → clearer face, ``scale`` times as large.

    Args:
        resolution: side of the soft faces it is trained on, in pixels, a multiple of 8. It takes any size.
        scale: 1 or 2.
        width: channels of the fine level. coarse_width: of the coarse one.
        layers: of the coarse level.

    Raises:
        InvalidInput: the resolution or the scale does not fit.
    """

    def __init__(
        self, resolution: int, scale: int = 2, width: int = 48, coarse_width: int = 96, layers: int = 2
    ) -> None:
        super().__init__()
        require_resolution(resolution, GRID_PX)
        if scale not in (1, 2):
            raise InvalidInput(
                f"The detail network enlarges 1 or 2 times, not {scale}.", reason="BAD_SCALE", field="scale"
            )
        self.resolution, self.scale = resolution, scale
        self.stem = _conv(3 * BLOCK_PX**2, width)
        self.fine1, self.fine2 = _conv(width, width), _conv(width, width)
        self.down = _conv(width, coarse_width, stride=2)
        self.coarse = nn.ModuleList(_conv(coarse_width, coarse_width) for _ in range(layers))
        self.up = nn.Conv2d(coarse_width, width, 1, bias=False)
        self.head = _conv(width, 3 * (BLOCK_PX * scale) ** 2)
        self.surroundings = _Surroundings(coarse_width + 3, SURROUNDINGS_WIDTH, coarse_width * layers)
        nn.init.zeros_(self.head.weight)  # begins as the plain enlargement
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, faces: Tensor) -> Tensor:
        """The clearer faces.

        Args:
            faces: (B, 3, H, W) sRGB-encoded RGB; values outside [0, 1] are kept, and seen as 0 or 1.

        Returns:
            (B, 3, scale H, scale W), unbounded.
        """
        return enlarge(faces, self.scale) + self.residual(faces)

    def residual(self, faces: Tensor) -> Tensor:
        """What :meth:`forward` adds to the enlarged faces; nothing broader than about 32 px of the soft face."""
        height, width = faces.shape[-2:]
        right, bottom = -width % GRID_PX, -height % GRID_PX
        seen = faces.clamp(0.0, 1.0)
        if right or bottom:
            seen = F.pad(seen, (0, right, 0, bottom), mode="replicate")
        added = F.pixel_shuffle(self.head(self._features(seen)), BLOCK_PX * self.scale)
        added = added - broad(added, BROAD_PX * self.scale)
        return added[..., : height * self.scale, : width * self.scale]

    def _features(self, seen: Tensor) -> Tensor:
        detail = F.pixel_unshuffle(seen - broad(seen, BROAD_PX), BLOCK_PX)
        x = activate_(self.stem(detail.contiguous(memory_format=torch.channels_last)), _SLOPE)
        x = activate_(self.fine1(x), _SLOPE)
        coarse = activate_(self.down(x), _SLOPE)
        colors = F.avg_pool2d(seen, 2 * BLOCK_PX) - 0.5
        gates = self.surroundings(torch.cat([coarse, colors], dim=1)).chunk(len(self.coarse), dim=1)
        for layer, gate in zip(self.coarse, gates, strict=True):
            coarse = activate_(layer(coarse), _SLOPE) * gate
        x = x + F.interpolate(self.up(coarse), scale_factor=2, mode="bilinear", align_corners=False)
        return activate_(self.fine2(x), _SLOPE)


class _Surroundings(nn.Module):
    """The coarse level → gates in (0, 2) on its grid, from what lies around."""

    def __init__(self, inputs: int, width: int, gates: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
        self.wider = nn.ModuleList(nn.Conv2d(width, width, 3, padding=step, dilation=step) for step in (1, 3))
        self.gates = nn.Conv2d(width, gates, 1)
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(_bias_of(self.gates))

    def forward(self, x: Tensor) -> Tensor:
        x = activate_(self.down(x), _SLOPE)
        for conv in self.wider:
            x = x + activate_(conv(x), _SLOPE)
        gates = F.interpolate(self.gates(x), scale_factor=2, mode="bilinear", align_corners=False)
        return 2.0 * gates.sigmoid()


def enlarge(faces: Tensor, scale: int) -> Tensor:
    """(B, 3, H, W), any range → (B, 3, scale H, scale W), by the Catmull-Rom cubic; the edge is not repeated."""
    if scale == 1:
        return faces
    return F.interpolate(faces, scale_factor=scale, mode="bicubic", align_corners=False, antialias=True)


def broad(pictures: Tensor, cell_px: int) -> Tensor:
    """The smooth part of pictures: means of cells of about ``cell_px``, joined linearly; (B, C, H, W) → same."""
    height, width = pictures.shape[-2:]
    cells = (-(-height // cell_px), -(-width // cell_px))
    means = F.adaptive_avg_pool2d(pictures, cells)
    return F.interpolate(means, size=(height, width), mode="bilinear", align_corners=False)


def _conv(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, a=_SLOPE)
    return conv


def _bias_of(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
