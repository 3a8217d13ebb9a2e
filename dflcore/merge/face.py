"""From light to one face's layers over the plate: align, paint, match, mask, put back, blend.

:meth:`FacePainter.prepare` does what the artist's look does not change, the network first of all;
:meth:`FacePainter.finish` does the rest, so that a knob can be turned without painting anew, and so that a frame can
take masks and colours over from those around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.cores import cores
from dflcore.enhance.mix import enhance_faces, enlarge_faces
from dflcore.errors import InvalidInput
from dflcore.geometry import affine
from dflcore.geometry.warp import plate_bounds
from dflcore.merge.aligning import AlignedFace, FaceAligner
from dflcore.merge.blending import blend, open_shutter, shutter_reach
from dflcore.merge.casting import Cast
from dflcore.merge.colors import match_colors
from dflcore.merge.composite import FaceLayers
from dflcore.merge.light import PlateLight
from dflcore.merge.looks import touch_up
from dflcore.merge.matte import MaskParts, combine_masks, shape_mask
from dflcore.merge.motion import NEIGHBOUR_FRAMES, Motion, track_motion
from dflcore.merge.painted_face import PaintedFace
from dflcore.merge.painted_masks import segment_painted
from dflcore.merge.placing import add_detail, put_back, scaled_square, take_away
from dflcore.merge.stages import StepClock
from dflcore.merge.swapper import FaceSwapper
from dflcore.merge.temporal import Tracks, average
from dflcore.merge.tools import MergeTools
from dflcore.types import FaceRecord, FloatArray

MAX_BATCH = 8
"""Faces of one frame painted at once; more go in several batches, so that a crowd cannot exhaust memory."""


class FacePainter:
    """Computes the layers of a frame's faces with the models of a cast and one colour config.

    Args:
        cast: which model paints whom.
        tracks: the faces of the shot.
        tools: an enhancer and a segmenter for painted faces, or neither.
    """

    def __init__(
        self,
        cast: Cast,
        converter: ColorConverter,
        tracks: Tracks,
        clock: StepClock,
        tools: MergeTools,
    ) -> None:
        self._cast = cast
        self._converter = converter
        self._tracks, self._clock = tracks, clock
        self._enhancer, self._segmenter = tools.enhancer, tools.segmenter
        self._cores = torch.get_num_threads()
        self._aligners = {
            id(swapper): FaceAligner(swapper.face_type, swapper.resolution, converter, clock)
            for swapper in cast.swappers
        }

    def prepare(
        self, light: PlateLight, records: Sequence[FaceRecord], masks: Mapping[str, FloatArray]
    ) -> list[PaintedFace]:
        """Every face that lies in the frame, painted, smallest first.

        Args:
            masks: of the faces that have a stored mask, by name: (R, R) float32 in [0, 1] in their model's square.

        Raises:
            DataCorrupt: landmarks do not tell where the square of a face of another type lies.
            InvalidInput: the model paints values that are not numbers.
        """
        painted: list[PaintedFace] = []
        for swapper, theirs in self._cast.divide(records):
            aligner = self._aligners[id(swapper)]
            aligned = (aligner.align(light, record, masks.get(record.name)) for record in theirs)
            faces = [face for face in aligned if face is not None]
            for start in range(0, len(faces), MAX_BATCH):
                with self._clock.step("network"), cores(self._cores):
                    painted += self._infer(swapper, faces[start : start + MAX_BATCH])
        return sorted(painted, key=lambda face: -face.record.face_index)  # index 0 is the largest face

    def finish(
        self,
        light: PlateLight,
        face: PaintedFace,
        around: Mapping[int, PaintedFace],
        settings: MergeSettings,
        *,
        needs_raw: bool = True,
    ) -> FaceLayers | None:
        """Match, mask, put back and blend one face; None when its scaled square misses the data window.

        Args:
            around: the same person by frame, ``face`` itself among them; masks and colours are averaged over those.
            settings: as they hold on this frame.
            needs_raw: whether anybody wants the layer ``raw``; else it is the same as ``swap``.
        """
        aligned_from_plate, side = face.aligned.aligned_from_plate, face.painted.shape[-1]
        with self._clock.step("matte"):
            parts = _parts(face, around, settings.smooth_matte)
            combined = combine_masks(parts, settings.matte_mode)
            if settings.mode == "raw_rgb":
                combined = mask = np.ones_like(combined)
            else:
                mask = shape_mask(combined, erode_percent=settings.matte_erode, feather_percent=settings.matte_feather)
        with self._clock.step("colour"):

            def lit(painted: FloatArray) -> tuple[FloatArray, FloatArray | None]:
                return self._lit(light, face, painted, around, settings, needs_raw=needs_raw)

            colors = lit(face.painted)
            detail = _difference(face, settings.enhance_power, lit)
        with self._clock.step("warp"):
            placed = scaled_square(aligned_from_plate, side, settings.face_scale)
            motion = self._motion(face.record, settings)
            square = plate_bounds(placed, side)
            reach = shutter_reach(light, square, motion, settings.motion_blur) if motion is not None else 0
            layers = put_back(
                light.data_window,
                placed,
                colors=colors,
                masks=(mask, parts.learned_source, parts.learned_target, parts.hull),
                person=self._cast.person_of(face.record),
                margin=reach,
            )
            if layers is None:
                return None
            if detail is not None:
                layers = add_detail(layers, detail)
        with self._clock.step("blend"):
            if motion is not None:
                layers = open_shutter(light, layers, motion, settings.motion_blur)
            if face.aligned.segmentation is not None:  # what is in front has the plate's own motion blur
                layers = take_away(layers, face.aligned.segmentation, face.aligned.aligned_from_plate)
            return blend(light, layers, settings, face.record)

    def _lit(
        self,
        light: PlateLight,
        face: PaintedFace,
        painted: FloatArray,
        around: Mapping[int, PaintedFace],
        settings: MergeSettings,
        *,
        needs_raw: bool,
    ) -> tuple[FloatArray, FloatArray | None]:
        """A painted face of any size as scene light, matched and touched up, and as it was painted where that differs.

        Args:
            painted: (3, N, N).
        """
        changed = painted
        if settings.mode != "raw_rgb":
            changed = match_colors(face, painted, around, settings)
            plate_px = affine.scale_of(face.aligned.aligned_from_plate) * (painted.shape[-1] / face.painted.shape[-1])
            changed = touch_up(changed, settings, plate_px=plate_px)
        has_raw = needs_raw and changed is not painted
        raw = self._decode(light, face.aligned, painted) if has_raw else None
        return self._decode(light, face.aligned, changed), raw

    def _motion(self, record: FaceRecord, settings: MergeSettings) -> Motion | None:
        if settings.motion_blur <= 0.0 or settings.mode == "raw_rgb":
            return None
        return track_motion(self._tracks.around(record, NEIGHBOUR_FRAMES), record)

    def predict(self, light: PlateLight, face: PaintedFace | None, settings: MergeSettings) -> FloatArray:
        """(N, N, 4) float32: the network's square as scene light in the plate's primaries, and its mask.

        Black, as large as the largest network's, without a face.
        """
        if face is None:
            side = max((swapper.resolution for swapper in self._cast.swappers), default=1)
            return np.zeros((side, side, 4), np.float32)
        painted = _mixed(face, settings.enhance_power)
        mask = combine_masks(face.parts(), settings.matte_mode)
        raw = self._decode(light, face.aligned, painted)
        return np.concatenate([raw, np.clip(_resized(mask, len(raw)), 0.0, 1.0)[..., None]], axis=2)

    def _infer(self, swapper: FaceSwapper, faces: Sequence[AlignedFace]) -> list[PaintedFace]:
        batch = torch.from_numpy(np.stack([face.encoded() for face in faces])).permute(0, 3, 1, 2).contiguous()
        painted, source, target = swapper.swap(batch)
        if not bool(painted.isfinite().all()):
            raise InvalidInput(
                f"The model {swapper.name} painted values that are not numbers; its training has diverged. "
                "Go back to an earlier generation.",
                reason="MODEL_NOT_FINITE",
            )
        pictures = painted.numpy()
        enhanced = masks = None
        if self._enhancer is not None:
            found = enhance_faces(np.ascontiguousarray(pictures.transpose(0, 2, 3, 1)), self._enhancer, 1.0)
            enhanced = np.ascontiguousarray(found.transpose(0, 3, 1, 2))
        if self._segmenter is not None:
            records = [face.record for face in faces]
            masks = segment_painted(self._segmenter, pictures, records, swapper.face_type)
        return [
            PaintedFace(
                aligned=face,
                painted=pictures[number],
                enhanced=None if enhanced is None else enhanced[number],
                learned_source=source[number, 0].numpy(),
                learned_target=target[number, 0].numpy(),
                painted_mask=None if masks is None else masks[number],
            )
            for number, face in enumerate(faces)
        ]

    def _decode(self, light: PlateLight, face: AlignedFace, encoded: FloatArray) -> FloatArray:
        """(N, N, 3) scene light in the plate's primaries."""
        restored = face.exposure.restore(np.ascontiguousarray(encoded.transpose(1, 2, 0)))
        return self._converter.from_network(restored, light.color_space)


