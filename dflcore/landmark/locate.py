"""From a detection to landmarks that keep still: look, look again upright, look several times and average.

Convention:
    Images are (H, W, 3) uint8 RGB, sRGB-encoded; points and boxes in pixels of the image given. Yaw in radians, > 0
    nose toward image-left.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput, Unsupported
from dflcore.geometry import affine
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.geometry.pose import estimate_pose
from dflcore.geometry.template import ALIGNMENT_INDEXES, ALIGNMENT_TEMPLATE
from dflcore.landmark.base import FaceCrop, Landmarker, choose_landmarker, create_landmarker
from dflcore.types import Box, FaceType, FloatArray, Landmarks
from dflcore.weights.store import WeightStore

logger = logging.getLogger(__name__)

DEFAULT_PASSES: Final = 2
DEFAULT_LOOKS: Final = 5
MESH_NAME: Final = "mesh468"
MESH_BAND: Final = 5.0
"""Degrees to either side of the limit in which the mesh fades in."""
_MESH_WEIGHTS: Final = "face_mesh_468"
_RING = 0.07
"""Distance of the averaged looks from the face's centre, in sides of its crop.

Measured on two clips with dlib's predictor and the mesh: five looks on a ring of 0.07 shake 7 to 23 % less than one,
and agree 8 to 36 % better with the looks at the mirrored picture, so their mean is nearer to the truth too. A ring of a
pixel gains half of that, one of 0.14 no more; looks that also differ in scale and roll gain nothing over shifts.
"""
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
_POSE_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedFace:
    """A face's landmarks and what is known about them.

    Attributes:
        landmarks: pixels of the image.
        spread: see :class:`dflcore.types.Sighting`; None after a single look.
        yaw: radians, estimated from the points.
        landmarker: registry name of what produced the points; empty where the caller named nothing.
    """

    landmarks: Landmarks
    spread: float | None
    yaw: float
    landmarker: str = ""


def locate_face(
    landmarker: Landmarker,
    image: NDArray[np.uint8],
    box: Box,
    *,
    passes: int = DEFAULT_PASSES,
    looks: int = DEFAULT_LOOKS,
    turn: int = 0,
    seed: int = 0,
    name: str = "",
) -> LocatedFace:
    """The landmarks of a detected face.

    The first look is at the detector's box, each further one at the upright box drawn from the points before. The last
    is several looks at slightly different crops, whose mean shakes less than any of them.

    Args:
        passes: 1 or more; 2 makes the result independent of the detector's box.
        looks: crops of the last pass, 1 or more: the centre, the rest evenly on a ring around it.
        turn: degrees by which the image was turned clockwise when the face was found, see :class:`Detection`.
        seed: another number takes other crops. The crops are the same for every image: what error remains is the same
            in neighbouring frames and does not shake.
        name: put into the result.

    Raises:
        InvalidInput: the points are not those of a face, or no head pose explains them.
    """
    first = FaceCrop.of_box(box, turn)
    return _refine(landmarker, image, first, passes=passes, looks=looks, seed=seed, name=name)


class FaceLocator:
    """:func:`locate_face` with a landmarker of choice, and the mesh with depth for heads turned far.

    Predictors of 68 points lose the far side of a face that turns away; the mesh does not. Both put the same points at
    slightly different places, so a hard switch would jump: within :data:`MESH_BAND` of the limit the points are a mean
    of both, weighted by yaw, and each frame still stands for itself. ``LocatedFace.landmarker`` says what it was:
    ``dlib68``, ``dlib68+mesh468`` or ``mesh468``.

    Args:
        landmarker: for faces that do not turn far.
        name: its registry name.
        mesh: for the others; None where it is not here.
        mesh_above_yaw: degrees of yaw, as the first landmarker sees it, to either side, at which both count the same;
            0 takes the mesh for every face.
        passes, looks, seed: see :func:`locate_face`.
    """

    def __init__(
        self,
        landmarker: Landmarker,
        name: str,
        *,
        mesh: Landmarker | None = None,
        mesh_above_yaw: float = 90.0,
        passes: int = DEFAULT_PASSES,
        looks: int = DEFAULT_LOOKS,
        seed: int = 0,
    ) -> None:
        self._landmarker = landmarker
        self._name = name
        self._mesh = mesh
        self._mesh_above_yaw = mesh_above_yaw
        self._passes, self._looks, self._seed = passes, looks, seed

    @classmethod
    def create(
        cls,
        name: str,
        store: WeightStore,
        *,
        device: str = "cpu",
        mesh_above_yaw: float | None = None,
        passes: int = DEFAULT_PASSES,
        looks: int = DEFAULT_LOOKS,
        seed: int = 0,
    ) -> FaceLocator:
        """With a landmarker by registry name or ``auto``; without the mesh where it cannot be had.

        Args:
            mesh_above_yaw: degrees; None, and 90 or more, never use the mesh.

        Raises:
            NotFound: no such landmarker, or its weights are missing.
            Unsupported: it cannot be loaded here.
            DataCorrupt: weights are damaged.
        """
        chosen = choose_landmarker(name, store)
        landmarker = create_landmarker(chosen, store, device=device)
        limit = 90.0 if mesh_above_yaw is None else mesh_above_yaw
        mesh = _create_mesh(store, device) if limit < 90.0 and chosen != MESH_NAME else None
        return cls(landmarker, chosen, mesh=mesh, mesh_above_yaw=limit, passes=passes, looks=looks, seed=seed)

    @property
    def has_mesh(self) -> bool:
        """Heads turned far are given to the mesh."""
        return self._mesh is not None

    def locate(self, image: NDArray[np.uint8], box: Box, *, turn: int = 0) -> LocatedFace:
        """The face in ``box``. Raises as :func:`locate_face`."""
        found = self._refine(self._landmarker, image, FaceCrop.of_box(box, turn), self._name)
        share = self._mesh_share(found.yaw)
        if self._mesh is None or share == 0.0:
            return found
        meshed = self._refine(self._mesh, image, self._mesh.frame(found.landmarks.points), MESH_NAME)
        return meshed if share == 1.0 else _blend(found, meshed, share)

    def _mesh_share(self, yaw: float) -> float:
        """Weight of the mesh: 0 up to the band, 1 beyond it, smooth between."""
        above = abs(math.degrees(yaw)) - self._mesh_above_yaw
        band = min(MESH_BAND, self._mesh_above_yaw)
        if above >= band:
            return 1.0
        x = max(above + band, 0.0) / (2.0 * band)
        return x * x * (3.0 - 2.0 * x)

    def _refine(self, landmarker: Landmarker, image: NDArray[np.uint8], crop: FaceCrop, name: str) -> LocatedFace:
        return _refine(landmarker, image, crop, passes=self._passes, looks=self._looks, seed=self._seed, name=name)


def _blend(first: LocatedFace, second: LocatedFace, share: float) -> LocatedFace:
    """``share`` of the second in the first; depth is the second's."""
    near, far = first.landmarks, second.landmarks
    points = np.asarray(near.points + share * (far.points - near.points), dtype=np.float32)
    spread = None
    if first.spread is not None and second.spread is not None:
        spread = first.spread + share * (second.spread - first.spread)
    return LocatedFace(
        landmarks=Landmarks(points=points, layout=near.layout, depth=far.depth),
        spread=spread,
        yaw=estimate_yaw(points),
        landmarker=f"{first.landmarker}+{second.landmarker}",
    )


