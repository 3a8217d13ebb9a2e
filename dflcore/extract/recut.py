"""What extraction lends to curation: faces cut anew from plates that are still there, and who a picture shows."""

from __future__ import annotations

import contextlib
from pathlib import Path

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.detect.base import choose_detector
from dflcore.errors import DflError, InvalidInput
from dflcore.extract.frame_view import FrameView
from dflcore.extract.look import Looker, Networks
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Plate, open_plate
from dflcore.landmark.base import choose_landmarker
from dflcore.types import Affine, FaceRecord, FloatArray
from dflcore.weights.store import WeightStore

DESCRIBE_SIZE = 960


class PlateFaces:
    """Cuts faces out of their plates, one plate and frame open at a time.

    Args:
        color_space, ocio_config: how the plates were read when they were extracted.
    """

    def __init__(self, *, color_space: str = "auto", ocio_config: str = "") -> None:
        self._color_space = color_space
        self._converter = ColorConverter(ocio_config)
        self._plate: Plate | None = None
        self._name = ""
        self._view: tuple[int, FrameView] | None = None

    @classmethod
    def of_faceset(cls, path: Path) -> PlateFaces:
        """For the plates of a faceset, read as they were; of one that is not there yet, as plates are by default."""
        try:
            with Faceset.open(path) as faceset:
                settings = faceset.info.settings
        except DflError:
            return cls()
        return cls(
            color_space=str(settings.get("input_colorspace", "auto")), ocio_config=str(settings.get("ocio_config", ""))
        )

    def cut(self, record: FaceRecord, aligned_from_plate: Affine, size: int) -> FloatArray | None:
        """See :class:`dflcore.curate.retype.PlateCutter`."""
        if record.plate != self._name:
            self.close()
            self._name = record.plate
            with contextlib.suppress(DflError):
                self._plate = open_plate(
                    record.plate, color_space=self._color_space, resolve_space=self._converter.find
                )
        if self._plate is None or record.frame not in self._plate.frames or self._plate.size != record.plate_size:
            return None
        if self._view is None or self._view[0] != record.frame:
            self._view = record.frame, FrameView(self._plate.read(record.frame), self._converter)
        return self._view[1].align(aligned_from_plate, size)

    def close(self) -> None:
        if self._plate is not None:
            self._plate.close()
        self._plate = self._view = None

    def __enter__(self) -> PlateFaces:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def describe_picture(path: Path, store: WeightStore, *, device: str = "cpu") -> FloatArray:
    """(128,) float32 identity descriptor of the largest face of a picture.

    Raises:
        NotFound: there is no such picture, or weights are missing.
        InvalidInput: it shows no face, or its path is not absolute: it is no face of the set either.
    """
    if not path.is_absolute():
        raise InvalidInput(
            f"{str(path)!r} is no face of the set; a picture is named by its absolute path.",
            reason="BAD_PATH",
            path=path,
        )
    converter = ColorConverter()
    settings = ExtractSettings(
        detector=choose_detector("auto", store),
        landmarker=choose_landmarker("auto", store),
        detect_size=DESCRIBE_SIZE,
        landmark_looks=1,
    )
    looker = Looker(Networks.create(settings, store, device), settings, converter)
    with contextlib.closing(open_plate(str(path), resolve_space=converter.find)) as picture:
        seen = looker.describe_largest(picture.read(picture.frames.frames[0]))
    if seen is None or seen.identity is None:
        raise InvalidInput(f"The picture {path} shows no face that can be found.", reason="NO_FACE_FOUND", path=path)
    return seen.identity
