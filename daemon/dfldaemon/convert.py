"""Wire ↔ values of the core and of the daemon; the only module that knows both sides."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from dflcore.config.base import Audience, Settings
from dflcore.config.describe import KnobDescription, describe_settings
from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.progress import FrameProgress, Notice, Preview, Saved, TrainProgress
from dflcore.types import Authorization, FaceRecord, FacesetInfo
from dfldaemon.errors import report_to_message
from dfldaemon.jobs import EventBody, Job, JobEvent, JobKind, JobState, StateChange, Work
from dflproto.v1 import common_pb2, daemon_service_pb2, faceset_service_pb2, job_service_pb2

SETTINGS_CLASSES: Mapping[JobKind, type[Settings]] = {
    JobKind.EXTRACT: ExtractSettings,
    JobKind.TRAIN: TrainSettings,
    JobKind.MERGE: MergeSettings,
}

STATE_NAMES: Mapping[JobState, str] = {state: f"JOB_STATE_{state.name}" for state in JobState}
KIND_NAMES: Mapping[JobKind, str] = {kind: f"JOB_KIND_{kind.name}" for kind in JobKind}
AUDIENCE_NAMES: Mapping[Audience, str] = {audience: f"AUDIENCE_{audience.name}" for audience in Audience}
SEVERITY_NAMES: Mapping[str, str] = {"info": "SEVERITY_INFO", "warning": "SEVERITY_WARNING"}
"""Ours → the name of the enum value on the wire."""

E = TypeVar("E")


def state_from_message(value: int) -> JobState:
    """Raises InvalidInput for a state this daemon does not know."""
    return _known(STATE_NAMES, common_pb2.JobState.items(), value, "state")


def kind_from_message(value: int) -> JobKind:
    """Raises InvalidInput for a kind this daemon does not know."""
    return _known(KIND_NAMES, common_pb2.JobKind.items(), value, "kind")


def audience_from_message(value: int) -> Audience:
    """Unspecified means artist. Raises InvalidInput for one this daemon does not know."""
    if value == daemon_service_pb2.AUDIENCE_UNSPECIFIED:
        return Audience.ARTIST
    return _known(AUDIENCE_NAMES, daemon_service_pb2.Audience.items(), value, "audience")


def work_from_spec(spec: job_service_pb2.JobSpec) -> Work:
    """What a client asked for, with every default filled in.

    Raises:
        InvalidInput: the spec is empty, or a setting is unknown or out of range.
    """
    kind, body = _body(spec)
    settings = SETTINGS_CLASSES[kind].from_values(_present(body.settings))
    return Work(kind=kind, paths=_paths(kind, body), frames=_frames(kind, body), settings=settings.values())


def spec_from_work(work: Work) -> job_service_pb2.JobSpec:
    """The spec with resolved settings: what is stored, and shown to clients."""
    values = {name: value for name, value in work.settings.items() if value is not None}
    plate = {"path": work.paths.get("plate", ""), "frames": work.frames}
    paths = {f"{name}_path": path for name, path in work.paths.items() if name != "plate"}
    if work.kind is JobKind.TRAIN:
        return job_service_pb2.JobSpec(train={**paths, "settings": values})
    if work.kind is JobKind.EXTRACT:
        return job_service_pb2.JobSpec(extract={**paths, "plate": plate, "settings": values})
    return job_service_pb2.JobSpec(merge={**paths, "plate": plate, "settings": values})


def work_from_stored(spec: bytes) -> Work:
    """Inverse of :func:`spec_from_work`, serialized: a setting that may be empty and is absent *is* empty.

    Raises:
        InvalidInput: a setting is no longer allowed by this version.
        DataCorrupt: it is damaged.
    """
    try:
        message = job_service_pb2.JobSpec.FromString(spec)
    except DecodeError as error:
        raise DataCorrupt("The stored job cannot be read; submit it again.", reason="SPEC_DAMAGED") from error
    kind, body = _body(message)
    settings_class = SETTINGS_CLASSES[kind]
    empty = {knob.name: None for knob in describe_settings(settings_class) if knob.optional}
    settings = settings_class.from_values({**empty, **_present(body.settings)})
    return Work(kind=kind, paths=_paths(kind, body), frames=_frames(kind, body), settings=settings.values())


def job_to_message(job: Job) -> job_service_pb2.Job:
    """A job as clients see it."""
    message = job_service_pb2.Job(
        id=job.id,
        kind=KIND_NAMES[job.kind],
        state=STATE_NAMES[job.state],
        spec=job_service_pb2.JobSpec.FromString(job.spec),
        create_time=timestamp(job.created),
        attempt_count=job.attempt_count,
        last_sequence=job.last_sequence,
        stop_requested=job.stop is not None,
        ahead_count=job.ahead_count,
        result=job.result,
    )
    if job.started is not None:
        message.start_time.CopyFrom(timestamp(job.started))
    if job.ended is not None:
        message.end_time.CopyFrom(timestamp(job.ended))
    if job.error is not None:
        message.error.CopyFrom(report_to_message(job.error))
    if isinstance(job.progress, FrameProgress):
        message.frame_progress.CopyFrom(_frame_progress(job.progress))
    if isinstance(job.progress, TrainProgress):
        message.train_progress.CopyFrom(_train_progress(job.progress))
    return message


def event_to_message(event: JobEvent) -> job_service_pb2.JobEvent:
    """An entry of a job's log as clients see it."""
    message = job_service_pb2.JobEvent(sequence=event.sequence, time=timestamp(event.time))
    name, body = _event_body(event.body)
    getattr(message, name).CopyFrom(body)
    return message


