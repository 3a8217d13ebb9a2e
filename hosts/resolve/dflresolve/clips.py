"""Clips of the timeline in plain values, and the plate behind them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from dflhost.errors import HostError
from dflhost.plates import MOVIE_SUFFIXES, FrameSet, Plate

from .host import Host, ask, listed, must

_BRACKETS = re.compile(r"^(?P<head>.*)\[(?P<first>\d+)-(?P<last>\d+)\](?P<tail>[^\\/]*)$")
_RESULT = re.compile(r"[\\/](?P<stem>[^\\/]+_swap)[\\/]v\d{3,}[\\/](?P=stem)[^\\/]*$")
_IMAGE_SUFFIXES = frozenset({".exr", ".dpx", ".tif", ".tiff", ".png", ".jpg", ".jpeg"})
_RETIMED = "its speed or frame rate is changed"
_RAW_SUFFIXES = frozenset({".braw", ".r3d", ".ari", ".arx", ".crm", ".dng", ".nev"})


@dataclass(frozen=True)
class Clip:
    """A video item of the timeline.

    Attributes:
        item: Resolve's; the only thing in here that is not a plain value.
        track: number of its video track, from 1.
        start, end: timeline frames, the end exclusive.
        left_offset: frames of the source before the first that is seen.
        path: as Resolve writes it, ``name.[1001-1048].exr`` for a sequence; empty for titles and compound clips.
        color_space: Resolve's name of the input colour space; empty where its colour management is off.
        frame_rate: of the source, as Resolve writes it.
        changes: what keeps its files from being the plate, in an artist's words.
    """

    item: Any = field(repr=False, compare=False)
    uid: str
    name: str
    track: int
    start: int
    end: int
    left_offset: int
    path: str = ""
    color_space: str = ""
    frame_rate: str = ""
    changes: tuple[str, ...] = ()

    @property
    def duration(self) -> int:
        """Frames."""
        return self.end - self.start

    @property
    def label(self) -> str:
        """For lists and titles."""
        return f"{self.name}  (V{self.track}, {self.duration} frames)"

    @property
    def is_direct(self) -> bool:
        """Its files are the plate: nothing must be rendered."""
        return not self.changes

    @property
    def is_retimed(self) -> bool:
        """Its frames are not those of its source, one for one."""
        return _RETIMED in self.changes


def under_playhead(host: Host) -> list[Clip]:
    """The clip that the viewer shows; empty where the playhead stands on none."""
    item = ask(host.timeline, "GetCurrentVideoItem")
    return [read_clip(host, item)] if item else []


Refused = list[tuple[str, HostError]]
"""Names of clips that cannot be plates, each with the reason."""


def selected(host: Host) -> tuple[list[Clip], Refused]:
    """Clips of the timeline whose sources are selected in the media pool, as Resolve tells scripts of no other
    selection. From the lowest track, by time."""
    pool_items = listed(ask(host.pool, "GetSelectedClips"))
    wanted = {str(ask(one, "GetUniqueId")) for one in pool_items}
    items = []
    for _, item in _items(host):
        source = ask(item, "GetMediaPoolItem")
        if source and str(ask(source, "GetUniqueId")) in wanted:
            items.append(item)
    return _read_all(host, items)


def all_under_playhead(host: Host) -> tuple[list[Clip], Refused]:
    """Clips of every track that is switched on, where the playhead stands; results of ours among them are passed over.
    From the lowest track."""
    timeline, frame = host.timeline, playhead(host)
    items = []
    for track, item in _items(host):
        is_there = int(ask(item, "GetStart")) <= frame < int(ask(item, "GetEnd"))
        if is_there and ask(timeline, "GetIsTrackEnabled", "video", track):
            items.append(item)
    found, refused = _read_all(host, items)
    return found, [one for one in refused if one[1].reason != "CLIP_IS_A_RESULT"]


def _items(host: Host) -> list[tuple[int, Any]]:
    """Number of the track and item, of all of the timeline."""
    timeline = host.timeline
    tracks = range(1, int(ask(timeline, "GetTrackCount", "video") or 0) + 1)
    return [(one, item) for one in tracks for item in listed(ask(timeline, "GetItemListInTrack", "video", one))]


def _read_all(host: Host, items: list[Any]) -> tuple[list[Clip], Refused]:
    """One that cannot be read does not keep the others."""
    found, refused = [], []
    for item in items:
        try:
            found.append(read_clip(host, item))
        except HostError as error:
            refused.append((str(ask(item, "GetName") or "clip"), error))
    return found, refused


def read_clip(host: Host, item: Any) -> Clip:
    """Everything about an item that is needed later. Where a take of ours is shown, about the original beneath it.

    Raises:
        HostError: as the calls do; or a take of ours is all there is (``CLIP_IS_A_RESULT``).
    """
    shown = show_original(item)
    try:
        return _read_shown(item)
    finally:
        if shown:
            ask(item, "SelectTakeByIndex", shown)


def show_original(item: Any) -> int:
    """Select the original where a take of ours is shown; answers with the take that was, 0 where nothing was done.

    Raises:
        HostError: as :func:`read_clip`.
    """
    if not _is_result(_file_of(ask(item, "GetMediaPoolItem"))):
        return 0
    shown = int(ask(item, "GetSelectedTakeIndex") or 0)
    must("The original take cannot be selected", item, "SelectTakeByIndex", _original_take(item))
    return shown


def _original_take(item: Any) -> int:
    for index in range(1, int(ask(item, "GetTakesCount") or 0) + 1):
        take = ask(item, "GetTakeByIndex", index)
        media = take.get("mediaPoolItem") if isinstance(take, dict) else None
        if media and not _is_result(_file_of(media)):
            return index
    raise HostError(
        "This clip is a result of ours, not a plate: stand on the clip that was swapped.",
        reason="CLIP_IS_A_RESULT",
        category="INVALID_INPUT",
    )


def _file_of(media: Any) -> str:
    return str(ask(media, "GetClipProperty", "File Path") or "") if media else ""


def _is_result(path: str) -> bool:
    """Whether a path is one that :func:`dflhost.results.output_pattern` makes."""
    return _RESULT.search(path) is not None


def _read_shown(item: Any) -> Clip:
    source = ask(item, "GetMediaPoolItem")
    about = ask(source, "GetClipProperty") if source else {}
    about = about if isinstance(about, dict) else {}
    place = listed(ask(item, "GetTrackTypeAndIndex"))
    start, end = int(ask(item, "GetStart")), int(ask(item, "GetEnd"))
    path = str(about.get("File Path") or "")
    return Clip(
        item=item,
        uid=str(ask(item, "GetUniqueId") or ""),
        name=str(ask(item, "GetName") or "clip"),
        track=int(place[1]) if len(place) == 2 else 1,
        start=start,
        end=end,
        left_offset=int(ask(item, "GetLeftOffset") or 0),
        path=path,
        color_space=str(about.get("Input Color Space") or ""),
        frame_rate=str(about.get("FPS") or ""),
        changes=_changes(item, path, end - start),
    )


def plate_of(clip: Clip, color_space: str = "") -> Plate:
    """The clip's own files, with the frames that are seen.

    Args:
        color_space: as OpenColorIO names it; empty leaves it to the daemon.

    Raises:
        HostError: they are not what the clip shows (``CLIP_MUST_BE_RENDERED``).
    """
    if clip.changes:
        raise HostError(
            f'The clip "{clip.name}" must be rendered first ({", ".join(clip.changes)}).',
            reason="CLIP_MUST_BE_RENDERED",
            category="UNSUPPORTED",
        )
    match = _BRACKETS.match(clip.path)
    if match is not None:
        first = int(match["first"]) + clip.left_offset
        path = f"{match['head']}{'#' * len(match['first'])}{match['tail']}"
        return Plate(path, FrameSet.span(first, first + clip.duration - 1), color_space)
    if _suffix(clip.path) in MOVIE_SUFFIXES:
        first = clip.left_offset + 1  # the daemon counts a movie's frames from 1
        return Plate(clip.path, FrameSet.span(first, first + clip.duration - 1), color_space)
    return Plate(clip.path, FrameSet(), color_space)


def playhead(host: Host) -> int:
    """The timeline frame that the viewer shows."""
    timeline = host.timeline
    text = str(must("The playhead's time code cannot be read", timeline, "GetCurrentTimecode"))
    rate = str(ask(timeline, "GetSetting", "timelineFrameRate") or "24")
    return frame_of_timecode(text, float(re.sub(r"[^0-9.]", "", rate) or 24))


def frame_of_timecode(text: str, frame_rate: float) -> int:
    """Frames since 00:00:00:00; a semicolon is drop-frame, which leaves out 2 numbers of 30 a minute, but not each
    tenth (SMPTE ST 12-1).

    Raises:
        HostError: it cannot be read (``BAD_TIMECODE``).
    """
    parts = re.fullmatch(r"(\d+):(\d+):(\d+)([:;.])(\d+)", text.strip())
    if parts is None:
        raise HostError(f"The time code {text!r} cannot be read.", reason="BAD_TIMECODE", category="INVALID_INPUT")
    hours, minutes, seconds, frames = (int(parts[index]) for index in (1, 2, 3, 5))
    base = round(frame_rate)
    number = ((hours * 60 + minutes) * 60 + seconds) * base + frames
    if parts[4] == ";":
        all_minutes = hours * 60 + minutes
        number -= base // 15 * (all_minutes - all_minutes // 10)
    return number


def stem_of(name: str) -> str:
    """A clip's name as part of a file name: ``Take 2.[1001-1048].exr`` → ``Take_2``."""
    plain = re.sub(r"\.[A-Za-z0-9]{2,4}$", "", re.sub(r"[._]?\[\d+-\d+\]", "", name))
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-") or "shot"


def _changes(item: Any, path: str, duration: int) -> tuple[str, ...]:
    found = []
    suffix = _suffix(path)
    if not path:
        found.append("it has no file of its own")
    elif suffix in _RAW_SUFFIXES:
        found.append("camera raw is developed by Resolve")
    elif suffix not in MOVIE_SUFFIXES | _IMAGE_SUFFIXES:
        found.append(f"{suffix or 'its'} files are read by Resolve only")
    elif _BRACKETS.match(path) is None and suffix in _IMAGE_SUFFIXES and duration > 1:
        found.append("it holds a still")
    if path:
        first, last = ask(item, "GetSourceStartFrame"), ask(item, "GetSourceEndFrame")
        # speed cannot be asked for; the first number may be one off, and the last may count itself or not
        if first is not None and last is not None and abs(int(last) - int(first) + 1 - duration) > 1:
            found.append(_RETIMED)
    return tuple(found)


def _suffix(path: str) -> str:
    return os.path.splitext(path.replace("\\", "/"))[1].lower()
