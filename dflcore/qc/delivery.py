"""A merged sequence as it was delivered: its frames' colours and mattes, and what its manifest says.

Only the channels that are looked at are read: a layered frame holds a dozen more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import OpenImageIO as oiio  # noqa: N813
from numpy.typing import NDArray

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.io.exr import damaged_exr, open_exr
from dflcore.io.plate import Window
from dflcore.io.sequence import SequencePattern
from dflcore.io.stills import take_error
from dflcore.merge.aovs import BEAUTY, PATCH
from dflcore.merge.composite import cast, inside, intersect, to_float
from dflcore.merge.light import PlateLight
from dflcore.merge.output import VERSION_TOKEN, OutputSequence

MATTE: Final = "matte"
MANIFEST_SUFFIX: Final = ".provenance.json"
LOSSY_COMPRESSIONS: Final = frozenset({"dwaa", "dwab", "b44", "b44a", "pxr24"})
MAX_MANIFEST_BYTES: Final = 1 << 30
_FLOAT_TYPES: Final = frozenset({"half", "float"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeliveredFrame:
    """One merged frame.

    Attributes:
        beauty: (H, W, 4) float16 or float32 RGBA over the data window, scene-linear, the file's own bits.
        matte: (H, W) in [0, 1], the file's own.
        window: data window.
        compression: as the header names it.
    """

    beauty: NDArray[Any]
    matte: NDArray[Any]
    window: Window
    compression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts:
    """What the manifest beside the frames tells; all empty without one."""

    model: str = ""
    plate: str = ""
    color_space: str = ""
    output_space: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


class Delivery:
    """A merged sequence, opened.

    Attributes:
        pattern: of the frames with the beauty, or the patch. profile: ``layered``, ``flat`` or ``patch``.
        frames: those on disk. facts: of the manifest. version: what ``{version}`` stands for; empty without it.
    """

    def __init__(
        self, pattern: SequencePattern, frames: FrameRange, facts: ManifestFacts, *, version: str = ""
    ) -> None:
        self.pattern = pattern
        self.frames = frames
        self.facts = facts
        self.version = version
        self._sequence = OutputSequence(pattern=pattern, siblings=(MATTE, PATCH))
        self._matte_channel = ""
        self.profile = self._find_profile()

    def _find_profile(self) -> str:
        """Where the matte is: one damaged or bare frame is that frame's own remark.

        Raises:
            InvalidInput: no frame has a matte.
            DataCorrupt: no frame can be opened.
        """
        if self.facts.settings.get("profile") == PATCH:
            return PATCH
        damage: list[DataCorrupt] = []
        for frame in self.frames:
            try:
                there = _channel_names(self.pattern.path(frame))
            except DataCorrupt as error:
                damage.append(error)
                continue
            found = [name for name in (f"{MATTE}.A", f"{MATTE}.a") if name in there]
            if found:
                self._matte_channel = found[0]
                return "layered"
            if self._siblings(frame)[0]:
                return "flat"
        if len(damage) == len(self.frames):
            raise damage[0]
        missing = " nor ".join(path.name for path in self._siblings(self.frames.frames[0])[1])
        raise InvalidInput(
            f"The result {self.pattern} has no matte: neither a layer {MATTE} nor {missing}. Merge with the layer "
            f"{MATTE}.",
            reason="NO_MATTE",
            field="result",
            path=self.pattern,
        )

    @classmethod
    def open(cls, text: str) -> Delivery:
        """Open a pattern of frames, their manifest, or a folder with one manifest.

        Args:
            text: ``{version}`` in it stands for the newest version on disk, see :func:`newest_version`.

        Raises:
            NotFound: there is no such thing, or no frame of it.
            InvalidInput: not EXR, a folder with several sequences, or frames without a matte.
            DataCorrupt: the manifest, or every frame, cannot be read.
        """
        version = ""
        if VERSION_TOKEN in text:
            text, version = newest_version(text)
        pattern = _pattern_of(Path(text))
        if pattern is None:
            is_file_of_another_kind = Path(text).suffix.lower() not in ("", ".exr") and not Path(text).is_dir()
            pattern = None if is_file_of_another_kind else SequencePattern.parse(text)
        if pattern is None or not f"{pattern.head}{pattern.tail}".lower().endswith(".exr"):
            raise InvalidInput(
                f"The result {text} is not an EXR sequence; name the frames that `dfl merge` wrote.",
                reason="BAD_RESULT",
                field="result",
            )
        frames = pattern.frames_on_disk()
        if not frames:
            raise NotFound(
                f"No frame of the result {text} is on disk; merge the shot first, or check the name.",
                reason="RESULT_NOT_FOUND",
                path=text,
            )
        manifest = OutputSequence(pattern=pattern).manifest
        facts = _read_facts(manifest) if manifest.is_file() else ManifestFacts()
        return cls(pattern, frames, facts, version=version)

    def read(self, frame: int) -> DeliveredFrame:
        """One frame.

        Raises:
            NotFound: its file, or the sibling with its matte, is not there.
            InvalidInput: it lacks the beauty or the matte.
            DataCorrupt: it is damaged, or its matte covers something else.
        """
        path = self.pattern.path(frame)
        if self.profile == "layered":
            channels, window, compression = read_channels(path, (*BEAUTY, self._matte_channel))
            matte = channels[self._matte_channel]
        elif self.profile == PATCH:
            channels, window, compression = read_channels(path, BEAUTY)
            matte = channels["A"]
        else:
            channels, window, compression = read_channels(path, BEAUTY)
            matte, matte_window = self._read_sibling(frame)
            if matte_window != window:
                raise DataCorrupt(
                    f"The matte of frame {frame} does not cover what {path.name} covers.",
                    reason="FRAME_CORRUPT",
                    path=path,
                    frame=frame,
                )
        beauty = np.stack([channels[name] for name in BEAUTY], axis=2)
        return DeliveredFrame(beauty=beauty, matte=matte, window=window, compression=compression)

    def over_plate(self, frame: DeliveredFrame, light: PlateLight) -> DeliveredFrame:
        """The frame as a compositor sees it: of a patch, that laid over the plate; others are complete."""
        window = intersect(frame.window, light.data_window)
        if self.profile != PATCH or window is None:
            return frame
        beauty = light.beauty.astype(frame.beauty.dtype)
        matte = np.zeros(beauty.shape[:2], frame.matte.dtype)
        part, target = inside(window, frame.window), inside(window, light.data_window)
        alpha = to_float(np.ascontiguousarray(frame.matte[part]))
        below = to_float(np.ascontiguousarray(beauty[target][..., :3]))
        with np.errstate(invalid="ignore"):  # the plate's infinities under a solid patch
            mixed = below * (1.0 - alpha[..., None]) + to_float(np.ascontiguousarray(frame.beauty[part][..., :3]))
        np.copyto(beauty[target][..., :3], cast(mixed, beauty.dtype), where=alpha[..., None] > 0.0)
        matte[target] = frame.matte[part]
        return replace(frame, beauty=beauty, matte=matte, window=light.data_window)

    def _read_sibling(self, frame: int) -> tuple[NDArray[Any], Window]:
        """The alpha of the matte's own sequence, else of the patch, which is the same matte."""
        path, paths = self._siblings(frame)
        if path is None:
            raise NotFound(
                f"Frame {frame} has no matte: neither {paths[0].name} nor {paths[1].name} is there.",
                reason="NO_MATTE",
                path=paths[0],
                frame=frame,
            )
        channels, window, _ = read_channels(path, ("A",))
        return channels["A"], window

    def _siblings(self, frame: int) -> tuple[Path | None, list[Path]]:
        """The file with a frame's matte, and all that could hold it."""
        paths = [self._sequence.sibling(name).path(frame) for name in (MATTE, PATCH)]
        return next((one for one in paths if one.is_file()), None), paths


