"""One frame from plate pixels to the layers and the header of its file: what a range and a single frame share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.io.exr import ExrLayer, write_exr
from dflcore.io.plate import MetadataValue, Plate, PlateImage, Window
from dflcore.merge.composite import FaceLayers, stack_faces
from dflcore.merge.face import FaceOptions, FacePainter
from dflcore.merge.light import PlateDeveloper, PlateLight
from dflcore.merge.provenance import MergeIdentity, frame_attributes
from dflcore.merge.stages import StepClock
from dflcore.merge.swapper import FaceSwapper
from dflcore.progress import Notice
from dflcore.types import Authorization, FaceRecord, FloatArray

_STORAGE_COLOR_ATTRIBUTES = frozenset({"chromaticities", "adoptedneutral", "gamma", "colorinteropid"})
"""Header attributes that tell what a plate's numbers mean; wrong after a conversion to another space."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintedFrame:
    """A frame's faces, ready to be put over its light.

    Attributes:
        faces: all of them as one; None for a frame without a face.
        face_count: how many lie in the frame.
        notices: what a person should know about this frame.
    """

    light: PlateLight
    faces: FaceLayers | None
    face_count: int
    notices: tuple[Notice, ...] = ()


class FrameRenderer:
    """Paints frames with one model and one choice of settings. One thread at a time.

    Args:
        layers: names as :func:`~dflcore.merge.aovs.parse_layers` gives them: those that will be asked for.
        developer: of the same converter; one that has converted before has its tables ready.
    """

    def __init__(
        self,
        swapper: FaceSwapper,
        converter: ColorConverter,
        settings: MergeSettings,
        layers: Sequence[str],
        *,
        clock: StepClock | None = None,
        developer: PlateDeveloper | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or StepClock()
        self._developer = developer or PlateDeveloper(converter)
        self._painter = FacePainter(swapper, converter, face_options(settings, layers), self._clock)

    def develop(self, image: PlateImage) -> PlateLight:
        """The frame as light. Raises as :meth:`PlateDeveloper.develop`."""
        with self._clock.step("light"), torch.inference_mode():
            return self._developer.develop(image, self._settings.bit_depth)

    def paint(self, light: PlateLight, records: Sequence[FaceRecord], masks: Mapping[str, FloatArray]) -> PaintedFrame:
        """Faces of a frame. Arguments and errors as of :meth:`FacePainter.paint`."""
        with torch.inference_mode():
            faces, broken_px = self._painter.paint(light, records, masks)
            with self._clock.step("composite"):
                stack = stack_faces(faces)
        notices = (_broken_notice(light.image.frame, broken_px),) if broken_px else ()
        return PaintedFrame(light=light, faces=stack, face_count=len(faces), notices=notices)


def face_options(settings: MergeSettings, layers: Sequence[str]) -> FaceOptions:
    """What of the settings concerns one face."""
    return FaceOptions(
        matte_mode=settings.matte_mode,
        matte_erode=settings.matte_erode,
        matte_feather=settings.matte_feather,
        color_transfer=settings.color_transfer,
        opacity=settings.opacity,
        face_scale=settings.face_scale,
        needs_raw="raw" in layers,
    )


def merge_identity(
    plate: Plate,
    swapper: FaceSwapper,
    settings: MergeSettings,
    converter: ColorConverter,
    authorization: Authorization,
) -> MergeIdentity:
    """What all frames of a plate merged so have in common. Raises InvalidInput for an unknown colour space."""
    return MergeIdentity(
        plate=plate.name,
        color_space=converter.resolve(plate.color_space),
        output_space=converter.scene_linear_for(plate.color_space),
        model_name=swapper.name,
        model_digest=swapper.digest,
        face_type=swapper.face_type,
        settings=settings.values(),
        settings_digest=settings.digest(),
        authorization=authorization,
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
) -> None:
    """One EXR of a frame. Windows: the plate's own unless said otherwise. Raises as :func:`write_exr`."""
    write_exr(
        path,
        layers=layers,
        data_window=data_window or light.image.data_window,
        display_window=display_window or light.image.display_window,
        pixel_aspect=light.image.pixel_aspect,
        metadata=attributes,
        compression=compression,
        color_space=light.color_space,
    )


def _broken_notice(frame: int, broken_px: int) -> Notice:
    return Notice(
        message=f"Frame {frame}: {broken_px} plate pixels under a face are NaN or infinite.",
        reason="PLATE_NOT_FINITE",
        details={"frame": str(frame), "pixels": str(broken_px)},
    )
