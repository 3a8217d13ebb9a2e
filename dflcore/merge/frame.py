"""One merged frame, now: what a range would write, from parts that are kept warm between requests.

Kept are the networks, the faceset's index, the colour config, the last plates as light, and the last faces as painted:
a request in which only the look has changed runs no network. What has changed on disk meanwhile is noticed: a new save
of the model, a new or deleted face or mask, a frame rendered again.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dflcore.authorization import check_authorization
from dflcore.color.ocio import ColorConverter
from dflcore.config.cast_text import Part, parse_casting
from dflcore.config.merge import MergeSettings
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.io.aligned_image import to_uint8
from dflcore.io.exr import ExrLayer
from dflcore.io.faceset import Faceset
from dflcore.io.plate import MetadataValue, Plate, Window, open_plate, select_frames
from dflcore.io.png import encode_png
from dflcore.merge.aovs import LOSSLESS, FrameLayout, parse_layers
from dflcore.merge.casting import Cast, check_tracks
from dflcore.merge.composite import around, intersect, to_float
from dflcore.merge.face import PaintedFace
from dflcore.merge.light import PlateDeveloper, PlateLight
from dflcore.merge.pipeline import select_records
from dflcore.merge.provenance import MergeIdentity
from dflcore.merge.proxy import (
    crop_layers,
    crop_light,
    reduce_layers,
    reduced_display,
    reduced_window,
    snap,
    whole_reduction,
)
from dflcore.merge.rendering import (
    FrameRenderer,
    PaintedFrame,
    arrange_files,
    frame_key,
    header_of,
    merge_identity,
    write_layers,
)
from dflcore.merge.segmentation import Segmentation
from dflcore.merge.stages import StepClock
from dflcore.merge.swapper import ModelSwapper, open_swapper
from dflcore.merge.temporal import Tracks
from dflcore.merge.tools import MergeTools, check_tools, open_tools
from dflcore.merge.warmth import (
    ByteCache,
    NetworkMemory,
    RememberingSwapper,
    WatchedClock,
    faces_bytes,
    folder_token,
    light_bytes,
    model_token,
    plate_token,
)
from dflcore.models.device import resolve_device
from dflcore.progress import Notice
from dflcore.types import Authorization, FaceRecord, FloatArray
from dflcore.weights.store import WeightStore

BEAUTY_NAME = "beauty"
"""What the composite is called in requests; in files it has no name."""
MAX_REDUCTION = 16
NETWORK_CACHE_BYTES = 64 << 20
FACES_CACHE_BYTES = 192 << 20
_KEPT_PLATES = 4
_KEPT_FACESETS = 4
_KEPT_MODELS = 2
AuthorizationOf = Callable[[Path, str], Authorization]
"""Model folder and weights' digest → the record of the source's face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRequest:
    """What is wanted of one frame.

    Attributes:
        plate, frame, model, faceset, settings: as of a merge.
        layers: ``beauty`` and names of :data:`~dflcore.merge.aovs.LAYERS`, in the order of the answer.
        region: None for all of the data window; ``faces`` for the rectangle around the swapped faces, all where there
            is none; a window in plate pixels from the display window's top-left corner.
        reduction: whole number by which both sides are divided. max_side: divide further until no side is longer, px;
            0 sets no limit.
        for_file: as a merge's file has it: channel names that its compression spares and, at full size, the plate's own
            further channels.
    """

    plate: str
    frame: int
    model: Path
    faceset: Path
    settings: MergeSettings
    layers: tuple[str, ...] = (BEAUTY_NAME,)
    region: Window | str | None = None
    reduction: int = 1
    max_side: int = 0
    for_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedFrame:
    """One frame as asked for.

    Attributes:
        layers: in the order asked for, the beauty without a name, several for a name that stands for several; pixels
            over ``data_window``.
        data_window, display_window: in coordinates divided by ``reduction``.
        key: as :meth:`MergeIdentity.frame_key`. attributes: of a file's header.
        network_reused: the network's output of an earlier request was used.
    """

    layers: tuple[ExrLayer, ...]
    light: PlateLight
    converter: ColorConverter
    data_window: Window
    display_window: Window
    pixel_aspect: float
    reduction: int
    key: str
    face_count: int
    attributes: Mapping[str, MetadataValue | str | int | float]
    notices: tuple[Notice, ...]
    steps_ms: Mapping[str, float]
    network_reused: bool

    def write_exr(self, path: Path, compression: str, dwa_level: float) -> None:
        """Write an EXR file; at full size and with the layers of a merge, the very file a merge writes.

        Call it in a thread that does no colour work. Raises as :func:`dflcore.io.exr.write_exr`.
        """
        ordered = sorted(self.layers, key=lambda layer: bool(layer.name))  # the beauty comes first
        write_layers(
            path,
            ordered,
            self.light,
            self.attributes,
            compression,
            data_window=self.data_window,
            display_window=self.display_window,
            pixel_aspect=self.pixel_aspect,
            dwa_level=dwa_level,
        )

    def png(self) -> bytes:
        """The one layer as an 8-bit PNG with what the header says of the making as text.

        Colours are sRGB-encoded and cut off at 0 and 1 (no view transform); mattes and maps are their numbers.

        Raises:
            InvalidInput: there are several layers.
        """
        if len(self.layers) != 1:
            names = ", ".join(layer.name or BEAUTY_NAME for layer in self.layers)
            raise InvalidInput(
                f"A PNG holds one layer, not {names}; name one of them.", reason="ONE_LAYER_ONLY", field="layers"
            )
        text = {name: str(value) for name, value in self.attributes.items() if name.startswith("dfl/")}
        return encode_png(self._display(self.layers[0]), text)

    def _display(self, layer: ExrLayer) -> NDArray[np.uint8]:
        pixels = to_float(np.ascontiguousarray(layer.pixels))
        if pixels.shape[2] == 1:
            return to_uint8(pixels)
        if layer.channels[:3] == ("R", "G", "B"):
            finite = np.nan_to_num(pixels[..., :3], nan=0.0)
            return to_uint8(self.converter.to_network(finite, self.light.color_space))
        shown = np.zeros((*pixels.shape[:2], 3), np.float32)
        shown[..., : min(pixels.shape[2], 3)] = pixels[..., :3]
        return to_uint8(shown)


