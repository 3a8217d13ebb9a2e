"""Footage in three facesets, and a judge of swaps: source, target to train on, and target faces nobody trained on.

Every fifth face of the target is held out. Its neighbours in time are trained on, so what is measured is the use a
compositor makes of a model, the rest of the same performance, and not a stranger's. What the judge looks at is the
painted face composited over the held-out picture in aligned space, under the matte that merging makes by default and
without any colour work; sharpness alone is that of the painted face itself, inside the outline of the target's face.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.errors import InvalidInput
from dflcore.extract.pipeline import extract_faces
from dflcore.frames import FrameRange
from dflcore.geometry import affine
from dflcore.geometry.landmarks import hull_mask
from dflcore.geometry.pose import estimate_pose
from dflcore.geometry.warp import warp_to_aligned
from dflcore.identity.base import create_identity_encoder, identity_distance
from dflcore.io.atomic import write_text
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.open_plate import open_plate
from dflcore.landmark.base import create_landmarker
from dflcore.merge.matte import MaskParts, combine_masks, shape_mask
from dflcore.merge.swapper import FaceSwapper
from dflcore.progress import LoggedRun
from dflcore.qc.expression import landmark_error, pose_error
from dflcore.qc.perceptual import PerceptualMeter
from dflcore.qc.sharpness import LUMA_WEIGHTS, aligned_inside, sharpness_ratio
from dflcore.qc.ssim import structural_similarity
from dflcore.types import Authorization, Box, FaceRecord, FloatArray, Landmarks, Pose
from dflcore.weights.store import WeightStore

HELD_OUT_EVERY: Final = 5
JUDGED_FACES: Final = 24
"""Held-out faces looked at, spread over the take."""
_DESCRIBED_SOURCES: Final = 24
_AT_ONCE: Final = 8
_DONE: Final = "footage.json"
MEASURES: Final = ("ssim", "perceptual", "identity", "identity_to_target", "landmarks", "pose", "sharpness")


@dataclass(frozen=True, slots=True)
class Footage:
    """Where the facesets are.

    Attributes:
        folder: holds ``source_faces``, ``target_faces`` (to train on) and ``held_out_faces``.
    """

    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "source_faces"

    @property
    def target(self) -> Path:
        return self.folder / "target_faces"

    @property
    def held_out(self) -> Path:
        return self.folder / "held_out_faces"


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation over the judged faces."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(np.mean(values)), float(np.std(values)))


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a swap measures, as design and paper list it.

    Attributes:
        ssim, perceptual: of result against target, over the aligned picture; see :mod:`dflcore.qc`.
        identity, identity_to_target: descriptor distance of the result to either person's mean descriptor.
        landmarks: percent of the distance of the eyes. pose: degrees. Both against the target.
        sharpness: ratio of the painted face's to the target's own.
        faces: (S, S, 3) uint8 results, in the order of the judge's faces.
    """

    ssim: Spread
    perceptual: Spread
    identity: Spread
    identity_to_target: Spread
    landmarks: Spread
    pose: Spread
    sharpness: Spread
    faces: tuple[NDArray[np.uint8], ...]

    def values(self) -> dict[str, dict[str, float]]:
        """Measure → mean and deviation, as JSON keeps it."""
        spreads: dict[str, Spread] = {name: getattr(self, name) for name in MEASURES}
        return {name: {"mean": one.mean, "deviation": one.deviation} for name, one in spreads.items()}


@dataclass(frozen=True, slots=True)
class _Face:
    """One held-out face as the judge sees it. Pictures (S, S, 3) float32 sRGB in [0, 1]; points in its pixels."""

    picture: FloatArray
    box: Box
    points: FloatArray
    pose: Pose
    hull: FloatArray


