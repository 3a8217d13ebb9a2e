"""What an artist asks for, in plain values, as steps that wait for the daemon in a thread."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dflhost.errors import HostError
from dflhost.events import BytesSent
from dflhost.frames import FrameRequest
from dflhost.jobs import Job
from dflhost.plates import MOVIE_SUFFIXES, FrameSet, Plate
from dflhost.results import FLAT, Result, ResultKey, StaleReport, output_pattern, read_result
from dflhost.sending import MODEL_LEAVES_OUT
from dflhost.session import DaemonSession
from dflhost.streamed import StreamedMerge

from . import exr_parts, versions
from .clips import Clip, plate_of, stem_of
from .comp_text import MATTE_SIBLING
from .place import TAKE

HANDLED = frozenset({"profile", "input_colorspace", "missing_frames", "overwrite"})
"""Settings that this integration decides itself."""
SWAP, EXTRACT_SOURCE, EXTRACT_TARGET, TRAIN = "swap", "extract_source", "extract_target", "train"
"""What a run is for."""
OWN_FILES, QUEUE, SAVER = "Own files where they can be", "Render queue", "Fusion Saver"
PLATES = (OWN_FILES, QUEUE, SAVER)
"""Where plates come from, the default first; clips whose files are not what is seen go through the queue then."""
PLATE_TIPS = {
    OWN_FILES: "The clip's files as they are; where they are not what is seen, the render queue",
    QUEUE: "Rendered by the Deliver page: with the clip's grade and transforms",
    SAVER: "Rendered by a Saver: the clip as Fusion gets it, without grade and transforms",
}
_NOT_VIDEO = re.compile(r"log|st ?2084|hlg|linear|aces|rec\.?2020|\bp3\b|wide|gamut|film|ipp2|raw", re.IGNORECASE)
"""Resolve's names of spaces for which sRGB is certainly wrong."""
Progress = Callable[[BytesSent], None]
IsStopped = Callable[[], bool]


@dataclass(frozen=True)
class Choices:
    """What the window's fields hold.

    Attributes:
        model: folder of a model. source: faceset of the person whose face is put on, for training.
        faces: faceset of the clip; empty keeps one per clip in ``folder``.
        folder: for plates, facesets and results. place: one of :data:`dflresolve.place.PLACES`.
        frames: of the clip, as its files are numbered, or from 1 where it is rendered; empty is the whole clip.
        plates: one of :data:`PLATES`.
        color_space: of the plate as OpenColorIO names it; empty leaves it to the daemon, for files that say it.
        settings, extract_settings, train_settings: by name; absent means the daemon's default.
    """

    model: str = ""
    source: str = ""
    faces: str = ""
    folder: str = ""
    frames: str = ""
    place: str = TAKE
    plates: str = OWN_FILES
    color_space: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    extract_settings: Mapping[str, Any] = field(default_factory=dict)
    train_settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, goal: str = SWAP) -> None:
        """Raises HostError where something must be chosen first (``FIELD_EMPTY``)."""
        needed = {
            SWAP: ((self.model, "a model"), (self.folder, "a folder for the results")),
            EXTRACT_SOURCE: ((self.source or self.folder, "a folder for the faces"),),
            EXTRACT_TARGET: ((self.faces or self.folder, "a folder for the faces"),),
            TRAIN: (
                (self.source, "the source faces, or extract them,"),
                (self.folder or (self.model and self.faces), "a folder for the model"),
            ),
        }
        for value, what in needed[goal]:
            if not value.strip():
                raise HostError(f"Choose {what} first.", reason="FIELD_EMPTY", category="INVALID_INPUT")

    def rendering(self, clip: Clip) -> str:
        """:data:`QUEUE` or :data:`SAVER` where Resolve has to render the plate; else empty."""
        if self.plates == OWN_FILES:
            return "" if clip.is_direct else QUEUE
        return self.plates

    def check_clip(self, clip: Clip) -> None:
        """Raises HostError where nobody knows what the numbers of the pictures mean (``COLOR_SPACE_UNKNOWN``), or
        frames are asked for that the clip does not show (``FRAMES_OUTSIDE_CLIP``)."""
        if self.rendering(clip) and not self.folder.strip():
            raise HostError("Choose a folder for the plates first.", reason="FIELD_EMPTY", category="INVALID_INPUT")
        if self.rendering(clip) and not self.color_space.strip():
            why = f" ({', '.join(clip.changes)})" if clip.changes else ""
            raise HostError(
                f'"{clip.name}" must be rendered{why}, and EXR files of DaVinci Resolve do not say their color space: '
                "write the timeline's output color space into the field Color space, for example ACEScg.",
                reason="COLOR_SPACE_UNKNOWN",
                category="INVALID_INPUT",
            )
        if self._is_guessed(clip) and _NOT_VIDEO.search(clip.color_space):
            raise HostError(
                f'DaVinci Resolve takes the movie "{clip.name}" as {clip.color_space}, and the daemon cannot see that: '
                "write OpenColorIO's name of it into the field Color space.",
                reason="COLOR_SPACE_UNKNOWN",
                category="INVALID_INPUT",
            )
        self.narrowed(clip, plate_of(clip) if not self.rendering(clip) else Plate(""))

    def color_note(self, clip: Clip) -> str:
        """What the daemon will take for granted about a movie's colours; empty where nothing."""
        if not self._is_guessed(clip):
            return ""
        return (
            "The movie is taken as sRGB-encoded Rec.709 (srgb_tx); where it is something else, write OpenColorIO's "
            "name of it into the field Color space."
        )

    def narrowed(self, clip: Clip, whole: Plate) -> Plate:
        """The frames asked for, of the clip's plate.

        Args:
            whole: all of the clip; without frames for one that is still to be rendered.

        Raises:
            HostError: ``FRAMES_OUTSIDE_CLIP``, or the text cannot be read (``BAD_FRAME_RANGE``).
        """
        asked = FrameSet.parse(self.frames)
        if not asked.frames or (not whole.frames.frames and whole.path):
            return whole
        is_direct = not self.rendering(clip) and bool(whole.frames.frames)
        first = whole.frames.frames[0] if is_direct else 1
        shown = FrameSet.span(first, first + clip.duration - 1)
        outside = asked - shown
        if outside.frames:
            raise HostError(
                f'Frames {outside} lie outside "{clip.name}", which shows {shown}.',
                reason="FRAMES_OUTSIDE_CLIP",
                category="INVALID_INPUT",
                details={"field": "frames"},
            )
        numbers = whole.frames.frames
        return replace(whole, frames=FrameSet.of(numbers[one - first] for one in asked)) if numbers else whole

    def _is_guessed(self, clip: Clip) -> bool:
        suffix = os.path.splitext(clip.path)[1].lower()
        return suffix in MOVIE_SUFFIXES and not self.rendering(clip) and not self.color_space.strip()


