"""From labelled faces to what one training step of a segmentation network eats."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from dflcore.config.segment import MaskTrainSettings
from dflcore.errors import DataCorrupt, NotFound
from dflcore.models.segment_presets import SegmentRecipe
from dflcore.progress import Notice
from dflcore.train.dataset import FacePool
from dflcore.train.segment_augment import MaskAugment, augment
from dflcore.train.segment_samples import MaskSamples
from dflcore.types import FaceType

_STATE = "batches.mask."
PREVIEW_FACES = 8


class MaskBatches:
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
        self._samples, self._ranges, self._device, self._spoil = samples, ranges, device, spoil
        self._generator = torch.Generator().manual_seed(seed)
        self._decoder = samples.decoder(face_type, resolution)
        self._preview = self._decode_preview(PREVIEW_FACES)  # before the loader thread uses the facesets
        self._pool = FacePool(
            self._decoder,
            samples.names,
            budget_bytes=budget_bytes,
            batch_size=batch_size,
            seed=seed,
            side="segmentation",
        )

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

    def take_notices(self) -> list[Notice]:
        """Faces that could not be read since the last call."""
        notices, self._pool.notices = self._pool.notices, []
        return notices

    def state(self) -> dict[str, Tensor]:
        """For :meth:`restore`: the random state and what the pool holds."""
        inner = {"draws": self._generator.get_state(), **self._pool.state()}
        return {_STATE + name: tensor for name, tensor in inner.items()}

    def restore(self, saved: dict[str, Tensor]) -> bool:
        """Go on as saved; False, starting afresh, when the labelled faces changed since."""
        inner = {name[len(_STATE) :]: tensor for name, tensor in saved.items() if name.startswith(_STATE)}
        if not inner or not self._pool.restore(inner):
            return False
        self._generator.set_state(inner["draws"])
        return True

    def close(self) -> None:
        """Stop the loader thread."""
        self._pool.close()

    def _decode_preview(self, count: int) -> Tensor:
        """Those of a few faces, spread over all, that can be read."""
        unlabelled = _spread(self._samples.others, count // 2)
        faces = []
        for name in unlabelled + _spread(self._samples.names, count - len(unlabelled)):
            with contextlib.suppress(NotFound, DataCorrupt):
                faces.append(self._decoder.decode_face(name))
        size = self._decoder.stored_size
        stacked = torch.stack(faces) if faces else torch.empty(0, 3, size, size, dtype=torch.uint8)
        return stacked.to(self._device).float() / 255.0


def _spread(names: list[str], count: int) -> list[str]:
    """At most ``count`` of the names, evenly spread."""
    if len(names) <= count:
        return list(names)
    return [names[round(index * (len(names) - 1) / max(1, count - 1))] for index in range(count)]