@dataclass(slots=True)
class _OpenPlate:
    plate: Plate
    token: str


@dataclass(slots=True)
class _Faces:
    token: tuple[object, ...]
    records: dict[int, list[FaceRecord]]
    notices: list[Notice]


@dataclass(slots=True)
class _Model:
    token: tuple[object, ...]
    swapper: ModelSwapper
    notices: list[Notice]


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What is read from disk for a frame: the plate, and the faces of the whole shot."""

    plate: Plate
    records: Mapping[int, Sequence[FaceRecord]]
    notices: Sequence[Notice]


@dataclass(frozen=True, slots=True)
class _Near:
    """A frame's stored masks, and what its painted faces are known by."""

    masks: Mapping[str, FloatArray]
    key: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Composed:
    """Layers as asked for, and what they cover; windows as of :class:`RenderedFrame`."""

    layers: Sequence[ExrLayer]
    data_window: Window
    display_window: Window
    pixel_aspect: float
    reduction: int
    metadata: Mapping[str, str]


@dataclass(slots=True)
class _Warm:
    """What is kept; a dictionary's last entry was used last."""

    converters: dict[str, tuple[ColorConverter, PlateDeveloper]] = field(default_factory=dict)
    plates: dict[tuple[str, str, str], _OpenPlate] = field(default_factory=dict)
    faces: dict[tuple[str, ...], _Faces] = field(default_factory=dict)
    models: dict[tuple[str, str], _Model] = field(default_factory=dict)
    tools: dict[tuple[object, ...], MergeTools] = field(default_factory=dict)


