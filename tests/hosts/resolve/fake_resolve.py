"""A Resolve in memory: what the stubs do not know fails, and what the real one does without a word, this does too.

``world.traps`` switches on what was reported of real versions, by name; what always happens (imports land in the
current bin, appends never overwrite, ``False`` for an answer) always happens.
"""

# ruff: noqa: N802 - methods are named as Resolve names them
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comp_reader import read_comp
from fake_fusion import Comp
from strict_fake import make_module

HERE = Path(__file__).parent
TABLE = json.loads((HERE / "resolve_21.json").read_text("utf-8"))
TIGHTENED = {  # optional by the vendor's text, which the stubs write as Optional without a default
    "ProjectManager.CreateProject": ["projectName", "projectName mediaLocationPath"],
    "TimelineItem.GetStart": ["", "subframe_precision"],
    "TimelineItem.GetEnd": ["", "subframe_precision"],
    "TimelineItem.GetLeftOffset": ["", "subframe_precision"],
    "TimelineItem.GetProperty": ["", "propertyKey"],
    "TimelineItem.AddTake": ["mediaPoolItem", "mediaPoolItem startFrame endFrame"],
    "MediaPoolItem.GetClipProperty": ["", "propertyName"],
    "MediaStorage.AddClipMattesToMediaPool": ["mediaPoolItem paths", "mediaPoolItem paths stereoEye"],
}


class World:
    """Everything behind the scripting interface.

    Attributes:
        product, version: edition. traps: names of misbehaviours. calls: every call made, in order.
        faults: calls that the real Resolve does not have or not so; the fixture fails for them, whoever caught them.
        page, presets, format, mode, settings, jobs: of the Deliver page.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.product, self.version = "DaVinci Resolve Studio", [20, 1, 0, 4, ""]
        self.traps: set[str] = set()
        self.calls: list[str] = []
        self.page, self.mode = "edit", 0
        self.format = {"format": "mov", "codec": "ProRes422HQ"}
        self.settings: dict[str, Any] = {"TargetDir": "/deliveries", "MarkIn": 0, "MarkOut": 99, "FormatWidth": 640}
        self.presets: dict[str, Any] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.is_rendering = False
        self.polls = 0
        self.is_modal_open = False
        self.next_id = 0
        self.api = make_module(
            "fusionscript",
            TABLE,
            functions={},
            classes=BEHAVIOURS,
            values={},
            tightened=TIGHTENED,
            guard=self._guard,
        )
        self.faults: list[str] = []
        for cls in [value for value in vars(self.api).values() if isinstance(value, type)]:
            _report_faults(cls, self.faults)
        self.project = self.api.Project(self)
        self.resolve = self.api.Resolve(self)
        self.media = self.add_media("plate.[1001-1048].exr", 48)
        self.item = self.add_item(self.media, track=1, start=86400, count=8, offset=10)
        self.fusion: Any = None
        self.bmd: Any = None

    def _guard(self, name: str) -> None:
        self.calls.append(name.rpartition(".")[2])
        if name.endswith("SaveProject"):
            raise AssertionError("saving a project that was never saved hangs without a window")

    def new_id(self) -> str:
        self.next_id += 1
        return f"id{self.next_id}"

    def add_media(self, name: str, count: int, **properties: str) -> Any:
        """A source in the media pool."""
        about = {
            "File Path": str(self.folder / name),
            "Frames": str(count),
            "Input Color Space": "ACEScg",
            **properties,
        }
        media = self.api.MediaPoolItem(self, name, about)
        self.project._pool._root._clips.append(media)
        return media

    def add_item(self, media: Any, track: int, start: int, count: int, offset: int = 0) -> Any:
        """A clip of the timeline."""
        timeline = self.project._timeline
        while len(timeline._tracks) < track:
            timeline._tracks.append({"name": f"Video {len(timeline._tracks) + 1}", "on": True, "items": []})
        item = self.api.TimelineItem(self, media, track, start, count, offset)
        timeline._tracks[track - 1]["items"].append(item)
        return item


def _report_faults(cls: type, faults: list[str]) -> None:
    """Our code turns every exception of Resolve's into a sentence, a wrong call of ours among them: note those."""

    def wrap(call: Any) -> Any:
        def reported(*arguments: Any, **named: Any) -> Any:
            try:
                return call(*arguments, **named)
            except Exception as error:
                faults.append(f"{type(error).__name__}: {error}")
                raise

        return reported

    def unknown(self: Any, name: str) -> Any:
        faults.append(f"{cls.__name__} has no {name}")
        raise AttributeError(name)

    for name, call in list(vars(cls).items()):
        if not name.startswith("_") and callable(call):
            setattr(cls, name, wrap(call))
    cls.__getattr__ = unknown  # type: ignore[attr-defined]


