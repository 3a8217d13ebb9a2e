"""Watching a node's jobs: a thread waits for what happens, and Nuke's main thread is told now and then."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Union

import nuke

from dflhost import words
from dflhost.errors import HostError
from dflhost.events import FAILED, SUCCEEDED, Event, FramesDone
from dflhost.jobs import Job
from dflhost.plates import FrameSet, frames_on_disk, sequence_pattern
from dflhost.streamed import StreamedMerge

from . import results
from .host import has_window, is_alive, not_undoable
from .plates import PlateSource

AnyJob = Union[Job, StreamedMerge]
TOLD_EVERY_S = 0.5
SHOWN_EVERY_S = 1.0
"""A Read that is reloaded more often keeps the viewer busy."""
_watches: list[JobWatch] = []


def running(node: Any) -> JobWatch | None:
    """What the node is waiting for."""
    return next((watch for watch in _watches if is_alive(watch.node) and watch.node == node), None)


def is_anything_running() -> bool:
    """Some node waits for a job."""
    return bool(_watches)


def forget() -> None:
    """The connection was closed: nobody tells of jobs any more, which go on. Any thread."""
    for watch in _watches:
        watch.is_ended = True
    _watches.clear()


class JobWatch:
    """The jobs of one press, one per view.

    Args:
        node: to be told. jobs: by view. source: of the plate, for how frames are shown.
        ended: called in the main thread once all have succeeded, with what each says about itself; it says so on the
            node.
    """

    def __init__(
        self,
        node: Any,
        jobs: Mapping[str, AnyJob],
        source: PlateSource | None,
        ended: Callable[[Mapping[str, Mapping[str, str]]], None],
    ) -> None:
        self.node = node
        self.jobs = dict(jobs)
        self.is_ended = False
        self._source = source
        self._when_ended = ended
        self._frames: dict[str, set[int]] = {view: set() for view in jobs}
        self._patterns: dict[str, str] = {}
        self._looked: set[str] = set()
        self._shown_at = 0.0

    def start(self) -> None:
        """Watch beside Nuke; in a terminal, until the end."""
        _watches.append(self)
        if has_window():
            threading.Thread(target=self._run, name="dflnuke-watch", daemon=True).start()
            return
        for view, job in self.jobs.items():
            for event in job.follow():
                self._tell([(view, event)], {})
        self._tell([], {})

    def cancel(self) -> None:
        """Ask all jobs to stop; what is finished stays."""
        for job in self.jobs.values():
            job.cancel()

    def _run(self) -> None:
        bar = nuke.ProgressTask(words.MENU)
        first: AnyJob = next(iter(self.jobs.values()))
        told: tuple[str, ...] = ()
        while not self.is_ended:
            asked_at = time.monotonic()
            is_last = all(job.status.is_ended for job in self.jobs.values())
            heard = [(view, event) for view, job in self.jobs.items() for event in job.events()]
            state = (self.text, *(job.reference for job in self.jobs.values()))
            if heard or is_last or state != told:
                nuke.executeInMainThread(self._tell, (heard, self._there(heard)))
                told = state
            if is_last:
                return
            bar.setMessage(self.text)
            bar.setProgress(int(100 * self._fraction))
            if bar.isCancelled():
                self.cancel()
            busy = next((job for job in self.jobs.values() if not job.status.is_ended), first)
            if not busy.wait(TOLD_EVERY_S).is_ended and time.monotonic() - asked_at < TOLD_EVERY_S:
                time.sleep(TOLD_EVERY_S)  # nobody tells of it any more

    def _there(self, heard: list[tuple[str, Event]]) -> dict[str, FrameSet]:
        """Frames that a version had before, once its first new frame tells which it is: asks the disk."""
        found: dict[str, FrameSet] = {}
        for view, event in heard:
            if isinstance(event, FramesDone) and event.path and view not in self._looked:
                self._looked.add(view)
                found[view] = frames_on_disk(sequence_pattern(event.path))
        return found

    @property
    def text(self) -> str:
        """One line for all views."""
        states = [job.status for job in self.jobs.values()]
        busy = [state for state in states if not state.is_ended] or states
        if len(states) == 1 or not any(state.total for state in states):
            return busy[0].text
        done, total = sum(state.done for state in states), sum(state.total for state in states)
        if all(state.is_ended for state in states):
            return busy[0].text
        return f"{busy[0].text.split(' ')[0]} {done}/{total}"

    @property
    def _fraction(self) -> float:
        states = [job.status for job in self.jobs.values()]
        return sum(state.fraction for state in states) / max(1, len(states))

    def _tell(self, heard: list[tuple[str, Event]], there: Mapping[str, FrameSet]) -> None:
        """In the main thread: the state line, finished frames, and the end."""
        if self.is_ended:
            return
        if not is_alive(self.node):
            self._leave()
            return
        for view, frames in there.items():
            self._frames[view].update(frames)
        for view, event in heard:
            if isinstance(event, FramesDone) and event.frame is not None and event.path:
                self._frames[view].add(event.frame)
                self._patterns[view] = sequence_pattern(event.path)
        self._remember()
        if all(job.status.is_ended for job in self.jobs.values()):
            self._end()
            return
        results.show_state(self.node, self.text)
        if time.monotonic() - self._shown_at > SHOWN_EVERY_S:
            self._shown_at = time.monotonic()
            self._show()

    def _show(self) -> None:
        if set(self._patterns) != set(self.jobs):
            return
        common = set.intersection(*self._frames.values())
        try:
            pattern = results.one_pattern(self._patterns)
        except HostError:
            return  # told at the end
        results.show_frames(self.node, pattern, FrameSet.of(common), self._source, is_complete=False)

    def _remember(self) -> None:
        """Store the jobs in the scene, so that another session of Nuke finds them."""
        references = {view: job.reference for view, job in self.jobs.items() if job.reference}
        text = json.dumps(references) if references else ""
        if self.node["jobs"].value() != text:
            with not_undoable():
                self.node["jobs"].setValue(text)

    def _leave(self) -> None:
        self.is_ended = True
        for job in self.jobs.values():
            job.detach()
        _watches[:] = [watch for watch in _watches if watch is not self]

    def _end(self) -> None:
        self._leave()
        with not_undoable():
            self.node["jobs"].setValue("")
        failed = [job.status for job in self.jobs.values() if job.status.state == FAILED]
        if failed:
            error = failed[0].error or HostError("The job failed.", reason="JOB_FAILED")
            results.show_error(self.node, error)
        elif all(job.status.state == SUCCEEDED for job in self.jobs.values()):
            self._when_ended({view: job.status.result for view, job in self.jobs.items()})
        else:
            results.show_state(self.node, self.text)
