"""A result in the project: as a take, on a track above, as a Fusion composition, as a matte of the colour page.

Each step is an addition that an artist can remove by hand, and is read back after it was done.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import Any

from dflhost.errors import HostError
from dflhost.plates import FrameSet, frame_path, printf_pattern
from dflhost.results import PATCH, Result
from dflhost.words import MENU

from .clips import Clip
from .comp_text import MATTE_SIBLING, face_alone, face_over_clip
from .comp_text import PATCH as PATCH_TOOL
from .exr_parts import FACE
from .host import Host, ask, listed, must, refusal
from .marks import beside

TAKE, TRACK, FUSION, MATTE = "Take", "Track above", "Fusion composition", "Matte for the Color page"
PLACES = (TAKE, TRACK, FUSION, MATTE)
"""Where a result may go, the default first."""
PLACE_TIPS = {
    TAKE: "A take of the clip: grade, transforms and effects stay, the take selector flips between both",
    TRACK: "The face alone on a track above, with its matte as alpha",
    FUSION: "A Fusion composition on the clip that lays the face over it",
    MATTE: "The matte as an external matte of the clip, for the Color page",
}
_ALPHA_MODE, _PREMULTIPLIED, _STRAIGHT = "Alpha mode", "Premultiplied", "Straight"
_COLOR_SPACE, _RATE = "Input Color Space", "FPS"
_SKIPPED_PROPERTIES = frozenset({"RetimeProcess", "MotionEstimation", "Scaling", "ResizeFilter", "CompositeMode"})


@dataclass
class Placed:
    """What was done.

    Attributes:
        text: one sentence for the state line. notes: what the artist must do by hand.
    """

    text: str
    notes: list[str] = field(default_factory=list)


def place_result(
    host: Host,
    clip: Clip,
    result: Result,
    place: str,
    *,
    is_graded: bool = False,
    is_whole: bool = False,
    offset: int = 0,
) -> Placed:
    """Bring a result into the project.

    Args:
        clip: that the plate came from. place: one of :data:`PLACES`.
        is_graded: the plate was rendered with the clip's grade and transforms in it.
        is_whole: there is nothing beside the finished picture.
        offset: frames of the clip before the result's first.

    Raises:
        HostError: the result has gaps (``RESULT_HAS_GAPS``), its clip is gone (``CLIP_GONE``), or Resolve refused.
    """
    _check_frames(result)
    _check_clip(host, clip)
    reason = _no_take(clip, result, is_graded) if place == TAKE else ""
    if place == TRACK or reason:
        placed = as_track(host, clip, result, is_graded=is_graded, is_whole=is_whole, offset=offset)
        placed.notes += [f"{reason}: it lies on a track above."] if reason else []
        return placed
    if place == FUSION:
        return as_composition(clip, result, offset)
    if place == MATTE:
        return as_matte(host, clip, result)
    return as_take(host, clip, result)


def _no_take(clip: Clip, result: Result, is_graded: bool) -> str:
    """Why the result cannot be a take; empty where it can."""
    if is_graded:
        return "A take would be graded twice, as the plate was rendered"
    if clip.is_retimed:
        return "A take would be retimed twice"
    if len(result.frames) != clip.duration:
        return f"A take needs all {clip.duration} frames of the clip, and the result has {len(result.frames)}"
    return ""


def import_sequence(host: Host, pattern: str, frames: FrameSet) -> Any:
    """An image sequence into the bin *Face Swap / timeline*; the current bin stays the artist's.

    Raises:
        HostError: Resolve did not import it as one clip (``RESOLVE_REFUSED``).
    """
    pool = host.pool
    before = ask(pool, "GetCurrentFolder")
    target = _bin(pool, [MENU, str(ask(host.timeline, "GetName") or "Timeline")])
    must("The bin for the result cannot be opened", pool, "SetCurrentFolder", target)
    try:
        known = {str(ask(one, "GetUniqueId")) for one in listed(ask(target, "GetClipList"))}
        first, last = frames.frames[0], frames.frames[-1]
        if first == last:
            what: list[Any] = [frame_path(pattern, first)]  # a single file is not taken as a sequence
        else:
            what = [{"FilePath": printf_pattern(pattern), "StartIndex": first, "EndIndex": last}]
        answer = listed(ask(pool, "ImportMedia", what))
        new = [one for one in listed(ask(target, "GetClipList")) if str(ask(one, "GetUniqueId")) not in known]
    finally:
        if before:
            with contextlib.suppress(HostError):
                ask(pool, "SetCurrentFolder", before)
    if len(answer) != 1 or len(new) != 1:
        raise refusal(f"The result {os.path.basename(pattern)} did not get into the media pool", "ImportMedia")
    count = ask(new[0], "GetClipProperty", "Frames")
    if str(count or "").isdigit() and int(count) != len(frames):
        raise refusal(f"The media pool took {count} frames of the result's {len(frames)}", "ImportMedia")
    return new[0]


def as_take(host: Host, clip: Clip, result: Result) -> Placed:
    """The beauty as a take, selected but not finalised."""
    media = import_sequence(host, result.pattern, result.frames)
    notes = _set_properties(media, clip, result)
    before = int(ask(clip.item, "GetTakesCount") or 0)
    last = len(result.frames) - 1
    ask(clip.item, "AddTake", media, 0, last)
    count = int(ask(clip.item, "GetTakesCount") or 0)
    if count <= before:  # the whole of it is the same range, where its frames are counted otherwise
        ask(clip.item, "AddTake", media)
        count = int(ask(clip.item, "GetTakesCount") or 0)
    if count <= before:
        raise refusal("The take was not added", "AddTake")
    must("The take cannot be selected", clip.item, "SelectTakeByIndex", count)
    if ask(clip.item, "GetSelectedTakeIndex") not in (count, None):
        raise refusal("The take was added but not selected", "SelectTakeByIndex")
    return Placed(f"Take {count} of {clip.name}: {result.label}", notes)


def as_track(
    host: Host, clip: Clip, result: Result, *, is_graded: bool = False, is_whole: bool = False, offset: int = 0
) -> Placed:
    """The face with its matte as alpha over its clip; the finished picture where that is all."""
    pattern, alpha = result.siblings.get(PATCH, ""), _PREMULTIPLIED
    if not pattern and FACE in result.siblings:
        pattern, alpha = result.siblings[FACE], _STRAIGHT
    elif not pattern and is_whole:
        pattern, alpha = result.pattern, ""
    if not pattern:
        raise HostError("The result has no patch beside it: make it again.", reason="NO_PATCH", category="CONFLICT")
    media = import_sequence(host, pattern, result.frames)
    notes = _set_properties(media, clip, result)
    if alpha and not _set_property(media, _ALPHA_MODE, alpha):
        notes.append(f"Set the alpha mode of {result.label} to {alpha} in its clip attributes.")
    timeline, start = host.timeline, clip.start + offset
    track = _free_track(timeline, clip, start, len(result.frames))
    info = {
        "mediaPoolItem": media,
        "startFrame": 0,
        "endFrame": len(result.frames) - 1,
        "mediaType": 1,
        "trackIndex": track,
        "recordFrame": start,
    }
    ask(host.pool, "AppendToTimeline", [info])  # its answer is no proof: overlapping clips are dropped without a word
    made = _item_at(timeline, track, start)
    if made is None or int(ask(made, "GetEnd")) != start + len(result.frames):
        raise refusal(f"The result did not get onto video track {track}", "AppendToTimeline")
    if not is_graded and not _copy_looks(clip.item, made):
        notes.append(
            "Some of the clip's transforms could not be given to the result: compare the two in the Inspector."
        )
    return Placed(f"{result.label} on video track {track}", notes)


def as_composition(clip: Clip, result: Result, offset: int = 0) -> Placed:
    """A composition of its own on the clip; those that are there stay."""
    text = face_over_clip(result, clip.duration, offset)
    name = f"{MENU} v{result.version:03d}" if result.version else MENU
    path = beside(result.pattern, ".comp")
    _write(path, text)
    before = set(map(str, listed(ask(clip.item, "GetFusionCompNameList"))))
    if name in before:
        must("The older composition cannot be removed", clip.item, "DeleteFusionCompByName", name)
        before.discard(name)
    comp = must("The composition cannot be imported", clip.item, "ImportFusionComp", path)
    new = [one for one in map(str, listed(ask(clip.item, "GetFusionCompNameList"))) if one not in before]
    if len(new) != 1:
        raise refusal("The composition was not imported", "ImportFusionComp")
    if not ask(comp, "FindTool", PATCH_TOOL):  # a text with a fault comes in as an empty composition
        ask(clip.item, "DeleteFusionCompByName", new[0])
        raise refusal("The composition came in empty", "ImportFusionComp")
    if new[0] != name and ask(clip.item, "RenameFusionCompByName", new[0], name):
        new = [name]
    must("The composition cannot be shown", clip.item, "LoadFusionCompByName", new[0])
    notes = ["The files are scene-linear: the clip must be so inside Fusion too, which color management sees to."]
    return Placed(f"Composition {new[0]} on {clip.name}", notes)


def leave_setting(clip: Clip, result: Result, offset: int = 0) -> None:
    """The face's tools as a file beside the frames, which the script of the Comp menu pastes. Without a patch, none."""
    if {PATCH, FACE} & set(result.siblings) and result.frames.frames:
        _write(beside(result.pattern, ".setting"), face_alone(result, clip.duration, offset))


