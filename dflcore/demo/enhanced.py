"""A personal detail enhancer on the demo: some frames merged with and without it, measured, and crops side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from dflcore.config.merge import MergeSettings
from dflcore.demo.measure import ALIGNED_PX, FaceMeter, Portrait, align_full, as_bytes, shown
from dflcore.demo.one_frame import DemoFrame, Layers, Pixels, cell, rgb_of, write_sheet
from dflcore.demo.stage import load_source_portrait
from dflcore.frames import FrameRange
from dflcore.geometry import affine
from dflcore.geometry.warp import warp_to_aligned
from dflcore.io.exr import read_exr_layers
from dflcore.io.faceset import Faceset
from dflcore.merge.tools import open_tools
from dflcore.qc.sharpness import aligned_inside, aligned_luma, laplacian_variance
from dflcore.types import Affine, FloatArray, Landmarks
from dflcore.weights.store import WeightStore

FRAME_COUNT: Final = 12
POWER_PERCENT: Final = 80.0
WITHOUT, WITH = "without", "with"
CROP_PX: Final = 170
"""Plate pixels a crop is wide."""
ZOOM: Final = 2
_CROPS: Final[Mapping[str, tuple[slice, float]]] = {"eyes": (slice(36, 48), 0.46), "mouth": (slice(48, 68), 0.46)}
"""What is looked at → its points of the 68, and the crop's height as a share of its width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancedFigures:
    """Measured over :data:`FRAME_COUNT` frames, each figure without and with the enhancer.

    Attributes:
        identity: mean distance of the descriptors to the source's portrait; less is more alike.
        sharpness: mean sharpness as a share of the source portrait's, see :mod:`dflcore.qc.sharpness`.
        change: mean over neighbouring frames of the root mean square change of the face's luma, in aligned space and
            8-bit steps: what moves on a face that is held still, wobble and noise as well as play.
        added: root mean square of what the enhancer adds, in 8-bit steps; 0 without.
        added_change: the same of its change from frame to frame; 1.41 times ``added`` were noise.
    """

    identity: Mapping[str, float]
    sharpness: Mapping[str, float]
    change: Mapping[str, float]
    added: float
    added_change: float

    def lines(self) -> list[str]:
        """The figures as text."""
        return [
            f"enhancer: {name}: identity distance {self.identity[name]:.3f}, sharpness {self.sharpness[name]:.2f} of "
            f"the source's, change from frame to frame {self.change[name]:.2f} of 255"
            for name in (WITHOUT, WITH)
        ] + [f"enhancer: it adds {self.added:.2f} of 255, of which {self.added_change:.2f} change from frame to frame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Face:
    """A merged frame as seen: sRGB-encoded (H, W, 3) in [0, 1], its luma in aligned space, and where it is judged."""

    rgb: FloatArray
    luma: FloatArray
    inside: FloatArray
    identity: float


def write_enhancer(stage: DemoFrame, detail: Path, path: Path) -> EnhancedFigures:
    """The picture, eyes and mouth at twice their size beside source and plate, and the figures.

    Args:
        detail: folder of a detail model trained on the demo's source.

    Raises:
        DflError: the model cannot be opened, a frame cannot be merged, or the picture cannot be written.
    """
    meter = FaceMeter()
    source = meter.study_portrait(load_source_portrait())
    faces, places = _merge_both(stage, detail, meter, source)
    figures = _measure(faces, source)
    image = stage.read_plate()
    plate = shown(image.rgb(), image.color_space, stage.converter)
    index, landmarks = list(places).index(stage.frame), places[stage.frame]
    captions = {
        WITHOUT: f"identity {figures.identity[WITHOUT]:.3f}, sharpness {figures.sharpness[WITHOUT]:.2f}",
        WITH: f"identity {figures.identity[WITH]:.3f}, sharpness {figures.sharpness[WITH]:.2f}",
    }
    rows = []
    for what, (points, share) in _CROPS.items():
        crop_from_plate = _crop_at(landmarks.points[points].mean(axis=0))
        crop_from_source = affine.compose(
            crop_from_plate, affine.estimate_similarity(source.landmarks.points, landmarks.points)
        )
        pictures = [("the source", source.rgb, crop_from_source), ("the plate", plate, crop_from_plate)]
        pictures += [(f"{name} the enhancer", faces[name][index].rgb, crop_from_plate) for name in (WITHOUT, WITH)]
        rows.append(
            [
                cell(
                    _cut(rgb, transform, share),
                    CROP_PX * ZOOM,
                    f"{what}: {title}",
                    captions.get(title.split()[0], ""),
                )
                for title, rgb, transform in pictures
            ]
        )
    write_sheet(path, rows)
    return figures


def _merge_both(
    stage: DemoFrame, detail: Path, meter: FaceMeter, source: Portrait
) -> tuple[dict[str, list[_Face]], dict[int, Landmarks]]:
    """Both results frame by frame, and where the face of the plain one lies."""
    with Faceset.open(stage.layout.target_faceset) as faceset:
        records = faceset.records_by_frame(faceset.info.plates[0])
    frames = _around(stage, sorted(records))
    named = {"enhancer": f"detail:{detail}", "enhance_power": POWER_PERCENT}
    tools = open_tools(MergeSettings(**named), WeightStore(), "cpu")
    faces: dict[str, list[_Face]] = {}
    places: dict[int, Landmarks] = {}
    space = stage.converter.scene_linear_for(stage.read_plate().color_space)
    for name, settings in ((WITHOUT, {}), (WITH, named)):
        with tempfile.TemporaryDirectory(prefix="dfl-looks-") as folder:
            stage.merge_into(Path(folder), frames, {"layers": "matte", **settings}, tools=tools if settings else None)
            found = {frame: read_exr_layers(Path(folder) / f"look.{frame:04d}.exr") for frame in frames}
        faces[name] = []
        for frame, layers in found.items():
            rgb = shown(rgb_of(layers), space, stage.converter)
            if frame not in places:  # the same for both: what is compared are the pixels
                places[frame] = meter.locate(as_bytes(rgb), records[frame][0].box)
            faces[name].append(_face(rgb, layers, places[frame], meter, source))
    return faces, places


def _face(rgb: FloatArray, layers: Layers, landmarks: Landmarks, meter: FaceMeter, source: Portrait) -> _Face:
    aligned = align_full(landmarks)
    matte = np.asarray(layers["matte.A"], np.float32)
    return _Face(
        rgb=rgb,
        luma=aligned_luma(rgb, aligned, ALIGNED_PX),
        inside=aligned_inside(matte, aligned, ALIGNED_PX).astype(np.float32),
        identity=float(np.linalg.norm(meter.describe(as_bytes(rgb), landmarks) - source.descriptor)),
    )


def _measure(faces: Mapping[str, list[_Face]], source: Portrait) -> EnhancedFigures:
    reference = aligned_luma(source.rgb, align_full(source.landmarks), ALIGNED_PX)
    inside = np.minimum.reduce([face.inside for face in faces[WITHOUT]]) > 0.5
    lumas = {name: np.stack([face.luma for face in found])[:, inside] * 255.0 for name, found in faces.items()}
    added = lumas[WITH] - lumas[WITHOUT]
    truth = laplacian_variance(reference, inside)
    return EnhancedFigures(
        identity={name: float(np.mean([face.identity for face in found])) for name, found in faces.items()},
        sharpness={
            name: float(np.mean([laplacian_variance(face.luma, inside) for face in found])) / truth
            for name, found in faces.items()
        },
        change={name: _rms(np.diff(luma, axis=0)) for name, luma in lumas.items()},
        added=_rms(added),
        added_change=_rms(np.diff(added, axis=0)),
    )


def _around(stage: DemoFrame, numbers: list[int]) -> FrameRange:
    """Of the frames with a face, those around the one that is looked at."""
    first = int(np.clip(numbers.index(stage.frame) - FRAME_COUNT // 2, 0, max(len(numbers) - FRAME_COUNT, 0)))
    return FrameRange.of(numbers[first : first + FRAME_COUNT])


def _crop_at(center: FloatArray) -> Affine:
    """``crop_from_plate``: :data:`CROP_PX` plate pixels around a point, enlarged."""
    corner = np.asarray(center, np.float64) - CROP_PX / 2.0
    return np.array([[ZOOM, 0.0, -ZOOM * corner[0]], [0.0, ZOOM, -ZOOM * corner[1]]])


def _cut(rgb: FloatArray, crop_from_image: Affine, share: float) -> Pixels:
    """The middle rows of a square crop, ``share`` of its width high."""
    side = CROP_PX * ZOOM
    planes = torch.from_numpy(np.ascontiguousarray(rgb, np.float32)).permute(2, 0, 1).contiguous()
    square = warp_to_aligned(planes, crop_from_image, side).permute(1, 2, 0).numpy()
    rows = round(side * share)
    top = (side - rows) // 2
    return as_bytes(np.ascontiguousarray(square[top : top + rows]))


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0
