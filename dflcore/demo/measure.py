"""Measures a finished demo: reads what was delivered, frame by frame, and compares it with plate and portraits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dflcore.color.ocio import ColorConverter
from dflcore.demo.checks import REQUIRED_LAYERS, DemoFigures
from dflcore.demo.layout import Delivery, DemoLayout
from dflcore.demo.plates import CUSTOM_ATTRIBUTES
from dflcore.demo.stage import load_source_portrait, load_target_portrait
from dflcore.detect.base import create_detector
from dflcore.errors import InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.identity.base import create_identity_encoder
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Plate, PlateImage
from dflcore.io.sequence import SequencePattern
from dflcore.landmark.base import create_landmarker
from dflcore.qc.exactness import Exactness, measure_exactness
from dflcore.qc.identity import measure_identity
from dflcore.qc.sharpness import aligned_inside, aligned_luma, contrast_ratio, sharpness_ratio
from dflcore.types import Affine, Box, FaceRecord, FaceType, FloatArray, Landmarks
from dflcore.weights.store import WeightStore

ALIGNED_PX = 192
"""Size at which sharpness is compared. Here the source's plate itself measures 1.00 of its portrait, so resampling
biases neither side; a perfect face of a 128 px network measures 0.64, of a 96 px network 0.37."""
KEPT_ATTRIBUTES = ("smpte:TimeCode", "FramesPerSecond", *CUSTOM_ATTRIBUTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """A person as known from the picture: sRGB-encoded (H, W, 3) float32 in [0, 1], its landmarks and descriptor."""

    rgb: FloatArray
    landmarks: Landmarks
    descriptor: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePair:
    """One frame before and after."""

    frame: int
    plate: PlateImage
    result: PlateImage
    records: Sequence[FaceRecord]


@dataclass(slots=True)
class _Tally:
    """What the frames gave so far."""

    descriptors: list[FloatArray] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    contrast: list[float] = field(default_factory=list)
    exactness: list[Exactness] = field(default_factory=list)
    without_face: list[int] = field(default_factory=list)
    missing_channels: list[str] = field(default_factory=list)
    changed_metadata: list[str] = field(default_factory=list)


class FaceMeter:
    """The embedded detector, landmarker and identity encoder, whatever else is installed: figures stay comparable."""

    def __init__(self) -> None:
        store = WeightStore()
        self._detector = create_detector("dlib_hog", store)
        self._landmarker = create_landmarker("dlib68", store)
        self._encoder = create_identity_encoder(store=store)

    def study_portrait(self, rgb: FloatArray) -> Portrait:
        """Find and describe the face the detector is surest of.

        Raises:
            InvalidInput: no face is found.
        """
        image = as_bytes(rgb)
        detections = self._detector.detect(image)
        if not detections:
            raise InvalidInput("No face is found in a portrait of the demo.", reason="NO_FACE_FOUND")
        surest = max(detections, key=lambda found: found.score)
        landmarks = self._landmarker.locate(image, surest.box)
        return Portrait(rgb=rgb, landmarks=landmarks, descriptor=self._encoder.describe(image, landmarks))

    def locate(self, image: NDArray[np.uint8], box: Box) -> Landmarks:
        """Landmarks of a face that is about there."""
        return self._landmarker.locate(image, box)

    def describe(self, image: NDArray[np.uint8], landmarks: Landmarks) -> FloatArray:
        """Identity descriptor. Raises InvalidInput when the landmarks do not lie in the image."""
        return self._encoder.describe(image, landmarks)


def measure(layout: DemoLayout, meter: FaceMeter, converter: ColorConverter) -> DemoFigures:
    """All figures of a demo.

    Raises:
        DflError: a part of the demo is not there or cannot be read.
    """
    source = meter.study_portrait(load_source_portrait())
    target = meter.study_portrait(load_target_portrait())
    expected = SequencePattern.parse(str(layout.target_plate)).frames_on_disk()
    found = SequencePattern.parse(str(layout.result)).frames_on_disk()
    if not set(expected) & set(found):
        raise NotFound(f"There is no merged frame {layout.result}.", reason="NO_RESULT", path=layout.result)
    tally = _Tally()
    reference = aligned_luma(source.rgb, align_full(source.landmarks), ALIGNED_PX)
    for pair in frame_pairs(layout, FrameRange.of(set(expected) & set(found))):
        _measure_frame(pair, reference, meter, converter, tally)
    identity = measure_identity(tally.descriptors, source.descriptor, target.descriptor)
    return DemoFigures(
        frames=tuple(found),
        expected_frames=tuple(expected),
        frames_without_face=tuple(tally.without_face),
        identity_to_source=identity.to_source,
        identity_to_source_max=identity.to_source_max,
        identity_to_target=identity.to_target,
        source_to_target=identity.source_to_target,
        sharpness_ratio=float(np.median(tally.sharpness)),
        contrast_ratio=float(np.median(tally.contrast)),
        outside_matte_px=sum(one.compared_px for one in tally.exactness),
        outside_matte_differing_px=sum(one.differing_px for one in tally.exactness),
        outside_matte_max_difference=max(one.max_difference for one in tally.exactness),
        highlights_lost_frames=sum(one.max_value != one.plate_max_value for one in tally.exactness),
        max_linear_value=max(one.max_value for one in tally.exactness),
        missing_channels=tuple(tally.missing_channels),
        changed_metadata=tuple(tally.changed_metadata),
    )


def frame_pairs(layout: Delivery, frames: FrameRange) -> Iterator[FramePair]:
    """Plate and result of the frames, one at a time, read in a thread of their own (colour conversion is not slowed).

    Raises:
        DflError: a file or the target's faceset cannot be read.
    """
    with ThreadPoolExecutor(1) as reader, Faceset.open(layout.target_faceset) as faceset:
        plate = open_plate(str(layout.target_plate), frames=frames)
        result = open_plate(str(layout.result), frames=frames)
        records = faceset.records_by_frame()
        for frame in frames:
            images = reader.submit(_read_both, plate, result, frame).result()
            yield FramePair(frame=frame, plate=images[0], result=images[1], records=records.get(frame, []))


def layer(image: PlateImage, name: str) -> NDArray[np.float16 | np.float32]:
    """(H, W, n) the channels of one layer, in the order of the design's table; "" is the beauty.

    Raises:
        InvalidInput: a channel is not there.
    """
    names = channel_names(name)
    absent = [channel for channel in names if channel not in image.channel_names]
    if absent:
        raise InvalidInput(
            f"{image.source_path} has no channel {', '.join(absent)}.", reason="LAYER_MISSING", path=image.source_path
        )
    return np.ascontiguousarray(image.pixels[..., [image.channel_names.index(channel) for channel in names]])


def channel_names(name: str) -> list[str]:
    """Full channel names of a layer of the design's table."""
    return [f"{name}.{letter}" if name else letter for letter in REQUIRED_LAYERS[name]]