def as_matte(host: Host, clip: Clip, result: Result) -> Placed:
    """The matte as an external matte of the clip's source."""
    pattern = result.siblings.get(MATTE_SIBLING)
    if pattern is None:
        raise HostError("The result has no matte beside it: make it again.", reason="NO_MATTE", category="CONFLICT")
    media = must("The clip has no source in the media pool", clip.item, "GetMediaPoolItem")
    path = frame_path(pattern, result.frames.frames[0])
    before = len(listed(ask(host.pool, "GetClipMatteList", media)))
    must("The matte cannot be added", host.storage, "AddClipMattesToMediaPool", media, [path])
    if len(listed(ask(host.pool, "GetClipMatteList", media))) <= before:
        raise refusal("The matte was not added", "AddClipMattesToMediaPool")
    return Placed(f"Matte of {result.label} at {clip.name}: add it in the Color page with Add Matte")


def _check_frames(result: Result) -> None:
    numbers = result.frames.frames
    if not numbers or numbers[-1] - numbers[0] + 1 != len(numbers):
        raise HostError(
            f"The result {result.label} has gaps: press Update to make the missing frames.",
            reason="RESULT_HAS_GAPS",
            category="CONFLICT",
        )


def _check_clip(host: Host, clip: Clip) -> None:
    """The clip still lies where it lay when the plate was sent."""
    for item in listed(ask(host.timeline, "GetItemListInTrack", "video", clip.track)):
        if str(ask(item, "GetUniqueId")) == clip.uid:
            if int(ask(item, "GetStart")) == clip.start and int(ask(item, "GetEnd")) == clip.end:
                return
            raise HostError(
                f'The clip "{clip.name}" was moved or trimmed meanwhile. The result is on disk: press Show Result.',
                reason="CLIP_CHANGED",
                category="CONFLICT",
            )
    raise HostError(
        f'The clip "{clip.name}" is no longer in this timeline. The result is on disk; open its timeline and press '
        "Show Result.",
        reason="CLIP_GONE",
        category="NOT_FOUND",
    )