class Resolve:
    def __init__(self, world: World) -> None:
        self._world = world
        self._manager = world.api.ProjectManager(world)

    def GetProductName(self) -> str:
        return self._world.product

    def GetVersion(self) -> list[Any]:
        return self._world.version

    def GetProjectManager(self) -> Any:
        return self._manager

    def GetMediaStorage(self) -> Any:
        return self._world.api.MediaStorage(self._world)

    def GetCurrentPage(self) -> str:
        return self._world.page

    def OpenPage(self, page: str) -> bool:
        self._world.page = page
        return True


class ProjectManager:
    def __init__(self, world: World) -> None:
        self._world = world

    def GetCurrentProject(self) -> Any:
        return self._world.project

    def CreateProject(self, name: str, where: Any = None) -> Any:
        return None if "no new project" in self._world.traps else self._world.project

    def DeleteProject(self, name: str) -> bool:
        return False

    def LoadProject(self, name: str) -> Any:
        return self._world.project

    def CloseProject(self, project: Any) -> bool:
        return True


class Project:
    def __init__(self, world: World) -> None:
        self._world = world
        self._timeline = world.api.Timeline(world)
        self._pool = world.api.MediaPool(world)

    def GetName(self) -> str:
        return "Untitled Project" if "never saved" in self._world.traps else "Show"

    def GetCurrentTimeline(self) -> Any:
        return None if "no timeline" in self._world.traps else self._timeline

    def GetMediaPool(self) -> Any:
        return self._pool

    def IsRenderingInProgress(self) -> bool:
        return self._world.is_rendering

    def GetCurrentRenderFormatAndCodec(self) -> dict[str, str]:
        return dict(self._world.format)

    def GetRenderCodecs(self, name: str) -> dict[str, str]:
        if name != "exr" or "no exr" in self._world.traps:
            return {}
        return {"RGB half (ZIP), as this version calls it": "RGBHalfZIP", "RGB float": "RGBFloat"}

    def SetCurrentRenderFormatAndCodec(self, name: str, codec: str) -> bool:
        known = {"exr": ("RGBHalfZIP", "RGBFloat"), "mov": ("ProRes422HQ",)}
        if codec not in known.get(name, ()):
            return False
        self._world.format = {"format": name, "codec": codec}
        return True

    def GetCurrentRenderMode(self) -> int:
        return self._world.mode

    def SetCurrentRenderMode(self, mode: int) -> bool:
        self._world.mode = mode
        return True

    def SaveAsNewRenderPreset(self, name: str) -> bool:
        world = self._world
        if name in world.presets:
            return False
        world.presets[name] = (dict(world.settings), dict(world.format), world.mode)
        return True

    def LoadRenderPreset(self, name: str) -> bool:
        world = self._world
        if name not in world.presets:
            return False
        world.settings, world.format, world.mode = (
            dict(world.presets[name][0]),
            dict(world.presets[name][1]),
            world.presets[name][2],
        )
        return True

    def DeleteRenderPreset(self, name: str) -> bool:
        return self._world.presets.pop(name, None) is not None

    def SetRenderSettings(self, settings: dict[str, Any]) -> bool:
        world = self._world
        if "settings lost" not in world.traps:
            world.settings.update(settings)
        return "ColorSpaceTag" not in settings

    def AddRenderJob(self) -> str:
        if "no job" in self._world.traps:
            return ""
        job = self._world.new_id()
        if "lost job" not in self._world.traps:
            self._world.jobs[job] = dict(self._world.settings)
        return job

    def GetRenderJobList(self) -> list[dict[str, Any]]:
        return [{"JobId": job, **settings} for job, settings in self._world.jobs.items()]

    def DeleteRenderJob(self, job: str) -> bool:
        if "jobs stay" in self._world.traps:
            return False
        return self._world.jobs.pop(job, None) is not None

    def StartRendering(self, jobs: list[str], is_interactive: bool = False) -> bool:
        world = self._world
        if "no start" in world.traps or not isinstance(jobs, list) or any(job not in world.jobs for job in jobs):
            return False
        world.is_rendering, world.polls = True, 0
        return True

    def StopRendering(self) -> None:
        self._world.is_rendering = False

    def GetRenderJobStatus(self, job: str) -> dict[str, Any]:
        world = self._world
        world.polls += 1
        if "render fails" in world.traps:
            world.is_rendering = False
            return {"JobStatus": "Failed", "CompletionPercentage": 40, "Error": "The disk is full"}
        if world.polls < 3:
            return {"JobStatus": "Rendering", "CompletionPercentage": 50 * (world.polls - 1)}
        if world.is_rendering:
            self._write(world.jobs[job])
            world.is_rendering = False
        done = "Rendering" if "never complete" in world.traps else "Complete"
        return {"JobStatus": done, "CompletionPercentage": 100}

    def _write(self, settings: dict[str, Any]) -> None:
        numbers = list(range(settings["MarkIn"], settings["MarkOut"] + 1))
        for number in numbers[: -1 if "frame lost" in self._world.traps else None]:
            (Path(settings["TargetDir"]) / f"{settings['CustomName']}{number:08d}.exr").write_bytes(b"exr")


