"""Faces of a clip with a drawn hand and a drawn microphone moving before them, so that the true mask is known exactly.

The truth is the landmark hull with brows of the *uncovered* face, less what the drawn thing covers. The drawing shares
neither code nor numbers with the things training invents (:mod:`dflcore.train.segment_occluders`): outlines are
polygons filled by OpenCV, textures come from distance transforms and woven patterns, and they move along a path from
frame to frame. Both are drawings all the same: what is measured here is a method, not every hand on earth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.geometry import affine
from dflcore.geometry.landmarks import fill_polygons, hull_mask
from dflcore.io.mask_labels import Label, Polygon
from dflcore.types import FaceRecord, FloatArray

CYCLE = 40
"""Faces after which the performance starts again: a hand passes, a microphone passes, then nothing."""
HAND_UNTIL, MICROPHONE_UNTIL = 16, 32
_ARC_STEPS = 10
_NEAR_SHARE = 0.05
"""Around the drawn thing, this share of the picture's side counts as its neighbourhood."""

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CoveredFace:
    """One aligned face with a thing drawn before it.

    Attributes:
        image: (S, S, 3) uint8 sRGB. truth, hull, cover: (S, S) in [0, 1]: the true mask, the mask as if nothing were
            there, and what the thing covers. kind: ``hand``, ``microphone`` or ``clean``.
        label: the truth as an artist's polygons.
    """

    image: NDArray[np.uint8]
    truth: FloatArray
    hull: FloatArray
    cover: FloatArray
    kind: str
    label: Label

    @property
    def neighbourhood(self) -> NDArray[np.bool_]:
        """(S, S): the drawn thing and what lies close around it."""
        side = 2 * round(len(self.cover) * _NEAR_SHARE) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        return np.asarray(cv2.dilate((self.cover > 0.5).astype(np.uint8), kernel) > 0)