def _bin(pool: Any, names: list[str]) -> Any:
    folder = must("The media pool cannot be read", pool, "GetRootFolder")
    for name in names:
        below = listed(ask(folder, "GetSubFolderList"))
        found = next((one for one in below if ask(one, "GetName") == name), None)
        folder = found or must(f"The bin {name} cannot be made", pool, "AddSubFolder", folder, name)
    return folder


def _set_properties(media: Any, clip: Clip, result: Result) -> list[str]:
    """The source's frame rate, which files do not say, and the colour space; what Resolve does not take is told."""
    notes = []
    rate = str(ask(media, "GetClipProperty", _RATE) or "")
    if clip.frame_rate and rate and not clip.is_retimed and _number(rate) != _number(clip.frame_rate):
        ask(media, "SetClipProperty", _RATE, clip.frame_rate)
        if _number(str(ask(media, "GetClipProperty", _RATE))) != _number(clip.frame_rate):
            notes.append(f"Set the frame rate of {result.label} to {clip.frame_rate} in its clip attributes.")
    return notes + _set_color_space(media, clip, result)


def _set_color_space(media: Any, clip: Clip, result: Result) -> list[str]:
    """Resolve's own names of scene-linear spaces differ between versions."""
    if not clip.color_space or not result.color_space:
        return []
    for name in _RESOLVE_SPACES.get(result.color_space, ()):
        if _set_property(media, _COLOR_SPACE, name):
            return []
    return [f"Set the input color space of the result to linear {result.color_space}; Resolve did not take it."]


