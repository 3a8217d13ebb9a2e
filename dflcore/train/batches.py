"""From facesets to what one training step eats.

Faces wait in memory as 8-bit pixels; batches are made of them when a step asks, on the training device. On a GPU that
only queues work behind the step before: the host copies a few hundred kilobytes from pinned memory and waits for
nothing. On a CPU the step and its data share the cores, and making batches ahead would only move the cost elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dflcore.color.matching.methods import COLOR_MATCHES, ColorMatch
from dflcore.color.matching.sliced import match_sot
from dflcore.config.train import TrainSettings
from dflcore.io.mask_recipe import MaskRecipe
from dflcore.models.face_model import SOURCE, TARGET
from dflcore.models.registry import Recipe
from dflcore.progress import Notice
from dflcore.train.augment import (
    AugmentRanges,
    draw_transform,
    identity_transform,
    move_transform,
    required_margin,
    to_device,
)
from dflcore.train.dataset import DECODE_THREADS, FaceDecoder, FacePool, TrainingFaces
from dflcore.train.relight import draw_hsv_shift
from dflcore.train.sampling import EveryFace, SamplingPolicy, UniformYaw, mixed_seed, shard
from dflcore.types import FaceType

USUAL_MASKS = frozenset({"label", "xseg", "hull"})
"""Of the default recipe: nobody is told that a faceset has none of them."""
_SOT_TRIPLES = 2
"""Directions per step / 3 while training, where a batch of faces waits; merging takes its time."""


@dataclass(frozen=True, slots=True)
class SideBatch:
    """One person of one step, all in aligned space, display-referred sRGB, on the training device.

    Attributes:
        seen: (B, 3, R, R) in [0, 1], what the encoder is shown: moved, warped, relit.
        face: (B, 3, R, R) in [0, 1], what the decoder shall paint: moved only.
        mask: (B, 1, R, R) in [0, 1], where the face is in ``face``.
        priority: (B, 1, R, R) in [0, 1], where eyes and mouth are in ``face``; None when nobody asked.
    """

    seen: Tensor
    face: Tensor
    mask: Tensor
    priority: Tensor | None = None


def augment_ranges(settings: TrainSettings, recipe: Recipe, identity: str) -> AugmentRanges:
    """The recipe's ranges of one person with the user's switches applied.

    Pretraining is of faces in general: no warp, mirrored at will, colours as they are (measured facts of DeepFaceLab
    46fc239, GPL-3.0, nothing copied).
    """
    flip = settings.random_flip_target if identity == TARGET else settings.random_flip_source
    return AugmentRanges(
        rotation_deg=recipe.rotation_deg,
        scale=recipe.scale,
        shift=recipe.shift,
        warp=recipe.warp if settings.random_warp and not settings.pretrain else 0.0,
        light=recipe.light,
        hsv=0.0 if identity == TARGET or settings.pretrain else settings.random_hsv,
        flip=flip or settings.pretrain,
    )


class BatchMaker:
    """Endless random batches of one person.

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
        names: the share of the faces that this process draws from; all when not given.
        priority: also tell where eyes and mouth are.
        uniform_yaw: draw turned faces as often as frontal ones.
        color_match, partners: give every face the colours of a random face of ``partners``, judged by both masks; the
            encoder sees and the decoder shall paint the same changed face.
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
        names: list[str] | None = None,
        priority: bool = False,
        uniform_yaw: bool = False,
        color_match: ColorMatch | None = None,
        partners: BatchMaker | None = None,
    ) -> None:
        self._ranges = ranges
        self._resolution = resolution
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        self._all_names = faces.names
        self._color_match, self._partners = color_match, partners
        names = faces.names if names is None else names
        policy: SamplingPolicy = EveryFace(len(names))
        if uniform_yaw and names:
            policy = UniformYaw([faces.record(name).pose.yaw for name in names])
        decoder = FaceDecoder(faces, face_type, resolution, required_margin(ranges), recipe, priority=priority)
        self._decoder = decoder
        self._margin = decoder.stored_size / resolution
        self._pool = FacePool(
            decoder,
            names,
            budget_bytes=budget_bytes,
            batch_size=batch_size,
            seed=seed,
            side=side,
            planes=decoder.planes,
            policy=policy,
            threads=DECODE_THREADS,
        )
        if decoder.masked_faces:
            self._pool.notices.append(_masks_notice(side, decoder.masked_faces, len(faces.names)))
        elif recipe is not None and not USUAL_MASKS.issuperset(recipe.sources):
            self._pool.notices.append(_no_masks_notice(side, recipe))
        if decoder.extended:
            self._pool.notices.append(_extended_notice(side, faces, face_type))

    def make(self, *, warp: bool = True) -> SideBatch:
        """The next batch.

        Args:
            warp: False leaves the random warp out, whatever the ranges say.

        Raises:
            DataCorrupt: no face can be read.
        """
        stored = self._upload(self._pool.draw_levels(self._generator))
        ranges = self._ranges if warp else replace(self._ranges, warp=0.0)
        transform = draw_transform(len(stored), ranges, self._margin, self._generator)
        transform = move_transform(transform, self._device)
        pictures, masks = stored[:, :3], stored[:, 3:]
        if self._color_match is not None and self._partners is not None:
            partners = self._upload(self._partners._pool.borrow(len(stored), self._generator))
            pictures = self._color_match(pictures, partners[:, :3], masks[:, :1], partners[:, 3:4])
        face, moved_masks = transform.apply_with_masks(pictures, masks, self._resolution)
        seen = transform.apply_as_input(pictures, self._resolution)
        if ranges.hsv:
            seen = draw_hsv_shift(len(stored), ranges.hsv, self._generator).to(self._device).apply(seen)
        priority = moved_masks[:, 1:2] if self._decoder.priority else None
        return SideBatch(seen=seen, face=face, mask=moved_masks[:, :1], priority=priority)

    def preview_faces(self, count: int) -> Tensor:
        """The same unchanged faces every time: (n, 3, R, R) on the training device."""
        stored = self._pool.first(count, self._all_names).to(self._device)
        if not len(stored):
            return stored.new_zeros(0, 3, self._resolution, self._resolution)
        transform = identity_transform(len(stored), self._margin, self._device)
        return transform.apply(stored[:, :3], self._resolution)

    @property
    def waited_s(self) -> float:
        """Seconds that batches have waited for the loader threads."""
        return self._pool.waited_s

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
        """Stop the loader threads."""
        self._pool.close()
        self._decoder.close()

    def _upload(self, levels: Tensor) -> Tensor:
        """uint8 on the CPU → float32 in [0, 1] on the training device; a quarter of the bytes travel."""
        return torch.mul(to_device(levels, self._device), 1.0 / 255.0)


