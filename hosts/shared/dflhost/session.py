"""The front of the client: a connection to the daemon, and everything a host asks of it.

::

    task = connect_task(ConnectionSettings())     # in the interface's thread
    ...                                           # in the host's timer
    if task.is_done:
        session = task.result()                   # raises HostError: show messages.explain(error)
    job = session.submit_merge(plate, model, faceset, output, {"blend_mode": "seamless"})
    for event in job.events():                    # in the host's timer, every 0.1 s
        ...
    session.close()                               # jobs go on

``submit_*`` and ``attach`` return at once. Every other method of a session waits for the daemon's answer, at most for
the deadline: the interface's thread uses ``session.task(session.describe_settings, "merge")`` instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from . import wire
from .answers import FacesetInfo, LayerInfo, MergedFrame, ModelInfo, ServerInfo, gather_merged_frames
from .calls import Caller
from .copies import Copies
from .discovery import ConnectionSettings, connection_from_environment, older_daemon, start_daemon
from .errors import HostError
from .folders import KnownFolder, folders_of_answer
from .frames import EXR, PATH, SHARED_MEMORY, STREAM, FramePicture, FrameRequest, picture_of, request_message
from .jobs import Job, JobStatus, status_of_job
from .knobs import ARTIST, KnobSpec, specs_from_answer
from .paths import PathMap, settings_to_daemon
from .places import Places
from .plates import FrameSet, Plate, frame_path
from .results import Result, read_result
from .schema import DIGEST
from .sending import Progress, Sender, Sending
from .slots import MENDED_BY_A_STREAM, can_share_memory, read_slot
from .streamed import StreamedMerge
from .tasks import Task

__all__ = ["DaemonSession", "FacesetInfo", "LayerInfo", "MergedFrame", "ModelInfo", "ServerInfo", "connect"]
Answer = TypeVar("Answer")
AnyJob = TypeVar("AnyJob", Job, StreamedMerge, Sending)
NEEDED_FEATURES = frozenset({"paths", "jobs.extract", "jobs.train", "jobs.merge", "merge_frame", "roads.stream"})
START_REASONS = frozenset({"DAEMON_NOT_RUNNING", "DAEMON_GONE", "TOKEN_NOT_FOUND", "SESSION_FILE_DAMAGED"})
"""What starting a daemon mends."""
Settings = Mapping[str, Any]
"""Names of settings → values; absent means the daemon's default. See :func:`dflhost.knobs.changed_settings`."""


def connect(settings: ConnectionSettings | None = None, environ: Mapping[str, str] = os.environ) -> DaemonSession:
    """Find the daemon, connect, and check that both speak the same protocol. Waits: see :func:`connect_task`.

    Raises:
        HostError: with ``is_unreachable`` where there is no daemon to be reached, ``DAEMON_IS_NEWER`` or
            ``DAEMON_IS_OLDER`` where it speaks another protocol.
    """
    session = DaemonSession(settings or ConnectionSettings(), environ)
    try:
        session.refresh()
    except BaseException:
        session.close()
        raise
    return session


def connect_task(
    settings: ConnectionSettings | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    start: bool = False,
) -> Task[DaemonSession]:
    """:func:`connect` in the background; ``start`` starts the daemon first where none runs."""

    def work() -> DaemonSession:
        try:
            return connect(settings, environ)
        except HostError as error:
            if not start or error.reason not in START_REASONS:
                raise
        start_daemon(settings or ConnectionSettings(), environ)
        return connect(settings, environ)

    return Task(work, name="dflhost-connect")


