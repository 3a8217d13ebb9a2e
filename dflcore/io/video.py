"""Movies: reading through FFmpeg (PyAV), and writing review movies.

Frames are numbered from 1 in the order they are shown; variable frame rates are mapped by that order. A rotation by
quarter turns in the header is applied, as players and editors do. Interlaced movies are read as whole frames.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from dflcore.frames import FrameRange
from dflcore.io.atomic import atomic_path
from dflcore.io.plate import MetadataValue, MissingPolicy, PlateImage, Window, file_identity, select_frames
from dflcore.io.sequence import MOVIE_SUFFIXES
from dflcore.io.yuv import BT601, BT709, FULL, LIMITED, UNSPECIFIED, SignalTags, frame_to_rgb, is_yuv
from dflcore.progress import Notice

FIRST_FRAME = 1
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mxf,avi"
"""By content: a playlist named .mov could otherwise name other files to be opened."""
_MAX_SIDE_PX = 16384
_HD_HEIGHT_PX = 720
_TRANSFERS_TO_STATE = {14: "BT.2020", 15: "BT.2020", 16: "PQ (HDR)", 18: "HLG (HDR)", 8: "linear", 9: "log", 10: "log"}
_PRIMARIES_TO_STATE = {9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "P3-D65"}
_INTRA_CODECS = frozenset({"prores", "dnxhd", "mjpeg", "cfhd", "rawvideo", "v210", "ffv1", "qtrle", "png", "hap"})
"""Decoding and presentation order are the same: a complete index tells all times without reading the file."""
_READ_AHEAD_FRAMES = 64
"""A jump forward by less is decoded through; by more, the nearest key frame is looked for."""


class MoviePlate:
    """A :class:`~dflcore.io.plate.Plate` of a movie. Reading in order is fast, any order is right.

    Attributes:
        last_frame: of all it has, whichever were asked for.
    """

    def __init__(
        self,
        name: str,
        *,
        frames: FrameRange | None = None,
        color_space: str = "auto",
        missing: MissingPolicy = "error",
    ) -> None:
        self.name = name
        self._path = Path(name)
        _check_file(self._path)
        self._decoder = MovieDecoder(self._path)
        self._lock = threading.Lock()
        try:
            there = FrameRange(tuple(range(FIRST_FRAME, FIRST_FRAME + self._decoder.count)))
            self.last_frame = there.frames[-1] if there else 0
            self.frames, notices = select_frames(name, there, frames, missing)
            first = self._decoder.read(FIRST_FRAME)
            self.color_space, self.color_space_note, is_assumed = _choose_space(color_space, first, self._path)
        except BaseException:
            self.close()
            raise
        self._tags, tag_notes = _signal_tags(first)
        self.rate = None if self._decoder.rate is None else float(self._decoder.rate)
        self.size = _shown_size(first)
        notes = [*tag_notes, *_shape_notes(first, self._decoder)]
        if is_assumed:
            notes.append(("COLOR_SPACE_ASSUMED", "info", self.color_space_note))
        self.notices = (*(_notice(self.name, *note) for note in notes), *notices)

    def read(self, frame: int) -> PlateImage:
        """See :meth:`dflcore.io.plate.Plate.read`. Pixels are float32, display-referred, unclipped."""
        with self._lock:
            decoded = self._decoder.read(frame)
        size = _shown_size(decoded)
        if size != self.size:
            raise InvalidInput(
                f"Frame {frame} of {self.name} is {size[0]}x{size[1]}, but the first frame is "
                f"{self.size[0]}x{self.size[1]}; a plate has one size.",
                reason="FRAME_SIZE_DIFFERS",
                path=self.name,
                frame=frame,
            )
        pixels = np.rot90(frame_to_rgb(decoded, self._tags), _quarter_turns(decoded))
        bits = max((component.bits for component in decoded.format.components), default=8)
        window = Window(x=0, y=0, width=size[0], height=size[1])
        names = ("R", "G", "B", "A")[: pixels.shape[2]]
        return PlateImage(
            frame=frame,
            pixels=np.ascontiguousarray(pixels),
            channel_names=names,
            channel_types=("uint8" if bits <= 8 else "uint16",) * len(names),
            data_window=window,
            display_window=window,
            pixel_aspect=self._pixel_aspect(decoded),
            color_space=self.color_space,
            premultiplied=False,
            metadata=self._metadata(frame),
            source_path=self._path,
        )

    def identity(self, frame: int) -> str:
        """See :meth:`dflcore.io.plate.Plate.identity`."""
        return file_identity(self._path, str(frame))

    def close(self) -> None:
        """Release the file."""
        self._decoder.close()

    def _pixel_aspect(self, decoded: av.VideoFrame) -> float:
        aspect = float(self._decoder.pixel_aspect or 1)
        return 1 / aspect if _quarter_turns(decoded) % 2 else aspect

    def _metadata(self, frame: int) -> dict[str, MetadataValue]:
        values: dict[str, MetadataValue] = {}
        rate = self._decoder.rate
        if rate:
            values["FramesPerSecond"] = MetadataValue("rational", (rate.numerator, rate.denominator))
            packed = _time_code(self._decoder.start_time_code, frame - FIRST_FRAME, rate)
            if packed is not None:
                values["smpte:TimeCode"] = MetadataValue("timecode", (packed, 0))
        return values


class MovieDecoder:
    """Decoded frames of a movie's first video stream, by number. Not safe to share between threads.

    Attributes:
        count: frames that are shown.
        promised: frames the header speaks of; 0 where it is silent.
        rate: frames per second, None where unknown.
        pixel_aspect: width of a pixel over its height, None where unknown.
        start_time_code: ``hh:mm:ss:ff`` of the first frame, or empty.

    Raises:
        DataCorrupt: not a movie, or nothing of it can be decoded.
        InvalidInput: it has no video.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container, self._stream = _open(path)
        self._decoded: Iterator[av.VideoFrame] = iter([])
        self._next = FIRST_FRAME
        self.promised = self._stream.frames
        self.rate: Fraction | None = self._stream.average_rate or self._stream.guessed_rate or None
        self.pixel_aspect: Fraction | None = self._stream.sample_aspect_ratio or None
        self.start_time_code = _start_time_code(self._container, self._stream)
        try:
            self._times = _presentation_times(self._container, self._stream)
            self._restart()
            self.count = len(self._times) or sum(1 for _ in self._decoded)
            self._restart()
        except BaseException:
            self.close()
            raise
        if not self.count:
            self.close()
            raise DataCorrupt(f"No frame of {path} can be decoded.", reason="FRAME_CORRUPT", path=path)

    def read(self, number: int) -> av.VideoFrame:
        """Frame ``number``, counted from 1 in the order shown.

        Raises:
            NotFound: the movie has no such frame.
            DataCorrupt: its data is damaged or ends before it.
        """
        if not FIRST_FRAME <= number < FIRST_FRAME + self.count:
            raise NotFound(
                f"{self._path} has the frames {FIRST_FRAME}-{FIRST_FRAME + self.count - 1}, not {number}.",
                reason="FRAME_NOT_FOUND",
                path=self._path,
                frame=number,
            )
        is_ahead = self._next <= number <= self._next + _READ_AHEAD_FRAMES
        found = None
        if is_ahead or self._seek(number):
            found = self._advance(number)
        if found is None and not is_ahead:  # the index pointed behind the frame
            self._restart()
            found = self._advance(number)
        if found is None or found.is_corrupt:
            raise DataCorrupt(
                f"Frame {number} of {self._path} cannot be decoded, the movie is truncated or damaged there.",
                reason="FRAME_CORRUPT",
                path=self._path,
                frame=number,
            )
        return found

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        self._decoded = iter([])
        self._container.close()

    def _advance(self, number: int) -> av.VideoFrame | None:
        for frame in self._decoded:
            at = self._number_of(frame)
            if at is None:
                continue
            self._next = at + 1
            if at == number:
                return frame
            if at > number:
                return None
        return None

    def _number_of(self, frame: av.VideoFrame) -> int | None:
        """None for a frame before the first shown one."""
        if not self._times:
            return self._next
        if frame.pts is None:
            return None
        index = bisect.bisect_left(self._times, frame.pts)
        is_known = index < len(self._times) and self._times[index] == frame.pts
        return FIRST_FRAME + index if is_known else None

    def _seek(self, number: int) -> bool:
        if not self._times:
            return False
        try:
            self._container.seek(self._times[number - FIRST_FRAME], stream=self._stream)
        except av.error.FFmpegError:
            return False
        self._decoded = _decode(self._container, self._stream)
        return True

    def _restart(self) -> None:
        self._container.close()
        self._container, self._stream = _open(self._path)
        self._decoded = _decode(self._container, self._stream)
        self._next = FIRST_FRAME


