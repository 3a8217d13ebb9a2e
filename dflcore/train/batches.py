"""From two facesets to what one training step eats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dflcore.config.train import TrainSettings
from dflcore.io.masks import MaskRecipe
from dflcore.models.registry import Recipe
from dflcore.progress import Notice
from dflcore.train.augment import AugmentRanges, draw_transform, identity_transform, move_transform, required_margin
from dflcore.train.dataset import FaceDecoder, FacePool, TrainingFaces
from dflcore.types import FaceType


@dataclass(frozen=True, slots=True)
class SideBatch:
    """One side of one step, all in aligned space, display-referred sRGB, on the training device.

    Attributes:
        seen: (B, 3, R, R) in [0, 1], what the encoder is shown: moved, warped, relit.
        face: (B, 3, R, R) in [0, 1], what the decoder shall paint: moved only.
        mask: (B, 1, R, R) in [0, 1], where the face is in ``face``.
    """

    seen: Tensor
    face: Tensor
    mask: Tensor


def augment_ranges(recipe: Recipe, *, warp: bool, flip: bool) -> AugmentRanges:
    """The recipe's ranges with the user's switches applied."""
    return AugmentRanges(
        rotation_deg=recipe.rotation_deg,
        scale=recipe.scale,
        shift=recipe.shift,
        warp=recipe.warp if warp else 0.0,
        light=recipe.light,
        flip=flip,
    )


class BatchMaker:
    """Endless random batches of one side.

    Args:
        faces: an open faceset.
        ranges: augmentation.
        face_type, resolution: of the model.
        batch_size: faces per step.
        budget_bytes: most memory for decoded faces.
        seed: of everything random on this side.
        device: where batches are made.
        side: ``source`` or ``target``, for messages.
        recipe: see :class:`FaceDecoder`.
    """

    def __init__(
        self,
        faces: TrainingFaces,
        ranges: AugmentRanges,
        *,
        face_type: FaceType,
        resolution: int,
        batch_size: int,
        budget_bytes: int,
        seed: int,
        device: torch.device,
        side: str,
        recipe: MaskRecipe | None = None,
    ) -> None:
        self._ranges = ranges
        self._resolution = resolution
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        decoder = FaceDecoder(faces, face_type, resolution, required_margin(ranges), recipe)
        self._decoder = decoder
        self._margin = decoder.stored_size / resolution
        self._pool = FacePool(
            decoder, faces.names, budget_bytes=budget_bytes, batch_size=batch_size, seed=seed, side=side
        )
        if decoder.masked_faces:
            self._pool.notices.append(_masks_notice(side, decoder.masked_faces, len(faces.names)))

    def make(self, *, warp: bool = True) -> SideBatch:
        """The next batch.

        Args:
            warp: False leaves the random warp out, whatever the ranges say.

        Raises:
            DataCorrupt: no face can be read.
        """
        stored = self._pool.draw(self._generator).to(self._device)
        ranges = self._ranges if warp else replace(self._ranges, warp=0.0)
        transform = draw_transform(len(stored), ranges, self._margin, self._generator)
        transform = move_transform(transform, self._device)
        truth = transform.apply(stored, self._resolution)
        seen = transform.apply_as_input(stored[:, :3], self._resolution)
        return SideBatch(seen=seen, face=truth[:, :3], mask=truth[:, 3:])

    def preview_faces(self, count: int) -> Tensor:
        """The same unchanged faces every time: (n, 3, R, R) on the training device."""
        stored = self._pool.first(count).to(self._device)
        if not len(stored):
            return stored.new_zeros(0, 3, self._resolution, self._resolution)
        transform = identity_transform(len(stored), self._margin, self._device)
        return transform.apply(stored[:, :3], self._resolution)

    def take_notices(self) -> list[Notice]:
        """What a person should know since the last call: stored masks in use, faces that could not be read."""
        notices, self._pool.notices = self._pool.notices, []
        return notices

    def state(self) -> dict[str, Tensor]:
        """For :meth:`restore`: the random state and what the pool holds."""
        return {"draws": self._generator.get_state(), **self._pool.state()}

    def restore(self, state: dict[str, Tensor]) -> bool:
        """Go on as saved; False, starting afresh, when the faceset changed since."""
        if not self._pool.restore(state):
            return False
        self._generator.set_state(state["draws"])
        return True

    def close(self) -> None:
        """Stop the loader thread."""
        self._pool.close()
        self._decoder.close()


@dataclass(frozen=True, slots=True)
class BatchMakers:
    """Both sides."""

    source: BatchMaker
    target: BatchMaker

    @classmethod
    def from_settings(
        cls,
        settings: TrainSettings,
        recipe: Recipe,
        source: TrainingFaces,
        target: TrainingFaces,
        *,
        face_type: FaceType,
        resolution: int,
        device: torch.device,
    ) -> BatchMakers:
        """Wire both sides; the memory budget is halved between them."""
        ranges = augment_ranges(recipe, warp=settings.random_warp, flip=False)
        masks = MaskRecipe.parse(settings.masks)

        def maker(faces: TrainingFaces, side: str, flip: bool, seed: int) -> BatchMaker:
            return BatchMaker(
                faces,
                replace(ranges, flip=flip),
                face_type=face_type,
                resolution=resolution,
                batch_size=settings.batch_size or recipe.batch_size,
                budget_bytes=settings.cache_mb * 1024 * 1024 // 2,
                seed=seed,
                device=device,
                side=side,
                recipe=masks,
            )

        source_maker = maker(source, "source", settings.random_flip_source, settings.seed * 2)
        try:
            return cls(source_maker, maker(target, "target", settings.random_flip_target, settings.seed * 2 + 1))
        except BaseException:
            source_maker.close()
            raise

    def close(self) -> None:
        """Stop both loader threads."""
        self.source.close()
        self.target.close()


def _masks_notice(side: str, masked: int, total: int) -> Notice:
    count = f"all {total}" if masked == total else f"{masked} of {total}"
    return Notice(
        message=f"Masks stored in the {side} faceset say where the face is, in {count} faces.",
        reason="STORED_MASKS",
        severity="info",
        details={"side": side, "faces": str(masked)},
    )