_RESOLVE_SPACES = {
    "lin_ap1_scene": ("ACEScg",),
    "ACEScg": ("ACEScg",),
    "lin_ap0_scene": ("ACES (AP0) Linear", "ACES2065-1"),
    "lin_rec709_scene": ("sRGB (Linear)", "Rec.709 (Linear)", "Linear"),
    "Linear Rec.709 (sRGB)": ("sRGB (Linear)", "Rec.709 (Linear)", "Linear"),
    "lin_rec2020_scene": ("Rec.2020 (Linear)",),
}
"""OpenColorIO's name → names that versions of Resolve may know, tried in turn."""


def _set_property(media: Any, name: str, value: str) -> bool:
    ask(media, "SetClipProperty", name, value)
    return bool(ask(media, "GetClipProperty", name) == value)


def _number(text: str) -> float:
    with contextlib.suppress(ValueError):
        return float(text)
    return 0.0


def _free_track(timeline: Any, clip: Clip, start: int, count: int) -> int:
    """The lowest track of ours above the clip in which nothing lies there; a new one on top where there is none."""
    tracks = int(ask(timeline, "GetTrackCount", "video") or 0)
    for track in range(clip.track + 1, tracks + 1):
        if ask(timeline, "GetTrackName", "video", track) == MENU and not _is_taken(timeline, track, start, count):
            return track
    must("A track for the result cannot be added", timeline, "AddTrack", "video", {"index": tracks + 1})
    if int(ask(timeline, "GetTrackCount", "video") or 0) != tracks + 1:
        raise refusal("The track for the result was not added", "AddTrack")
    ask(timeline, "SetTrackName", "video", tracks + 1, MENU)
    return tracks + 1


def _is_taken(timeline: Any, track: int, start: int, count: int) -> bool:
    items = listed(ask(timeline, "GetItemListInTrack", "video", track))
    return any(int(ask(one, "GetStart")) < start + count and int(ask(one, "GetEnd")) > start for one in items)


def _item_at(timeline: Any, track: int, start: int) -> Any:
    items = listed(ask(timeline, "GetItemListInTrack", "video", track))
    return next((one for one in items if int(ask(one, "GetStart")) == start), None)


def _copy_looks(source: Any, target: Any) -> bool:
    """Transforms and crop, so that the face lies on its clip; says whether all were taken."""
    properties = ask(source, "GetProperty")
    if not isinstance(properties, dict):
        return False
    there = ask(target, "GetProperty")
    there = there if isinstance(there, dict) else {}
    is_whole = True
    for name, value in properties.items():
        if name not in _SKIPPED_PROPERTIES and there.get(name) != value:
            is_whole = bool(ask(target, "SetProperty", name, value)) and is_whole
    return is_whole


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise HostError(
            f"{path} cannot be written: {error.strerror}.",
            reason="NOT_WRITABLE",
            category="RESOURCE_EXHAUSTED",
            details={"path": path},
        ) from error
