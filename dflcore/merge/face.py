"""From landmarks and light to one face's layers over the plate: align, encode, paint, match, mask, put back.

Convention:
    A faceset's landmarks and transforms are relative to the display window's top-left corner; everything else here is
    in the coordinates of the data window ("plate pixels"). The transforms hold the pixel aspect, so faces of a plate
    whose pixels are not square reach the network undistorted and return squeezed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dflcore.color.matching.methods import MAX_GAIN, match
from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import ColorTransfer, MatteMode
from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.alignment import model_from_plate
from dflcore.geometry.landmarks import hull_mask
from dflcore.geometry.warp import plate_bounds, st_map, warp_to_aligned, warp_to_plate
from dflcore.io.plate import Window
from dflcore.merge.composite import HALF_MAX, FaceLayers, intersect, uncover
from dflcore.merge.exposure import Exposure, measure_exposure
from dflcore.merge.light import PlateLight
from dflcore.merge.matte import MaskParts, combine_masks, shape_mask
from dflcore.merge.stages import StepClock
from dflcore.merge.swapper import FaceSwapper
from dflcore.types import Affine, FaceRecord, FloatArray

MAX_BATCH = 8
"""Faces of one frame painted at once; more go in several batches, so that a crowd cannot exhaust memory."""
_INPUT_MARGIN_PX = 16
"""Plate pixels kept around the aligned square for the resampling filter."""
_MIN_MATCH_WEIGHT = 0.01
"""Least share of the square a mask must cover before colours are judged inside it; else the hull is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceOptions:
    """What the artist sets about one face; ranges and units as in ``MergeSettings``."""

    matte_mode: MatteMode
    matte_erode: float
    matte_feather: float
    color_transfer: ColorTransfer
    opacity: float
    face_scale: float
    needs_raw: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedFace:
    """One face ready for the network.

    Attributes:
        aligned_from_plate: (2, 3), plate pixels to pixels of the network's square.
        encoded: (R, R, 3) float32 sRGB-encoded in [0, 1], aligned space.
        hull: (R, R) float32 in [0, 1], aligned space.
        segmentation: (R, R) float32 in [0, 1], aligned space: the stored mask that says where the target's face is
            seen; None where there is none.
        broken_px: plate pixels of the crop that were NaN or infinite.
    """

    aligned_from_plate: Affine
    encoded: FloatArray
    hull: FloatArray
    segmentation: FloatArray | None
    exposure: Exposure
    broken_px: int


