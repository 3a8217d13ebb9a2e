"""Stills and still sequences through OpenImageIO: EXR, DPX, TIFF, PNG, JPEG.

Pixels come as stored: no colour conversion, no change of premultiplication, no rotation by an EXIF orientation.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, DflError, InvalidInput, NotFound, ResourceExhausted, Unsupported
from dflcore.frames import FrameRange
from dflcore.io.plate import (
    BEAUTY_NAMES,
    MetadataValue,
    MissingPolicy,
    PlateImage,
    ResolveSpace,
    Window,
    beauty_rank,
    file_identity,
    find_color,
    select_frames,
)
from dflcore.io.sequence import SequencePattern
from dflcore.io.views import channels_of_view, names_view, with_view
from dflcore.progress import Notice

MAX_IMAGE_MB = 4096
"""An image that claims more uncompressed pixels is refused before memory is asked for (16K RGBA float is 2 GB)."""
MAX_CHANNELS = 1024
MAX_SIDE_PX = 65536
DEFAULT_CONFIG = "ocio://studio-config-v2.2.0_aces-v1.3_ocio-v2.4"
"""Asked for colour space names when the caller gives no resolver; the same config as ``color/ocio.py``'s default."""

_MEANINGLESS_SPACES = frozenset({"", "unknown", "auto", "data", "raw"})
_NUMPY_TYPES = {"half": np.float16, "float": np.float32, "uint8": np.uint8, "uint16": np.uint16}
_UNREADABLE_TYPES = {"vectori": "int[3]", "vector2i": "int[2]", "vector2i[2]": "box2i", "float2[2]": "box2"}
"""Type names OpenImageIO prints but does not parse, and what it takes for them."""
_PRIMARIES: Mapping[str, tuple[float, ...]] = {
    "lin_ap1": (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767),
    "lin_ap0": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "lin_rec709": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    "lin_rec2020": (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    "lin_p3d65": (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
}
"""xy of red, green, blue, white as EXR's ``chromaticities`` lists them."""


class StillPlate:
    """A :class:`~dflcore.io.plate.Plate` of still files. Reading holds no state; any thread may read."""

    def __init__(
        self,
        name: str,
        pattern: SequencePattern,
        *,
        frames: FrameRange | None = None,
        color_space: str = "auto",
        missing: MissingPolicy = "error",
        resolve_space: ResolveSpace | None = None,
    ) -> None:
        self.name = name
        self.pattern = pattern
        there = pattern.frames_on_disk()
        if not there:
            raise NotFound(f"No frame of {name} is on disk.", reason="PLATE_NOT_FOUND", path=name)
        self.frames, notices = select_frames(name, there, frames, missing)
        first_frame, parts, chosen = self._first_header(missing)
        spec = chosen.spec
        self.header = (chosen.channel_names, pattern.path(first_frame), first_frame)
        """Channels of the first frame that can be read, and where they were found."""
        metadata = chosen.metadata
        is_float = bool({"half", "float"} & set(_channel_types(spec)))
        display = _display_window(spec)
        self.size = (display.width, display.height)
        self.rate = _frame_rate(metadata)
        self.color_space, self.color_space_note, is_assumed = _choose_space(
            color_space, metadata, pattern, is_float, resolve_space or _default_resolver
        )
        if is_assumed:
            notices.append(
                Notice(
                    message=f"{name}: {self.color_space_note}",
                    reason="COLOR_SPACE_ASSUMED",
                    severity="info",
                    details={"path": name, "color_space": self.color_space},
                )
            )
        notices += _left_out_notices(name, parts, chosen)
        if not pattern.view:
            notices += _view_notices(name, parts, chosen)
        orientation = metadata.get("Orientation", MetadataValue("int", 1)).value
        if orientation != 1:
            notices.append(
                Notice(
                    message=f"{name}: the header's orientation ({orientation}) is not applied, pixels come as stored.",
                    reason="ORIENTATION_IGNORED",
                    details={"path": name},
                )
            )
        self.notices = tuple(notices)

    def _first_header(self, missing: MissingPolicy) -> tuple[int, list[_Part], _Part]:
        """Of the first frame; where damaged ones may be skipped, of the first that is whole.

        Raises:
            NotFound, DataCorrupt, Unsupported, ResourceExhausted: the first frame, or every one, is damaged.
        """
        failure: DflError | None = None
        for frame in self.frames:
            path = self.pattern.path(frame)
            try:
                with _opened(path, frame) as source:
                    parts = _list_parts(source, path, frame)
                    return frame, parts, _select_part(parts, self.pattern.view, path, frame)
            except (NotFound, DataCorrupt) as error:
                if missing != "skip":
                    raise
                failure = failure or error
        assert failure is not None, "a plate has at least one frame"
        raise failure

    def read(self, frame: int) -> PlateImage:
        """See :meth:`dflcore.io.plate.Plate.read`."""
        path = self.pattern.path(frame)
        image = read_still(path, frame=frame, color_space=self.color_space, view=self.pattern.view)
        size = (image.display_window.width, image.display_window.height)
        if size != self.size:
            raise InvalidInput(
                f"Frame {frame} of {self.name} is {size[0]}x{size[1]}, but the first frame is "
                f"{self.size[0]}x{self.size[1]}; a plate has one size.",
                reason="FRAME_SIZE_DIFFERS",
                path=path,
                frame=frame,
            )
        return image

    def identity(self, frame: int) -> str:
        """See :meth:`dflcore.io.plate.Plate.identity`."""
        return file_identity(self.pattern.path(frame))

    def close(self) -> None:
        """Nothing is held open."""


def read_still(path: Path, *, frame: int = 1, color_space: str = "", view: str = "") -> PlateImage:
    """Read one still file, for multi-part files the part that holds the beauty.

    Args:
        color_space: carried into the result.
        view: that of a stereo file which is read; empty for the first.

    Raises:
        NotFound, InvalidInput, DataCorrupt, ResourceExhausted, Unsupported: as :meth:`Plate.read`; deep files are not
            supported.
    """
    with _opened(path, frame) as source:
        chosen = _select_part(_list_parts(source, path, frame), view, path, frame)
        spec, part = chosen.spec, chosen.number
        types = _channel_types(spec)
        kept = [index for index in chosen.indices if types[index] in _NUMPY_TYPES]
        if not kept:
            raise InvalidInput(
                f"{path} holds {types[0]} pixels, which are not read; give half, float, 8 or 16 bit.",
                reason="PIXEL_TYPE_NOT_READ",
                path=path,
                frame=frame,
            )
        pixels = _read_pixels(source, part, spec, _common_type([types[index] for index in kept]), path, frame)
        if len(kept) < len(types):  # other views; integer ids among colours, which neither half nor float can hold
            pixels = np.ascontiguousarray(pixels[..., kept])
        names = dict(zip(chosen.indices, chosen.channel_names, strict=True))
        return PlateImage(
            frame=frame,
            pixels=pixels,
            channel_names=tuple(names[index] for index in kept),
            channel_types=tuple(types[index] for index in kept),
            data_window=Window(x=spec.x, y=spec.y, width=spec.width, height=spec.height),
            display_window=_display_window(spec),
            pixel_aspect=float(spec.get_float_attribute("PixelAspectRatio", 1.0)) or 1.0,
            color_space=color_space,
            premultiplied=not spec.get_int_attribute("oiio:UnassociatedAlpha", 0),
            metadata=chosen.metadata,
            source_path=path,
        )


def take_error(source: Any) -> str:
    """OpenImageIO's pending error text of an object or of the module itself."""
    try:
        return str(source.geterror()).strip()
    except UnicodeDecodeError:  # the text quotes bytes of a damaged header
        return "damaged header"


@functools.cache
def set_limits() -> None:
    """Make OpenImageIO refuse absurd headers, and let a file's suffix alone decide how it is read."""
    oiio.attribute("limits:imagesize_MB", MAX_IMAGE_MB)
    oiio.attribute("limits:channels", MAX_CHANNELS)
    oiio.attribute("limits:resolution", MAX_SIDE_PX)
    oiio.attribute("try_all_readers", 0)


@contextmanager
def _opened(path: Path, frame: int) -> Iterator[Any]:
    set_limits()
    try:
        is_there = path.is_file()
    except OSError as error:  # a file server that does not answer, a folder that may not be entered
        raise _read_error(path, frame, error.strerror or str(error)) from error
    if not is_there:
        raise NotFound(f"Frame {frame} is not on disk: {path}.", reason="FRAME_NOT_FOUND", path=path, frame=frame)
    if not os.access(path, os.R_OK):
        raise InvalidInput(f"{path} may not be read by this user.", reason="NO_PERMISSION", path=path, frame=frame)
    hints = oiio.ImageSpec()
    hints.attribute("oiio:UnassociatedAlpha", 1)  # PNG and TIFF would be multiplied by their alpha on reading
    source = oiio.ImageInput.open(str(path), hints)
    if source is None:
        raise _read_error(path, frame, take_error(oiio))
    try:
        yield source
    finally:
        source.close()


def _read_error(path: Path, frame: int, text: str) -> DflError:
    if "limits:" in text:
        return ResourceExhausted(
            f"{path} (frame {frame}) claims more pixels than the limit of {MAX_IMAGE_MB} MB: {text}",
            reason="IMAGE_TOO_LARGE",
            path=path,
            frame=frame,
        )
    if "ubsampl" in text or ("sampling" in text and "channel" in text):
        return Unsupported(
            f"{path} (frame {frame}) holds channels of reduced size, as luminance and chroma (Y RY BY) have, which are "
            "not read; convert it to R G B.",
            reason="SUBSAMPLED_CHANNELS",
            path=path,
            frame=frame,
        )
    return DataCorrupt(
        f"{path} (frame {frame}) cannot be read, it is truncated or damaged: {text or 'no reason given'}",
        reason="FRAME_CORRUPT",
        path=path,
        frame=frame,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One image of a file, or one view of an image that holds several.

    Attributes:
        number, name: the part's place in the file, and its own name.
        spec: OpenImageIO's, of the whole part.
        indices, channel_names: its channels' places in the part, and their names without the view.
        view: empty where the header names none.
    """

    number: int
    spec: Any
    channel_names: tuple[str, ...]
    name: str
    indices: tuple[int, ...]
    view: str

    @property
    def metadata(self) -> dict[str, MetadataValue]:
        """The header's attributes, the view among them."""
        found = _metadata(self.spec)
        return {**found, "view": MetadataValue("string", self.view)} if self.view else found

    @property
    def title(self) -> str:
        """What a person may call it."""
        return self.name or f"number {self.number + 1}"


def _list_parts(source: Any, path: Path, frame: int) -> list[_Part]:
    parts: list[_Part] = []
    number = 0
    while source.seek_subimage(number, 0):
        spec = source.spec()
        names = _channel_names(spec, path, frame)
        parts += _views_of(number, spec, names, _text_attribute(spec, "oiio:subimagename"))
        number += 1
    text = take_error(source)  # running off the last part leaves a message behind
    if not parts:
        raise _read_error(path, frame, text or "it holds no image")
    return parts


def _views_of(number: int, spec: Any, names: tuple[str, ...], name: str) -> list[_Part]:
    """A part of the file, once for each view its header lists."""
    listed = _texts_attribute(spec, "multiView")
    if not listed:
        return [_Part(number, spec, names, name, tuple(range(len(names))), _text_attribute(spec, "view"))]
    return [_one_view(number, spec, names, name, listed, view) for view in listed]


def _one_view(number: int, spec: Any, names: Sequence[str], name: str, views: Sequence[str], view: str) -> _Part:
    channels = channels_of_view(names, views, view)
    return _Part(number, spec, tuple(plain for _, plain in channels), name, tuple(index for index, _ in channels), view)


def _parts_of_view(parts: Sequence[_Part], view: str, path: Path, frame: int) -> list[_Part]:
    """What of the file belongs to a view, by its header or else by the channels' names.

    Raises:
        InvalidInput: nothing does.
    """
    found = [part for part in parts if part.view == view]
    if not found:
        named = [part for part in parts if not part.view and names_view(part.channel_names, view)]
        found = [_one_view(part.number, part.spec, part.channel_names, part.name, ("", view), view) for part in named]
    if not found:
        views = ", ".join(dict.fromkeys(part.view for part in parts if part.view)) or "none that its header names"
        raise InvalidInput(
            f"{path} has no view {view}; it has {views}.",
            reason="VIEW_NOT_FOUND",
            field="plate",
            path=path,
            frame=frame,
        )
    return found


def _select_part(parts: Sequence[_Part], view: str, path: Path, frame: int) -> _Part:
    """The part with the beauty: bare RGB in a part of a beauty's name, then bare RGB, then any colour."""
    best = min(_parts_of_view(parts, view, path, frame) if view else parts, key=_part_rank)
    if best.spec.deep:
        raise Unsupported(
            f"{path} is a deep image; flatten it first (DeepToImage).", reason="DEEP_IMAGE", path=path, frame=frame
        )
    return best


def _part_rank(part: _Part) -> int:
    names = part.channel_names
    color = find_color(names)
    if color is None:
        return 4
    is_rgb = len(set(color)) == 3
    is_bare = "." not in names[color[0]]
    if is_rgb and is_bare and beauty_rank(part.name) < len(BEAUTY_NAMES):
        return 0
    if is_rgb:
        return 1 if is_bare else 2
    return 3


def _left_out_notices(name: str, parts: Sequence[_Part], chosen: _Part) -> list[Notice]:
    """What of the file is not the plate, so that nobody thinks it was seen or will be kept."""
    notices: list[Notice] = []
    others = list(dict.fromkeys(part.title for part in parts if part.number != chosen.number))
    if others:
        notices.append(
            Notice(
                message=f"{name}: of {len(others) + 1} parts, {chosen.title!r} is read; {', '.join(others)} are "
                "neither looked at nor kept.",
                reason="PARTS_NOT_READ",
                severity="info",
                details={"path": name, "part": chosen.title, "parts": ",".join(others)},
            )
        )
    types = _channel_types(chosen.spec)
    integers = [
        channel
        for channel, index in zip(chosen.channel_names, chosen.indices, strict=True)
        if types[index] not in _NUMPY_TYPES
    ]
    if integers and len(integers) < len(chosen.channel_names):
        notices.append(
            Notice(
                message=f"{name}: the integer channels {', '.join(integers)} are neither read nor kept.",
                reason="CHANNELS_NOT_READ",
                details={"path": name, "channels": ",".join(integers)},
            )
        )
    color = find_color(chosen.channel_names)
    layer = chosen.channel_names[color[0]].rpartition(".")[0] if color is not None else ""
    if color is not None and beauty_rank(layer) == len(BEAUTY_NAMES) and len(_color_layers(chosen.channel_names)) > 1:
        notices.append(
            Notice(
                message=f"{name}: no layer is called the beauty; of {', '.join(_color_layers(chosen.channel_names))} "
                f"the first, {layer}, is taken as the plate's colour.",
                reason="COLOR_LAYER_ASSUMED",
                details={"path": name, "layer": layer},
            )
        )
    return notices


def _view_notices(name: str, parts: Sequence[_Part], chosen: _Part) -> list[Notice]:
    """Which view was taken where nobody asked for one, and how to ask."""
    views = list(dict.fromkeys(part.view for part in parts if part.view))
    if len(views) < 2 or not chosen.view:
        return []
    other = next(view for view in views if view != chosen.view)
    return [
        Notice(
            message=f"{name}: of the views {', '.join(views)}, {chosen.view} is read; name the plate "
            f"{with_view(name, other)} for another.",
            reason="VIEW_ASSUMED",
            severity="info",
            details={"path": name, "view": chosen.view, "views": ",".join(views)},
        )
    ]


def _color_layers(names: Sequence[str]) -> list[str]:
    """Layers that have red, green and blue."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    found = {layer: find_color(tuple(name for name in names if name.rpartition(".")[0] == layer)) for layer in layers}
    return [layer for layer, color in found.items() if color is not None and len(set(color)) == 3]


def _read_pixels(source: Any, part: int, spec: Any, type_name: str, path: Path, frame: int) -> NDArray[Any]:
    try:
        pixels = source.read_image(part, 0, 0, spec.nchannels, oiio.TypeDesc(type_name))
    except MemoryError as error:
        raise ResourceExhausted(
            f"Not enough memory for {path} (frame {frame}).", reason="OUT_OF_MEMORY", path=path, frame=frame
        ) from error
    if pixels is None:
        raise _read_error(path, frame, take_error(source))
    array = np.asarray(pixels, dtype=_NUMPY_TYPES[type_name])
    return array.reshape(spec.height, spec.width, spec.nchannels)


def _channel_names(spec: Any, path: Path, frame: int) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in spec.channelnames)
    except UnicodeDecodeError as error:
        raise _read_error(path, frame, "a channel name is not text") from error


def _channel_types(spec: Any) -> list[str]:
    """OIIO's type per channel, wider kinds mapped to float; ``uint`` of an EXR stays and is not read."""
    formats = [str(kind) for kind in spec.channelformats] or [str(spec.format)] * spec.nchannels
    is_exr_id = "uint32" if len(set(formats)) > 1 else ""
    widened = {"double": "float", "int8": "float", "int16": "float", "uint": is_exr_id or "uint"}
    return [widened.get(kind, kind) for kind in formats]


def _common_type(types: list[str]) -> str:
    return types[0] if len(set(types)) == 1 else "float"


def _display_window(spec: Any) -> Window:
    return Window(x=spec.full_x, y=spec.full_y, width=spec.full_width, height=spec.full_height)


def _metadata(spec: Any) -> dict[str, MetadataValue]:
    values: dict[str, MetadataValue] = {}
    for index in range(len(spec.extra_attribs)):
        try:
            attribute = spec.extra_attribs[index]
            value = attribute.value
            if isinstance(value, (str, int, float)):
                values[attribute.name] = MetadataValue(_type_name(attribute.type), value)
            elif isinstance(value, (tuple, list, np.ndarray)):
                values[attribute.name] = MetadataValue(_type_name(attribute.type), tuple(np.asarray(value).tolist()))
        except UnicodeDecodeError:  # bytes that are no text cannot be carried on
            continue
    return values


def _type_name(kind: Any) -> str:
    return _UNREADABLE_TYPES.get(str(kind), str(kind))


def _text_attribute(spec: Any, name: str) -> str:
    try:
        return str(spec.get_string_attribute(name, ""))
    except UnicodeDecodeError:
        return ""


def _texts_attribute(spec: Any, name: str) -> tuple[str, ...]:
    """A list of texts without doubles; empty where there is none."""
    try:
        values = spec.get(name)
    except UnicodeDecodeError:
        return ()
    return tuple(dict.fromkeys(str(value) for value in values)) if isinstance(values, tuple | list) else ()


def _frame_rate(metadata: Mapping[str, MetadataValue]) -> float | None:
    for name in ("FramesPerSecond", "framesPerSecond", "dpx:FrameRate", "dpx:TemporalFrameRate"):
        if name not in metadata:
            continue
        value = metadata[name].value
        rate = value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else value
        if isinstance(rate, (int, float)) and 0 < rate < 10000:
            return float(rate)
    return None


def _choose_space(
    asked: str,
    metadata: Mapping[str, MetadataValue],
    pattern: SequencePattern,
    is_float: bool,
    resolve: ResolveSpace,
) -> tuple[str, str, bool]:
    """Name, how it was found, and whether it is an assumption.

    Raises:
        InvalidInput: DPX, whose code values may be any log, and float TIFF, which may be linear or not.
    """
    if asked not in ("", "auto"):
        return asked, "colour space stated by the user", False
    for key in ("colorspace", "colorInteropID", "oiio:ColorSpace"):
        value = metadata.get(key, MetadataValue("string", "")).value
        name = resolve(value) if isinstance(value, str) and value.lower() not in _MEANINGLESS_SPACES else None
        # OIIO gives every PNG and JPEG the same oiio:ColorSpace, but the guess is the one made below anyway.
        if name is not None:
            return name, f"colour space {value!r} read from the header ({key})", False
    chromaticities = metadata.get("chromaticities")
    if pattern.suffix == ".exr" and chromaticities is not None:
        for candidate, primaries in _PRIMARIES.items():
            name = resolve(candidate) if np.allclose(chromaticities.value, primaries, atol=1.5e-3) else None
            if name is not None:
                return name, f"colour space {name!r} from the header's chromaticities", False
    if pattern.suffix == ".exr":
        return "ACEScg", "the EXR header names no colour space, ACEScg is assumed", True
    if pattern.suffix == ".dpx" or is_float:
        examples = "'lin_rec709', 'srgb_tx'" if is_float else "'ADX10', 'ARRI LogC3 (EI800)', 'srgb_tx'"
        raise InvalidInput(
            f"{pattern} does not say what its {'float' if is_float else 'code'} values mean; state it with "
            f"--input-colorspace (for example {examples}).",
            reason="COLOR_SPACE_REQUIRED",
            field="input_colorspace",
            path=pattern,
        )
    return "srgb_tx", "the file names no colour space, sRGB (srgb_tx) is assumed", True


@functools.cache
def _default_config() -> Any:
    return oiio.ColorConfig(DEFAULT_CONFIG)


def _default_resolver(name: str) -> str | None:
    config = _default_config()
    resolved = str(config.resolve(name))
    return resolved if resolved in config.getColorSpaceNames() else None
