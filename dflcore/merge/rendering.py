"""One frame from plate pixels to the layers and the header of its files: what a range and a single frame share.

Whoever renders calls :meth:`FrameRenderer.prepare` once per frame and :meth:`FrameRenderer.finish` as often as the look
changes. Both run in a thread that does not read files: OpenColorIO must not run where OpenImageIO has read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.cores import cores
from dflcore.errors import NotFound
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.plate import MetadataValue, Plate, PlateImage, Window
from dflcore.merge.aovs import BEAUTY, FrameFile, FrameLayout, parse_layers
from dflcore.merge.casting import Cast
from dflcore.merge.composite import FaceLayers, cast, stack_faces
from dflcore.merge.face import FacePainter
from dflcore.merge.light import PlateDeveloper, PlateLight
from dflcore.merge.painted_face import PaintedFace
from dflcore.merge.provenance import MergeIdentity, frame_attributes
from dflcore.merge.segmentation import Segmentation
from dflcore.merge.stages import StepClock
from dflcore.merge.temporal import Tracks
from dflcore.merge.tools import MergeTools
from dflcore.progress import Notice
from dflcore.types import Authorization, FaceType, FloatArray

_STORAGE_COLOR_ATTRIBUTES = frozenset({"chromaticities", "adoptedneutral", "gamma", "colorinteropid"})
"""Header attributes that tell what a plate's numbers mean; wrong after a conversion to another space."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintedFrame:
    """A frame's faces, ready to be put over its light.

    Attributes:
        faces: all of them as one; None for a frame without a face.
        face_count: how many lie in the frame.
        settings: as they hold on this frame.
        predicted: what the mode ``raw_predict`` delivers instead, (N, N, 4); None in other modes.
        notices: what a person should know about this frame.
    """

    light: PlateLight
    faces: FaceLayers | None
    face_count: int
    settings: MergeSettings
    predicted: FloatArray | None = None
    notices: tuple[Notice, ...] = ()


class FrameRenderer:
    """Paints frames of one plate with the models of a cast. One thread at a time.

    Args:
        cast: which model paints whom.
        tracks: the faces of the shot.
        settings: with their overrides; what holds on a frame is looked up.
        developer: of the same converter; one that has converted before has its tables ready.
        tools: the networks the settings name beside the model.
        layers: those that will be asked for; None takes the settings'.
    """

    def __init__(
        self,
        cast: Cast,
        converter: ColorConverter,
        tracks: Tracks,
        settings: MergeSettings,
        *,
        clock: StepClock | None = None,
        developer: PlateDeveloper | None = None,
        tools: MergeTools | None = None,
        layers: Sequence[str] | None = None,
    ) -> None:
        self.tracks = tracks
        self.radius = max(settings.smooth_matte, settings.smooth_colors)
        self.settings = settings
        self._needs_raw = "raw" in (parse_layers(settings.layers) if layers is None else layers)
        self._clock = clock or StepClock()
        self._developer = developer or PlateDeveloper(converter)
        self._painter = FacePainter(cast, converter, tracks, self._clock, tools or MergeTools())

    def frames_around(self, number: int) -> list[int]:
        """The frame, and those whose faces it needs, ascending; whether the plate has them is not known here."""
        needed = {number}
        if self.radius:
            for record in self.tracks.records.get(number, ()):
                needed.update(self.tracks.around(record, self.radius))
        return sorted(needed)

    def develop(self, image: PlateImage) -> PlateLight:
        """The frame as light. Raises as :meth:`PlateDeveloper.develop`."""
        with self._clock.step("light"), torch.inference_mode():
            return self._developer.develop(image, self.settings.bit_depth)

    def prepare(self, light: PlateLight, masks: Mapping[str, FloatArray]) -> list[PaintedFace]:
        """The frame's faces as the network paints them. Arguments and errors as of :meth:`FacePainter.prepare`."""
        records = self.tracks.records.get(light.image.frame, ())
        with torch.inference_mode(), cores(1):
            return self._painter.prepare(light, records, masks)

    def finish(
        self, light: PlateLight, faces: Sequence[PaintedFace], others: Mapping[int, Sequence[PaintedFace]] | None = None
    ) -> PaintedFrame:
        """Matched, masked and blended faces of a frame.

        Args:
            faces: of this frame, prepared.
            others: those of frames around it that could be had, by number.
        """
        frame = light.image.frame
        settings = self.settings.at(frame)
        predicted, layers = None, []
        with torch.inference_mode(), cores(1):
            if settings.mode == "raw_predict":
                predicted = self._painter.predict(light, faces[-1] if faces else None, settings)
            else:
                near = {**(others or {}), frame: faces}
                found = (
                    self._painter.finish(light, face, self._around(face, near), settings, needs_raw=self._needs_raw)
                    for face in faces
                )
                layers = [one for one in found if one is not None]
            with self._clock.step("composite"):
                stack = stack_faces(layers)
        broken_px = sum(face.aligned.broken_px for face in faces)
        return PaintedFrame(
            light=light,
            faces=stack,
            face_count=len(faces) if predicted is not None else len(layers),
            settings=settings,
            predicted=predicted,
            notices=(_broken_notice(frame, broken_px),) if broken_px else (),
        )

    def _around(self, face: PaintedFace, near: Mapping[int, Sequence[PaintedFace]]) -> dict[int, PaintedFace]:
        """The same person by frame, as far as prepared."""
        if not self.radius:
            return {face.record.frame: face}
        around: dict[int, PaintedFace] = {}
        for number, record in self.tracks.around(face.record, self.radius).items():
            for other in near.get(number, ()):
                if other.record.name == record.name:
                    around[number] = other
        return {**around, face.record.frame: face}


