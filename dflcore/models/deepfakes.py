"""The shared-encoder autoencoder of 2017, known as DeepFakes: the paper's baseline.

Four halvings by 5x5 convolutions of 128 to 1024 channels, two dense layers of 1024, one doubling shared by everybody;
then a decoder for each person with three doublings of 256, 128 and 64 channels and a 5x5 convolution. At 64 px these
are the numbers of 2017; other resolutions change the dense grid only.

The network of 2017 paints no mask, without which nothing can be merged: here a narrow branch of each decoder does.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from dflcore.models.autoencoder import BranchedDecoder
from dflcore.models.blocks import Downscale, Upscale, initialize_glorot, require_resolution, to_unit
from dflcore.models.recompute import Recomputable
from dflcore.models.wirings import OneCode

_STEP = 16
BASE_WIDTH = 128
"""Width of the first layer in 2017."""


class DeepfakesEncoder(Recomputable):
    """Shared by everybody: (B, 3, R, R) in [0, 1] → (B, 4 b, R / 8, R / 8), b the width of the first layer."""

    def __init__(self, resolution: int, code_width: int, width: int) -> None:
        super().__init__()
        self.side, self.grid_width = resolution // _STEP, width * 8
        widths = (3, width, width * 2, width * 4, width * 8)
        self.downs = nn.Sequential(*(Downscale(i, o) for i, o in pairwise(widths)))
        self.dense1 = nn.Linear(self.grid_width * self.side**2, code_width)
        self.dense2 = nn.Linear(code_width, self.grid_width * self.side**2)
        self.upscale = Upscale(self.grid_width, width * 4)

    def forward(self, face: Tensor) -> Tensor:
        flat = self.part(self.downs, face).flatten(1)
        grid = self.dense2(self.dense1(flat)).view(-1, self.grid_width, self.side, self.side)
        return self.upscale(grid)  # type: ignore[no-any-return]


class DeepfakesDecoder(BranchedDecoder):
    """Code (B, 4 b, R / 8, R / 8) → face (B, 3, R, R) and mask (B, 1, R, R), both in [0, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__((width * 4, width // 2, width // 4, width // 8), mask_kernel=5)
        widths = (width * 4, width * 2, width, width // 2)
        self.upscales = nn.ModuleList(Upscale(i, o) for i, o in pairwise(widths))
        self.face_head = nn.Conv2d(widths[-1], 3, 5, padding=2)

    def paint_face(self, code: Tensor) -> Tensor:
        x = code
        for upscale in self.upscales:
            x = self.part(upscale, x)
        return to_unit(self.face_head(x))


class DeepfakesModel(OneCode):
    """The face model of 2017.

    Args:
        resolution: side of the face in pixels, a multiple of 16.
        ae_dims: width of the bottleneck.
        base_width: of the first layer; all others follow from it.

    Raises:
        InvalidInput: the resolution does not fit the network.
    """

    def __init__(self, *, resolution: int, ae_dims: int, base_width: int = BASE_WIDTH) -> None:
        super().__init__()
        require_resolution(resolution, _STEP)
        self.resolution = resolution
        self.encoder = DeepfakesEncoder(resolution, ae_dims, base_width)
        self.add_decoders(1, lambda: DeepfakesDecoder(base_width))
        initialize_glorot(self)

    def encode(self, faces: Tensor) -> Tensor:
        return self.encoder(faces)  # type: ignore[no-any-return]

    def person_modules(self) -> tuple[nn.Module, ...]:
        return (self.encoder.dense1, self.encoder.dense2)
