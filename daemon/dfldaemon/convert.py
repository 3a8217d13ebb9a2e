"""Wire ↔ values of the core and of the daemon; the only module that knows both sides."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from dflcore.config.base import Settings
from dflcore.config.curate import OPERATIONS
from dflcore.config.describe import describe_settings
from dflcore.config.detail import DetailTrainSettings
from dflcore.config.exchange import ModelExportSettings, ModelImportSettings
from dflcore.config.extract import ExtractSettings
from dflcore.config.knobs import Audience, KnobDescription
from dflcore.config.merge import MergeSettings
from dflcore.config.qc import QcSettings
from dflcore.config.segment import MaskTrainSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.progress import FrameProgress, Notice, Preview, Saved, TrainProgress
from dflcore.types import Authorization, FaceRecord, FacesetInfo
from dfldaemon.errors import report_to_message
from dfldaemon.jobs import (
    FACESET_PREFIX,
    SEVERAL_FACESETS,
    EventBody,
    Job,
    JobEvent,
    JobKind,
    JobState,
    StateChange,
    Work,
)
from dflproto.v1 import common_pb2, daemon_service_pb2, faceset_service_pb2, job_service_pb2

SETTINGS_CLASSES: Mapping[JobKind, type[Settings]] = {
    JobKind.EXTRACT: ExtractSettings,
    JobKind.TRAIN: TrainSettings,
    JobKind.MERGE: MergeSettings,
    JobKind.TRAIN_MASK: MaskTrainSettings,
    JobKind.TRAIN_DETAIL: DetailTrainSettings,
    JobKind.IMPORT_MODEL: ModelImportSettings,
    JobKind.EXPORT_MODEL: ModelExportSettings,
    JobKind.QC: QcSettings,
}
"""Of the kinds that do one thing; a curate job has those of its operation, see :func:`settings_class_of`."""

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


def settings_class_of(kind: JobKind, operation: str = "") -> type[Settings]:
    """The settings of a kind of job.

    Raises:
        InvalidInput: a curate job without an operation, or with one this daemon does not know.
    """
    if kind is not JobKind.CURATE:
        return SETTINGS_CLASSES[kind]
    if operation not in OPERATIONS:
        raise InvalidInput(
            f"{operation or 'Nothing'} is not something that can be done to a faceset; name one of "
            f"{', '.join(OPERATIONS)}.",
            reason="UNKNOWN_OPERATION",
            field="operation",
        )
    return OPERATIONS[operation].settings_class


def work_from_spec(spec: job_service_pb2.JobSpec) -> Work:
    """What a client asked for, with every default filled in.

    Raises:
        InvalidInput: the spec is empty, or a setting is unknown or out of range.
    """
    kind, body = _body(spec)
    operation, message = _settings_of(kind, body)
    settings = settings_class_of(kind, operation).from_values(_present(message))
    return _work(kind, body, operation, settings)


def spec_from_work(work: Work) -> job_service_pb2.JobSpec:
    """The spec with resolved settings: what is stored, and shown to clients."""
    values = {name: value for name, value in work.settings.items() if value is not None}
    body: dict[str, Any] = {
        f"{name}_path": path
        for name, path in work.paths.items()
        if name != "plate" and not name.startswith(FACESET_PREFIX)
    }
    body[work.operation or "settings"] = values
    if work.kind in SEVERAL_FACESETS:
        body[SEVERAL_FACESETS[work.kind]] = work.facesets
    if work.kind in _WITH_PLATE:
        body["plate"] = {"path": work.paths.get("plate", ""), "frames": work.frames}
    return job_service_pb2.JobSpec(**{work.kind.value: body})


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
    operation, stored = _settings_of(kind, body)
    settings_class = settings_class_of(kind, operation)
    empty = {knob.name: None for knob in describe_settings(settings_class) if knob.optional}
    return _work(kind, body, operation, settings_class.from_values({**empty, **_present(stored)}))


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
    """A knob's description as hosts build widgets from, under its heading."""
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
        group=knob.group,
    )


def notice_to_message(body: Notice) -> job_service_pb2.NoticeEvent:
    """Something a person should know."""
    return job_service_pb2.NoticeEvent(
        reason=body.reason,
        message=body.message,
        severity=SEVERITY_NAMES.get(body.severity, "SEVERITY_WARNING"),
        details=body.details,
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


def face_to_message(record: FaceRecord, sort_value: float | None = None) -> faceset_service_pb2.Face:
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
        track_id=record.track_id,
        spread=record.spread,
        origin=record.origin.value,
        original_name=record.original_name or "",
        sort_value=sort_value,
    )