class MediaStorage:
    def __init__(self, world: World) -> None:
        self._world = world

    def AddClipMattesToMediaPool(self, media: Any, paths: list[str], eye: Any = None) -> bool:
        if "matte lost" not in self._world.traps:
            media._mattes += paths
        return True


class Folder:
    def __init__(self, world: World, name: str) -> None:
        self._world, self._name = world, name
        self._clips: list[Any] = []
        self._folders: list[Any] = []

    def GetName(self) -> str:
        return self._name

    def GetClipList(self) -> list[Any] | None:
        return list(self._clips) or None  # an empty bin answers None

    def GetSubFolderList(self) -> list[Any]:
        return list(self._folders)


class MediaPool:
    def __init__(self, world: World) -> None:
        self._world = world
        self._root = self._current = world.api.Folder(world, "Master")
        self._selected: list[Any] = []

    def GetRootFolder(self) -> Any:
        return self._root

    def GetCurrentFolder(self) -> Any:
        return self._current

    def SetCurrentFolder(self, folder: Any) -> bool:
        self._current = folder
        return True

    def AddSubFolder(self, folder: Any, name: str) -> Any:
        if any(one._name == name for one in folder._folders):
            return None
        made = self._world.api.Folder(self._world, name)
        folder._folders.append(made)
        return made

    def GetSelectedClips(self) -> list[Any]:
        return self._selected

    def ImportMedia(self, items: list[Any]) -> list[Any]:
        """Lands in the current bin; a table with a path alone imports nothing."""
        world, what = self._world, items[0]
        if "import lost" in world.traps:
            return []
        if isinstance(what, str):
            paths, first = [Path(what)], 0
        elif set(what) == {"FilePath", "StartIndex", "EndIndex"}:
            first = what["StartIndex"]
            paths = [Path(what["FilePath"] % number) for number in range(first, what["EndIndex"] + 1)]
        else:
            return []
        if not all(path.is_file() for path in paths):
            return []
        count = len(paths) - (1 if "import short" in world.traps else 0)
        about = {
            "File Path": str(paths[0]),
            "Frames": str(count),
            "Alpha mode": "None",
            "Input Color Space": "Project",
            "FPS": "24.0",
        }
        media = world.api.MediaPoolItem(world, paths[0].name, about)
        self._current._clips.append(media)
        return [media]

    def AppendToTimeline(self, infos: list[dict[str, Any]]) -> list[Any]:
        """Never overwrites: what would overlap is dropped, and the answer does not say so."""
        world, info = self._world, infos[0]
        tracks = world.project._timeline._tracks
        if info["trackIndex"] > len(tracks) or "append lost" in world.traps:
            return [None]
        start, count = info["recordFrame"], info["endFrame"] - info["startFrame"] + 1
        for other in tracks[info["trackIndex"] - 1]["items"]:
            if other._start < start + count and other._start + other._count > start:
                return [None]
        return [world.add_item(info["mediaPoolItem"], info["trackIndex"], start, count)]

    def CreateTimelineFromClips(self, name: str, clips: list[Any]) -> Any:
        return self._world.project._timeline

    def GetClipMatteList(self, media: Any) -> list[str]:
        return list(media._mattes)


