"""Detection in several images at once, and in images turned until a face shows.

Convention:
    Turns are degrees by which a picture is turned clockwise: 0, 90, 180 or 270. A face seen at turn t lies in the
    picture as it is with its top turned t degrees counter-clockwise from up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.detect.base import BatchDetector, Detector
from dflcore.errors import InvalidInput
from dflcore.types import Box, Detection

ALL_TURNS: Final = (0, 90, 270, 180)
"""Order of deepfacelab fact sheet §3.2: upside down is the rarest."""


def detect_batch(
    detector: Detector, images: Sequence[NDArray[np.uint8]], *, turns: Sequence[int] = (0,)
) -> list[list[Detection]]:
    """Faces of every image, the largest first: what one call per image gives, faster where the detector can.

    All images of one size go to the detector in one go; how many its device holds is for the caller to know.

    Args:
        images: each (H, W, 3) uint8 sRGB-encoded RGB, sizes may differ.
        turns: tried in this order; an image's faces are those of the first turn that shows any.

    Returns:
        For each image its detections, boxes in pixels of the image as given, ``turn`` set.

    Raises:
        InvalidInput: a turn that is none of 0, 90, 180 and 270.
    """
    for turn in turns:
        if turn not in ALL_TURNS:
            raise InvalidInput(f"Pictures are turned by 0, 90, 180 or 270 degrees, not by {turn}.", reason="BAD_TURN")
    found: list[list[Detection]] = [[] for _ in images]
    for turn in turns:
        waiting = [index for index, detections in enumerate(found) if not detections]
        turned = [_turn_image(images[index], turn) for index in waiting]
        for index, detections in zip(waiting, _detect_upright(detector, turned), strict=True):
            height, width = images[index].shape[:2]
            found[index] = [Detection(_turn_back(one.box, turn, width, height), one.score, turn) for one in detections]
    return found


def detect_with_turns(
    detector: Detector, image: NDArray[np.uint8], turns: Sequence[int] = ALL_TURNS
) -> list[Detection]:
    """:func:`detect_batch` of one image, by default trying all turns."""
    return detect_batch(detector, [image], turns=turns)[0]


def _detect_upright(detector: Detector, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
    if not isinstance(detector, BatchDetector):
        return [detector.detect(image) for image in images]
    of_shape: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        of_shape.setdefault(image.shape, []).append(index)
    found: list[list[Detection]] = [[] for _ in images]
    for indexes in of_shape.values():
        answers = detector.detect_batch(np.stack([images[index] for index in indexes]))
        for index, detections in zip(indexes, answers, strict=True):
            found[index] = detections
    return found


def _turn_image(image: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(image, -turn // 90))


def _turn_back(box: Box, turn: int, width: int, height: int) -> Box:
    """A box of the turned picture in the picture as it was, ``width`` x ``height`` pixels."""
    if turn == 90:
        return Box(box.top, height - box.right, box.bottom, height - box.left)
    if turn == 180:
        return Box(width - box.right, height - box.bottom, width - box.left, height - box.top)
    if turn == 270:
        return Box(width - box.bottom, box.left, width - box.top, box.right)
    return box