class FacePainter:
    """Computes the layers of a frame's faces with one model, one set of options, one colour config."""

    def __init__(self, swapper: FaceSwapper, converter: ColorConverter, options: FaceOptions, clock: StepClock) -> None:
        self._swapper = swapper
        self._converter = converter
        self._options = options
        self._clock = clock

    def paint(
        self, light: PlateLight, records: Sequence[FaceRecord], masks: Mapping[str, FloatArray]
    ) -> tuple[list[FaceLayers], int]:
        """Layers of every face that lies in the frame, smallest first, each computed from the original frame.

        Args:
            masks: of the faces that have a stored mask, by name: (R, R) float32 in [0, 1] at the model's resolution.

        Returns:
            The layers, and how many plate pixels under the faces were NaN or infinite.

        Raises:
            DataCorrupt: landmarks do not tell where the square of a face of another type lies.
            InvalidInput: the model paints values that are not numbers.
        """
        ordered = sorted(records, key=lambda record: -record.face_index)  # index 0 is the largest face
        aligned = (self._align(light, record, masks.get(record.name)) for record in ordered)
        faces = [face for face in aligned if face is not None]
        layers: list[FaceLayers] = []
        for start in range(0, len(faces), MAX_BATCH):
            batch = faces[start : start + MAX_BATCH]
            with self._clock.step("network"):
                painted, source_masks, target_masks = self._infer(batch)
            for position, face in enumerate(batch):
                finished = self._finish(light, face, painted[position], source_masks[position], target_masks[position])
                if finished is not None:
                    layers.append(finished)
        return layers, sum(face.broken_px for face in faces)

    def _align(self, light: PlateLight, record: FaceRecord, segmentation: FloatArray | None) -> AlignedFace | None:
        """None for a face wholly outside the data window."""
        size = self._swapper.resolution
        model_from_display = model_from_plate(record, self._swapper.face_type, size)
        display = light.image.display_window
        points = record.landmarks.points.astype(np.float64) + np.array([display.x, display.y])
        aligned_from_plate = affine.compose(model_from_display, affine.shift(-display.x, -display.y))
        left, top, width, height = plate_bounds(aligned_from_plate, size)
        wanted = Window(
            x=left - _INPUT_MARGIN_PX,
            y=top - _INPUT_MARGIN_PX,
            width=width + 2 * _INPUT_MARGIN_PX,
            height=height + 2 * _INPUT_MARGIN_PX,
        )
        window = intersect(wanted, light.data_window)
        if window is None or intersect(Window(x=left, y=top, width=width, height=height), light.data_window) is None:
            return None
        with self._clock.step("warp"):
            crop, broken_px = _sanitise(light.crop(window))
            crop = uncover(crop, light.coverage(window))
            planes = torch.from_numpy(crop).permute(2, 0, 1)
            aligned = warp_to_aligned(planes, aligned_from_plate, size, origin=(window.x, window.y), padding="border")
            rgb = np.ascontiguousarray(aligned.permute(1, 2, 0).numpy())
        with self._clock.step("matte"):
            hull = hull_mask(affine.apply(aligned_from_plate, points), size, size)
        with self._clock.step("colour"):
            encoded = self._converter.to_network(rgb, light.color_space)
            exposure = measure_exposure(encoded, hull)
        return AlignedFace(
            aligned_from_plate=aligned_from_plate,
            encoded=np.clip(exposure.fit(encoded), 0.0, 1.0),
            hull=hull,
            segmentation=segmentation,
            exposure=exposure,
            broken_px=broken_px,
        )

    def _infer(self, faces: Sequence[AlignedFace]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Painted faces (B, 3, R, R) and masks (B, R, R)."""
        batch = torch.from_numpy(np.stack([face.encoded for face in faces])).permute(0, 3, 1, 2).contiguous()
        painted, source_mask, target_mask = self._swapper.swap(batch)
        if not bool(painted.isfinite().all()):
            raise InvalidInput(
                f"The model {self._swapper.name} painted values that are not numbers; its training has diverged. "
                "Go back to an earlier generation.",
                reason="MODEL_NOT_FINITE",
            )
        return painted.numpy(), source_mask[:, 0].numpy(), target_mask[:, 0].numpy()

    def _finish(
        self, light: PlateLight, face: AlignedFace, painted: FloatArray, source: FloatArray, target: FloatArray
    ) -> FaceLayers | None:
        """Match, mask and put back one face; None when its scaled square misses the data window."""
        options = self._options
        with self._clock.step("matte"):
            parts = MaskParts(learned_source=source, learned_target=target, hull=face.hull)
            combined = combine_masks(parts, options.matte_mode)
            mask = shape_mask(combined, erode_percent=options.matte_erode, feather_percent=options.matte_feather)
        with self._clock.step("colour"):
            swap, raw = self._to_light(light, face, painted, combined)
        with self._clock.step("warp"):
            layers = put_back(
                light.data_window,
                _scaled(face.aligned_from_plate, painted.shape[-1], options.face_scale),
                colors=(swap, raw),
                masks=(mask, source, target, face.hull),
                opacity=options.opacity,
            )
            if layers is None or face.segmentation is None:
                return layers
            return take_away(layers, face.segmentation, face.aligned_from_plate)

    def _to_light(
        self, light: PlateLight, face: AlignedFace, painted: FloatArray, mask: FloatArray
    ) -> tuple[FloatArray, FloatArray | None]:
        """Matched and raw face as scene light in the plate's primaries, each (R, R, 3); raw None where not needed."""
        options = self._options
        matched = painted
        if options.color_transfer != "none":
            judged = np.minimum(mask, face.hull)
            if face.segmentation is not None:  # a hand's colours are not the face's
                judged = np.minimum(judged, face.segmentation)
            if judged.mean() < _MIN_MATCH_WEIGHT:
                judged = face.hull
            weights = torch.from_numpy(judged)[None, None]
            planes, reference = torch.from_numpy(painted)[None], torch.from_numpy(face.encoded).permute(2, 0, 1)[None]
            matched = match(options.color_transfer, planes, reference, weights, weights, max_gain=MAX_GAIN)[0].numpy()
        raw = self._decode(light, face, painted) if options.needs_raw else None
        if matched is painted and raw is not None:
            return raw, raw
        return self._decode(light, face, matched), raw

    def _decode(self, light: PlateLight, face: AlignedFace, encoded: FloatArray) -> FloatArray:
        restored = face.exposure.restore(np.ascontiguousarray(encoded.transpose(1, 2, 0)))
        return self._converter.from_network(restored, light.color_space)


def put_back(
    data_window: Window,
    aligned_from_plate: Affine,
    *,
    colors: tuple[FloatArray, FloatArray | None],
    masks: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    opacity: float = 1.0,
) -> FaceLayers | None:
    """Warp aligned images into the plate in one pass.

    Args:
        colors: swap and raw, (R, R, 3) scene-linear.
        masks: matte, learned source, learned target, hull, (R, R) in [0, 1].
        opacity: factor of the matte in the plate, where the cubic's overshoot has been clipped.

    Returns:
        None when the aligned square misses the data window.
    """
    swap, raw = colors
    size = swap.shape[0]
    x, y, width, height = plate_bounds(aligned_from_plate, size)
    window = intersect(Window(x=x, y=y, width=width, height=height), data_window)
    if window is None:
        return None
    box = (window.x, window.y, window.width, window.height)
    planes = [swap, *([] if raw is None else [raw]), np.stack(masks, axis=2)]
    stack = torch.from_numpy(np.concatenate(planes, axis=2)).permute(2, 0, 1).contiguous()
    warped = warp_to_plate(stack, aligned_from_plate, box, padding="border").numpy()
    st = st_map(aligned_from_plate, size, box)
    is_inside = ((st >= 0.0) & (st <= 1.0)).all(axis=0)
    warped *= is_inside
    flat = np.clip(warped[-4:], 0.0, 1.0)
    swap_in_plate = np.ascontiguousarray(warped[:3].transpose(1, 2, 0))
    return FaceLayers(
        window=window,
        swap=swap_in_plate,
        raw=swap_in_plate if raw is None else np.ascontiguousarray(warped[3:6].transpose(1, 2, 0)),
        matte=flat[0] * np.float32(opacity),
        learned_source=flat[1],
        learned_target=flat[2],
        hull=flat[3],
        segmentation=np.asarray(is_inside, dtype=np.float32),
        st=st * is_inside,
    )


def take_away(layers: FaceLayers, segmentation: FloatArray, aligned_from_plate: Affine) -> FaceLayers:
    """A face's layers with the matte kept to where the target's face is seen.

    Args:
        segmentation: (R, R) in [0, 1]; beyond its square its edge goes on, for a swapped face grown larger than it.
        aligned_from_plate: of the target's face as it is in the plate, whatever the swapped face's scale.
    """
    window = layers.window
    box = (window.x, window.y, window.width, window.height)
    plane = torch.from_numpy(np.ascontiguousarray(segmentation))[None]
    warped = warp_to_plate(plane, aligned_from_plate, box, padding="border")[0].numpy()
    seen = np.clip(warped, 0.0, 1.0) * layers.segmentation
    return replace(layers, segmentation=seen, matte=layers.matte * seen)


def _scaled(aligned_from_plate: Affine, size: int, face_scale: float) -> Affine:
    """The transform of a face grown by ``face_scale`` percent about the square's centre; negative shrinks it."""
    if face_scale == 0.0:
        return aligned_from_plate
    shrink = 1.0 / (1.0 + 0.01 * face_scale)
    center = size / 2.0
    offset = center - shrink * center
    return affine.compose(np.array([[shrink, 0.0, offset], [0.0, shrink, offset]]), aligned_from_plate)


def _sanitise(rgb: FloatArray) -> tuple[FloatArray, int]:
    """Finite light for the network: infinities become the largest half, NaN the crop's median; how many there were."""
    finite = np.isfinite(rgb)
    if finite.all():
        return rgb, 0
    median = np.median(rgb[finite]) if finite.any() else 0.0
    fixed = np.nan_to_num(rgb, nan=float(median), posinf=HALF_MAX, neginf=0.0)
    return fixed.astype(np.float32), int((~finite).any(axis=2).sum())