def write_movie(path: Path, frames: Iterable[NDArray[np.uint8]], rate: float | Fraction) -> int:
    """Write a review movie: H.264, 4:2:0, limited range, tagged BT.709; atomic.

    Args:
        frames: (H, W, 3) uint8 display-referred R'G'B', all of one size; an odd side loses its last line.
        rate: frames per second; 23.976, 29.97 and their like become exact 1000/1001 rates.

    Returns:
        Number of frames written.

    Raises:
        InvalidInput: no frames, sizes that differ, or a file type that cannot hold H.264.
        Unsupported: this FFmpeg has no H.264 encoder.
        ResourceExhausted: the disk is full.
    """
    if path.suffix.lower() not in (".mp4", ".mov", ".m4v", ".mkv"):
        raise InvalidInput(
            f"A review movie is .mp4, .mov, .m4v or .mkv, not {path.name}.", reason="BAD_PATTERN", path=path
        )
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InvalidInput(f"No frames for the movie {path}.", reason="EMPTY_FRAME_RANGE", path=path)
    if "libx264" not in av.codecs_available:
        raise Unsupported("This build of FFmpeg has no H.264 encoder (libx264).", reason="NO_ENCODER")
    options = {} if path.suffix.lower() == ".mkv" else {"movflags": "+faststart"}
    with atomic_path(path) as temporary, av.open(str(temporary), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=exact_rate(rate))
        _configure(stream, first.shape)
        count = 0
        for count, pixels in enumerate(_chained(first, iterator), start=1):
            if pixels.shape != first.shape:
                raise InvalidInput(
                    f"Frame {count} of the movie {path} is {pixels.shape[1]}x{pixels.shape[0]}, the first is "
                    f"{first.shape[1]}x{first.shape[0]}.",
                    reason="FRAME_SIZE_DIFFERS",
                    path=path,
                )
            container.mux(stream.encode(_review_frame(pixels)))
        container.mux(stream.encode(None))
    return count


