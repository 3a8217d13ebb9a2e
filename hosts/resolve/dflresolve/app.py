"""What the buttons do, with a window or without one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dflhost.errors import HostError
from dflhost.folders import KnownFolder
from dflhost.frames import PNG, FramePicture
from dflhost.messages import STALE, report
from dflhost.plates import frame_path
from dflhost.preferences import load_preferences, save_preferences
from dflhost.results import StaleReport
from dflhost.session import DaemonSession, connect_task

from . import VERSION, clips, marks, orders
from .desk import Desk, Run
from .host import Host, ask
from .orders import EXTRACT_SOURCE, TRAIN, SwapOrder
from .prefs import Preferences
from .rendering import rendered_plate

STILL_SIDE_PX = 1280
UNDER_PLAYHEAD = "Clip under the playhead"
ALL_UNDER_PLAYHEAD = "All clips under the playhead"
SELECTED = "Clips selected in the media pool"
SCOPES = (UNDER_PLAYHEAD, ALL_UNDER_PLAYHEAD, SELECTED)
_NEVER_SAVED = "Untitled Project"
"""Resolve's name of a project that has none; saving it by script hangs where there is no window."""
_UNSAVED = "This project was never saved: save it, since the marker that finds this job again is kept in it."


class App:
    """What the window's buttons do. Raises HostError; the window shows it.

    Args:
        connect: as :func:`dflhost.session.connect_task`.

    Attributes:
        preferences: as they stand. error: the newest, for the report.
    """

    def __init__(self, host: Host, path: str, connect: Callable[..., Any] = connect_task) -> None:
        self.host, self._path = host, path
        self.preferences = load_preferences(Preferences, path)
        self.desk = Desk(host, lambda: self.preferences.connection(), connect)
        self.error: HostError | None = None
        self._settled: Run | None = None
        self._training = self._uid = ""

    def remember(self, preferences: Preferences) -> None:
        """Take over what the fields hold."""
        if preferences != self.preferences:
            self.preferences = preferences
            save_preferences(self._path, preferences)

    def tick(self) -> None:
        """Move everything on; remember a training, and where faces and a model were made."""
        self.desk.tick()
        run = self.desk.run
        if run is None or run is self._settled:
            return
        known = self.preferences
        if run.goal == TRAIN:
            reference = run.job.reference if run.job is not None and not run.is_ended else ""
            is_lost = run.error is not None and run.error.is_unreachable
            if (run.is_ended and not is_lost) or (reference and reference.partition("@")[0] != self._training):
                self._training = reference.partition("@")[0]
                known = known.with_values(training=reference, model=run.made or known.model)
        elif run.goal == EXTRACT_SOURCE and run.is_ended and run.made and run.error is None:
            known = known.with_values(source=run.made)
        if run.is_ended:
            self._settled = run
        self.remember(known)

    def chosen(self, scope: str) -> list[clips.Clip]:
        """Clips that a button is about; those that cannot be plates end at once, each with its reason.

        Raises:
            HostError: there are none (``NO_CLIP``), or the only one cannot be a plate.
        """
        refused: clips.Refused = []
        if scope == UNDER_PLAYHEAD:
            found = clips.under_playhead(self.host)
        else:
            read = clips.selected if scope == SELECTED else clips.all_under_playhead
            found, refused = read(self.host)
        if not found and len(refused) == 1:
            raise refused[0][1]
        if not found and not refused:
            what = (
                "No clip of this timeline is selected in the media pool"
                if scope == SELECTED
                else "The playhead stands on no clip"
            )
            raise HostError(f"{what}.", reason="NO_CLIP", category="INVALID_INPUT")
        for name, error in refused:
            self.desk.refuse(name, self.preferences.choices, error)
        return found

    def extract(self, scope: str, goal: str) -> None:
        """Find the faces of clips: of the source's footage, or of what is to be swapped."""
        self._begin(scope, goal=goal)

    def train(self, scope: str) -> None:
        """Train the model on the source's faces and the clip's."""
        choices = self.preferences.choices
        choices.check(TRAIN)
        found: list[clips.Clip | None] = [None] if choices.faces else [*self.chosen(scope)]
        self.desk.add([Run(clip, choices, goal=TRAIN) for clip in found[:1]])

    def swap_range(self, scope: str) -> None:
        """Swap whole clips, or the frames that are asked for."""
        self._begin(scope)

    def update(self, scope: str) -> None:
        """Swap again what is out of date."""
        self._begin(scope, only_stale=True)

    def _begin(self, scope: str, **given: Any) -> None:
        choices = self.preferences.choices
        choices.check(given.get("goal", orders.SWAP))
        notes = [_UNSAVED] if ask(self.host.project, "GetName") == _NEVER_SAVED else []
        self.desk.add([Run(clip, choices, notes=list(notes), **given) for clip in self.chosen(scope)])

    def show_result(self, scope: str) -> None:
        """Bring the newest result of a clip into the project again; watch its job where it still runs."""
        runs = []
        found = self.chosen(scope)
        for clip in found:
            mark = marks.read_mark(clip)
            if mark is None or not (mark.output or mark.is_running):
                error = HostError(f'"{clip.name}" was not swapped yet.', reason="NO_RESULT", category="NOT_FOUND")
                if len(found) == 1:
                    raise error
                self.desk.refuse(clip.name, self.preferences.choices, error)
                continue
            goal = mark.goal if mark.is_running else orders.SWAP
            run = Run(clip, self.preferences.choices, goal=goal, rendering=mark.rendering, first=mark.first)
            run.show, run.attach = ("", mark.job) if mark.is_running else (mark.output, mark.job)
            run.made_of = mark.made_of if mark.is_running else ""
            runs.append(run)
        self.desk.add(runs)

    def attach_running(self) -> None:
        """After a start: go on watching a training, and the job of the clip under the playhead, where their ends were
        not seen yet."""
        if self.preferences.training:
            self.desk.add([Run(None, self.preferences.choices, goal=TRAIN, attach=self.preferences.training)])
            return
        try:
            found = clips.under_playhead(self.host)
        except HostError as error:
            if error.reason == "CLIP_IS_A_RESULT":
                return
            raise
        mark = marks.read_mark(found[0]) if found else None
        if mark is not None and mark.job and mark.is_running:
            self.show_result(UNDER_PLAYHEAD)

    def look_for_stale(self, then: Callable[[str], None]) -> None:
        """Whether the result of the clip under the playhead is out of date; its marker says so from then on, and
        ``then`` gets a sentence, or nothing."""
        choices = self.preferences.choices
        found = clips.under_playhead(self.host)
        mark = marks.read_mark(found[0]) if found else None
        if mark is None or mark.is_running or not mark.output or not choices.model:
            then("")
            return
        clip = found[0]
        whole = rendered_plate(clip, choices) if choices.rendering(clip) else clips.plate_of(clip, choices.color_space)
        if whole is None:
            then(f"{STALE}: the clip has changed.")
            return
        plate = choices.narrowed(clip, whole)
        order = SwapOrder(plate, choices, clip.name, made_key=marks.read_key(mark.output), made_output=mark.output)

        def done(answer: Any) -> None:
            is_stale = isinstance(answer, StaleReport) and answer.is_stale
            sentence = f"{STALE}: {answer.reason}" if is_stale else ""
            if isinstance(answer, StaleReport) and is_stale != mark.is_stale:
                with contextlib.suppress(HostError):  # the window says it too
                    marks.write_mark(clip, replace(mark, is_stale=is_stale), sentence or "Done")
            then(sentence)

        self.desk.ask(order.staleness, done)

    def has_moved(self) -> bool:
        """The playhead stands on another clip than the last time this was asked."""
        try:
            item = ask(self.host.timeline, "GetCurrentVideoItem")
            uid = str(ask(item, "GetUniqueId") or "") if item else ""
        except HostError:
            uid = ""  # another page, or no timeline
        before, self._uid = self._uid, uid
        return uid not in ("", before)

    def look_for_folders(self, then: Callable[[list[KnownFolder], list[KnownFolder]], None]) -> None:
        """Models and facesets for the menus; ``then`` gets both, empty where the daemon does not tell."""

        def done(answer: Any) -> None:
            models, facesets = ([], []) if isinstance(answer, HostError) else answer
            then(models, facesets)

        self.desk.ask(lambda session: (session.models(), session.facesets()), done, is_quiet=True)

    def swap_frame(self, then: Callable[[str, HostError | None], None]) -> None:
        """The frame under the playhead as a picture; ``then`` gets its path, or an error."""
        choices = self.preferences.choices
        choices.check()
        clip = self.chosen(UNDER_PLAYHEAD)[0]
        plate = rendered_plate(clip, choices) if choices.rendering(clip) else None
        if plate is None:
            plate = clips.plate_of(clip, choices.color_space)
        order = SwapOrder(plate, choices, clip.name)
        index = min(max(clips.playhead(self.host) - clip.start, 0), clip.duration - 1)
        frame = plate.frames.frames[index] if plate.frames.frames else 1
        path = frame_path(os.path.join(tempfile.gettempdir(), f"dfl_resolve_{os.getpid()}.######.png"), frame)

        def work(session: DaemonSession) -> FramePicture:
            more = {"pixel_format": PNG, "max_side_px": STILL_SIDE_PX, "client_key": "resolve"}
            request = order.request_there(session, frame, _nobody, _never, **more)
            picture = session.merge_frame(request)
            picture.save(path)
            return picture

        def done(answer: Any) -> None:
            is_error = isinstance(answer, HostError)
            then("" if is_error else path, answer if is_error else None)

        self.desk.ask(work, done)

    def report_text(self) -> str:
        """What *Report…* shows."""
        run = self.desk.run
        error = self.error or (run.error if run is not None else None) or self.desk.error
        chosen, session = self.preferences, self.desk.session
        return report(
            error,
            resolve=f"{self.host.product} {self.host.version_text}",
            integration=VERSION,
            daemon=session.server.version if session is not None else "",
            daemon_log=session.server.log_path if session is not None else "",
            state=self.desk.text,
            clip=run.clip.label if run is not None and run.clip is not None else "",
            notes="\n".join(run.notes) if run is not None else "",
            model=chosen.model,
            place=chosen.place,
            plates=chosen.plates,
            settings=", ".join(f"{name}={value}" for name, value in sorted(chosen.settings.items())),
        )


def _nobody(_: object) -> None:
    """A single frame is quick to be sent."""


def _never() -> bool:
    return False