def prepare_footage(source_movie: Path, target_movie: Path, folder: Path, *, frame_step: int = 1) -> Footage:
    """Extract both movies and hold every fifth face of the target out. What is there already is kept.

    Args:
        frame_step: every how many frames a face is taken.

    Raises:
        InvalidInput: a movie shows too few faces.
        DflError: a movie cannot be read, or the folder cannot be written.
    """
    footage = Footage(folder)
    movies = {"source": source_movie, "target": target_movie}
    made_of = {side: [str(movie.resolve()), movie.stat().st_size] for side, movie in movies.items()}
    facts = {**made_of, "frame_step": frame_step, "held_out_every": HELD_OUT_EVERY}
    if (folder / _DONE).is_file() and json.loads((folder / _DONE).read_text("utf-8")) == facts:
        return footage
    for name in ("source_faces", "target_faces", "held_out_faces", "all_target_faces"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _extract(source_movie, footage.source, frame_step)
    _extract(target_movie, folder / "all_target_faces", frame_step)
    split_faceset(folder / "all_target_faces", footage.target, footage.held_out)
    shutil.rmtree(folder / "all_target_faces")
    write_text(folder / _DONE, json.dumps(facts))
    return footage


def split_faceset(every: Path, to_train_on: Path, held_out: Path) -> None:
    """Copy a faceset into two: every fifth face into the second.

    Raises:
        InvalidInput: there are fewer than five faces.
    """
    with Faceset.open(every) as faces, contextlib.ExitStack() as stack:
        if len(faces) < HELD_OUT_EVERY:
            raise InvalidInput(
                f"{faces.info.plates} give {len(faces)} faces, too few to hold any out.", reason="TOO_FEW_FACES"
            )
        kept, out = (
            stack.enter_context(
                FacesetWriter(
                    path,
                    face_type=faces.face_type,
                    aligned_size=faces.aligned_size,
                    settings={},
                    authorization=Authorization(),
                    durable=False,
                )
            )
            for path in (to_train_on, held_out)
        )
        for number, record in enumerate(faces.records()):
            writer = out if number % HELD_OUT_EVERY == HELD_OUT_EVERY // 2 else kept
            pair = (record, faces.read_image(record.name))
            writer.add_frame(record.plate, record.frame, record.plate_size, [pair])


class SwapJudge:
    """Measures swaps on the held-out faces, always the same ones and with the embedded networks.

    Attributes:
        source_to_target: distance of the mean descriptors of the two people, without which the others say little.
        source_itself: median distance of the source's own faces to their mean: what a perfect swap would have.
        untouched: mean distance to the source of the target's faces as they are, and to the target: what no swap has.

    Raises:
        InvalidInput: none of the faces can be looked at.
    """

    def __init__(self, footage: Footage, *, count: int = JUDGED_FACES) -> None:
        store = WeightStore()
        self._landmarker = create_landmarker("dlib68", store)
        self._encoder = create_identity_encoder(store=store)
        self._perceptual = PerceptualMeter(store)
        self._feather = MergeSettings().matte_feather
        self._faces = self._study(footage.held_out, count)
        sources = self._study(footage.source, _DESCRIBED_SOURCES)
        own = [self._describe(face.picture, face.points) for face in sources]
        self._source: FloatArray = np.mean(own, axis=0)
        targets = [self._describe(face.picture, face.points) for face in self._faces]
        self._target: FloatArray = np.mean(targets, axis=0)
        self.untouched = tuple(
            float(np.mean([identity_distance(one, person) for one in targets]))
            for person in (self._source, self._target)
        )
        self.source_to_target = identity_distance(self._source, self._target)
        self.source_itself = float(np.median([identity_distance(one, self._source) for one in own]))

    @property
    def pictures(self) -> list[NDArray[np.uint8]]:
        """The held-out faces themselves: (S, S, 3) uint8."""
        return [_to_bytes(face.picture) for face in self._faces]

    def judge(self, swapper: FaceSwapper) -> Judgement:
        """Swap every held-out face and measure what comes out.

        Raises:
            InvalidInput: of no result the landmarks lie in the picture.
        """
        found: dict[str, list[float]] = {name: [] for name in MEASURES}
        pictures = []
        for face, (painted, matte) in zip(self._faces, self._paint(swapper), strict=True):
            result = np.asarray(painted * matte[..., None] + face.picture * (1.0 - matte[..., None]), np.float32)
            pictures.append(_to_bytes(result))
            with contextlib.suppress(InvalidInput):
                for name, value in self._measure(face, painted, result).items():
                    found[name].append(value)
        if not found["ssim"]:
            raise InvalidInput("No swapped face can be measured.", reason="NO_FACE_FOUND")
        return Judgement(**{name: Spread.of(values) for name, values in found.items()}, faces=tuple(pictures))

    def _measure(self, face: _Face, painted: FloatArray, result: FloatArray) -> dict[str, float]:
        side = len(result)
        points = self._landmarker.locate(_to_bytes(result), face.box).points
        described = self._describe(result, points)
        inside = aligned_inside(face.hull, np.eye(2, 3), side)
        return {
            "ssim": structural_similarity(result, face.picture),
            "perceptual": self._perceptual.distance(result, face.picture),
            "identity": identity_distance(described, self._source),
            "identity_to_target": identity_distance(described, self._target),
            "landmarks": landmark_error(points, face.points),
            "pose": pose_error(estimate_pose(points, side), face.pose),
            "sharpness": sharpness_ratio(_luma(painted), _luma(face.picture), inside),
        }

    def _paint(self, swapper: FaceSwapper) -> Iterable[tuple[FloatArray, FloatArray]]:
        """Per held-out face: the painted face (S, S, 3) and its matte (S, S), both in [0, 1]."""
        for start in range(0, len(self._faces), _AT_ONCE):
            faces = self._faces[start : start + _AT_ONCE]
            seen = torch.stack([_shrunk(face.picture, swapper.resolution) for face in faces])
            painted, of_source, of_target = swapper.swap(seen)
            for index, face in enumerate(faces):
                side = len(face.picture)
                picture = _enlarged(painted[index].permute(1, 2, 0).numpy(), side)
                parts = MaskParts(
                    learned_source=_enlarged(of_source[index, 0].numpy(), side),
                    learned_target=_enlarged(of_target[index, 0].numpy(), side),
                    hull=face.hull,
                )
                mask = combine_masks(parts, "learned_and_hull")
                yield picture, shape_mask(mask, erode_percent=0.0, feather_percent=self._feather)

    def _study(self, faceset: Path, count: int) -> list[_Face]:
        """Some faces of a faceset, spread over it; those whose landmarks leave the picture are left out."""
        faces = []
        with Faceset.open(faceset) as opened:
            chosen = np.unique(np.linspace(0, len(opened.names) - 1, count).round().astype(int))
            for index in chosen:
                record = opened.record(opened.names[index])
                with contextlib.suppress(InvalidInput):
                    faces.append(self._look(record, opened.read_image(record.name)))
        if not faces:
            raise InvalidInput(f"No face of {faceset} can be measured.", reason="NO_FACE_FOUND", path=faceset)
        return faces

    def _look(self, record: FaceRecord, image: NDArray[np.uint8]) -> _Face:
        """Landmarks are looked for anew, with the eyes that will look at the result."""
        box = _box_in_aligned(record)
        points = self._landmarker.locate(image, box).points
        side = len(image)
        outline = hull_mask(affine.apply(record.aligned_from_plate, record.landmarks.points), side, side)
        picture = np.asarray(image / np.float32(255.0), dtype=np.float32)
        return _Face(picture, box, points, estimate_pose(points, side), outline)

    def _describe(self, picture: FloatArray, points: FloatArray) -> FloatArray:
        return self._encoder.describe(_to_bytes(picture), Landmarks(points=points))


def _extract(movie: Path, faceset: Path, frame_step: int) -> None:
    with contextlib.closing(open_plate(str(movie))) as plate:
        frames = FrameRange.of(list(plate.frames)[::frame_step])
    with contextlib.closing(open_plate(str(movie), frames=frames)) as plate:
        settings = ExtractSettings(max_faces=1, compute_identity=False)
        extract_faces(plate, faceset, settings, LoggedRun(), store=WeightStore())


def _box_in_aligned(record: FaceRecord) -> Box:
    """The detector's box in the aligned picture, upright and as large."""
    box, to_aligned = record.box, record.aligned_from_plate
    center = np.array([[(box.left + box.right) / 2.0, (box.top + box.bottom) / 2.0]])
    ((x, y),) = affine.apply(to_aligned, center).tolist()
    scale = affine.scale_of(to_aligned) / 2.0
    half_width, half_height = (box.right - box.left) * scale, (box.bottom - box.top) * scale
    return Box(x - half_width, y - half_height, x + half_width, y + half_height)


def _shrunk(picture: FloatArray, side: int) -> torch.Tensor:
    """(3, side, side), as training and merging resample."""
    scale = side / len(picture)
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    return warp_to_aligned(planes, np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]]), side).clamp(0.0, 1.0)


def _enlarged(picture: FloatArray, side: int) -> FloatArray:
    resized = cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(resized, 0.0, 1.0), dtype=np.float32)


def _luma(picture: FloatArray) -> FloatArray:
    return np.asarray(picture @ LUMA_WEIGHTS, dtype=np.float32)


def _to_bytes(picture: FloatArray) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(picture, 0.0, 1.0) * 255.0), dtype=np.uint8)
