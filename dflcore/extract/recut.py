"""What extraction lends to curation: faces cut anew from plates that are still there, and who a picture shows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.detect.base import choose_detector
from dflcore.errors import DflError, InvalidInput
from dflcore.extract.frame_view import FrameView
from dflcore.extract.look import Looker, Networks
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Plate
from dflcore.landmark.base import choose_landmarker
from dflcore.types import Affine, FaceRecord, FloatArray
from dflcore.weights.store import WeightStore

DESCRIBE_SIZE = 960
PLATE_COLORS = "plate_colors"
"""Among a faceset's settings: plate → its colour space and config."""


class PlateFaces:
    """Cuts faces out of their plates, one plate and frame open at a time.

    Args:
        settings: of the faceset; they say how its plates were read when they were extracted.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._settings = settings or {}
        self._converter = ColorConverter(str(self._settings.get("ocio_config", "")))
        self._plate: Plate | None = None
        self._name = ""
        self._view: tuple[int, FrameView] | None = None

    @classmethod
    def of_faceset(cls, path: Path) -> PlateFaces:
        """For the plates of a faceset, read as they were; of one that is not there yet, as plates are by default."""
        try:
            with Faceset.open(path) as faceset:
                return cls(faceset.info.settings)
        except DflError:
            return cls()

    def cut(self, record: FaceRecord, aligned_from_plate: Affine, size: int) -> FloatArray | None:
        """See :class:`dflcore.curate.retype.PlateCutter`."""
        if record.plate != self._name:
            self.close()
            self._name = record.plate
            with contextlib.suppress(DflError):
                color_space, config = plate_colors(self._settings, record.plate)
                self._converter = ColorConverter(config)
                self._plate = open_plate(record.plate, color_space=color_space, resolve_space=self._converter.find)
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


def plate_colors(settings: Mapping[str, Any], plate: str) -> tuple[str, str]:
    """Colour space and OpenColorIO config a plate of a faceset was read with.

    A faceset keeps the settings of its last extraction, and beside them what held for each plate; see
    :func:`with_plate_colors`. Facesets of before say it of the last plate only.
    """
    known = settings.get(PLATE_COLORS)
    of_plate = known.get(plate) if isinstance(known, Mapping) else None
    values = of_plate if isinstance(of_plate, Mapping) else settings
    return str(values.get("input_colorspace", "auto")), str(values.get("ocio_config", ""))


def with_plate_colors(settings: Mapping[str, Any], before: Mapping[str, Any], plate: str) -> dict[str, Any]:
    """The settings of an extraction for the faceset to keep: how this plate is read, and what was kept of others.

    Args:
        before: what the faceset kept until now.
    """
    known = before.get(PLATE_COLORS)
    stated = {"input_colorspace": settings["input_colorspace"], "ocio_config": settings["ocio_config"]}
    return {**settings, PLATE_COLORS: {**(known if isinstance(known, Mapping) else {}), plate: stated}}


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
    return Looker(Networks.create(settings, store, device), settings, converter).describe_picture(path)