def knob_to_message(knob: KnobDescription) -> daemon_service_pb2.Knob:
    """A knob's description as hosts build widgets from."""
    return daemon_service_pb2.Knob(
        name=knob.name,
        type=f"KNOB_TYPE_{knob.type.upper()}",
        default_value=_knob_value(knob.default),
        help=knob.help,
        unit=knob.unit,
        audience=AUDIENCE_NAMES[knob.audience],
        minimum=knob.minimum,
        maximum=knob.maximum,
        choices=knob.choices,
        optional_value=knob.optional,
        fixed_once_trained=knob.fixed_once_trained,
    )


def authorization_to_message(authorization: Authorization) -> common_pb2.Authorization:
    return common_pb2.Authorization(
        person=authorization.person,
        project=authorization.project,
        use=authorization.use,
        until=authorization.until,
        reference=authorization.reference,
    )


def faceset_to_message(info: FacesetInfo) -> faceset_service_pb2.Faceset:
    return faceset_service_pb2.Faceset(
        path=info.path,
        face_count=info.face_count,
        face_type=info.face_type.value,
        aligned_size_px=info.aligned_size,
        plates=info.plates,
        authorization=authorization_to_message(info.authorization),
        software=info.software,
    )


def face_to_message(record: FaceRecord) -> faceset_service_pb2.Face:
    box = record.box
    return faceset_service_pb2.Face(
        name=record.name,
        plate=record.plate,
        frame=record.frame,
        face_index=record.face_index,
        score=record.score,
        pitch_rad=record.pose.pitch,
        yaw_rad=record.pose.yaw,
        roll_rad=record.pose.roll,
        sharpness=record.sharpness,
        box_xyxy_px=(box.left, box.top, box.right, box.bottom),
        landmarks_px=record.landmarks.points.ravel().tolist(),
    )


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch, to the microsecond."""
    message = Timestamp()
    message.FromMicroseconds(round(seconds * 1_000_000))
    return message


def timestamp_from_iso(text: str) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(datetime.datetime.fromisoformat(text))
    return message


def _known(names: Mapping[E, str], numbers: Iterable[tuple[str, int]], value: int, field: str) -> E:
    wire_names = {number: name for name, number in numbers}
    for ours, name in names.items():
        if wire_names.get(value) == name:
            return ours
    raise InvalidInput(
        f"{field} = {value} is not one this daemon knows; state it, or update the daemon.",
        reason="UNKNOWN_ENUM_VALUE",
        field=field,
    )


def _body(spec: job_service_pb2.JobSpec) -> tuple[JobKind, Any]:
    name = spec.WhichOneof("work")
    if name is None:
        raise InvalidInput(
            "The job says neither extract, train nor merge; fill in one of them.", reason="EMPTY_SPEC", field="spec"
        )
    return JobKind(name), getattr(spec, name)


def _paths(kind: JobKind, body: Any) -> dict[str, str]:
    names = {
        JobKind.EXTRACT: ("faceset",),
        JobKind.TRAIN: ("source", "target", "model"),
        JobKind.MERGE: ("model", "faceset", "output"),
    }
    paths = {name: str(getattr(body, f"{name}_path")) for name in names[kind]}
    return paths if kind is JobKind.TRAIN else {"plate": body.plate.path, **paths}


def _frames(kind: JobKind, body: Any) -> str:
    return "" if kind is JobKind.TRAIN else str(body.plate.frames)


def _present(settings: Message) -> dict[str, object]:
    """Fields that were set, zero and false included."""
    return {field.name: value for field, value in settings.ListFields()}


def _event_body(body: EventBody) -> tuple[str, Message]:
    """Name of the field in JobEvent, and what goes into it."""
    if isinstance(body, StateChange):
        error = report_to_message(body.error) if body.error else None
        return "state", job_service_pb2.StateEvent(state=STATE_NAMES[body.state], error=error, result=body.result)
    if isinstance(body, FrameProgress):
        return "frame_progress", _frame_progress(body)
    if isinstance(body, TrainProgress):
        return "train_progress", _train_progress(body)
    if isinstance(body, Preview):
        return "preview", job_service_pb2.PreviewEvent(path=body.path, title=body.title, iteration=body.iteration)
    if isinstance(body, Saved):
        saved = job_service_pb2.SavedEvent(path=body.path, iteration=body.iteration, generation=body.generation)
        return "saved", saved
    return "notice", _notice(body)


def _notice(body: Notice) -> job_service_pb2.NoticeEvent:
    return job_service_pb2.NoticeEvent(
        reason=body.reason,
        message=body.message,
        severity=SEVERITY_NAMES.get(body.severity, "SEVERITY_WARNING"),
        details=body.details,
    )


def _frame_progress(progress: FrameProgress) -> job_service_pb2.FrameProgress:
    return job_service_pb2.FrameProgress(
        done_count=progress.done,
        total_count=progress.total,
        frame=progress.frame,
        path=progress.path,
        face_count=progress.faces,
    )


def _train_progress(progress: TrainProgress) -> job_service_pb2.TrainProgress:
    return job_service_pb2.TrainProgress(
        iteration=progress.iteration,
        target_iterations=progress.target_iterations,
        elapsed_s=progress.elapsed_s,
        target_s=progress.target_s,
        losses=progress.losses,
        step_ms=progress.step_ms,
        data_ms=progress.data_ms,
        learning_rate=progress.learning_rate,
    )


def _knob_value(value: bool | int | float | str | None) -> daemon_service_pb2.KnobValue | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return daemon_service_pb2.KnobValue(bool_value=value)
    if isinstance(value, int):
        return daemon_service_pb2.KnobValue(int_value=value)
    if isinstance(value, float):
        return daemon_service_pb2.KnobValue(float_value=value)
    return daemon_service_pb2.KnobValue(string_value=value)
