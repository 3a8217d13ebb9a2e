"""The EXR we deliver: one single-part scanline file whose layers every host finds.

Contract (what Nuke's and Blender's readers make of names):
    beauty ``R G B A`` bare; other channels ``layer.C`` with one dot; layer names are lower-case ASCII words that do not
    begin with a digit and are not ``left``, ``right`` or ``main``, which hosts take as views or the beauty. The format
    itself stores channels by name in alphabetical order; readers put the bare ones first.

OpenImageIO makes the header, OpenEXR packs the pixels: OpenImageIO's Python binding takes pixels of one type only, so a
32-bit layer beside half ones would have every channel converted, one after the other on one thread, which takes four
times as long as packing them. Where OpenEXR refuses the header or is not installed, OpenImageIO writes the pixels too.
"""

from __future__ import annotations

import errno
import functools
import importlib
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import OpenImageIO as oiio  # noqa: N813
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, Internal, InvalidInput, NotFound
from dflcore.io.atomic import atomic_path
from dflcore.io.plate import MetadataValue, Window
from dflcore.io.stills import set_limits, take_error

logger = logging.getLogger(__name__)

PixelType = Literal["half", "float"]
DEFAULT_DWA_LEVEL = 45.0
"""OpenEXR's own: visually lossless by its authors' judgement."""
COMPRESSIONS = ("zip", "zips", "piz", "dwaa", "dwab", "none", "rle", "pxr24", "b44", "b44a")

