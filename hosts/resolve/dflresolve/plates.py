"""Plates that Resolve must render: one clip through the render queue as EXR, and everything put back afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from dflhost.errors import HostError
from dflhost.plates import FrameSet, Plate, frames_on_disk, sequence_pattern

from .clips import Clip, show_original, stem_of
from .host import Host, ask, listed, must, refusal

_CODECS = ("RGBHalfZIP", "RGBHalf", "RGBHalfPIZ", "RGBFloatZIP", "RGBFloat")
"""Ids of EXR's codecs, the best first; what Resolve *shows* for them changes between versions."""
_PROJECT_TAGS = {"ColorSpaceTag": "Same as Project", "GammaTag": "Same as Project"}
_SINGLE_CLIP = 1
_KEPT_PRESET = "Face Swap (what was set before)"


class PlateRender:
    """A clip being rendered. Call :meth:`step` twice a second until it answers True; then :attr:`plate`.

    Args:
        folder: new and empty; files of another render would be counted as this one's.
        color_space: that Resolve writes, as OpenColorIO names it.

    Raises:
        HostError: Resolve is rendering already (``RENDER_BUSY``) or would not begin.

    Attributes:
        done, total: frames. plate: what was written, once :meth:`step` has answered True.
    """

    def __init__(self, host: Host, clip: Clip, folder: str, color_space: str) -> None:
        self._host, self._clip, self._folder, self._color_space = host, clip, folder, color_space
        self._project, self._timeline = host.project, host.timeline
        self._job = ""
        self._page = ""
        self._format: dict[str, Any] = {}
        self._mode: Any = None
        self._take = 0
        self._is_preset_kept = False
        self._tracks: dict[int, bool] = {}
        self.done, self.total = 0, clip.duration
        self.plate: Plate | None = None
        if ask(self._project, "IsRenderingInProgress"):
            raise HostError(
                "DaVinci Resolve is rendering: wait until its queue is done.", reason="RENDER_BUSY", category="CONFLICT"
            )
        try:
            self._begin()
        except HostError:
            self.restore()
            raise

    def step(self) -> bool:
        """Answers whether it is over.

        Raises:
            HostError: the render failed (``RENDER_FAILED``), or wrote other frames than it should have
                (``PLATES_MISSING``). Everything is put back before.
        """
        try:
            status = ask(self._project, "GetRenderJobStatus", self._job)
            status = status if isinstance(status, dict) else {}
            state = str(status.get("JobStatus") or "")
            share = float(status.get("CompletionPercentage") or 0.0) / 100.0
            self.done = min(self.total, int(share * self.total))
            if state in ("Failed", "Cancelled"):
                raise self._failed(state, status)
            # EXR jobs of some versions never say "Complete"
            is_idle = not ask(self._project, "IsRenderingInProgress")
            if state != "Complete" and not (share >= 1.0 and is_idle):
                return False
            self.plate = collect(self._folder, self.total, self._color_space)
        except HostError:
            self.restore()
            raise
        self.restore()
        return True

    def cancel(self) -> None:
        """Stop, and put everything back."""
        with contextlib.suppress(HostError):
            ask(self._project, "StopRendering")
        self.restore()

    def restore(self) -> None:
        """Queue, render settings, tracks and page as they were. What cannot be put back does not keep the rest."""
        if self._job:
            self._quietly(self._project, "DeleteRenderJob", self._job)
            self._job = ""
        for track, was_on in self._tracks.items():
            if ask(self._timeline, "GetIsTrackEnabled", "video", track) != was_on:
                self._quietly(self._timeline, "SetTrackEnable", "video", track, was_on)
        self._tracks = {}
        if self._take:
            self._quietly(self._clip.item, "SelectTakeByIndex", self._take)
            self._take = 0
        if self._is_preset_kept:
            self._quietly(self._project, "LoadRenderPreset", _KEPT_PRESET)
            self._quietly(self._project, "DeleteRenderPreset", _KEPT_PRESET)
            self._is_preset_kept = False
        if self._format:
            names = (str(self._format.get("format") or ""), str(self._format.get("codec") or ""))
            if all(names):
                self._quietly(self._project, "SetCurrentRenderFormatAndCodec", *names)
            self._format = {}
        if self._mode is not None:
            self._quietly(self._project, "SetCurrentRenderMode", self._mode)
            self._mode = None
        if self._page and self._page != "deliver":
            self._quietly(self._host.resolve, "OpenPage", self._page)
        self._page = ""

    def _begin(self) -> None:
        project, timeline = self._project, self._timeline
        make_folder(self._folder)
        self._page = str(ask(self._host.resolve, "GetCurrentPage") or "")
        must("The Deliver page cannot be opened", self._host.resolve, "OpenPage", "deliver")
        current = ask(project, "GetCurrentRenderFormatAndCodec")
        self._format = dict(current) if isinstance(current, dict) else {}
        self._mode = ask(project, "GetCurrentRenderMode")
        ask(project, "DeleteRenderPreset", _KEPT_PRESET)  # of a script that was ended before it could put it back
        self._is_preset_kept = bool(ask(project, "SaveAsNewRenderPreset", _KEPT_PRESET))
        self._solo(timeline)
        self._take = show_original(self._clip.item)
        must("Single-clip rendering cannot be chosen", project, "SetCurrentRenderMode", _SINGLE_CLIP)
        self._choose_codec()
        wanted = self._settings()
        must("The render settings are not accepted", project, "SetRenderSettings", wanted)
        ask(project, "SetRenderSettings", dict(_PROJECT_TAGS))  # refused where color management is off: nothing lost
        before = self._jobs()
        self._job = str(must("The plate cannot be put into the render queue", project, "AddRenderJob"))
        made = self._jobs().get(self._job)
        if self._job in before or made is None:
            self._job = ""
            raise refusal("The plate did not get into the render queue", "AddRenderJob")
        wrong = _differences(made, wanted)
        if wrong:  # what was set in the Deliver page before is still there
            raise refusal(f"The render job has another {wrong} than was set", "SetRenderSettings")
        must("The render cannot be started", project, "StartRendering", [self._job], False)

    def _solo(self, timeline: Any) -> None:
        """Only the clip's track is seen."""
        for track in range(1, int(ask(timeline, "GetTrackCount", "video") or 0) + 1):
            is_on, is_wanted = bool(ask(timeline, "GetIsTrackEnabled", "video", track)), track == self._clip.track
            if is_on != is_wanted:
                self._tracks[track] = is_on
                ask(timeline, "SetTrackEnable", "video", track, is_wanted)
                if bool(ask(timeline, "GetIsTrackEnabled", "video", track)) != is_wanted:
                    raise refusal(f"Video track {track} cannot be switched", "SetTrackEnable")

    def _choose_codec(self) -> None:
        codecs = ask(self._project, "GetRenderCodecs", "exr")
        offered = set(codecs.values()) if isinstance(codecs, dict) else set()
        codec = next((name for name in _CODECS if name in offered), "")
        if not codec:
            raise HostError(
                "This DaVinci Resolve offers no EXR codec that plates could be rendered with.",
                reason="NO_EXR_CODEC",
                category="UNSUPPORTED",
            )
        must("EXR cannot be chosen for the render", self._project, "SetCurrentRenderFormatAndCodec", "exr", codec)

    def _settings(self) -> dict[str, Any]:
        """All that could be left over from the artist's last render is said; a render adds to what it finds."""
        sides = (ask(self._timeline, "GetSetting", f"timelineResolution{side}") for side in ("Width", "Height"))
        width, height = (int(side) if str(side or "").isdigit() else 0 for side in sides)
        return {
            **({"FormatWidth": width, "FormatHeight": height} if width and height else {}),
            "SelectAllFrames": False,
            "MarkIn": self._clip.start,
            "MarkOut": self._clip.end - 1,  # counts itself
            "TargetDir": self._folder,
            "CustomName": file_name(self._clip.name),
            "ExportVideo": True,
            "ExportAudio": False,
            "ExportAlpha": False,
            "ReplaceExistingFilesInPlace": False,
        }

    def _jobs(self) -> dict[str, dict[str, Any]]:
        """Id → what Resolve says of the job."""
        jobs = listed(ask(self._project, "GetRenderJobList"))
        return {str(job.get("JobId", "")): job for job in jobs if isinstance(job, dict)}

    def _failed(self, state: str, status: dict[str, Any]) -> HostError:
        why = str(status.get("Error") or "").strip()
        sentence = "was cancelled" if state == "Cancelled" else f"failed{': ' + why if why else ''}"
        return HostError(
            f"The render of the plate {sentence}.",
            reason="RENDER_CANCELLED" if state == "Cancelled" else "RENDER_FAILED",
            category="CANCELLED" if state == "Cancelled" else "CONFLICT",
        )

    @staticmethod
    def _quietly(owner: Any, method: str, *arguments: Any) -> None:
        with contextlib.suppress(HostError):
            ask(owner, method, *arguments)


