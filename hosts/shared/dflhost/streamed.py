"""A range made frame by frame and saved on this workstation, for a daemon that sees none of its disks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from .errors import HostError
from .events import CANCELLED, FAILED, RUNNING, SUCCEEDED, BytesSent, ConnectionChanged, FramesDone, Note, StateChanged
from .feed import Feed, JobStatus
from .frames import EXR, STREAM, FramePicture, FrameRequest
from .plates import FrameSet, frame_path
from .results import next_version

FIRST_PAUSE_S, MAX_PAUSE_S = 0.2, 5.0
RENDERER_ATTEMPTS = 2
"""How often a frame is asked for when the process that renders it dies."""


Send = Callable[[FrameRequest, FrameSet, Callable[[BytesSent], None], Callable[[], bool]], FrameRequest]


class StreamedMerge(Feed):
    """Looks to a host like a :class:`~dflhost.jobs.Job`, but lives here: closing the host ends it.

    Finished frames stay; a frame appears whole. A daemon that goes away is waited for.

    Args:
        render: makes one frame: ``session.merge_frame``.
        request: says all but the frame, the format and the road. Its settings and layers decide what is in the files.
        pattern: of the files here; ``{version}`` in it becomes a new version.
        send: sends what the daemon lacks first; answers with the request that names it over there.
    """

    kind = "merge"
    id = reference = request_id = ""

    def __init__(
        self,
        render: Callable[[FrameRequest], FramePicture],
        request: FrameRequest,
        frames: Iterable[int],
        pattern: str,
        send: Send | None = None,
    ) -> None:
        self.frames = FrameSet.of(frames)
        super().__init__(JobStatus(self.kind, "", RUNNING, total=len(self.frames)))
        self._render = render
        self._request = replace(request, road=STREAM, pixel_format=EXR, output_path="")
        self._pattern = pattern
        self._send = send
        self._is_stopped = threading.Event()
        self._is_detached = False
        self._thread = threading.Thread(target=self._run, name="dflhost-streamed", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the frame that is on its way. Returns at once."""
        with self._changed:
            if not self._status.is_ended:
                self._status = replace(self._status, is_stopping=True)
        self._is_stopped.set()

    def detach(self) -> None:
        """As :meth:`cancel`: nobody else goes on with it."""
        self._is_detached = True
        self.cancel()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            if self._send is not None:
                self._request = self._send(self._request, self.frames, self._put, self._is_stopped.is_set)
            pattern = next_version(self._pattern)
            for number, frame in enumerate(self.frames, start=1):
                if self._is_stopped.is_set():
                    break
                picture = self._ask(replace(self._request, frame=frame))
                if picture is None:
                    break
                path = frame_path(pattern, frame)
                picture.save(path)
                for notice in picture.notices:
                    self._put(Note("NOTICE", notice, "warning", {"frame": str(frame)}))
                self._put(FramesDone(number, len(self.frames), frame, path, picture.face_count))
            else:
                self._put(StateChanged(SUCCEEDED, None, {"output": pattern, "frames_written": str(len(self.frames))}))
                return
            self._put(StateChanged(CANCELLED))
        except HostError as error:
            if error.reason == "SENDING_STOPPED":
                self._put(StateChanged(CANCELLED))
            elif not self._is_detached:
                self._put(StateChanged(FAILED, error))
        except Exception as error:
            text = f"The integration met an error of its own ({type(error).__name__}: {error}); please report it."
            self._put(StateChanged(FAILED, HostError(text, reason="UNEXPECTED_ERROR")))
        finally:
            self._be_quiet()

    def _ask(self, request: FrameRequest) -> FramePicture | None:
        """One frame, through losses of the daemon and one of the renderer; None once it is to stop."""
        pause, lost = FIRST_PAUSE_S, 0
        while not self._is_stopped.is_set():
            try:
                picture = self._render(request)
            except HostError as error:
                lost += error.reason == "FRAME_WORKER_LOST"
                is_away = error.is_unreachable and error.reason != "DAEMON_TIMEOUT"
                if not is_away and (error.reason != "FRAME_WORKER_LOST" or lost >= RENDERER_ATTEMPTS):
                    raise
                if is_away and self._status.connection_error is None:
                    self._put(ConnectionChanged(False, error))
                self._is_stopped.wait(pause)
                pause = min(pause * 1.6, MAX_PAUSE_S)
            else:
                if self._status.connection_error is not None:
                    self._put(ConnectionChanged(True))
                return picture
        return None