DWA_LEVELS = (1.0, 500.0)
"""Least and largest: OpenImageIO takes 0 for no level at all, and beyond 500 little but blocks is left."""
LOSSY_COMPRESSIONS = frozenset({"dwaa", "dwab", "b44", "b44a", "pxr24"})
"""Those that do not return the bits they were given. DWA treats every channel called R, G or B as colour, whatever it
holds: an ST map comes back with errors of several pixels."""
_DWA = ("dwaa", "dwab")
_LAYER_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_CHANNEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED_LAYERS = frozenset({"left", "right", "main"})
_BEAUTY_ORDER = ("R", "G", "B", "A")
_NUMPY_TYPES = {"half": np.float16, "float": np.float32}
_OWN_ATTRIBUTES = frozenset(
    (
        "channels",
        "compression",
        "datawindow",
        "displaywindow",
        "lineorder",
        "tiles",
        "type",
        "version",
        "chunkcount",
        "name",
        "pixelaspectratio",
        "xdensity",
        "screenwindowcenter",
        "screenwindowwidth",
        "acesimagecontainerflag",
        "colorinteropid",
        "colorspace",
        "multiview",
        "orientation",
        "planarconfig",
        "iccprofile",
        "textureformat",
    )
)
"""Attributes (lower case) that describe how the file we write is stored, not what the plate's header told."""
_PROBE_CHUNK_BYTES = 1 << 20
_TRANSLATED_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS))
"""Refusals that :func:`dflcore.io.atomic.translate_disk_errors` has a sentence for."""
_OWN_PREFIXES = ("oiio:", "openexr:", "iccprofile:", "tiff:", "jpeg:", "png:")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExrLayer:
    """Channels that belong together.

    Attributes:
        name: layer name, empty for the beauty.
        channels: n channel names without the layer (``R``, ``A``).
        pixels: (H, W, n) floating point over the data window, written as ``pixel_type``; NaN and infinities pass.
        pixel_type: what the file holds.
    """

    name: str
    channels: tuple[str, ...]
    pixels: NDArray[Any]
    pixel_type: PixelType = "half"

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names as in the file."""
        return tuple(f"{self.name}.{channel}" if self.name else channel for channel in self.channels)


def write_exr(
    path: Path,
    *,
    layers: Sequence[ExrLayer],
    data_window: Window,
    display_window: Window,
    pixel_aspect: float = 1.0,
    metadata: Mapping[str, MetadataValue | str | int | float] | None = None,
    compression: str = "zip",
    dwa_level: float = DEFAULT_DWA_LEVEL,
    color_space: str = "",
) -> None:
    """Write one EXR atomically; half and float values arrive in the file bit for bit.

    Args:
        layers: in file order; the beauty (name ``""``), where there is one, comes first.
        data_window: what all layers' pixels cover.
        metadata: header attributes, usually a plate's own plus ours; those that describe storage are left out.
        compression: one of :data:`COMPRESSIONS`; :data:`LOSSY_COMPRESSIONS` lose bits.
        dwa_level: how much ``dwaa`` and ``dwab`` may lose, see :data:`DWA_LEVELS`; larger levels make smaller files.
        color_space: of all colour layers, by OCIO name; written as ``colorspace`` and, where it has one, interop id.

    Raises:
        InvalidInput: a name the hosts would misread, twice the same channel, a shape that is not the data window's,
            an unknown compression, a level out of range, a folder that cannot be written.
        ResourceExhausted: the disk is full.
    """
    _check_layers(layers, data_window)
    if compression not in COMPRESSIONS:
        raise InvalidInput(
            f"EXR compression {compression!r} is unknown; there are {', '.join(COMPRESSIONS)}.",
            reason="BAD_SETTING",
            field="compression",
        )
    low, high = DWA_LEVELS
    if not low <= dwa_level <= high:
        raise InvalidInput(
            f"The level of DWA compression is {dwa_level}; it may be {low:g} to {high:g}.",
            reason="BAD_SETTING",
            field="dwa_level",
        )
    set_limits()
    describe = functools.partial(
        _describe,
        display=display_window,
        pixel_aspect=pixel_aspect,
        metadata=metadata or {},
        compression=f"{compression}:{dwa_level:g}" if compression in _DWA else compression,
        color_space=color_space,
    )
    needed_bytes = sum(layer.pixels.size * (2 if layer.pixel_type == "half" else 4) for layer in layers)
    with atomic_path(path) as temporary:
        header = _make_header(temporary, describe, path, needed_bytes)
        if header is None or not _pack(temporary, header, layers, data_window):
            _write(temporary, describe(_spec(layers, data_window)), _interleaved(layers), path, needed_bytes)


def read_exr_layers(path: Path) -> dict[str, NDArray[Any]]:
    """Every channel of a single-part EXR: name in the file → (H, W) float16 or float32, over the data window.

    Raises:
        NotFound: there is no such file.
        DataCorrupt: it cannot be read.
    """
    source = open_exr(path)
    try:
        spec = source.spec()
        names = [str(name) for name in spec.channelnames]
        kinds = [str(kind) for kind in spec.channelformats] or [str(spec.format)] * spec.nchannels
        result: dict[str, NDArray[Any]] = {}
        for kind in dict.fromkeys(kinds):
            pixels = source.read_image(0, 0, 0, spec.nchannels, oiio.TypeDesc(kind))
            if pixels is None:
                raise DataCorrupt(f"{path} cannot be read: {take_error(source)}", reason="FRAME_CORRUPT", path=path)
            block = np.asarray(pixels).reshape(spec.height, spec.width, spec.nchannels)
            for index, name in enumerate(names):
                if kinds[index] == kind:
                    result[name] = np.ascontiguousarray(block[..., index])
        return {name: result[name] for name in names}
    except UnicodeDecodeError as error:
        raise DataCorrupt(f"{path} has a damaged header.", reason="FRAME_CORRUPT", path=path) from error
    finally:
        source.close()


def is_valid_exr(path: Path) -> bool:
    """The file is a complete EXR: its header reads, and so do its first and last scan lines.

    A file cut short is found; a flipped bit in the middle is not, for that every line would have to be read.
    """
    if not path.is_file():
        return False
    try:
        source = open_exr(path)
    except DataCorrupt:
        return False
    try:
        spec = source.spec()
        rows = (spec.y, spec.y + spec.height - 1)
        return all(
            source.read_scanlines(0, 0, row, row + 1, 0, 0, spec.nchannels, oiio.FLOAT) is not None for row in rows
        )
    finally:
        take_error(source)
        source.close()


def open_exr(path: Path) -> Any:
    """OpenImageIO's reader of an EXR, which the caller closes.

    Raises:
        NotFound: there is no such file.
        DataCorrupt: it is no EXR, or its header is damaged.
    """
    set_limits()
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", reason="FRAME_NOT_FOUND", path=path)
    source = oiio.ImageInput.open(str(path))
    if source is None:
        raise damaged_exr(path, take_error(oiio))
    return source


def damaged_exr(path: Path, text: str) -> DataCorrupt:
    """The error for a file that cannot be read, in one sentence: libraries say it in several lines, each with the path.

    Args:
        text: what the library said.
    """
    last = text.strip().rpartition("\n")[2].replace(str(path), "")
    words = re.sub(r"^EXR Error \(\): (EXR_ERR_\w+ )?", "", last).rstrip(".") or "no reason given"
    return DataCorrupt(f"{path} cannot be read, it is damaged: {words}.", reason="FRAME_CORRUPT", path=path)


def _check_layers(layers: Sequence[ExrLayer], window: Window) -> None:
    if not layers:
        raise InvalidInput("An EXR needs at least one layer.", reason="BAD_LAYERS", field="layers")
    seen: set[str] = set()
    for position, layer in enumerate(layers):
        _check_names(layer, position)
        for name in layer.channel_names:
            if name.lower() in seen:
                raise InvalidInput(f"Channel {name!r} is there twice.", reason="BAD_LAYERS", field="layers")
            seen.add(name.lower())
        if layer.pixels.shape != (window.height, window.width, len(layer.channels)):
            raise InvalidInput(
                f"Layer {layer.name!r} has pixels {layer.pixels.shape}, the data window and its channels ask for "
                f"{(window.height, window.width, len(layer.channels))}.",
                reason="BAD_SHAPE",
                field="layers",
            )


def _check_names(layer: ExrLayer, position: int) -> None:
    name = layer.name
    if name and (not _LAYER_NAME.fullmatch(name) or name in _RESERVED_LAYERS):
        raise InvalidInput(
            f"{name!r} cannot be a layer name: lower-case letters, digits and underscores, no leading digit, and none "
            f"of {', '.join(sorted(_RESERVED_LAYERS))}.",
            reason="BAD_LAYER_NAME",
            field="layers",
            value=name,
        )
    if not name and position:
        raise InvalidInput("The beauty (layer without a name) comes first.", reason="BAD_LAYERS", field="layers")
    for channel in layer.channels:
        if not _CHANNEL_NAME.fullmatch(channel):
            raise InvalidInput(
                f"{channel!r} cannot be a channel name: letters, digits and underscores, no dot.",
                reason="BAD_LAYER_NAME",
                field="layers",
                value=channel,
            )
    ordered = tuple(channel for channel in _BEAUTY_ORDER if channel in layer.channels)
    if layer.channels[: len(ordered)] != ordered:
        raise InvalidInput(
            f"Channels of layer {name!r} must begin {' '.join(ordered)}, not {' '.join(layer.channels)}.",
            reason="BAD_LAYERS",
            field="layers",
        )


@functools.cache
def _packer() -> Any:
    """The OpenEXR module, with a thread for every core."""
    module = importlib.import_module("OpenEXR")
    module.set_global_thread_count(os.cpu_count() or 1)
    return module


def _make_header(
    temporary: Path, describe: Callable[[Any], Any], path: Path, needed_bytes: int
) -> dict[str, Any] | None:
    """What OpenImageIO writes into a header, as OpenEXR's attributes: names and types are translated in one place.

    Returns:
        None where OpenEXR refuses one: it holds key and time codes to their ranges, OpenImageIO does not. Also where it
        is not installed.
    """
    _write(temporary, describe(oiio.ImageSpec(1, 1, 1, oiio.HALF)), np.zeros((1, 1, 1), np.float16), path, needed_bytes)
    try:
        header = dict(_packer().File(str(temporary), header_only=True).header())
    except (ImportError, RuntimeError):
        return None
    del header["channels"]
    return header


def _pack(temporary: Path, header: dict[str, Any], layers: Sequence[ExrLayer], window: Window) -> bool:
    """Let OpenEXR write the file; False where it does not, be it for the header or the disk."""
    last = (window.x + window.width - 1, window.y + window.height - 1)
    header["dataWindow"] = ((window.x, window.y), last)
    try:
        _packer().File(header, _planes(layers)).write(str(temporary))
    except (RuntimeError, ValueError, OSError) as error:
        logger.info("OpenEXR does not write %s (%s), OpenImageIO is asked to", temporary, error)
        return False
    return True


def _planes(layers: Sequence[ExrLayer]) -> dict[str, NDArray[Any]]:
    """Contiguous pixels by name as OpenEXR wants them: a layer's colours together, (H, W, 3 or 4), or each alone."""
    planes: dict[str, NDArray[Any]] = {}
    for layer in layers:
        with np.errstate(over="ignore", invalid="ignore"):  # beyond half's range is infinity, as in any EXR writer
            pixels = layer.pixels.astype(_NUMPY_TYPES[layer.pixel_type], copy=False)
        if layer.channels in (_BEAUTY_ORDER[:3], _BEAUTY_ORDER):
            planes[layer.name or "".join(layer.channels)] = np.ascontiguousarray(pixels)
            continue
        for index, name in enumerate(layer.channel_names):
            planes[name] = np.ascontiguousarray(pixels[..., index])
    return planes