def make_folder(folder: str) -> None:
    """A new one. Raises HostError (``NOT_WRITABLE``)."""
    try:
        os.makedirs(folder)
    except OSError as error:
        raise HostError(
            f"The folder {folder} for the plates cannot be made: {error.strerror}.",
            reason="NOT_WRITABLE",
            category="RESOURCE_EXHAUSTED",
            details={"path": folder},
        ) from error


def exr_names(folder: str) -> list[str]:
    """Files of pictures that lie there."""
    try:
        return sorted(name for name in os.listdir(folder) if name.lower().endswith(".exr"))
    except OSError:
        return []


def collect(folder: str, count: int, color_space: str) -> Plate:
    """What lies on disk, not what Resolve says of it. Raises HostError (``PLATES_MISSING``)."""
    names = exr_names(folder)
    patterns = {sequence_pattern(os.path.join(folder, name)) for name in names}
    frames = frames_on_disk(next(iter(patterns))) if len(patterns) == 1 else FrameSet()
    is_whole = bool(frames.frames) and frames.frames[-1] - frames.frames[0] + 1 == len(frames)
    if len(frames) != count or not is_whole:
        raise HostError(
            f"DaVinci Resolve rendered {len(names)} frames of {count} of the plate. "
            "Look at its render queue and at the free space of the disk.",
            reason="PLATES_MISSING",
            category="DATA_CORRUPT",
            details={"path": folder},
        )
    return Plate(patterns.pop(), frames, color_space)


def file_name(name: str) -> str:
    """The clip's name, ending in no digit: digits at its end would be read as the frame's number."""
    return f"{stem_of(name)}_plate_"


def _differences(job: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What a job says of itself that is not what was set, in words; what it does not say is not looked at."""
    found = []
    if _length(job) not in (None, _length(wanted)):
        found.append("range")
    for name, word in (("FormatWidth", "width"), ("FormatHeight", "height")):
        if name in wanted and _number(job.get(name)) not in (None, wanted[name]):
            found.append(word)
    return " and ".join(found)


def _length(values: Mapping[str, Any]) -> int | None:
    """Frames between the marks: versions may count the marks from another beginning."""
    first, last = _number(values.get("MarkIn")), _number(values.get("MarkOut"))
    return None if first is None or last is None else last - first + 1


def _number(value: Any) -> int | None:
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return None
