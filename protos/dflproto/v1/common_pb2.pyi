from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_PAUSED: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]

class JobKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_KIND_UNSPECIFIED: _ClassVar[JobKind]
    JOB_KIND_EXTRACT: _ClassVar[JobKind]
    JOB_KIND_TRAIN: _ClassVar[JobKind]
    JOB_KIND_MERGE: _ClassVar[JobKind]
    JOB_KIND_CURATE: _ClassVar[JobKind]
    JOB_KIND_TRAIN_MASK: _ClassVar[JobKind]
    JOB_KIND_IMPORT_MODEL: _ClassVar[JobKind]
    JOB_KIND_EXPORT_MODEL: _ClassVar[JobKind]
    JOB_KIND_QC: _ClassVar[JobKind]
    JOB_KIND_TRAIN_DETAIL: _ClassVar[JobKind]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_INFO: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_PAUSED: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState
JOB_KIND_UNSPECIFIED: JobKind
JOB_KIND_EXTRACT: JobKind
JOB_KIND_TRAIN: JobKind
JOB_KIND_MERGE: JobKind
JOB_KIND_CURATE: JobKind
JOB_KIND_TRAIN_MASK: JobKind
JOB_KIND_IMPORT_MODEL: JobKind
JOB_KIND_EXPORT_MODEL: JobKind
JOB_KIND_QC: JobKind
JOB_KIND_TRAIN_DETAIL: JobKind
SEVERITY_UNSPECIFIED: Severity
SEVERITY_INFO: Severity
SEVERITY_WARNING: Severity

class ErrorDetail(_message.Message):
    __slots__ = ("reason", "message", "details", "category")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    details: _containers.ScalarMap[str, str]
    category: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ..., category: _Optional[str] = ...) -> None: ...

class Authorization(_message.Message):
    __slots__ = ("person", "project", "use", "until", "reference")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    person: str
    project: str
    use: str
    until: str
    reference: str
    def __init__(self, person: _Optional[str] = ..., project: _Optional[str] = ..., use: _Optional[str] = ..., until: _Optional[str] = ..., reference: _Optional[str] = ...) -> None: ...

class ModelGeneration(_message.Message):
    __slots__ = ("number", "iteration", "save_time", "size_bytes")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    SAVE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    number: int
    iteration: int
    save_time: _timestamp_pb2.Timestamp
    size_bytes: int
    def __init__(self, number: _Optional[int] = ..., iteration: _Optional[int] = ..., save_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., size_bytes: _Optional[int] = ...) -> None: ...
