"""Plates: the photographed frames, read one at a time with everything their file says about them.

Convention:
    ``pixels`` cover the *data window*. Windows are in pixels with the origin at the top left of the coordinate system
    EXR uses, which is usually but not always the corner of the display window; ``display_window`` is the frame as the
    artist sees it. Frame numbers are those on disk; the first frame of a movie is 1.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dflcore.errors import InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.progress import Notice
from dflcore.types import FloatArray

MissingPolicy = Literal["error", "skip", "hold"]
ResolveSpace = Callable[[str], str | None]
"""A colour space name, alias or interop id → the config's own name, None where unknown (``ColorConverter.find``)."""

_CHANNEL_WORDS = {"red": "r", "green": "g", "blue": "b", "alpha": "a", "luminance": "y"}
_COLORS = ("r", "g", "b")
MAX_FRAME_NUMBER = 2**63 - 1
END_BYTES = 4096
"""Of a file's beginning and end that its identity is over: the header of an EXR and its last pixels."""
MAX_RANGE_TEXT = 400
"""Characters of a frame range in a message."""
_GRAY = ("y", "l", "i", "v")  # luminance; TIFF's "I"; Blender's value passes
_NOT_GRAY_BESIDE = frozenset({"x", "ry", "by"})
"""A ``Y`` beside one of these is a coordinate, CIE's Y or the luminance of a colour stored as luminance and chroma."""
BEAUTY_NAMES = ("", "rgba", "rgb", "beauty", "combined", "composite", "image", "main")
"""What programs call the layer or part that holds the picture itself, lower case, the most telling first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of whole pixels: top-left corner and size, EXR's inclusive ends being x + width - 1."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class MetadataValue:
    """One header attribute with the type it had, so that it can be written again.

    Attributes:
        type: OpenImageIO's name of the type: ``string``, ``int``, ``timecode``, ``rational``, ``float[8]``...
        value: str, int, float or a tuple of them.
    """

    type: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlateImage:
    """One frame as its file has it.

    Attributes:
        frame: frame number as on disk.
        pixels: (H, W, C) over the data window in the file's own type: float16, float32 (unbounded), uint8 or uint16
            (full scale is 1.0). A file that mixes half and float is read as float32, which holds both exactly.
        channel_names: C names as in the file (``R``, ``matte.A``).
        channel_types: C of ``half``, ``float``, ``uint8``, ``uint16``: what each channel is in the file.
        data_window: the rectangle ``pixels`` cover, may be larger (overscan) or smaller (autocrop) than the display's.
        display_window: the frame.
        pixel_aspect: width of a pixel over its height.
        color_space: what the colours mean, by OCIO name.
        premultiplied: RGB is multiplied by the alpha (EXR, DPX); PNG and TIFF say so themselves.
        metadata: every other header attribute.
        source_path: the file read.
    """

    frame: int
    pixels: NDArray[Any]
    channel_names: tuple[str, ...]
    data_window: Window
    display_window: Window
    pixel_aspect: float
    color_space: str
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    source_path: Path
    channel_types: tuple[str, ...] = ()
    premultiplied: bool = True

    @property
    def is_float(self) -> bool:
        """Pixels are half or float: unbounded."""
        return bool(self.pixels.dtype.kind == "f")

    @property
    def color_type(self) -> str:
        """What the colour channels are in the file: ``half``, ``float``, ``uint8`` or ``uint16``.

        Differs from the type of ``pixels`` where a file mixes half and float, and for movies.

        Raises:
            InvalidInput: the file has no colour.
        """
        if self.channel_types:
            return self.channel_types[self.color_indices()[0]]
        return {"float16": "half", "float32": "float"}.get(self.pixels.dtype.name, self.pixels.dtype.name)

    def rgb(self) -> FloatArray:
        """(H, W, 3) float32, colour space as the plate's, over the data window; a gray plate is repeated.

        Which channels those are :func:`find_color` says. Half and float values are exact;
        uint8 and uint16 are scaled to [0, 1].

        Raises:
            InvalidInput: the file has no colour, only alpha or data channels.
        """
        return _to_float(self.pixels[..., list(self.color_indices())])

    def alpha(self) -> FloatArray | None:
        """(H, W) float32 alpha that belongs to :meth:`rgb`, None where there is none."""
        index = self.alpha_index()
        return None if index is None else _to_float(self.pixels[..., index])

    def alpha_index(self) -> int | None:
        """Position in ``channel_names`` of what :meth:`alpha` shows."""
        layer = _split(self.channel_names[self.color_indices()[0]])[0]
        for index, name in enumerate(self.channel_names):
            if _split(name) == (layer, "a"):
                return index
        return None

    def color_indices(self) -> tuple[int, int, int]:
        """Positions in ``channel_names`` of what :meth:`rgb` shows; three equal numbers for gray.

        Raises:
            InvalidInput: the file has no colour.
        """
        return require_color(self.channel_names, self.source_path, self.frame)


class Plate(Protocol):
    """Frames to be processed, whatever they are stored in. ``read`` may be called from one thread at a time.

    Attributes:
        name: as the user named it.
        frames: the frames to be processed.
        color_space: chosen or stated, by OCIO name.
        color_space_note: one sentence on how it was chosen.
        rate: frames per second where the file says so.
        size: (width, height) of the display window in pixels.
        notices: what a person should know, to be emitted once by the pipeline: skipped frames, assumed colour.
    """

    @property
    def name(self) -> str: ...
    @property
    def frames(self) -> FrameRange: ...
    @property
    def color_space(self) -> str: ...
    @property
    def color_space_note(self) -> str: ...
    @property
    def rate(self) -> float | None: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def notices(self) -> tuple[Notice, ...]: ...

    def read(self, frame: int) -> PlateImage:
        """One frame.

        Raises:
            NotFound: the plate has no such frame.
            InvalidInput: it differs in size from the first, or its type is not read.
            DataCorrupt: it is truncated or damaged.
            ResourceExhausted: its header claims more pixels than the limit.
        """

    def identity(self, frame: int) -> str:
        """16 hex digits that change when the frame's file does; see :func:`file_identity`."""

    def close(self) -> None:
        """Release files; harmless when repeated."""