def correction_from_message(message: faceset_service_pb2.FaceCorrection) -> dict[str, object]:
    """As in the JSON file; what is wrong with it is said where that is read."""
    values: dict[str, object] = {"frame": message.frame}
    if message.box_xyxy_px:
        values["box"] = list(message.box_xyxy_px)
    if message.landmarks_px:
        numbers = list(message.landmarks_px)
        values["landmarks"] = [numbers[index : index + 2] for index in range(0, len(numbers), 2)]
    if message.HasField("placement"):
        placed = message.placement
        nose = [placed.nose_x_px, placed.nose_y_px]
        values["placement"] = {"nose": nose, "size": placed.size_px, "roll": placed.roll_deg}
    if message.remove:
        values["remove"] = True
    return values


def correction_to_message(values: Mapping[str, Any]) -> faceset_service_pb2.FaceCorrection:
    """Inverse of :func:`correction_from_message`."""
    message = faceset_service_pb2.FaceCorrection(
        frame=values["frame"],
        box_xyxy_px=values.get("box", ()),
        landmarks_px=[number for point in values.get("landmarks", ()) for number in point],
        remove=values.get("remove", False),
    )
    if "placement" in values:
        placed = values["placement"]
        x, y = placed["nose"]
        message.placement.nose_x_px, message.placement.nose_y_px = x, y
        message.placement.size_px, message.placement.roll_deg = placed["size"], placed["roll"]
    return message


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
            f"The job does not say what to do; fill in one of {', '.join(kind.value for kind in JobKind)}.",
            reason="EMPTY_SPEC",
            field="spec",
        )
    return JobKind(name), getattr(spec, name)


def _settings_of(kind: JobKind, body: Any) -> tuple[str, Message]:
    """The operation of a curate job, empty for others, and the message of the settings."""
    if kind is not JobKind.CURATE:
        return "", body.settings
    operation = body.WhichOneof("operation") or ""
    return operation, getattr(body, operation) if operation else body


def _work(kind: JobKind, body: Any, operation: str, settings: Settings) -> Work:
    return Work(
        kind=kind,
        paths=_paths(kind, body),
        frames=str(body.plate.frames) if kind in _WITH_PLATE else "",
        settings=settings.values(),
        operation=operation,
    )


_WITH_PLATE = (JobKind.EXTRACT, JobKind.MERGE, JobKind.QC)
_MAY_BE_EMPTY = frozenset({(JobKind.QC, "source")})
"""Paths that a job may do without."""
_PATH_NAMES: Mapping[JobKind, tuple[str, ...]] = {
    JobKind.EXTRACT: ("faceset",),
    JobKind.TRAIN: ("source", "target", "model"),
    JobKind.MERGE: ("model", "faceset", "output"),
    JobKind.CURATE: ("faceset",),
    JobKind.TRAIN_MASK: ("model",),
    JobKind.TRAIN_DETAIL: ("model",),
    JobKind.IMPORT_MODEL: ("legacy", "model"),
    JobKind.EXPORT_MODEL: ("model", "output"),
    JobKind.QC: ("result", "faceset", "source", "output"),
}


def _paths(kind: JobKind, body: Any) -> dict[str, str]:
    named = {name: str(getattr(body, f"{name}_path")) for name in _PATH_NAMES[kind]}
    paths = {name: path for name, path in named.items() if path or (kind, name) not in _MAY_BE_EMPTY}
    if kind in _WITH_PLATE:
        return {"plate": body.plate.path, **paths}
    if kind is JobKind.CURATE:
        optional = {"other": str(body.other_path), "output": str(body.output_path)}
        return paths | {name: path for name, path in optional.items() if path}
    if kind in SEVERAL_FACESETS:
        several = getattr(body, SEVERAL_FACESETS[kind])
        return paths | {f"{FACESET_PREFIX}{number:03d}": path for number, path in enumerate(several)}
    return paths


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
    return "notice", notice_to_message(body)


def _frame_progress(progress: FrameProgress) -> job_service_pb2.FrameProgress:
    return job_service_pb2.FrameProgress(
        done_count=progress.done,
        total_count=progress.total,
        frame=progress.frame,
        path=progress.path,
        face_count=progress.faces,
        stage=progress.stage or None,
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
