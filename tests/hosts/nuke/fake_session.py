"""A daemon that never was: the part of ``dflhost``'s session that the integration calls, moved by the test's hand."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.events import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED, BytesSent, Event, FramesDone, StateChanged
from dflhost.folders import KnownFolder
from dflhost.jobs import EXTRACT, MERGE, TRAIN, JobStatus
from dflhost.knobs import ARTIST, TD, KnobSpec
from dflhost.places import Places
from dflhost.plates import Plate, frame_path
from dflhost.results import Result, read_result
from dflhost.streamed import StreamedMerge


def spec(name: str, kind: str, default: Any, *, audience: str = ARTIST, **given: Any) -> KnobSpec:
    filled = {"unit": "", "minimum": None, "maximum": None, "choices": (), "is_optional": False, "group": "", **given}
    return KnobSpec(
        name=name,
        label=name.replace("_", " ").capitalize(),
        kind=kind,
        default=default,
        help=f"What {name} does.",
        audience=audience,
        fixed_once_trained=False,
        **filled,
    )


SPECS = [
    spec("profile", "choice", "layered", choices=("layered", "flat", "patch")),
    spec("layers", "string", "swap,raw,matte,st"),
    spec("mode", "choice", "overlay", choices=("overlay", "seamless"), group="Blending"),
    spec("opacity", "float", 1.0, minimum=0.0, maximum=1.0, group="Blending"),
    spec("morph", "float", None, is_optional=True),
    spec("smooth_matte", "int", 0, unit="frames", audience=TD),
    spec("overwrite", "bool", False, audience=TD),
]

OTHER_SPECS = {
    EXTRACT: [spec("input_colorspace", "string", "auto"), spec("every", "int", 1)],
    TRAIN: [spec("target_minutes", "float", 60.0), spec("batch", "int", 4, audience=TD)],
}


class FakeJob:
    """A job that does what the test says."""

    def __init__(self, kind: str, identity: str, output: str = "", frames: tuple[int, ...] = ()) -> None:
        self.kind, self.id, self.reference = kind, identity, f"{identity}:0"
        self.output, self.frames = output, frames
        self.is_detached = False
        self.was_cancelled = False
        self._heard: list[Event] = []
        self._changed = threading.Condition()
        self._state, self._done, self._error = QUEUED, 0, None

    @property
    def status(self) -> JobStatus:
        result = {"output": self.output} if self._state == SUCCEEDED else {}
        return JobStatus(
            self.kind, self.id, self._state, self._done, len(self.frames), error=self._error, result=result
        )

    def events(self) -> list[Event]:
        with self._changed:
            heard, self._heard = self._heard, []
        return heard

    def follow(self):
        while True:
            yield from self.events()
            if self.status.is_ended:
                return

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        with self._changed:
            if not self.status.is_ended:
                self._changed.wait(timeout_s)
        return self.status

    def cancel(self) -> None:
        self.was_cancelled = True
        self.end(CANCELLED)

    def detach(self) -> None:
        self.is_detached = True

    def make_frame(self, frame: int) -> None:
        """The daemon has written a frame."""
        path = Path(frame_path(self.output, frame))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"EXR")
        self._done += 1
        self._state = RUNNING
        self._hear(FramesDone(self._done, len(self.frames), frame, str(path)))

    def end(self, state: str, error: HostError | None = None) -> None:
        self._error = error
        self._state = state
        self._hear(StateChanged(state, error))

    def finish(self) -> None:
        for frame in self.frames:
            self.make_frame(frame)
        self.end(SUCCEEDED)

    def fail(self, reason: str, message: str) -> None:
        self.end(FAILED, HostError(message, reason=reason))

    def _hear(self, event: Event) -> None:
        with self._changed:
            self._heard.append(event)
            self._changed.notify_all()


class FakeSession:
    """What was asked lies in ``submitted`` and ``requests``; ``error`` makes the next question fail."""

    def __init__(self) -> None:
        self.is_closed = False
        self.server = SimpleNamespace(version="1.0", log_path="/state/daemon.log", made_path="/there/made")
        self.settings = ConnectionSettings()
        self.specs = list(SPECS)
        self.sent: list[tuple[str, tuple[int, ...]]] = []
        self.known: dict[str, list[KnownFolder]] = {"models": [], "facesets": []}
        self.there: set[str] = set()
        self.unknown: set[str] = set()
        self.digest = "d" * 64
        self.submitted: list[dict[str, Any]] = []
        self.requests: list[Any] = []
        self.jobs_made: list[FakeJob] = []
        self.error: HostError | None = None
        self.finishes = False
        self.held: threading.Event | None = None
        self.attached: list[str] = []
        self.waiting: dict[str, FakeJob] = {}

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def describe_settings(self, kind: str, audience: str = ARTIST, operation: str = "") -> list[KnobSpec]:
        self._check()
        specs = self.specs if kind == MERGE else OTHER_SPECS[kind]
        return [one for one in specs if audience == TD or one.audience == ARTIST]

    def model(self, path: str) -> Any:
        self._check()
        if path in self.unknown:
            raise HostError("No model.", reason="MODEL_NOT_FOUND", category="NOT_FOUND")
        return SimpleNamespace(path=path, digest=self.digest)

    def faceset(self, path: str) -> Any:
        self._check()
        if path not in self.there:
            raise HostError("No faceset.", reason="FACESET_NOT_FOUND", category="NOT_FOUND")
        return SimpleNamespace(path=path)

    def models(self, limit: int = 200) -> list[KnownFolder]:
        self._check()
        return self.known["models"]

    def facesets(self, limit: int = 200) -> list[KnownFolder]:
        self._check()
        return self.known["facesets"]

    @property
    def path_map(self) -> Any:
        return self.settings.path_map

    def places(self, is_far: bool | None = None) -> Places:
        return Places(self.settings, self.send_plate, self.send_folder, is_far=is_far)

    def send_plate(self, plate: Plate, frames: Any = (), progress: Any = None, is_stopped: Any = None) -> str:
        self._send(plate.path, tuple(frames) or plate.frames.frames, progress, is_stopped)
        return "/there/inbox/plate/" + plate.path.rpartition("/")[2]

    def send_folder(self, path: str, leave_out: Any = (), progress: Any = None, is_stopped: Any = None) -> str:
        self._send(path, (), progress, is_stopped)
        return "/there/inbox/" + path.rpartition("/")[2]

    def _send(self, path: str, frames: tuple[int, ...], progress: Any, is_stopped: Any) -> None:
        self._check()
        if self.held is not None:
            self.held.wait(5.0)
        if is_stopped():
            raise HostError("Sending was stopped.", reason="SENDING_STOPPED", category="CANCELLED")
        progress(BytesSent(1_000_000, 3_000_000))
        self.sent.append((path, frames))

    def submit_streamed(self, request: Any, frames: Any, pattern: str, *, send: bool | None = None) -> StreamedMerge:
        places = self.places(send)
        return StreamedMerge(self.merge_frame, request, frames, pattern, places.inputs)

    def submit_train(self, source: str, target: str, model: str, settings: Any = None) -> FakeJob:
        self.submitted.append({"source": source, "target": target, "model": model, "settings": settings})
        return self._made(FakeJob("train", f"job{len(self.submitted)}"))

    def submit_merge(self, plate: Plate, model: str, faceset: str, output: str, settings: Any = None) -> FakeJob:
        asked = {"plate": plate, "model": model, "faceset": faceset, "output": output, "settings": settings}
        merges = [one for one in self.submitted if one.get("output") == output]
        same = [one["version"] for one in merges if {**one, "version": 0} == {**asked, "version": 0}]
        version = same[0] if same else 1 + len({one["version"] for one in merges})
        self.submitted.append({**asked, "version": version})
        filled = output.replace("{version}", f"v{version:03d}")
        return self._made(FakeJob("merge", f"job{len(self.submitted)}", filled, plate.frames.frames))

    def submit_extract(self, plate: Plate, faceset: str, settings: Any = None) -> FakeJob:
        self.submitted.append({"plate": plate, "faceset": faceset, "settings": settings})
        return self._made(FakeJob("extract", "job1", "", ()))

    def _made(self, job: FakeJob) -> FakeJob:
        self.jobs_made.append(job)
        if self.finishes:
            job.finish()
        return job

    def attach(self, reference: str) -> FakeJob:
        self.attached.append(reference)
        return self.waiting[reference]

    def result(self, output: str) -> Result:
        return read_result(output)

    def merge_frame(self, request: Any, *, deadline_s: float | None = None) -> Any:
        self._check()
        self.requests.append(request)

        def save(path: str) -> None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(b"EXR")

        return SimpleNamespace(key="abcdef0123456789", notices=(), face_count=1, save=save)

    def close(self) -> None:
        self.is_closed = True