class WarmFrames:
    """Renders frames on request, one at a time, and keeps what the next request needs.

    Call :meth:`render` in a thread that reads no EXR files: colour work is slow there (``color/ocio.py``). Files are
    read in a thread of its own.

    Args:
        authorization_of: says who allowed a model's source face.
        cache_bytes: at most so much of decoded plates is kept.
        store: where the weights of enhancers and segmenters are.
    """

    def __init__(
        self, authorization_of: AuthorizationOf, *, cache_bytes: int, store: WeightStore | None = None
    ) -> None:
        self._authorization_of = authorization_of
        self._store = store or WeightStore()
        self._warm = _Warm()
        self._lights: ByteCache[PlateLight] = ByteCache(cache_bytes)
        self._outputs: NetworkMemory = ByteCache(NETWORK_CACHE_BYTES)
        self._faces_painted: ByteCache[Sequence[PaintedFace]] = ByteCache(FACES_CACHE_BYTES)
        self.files = ThreadPoolExecutor(1, thread_name_prefix="frame-files")
        """Where image files are read and written."""

    def render(self, request: FrameRequest, check: Callable[[], None] = lambda: None) -> RenderedFrame:
        """One frame.

        Args:
            check: asked at every step; what it raises ends the work.

        Raises:
            InvalidInput: as :func:`~dflcore.merge.pipeline.merge_range`; a region outside the plate; a reduction or
                layers that cannot be.
            NotFound, DataCorrupt, ResourceExhausted: plate, frame, faceset or model are not there, damaged, or too
                large.
        """
        settings = request.settings
        names = _layer_names(request.layers)
        _check_size(request)
        clock = WatchedClock(check)
        converter, developer = self._converter(settings.ocio_config)
        with clock.step("model"):
            model = self._model(request)
        permission, permission_notices = self._check_permission(request.model, model.swapper, settings)
        with clock.step("faces"):
            inputs = self.files.submit(self._inputs, request, converter).result()
        tools = self._tools(settings)
        remembering = functools.partial(RememberingSwapper, memory=self._outputs)
        own = remembering(model.swapper, person=_person(settings.identity, settings.morph, settings))
        parts: list[RememberingSwapper] = [own]

        def open_part(part: Part) -> RememberingSwapper:
            other = self._load(Path(part.model), settings)
            self._check_permission(Path(part.model), other.swapper, settings)
            painting = other.swapper.painting(part.identity, part.morph)
            parts.append(remembering(painting, person=_person(part.identity, part.morph, settings)))
            return parts[-1]

        cast = Cast(parse_casting(settings.cast), own, open_part)
        check_tracks(parse_casting(settings.cast), (face for faces in inputs.records.values() for face in faces))
        tracks = Tracks.steadied(inputs.records, settings.smooth_landmarks)
        renderer = FrameRenderer(
            cast, converter, tracks, settings, clock=clock, developer=developer, tools=tools, layers=names
        )
        identity = merge_identity(inputs.plate, cast, settings, converter, permission, tools=tools.digests)
        with clock.step("faces"):
            key, near = self.files.submit(self._near, request, inputs.plate, renderer, cast, identity).result()
        light, painted, is_recalled = self._paint(request, inputs.plate, renderer, near, clock)
        with clock.step("composite"):
            everybody = (face for faces in tracks.records.values() for face in faces)
            compression = settings.compression if request.for_file else LOSSLESS
            layout = FrameLayout(
                "layered", names, people=cast.people(everybody), square=own.resolution, compression=compression
            )
            composed = _compose(request, painted, names, layout)
        attributes = {**header_of(painted, identity, settings), **composed.metadata}
        if composed.reduction > 1 and settings.provenance_attributes != "off":
            attributes["dfl/reduction"] = composed.reduction
        check()
        return RenderedFrame(
            layers=tuple(composed.layers),
            light=light,
            converter=converter,
            data_window=composed.data_window,
            display_window=composed.display_window,
            pixel_aspect=composed.pixel_aspect,
            reduction=composed.reduction,
            key=key,
            face_count=painted.face_count,
            attributes=attributes,
            notices=(*inputs.notices, *model.notices, *permission_notices, *painted.notices),
            steps_ms=clock.milliseconds_per(1),
            network_reused=(is_recalled or any(one.is_reused for one in parts))
            and not any(one.has_run for one in parts),
        )

    def close(self) -> None:
        """Let go of everything."""
        self.files.shutdown()
        for open_one in self._warm.plates.values():
            open_one.plate.close()
        self._warm = _Warm()
        self._lights.clear()
        self._outputs.clear()
        self._faces_painted.clear()

    def _converter(self, config: str) -> tuple[ColorConverter, PlateDeveloper]:
        """Raises NotFound, InvalidInput."""
        name = _config_name(config)
        if name not in self._warm.converters:
            converter = ColorConverter(config)
            self._warm.converters = {name: (converter, PlateDeveloper(converter))}
        return self._warm.converters[name]

    def _model(self, request: FrameRequest) -> _Model:
        """The merge's own model, painting whom the settings say. Raises as :func:`open_swapper`."""
        kept = self._load(request.model, request.settings)
        return replace(kept, swapper=kept.swapper.painting(request.settings.identity, request.settings.morph))

    def _load(self, path: Path, settings: MergeSettings) -> _Model:
        """A model as it was saved last."""
        device = str(resolve_device(settings.device))
        key = (str(path), device)
        token = model_token(path)
        kept = self._warm.models.pop(key, None)
        if kept is None or kept.token != token:
            kept = None  # the old weights go before the new ones come
            while len(self._warm.models) >= _KEPT_MODELS:
                self._warm.models.pop(next(iter(self._warm.models)))
            kept = _Model(token, *open_swapper(path, device))
        self._warm.models[key] = kept
        return kept

    def _check_permission(
        self, path: Path, swapper: ModelSwapper, settings: MergeSettings
    ) -> tuple[Authorization, list[Notice]]:
        """Who allowed a model's face, and what to say of it. Raises InvalidInput where the permission has expired."""
        permission = self._authorization_of(path, swapper.digest)
        notices = check_authorization(
            permission,
            f"the model {swapper.name}",
            project=settings.authorization_project,
            use=settings.authorization_use,
        )
        return permission, list(notices)

    def _tools(self, settings: MergeSettings) -> MergeTools:
        """The networks the settings name, kept until others are named. Raises as :func:`open_tools`."""
        device = str(resolve_device(settings.device))
        named = {name: _folder_of(name) for name in (settings.segmenter, settings.enhancer)}
        key = (device, *((name, model_token(path)) if path else (name,) for name, path in named.items()))
        if key not in self._warm.tools:
            self._warm.tools = {}  # the old weights go before the new ones come
            self._warm.tools = {key: open_tools(settings, self._store, device)}
        tools = self._warm.tools[key]
        check_tools(settings, tools)
        return tools

    def _inputs(self, request: FrameRequest, converter: ColorConverter) -> _Inputs:
        """Plate and faces; runs where files are read."""
        plate = self._plate(request, converter)
        faces = self._faces(request, plate)
        return _Inputs(plate, faces.records, (*plate.notices, *faces.notices))

    def _near(
        self, request: FrameRequest, plate: Plate, renderer: FrameRenderer, cast: Cast, identity: MergeIdentity
    ) -> tuple[str, dict[int, _Near]]:
        """The frame's key, and what is known of it and of those around it; runs where files are read."""
        settings = request.settings
        records = {number: renderer.tracks.records.get(number, ()) for number in renderer.frames_around(request.frame)}
        segmentation = Segmentation.open(request.faceset, settings.segmentation, records)
        with contextlib.closing(segmentation):
            near: dict[int, _Near] = {}
            for number, faces in records.items():
                masks: dict[str, FloatArray] = {}
                for swapper, theirs in cast.divide(faces):
                    masks |= segmentation.read(theirs, swapper.face_type, swapper.resolution)
                try:
                    plate_identity = plate.identity(number)
                except NotFound:
                    if number == request.frame:
                        raise
                    continue  # it has nothing to lend
                known = identity.frame_key(
                    plate_identity, faces, segmentation.identify(faces), settings_digest="painted"
                )
                shown = [(record.name, record.track_id, record.face_index) for record in faces]
                whom = (settings.cast, *_person(settings.identity, settings.morph, settings))
                look = (_config_name(settings.ocio_config), settings.bit_depth, settings.segmenter, settings.enhancer)
                near[number] = _Near(masks, (known, *shown, *whom, *look))
            return frame_key(request.frame, identity, plate, renderer, segmentation), near

    def _paint(
        self,
        request: FrameRequest,
        plate: Plate,
        renderer: FrameRenderer,
        near: Mapping[int, _Near],
        clock: StepClock,
    ) -> tuple[PlateLight, PaintedFrame, bool]:
        """The frame's light and faces, and whether all that shows faces had been painted before."""
        faces: dict[int, Sequence[PaintedFace]] = {}
        is_recalled = False
        light: PlateLight | None = None
        for number, known in sorted(near.items(), key=lambda item: item[0] != request.frame):
            painted = self._faces_painted.get(known.key)
            is_recalled = is_recalled or bool(painted)
            if painted is None or number == request.frame:
                try:
                    shown = self._light(request, plate, renderer, clock, number)
                except (NotFound, DataCorrupt):
                    if number == request.frame:
                        raise
                    continue  # it has nothing to lend
                light = light or shown
                if painted is None:
                    painted = renderer.prepare(shown, known.masks)
                    self._faces_painted.put(known.key, painted, faces_bytes(painted))
            faces[number] = painted
        assert light is not None
        return light, renderer.finish(light, faces[request.frame], faces), is_recalled

    def _plate(self, request: FrameRequest, converter: ColorConverter) -> Plate:
        """The plate with all its frames, opened anew where the frame was not there before, or its first has changed."""
        settings = request.settings
        key = (request.plate, settings.input_colorspace, _config_name(settings.ocio_config))
        kept = self._warm.plates.pop(key, None)
        if kept is not None and (request.frame not in set(kept.plate.frames) or kept.token != plate_token(kept.plate)):
            kept.plate.close()
            kept = None
        if kept is None:
            plate = open_plate(request.plate, color_space=settings.input_colorspace, resolve_space=converter.find)
            kept = _OpenPlate(plate, plate_token(plate))
        self._warm.plates[key] = kept
        while len(self._warm.plates) > _KEPT_PLATES:
            self._warm.plates.pop(next(iter(self._warm.plates))).plate.close()
        select_frames(request.plate, kept.plate.frames, FrameRange((request.frame,)), "error")
        return kept.plate

    def _faces(self, request: FrameRequest, plate: Plate) -> _Faces:
        """Faces by frame. Raises as :meth:`Faceset.open` and :func:`select_records`."""
        key = (str(request.faceset), plate.name)
        token = (*folder_token(request.faceset), plate.size, plate.frames)
        kept = self._warm.faces.pop(key, None)
        if kept is None or kept.token != token:
            with Faceset.open(request.faceset) as faceset:
                kept = _Faces(token, *select_records(plate, faceset))
        self._warm.faces[key] = kept
        while len(self._warm.faces) > _KEPT_FACESETS:
            self._warm.faces.pop(next(iter(self._warm.faces)))
        return kept

    def _light(
        self, request: FrameRequest, plate: Plate, renderer: FrameRenderer, clock: StepClock, number: int
    ) -> PlateLight:
        settings = request.settings
        key = (
            *(request.plate, str(number), plate.identity(number), plate.color_space),
            *(_config_name(settings.ocio_config), settings.bit_depth),
        )
        light = self._lights.get(key)
        if light is None:
            with clock.step("read"):
                image = self.files.submit(plate.read, number).result()
            light = renderer.develop(image)
            self._lights.put(key, light, light_bytes(light))
        return light