def _spec(layers: Sequence[ExrLayer], data: Window) -> Any:
    names = tuple(name for layer in layers for name in layer.channel_names)
    kinds = tuple(layer.pixel_type for layer in layers for _ in layer.channels)
    spec = oiio.ImageSpec(data.width, data.height, len(names), oiio.TypeDesc(kinds[0]))
    spec.channelnames = names
    if len(set(kinds)) > 1:
        spec.channelformats = tuple(oiio.TypeDesc(kind) for kind in kinds)
    spec.x, spec.y = data.x, data.y
    return spec


def _describe(
    spec: Any,
    *,
    display: Window,
    pixel_aspect: float,
    metadata: Mapping[str, MetadataValue | str | int | float],
    compression: str,
    color_space: str,
) -> Any:
    """The same spec with everything but size and channels set."""
    spec.full_x, spec.full_y = display.x, display.y
    spec.full_width, spec.full_height = display.width, display.height
    for name, value in metadata.items():
        _set_attribute(spec, name, value)
    spec.attribute("compression", compression)
    spec.attribute("PixelAspectRatio", float(pixel_aspect))
    if color_space:
        spec.attribute("oiio:ColorSpace", color_space)
        spec.attribute("colorspace", color_space)
    return spec


def _interleaved(layers: Sequence[ExrLayer]) -> NDArray[Any]:
    """(H, W, sum of n): float16 where every layer is half, else float32, which holds every half exactly."""
    kinds = {layer.pixel_type for layer in layers}
    dtype = np.float16 if kinds == {"half"} else np.float32
    with np.errstate(over="ignore", invalid="ignore"):  # beyond half's range is infinity, as in any EXR writer
        parts = [layer.pixels.astype(dtype, copy=False) for layer in layers]
    return np.ascontiguousarray(np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0])