def estimate_yaw(points: FloatArray) -> float:
    """Radians by which the head is turned, from (68, 2) points in any upright or leaning position.

    Raises:
        InvalidInput: the points are not those of a face, or no head pose explains them.
    """
    aligned = affine.apply(aligned_from_landmarks(points, FaceType.FULL, _POSE_PX), points)
    return estimate_pose(aligned, _POSE_PX).yaw


def _refine(
    landmarker: Landmarker,
    image: NDArray[np.uint8],
    crop: FaceCrop,
    *,
    passes: int,
    looks: int,
    seed: int,
    name: str,
) -> LocatedFace:
    if passes < 1 or looks < 1:
        raise InvalidInput(f"A face needs a pass and a look at least, not {passes} and {looks}.", reason="NO_LOOK")
    for _ in range(passes - 1):
        crop = landmarker.frame(landmarker.look(image, [crop])[0].points)
    seen = landmarker.look(image, _perturb(crop, looks, seed))
    mean = _mean(seen)
    spread = _spread(seen, mean) if looks > 1 else None
    return LocatedFace(landmarks=mean, spread=spread, yaw=estimate_yaw(mean.points), landmarker=name)


def _perturb(crop: FaceCrop, looks: int, seed: int) -> list[FaceCrop]:
    """The crop and others around it whose mean it is; two looks do without the crop itself."""
    around = max(looks - 1, 2) if looks > 1 else 0
    start = math.pi / 4.0 + seed * _GOLDEN_ANGLE
    angles = [start + 2.0 * math.pi * index / around for index in range(around)]
    ring = [crop.moved(_RING * math.cos(angle), _RING * math.sin(angle)) for angle in angles]
    return ring if looks == 2 else [crop, *ring]


def _mean(seen: Sequence[Landmarks]) -> Landmarks:
    if len(seen) == 1:
        return seen[0]
    points = np.mean([one.points for one in seen], axis=0, dtype=np.float64)
    depths = [one.depth for one in seen if one.depth is not None]
    depth = np.asarray(np.mean(depths, axis=0), dtype=np.float32) if len(depths) == len(seen) else None
    return Landmarks(points=np.asarray(points, dtype=np.float32), layout=seen[0].layout, depth=depth)


def _spread(seen: Sequence[Landmarks], mean: Landmarks) -> float:
    """Root mean square distance of all looks' points from the mean, in template units."""
    template_from_image = affine.estimate_similarity(mean.points[list(ALIGNMENT_INDEXES)], ALIGNMENT_TEMPLATE)
    away = np.stack([one.points for one in seen]).astype(np.float64) - mean.points
    return float(np.sqrt(np.square(away).sum(-1).mean())) * affine.scale_of(template_from_image)


def _create_mesh(store: WeightStore, device: str) -> Landmarker | None:
    if not store.has(_MESH_WEIGHTS):
        return None
    try:
        return create_landmarker(MESH_NAME, store, device=device)
    except Unsupported as error:
        logger.warning("Heads turned far stay with the first landmarker: %s", error)
        return None