def is_far(session: DaemonSession, folder: str) -> bool:
    """The daemon sees none of this computer's disks: finished frames come over the connection."""
    return session.settings.is_remote and session.path_map.to_daemon(folder) == folder


@dataclass(frozen=True)
class FacesOrder:
    """An extraction: a clip's plate, and the faceset that is asked for."""

    plate: Plate
    choices: Choices
    clip_name: str
    goal: str = EXTRACT_TARGET

    @property
    def faces(self) -> str:
        """Faceset as the artist names it."""
        named = (self.choices.source if self.goal == EXTRACT_SOURCE else self.choices.faces).strip()
        return named or os.path.join(self.choices.folder, f"{stem_of(self.clip_name)}_faces")

    def submit(self, session: DaemonSession, progress: Progress, is_stopped: IsStopped) -> tuple[Job, str]:
        """The job, and the faceset as the daemon's machine has it. Waits."""
        faces = session.place_for("faceset", self.faces)
        there = session.plate_there(self.plate, self.plate.frames, progress, is_stopped)
        settings = session.settings_there(self.choices.extract_settings, progress, is_stopped)
        return session.submit_extract(there, faces, settings), faces


@dataclass(frozen=True)
class TrainOrder:
    """A training."""

    choices: Choices
    clip_name: str

    @property
    def model(self) -> str:
        """Folder as the artist names it."""
        return self.choices.model.strip() or os.path.join(self.choices.folder, "model")

    def submit(self, session: DaemonSession, progress: Progress, is_stopped: IsStopped) -> tuple[Job, str]:
        """The job, and the model's folder as the daemon's machine has it. Waits.

        A model that lies only here goes on over there as a copy; this one stays as it is.
        """
        model = session.place_for("model", self.model)
        if model != self.model and os.path.isdir(self.model) and os.listdir(self.model):
            model = session.folder_there(self.model, MODEL_LEAVES_OUT, progress, is_stopped)
        faces = FacesOrder(Plate(""), self.choices, self.clip_name).faces
        target = faces if os.path.isdir(faces) else session.place_for("faceset", faces)
        folders = (session.folder_there(one, (), progress, is_stopped) for one in (self.choices.source, target))
        source, target = folders
        settings = session.settings_there(self.choices.train_settings, progress, is_stopped)
        return session.submit_train(source, target, model, settings), model