def read_channels(path: Path, names: Sequence[str]) -> tuple[dict[str, NDArray[Any]], Window, str]:
    """Some channels of an EXR, bit for bit: name → (H, W) float16 or float32; its data window; its compression.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a channel is not there, or holds whole numbers.
        DataCorrupt: it cannot be read.
    """
    with _opened(path) as (source, spec, there):
        if absent := [name for name in names if name not in there]:
            raise InvalidInput(
                f"{path} has no channel {', '.join(absent)}.", reason="LAYER_MISSING", path=path, channels=absent
            )
        found: dict[str, NDArray[Any]] = {}
        kinds = [str(spec.channelformat(index)) for index in range(spec.nchannels)]
        for run in _runs([there.index(name) for name in names], kinds):
            kind = kinds[run[0]]
            if kind not in _FLOAT_TYPES:
                raise InvalidInput(
                    f"{path} holds {kind} channels where half or float are delivered.",
                    reason="PIXEL_TYPE_NOT_READ",
                    path=path,
                )
            pixels = source.read_image(0, 0, run[0], run[-1] + 1, oiio.TypeDesc(kind))
            if pixels is None:
                raise damaged_exr(path, take_error(source))
            block = np.asarray(pixels).reshape(spec.height, spec.width, len(run))
            found |= {there[index]: block[..., position] for position, index in enumerate(run)}
        window = Window(x=spec.x, y=spec.y, width=spec.width, height=spec.height)
        return found, window, str(spec.get_string_attribute("compression"))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any, list[str]]]:
    """OpenImageIO's reader, its spec and the channels' names."""
    source = open_exr(path)
    try:
        spec = source.spec()
        yield source, spec, [str(name) for name in spec.channelnames]
    except UnicodeDecodeError as error:
        raise damaged_exr(path, "its header holds broken text") from error
    finally:
        source.close()