def _set_attribute(spec: Any, name: str, value: MetadataValue | str | int | float) -> None:
    key = name.lower()
    if key in _OWN_ATTRIBUTES or key.startswith(_OWN_PREFIXES):
        return
    plain = value.value if isinstance(value, MetadataValue) else value
    if isinstance(plain, int) and not -(2**31) <= plain < 2**31:
        plain = str(plain)  # EXR's integers have 32 bits and a sign
    if isinstance(value, MetadataValue) and isinstance(plain, tuple):
        spec.attribute(name, oiio.TypeDesc(value.type), plain)
    else:
        spec.attribute(name, plain)


def _write(temporary: Path, spec: Any, pixels: NDArray[Any], path: Path, needed_bytes: int) -> None:
    target = oiio.ImageOutput.create(str(temporary))
    if target is None:
        raise Internal(f"No EXR writer for {temporary}: {take_error(oiio)}", path=path)
    if not target.open(str(temporary), spec):
        raise _write_error(path, take_error(target), temporary, needed_bytes)
    is_written = target.write_image(pixels)
    text = take_error(target)
    is_closed = target.close()
    if not (is_written and is_closed):
        raise _write_error(path, text or take_error(target), temporary, needed_bytes)


def _write_error(path: Path, text: str, temporary: Path, needed_bytes: int) -> Exception:
    """The system's own refusal, for ``atomic_path`` to translate, where there is one; OpenEXR does not tell it."""
    refusal = _probe(temporary.with_name(f"{temporary.name}.probe"), needed_bytes)
    if refusal is not None and refusal.errno in _TRANSLATED_ERRNOS:
        return refusal
    reason = text or "no reason given"
    if refusal is not None and refusal.strerror:
        reason = f"{reason} ({refusal.strerror})"
    return InvalidInput(
        f"{path} cannot be written: {reason}. Check the folder, its permissions and the disk.",
        reason="CANNOT_WRITE",
        path=path,
    )


def _probe(path: Path, size: int) -> OSError | None:
    """What the system says to writing one more file of ``size`` bytes there; the file is removed again.

    What a failed writer left must still lie beside it, so that the disk is as full as it was. Random bytes, as a file
    system that compresses would have room for zeros.
    """
    chunk = os.urandom(min(size, _PROBE_CHUNK_BYTES))
    try:
        with path.open("wb", buffering=0) as file:
            while file.tell() < size:
                file.write(chunk[: size - file.tell()])
            os.fsync(file.fileno())
    except OSError as error:
        return error
    finally:
        path.unlink(missing_ok=True)
    return None