def check_output(path: Path, request: FrameRequest, rendered: RenderedFrame) -> None:
    """Refuse to write a frame over the plate, or over another file unless that is allowed.

    Raises:
        InvalidInput: a folder, or the plate's own file.
        Conflict: a file is there and ``overwrite`` is off.
    """
    if path.is_dir():
        raise InvalidInput(f"The output {path} is a folder.", reason="BAD_OUTPUT_PATTERN", field="output_path")
    if not path.exists():
        return
    source = rendered.light.image.source_path
    if source.exists() and path.samefile(source):
        raise InvalidInput(
            f"The output {path} is the plate's own file (frame {request.frame}); write somewhere else.",
            reason="OUTPUT_IS_PLATE",
            path=path,
            frame=request.frame,
        )
    if not request.settings.overwrite:
        raise Conflict(
            f"{path} is there already. Nothing was written. Name another file, or allow overwriting.",
            reason="OUTPUT_EXISTS",
            path=path,
            frame=request.frame,
        )


def _layer_names(asked: Sequence[str]) -> tuple[str, ...]:
    """The names without the beauty, in file order. Raises InvalidInput for an unknown one, or for none at all."""
    if not asked:
        raise InvalidInput("No layer is asked for.", reason="NO_LAYERS", field="layers")
    return parse_layers(",".join(name for name in asked if name != BEAUTY_NAME))


