"""One merged frame, now: what a range would write, from parts that are kept warm between requests.

Kept are the inputs (:mod:`dflcore.merge.warm_inputs`) and the last faces as painted: a request in which only the look
has changed runs no network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dflcore.authorization import check_authorization
from dflcore.color.ocio import ColorConverter
from dflcore.config.cast_text import Part, parse_casting
from dflcore.config.merge import MergeSettings
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.aligned_image import to_uint8
from dflcore.io.exr import ExrLayer
from dflcore.io.plate import MetadataValue, Plate, Window
from dflcore.io.png import encode_png
from dflcore.merge.aovs import LOSSLESS, FrameLayout, order_layers
from dflcore.merge.casting import Cast, check_tracks, face_type_notices
from dflcore.merge.composite import around, intersect, to_float
from dflcore.merge.light import PlateLight
from dflcore.merge.painted_face import PaintedFace
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
from dflcore.merge.swapper import ModelSwapper
from dflcore.merge.temporal import Tracks
from dflcore.merge.warm_inputs import ShotFaces, WarmInputs, config_name
from dflcore.merge.warmth import ByteCache, NetworkMemory, RememberingSwapper, WatchedClock, faces_bytes
from dflcore.progress import Notice
from dflcore.types import Authorization, FloatArray
from dflcore.weights.store import WeightStore

BEAUTY_NAME = "beauty"
"""What the composite is called in requests; in files it has no name."""
MAX_REDUCTION = 16
NETWORK_CACHE_BYTES = 64 << 20
FACES_CACHE_BYTES = 192 << 20
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Company:
    """Everybody who may paint in a frame.

    Attributes:
        painters: the models of ``cast``, each remembering what it has painted.
        permission: of the merge's own model.
        notices: about models and permissions.
    """

    cast: Cast
    painters: Sequence[RememberingSwapper]
    permission: Authorization
    notices: Sequence[Notice]

    @property
    def is_idle(self) -> bool:
        """No network ran."""
        return not any(one.has_run for one in self.painters)

    @property
    def has_recalled(self) -> bool:
        """What a network painted for an earlier request was used."""
        return any(one.is_reused for one in self.painters)


@dataclass(frozen=True, slots=True)
class _Near:
    """A frame's stored masks, and what its painted faces are known by."""

    masks: Mapping[str, FloatArray]
    key: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """The frame's key, what is known of it and of those around it, and whether any face has a stored mask."""

    key: str
    near: Mapping[int, _Near]
    has_masks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Composed:
    """Layers as asked for, and what they cover; windows as of :class:`RenderedFrame`."""

    layers: Sequence[ExrLayer]
    data_window: Window
    display_window: Window
    pixel_aspect: float
    reduction: int
    metadata: Mapping[str, str]


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
        self._inputs = WarmInputs(cache_bytes=cache_bytes, store=store or WeightStore())
        self._outputs: NetworkMemory = ByteCache(NETWORK_CACHE_BYTES)
        self._faces_painted: ByteCache[Sequence[PaintedFace]] = ByteCache(FACES_CACHE_BYTES)
        self.files = self._inputs.files
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
        converter, developer = self._inputs.converter(settings.ocio_config)
        company = self._company(request, clock)
        cast = company.cast
        with clock.step("faces"):
            plate, faces = self.files.submit(self._read_shot, request, converter).result()
        with clock.step("model"):
            tools = self._inputs.tools(settings)
        check_tracks(parse_casting(settings.cast), (face for there in faces.records.values() for face in there))
        tracks = Tracks.steadied(faces.records, settings.smooth_landmarks)
        renderer = FrameRenderer(
            cast, converter, tracks, settings, clock=clock, developer=developer, tools=tools, layers=names
        )
        identity = merge_identity(plate, cast, settings, converter, company.permission, tools=tools.digests)
        with clock.step("faces"):
            known = self.files.submit(self._surroundings, request, plate, renderer, cast, identity).result()
        light, painted, is_recalled = self._paint(request, plate, renderer, known.near, clock)
        with clock.step("composite"):
            everybody = (face for there in tracks.records.values() for face in there)
            composed = _compose(request, painted, names, cast.people(everybody))
        attributes = {**header_of(painted, identity, settings), **composed.metadata}
        if composed.reduction > 1 and settings.provenance_attributes != "off":
            attributes["dfl/reduction"] = composed.reduction
        check()
        before = (*plate.notices, *faces.notices, *company.notices, *tools.notices)
        return RenderedFrame(
            layers=tuple(composed.layers),
            light=light,
            converter=converter,
            data_window=composed.data_window,
            display_window=composed.display_window,
            pixel_aspect=composed.pixel_aspect,
            reduction=composed.reduction,
            key=known.key,
            face_count=painted.face_count,
            attributes=attributes,
            notices=(*before, *face_type_notices(cast, faces.info, has_masks=known.has_masks), *painted.notices),
            steps_ms=clock.milliseconds_per(1),
            network_reused=(is_recalled or company.has_recalled) and company.is_idle,
        )

    def close(self) -> None:
        """Let go of everything."""
        self._inputs.close()
        self._outputs.clear()
        self._faces_painted.clear()

    def _company(self, request: FrameRequest, clock: StepClock) -> _Company:
        """The merge's own model and those of the casting, as they were saved last.

        Raises:
            InvalidInput: the permission for one of them has expired.
            DflError: as :class:`Cast` and :func:`~dflcore.merge.swapper.open_swapper`.
        """
        settings = request.settings
        casting = parse_casting(settings.cast)
        needed = {request.model, *(Path(part.model) for part in casting.parts if part.is_folder)}
        painters: list[RememberingSwapper] = []
        notices: dict[Path, list[Notice]] = {}
        permissions: dict[Path, Authorization] = {}

        def engage(path: Path, identity: str, morph: float) -> RememberingSwapper:
            with clock.step("model"):
                model = self._inputs.model(path, settings.device, needed=needed)
            if path not in permissions:
                permissions[path], found = self._check_permission(path, model.swapper, settings)
                notices[path] = [*model.notices, *found]
            painter = RememberingSwapper(
                model.swapper.painting(identity, morph),
                memory=self._outputs,
                person=_person(identity, morph, settings),
            )
            painters.append(painter)
            return painter

        by_name: dict[str, Authorization] = {}

        def open_part(part: Part) -> RememberingSwapper:
            painter = engage(Path(part.model), part.identity, part.morph)
            by_name[painter.name] = permissions[Path(part.model)]
            return painter

        cast = Cast(casting, engage(request.model, settings.identity, settings.morph), open_part, by_name)
        return _Company(
            cast=cast,
            painters=painters,
            permission=permissions[request.model],
            notices=[notice for found in notices.values() for notice in found],
        )

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

    def _read_shot(self, request: FrameRequest, converter: ColorConverter) -> tuple[Plate, ShotFaces]:
        """Plate and faces; runs where files are read."""
        plate = self._inputs.plate(request.plate, request.frame, request.settings, converter)
        return plate, self._inputs.faces(request.faceset, plate)

    def _surroundings(
        self, request: FrameRequest, plate: Plate, renderer: FrameRenderer, cast: Cast, identity: MergeIdentity
    ) -> _Surroundings:
        """Runs where files are read."""
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
                look = (config_name(settings.ocio_config), settings.bit_depth, settings.segmenter, settings.enhancer)
                near[number] = _Near(masks, (known, *shown, *whom, *look))
            key = frame_key(request.frame, identity, plate, renderer, segmentation)
            return _Surroundings(key, near, has_masks=bool(segmentation.versions))

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
                    shown = self._inputs.light(plate, number, renderer, clock)
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
        finished = renderer.finish(light, faces[request.frame], faces)
        for number, painted in faces.items():  # more of their colours may be known now
            self._faces_painted.put(near[number].key, painted, faces_bytes(painted))
        return light, finished, is_recalled


def check_output(path: Path, request: FrameRequest, rendered: RenderedFrame) -> None:
    """Refuse to write a frame over the plate, or over another file unless that is allowed.

    Raises:
        InvalidInput: a folder or a device, or the plate's own file.
        Conflict: a file is there and ``overwrite`` is off.
    """
    if not path.exists():
        return
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no file"
        raise InvalidInput(f"The output {path} is {kind}.", reason="BAD_OUTPUT_PATTERN", field="output_path")
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
    return order_layers(asked, others=(BEAUTY_NAME,))


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


def _compose(request: FrameRequest, painted: PaintedFrame, names: Sequence[str], people: Sequence[str]) -> _Composed:
    """The layers asked for. The square of ``raw_predict`` lies in no plate: it comes whole."""
    compression = request.settings.compression if request.for_file else LOSSLESS
    layout = FrameLayout("layered", names, people=people, compression=compression)
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


def _person(identity: str, morph: float, settings: MergeSettings) -> tuple[str, ...]:
    """What decides about a network's output beside its weights and what it is shown."""
    return (identity, str(morph), settings.device)