@dataclass(frozen=True)
class SwapOrder:
    """A merge of a clip."""

    plate: Plate
    choices: Choices
    clip_name: str
    only_stale: bool = False
    made_key: str = ""
    made_output: str = ""

    @property
    def faces(self) -> str:
        """Faceset of this plate, as the artist names it."""
        return FacesOrder(self.plate, self.choices, self.clip_name).faces

    @property
    def output(self) -> str:
        """Pattern with ``{version}``."""
        return output_pattern(self.choices.folder, stem_of(self.clip_name))

    @property
    def settings(self) -> dict[str, Any]:
        """Flat files, as Resolve and Fusion read no layers, with the matte beside the beauty."""
        settings = {name: value for name, value in self.choices.settings.items() if name not in HANDLED}
        asked = f"{settings.get('layers') or ''},{MATTE_SIBLING}".split(",")
        settings["layers"] = ",".join(dict.fromkeys(name.strip() for name in asked if name.strip()))
        settings["profile"] = FLAT
        return settings

    def streams_layers(self, session: DaemonSession) -> bool:
        """Frames come over the network with face and matte, for a place that needs these."""
        return is_far(session, self.choices.folder) and self.choices.place != TAKE

    def faces_there(self, session: DaemonSession) -> str:
        """Faceset that this computer or the daemon has, or that the daemon would make. Waits."""
        return self.faces if os.path.isdir(self.faces) else session.place_for("faceset", self.faces)

    def frame_request(self, session: DaemonSession, frame: int, **given: Any) -> FrameRequest:
        """One frame of the beauty. Waits."""
        settings = {name: value for name, value in self.settings.items() if name not in ("layers", "profile")}
        if self.plate.color_space:
            settings["input_colorspace"] = self.plate.color_space
        faces = self.faces_there(session)
        return FrameRequest(self.plate.path, frame, self.choices.model, faces, settings, **given)

    def request_there(
        self, session: DaemonSession, frame: int, progress: Progress, is_stopped: IsStopped, **given: Any
    ) -> FrameRequest:
        """The same, of what was sent where it had to be: this one frame, the model and the faces. Waits."""
        asked = self.frame_request(session, frame, **given)
        frames = (frame,) if self.plate.frames.frames else ()
        model = session.folder_there(asked.model_path, MODEL_LEAVES_OUT, progress, is_stopped)
        faces = session.folder_there(asked.faceset_path, (), progress, is_stopped)
        plate = session.plate_there(self.plate, frames, progress, is_stopped)
        settings = session.settings_there(asked.settings, progress, is_stopped)
        return replace(asked, plate_path=plate.path, model_path=model, faceset_path=faces, settings=settings)

    def key(self, session: DaemonSession) -> ResultKey:
        """What the result would be made from now. Waits."""
        model = self.choices.model
        if is_far(session, model) and os.path.isdir(model):
            digest = versions.folder_digest(model)
        else:
            digest = session.model(model).digest
        more = {"streamed": exr_parts.LAYERS} if self.streams_layers(session) else {}
        return ResultKey.of(self.plate, digest, {**self.settings, **more}, session.server.version)

    def staleness(self, session: DaemonSession) -> StaleReport | None:
        """What has changed since; None where nothing is known. Waits."""
        made = ResultKey.from_text(self.made_key)
        if made is None or not self.made_output:
            return None
        return made.compare(self.key(session), self.result(session, self.made_output).frames)

    def result(self, session: DaemonSession, output: str) -> Result:
        """What a merge has written. Waits."""
        return read_result(output) if is_far(session, self.choices.folder) else session.result(output)

    def find_faces(self, session: DaemonSession, progress: Progress, is_stopped: IsStopped) -> Job | None:
        """Extract them where they lack. Waits."""
        faces = self.faces_there(session)
        if is_far(session, faces) and os.path.isdir(faces):
            return None  # sent with the plate
        try:
            session.faceset(faces)
        except HostError as error:
            if error.category != "NOT_FOUND":
                raise
            return FacesOrder(self.plate, self.choices, self.clip_name).submit(session, progress, is_stopped)[0]
        return None

    def merge(self, session: DaemonSession) -> tuple[ResultKey, Job | StreamedMerge, str]:
        """What it is made from, the job, and where its frames come to where that is known already. Waits."""
        key = self.key(session)
        if is_far(session, self.choices.folder):
            pattern, frames = versions.begin(self.output, self.made_output, self.staleness(session), self.plate)
            versions.write_key(pattern, key)
            request = self.frame_request(session, self.plate.frames.frames[0] if self.plate.frames.frames else 1)
            if self.streams_layers(session):
                settings = {**request.settings, "compression": "none"}
                request = replace(request, settings=settings, layers=exr_parts.LAYERS)
            return key, session.submit_streamed(request, frames, pattern), pattern
        model, faces = self.choices.model, self.faces
        return key, session.submit_merge(self.plate, model, faces, self.output, self.settings), ""


def plates_name(clip: Clip, version_name: str, rendering: str = QUEUE) -> str:
    """Folder name of a clip's rendered plates; changes with its source, its range, and the name of its grade.

    What is changed inside a grade without a new version of it is not told to scripts.
    """
    look = rendering if rendering == SAVER else version_name
    facts = "\0".join((clip.path or clip.uid, str(clip.left_offset), str(clip.duration), look))
    return f"{stem_of(clip.name)}_{hashlib.sha256(facts.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