def _parts(face: PaintedFace, around: Mapping[int, PaintedFace], radius: int) -> MaskParts:
    """Masks of a face; the learned ones averaged over those around, what moves in front of it never."""
    parts = face.parts()
    if not radius or len(around) == 1:
        return parts
    frame = face.record.frame
    masks = {number: one.painted_mask for number, one in around.items() if one.painted_mask is not None}
    return replace(
        parts,
        learned_source=average({number: one.learned_source for number, one in around.items()}, frame, radius),
        learned_target=average({number: one.learned_target for number, one in around.items()}, frame, radius),
        painted=average(masks, frame, radius) if masks else None,
    )


def _difference(
    face: PaintedFace, power: float, lit: Callable[[FloatArray], tuple[FloatArray, FloatArray | None]]
) -> tuple[FloatArray, FloatArray | None] | None:
    """What the enhancer adds to swap and raw, (N, N, 3) scene light each; None where it adds nothing.

    Only the difference is resampled at the enhancer's size: enlarged and shrunk again, the face itself would lose a
    tenth of its sharpness before anything is added. So no power is no enhancer, to the bit.
    """
    if face.enhanced is None or power <= 0.0:
        return None
    plain = _enlarged(face.painted, face.enhanced.shape[-1])
    swap, raw = lit(_toward(plain, face.enhanced, power))
    plain_swap, plain_raw = lit(plain)
    if raw is None or plain_raw is None:
        return swap - plain_swap, None
    return swap - plain_swap, raw - plain_raw


def _mixed(face: PaintedFace, power: float) -> FloatArray:
    """(3, N, N): the painted face, and the enhancer's version of it by ``power`` percent."""
    if face.enhanced is None:
        return face.painted
    return _toward(_enlarged(face.painted, face.enhanced.shape[-1]), face.enhanced, power)


def _toward(plain: FloatArray, enhanced: FloatArray, power: float) -> FloatArray:
    return np.asarray(plain + np.float32(0.01 * power) * (enhanced - plain), np.float32)


def _enlarged(painted: FloatArray, side: int) -> FloatArray:
    """(3, R, R) → (3, side, side), side a multiple of R."""
    faces = np.ascontiguousarray(painted.transpose(1, 2, 0))[None]
    return np.ascontiguousarray(enlarge_faces(faces, side // painted.shape[-1])[0].transpose(2, 0, 1))


def _resized(values: FloatArray, side: int) -> FloatArray:
    """(R, R, ...) → (side, side, ...), enlarged smoothly."""
    if values.shape[0] == side:
        return values
    return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