class MediaPoolItem:
    def __init__(self, world: World, name: str, about: dict[str, str]) -> None:
        self._world, self._name, self._about, self._id = world, name, about, world.new_id()
        self._mattes: list[str] = []

    def GetUniqueId(self) -> str:
        return self._id

    def GetClipProperty(self, name: str | None = None) -> Any:
        return dict(self._about) if name is None else self._about.get(name, "")

    def SetClipProperty(self, name: str, value: Any) -> bool:
        known = {
            "Alpha mode": ("None", "Premultiplied", "Straight"),
            "Input Color Space": ("ACEScg", "Project"),
            "FPS": ("24.0", "25.0", "23.976"),
        }
        if value not in known.get(name, ()) or "property lost" in self._world.traps:
            return True  # it says so, and does nothing
        self._about[name] = value
        return True


class Timeline:
    def __init__(self, world: World) -> None:
        self._world = world
        self._tracks: list[dict[str, Any]] = []
        self._timecode = "01:00:00:03"

    def GetName(self) -> str:
        return "Reel 1"

    def GetSetting(self, name: str) -> str:
        return {"timelineFrameRate": "24.0", "timelineResolutionWidth": "1920", "timelineResolutionHeight": "1080"}.get(
            name, ""
        )

    def GetCurrentTimecode(self) -> str:
        return self._timecode

    def GetCurrentVideoItem(self) -> Any:
        return None if "empty playhead" in self._world.traps else self._world.item

    def GetTrackCount(self, kind: str) -> int:
        return len(self._tracks)

    def GetItemListInTrack(self, kind: str, track: int) -> list[Any] | None:
        return list(self._tracks[track - 1]["items"]) or None if track <= len(self._tracks) else None

    def GetIsTrackEnabled(self, kind: str, track: int) -> bool:
        return bool(self._tracks[track - 1]["on"])

    def SetTrackEnable(self, kind: str, track: int, is_on: bool) -> bool:
        if "tracks stay" not in self._world.traps:
            self._tracks[track - 1]["on"] = is_on
        return True

    def GetTrackName(self, kind: str, track: int) -> str:
        return str(self._tracks[track - 1]["name"])

    def SetTrackName(self, kind: str, track: int, name: str) -> bool:
        self._tracks[track - 1]["name"] = name
        return True

    def AddTrack(self, kind: str, options: Any) -> bool:
        if "no track" not in self._world.traps:
            self._tracks.append({"name": f"Video {len(self._tracks) + 1}", "on": True, "items": []})
        return True