def _runs(indices: Sequence[int], kinds: Sequence[str]) -> list[list[int]]:
    """Neighbouring positions of one type together: each run is read at once."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][-1] + 1 and kinds[index] == kinds[runs[-1][-1]]:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _channel_names(path: Path) -> list[str]:
    with _opened(path) as (_, _, names):
        return names


def newest_version(text: str) -> tuple[str, str]:
    """A path with ``{version}`` as the newest version on disk has it, and that version, such as v003.

    The newest is the one of the highest number at the first part of the path with the token, whatever it holds: a
    version that was begun and has no frames yet is an error of its own, never silently the one before.

    Raises:
        NotFound: there is no version.
    """
    parts = Path(text).parts
    place = next(index for index, part in enumerate(parts) if VERSION_TOKEN in part)
    folder = Path(*parts[:place])
    head, *tails = map(re.escape, parts[place].split(VERSION_TOKEN))
    # In a file's name the frame follows, in a folder's the rest of its name.
    end = r"(?!\d)" if place == len(parts) - 1 else "(?P=version)".join(tails) + "$"
    matcher = re.compile(f"{head}(?P<version>v(?P<number>\\d+)){end}")
    names = (entry.name for entry in os.scandir(folder)) if folder.is_dir() else ()
    found = [match for match in map(matcher.match, names) if match]
    if not found:
        wanted = folder / parts[place].replace(VERSION_TOKEN, "v001")
        raise NotFound(
            f"No version of the result {text} is on disk: looked in {folder} for names such as {wanted.name}. Merge "
            "the shot first, or check the name.",
            reason="RESULT_NOT_FOUND",
            path=text,
        )
    newest = max(found, key=lambda match: int(match["number"]))
    return text.replace(VERSION_TOKEN, newest["version"]), newest["version"]


def _pattern_of(path: Path) -> SequencePattern | None:
    """The sequence of a manifest, or of the only manifest in a folder; None for anything else."""
    if path.is_dir():
        manifests = sorted(one for one in path.glob(f"*{MANIFEST_SUFFIX}") if not one.name.startswith("."))
        if len(manifests) > 1:
            names = ", ".join(one.name.removesuffix(MANIFEST_SUFFIX) for one in manifests[:20])
            raise InvalidInput(
                f"The folder {path} holds {len(manifests)} merged sequences; name one of them: {names}.",
                reason="SEVERAL_SEQUENCES",
                path=path,
            )
        if not manifests:
            return None
        path = manifests[0]
    if not path.name.endswith(MANIFEST_SUFFIX):
        return None
    if not path.is_file():
        raise NotFound(f"There is no manifest {path}.", reason="RESULT_NOT_FOUND", path=path)
    name = path.name.removesuffix(MANIFEST_SUFFIX)
    matcher = re.compile(re.escape(name) + r"(?P<gap>[._ -]*?)(?P<number>-?\d+)\.exr")
    found = [match for one in path.parent.iterdir() if (match := matcher.fullmatch(one.name))]
    if not found:
        single = path.with_name(f"{name}.exr")
        if single.is_file():
            return SequencePattern.parse(str(single))
        raise NotFound(f"No frame of the manifest {path} is on disk.", reason="RESULT_NOT_FOUND", path=path)
    padding = min(len(match["number"]) for match in found)
    return SequencePattern(folder=path.parent, head=name + found[0]["gap"], tail=".exr", padding=padding)


def _read_facts(path: Path) -> ManifestFacts:
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError("it is too large")
        document = json.loads(path.read_text("utf-8"))
        plate = document["plate"]
        return ManifestFacts(
            model=str(document["model"]["name"]),
            plate=str(plate["name"]),
            color_space=str(plate["color_space"]),
            output_space=str(document["output_space"]),
            settings=dict(document["settings"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(
            f"The manifest {path} is damaged: {error}. Move it away to measure without it.",
            reason="MANIFEST_DAMAGED",
            path=path,
        ) from error