class DaemonSession:
    """A connection to one daemon. Any thread may use it. A context manager.

    Paths that come in and go out are the workstation's; the path map of the settings is applied to those of plates,
    folders and results, and to settings that name files.

    Attributes:
        settings: what it was connected with, with the environment's variables where the host said nothing.
        server: what the daemon said about itself when it was connected.
    """

    settings: ConnectionSettings
    server: ServerInfo

    def __init__(self, settings: ConnectionSettings, environ: Mapping[str, str]) -> None:
        self.settings = settings = settings.over(connection_from_environment(environ))
        self._caller = Caller(settings, environ)
        self._sender = Sender(self.call, settings.reconnect_s)
        self._jobs: list[Job | StreamedMerge | Sending] = []
        self._tasks: list[Task[Any]] = []
        self._knobs: dict[tuple[str, str, str], list[KnobSpec]] = {}
        self._copies = Copies(self.call)
        self._has_shared: bool | None = None
        self._is_closed = False

    def __enter__(self) -> DaemonSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection and end all threads of this session; jobs go on in the daemon.

        Quick, but for an attempt to connect that is on its way to another machine: that may take five seconds.
        """
        self._is_closed = True
        for job in self._jobs:
            job.detach()
        self._caller.close()
        for job in self._jobs:
            job.join()
        for task in self._tasks:
            if not task.is_current:
                task.join()
        self._copies.remove()

    @property
    def is_closed(self) -> bool:
        """:meth:`close` was called."""
        return self._is_closed

    @property
    def path_map(self) -> PathMap:
        """Workstation's paths ↔ the daemon's."""
        return self.settings.path_map

    def task(self, method: Callable[..., Answer], *arguments: Any, **keywords: Any) -> Task[Answer]:
        """Call a method of this session in the background: ``session.task(session.layers)``."""
        task = Task(lambda: method(*arguments, **keywords))
        self._tasks = [one for one in self._tasks if not one.is_done]
        self._tasks.append(task)
        return task

    # Long work: these return at once.

    def submit_extract(
        self, plate: Plate | str, faceset: str, settings: Settings | None = None, *, request_id: str = ""
    ) -> Job:
        """Plate → faceset folder, made where it is not there."""
        asked = _plate(plate)
        spec = {
            "plate": self._plate_spec(asked),
            "faceset_path": self._to_daemon(faceset),
            "settings": self._settings(_with_color_space(asked, settings)),
        }
        return self.submit("extract", spec, request_id=request_id)

    def submit_train(
        self,
        source: str,
        target: str,
        model: str,
        settings: Settings | None = None,
        *,
        more_sources: Sequence[str] = (),
        request_id: str = "",
    ) -> Job:
        """Faceset of the identity put on, faceset of the performer in the plate → model folder."""
        spec = {
            "source_path": self._to_daemon(source),
            "target_path": self._to_daemon(target),
            "model_path": self._to_daemon(model),
            "settings": self._settings(settings),
            "more_source_paths": [self._to_daemon(path) for path in more_sources],
        }
        return self.submit("train", spec, request_id=request_id)

    def submit_merge(
        self,
        plate: Plate | str,
        model: str,
        faceset: str,
        output: str,
        settings: Settings | None = None,
        *,
        request_id: str = "",
    ) -> Job:
        """Plate, model and the plate's faceset → EXR frames.

        Args:
            output: pattern of the frames; with ``{version}`` in it (see :func:`dflhost.results.output_pattern`) other
                settings go to a new version folder, and the same settings fill in what is missing.
        """
        asked = _plate(plate)
        spec = {
            "plate": self._plate_spec(asked),
            "model_path": self._to_daemon(model),
            "faceset_path": self._to_daemon(faceset),
            "output_path": self._to_daemon(output),
            "settings": self._settings(_with_color_space(asked, settings)),
        }
        return self.submit("merge", spec, request_id=request_id)

    def submit_curate(
        self,
        faceset: str,
        operation: str,
        settings: Settings | None = None,
        *,
        other: str = "",
        output: str = "",
        request_id: str = "",
    ) -> Job:
        """Something done to a whole faceset: ``sort``, ``import_labels`` (``other`` names the labels), ``pack``..."""
        spec = {
            "faceset_path": self._to_daemon(faceset),
            "other_path": self._to_daemon(other),
            "output_path": self._to_daemon(output),
            operation: self._settings(settings),
        }
        return self.submit("curate", spec, request_id=request_id)

    def submit_streamed(
        self, request: FrameRequest, frames: Iterable[int], pattern: str, *, send: bool | None = None
    ) -> StreamedMerge:
        """A range made frame by frame and saved here, for a daemon that sees none of this workstation's disks.

        Args:
            request: says all but the frame.
            pattern: of the files here; ``{version}`` in it becomes a new version.
            send: send plate, model and faceset first, those of them that lie here and that the path map does not name;
                None does so where the daemon is on another machine. Else they lie on the daemon's machine.
        """
        self._check_open()
        return self._keep(StreamedMerge(self.merge_frame, request, frames, pattern, self.places(send).inputs))

    def submit_plate(self, plate: Plate | str, frames: Iterable[int] = ()) -> Sending:
        """:meth:`send_plate` with events and cancel; the result has the ``path`` over there."""
        self._check_open()
        return self._keep(Sending(lambda progress, stopped: self.send_plate(plate, frames, progress, stopped)))

    def submit_folder(self, path: str, leave_out: Sequence[str] = ()) -> Sending:
        """:meth:`send_folder` with events and cancel; the result has the ``path`` over there."""
        self._check_open()
        return self._keep(Sending(lambda progress, stopped: self.send_folder(path, leave_out, progress, stopped)))

    def submit(self, kind: str, spec: Mapping[str, Any], *, request_id: str = "") -> Job:
        """Any job: ``kind`` is a field of ``JobSpec``, ``spec`` its message as a dict with the *daemon's* paths."""
        self._check_open()
        return self._keep(self._job(kind=kind, spec={kind: spec}, request_id=request_id))

    def attach(self, reference: str) -> Job:
        """A job by :attr:`Job.reference` or its id, for a scene that is opened again; events go on after the last."""
        self._check_open()
        job_id, _, sequence = reference.partition("@")
        return self._keep(self._job(job_id=job_id, after_sequence=int(sequence) if sequence.isdigit() else 0))

    # Questions: these wait for the answer.

    def refresh(self) -> ServerInfo:
        """Ask the daemon about itself again."""
        answer = self._ask("DaemonService", "GetServerInfo", {})
        check_protocol(answer)
        self.server = ServerInfo(
            version=answer["version"],
            api_minor=answer["api_minor"],
            features=frozenset(answer["features"]),
            is_same_build=answer["schema_digest"] == DIGEST,
            pid=answer["pid"],
            address=answer["address"],
            roots=tuple(answer["roots"]),
            queued=answer["queued_count"],
            running=answer["running_count"],
            log_path=answer["log_path"],
            made_path=answer["made_path"],
        )
        return self.server

    def describe_settings(self, kind: str, audience: str = ARTIST, operation: str = "") -> list[KnobSpec]:
        """Knobs of a kind of job, in the order in which to show them; kept for the life of the session.

        Args:
            operation: of ``curate``: its name.
        """
        asked = (kind, audience, operation)
        if asked not in self._knobs:
            request = {
                "kind": f"JOB_KIND_{kind.upper()}",
                "audience": f"AUDIENCE_{audience.upper()}",
                "operation": operation,
            }
            self._knobs[asked] = specs_from_answer(self._ask("DaemonService", "DescribeSettings", request))
        return list(self._knobs[asked])

    def jobs(self, states: Iterable[str] = (), limit: int = 100) -> list[JobStatus]:
        """Jobs of the daemon, newest first; of all states where none is named."""
        request = {"page_size": limit, "states": [f"JOB_STATE_{state}" for state in states]}
        answer = self._ask("JobService", "ListJobs", request)
        return [status_of_job(job, self.path_map) for job in answer["jobs"]]

    def merge_frame(self, request: FrameRequest, *, deadline_s: float | None = None) -> FramePicture:
        """One frame, now. With a client key, the pixels of a daemon on this machine come through memory.

        Raises:
            HostError: as rendering raises; ``SUPERSEDED`` when a newer request with the same client key has come;
                ``FRAME_WORKER_LOST`` when the rendering process died: asking again starts another.
        """
        deadline = self.settings.frame_deadline_s if deadline_s is None else deadline_s
        self._check_open()
        if request.road == STREAM and request.client_key and self._shares_memory:
            try:
                picture = self._merged(replace(request, road=SHARED_MEMORY), deadline)
            except HostError as error:
                if error.reason not in MENDED_BY_A_STREAM:
                    raise
                self._has_shared = self._has_shared or False
            else:
                self._has_shared = True
                return picture
        return self._merged(request, deadline)

    @property
    def _shares_memory(self) -> bool:
        """Tried where it may be, and not again where it was not the first time."""
        return self._has_shared is not False and can_share_memory(self._caller.address)

    def _merged(self, request: FrameRequest, deadline: float) -> FramePicture:
        message = request_message(request, self.path_map)
        answers = self._caller.stream("MergeService", "MergeFrame", message, deadline_s=deadline)
        try:
            header = next(answers, {}).get("header")
            if header is None:
                raise HostError("The daemon answered a frame without its header.", reason="NO_HEADER")
            if request.road == SHARED_MEMORY:
                return picture_of({**header, "path": ""}, read_slot(header), self.path_map)
            size = 0 if request.road == PATH else header["size_bytes"]
            data, place = bytearray(size), 0
            for answer in answers:
                chunk = answer.get("chunk", b"")
                data[place : place + len(chunk)] = chunk
                place += len(chunk)
        finally:
            answers.cancel()
        if place != size:
            raise HostError(f"Frame {request.frame} came with {place} of {size} bytes.", reason="FRAME_CUT_OFF")
        return picture_of(header, memoryview(data), self.path_map)

    def fetch_frames(self, request: FrameRequest, frames: Iterable[int], pattern: str) -> Result:
        """As :meth:`submit_streamed`, waiting for each frame; for scripts and for a single one."""
        done = []
        for frame in frames:
            asked = replace(request, frame=frame, road=STREAM, pixel_format=EXR, output_path="")
            self.merge_frame(asked).save(frame_path(pattern, frame))
            done.append(frame)
        return replace(read_result(pattern), frames=FrameSet.of(done))

    def send_plate(
        self,
        plate: Plate | str,
        frames: Iterable[int] = (),
        progress: Progress = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Send frames of a plate that the daemon lacks; answers with its pattern over there, for jobs and frames.

        Args:
            frames: empty takes the plate's own, then all on disk.

        Raises:
            HostError: as :meth:`dflhost.sending.Sender.send` and :func:`dflhost.sending.plate_files`.
        """
        return self._sender.send_plate(_plate(plate), frames, progress, is_stopped)

    def send_folder(
        self,
        path: str,
        leave_out: Sequence[str] = (),
        progress: Progress = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Send files of a model or faceset that the daemon lacks; answers with the folder over there.

        Args:
            leave_out: folders in it that are not sent: ``dflhost.sending.MODEL_LEAVES_OUT``.

        Raises:
            HostError: as :meth:`dflhost.sending.Sender.send` and :func:`dflhost.sending.folder_files`.
        """
        return self._sender.send_folder(path, leave_out, progress, is_stopped)

    def plate_there(
        self,
        plate: Plate,
        frames: Iterable[int] = (),
        progress: Progress = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Plate:
        """A plate the daemon can open: the same on this machine, under the path map, or where it does not lie here;
        else :meth:`send_plate` first. Raises as that."""
        return self.places().plate(plate, frames, progress, is_stopped)

    def folder_there(
        self,
        path: str,
        leave_out: Sequence[str] = (),
        progress: Progress = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """The same for a model or faceset: its folder, sent by :meth:`send_folder` where it must be. Raises as that."""
        return self.places().folder(path, leave_out, progress, is_stopped)

    def settings_there(
        self, settings: Settings, progress: Progress = None, is_stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """The same for what settings name: networks in files, facesets, a cast's models, a colour configuration.

        With a configuration (``.ocio``) go the tables that it names. Raises as :meth:`send_plate`.
        """
        return self.places().settings(settings, progress, is_stopped)

    def file_here(self, path: str) -> str:
        """A file that a job has made (a preview, a picture of a report), as this workstation can open it.

        The same on this machine and under the path map; else a copy, new with every call and gone with the session.

        Raises:
            HostError: the daemon does not give it (``FILE_NOT_FOUND``, ``NOT_FOR_CLIENTS``), or no copy can be written.
        """
        return self._copies.bring(path) if self.places().is_only_there(path) else path

    def place_for(self, kind: str, name: str) -> str:
        """The folder that a job should write a ``model`` or ``faceset`` to; show it to the artist from then on.

        An absolute path that the daemon can use stays: on this machine, under the path map, or of something the daemon
        has. Else it is a folder of the daemon's own, which is kept: the same for the same name of the same user and
        workstation, another for every other. So give the artist's whole path; of a mere word there is one place only.

        Raises:
            HostError: no such kind, no name, or the daemon has no such folder (``DAEMON_IS_OLDER``).
        """
        return self.places().for_made(kind, name, self.server.made_path, lambda path: self._has(kind, path))

    def models(self, limit: int = 200) -> list[KnownFolder]:
        """Models that the daemon has or has had jobs for, last changed first, for a menu."""
        return self._folders("MODEL", limit)

    def facesets(self, limit: int = 200) -> list[KnownFolder]:
        """The same for facesets."""
        return self._folders("FACESET", limit)

    def merged_frames(self, output: str) -> list[MergedFrame]:
        """Frames of an output (version filled in) that are on the daemon's disk, with their keys."""
        ask = partial(self._ask, "MergeService", "GetMergeOutput", attempts=2)
        return gather_merged_frames(ask, self._to_daemon(output), self.path_map.to_workstation)

    def result(self, output: str) -> Result:
        """The result behind an output pattern (version filled in): the daemon's list of frames, and the manifest where
        this workstation sees it."""
        frames = FrameSet.of(one.frame for one in self.merged_frames(output))
        return replace(read_result(output), frames=frames)

    def layers(self) -> list[LayerInfo]:
        """Layers that a merge can be asked for, the beauty first."""
        answer = self._ask("MergeService", "ListLayers", {}, attempts=2)
        return [LayerInfo(one["name"], one["channels"], one["pixel_type"], one["help"]) for one in answer["layers"]]

    def model(self, path: str) -> ModelInfo:
        """What a model folder says about itself."""
        answer = self._ask("ModelService", "GetModel", {"path": self._to_daemon(path)}, attempts=2)
        found = answer.get("model") or wire.new("dflproto.v1.Model")
        return ModelInfo(
            path=path,
            name=_name(path),
            preset=found["preset"],
            kind=found["kind"],
            resolution_px=found["resolution_px"],
            face_type=found["face_type"],
            iteration=found["iteration"],
            digest=found["digest"],
            person=(found.get("authorization") or {}).get("person", ""),
        )

    def faceset(self, path: str) -> FacesetInfo:
        """What a faceset says about itself."""
        answer = self._ask("FacesetService", "GetFaceset", {"path": self._to_daemon(path)}, attempts=2)
        found = answer.get("faceset") or wire.new("dflproto.v1.Faceset")
        return FacesetInfo(
            path=path,
            name=_name(path),
            face_count=found["face_count"],
            face_type=found["face_type"],
            aligned_size_px=found["aligned_size_px"],
            plates=tuple(self.path_map.to_workstation(plate) for plate in found["plates"]),
            person=(found.get("authorization") or {}).get("person", ""),
        )

    def presets(self) -> dict[str, str]:
        """Network presets a new model can be made from: name → one sentence."""
        answer = self._ask("ModelService", "ListPresets", {}, attempts=2)
        return {preset["name"]: preset["help"] for preset in answer["presets"]}

    def call(self, service: str, method: str, request: Mapping[str, Any], deadline_s: float | None = None) -> Any:
        """Any unary call, as dicts: ``session.call("FacesetService", "ListTracks", {"path": ...})``. Daemon's paths."""
        return self._ask(service, method, request, deadline_s=deadline_s)

    def _ask(
        self,
        service: str,
        method: str,
        request: Mapping[str, Any],
        *,
        deadline_s: float | None = None,
        attempts: int = 1,
    ) -> dict[str, Any]:
        self._check_open()
        deadline = self.settings.call_deadline_s if deadline_s is None else deadline_s
        return self._caller.call(service, method, request, deadline_s=deadline, attempts=attempts)

    def _folders(self, kind: str, limit: int) -> list[KnownFolder]:
        request = {"kind": f"FOLDER_KIND_{kind}", "max_count": limit}
        return folders_of_answer(self._ask("StorageService", "ListFolders", request, attempts=2), self.path_map)

    def places(self, is_far: bool | None = None) -> Places:
        """What the daemon can open; ``is_far`` says that it sees none of these disks, whatever its address says."""
        return Places(self.settings, self.send_plate, self.send_folder, is_far, self._sender.send_config)

    def _has(self, kind: str, path: str) -> bool:
        try:
            self.model(path) if kind == "model" else self.faceset(path)
        except HostError as error:
            if error.category not in ("NOT_FOUND", "INVALID_INPUT") or error.is_unreachable:
                raise
            return False
        return True

    def _check_open(self) -> None:
        if self._is_closed:
            raise HostError("The session is closed.", reason="SESSION_CLOSED", category="CONFLICT")

    def _job(self, **arguments: Any) -> Job:
        settings = self.settings
        limits: dict[str, Any] = {"reconnect_s": settings.reconnect_s, "deadline_s": settings.call_deadline_s}
        bring = self.file_here if settings.is_remote else None
        return Job(self._caller, self.path_map, bring=bring, **limits, **arguments)

    def _keep(self, job: AnyJob) -> AnyJob:
        self._jobs.append(job)
        return job

    def _to_daemon(self, path: str) -> str:
        return self.path_map.to_daemon(path)

    def _plate_spec(self, plate: Plate) -> dict[str, str]:
        return {"path": self._to_daemon(plate.path), "frames": str(plate.frames)}

    def _settings(self, settings: Settings | None) -> dict[str, Any]:
        return settings_to_daemon(settings or {}, self.path_map)


def check_protocol(answer: Mapping[str, Any]) -> None:
    """Whether this client can work with a daemon that answered ``GetServerInfo`` so.

    Inside v1 messages only grow, so a daemon of another build is fine as long as it has what hosts need.

    Raises:
        HostError: it has not (``DAEMON_IS_OLDER``).
    """
    missing = NEEDED_FEATURES - set(answer["features"])
    if missing:
        raise older_daemon(f"version {answer['version']} lacks {', '.join(sorted(missing))}")


def _plate(plate: Plate | str) -> Plate:
    return Plate(plate) if isinstance(plate, str) else plate


def _with_color_space(plate: Plate, settings: Settings | None) -> dict[str, Any]:
    """The plate's colour space is a setting of the job; one that is given there wins."""
    known = {"input_colorspace": plate.color_space} if plate.color_space else {}
    return {**known, **(settings or {})}


def _name(path: str) -> str:
    """Last part of a path of either system."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