def shown(rgb_linear: NDArray[np.float16 | np.float32], space: str, converter: ColorConverter) -> FloatArray:
    """(H, W, 3) as a display shows it: sRGB-encoded, clipped to [0, 1]."""
    return np.clip(converter.to_network(rgb_linear, space), 0.0, 1.0)


def as_bytes(rgb: FloatArray) -> NDArray[np.uint8]:
    """[0, 1] → uint8, rounded."""
    return np.asarray(np.rint(np.clip(rgb, 0.0, 1.0) * 255.0), dtype=np.uint8)


def align_full(landmarks: Landmarks) -> Affine:
    """``aligned_from_image`` of the face type ``full`` at :data:`ALIGNED_PX`."""
    return aligned_from_landmarks(landmarks.points, FaceType.FULL, ALIGNED_PX)


def _read_both(plate: Plate, result: Plate, frame: int) -> tuple[PlateImage, PlateImage]:
    return plate.read(frame), result.read(frame)


def _measure_frame(
    pair: FramePair, reference: FloatArray, meter: FaceMeter, converter: ColorConverter, tally: _Tally
) -> None:
    absent = [one for name in REQUIRED_LAYERS for one in channel_names(name) if one not in pair.result.channel_names]
    if absent:
        tally.missing_channels.append(f"{pair.frame}: {' '.join(absent)}")
        return
    tally.changed_metadata += [
        f"{pair.frame}: {name}"
        for name in KEPT_ATTRIBUTES
        if name not in pair.plate.metadata or pair.plate.metadata[name] != pair.result.metadata.get(name)
    ]
    matte = layer(pair.result, "matte")[..., 0]
    beauty = layer(pair.result, "")
    plate = layer(pair.plate, "")
    tally.exactness.append(measure_exactness(plate, beauty.astype(plate.dtype, copy=False), matte))
    if not pair.records:
        tally.without_face.append(pair.frame)
        return
    rgb = shown(beauty[..., :3], pair.result.color_space, converter)
    image = as_bytes(rgb)
    landmarks = meter.locate(image, pair.records[0].box)
    tally.descriptors.append(meter.describe(image, landmarks))
    aligned_from_plate = align_full(landmarks)
    inside = aligned_inside(np.asarray(matte, dtype=np.float32), aligned_from_plate, ALIGNED_PX)
    face = aligned_luma(rgb, aligned_from_plate, ALIGNED_PX)
    tally.sharpness.append(sharpness_ratio(face, reference, inside))
    tally.contrast.append(contrast_ratio(face, reference, inside))