def select_frames(
    name: str, there: FrameRange, asked: FrameRange | None, missing: MissingPolicy
) -> tuple[FrameRange, list[Notice]]:
    """The frames to process, and what to say about those that are not there.

    Raises:
        NotFound: frames of ``asked`` are not in ``there`` under ``error``.
        InvalidInput: nothing is left, or numbers that neither an index nor a message can hold.
    """
    wanted = there if asked is None else asked
    present = set(there)
    absent = FrameRange.of(frame for frame in wanted if frame not in present)
    kept = FrameRange(tuple(frame for frame in wanted if frame in present))
    if absent and missing == "error":
        raise _missing_error(name, there, absent)
    if not kept:
        raise InvalidInput(
            f"None of the frames {brief(wanted)} of {name} is there; it has {brief(there) or 'no frames'}.",
            reason="EMPTY_FRAME_RANGE",
            field="frames",
            path=name,
        )
    if not -MAX_FRAME_NUMBER <= kept.frames[0] <= kept.frames[-1] <= MAX_FRAME_NUMBER:
        raise InvalidInput(
            f"{name} has the frame numbers {brief(kept)}, which are beyond 64 bits; rename the files.",
            reason="FRAME_NUMBER_TOO_LARGE",
            field="frames",
            path=name,
        )
    notices = []
    if absent:
        text = f"{len(absent)} frames of {name} are missing and skipped: {brief(absent)}."
        notices.append(_notice(text, name, absent, skipped=str(len(absent))))
    elif asked is None and len(there) > 1:
        gaps = FrameRange.of(set(range(there.frames[0], there.frames[-1] + 1)) - present)
        if gaps and len(gaps) < len(there):
            notices.append(_notice(f"{name} has gaps: {brief(gaps)} are not there.", name, gaps))
    return kept, notices


def _missing_error(name: str, there: FrameRange, absent: FrameRange) -> NotFound:
    hint = f"it has {brief(there)}" if there else "it has none"
    return NotFound(
        f"{len(absent)} frames of {name} are missing: {brief(absent)}; {hint}. Correct the range, or skip missing "
        "frames.",
        reason="FRAMES_MISSING",
        path=name,
        frame=brief(absent),
    )


def _notice(message: str, name: str, frames: FrameRange, **details: str) -> Notice:
    return Notice(message=message, reason="FRAMES_MISSING", details={"path": name, "frame": brief(frames), **details})