class TimelineItem:
    def __init__(self, world: World, media: Any, track: int, start: int, count: int, offset: int) -> None:
        self._world, self._media, self._id = world, media, world.new_id()
        self._track, self._start, self._count, self._offset = track, start, count, offset
        self._span = count
        self._markers: dict[float, dict[str, Any]] = {}
        self._takes: list[tuple[Any, int, int]] = []
        self._take = 0
        self._comps: dict[str, Comp] = {}
        self._shown = ""
        self._properties: dict[str, Any] = {"ZoomX": 1.0, "Pan": 0.0, "RetimeProcess": 0}

    def GetName(self) -> str:
        return self._shown_media()[0]._name if self._media else "Title"

    def _shown_media(self) -> tuple[Any, int]:
        """Source and offset of the take that is selected."""
        return self._takes[self._take - 1][:2] if self._takes else (self._media, self._offset)

    def GetUniqueId(self) -> str:
        return self._id

    def GetMediaPoolItem(self) -> Any:
        return self._shown_media()[0]

    def GetTrackTypeAndIndex(self) -> Any:
        return ["video", self._track]

    def GetStart(self, subframe: bool = False) -> int:
        return self._start

    def GetEnd(self, subframe: bool = False) -> int:
        return self._start + self._count

    def GetLeftOffset(self, subframe: bool = False) -> int:
        return self._shown_media()[1]

    def GetSourceStartFrame(self) -> int:
        return self._shown_media()[1] + (1 if "off by one" in self._world.traps else 0)

    def GetSourceEndFrame(self) -> int:
        return self._shown_media()[1] + self._span - 1

    def GetCurrentVersion(self) -> dict[str, Any]:
        return {"versionName": "Version 1", "versionType": 0}

    def GetProperty(self, name: str | None = None) -> Any:
        return dict(self._properties) if name is None else self._properties[name]

    def SetProperty(self, name: str, value: Any) -> bool:
        if "property lost" in self._world.traps:
            return False
        self._properties[name] = value
        return True

    def GetMarkers(self) -> dict[float, dict[str, Any]]:
        return {frame: dict(marker) for frame, marker in self._markers.items()}

    def AddMarker(self, frame: float, color: str, name: str, note: str, duration: float, data: str = "") -> bool:
        if frame in self._markers or "no markers" in self._world.traps:
            return False  # one marker a frame
        self._markers[float(frame)] = {"color": color, "name": name, "note": note, "customData": data}
        return True

    def DeleteMarkerAtFrame(self, frame: float) -> bool:
        return self._markers.pop(frame, None) is not None

    def GetTakesCount(self) -> int:
        return len(self._takes)

    def AddTake(self, media: Any, first: int = 0, last: int = 0) -> bool:
        if "take lost" in self._world.traps or ("take of a range" in self._world.traps and last):
            return True
        if not self._takes:  # itself becomes the first
            self._takes, self._take = [(self._media, self._offset, self._offset + self._count - 1)], 1
        self._takes.append((media, first, last))
        return True

    def SelectTakeByIndex(self, index: int) -> bool:
        self._take = index if 1 <= index <= len(self._takes) else self._take
        return self._take == index

    def GetTakeByIndex(self, index: int) -> dict[str, Any]:
        media, first, last = self._takes[index - 1]
        return {"mediaPoolItem": media, "startFrame": first, "endFrame": last}

    def GetSelectedTakeIndex(self) -> int:
        return self._take

    def GetFusionCompNameList(self) -> list[str]:
        return list(self._comps)

    def ImportFusionComp(self, path: str) -> Any:
        """A text with a fault is an empty composition, and nothing is said."""
        if "no comps" in self._world.traps:
            return None  # nothing is added either
        text = Path(path).read_text("utf-8")
        try:
            whole = read_comp(text[: len(text) // 2] if "comp cut" in self._world.traps else text)
            comp = Comp(whole, self._world)
        except ValueError:
            comp = Comp(None, self._world)
        self._comps[f"Composition {len(self._comps) + 1}"] = comp
        return comp

    def AddFusionComp(self) -> Any:
        if "no comps" in self._world.traps:
            return None
        nodes = {} if "no media in" in self._world.traps else {"MediaIn1": "MediaIn"}
        comp = Comp({"Tools": nodes}, self._world)
        self._comps[f"Composition {len(self._comps) + 1}"] = comp
        return comp

    def GetFusionCompCount(self) -> int:
        return len(self._comps)

    def GetFusionCompByIndex(self, index: int) -> Any:
        return list(self._comps.values())[index - 1]

    def DeleteFusionCompByName(self, name: str) -> bool:
        return self._comps.pop(name, None) is not None

    def RenameFusionCompByName(self, old: str, new: str) -> bool:
        self._comps[new] = self._comps.pop(old)
        return True

    def LoadFusionCompByName(self, name: str) -> Any:
        self._shown = name
        return self._comps.get(name)


BEHAVIOURS = {
    cls.__name__: cls
    for cls in (
        Resolve,
        ProjectManager,
        Project,
        MediaStorage,
        Folder,
        MediaPool,
        MediaPoolItem,
        Timeline,
        TimelineItem,
    )
}
