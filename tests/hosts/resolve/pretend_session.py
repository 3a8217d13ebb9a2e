"""A session that answers at once and writes small files where a merge would write frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dflhost.errors import HostError
from dflhost.events import CANCELLED, FAILED, RUNNING, SUCCEEDED, FramesDone, StateChanged
from dflhost.folders import KnownFolder
from dflhost.paths import PathMap
from dflhost.plates import Plate, frame_path
from dflhost.results import Result, read_result
from dflhost.tasks import Task


@dataclass
class FakeJob:
    """Runs one step each time it is asked for events."""

    kind: str
    reference: str
    script: list[Any]
    is_cancelled: bool = False
    status: Any = field(
        default_factory=lambda: SimpleNamespace(text="Queued", done=0, total=0, error=None, connection_error=None)
    )

    def events(self) -> list[Any]:
        if self.is_cancelled:
            self.script = [StateChanged(CANCELLED)]
            self.is_cancelled = False
        if not self.script:
            return []
        event = self.script.pop(0)
        if isinstance(event, FramesDone):
            self.status.done, self.status.total = event.done, event.total
            self.status.text = f"Merging {event.done}/{event.total}"
        return [event]

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeSession:
    """What the integration asks of a session, and nothing else.

    Attributes:
        has_faces: the faceset is there. digest: of the model. error: what merging fails with. submitted: orders.
    """

    def __init__(self) -> None:
        self.server = SimpleNamespace(version="1.0", address="unix:/run/dfl", log_path="/log")
        self.settings, self.path_map = SimpleNamespace(is_remote=False), PathMap()
        self.known: dict[str, list[str]] = {"models": ["/models/anna"], "facesets": ["/faces/anna", "/faces/ben"]}
        self.has_faces, self.digest, self.version = True, "d1", 0
        self.error: HostError | None = None
        self.submitted: list[tuple[Any, ...]] = []
        self.is_closed = False
        self.jobs: list[FakeJob] = []
        self.requests: list[Any] = []

    def connect(self, settings: Any, *, start: bool = False) -> Task[Any]:
        return Task(lambda: self)

    def task(self, method: Callable[..., Any], *arguments: Any) -> Task[Any]:
        return Task(lambda: method(*arguments))

    def close(self) -> None:
        self.is_closed = True

    def model(self, path: str) -> Any:
        return SimpleNamespace(digest=self.digest)

    def faceset(self, path: str) -> Any:
        if not self.has_faces:
            raise HostError("There is none.", reason="FACESET_NOT_FOUND", category="NOT_FOUND", details={"path": path})
        return SimpleNamespace(face_count=3)

    def models(self) -> list[KnownFolder]:
        return self._folders("models")

    def facesets(self) -> list[KnownFolder]:
        return self._folders("facesets")

    def _folders(self, kind: str) -> list[KnownFolder]:
        return [KnownFolder(path, Path(path).name, 0, False) for path in self.known[kind]]

    def place_for(self, kind: str, name: str) -> str:
        is_here = not self.settings.is_remote or name.startswith("/there/")
        return name if is_here else f"/there/{kind}s/{Path(name).name}"

    def plate_there(self, plate: Plate, frames: Any = (), progress: Any = None, is_stopped: Any = None) -> Plate:
        if not self.settings.is_remote:
            return plate
        self.submitted.append(("plate", plate, tuple(frames)))
        return replace(plate, path=f"/there/inbox/{Path(plate.path).name}")

    def folder_there(self, path: str, leave_out: Any = (), progress: Any = None, is_stopped: Any = None) -> str:
        return f"/there/inbox/{Path(path).name}" if self.settings.is_remote and Path(path).is_dir() else path

    def settings_there(self, settings: Any, progress: Any = None, is_stopped: Any = None) -> dict[str, Any]:
        return dict(settings)

    def submit_train(self, source: str, target: str, model: str, settings: Any = None) -> FakeJob:
        self.submitted.append(("train", source, target, model, settings))
        return self._job("train", [StateChanged(RUNNING), StateChanged(RUNNING), StateChanged(SUCCEEDED)])

    def submit_extract(self, plate: Plate, faceset: str, settings: Any = None) -> FakeJob:
        self.submitted.append(("extract", plate, faceset))
        if self.error is not None:
            return self._job("extract", [StateChanged(FAILED, error=self.error)])
        self.has_faces = True
        return self._job("extract", [StateChanged(SUCCEEDED, result={"path": faceset})])

    def submit_merge(self, plate: Plate, model: str, faceset: str, output: str, settings: Any) -> FakeJob:
        self.submitted.append(("merge", plate, model, faceset, output, settings))
        if self.error is not None:
            return self._job("merge", [StateChanged(RUNNING), StateChanged(FAILED, error=self.error)])
        self.version += 1
        pattern = output.replace("{version}", f"v{self.version:03d}")
        names = [
            "",
            *("_patch" for _ in [1] if settings["profile"] == "flat"),
            *(f"_{layer}" for layer in settings["layers"].split(",")),
        ]
        for name in names:
            for frame in plate.frames:
                path = Path(frame_path(pattern.replace("_swap.#", f"_swap{name}.#"), frame))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"exr")
        count = len(plate.frames)
        done = [FramesDone(count // 2, count), FramesDone(count, count)]
        return self._job("merge", [StateChanged(RUNNING), *done, StateChanged(SUCCEEDED, result={"output": pattern})])

    def submit_streamed(self, request: Any, frames: Any, pattern: str) -> FakeJob:
        self.submitted.append(("streamed", request, tuple(frames), pattern))
        there = pattern
        for frame in frames:
            path = Path(frame_path(there, frame))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"exr")
        job = self._job("merge", [StateChanged(RUNNING), StateChanged(SUCCEEDED, result={"output": there})])
        job.reference = ""  # it lives here: nobody can find it again
        return job

    def attach(self, reference: str) -> FakeJob:
        return next(job for job in self.jobs if job.reference == reference)

    def result(self, output: str) -> Result:
        found = read_result(output)
        return Result(found.pattern, found.frames, found.version, found.siblings, "ACEScg")

    def describe_settings(self, kind: str) -> list[Any]:
        from dflhost.knobs import KnobSpec

        def knob(name: str, kind: str, default: Any, choices: tuple[str, ...] = ()) -> KnobSpec:
            limits = (0.0, 10.0) if kind in ("int", "float") else (None, None)
            return KnobSpec(
                name, name.title(), kind, default, "Help.", "", "artist", *limits, choices, False, False, ""
            )

        return [
            knob("blend", "choice", "overlay", ("overlay", "seamless")),
            knob("erode", "int", 2),
            knob("power", "float", 1.5),
            knob("sharp", "bool", False),
            knob("profile", "choice", "layered", ("layered", "flat")),
        ]

    def merge_frame(self, request: Any) -> Any:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(save=lambda path: Path(path).write_bytes(b"png"))

    def _job(self, kind: str, script: list[Any]) -> FakeJob:
        job = FakeJob(kind, f"job{len(self.jobs) + 1}:0", script)
        self.jobs.append(job)
        return job