@dataclass(frozen=True, slots=True)
class BatchMakers:
    """All persons, by identity, in the order they are drawn in."""

    sides: Mapping[str, BatchMaker]

    @classmethod
    def from_settings(
        cls,
        settings: TrainSettings,
        recipe: Recipe,
        source: TrainingFaces | None = None,
        target: TrainingFaces | None = None,
        *,
        faces: Mapping[str, TrainingFaces] | None = None,
        face_type: FaceType,
        resolution: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
    ) -> BatchMakers:
        """Wire all sides; they, and all processes, share the memory budget evenly.

        Args:
            source, target: open facesets of the two, or
            faces: of any number of people, by identity, the target among them.
            rank, world: which of how many processes that train together; each draws from a share of its own of every
                faceset, or from all of one that has fewer faces than there are processes.
        """
        if faces is None:
            if source is None or target is None:
                raise TypeError("Name source and target, or faces.")
            faces = {SOURCE: source, TARGET: target}
        budget = settings.cache_mb * 1024 * 1024 // (len(faces) * world)
        match = None if settings.pretrain else _color_match(settings.color_transfer)
        made: dict[str, BatchMaker] = {}

        def maker(number: int, identity: str) -> BatchMaker:
            is_source = identity != TARGET
            return BatchMaker(
                faces[identity],
                augment_ranges(settings, recipe, identity),
                face_type=face_type,
                resolution=resolution,
                batch_size=settings.batch_size or recipe.batch_size,
                budget_bytes=budget,
                seed=mixed_seed(settings.seed, number, rank),
                device=device,
                side=identity,
                recipe=MaskRecipe.parse(settings.masks),
                names=shard(faces[identity].names, rank, world, settings.seed),
                priority=settings.eyes_mouth_priority or recipe.eyes_mouth_priority,
                uniform_yaw=settings.uniform_yaw or settings.pretrain,
                color_match=match if is_source else None,
                partners=made[TARGET] if is_source and match is not None else None,
            )

        with contextlib.ExitStack() as stack:
            numbers = {identity: number for number, identity in enumerate(faces)}
            for identity in sorted(faces, key=lambda identity: identity != TARGET):  # sources borrow from the target
                made[identity] = maker(numbers[identity], identity)
                stack.callback(made[identity].close)
            stack.pop_all()
        return cls({identity: made[identity] for identity in faces})

    @property
    def source(self) -> BatchMaker:
        """The person, or the first of those, who is put on."""
        return self.sides[SOURCE]

    @property
    def target(self) -> BatchMaker:
        """The performer."""
        return self.sides[TARGET]

    def make(self, *, warp: bool = True) -> dict[str, SideBatch]:
        """The next batch of everyone. See :meth:`BatchMaker.make`."""
        return {identity: maker.make(warp=warp) for identity, maker in self.sides.items()}

    @property
    def waited_s(self) -> float:
        """Seconds that batches have waited for the loader threads."""
        return sum(maker.waited_s for maker in self.sides.values())

    def close(self) -> None:
        """Stop all loader threads."""
        with contextlib.ExitStack() as stack:
            for maker in self.sides.values():
                stack.callback(maker.close)


def _color_match(name: str) -> ColorMatch | None:
    if name == "sot":
        return functools.partial(match_sot, triples=_SOT_TRIPLES)
    return COLOR_MATCHES.get(name)


def _masks_notice(side: str, masked: int, total: int) -> Notice:
    count = f"all {total}" if masked == total else f"{masked} of {total}"
    return Notice(
        message=f"Masks stored in the {side} faceset say where the face is, in {count} faces.",
        reason="STORED_MASKS",
        severity="info",
        details={"side": side, "faces": str(masked)},
    )


def _no_masks_notice(side: str, recipe: MaskRecipe) -> Notice:
    named = [name for name in recipe.sources if name not in USUAL_MASKS]
    return Notice(
        message=f"No face of the {side} faceset has a mask named {' or '.join(named)}: the outline of the landmarks "
        "says where the face is. Check the name, or make the mask first.",
        reason="MASKS_NOT_FOUND",
        severity="warning",
        details={"side": side, "masks": ",".join(named)},
    )


def _extended_notice(side: str, faces: TrainingFaces, face_type: FaceType) -> Notice:
    has = faces.info.face_type.value
    return Notice(
        message=f"The {side} faceset {faces.info.path} holds {has} faces, the model paints {face_type.value} ones: "
        "what lies beyond the pictures repeats their border. Extract again with that face_type for real surroundings.",
        reason="FACE_TYPE_EXTENDED",
        details={"side": side, "face_type": has},
    )