def _check_size(request: FrameRequest) -> None:
    """Raises InvalidInput."""
    if not 1 <= request.reduction <= MAX_REDUCTION:
        raise InvalidInput(
            f"reduction = {request.reduction} must be a whole number from 1 to {MAX_REDUCTION}.",
            reason="BAD_SIZE",
            field="reduction",
        )
    if request.max_side < 0:
        raise InvalidInput(
            f"max_side_px = {request.max_side} must be 0 or more.", reason="BAD_SIZE", field="max_side_px"
        )
    if isinstance(request.region, Window) and (request.region.width < 1 or request.region.height < 1):
        raise InvalidInput("The window is empty.", reason="REGION_EMPTY", field="window")


def _compose(request: FrameRequest, painted: PaintedFrame, names: Sequence[str], layout: FrameLayout) -> _Composed:
    """The layers asked for. The square of ``raw_predict`` lies in no plate: it comes whole."""
    if painted.predicted is not None:
        square = arrange_files(layout, painted)[0][""]
        return _Composed(
            layers=square.layers,
            data_window=square.data_window,
            display_window=square.display_window,
            pixel_aspect=square.pixel_aspect,
            reduction=1,
            metadata=square.metadata,
        )
    data, display = painted.light.data_window, painted.light.image.display_window
    region = _region(request, painted)
    reduction = whole_reduction(region, display, request.reduction, request.max_side)
    if reduction > 1:
        region = snap(region, display, data, reduction)
    # Layers need all of the faces; beyond these only what is asked for is put together.
    composed = region if painted.faces is None else around([region, painted.faces.window])
    cropped = replace(painted, light=crop_light(painted.light, composed))
    file = arrange_files(layout, cropped)[0][""]
    by_name = {layer.name: layer for layer in file.layers}
    wanted: list[str] = []
    for name in dict.fromkeys(request.layers):
        wanted += [""] if name == BEAUTY_NAME else layout.layers_of(name)
    if request.for_file and reduction == 1:
        ours = {layer for name in names for layer in layout.layers_of(name)}
        wanted += [name for name in by_name if name and name not in ours]
    layers = crop_layers([by_name[name] for name in wanted], composed, region)
    if reduction > 1:
        layers = reduce_layers(layers, painted.faces, region, display, reduction)
    return _Composed(
        layers=layers,
        data_window=reduced_window(region, display, reduction) if reduction > 1 else region,
        display_window=reduced_display(display, reduction) if reduction > 1 else display,
        pixel_aspect=painted.light.image.pixel_aspect,
        reduction=reduction,
        metadata=file.metadata,
    )


