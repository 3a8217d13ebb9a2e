"""From sharp faces to what one training step of a detail network eats: soft pieces, and the same pieces sharp."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dflcore.config.detail import DetailTrainSettings
from dflcore.models.detail import GRID_PX
from dflcore.models.detail_presets import DetailRecipe
from dflcore.train.augment import FLIP_PROBABILITY, to_device
from dflcore.train.detail_degrade import Softness, soften, wear
from dflcore.train.detail_samples import DetailDecoder, DetailSamples, unpack
from dflcore.train.pooled_batches import PooledBatches, decode_readable
from dflcore.train.segment_draws import Draws

PREVIEW_FACES = 4


class DetailBatches(PooledBatches):
    """Endless random batches of soft and sharp pieces of faces.

    Args:
        samples: open facesets. decoder: reads them.
        scale: how many times larger the sharp piece is. crop_px: side of a soft piece, a multiple of 8.
        softness: of invented soft faces. painted_share: of faces taken from the face model's painting.
        batch_size: pieces per step. budget_bytes: most memory for decoded faces. seed: of everything random here.
        device: where batches are made.
        flip: mirror now and then.
    """

    def __init__(
        self,
        samples: DetailSamples,
        decoder: DetailDecoder,
        *,
        scale: int,
        crop_px: int,
        softness: Softness,
        painted_share: float,
        batch_size: int,
        budget_bytes: int,
        seed: int,
        device: torch.device,
        flip: bool,
    ) -> None:
        super().__init__(
            decoder,
            samples.names,
            state_name="detail",
            side="detail",
            batch_size=batch_size,
            budget_bytes=budget_bytes,
            seed=seed,
            planes=decoder.planes,
        )
        self._scale, self._crop_px, self._softness = scale, crop_px, softness
        self._painted_share, self._flip, self._device = painted_share, flip, device
        self._preview = self._make_preview(samples, decoder, seed)

    @classmethod
    def from_settings(
        cls,
        settings: DetailTrainSettings,
        recipe: DetailRecipe,
        samples: DetailSamples,
        decoder: DetailDecoder,
        scale: int,
        device: torch.device,
    ) -> DetailBatches:
        """With the user's switches applied."""
        return cls(
            samples,
            decoder,
            scale=scale,
            crop_px=min(recipe.crop_px, decoder.stored_size // scale),
            softness=Softness(blur_px=settings.softness_px, noise=settings.noise, compression=settings.compression),
            painted_share=settings.painted_share,
            batch_size=settings.batch_size or recipe.batch_size,
            budget_bytes=settings.cache_mb * 1024 * 1024,
            seed=settings.seed,
            device=device,
            flip=settings.random_flip,
        )

    def make(self) -> tuple[Tensor, Tensor]:
        """The next soft pieces (B, 3, C, C) and sharp ones (B, 3, sC, sC), in [0, 1], on the training device.

        Raises:
            DataCorrupt: no face can be read.
        """
        stored = self._pool.draw(self._generator)
        pieces = to_device(self._cut(stored), self._device)
        return self._make_soft(pieces, self._generator)

    @property
    def preview_faces(self) -> tuple[Tensor, Tensor]:
        """The same soft and sharp whole faces every time: (n, 3, R, R) and (n, 3, sR, sR)."""
        return self._preview

    def _cut(self, stored: Tensor) -> Tensor:
        """(B, P, S, S) → (B, P, sC, sC): a random piece of each, mirrored now and then; corners lie on the grid of
        blocks, so that soft and sharp pixels stay together."""
        side = stored.shape[-1] // self._scale
        room = (side - self._crop_px) // GRID_PX + 1
        corners = torch.randint(room, (len(stored), 2), generator=self._generator) * GRID_PX * self._scale
        mirrored = torch.rand(len(stored), generator=self._generator) < (FLIP_PROBABILITY if self._flip else 0.0)
        size = self._crop_px * self._scale
        pieces = []
        for face, (top, left), is_mirrored in zip(stored, corners.tolist(), mirrored.tolist(), strict=True):
            piece = face[:, top : top + size, left : left + size]
            pieces.append(_mirror(piece, self._scale) if is_mirrored else piece)
        return torch.stack(pieces)

    def _make_soft(self, pieces: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        sharp, painted = unpack(pieces, self._scale)
        plain = sharp if self._scale == 1 else F.avg_pool2d(sharp, self._scale)
        draws = Draws(len(plain), plain.shape[-1], generator, plain.device)
        soft = soften(plain, self._softness, draws)
        if painted is None:
            return soft, sharp
        worn = wear(painted[:, :3], self._softness, draws)
        # outside its mask a model paints what it likes; what is invented there is one more face to learn from
        share = painted[:, 3:] * draws.chance(self._painted_share)
        return torch.lerp(soft, worn, share), sharp

    def _make_preview(self, samples: DetailSamples, decoder: DetailDecoder, seed: int) -> tuple[Tensor, Tensor]:
        """Those of a few faces, spread over all, that can be read."""
        count = min(PREVIEW_FACES, len(samples.names))
        names = [samples.names[index] for index in torch.linspace(0, len(samples.names) - 1, count).long().tolist()]
        stored = decode_readable(decoder.decode, names, decoder.planes, decoder.stored_size)
        pieces = stored.to(self._device).float() / 255.0
        if not len(pieces):
            return pieces[:, :3], pieces[:, :3]
        return self._make_soft(pieces, torch.Generator().manual_seed(seed))


def _mirror(piece: Tensor, scale: int) -> Tensor:
    """(P, S, S) left to right; packed planes keep the places of their sub-pixels."""
    if piece.shape[0] == 3 or scale == 1:
        return piece.flip(-1)
    inner = F.pixel_unshuffle(piece[3:], scale).flip(-1)
    return torch.cat([piece[:3].flip(-1), F.pixel_shuffle(inner, scale)])
