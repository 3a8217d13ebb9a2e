"""What a run came to, for the person who started it: whom the swapped face looks like, how sharp it is, what to try
next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.config.train import TrainSettings
from dflcore.errors import DflError
from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate, network_from_aligned
from dflcore.geometry.landmarks import hull_mask
from dflcore.geometry.warp import warp_to_aligned
from dflcore.identity.base import create_identity_encoder, describe_batch, identity_distance
from dflcore.models.face_model import FaceModel
from dflcore.quality import LUMA_WEIGHTS
from dflcore.train.dataset import TrainingFaces
from dflcore.types import FaceType, FloatArray, Landmarks
from dflcore.weights.store import WeightStore

REVIEWED_FACES = 12
"""Of each side, spread evenly over the faceset."""
TREND_SHARE = 0.2
"""The losses of the last fifth of the history are compared with those of the fifth before."""
FALLING = 0.97
"""Losses below this share of what they were still fall."""
SHARP_ENOUGH = 0.7
"""A swap of this share of its source's sharpness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReview:
    """Figures of the faces a run painted last, and advice.

    Attributes:
        identity_to_source: median distance of the swapped faces' descriptors to the source's mean one; up to the
            encoder's limit it is the same person. NaN when there is no encoder.
        source_to_target: distance of the two people to each other, without which the other says little.
        sharpness_ratio: sharpness of the swapped faces as a share of the source's own, medians.
        advice: sentences, the most useful first.
    """

    identity_to_source: float
    source_to_target: float
    sharpness_ratio: float
    advice: tuple[str, ...]

    def sentence(self) -> str:
        """All of it in words."""
        identity = (
            f"distance to the source {self.identity_to_source:.2f} (the two people: {self.source_to_target:.2f}), "
            if np.isfinite(self.identity_to_source)
            else ""
        )
        return (
            f"{identity}sharpness {100 * self.sharpness_ratio:.0f} % of the source's. {' '.join(self.advice)}".strip()
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    """Faces of one side as the model sees them: (S, S, 3) uint8 sRGB-encoded RGB and landmarks in them."""

    images: list[NDArray[np.uint8]]
    landmarks: list[Landmarks]


def review_training(
    model: FaceModel,
    source: TrainingFaces,
    target: TrainingFaces,
    settings: TrainSettings,
    history: Sequence[Sequence[float]],
    store: WeightStore,
    face_type: FaceType | None = None,
) -> TrainingReview | None:
    """Swap some faces and look at them. None when no face of a side can be read.

    Args:
        model: as trained; left in the mode it is in.
        source, target: open facesets that nobody else reads meanwhile.
        history: rows of iteration, seconds and losses, as in the model's folder.
        store: where the identity encoder's weights are.
        face_type: what the model paints; None takes what a new model would.
    """
    paints = face_type or settings.face_type or source.info.face_type
    wanted, performer = (_show(faces, paints, model.resolution) for faces in (source, target))
    if not wanted.images or not performer.images:
        return None
    swapped = _Shown(_swap(model, performer.images), performer.landmarks)
    to_source, apart = _distances(wanted, performer, swapped, store)
    ratio = _median_sharpness(swapped) / max(_median_sharpness(wanted), 1e-12)
    return TrainingReview(
        identity_to_source=to_source,
        source_to_target=apart,
        sharpness_ratio=ratio,
        advice=tuple(advise(settings, history, ratio, to_source)),
    )


def advise(
    settings: TrainSettings, history: Sequence[Sequence[float]], sharpness_ratio: float, identity: float
) -> list[str]:
    """What to try next, the most useful first.

    The order is that of the reference's users: train until the losses rest, then without warp, then with
    learning-rate dropout, then against a critic.
    """
    if settings.pretrain:
        return ["Switch pretrain off and give it the two people when the reconstructions show every face."]
    advice: list[str] = []
    if is_falling(history):
        advice.append("The losses still fall: train on.")
    elif sharpness_ratio < SHARP_ENOUGH:
        if settings.random_warp:
            advice.append("The losses rest and the face is soft: train on without random_warp.")
        elif not settings.lr_dropout:
            advice.append("The face is soft: train on with lr_dropout 0.7.")
        elif not settings.gan_power:
            advice.append("The face is soft: train on with gan_power 0.1.")
    if np.isfinite(identity) and identity > 0.6:
        advice.append(
            "It is not the same person yet: more source faces of the target's poses and light help most; look at "
            "`dfl faceset coverage`."
        )
    return advice or ["It looks done: merge a few frames and look at them."]


def is_falling(history: Sequence[Sequence[float]]) -> bool:
    """The losses of the last part of a run are clearly below those of the part before; True for too short a history."""
    losses = np.array([sum(row[2:]) for row in history], dtype=np.float64)
    part = int(len(losses) * TREND_SHARE)
    if part < 2:
        return True
    return bool(losses[-part:].mean() < FALLING * losses[-2 * part : -part].mean())


def _show(faces: TrainingFaces, face_type: FaceType, side: int) -> _Shown:
    step = max(1, len(faces.names) // REVIEWED_FACES)
    shown = _Shown([], [])
    for name in faces.names[::step][:REVIEWED_FACES]:
        try:
            record, image = faces.record(name), faces.read_image(name)
            model_from_aligned = network_from_aligned(record, face_type, side)
        except DflError:
            continue
        pixels = warp_to_aligned(torch.from_numpy(image).permute(2, 0, 1).float() / 255.0, model_from_aligned, side)
        shown.images.append(_to_uint8(pixels))
        points = affine.apply(model_from_plate(record, face_type, side), record.landmarks.points)
        shown.landmarks.append(Landmarks(points=points.astype(np.float32)))
    return shown


@torch.no_grad()
def _swap(model: FaceModel, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    faces = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().to(device) / 255.0
    swapped = [_to_uint8(model.swap(face[None]).face[0]) for face in faces]
    model.train(was_training)
    return swapped


def _distances(wanted: _Shown, performer: _Shown, swapped: _Shown, store: WeightStore) -> tuple[float, float]:
    """Of the swapped faces to the source, and of the people to each other; NaN without an encoder."""
    try:
        encoder = create_identity_encoder(store=store)
        people = [np.mean(describe_batch(encoder, one.images, one.landmarks), axis=0) for one in (wanted, performer)]
        described: list[FloatArray] = describe_batch(encoder, swapped.images, swapped.landmarks)
    except DflError:
        return float("nan"), float("nan")
    to_source = float(np.median([identity_distance(one, people[0]) for one in described]))
    return to_source, identity_distance(people[0], people[1])


def _median_sharpness(shown: _Shown) -> float:
    return float(np.median([_sharpness(*one) for one in zip(shown.images, shown.landmarks, strict=True)]))


def _sharpness(image: NDArray[np.uint8], landmarks: Landmarks) -> float:
    """Variance of the Laplacian inside the face's outline: what is outside, nobody has taught the network."""
    side = image.shape[0]
    kernel = np.ones((side // 16 * 2 + 1,) * 2, np.uint8)
    inside = cv2.erode((hull_mask(landmarks.points, side, side) > 0.5).astype(np.uint8), kernel).astype(bool)
    luma = image.astype(np.float32) @ np.array(LUMA_WEIGHTS, dtype=np.float32) / np.float32(255.0)
    laplacian = cv2.Laplacian(luma, cv2.CV_32F)
    return float(laplacian[inside].var()) if inside.any() else float(laplacian.var())


def _to_uint8(pixels: torch.Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray((pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())
