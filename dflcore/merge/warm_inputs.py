"""What single frames are made from, read once and kept: models, tools, plates and their light, faces, colour configs.

What has changed on disk meanwhile is noticed: a new save of a model, a new or deleted face, a frame rendered again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dflcore.color.ocio import ColorConverter
from dflcore.config.merge import MergeSettings
from dflcore.errors import NotFound
from dflcore.io.faceset import Faceset
from dflcore.io.held import HeldPlate
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import MissingPolicy, Plate, brief
from dflcore.merge.light import PlateDeveloper, PlateLight
from dflcore.merge.pipeline import select_records
from dflcore.merge.rendering import FrameRenderer
from dflcore.merge.stages import StepClock
from dflcore.merge.swapper import ModelSwapper, open_swapper
from dflcore.merge.tools import MergeTools, check_tools, open_tools
from dflcore.merge.warmth import ByteCache, folder_token, light_bytes, model_token, plate_token
from dflcore.models.device import resolve_device
from dflcore.progress import Notice
from dflcore.types import FaceRecord, FacesetInfo
from dflcore.weights.store import WeightStore

_KEPT_PLATES = 4
_KEPT_FACESETS = 4
_KEPT_MODELS = 2
"""Or as many as one request needs."""


@dataclass(frozen=True, slots=True)
class ShotFaces:
    """A plate's faces by frame, the faceset they are from, and notices about the choice."""

    info: FacesetInfo
    records: Mapping[int, Sequence[FaceRecord]]
    notices: Sequence[Notice]


@dataclass(frozen=True, slots=True)
class WarmModel:
    """A model as it was saved last, and notices about damaged generations passed over."""

    swapper: ModelSwapper
    notices: Sequence[Notice]


@dataclass(slots=True)
class _Warm:
    """What is kept, each with what tells that it has changed; a dictionary's last entry was used last."""

    converters: dict[str, tuple[ColorConverter, PlateDeveloper]] = field(default_factory=dict)
    plates: dict[tuple[str, ...], tuple[str, Plate]] = field(default_factory=dict)
    faces: dict[tuple[str, str], tuple[object, ShotFaces]] = field(default_factory=dict)
    models: dict[tuple[str, str], tuple[object, WarmModel]] = field(default_factory=dict)
    tools: dict[tuple[object, ...], MergeTools] = field(default_factory=dict)


