from dflproto.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KnobType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KNOB_TYPE_UNSPECIFIED: _ClassVar[KnobType]
    KNOB_TYPE_BOOL: _ClassVar[KnobType]
    KNOB_TYPE_INT: _ClassVar[KnobType]
    KNOB_TYPE_FLOAT: _ClassVar[KnobType]
    KNOB_TYPE_STRING: _ClassVar[KnobType]
    KNOB_TYPE_CHOICE: _ClassVar[KnobType]

class Audience(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIENCE_UNSPECIFIED: _ClassVar[Audience]
    AUDIENCE_ARTIST: _ClassVar[Audience]
    AUDIENCE_TD: _ClassVar[Audience]
    AUDIENCE_INTERNAL: _ClassVar[Audience]
KNOB_TYPE_UNSPECIFIED: KnobType
KNOB_TYPE_BOOL: KnobType
KNOB_TYPE_INT: KnobType
KNOB_TYPE_FLOAT: KnobType
KNOB_TYPE_STRING: KnobType
KNOB_TYPE_CHOICE: KnobType
AUDIENCE_UNSPECIFIED: Audience
AUDIENCE_ARTIST: Audience
AUDIENCE_TD: Audience
AUDIENCE_INTERNAL: Audience

class KnobValue(_message.Message):
    __slots__ = ("bool_value", "int_value", "float_value", "string_value")
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    FLOAT_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    bool_value: bool
    int_value: int
    float_value: float
    string_value: str
    def __init__(self, bool_value: bool = ..., int_value: _Optional[int] = ..., float_value: _Optional[float] = ..., string_value: _Optional[str] = ...) -> None: ...

class Knob(_message.Message):
    __slots__ = ("name", "type", "default_value", "help", "unit", "audience", "minimum", "maximum", "choices", "optional_value", "fixed_once_trained", "group")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_VALUE_FIELD_NUMBER: _ClassVar[int]
    FIXED_ONCE_TRAINED_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: KnobType
    default_value: KnobValue
    help: str
    unit: str
    audience: Audience
    minimum: float
    maximum: float
    choices: _containers.RepeatedScalarFieldContainer[str]
    optional_value: bool
    fixed_once_trained: bool
    group: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[KnobType, str]] = ..., default_value: _Optional[_Union[KnobValue, _Mapping]] = ..., help: _Optional[str] = ..., unit: _Optional[str] = ..., audience: _Optional[_Union[Audience, str]] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., choices: _Optional[_Iterable[str]] = ..., optional_value: bool = ..., fixed_once_trained: bool = ..., group: _Optional[str] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "api_minor", "features", "schema_digest", "pid", "start_time", "address", "roots", "queued_count", "running_count", "log_path", "made_path")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    API_MINOR_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_COUNT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOG_PATH_FIELD_NUMBER: _ClassVar[int]
    MADE_PATH_FIELD_NUMBER: _ClassVar[int]
    version: str
    api_minor: int
    features: _containers.RepeatedScalarFieldContainer[str]
    schema_digest: str
    pid: int
    start_time: _timestamp_pb2.Timestamp
    address: str
    roots: _containers.RepeatedScalarFieldContainer[str]
    queued_count: int
    running_count: int
    log_path: str
    made_path: str
    def __init__(self, version: _Optional[str] = ..., api_minor: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., schema_digest: _Optional[str] = ..., pid: _Optional[int] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., address: _Optional[str] = ..., roots: _Optional[_Iterable[str]] = ..., queued_count: _Optional[int] = ..., running_count: _Optional[int] = ..., log_path: _Optional[str] = ..., made_path: _Optional[str] = ...) -> None: ...

class DescribeSettingsRequest(_message.Message):
    __slots__ = ("kind", "audience", "operation")
    KIND_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    kind: _common_pb2.JobKind
    audience: Audience
    operation: str
    def __init__(self, kind: _Optional[_Union[_common_pb2.JobKind, str]] = ..., audience: _Optional[_Union[Audience, str]] = ..., operation: _Optional[str] = ...) -> None: ...

class DescribeSettingsResponse(_message.Message):
    __slots__ = ("knobs",)
    KNOBS_FIELD_NUMBER: _ClassVar[int]
    knobs: _containers.RepeatedCompositeFieldContainer[Knob]
    def __init__(self, knobs: _Optional[_Iterable[_Union[Knob, _Mapping]]] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShutdownResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