def exact_rate(rate: float | Fraction) -> Fraction:
    """23.976 → 24000/1001; whole rates stay whole.

    Raises:
        InvalidInput: not a positive, finite number.
    """
    if not 0 < float(rate) < 10000:
        raise InvalidInput(f"{rate} is not a frame rate.", reason="BAD_SETTING", field="rate")
    if isinstance(rate, Fraction):
        return rate
    ntsc = Fraction(round(rate * 1.001) * 1000, 1001)
    if ntsc and rate != round(rate) and abs(float(ntsc) - rate) < 5e-3:
        return ntsc
    return Fraction(rate).limit_denominator(1001)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise NotFound(f"There is no movie {path}.", reason="PLATE_NOT_FOUND", path=path)
    if path.suffix.lower() not in MOVIE_SUFFIXES:
        raise InvalidInput(f"{path} is not of a movie type that is read.", reason="FILE_TYPE_NOT_READ", path=path)


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    options = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
    try:
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except av.error.PermissionError as error:
        raise InvalidInput(f"{path} may not be read by this user.", reason="NO_PERMISSION", path=path) from error
    except av.error.FFmpegError as error:
        raise DataCorrupt(
            f"{path} is not a readable movie, it is damaged or of another type: {error.strerror}.",
            reason="MOVIE_CORRUPT",
            path=path,
        ) from error
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        container.close()
        raise InvalidInput(f"{path} has no video, only sound or data.", reason="NO_VIDEO", path=path)
    stream = streams[0]
    if max(stream.width, stream.height) > _MAX_SIDE_PX:
        container.close()
        raise InvalidInput(
            f"{path} is {stream.width}x{stream.height}; at most {_MAX_SIDE_PX} pixels a side are read.",
            reason="IMAGE_TOO_LARGE",
            path=path,
        )
    stream.thread_type = "AUTO"
    return container, stream


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue  # the frame stays away, and is reported when somebody asks for it
        except av.error.EOFError:
            return


def _presentation_times(container: InputContainer, stream: VideoStream) -> list[int]:
    """Time stamps of the frames shown, in order; empty where the file has none that tell frames apart."""
    is_intra = stream.codec_context.name in _INTRA_CODECS
    if container.format.name == "avi" and not is_intra:
        return []  # AVI stores no presentation times: those of reordered frames are made up
    entries = [entry for entry in stream.index_entries if not entry.is_discard]
    if is_intra and len(entries) == stream.frames > 0 and all(entry.is_keyframe for entry in entries):
        first = next(_decode(container, stream), None)
        if first is not None and first.pts == entries[0].timestamp:
            return [entry.timestamp for entry in entries]
        container.seek(0, stream=stream)
    times: list[int] = []
    first_key: int | None = None
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if packet.pts is None:
            return []
        if packet.is_keyframe and first_key is None:
            first_key = packet.pts
        times.append(packet.pts)
    # What leads the first key frame refers to frames cut away before it and cannot be decoded.
    shown = sorted(time for time in times if first_key is not None and time >= first_key)
    return shown if len(set(shown)) == len(shown) else []