def frame_key(
    frame: int, identity: MergeIdentity, plate: Plate, renderer: FrameRenderer, segmentation: Segmentation
) -> str:
    """Over everything that decides a frame's pixels, frames around it included."""
    digest = renderer.settings.at(frame).digest()
    found = []
    for number in renderer.frames_around(frame):
        records = renderer.tracks.records.get(number, ())
        try:
            stands_for = plate.identity(number)
        except NotFound:
            stands_for = "missing"
        found.append(identity.frame_key(stands_for, records, segmentation.identify(records), settings_digest=digest))
    return found[0] if len(found) == 1 else hashlib.sha256(" ".join(found).encode()).hexdigest()[:32]


def arrange_files(layout: FrameLayout, painted: PaintedFrame) -> tuple[dict[str, FrameFile], list[str]]:
    """The files of a frame, and the plate's channels they have no place for; see :meth:`FrameLayout.arrange`."""
    if painted.predicted is None:
        return layout.arrange(painted.light, painted.faces, is_over=painted.settings.mode != "original")
    values = cast(np.ascontiguousarray(painted.predicted), painted.light.beauty.dtype)
    window = Window(x=0, y=0, width=values.shape[1], height=values.shape[0])
    is_half = values.dtype == np.float16
    layer = ExrLayer(name="", channels=BEAUTY, pixels=values, pixel_type="half" if is_half else "float")
    compression = painted.settings.compression
    return {"": FrameFile(layers=[layer], data_window=window, display_window=window, compression=compression)}, []


def merge_identity(
    plate: Plate,
    cast: Cast,
    settings: MergeSettings,
    converter: ColorConverter,
    authorization: Authorization,
    *,
    tools: Sequence[str] = (),
) -> MergeIdentity:
    """What all frames of a plate merged so have in common.

    Args:
        tools: digests of the other networks that take part.

    Raises:
        InvalidInput: unknown colour space.
    """
    return MergeIdentity(
        plate=plate.name,
        color_space=converter.resolve(plate.color_space),
        output_space=converter.scene_linear_for(plate.color_space),
        model_name=cast.title,
        model_digest=" ".join([cast.digest, *tools]),
        face_type=next((swapper.face_type for swapper in cast.swappers), FaceType.WHOLE),
        settings=settings.values(),
        settings_digest=settings.digest(),
        authorization=authorization,
        cast_authorizations=dict(cast.permissions),
        made_for_project=settings.authorization_project,
        made_for_use=settings.authorization_use,
    )


def header_of(
    painted: PaintedFrame, identity: MergeIdentity, settings: MergeSettings
) -> dict[str, MetadataValue | str | int | float]:
    """Attributes of a frame's file: the plate's own that are still true, and ours as the policy has it."""
    light = painted.light
    metadata = light.image.metadata
    if light.color_space != identity.color_space:
        metadata = {name: value for name, value in metadata.items() if name.lower() not in _STORAGE_COLOR_ATTRIBUTES}
    return frame_attributes(
        identity,
        metadata,
        frame=light.image.frame,
        faces=painted.face_count,
        policy=settings.provenance_attributes,
    )


def write_layers(
    path: Path,
    layers: Sequence[ExrLayer],
    light: PlateLight,
    attributes: Mapping[str, MetadataValue | str | int | float],
    compression: str,
    *,
    data_window: Window | None = None,
    display_window: Window | None = None,
    pixel_aspect: float | None = None,
    dwa_level: float,
) -> None:
    """One EXR of a frame. Windows and aspect: the plate's own unless said otherwise. Raises as :func:`write_exr`."""
    write_exr(
        path,
        layers=layers,
        data_window=data_window or light.image.data_window,
        display_window=display_window or light.image.display_window,
        pixel_aspect=light.image.pixel_aspect if pixel_aspect is None else pixel_aspect,
        metadata=attributes,
        compression=compression,
        dwa_level=dwa_level,
        color_space=light.color_space,
    )


def _broken_notice(frame: int, broken_px: int) -> Notice:
    return Notice(
        message=f"Frame {frame}: {broken_px} plate pixels under a face are NaN or infinite.",
        reason="PLATE_NOT_FINITE",
        details={"frame": str(frame), "pixels": str(broken_px)},
    )