def brief(frames: FrameRange) -> str:
    """The range as text, its middle left out where a person would not read it: every second of a million frames."""
    text = str(frames)
    if len(text) <= MAX_RANGE_TEXT:
        return text
    half = MAX_RANGE_TEXT // 2
    return f"{text[:half].rpartition(',')[0]},...,{text[-half:].partition(',')[2]}"


def skipped_count(plate: Plate) -> int:
    """How many frames that were asked for are not among the plate's, as they are not there."""
    return sum(int(notice.details.get("skipped", "0")) for notice in plate.notices)


def file_identity(path: Path, extra: str = "") -> str:
    """16 hex digits over a file's name, size, time of change and both ends of its content.

    Its folder does not count: machines that work at one shot may know the same disk by different names, and a copy that
    keeps its time is as good. The ends tell files apart that other folders have under the same name.

    Raises:
        NotFound: there is no such file.
    """
    try:
        status = os.stat(path)
        time_us = status.st_mtime_ns // 1000  # finer times do not come through every file server
        ends = _ends(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise NotFound(f"{path} does not exist or may not be read.", reason="FRAME_NOT_FOUND", path=path) from error
    text = f"{path.name}\0{status.st_size}\0{time_us}\0{ends}\0{extra}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@functools.lru_cache(maxsize=64)
def _ends(path: Path, size: int, time_ns: int) -> str:
    """Digest of the first and last bytes of a file; of a movie it is asked for every frame."""
    with path.open("rb") as file:
        ends = hashlib.sha256(file.read(END_BYTES))
        file.seek(max(size - END_BYTES, 0))
        ends.update(file.read(END_BYTES))
    return ends.hexdigest()


def find_color(names: tuple[str, ...]) -> tuple[int, int, int] | None:
    """Positions of red, green and blue among channel names; None where there is no colour.

    Bare ``R G B`` first, then those of a layer named as :data:`BEAUTY_NAMES` says, then the first layer's that has
    them; without any a gray channel, three times. Upper and lower case and whole words (``fg.red``) all count.
    """
    parts = [_split(name) for name in names]
    ordered = sorted(dict.fromkeys(layer for layer, _ in parts), key=beauty_rank)
    for wanted in (_COLORS, *((gray,) * 3 for gray in _GRAY)):
        for layer in ordered:
            if wanted[0] == "y" and any((layer, other) in parts for other in _NOT_GRAY_BESIDE):
                continue
            if all((layer, channel) in parts for channel in wanted):
                red, green, blue = (parts.index((layer, channel)) for channel in wanted)
                return red, green, blue
    return None


def require_color(names: tuple[str, ...], path: Path, frame: int) -> tuple[int, int, int]:
    """As :func:`find_color`.

    Raises:
        InvalidInput: there is no colour among the names.
    """
    found = find_color(names)
    if found is None:
        raise InvalidInput(
            f"{path} has no colour channels, only {', '.join(names) or 'none'}; give a plate with R, G and B (or Y for "
            "gray), or rename its channels (Nuke: Shuffle).",
            reason="NO_COLOR_CHANNELS",
            path=path,
            frame=frame,
            channels=",".join(names),
        )
    return found


def check_color(plate: Plate) -> None:
    """Look at the first frame's header, before any work, where the plate knows it; movies always have colour.

    Raises:
        InvalidInput: the frame has no colour, only alpha or data channels.
    """
    header = getattr(plate, "header", None)
    if header is not None:
        require_color(*header)


def beauty_rank(name: str) -> int:
    """How much a layer's or part's name sounds like the picture itself; 0 is best, all that do not are equal."""
    last = name.rpartition(".")[2].lower()
    return BEAUTY_NAMES.index(last) if last in BEAUTY_NAMES else len(BEAUTY_NAMES)


def _split(name: str) -> tuple[str, str]:
    """``layer.R`` → (``layer``, ``r``)."""
    layer, _, channel = name.rpartition(".")
    channel = channel.lower()
    return layer, _CHANNEL_WORDS.get(channel, channel)


def _to_float(pixels: NDArray[Any]) -> FloatArray:
    if pixels.dtype.kind == "f":
        return np.ascontiguousarray(pixels, dtype=np.float32)
    scale = np.float32(np.iinfo(pixels.dtype).max)
    return np.ascontiguousarray(pixels, dtype=np.float32) / scale