def _signal_tags(frame: av.VideoFrame) -> tuple[SignalTags, list[tuple[str, str, str]]]:
    """Matrix and range of a YUV movie; what its header does not say is chosen by the field's custom, and said."""
    notes: list[tuple[str, str, str]] = []
    matrix, signal_range = int(frame.colorspace), int(frame.color_range)
    if matrix == UNSPECIFIED or (matrix == 0 and is_yuv(frame)):
        matrix = BT709 if frame.height >= _HD_HEIGHT_PX else BT601
        name = "BT.709" if matrix == BT709 else "BT.601"
        notes.append(("MOVIE_TAGS_ASSUMED", "info", f"no colour matrix is named; {name} is assumed by the size"))
    if signal_range not in (LIMITED, FULL):
        signal_range = FULL if "yuvj" in frame.format.name else LIMITED
        if signal_range == LIMITED:
            notes.append(("MOVIE_TAGS_ASSUMED", "info", "no signal range is named; limited (video) is assumed"))
    return SignalTags(matrix, signal_range), notes if is_yuv(frame) else []


def _choose_space(asked: str, frame: av.VideoFrame, path: Path) -> tuple[str, str, bool]:
    """Name, how it was found, and whether it is an assumption.

    Raises:
        InvalidInput: the movie says it is HDR, log or wide gamut; what exactly must be stated.
    """
    if asked not in ("", "auto"):
        return asked, "colour space stated by the user", False
    transfer = _TRANSFERS_TO_STATE.get(int(frame.color_trc)) or _PRIMARIES_TO_STATE.get(int(frame.color_primaries))
    if transfer is not None:
        raise InvalidInput(
            f"{path} is tagged {transfer}; state its colour space with --input-colorspace.",
            reason="COLOR_SPACE_REQUIRED",
            field="input_colorspace",
            path=path,
        )
    return "srgb_tx", "movies are taken as sRGB-encoded Rec.709 (srgb_tx)", True


def _shape_notes(frame: av.VideoFrame, decoder: MovieDecoder) -> list[tuple[str, str, str]]:
    notes: list[tuple[str, str, str]] = []
    if decoder.promised and decoder.promised != decoder.count:
        text = f"the header speaks of {decoder.promised} frames, {decoder.count} are there"
        notes.append(("MOVIE_FRAMES_DIFFER", "warning", text))
    if frame.interlaced_frame:
        notes.append(("MOVIE_INTERLACED", "warning", "the movie is interlaced; its fields are not separated"))
    if frame.rotation:
        notes.append(("MOVIE_ROTATED", "info", f"the header's rotation by {frame.rotation} degrees is applied"))
    return notes


def _notice(name: str, reason: str, severity: str, text: str) -> Notice:
    return Notice(message=f"{name}: {text}.", reason=reason, severity=severity, details={"path": name})


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that put the frame upright; other angles are left alone."""
    return (frame.rotation // 90) % 4 if frame.rotation % 90 == 0 else 0


def _shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    size = (frame.width, frame.height)
    return size[::-1] if _quarter_turns(frame) % 2 else size


def _start_time_code(container: InputContainer, stream: VideoStream) -> str:
    sources = [stream.metadata, container.metadata, *(other.metadata for other in container.streams)]
    return next((source["timecode"] for source in sources if source.get("timecode")), "")


def _time_code(start: str, index: int, rate: Fraction) -> int | None:
    """SMPTE time code word of the frame ``index`` after ``start``; None for drop-frame or unreadable codes."""
    parts = start.split(":")
    base = round(rate)
    if len(parts) != 4 or not all(part.isdigit() for part in parts) or not 0 < base <= 60:
        return None
    hours, minutes, seconds, frames = (int(part) for part in parts)
    total = ((hours * 60 + minutes) * 60 + seconds) * base + frames + index
    seconds, frames = divmod(total, base)
    fields = ((seconds // 3600) % 24, seconds // 60 % 60, seconds % 60, frames)
    word = 0
    for value in fields:  # binary-coded decimal, a byte each
        word = word << 8 | (value // 10) << 4 | value % 10
    return word


def _configure(stream: VideoStream, shape: tuple[int, ...]) -> None:
    stream.width, stream.height = shape[1] // 2 * 2, shape[0] // 2 * 2
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "16", "preset": "medium"}
    context = stream.codec_context
    context.colorspace = Colorspace.ITU709
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709


def _review_frame(pixels: NDArray[np.uint8]) -> av.VideoFrame:
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
    return frame.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_color_primaries=ColorPrimaries.BT709,
        dst_color_trc=ColorTrc.BT709,
    )


def _chained(first: NDArray[np.uint8], rest: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    yield first
    yield from rest