class WarmInputs:
    """Opens what requests name, and keeps what the next one needs. One thread at a time.

    Args:
        cache_bytes: at most so much of decoded plates is kept.
        store: where the weights of enhancers and segmenters are.
    """

    def __init__(self, *, cache_bytes: int, store: WeightStore) -> None:
        self._store = store
        self._warm = _Warm()
        self._lights: ByteCache[PlateLight] = ByteCache(cache_bytes)
        self.files = ThreadPoolExecutor(1, thread_name_prefix="frame-files")
        """Where image files are read and written."""

    def close(self) -> None:
        """Let go of everything."""
        self.files.shutdown()
        for _, plate in self._warm.plates.values():
            plate.close()
        self._warm = _Warm()
        self._lights.clear()

    def converter(self, config: str) -> tuple[ColorConverter, PlateDeveloper]:
        """The colour config, and what makes light with it. Raises NotFound, InvalidInput."""
        name = config_name(config)
        if name not in self._warm.converters:
            converter = ColorConverter(config)
            self._warm.converters = {name: (converter, PlateDeveloper(converter))}
        return self._warm.converters[name]

    def model(self, path: Path, device_name: str, *, needed: Collection[Path]) -> WarmModel:
        """A model as it was saved last. Raises as :func:`open_swapper`.

        Args:
            device_name: as the settings name it.
            needed: folders of all models that the request names; those are kept.
        """
        device = str(resolve_device(device_name))
        key = (str(path), device)
        token = model_token(path)
        known, kept = self._warm.models.pop(key, (None, None))
        if kept is None or known != token:
            kept = None  # the old weights go before the new ones come
            wanted = {(str(one), device) for one in needed}
            old = [one for one in self._warm.models if one not in wanted]
            while old and len(self._warm.models) >= max(_KEPT_MODELS, len(wanted)):
                self._warm.models.pop(old.pop(0))
            kept = WarmModel(*open_swapper(path, device))
        self._warm.models[key] = (token, kept)
        return kept

    def tools(self, settings: MergeSettings) -> MergeTools:
        """The networks the settings name, kept until others are. Raises as :func:`open_tools`, :func:`check_tools`."""
        device = str(resolve_device(settings.device))
        named = {name: _folder_of(name) for name in (settings.segmenter, settings.enhancer)}
        key = (device, *((name, model_token(path)) if path else (name,) for name, path in named.items()))
        if key not in self._warm.tools:
            self._warm.tools = {}  # the old weights go before the new ones come
            self._warm.tools = {key: open_tools(settings, self._store, device)}
        tools = self._warm.tools[key]
        check_tools(settings, tools)
        return tools

    def plate(self, name: str, frame: int, settings: MergeSettings, converter: ColorConverter) -> Plate:
        """The plate with all its frames, opened anew where the frame was not there before, or its first has changed.

        Call it where files are read. Raises as :func:`open_plate`, and NotFound.
        """
        missing: MissingPolicy = "hold" if settings.missing_frames == "hold" else "error"
        key = (name, settings.input_colorspace, config_name(settings.ocio_config), missing)
        token, plate = self._warm.plates.pop(key, (None, None))
        is_held = isinstance(plate, HeldPlate) and plate.source_of(frame) != frame  # it may be there by now
        if plate is not None and (is_held or frame not in plate.frames or token != plate_token(plate)):
            plate.close()
            plate = None
        if plate is None:
            plate = open_plate(
                name, color_space=settings.input_colorspace, missing=missing, resolve_space=converter.find
            )
            token = plate_token(plate)
        self._warm.plates[key] = (str(token), plate)
        while len(self._warm.plates) > _KEPT_PLATES:
            self._warm.plates.pop(next(iter(self._warm.plates)))[1].close()
        if frame not in plate.frames:
            raise NotFound(
                f"{name} has no frame {frame}; it has {brief(plate.frames)}.",
                reason="FRAMES_MISSING",
                path=name,
                frame=frame,
            )
        return plate

    def faces(self, faceset_path: Path, plate: Plate) -> ShotFaces:
        """Faces by frame. Call it where files are read. Raises as :meth:`Faceset.open`, :func:`select_records`."""
        key = (str(faceset_path), plate.name)
        token = (*folder_token(faceset_path), plate.size, plate.frames)
        known, kept = self._warm.faces.pop(key, (None, None))
        if kept is None or known != token:
            with Faceset.open(faceset_path) as faceset:
                kept = ShotFaces(faceset.info, *select_records(plate, faceset))
        self._warm.faces[key] = (token, kept)
        while len(self._warm.faces) > _KEPT_FACESETS:
            self._warm.faces.pop(next(iter(self._warm.faces)))
        return kept

    def light(self, plate: Plate, number: int, renderer: FrameRenderer, clock: StepClock) -> PlateLight:
        """A frame as light. Raises as :meth:`Plate.read` and :meth:`PlateDeveloper.develop`."""
        settings = renderer.settings
        key = (
            *(plate.name, str(number), plate.identity(number), plate.color_space),
            *(config_name(settings.ocio_config), settings.bit_depth),
        )
        light = self._lights.get(key)
        if light is None:
            with clock.step("read"):
                image = self.files.submit(plate.read, number).result()
            light = renderer.develop(image)
            self._lights.put(key, light, light_bytes(light))
        return light


def config_name(config: str) -> str:
    """A colour config as it is now: a file that was changed is another one."""
    return f"{config}\0{os.stat(config).st_mtime_ns}" if config and os.path.isfile(config) else config


def _folder_of(name: str) -> Path | None:
    """The model folder that a tool is named by; None for other names."""
    path = Path((name.partition(":")[2] or name).partition("?")[0])
    return path if name and path.is_dir() else None
