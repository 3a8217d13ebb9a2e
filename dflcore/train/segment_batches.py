"""From labelled faces to what one training step of a segmentation network eats."""

from __future__ import annotations

import torch
from torch import Tensor

from dflcore.config.segment import MaskTrainSettings
from dflcore.models.segment_presets import SegmentRecipe
from dflcore.train.pooled_batches import PooledBatches, decode_readable
from dflcore.train.segment_augment import MaskAugment, augment
from dflcore.train.segment_samples import MaskSamples, SampleDecoder
from dflcore.types import FaceType

PREVIEW_FACES = 8


class MaskBatches(PooledBatches):
    """Endless random batches of faces and masks.

    Args:
        samples: open facesets.
        face_type, resolution: what the network reads.
        ranges: augmentation.
        batch_size: faces per step. budget_bytes: most memory for decoded faces. seed: of everything random here.
        device: where batches are made.
        spoil: False leaves everything but the moves out (pretraining).
    """

    def __init__(
        self,
        samples: MaskSamples,
        face_type: FaceType,
        resolution: int,
        ranges: MaskAugment,
        *,
        batch_size: int,
        budget_bytes: int,
        seed: int,
        device: torch.device,
        spoil: bool = True,
    ) -> None:
        decoder = samples.decoder(face_type, resolution)
        super().__init__(
            decoder,
            samples.names,
            state_name="mask",
            side="segmentation",
            batch_size=batch_size,
            budget_bytes=budget_bytes,
            seed=seed,
        )
        self._ranges, self._device, self._spoil = ranges, device, spoil
        self._preview = self._make_preview(samples, decoder)

    @classmethod
    def from_settings(
        cls,
        settings: MaskTrainSettings,
        recipe: SegmentRecipe,
        samples: MaskSamples,
        face_type: FaceType,
        resolution: int,
        device: torch.device,
    ) -> MaskBatches:
        """With the user's switches applied."""
        ranges = MaskAugment(flip=settings.random_flip, background=settings.backgrounds, occluder=settings.occluders)
        return cls(
            samples,
            face_type,
            resolution,
            ranges,
            batch_size=settings.batch_size or recipe.batch_size,
            budget_bytes=settings.cache_mb * 1024 * 1024,
            seed=settings.seed,
            device=device,
            spoil=not settings.pretrain,
        )

    def make(self) -> tuple[Tensor, Tensor]:
        """The next faces (B, 3, R, R) and masks (B, 1, R, R), on the training device.

        Raises:
            DataCorrupt: no face can be read.
        """
        samples = self._pool.draw(self._generator).to(self._device)
        others = self._pool.draw(self._generator).to(self._device)
        return augment(samples, others, self._ranges, self._generator, spoil=self._spoil)

    @property
    def preview_faces(self) -> Tensor:
        """The same unchanged faces every time, half of them without a label if there are such: (n, 3, R, R)."""
        return self._preview

    def _make_preview(self, samples: MaskSamples, decoder: SampleDecoder) -> Tensor:
        """Those of a few faces, spread over all, that can be read."""
        unlabelled = _spread(samples.others, PREVIEW_FACES // 2)
        names = unlabelled + _spread(samples.names, PREVIEW_FACES - len(unlabelled))
        stored = decode_readable(decoder.decode_face, names, 3, decoder.stored_size)
        return stored.to(self._device).float() / 255.0


def _spread(names: list[str], count: int) -> list[str]:
    """At most ``count`` of the names, evenly spread."""
    if len(names) <= count:
        return list(names)
    return [names[round(index * (len(names) - 1) / max(1, count - 1))] for index in range(count)]