def _region(request: FrameRequest, painted: PaintedFrame) -> Window:
    """In the coordinates of the data window. Raises InvalidInput for one outside it."""
    data, display = painted.light.data_window, painted.light.image.display_window
    if request.region is None:
        return data
    if not isinstance(request.region, Window):
        return data if painted.faces is None else painted.faces.window
    asked = request.region
    moved = Window(x=asked.x + display.x, y=asked.y + display.y, width=asked.width, height=asked.height)
    common = intersect(moved, data)
    if common is None:
        raise InvalidInput(
            f"The window {asked.x},{asked.y} {asked.width}x{asked.height} lies outside the plate "
            f"({display.width}x{display.height}).",
            reason="REGION_OUTSIDE",
            field="window",
        )
    return common


def _config_name(config: str) -> str:
    """A colour config as it is now: a file that was changed is another one."""
    return f"{config}\0{os.stat(config).st_mtime_ns}" if config and os.path.isfile(config) else config


def _person(identity: str, morph: float, settings: MergeSettings) -> tuple[str, ...]:
    """What decides about a network's output beside its weights and what it is shown."""
    return (identity, str(morph), settings.device)


def _folder_of(name: str) -> Path | None:
    """The model folder that a tool is named by; None for other names."""
    path = Path(name.partition(":")[2] or name)
    return path if name and path.is_dir() else None