def cover_face(image: NDArray[np.uint8], record: FaceRecord, moment: int) -> CoveredFace:
    """Draw what stands before the face at this moment of the performance.

    Args:
        image: (S, S, 3) uint8 sRGB, the aligned face as extracted.
        record: its row; landmarks and transform are those of the uncovered face.
        moment: counts the faces of the clip.
    """
    size = record.aligned_size
    points = affine.apply(record.aligned_from_plate, record.landmarks.points)
    hull = hull_mask(points, size, size)
    phase = moment % CYCLE
    kind = "hand" if phase < HAND_UNTIL else "microphone" if phase < MICROPHONE_UNTIL else "clean"
    # positions hang on the eyes' and chin's box, so that the thing passes the face, not the frame
    center, reach = points[27:48].mean(axis=0), float(np.ptp(points[:, 1]))
    outline: list[Points] = []
    if kind == "hand":
        outline = hand_outline(phase / HAND_UNTIL)
    elif kind == "microphone":
        outline = microphone_outline((phase - HAND_UNTIL) / (MICROPHONE_UNTIL - HAND_UNTIL))
    parts = [_vary(part, moment // CYCLE) * reach + center for part in outline]
    cover = fill_polygons(parts, size, size) if parts else np.zeros((size, size), np.float32)
    drawn = _paint(kind, cover, _skin_color(image, hull), moment)
    mixed = image * (1.0 - cover[..., None]) + drawn * cover[..., None]
    return CoveredFace(
        image=np.rint(mixed.clip(0, 255)).astype(np.uint8),
        truth=(hull * (1.0 - cover)).astype(np.float32),
        hull=hull,
        cover=cover,
        kind=kind,
        label=_label(hull, parts),
    )


def hand_outline(time: float) -> list[Points]:
    """Convex parts of a hand that wipes from the lower left over nose and brow; unit: the face's height.

    Args:
        time: 0 to 1 over its performance.
    """
    sweep = math.sin(math.pi * time)
    wrist = np.array([-0.95 + 1.15 * time, 0.75 - 0.55 * sweep])
    turn = math.radians(-62 + 50 * time)
    scale = 0.62
    parts = [_oval(0.0, -0.42, 0.25, 0.30), _limb((0.0, -0.2), (0.05, 1.9), 0.17, 0.26)]
    for number, (root_x, lean, length) in enumerate(
        ((-0.19, -14, 0.42), (-0.07, -4, 0.52), (0.06, 4, 0.49), (0.18, 13, 0.37))
    ):
        bend = math.radians(lean + 5 * math.sin(6.0 * time + number))
        tip = (root_x + length * math.sin(bend), -0.62 - length * math.cos(bend))
        parts.append(_limb((root_x, -0.6), tip, 0.07, 0.055))
    parts.append(_limb((0.2, -0.3), (0.46, -0.62), 0.085, 0.06))
    return [_place(part, wrist, turn, scale) for part in parts]


def microphone_outline(time: float) -> list[Points]:
    """Convex parts of a microphone that comes up to the mouth and wanders over a cheek; unit: the face's height."""
    head = np.array([0.62 - 0.75 * math.sin(math.pi * time), 0.5 - 0.28 * math.sin(2 * math.pi * time)])
    turn = math.radians(-38 + 30 * math.sin(2.5 * time))
    parts = [_oval(0.0, 0.0, 0.17, 0.22), _limb((0.0, 0.12), (0.0, 1.9), 0.095, 0.07)]
    return [_place(part, head, turn, 1.0) for part in parts]


def intersection_over_union(mask: FloatArray, truth: FloatArray, within: NDArray[np.bool_] | None = None) -> float:
    """Of the pixels at 0.5 and above; 1 where both are empty.

    Args:
        within: count only these pixels.
    """
    a, b = mask >= 0.5, truth >= 0.5
    if within is not None:
        a, b = a & within, b & within
    union = int((a | b).sum())
    return 1.0 if union == 0 else int((a & b).sum()) / union


def strip_picture(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Rows of equal pictures side by side."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def overlay(image: NDArray[np.uint8], mask: FloatArray) -> NDArray[np.uint8]:
    """The face with everything outside the mask dimmed and green, edges in white."""
    weight = mask[..., None]
    dimmed = image * 0.35 + np.array([0.0, 70.0, 0.0])
    mixed = image * weight + dimmed * (1.0 - weight)
    contours, _ = cv2.findContours((mask >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    picture = np.ascontiguousarray(mixed.clip(0, 255).astype(np.uint8))
    cv2.drawContours(picture, contours, -1, (255, 255, 255), 1)
    return picture


def _vary(points: Points, cycle: int) -> Points:
    """No performance repeats the one before: it comes from the other side, higher or lower, larger or smaller."""
    mirror = np.array([-1.0, 1.0]) if cycle % 2 else np.ones(2)
    return np.asarray(points * mirror * (1.0 + 0.12 * math.sin(2.0 * cycle)) + [0.0, 0.1 * math.sin(3.0 * cycle)])


def _label(hull: FloatArray, parts: Sequence[Points]) -> Label:
    """The hull traced as one polygon, the thing's parts excluded."""
    enlarged = cv2.resize(hull, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours((enlarged >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(contours, key=cv2.contourArea).reshape(-1, 2)
    include = Polygon(include=True, points=tuple(((x + 0.5) / 4, (y + 0.5) / 4) for x, y in outline.tolist()))
    excludes = tuple(Polygon(include=False, points=tuple(map(tuple, part.tolist()))) for part in parts)
    return Label(polygons=(include, *excludes))


def _skin_color(image: NDArray[np.uint8], hull: FloatArray) -> NDArray[np.float64]:
    """The middle colour of the face itself: the hardest colour a hand can have."""
    return np.asarray(np.median(image[hull > 0.9], axis=0), dtype=np.float64)


def _paint(kind: str, cover: FloatArray, skin: NDArray[np.float64], moment: int) -> NDArray[np.float64]:
    """(S, S, 3) 0..255: the thing's own picture, everywhere."""
    size = len(cover)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float64)
    inside = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    roundness = np.sqrt(np.clip(inside / (0.05 * size), 0.0, 1.0))[..., None]
    rng = np.random.default_rng(17 + moment // CYCLE)
    grain = cv2.GaussianBlur(rng.normal(0.0, 1.0, (size, size)), (0, 0), 2.0)[..., None]
    if kind == "hand":
        light = 1.08 - 0.25 * (columns / size)[..., None]
        return np.asarray(skin * light * (0.62 + 0.38 * roundness) * (1.0 + 0.10 * grain))
    weave = 18.0 * (np.sin(columns * 1.3) * np.sin(rows * 1.3))[..., None]
    shine = 70.0 * np.exp(-(((columns - 0.62 * size) / (0.05 * size)) ** 2))[..., None]
    return np.asarray(np.full((size, size, 3), 38.0) * (0.5 + 0.7 * roundness) + weave + shine * roundness)


def _oval(x: float, y: float, radius_x: float, radius_y: float) -> Points:
    turn = np.linspace(0.0, 2 * math.pi, 4 * _ARC_STEPS, endpoint=False)
    return np.stack([x + radius_x * np.cos(turn), y + radius_y * np.sin(turn)], axis=1)


def _limb(start: tuple[float, float], end: tuple[float, float], start_radius: float, end_radius: float) -> Points:
    """The convex hull of two circles."""
    circles = np.concatenate([_oval(*start, start_radius, start_radius), _oval(*end, end_radius, end_radius)])
    return np.asarray(cv2.convexHull(circles.astype(np.float32)), dtype=np.float64).reshape(-1, 2)


def _place(points: Points, origin: Points, turn: float, scale: float) -> Points:
    cos, sin = math.cos(turn), math.sin(turn)
    return np.asarray(scale * points @ np.array([[cos, sin], [-sin, cos]]) + origin)
