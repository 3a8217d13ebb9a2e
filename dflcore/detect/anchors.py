"""What the anchor-based detectors share: boxes from network answers, and one box per face.

Convention:
    Boxes are rows (left, top, right, bottom) in pixels of the image given.

Source: Liu et al. 2016, "SSD: Single Shot MultiBox Detector", §2.2 for the box parametrisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dflcore.detect.base import sort_detections
from dflcore.errors import DataCorrupt, Unsupported
from dflcore.types import Box, Detection
from dflcore.weights.store import WeightStore

BGR_MEANS = (104.0, 117.0, 123.0)
"""Subtracted from blue, green, red in 0..255 by the networks trained on VGG's terms."""
DEFAULT_MIN_SCORE = 0.5
_CENTER_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes of one feature map that pass the least score, of all images of a batch.

    Attributes:
        image: (N,) which image of the batch.
        boxes: (N, 4).
        scores: (N,) probabilities.
    """

    image: Tensor
    boxes: Tensor
    scores: Tensor


def pick_candidates(scores: Tensor, offsets: Tensor, step: int, sizes: Sequence[float], least: float) -> Candidates:
    """The anchors of a feature map that are sure enough, as boxes.

    Args:
        scores: (B, h, w, A) probabilities.
        offsets: (B, h, w, A, 4) shift of the centre in tenths of the anchor's size, logarithm of the size in fifths.
        step: pixels between neighbouring anchors; the first lies half a step inside.
        sizes: side of each of the A anchors in pixels.
        least: least score.
    """
    image, row, column, which = (scores >= least).nonzero(as_tuple=True)
    chosen = offsets[image, row, column, which].double()
    size = torch.tensor(sizes, dtype=torch.float64, device=scores.device)[which, None]
    anchors = (torch.stack([column, row], 1) + 0.5) * step
    centers = anchors + chosen[:, :2] * _CENTER_VARIANCE * size
    half = size * torch.exp(chosen[:, 2:] * _SIZE_VARIANCE) / 2.0
    return Candidates(image, torch.cat([centers - half, centers + half], 1), scores[image, row, column, which])


def detections_of(
    candidates: Sequence[Candidates], count: int, *, overlap: float, edge: float
) -> list[list[Detection]]:
    """Each image's faces, the largest first: of boxes that share much only the surest is kept.

    Args:
        count: images in the batch.
        overlap: intersection over union from which two boxes are one face.
        edge: pixels added to widths and heights when overlap is computed, 1 where the network's makers counted so.
    """
    image = torch.cat([one.image for one in candidates]).cpu().numpy()
    boxes = torch.cat([one.boxes for one in candidates]).cpu().numpy()
    scores = torch.cat([one.scores for one in candidates]).double().cpu().numpy()
    found = []
    for index in range(count):
        mine = np.flatnonzero(image == index)
        kept = mine[keep_surest(boxes[mine], scores[mine], overlap, edge)]
        rows = zip(boxes[kept].tolist(), scores[kept].tolist(), strict=True)
        whole = [Detection(Box(*box), score) for box, score in rows if box[2] > box[0] and box[3] > box[1]]
        found.append(sort_detections(whole))
    return found


def keep_surest(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], overlap: float, edge: float = 0.0
) -> NDArray[np.intp]:
    """Indexes of the boxes that share no more than ``overlap`` with a surer box that is kept, the surest first."""
    size = boxes[:, 2:] - boxes[:, :2] + edge
    areas = size.prod(1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.maximum(high - low + edge, 0.0).prod(1)
        order = rest[shared <= overlap * (areas[best] + areas[rest] - shared)]
    return np.array(kept, dtype=np.intp)


def network_input(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, H, W, 3) uint8 RGB to (N, 3, H, W) float32 BGR less :data:`BGR_MEANS`."""
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).flip(1).float()
    return batch - torch.tensor(BGR_MEANS, device=device).view(1, 3, 1, 1)


def load_network(name: str, create: Callable[[], Any], store: WeightStore, device: torch.device) -> nn.Module:
    """A network with weights of the store, ready to be asked.

    Raises:
        NotFound: the weights are missing.
        Unsupported: a package is missing.
        DataCorrupt: the weights are not those of this network.
    """
    path = store.find(name)  # before the imports of ``create``, which take seconds
    try:
        network: nn.Module = create()
    except ImportError as error:
        raise Unsupported(
            f"The detector {name} cannot be loaded: {error}. Install the package it needs.",
            reason="COMPONENT_NOT_INSTALLED",
            name=name,
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports a damaged file with a dozen unrelated classes, at length
        raise DataCorrupt(f"The weights {path} cannot be read.", reason="WEIGHTS_DAMAGED", path=path) from error
    try:
        network.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    except (RuntimeError, AttributeError, TypeError) as error:
        raise DataCorrupt(
            f"The weights {path} are those of another network than {name}.", reason="WEIGHTS_DAMAGED", path=path
        ) from error
    return network.to(device).eval()
