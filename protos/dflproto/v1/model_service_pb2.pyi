from dflproto.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Model(_message.Message):
    __slots__ = ("path", "preset", "resolution_px", "face_type", "iteration", "trained_s", "generations", "digest", "authorization", "software", "backups", "kind")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_PX_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    TRAINED_S_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    path: str
    preset: str
    resolution_px: int
    face_type: str
    iteration: int
    trained_s: float
    generations: _containers.RepeatedCompositeFieldContainer[_common_pb2.ModelGeneration]
    digest: str
    authorization: _common_pb2.Authorization
    software: str
    backups: _containers.RepeatedCompositeFieldContainer[ModelBackup]
    kind: str
    def __init__(self, path: _Optional[str] = ..., preset: _Optional[str] = ..., resolution_px: _Optional[int] = ..., face_type: _Optional[str] = ..., iteration: _Optional[int] = ..., trained_s: _Optional[float] = ..., generations: _Optional[_Iterable[_Union[_common_pb2.ModelGeneration, _Mapping]]] = ..., digest: _Optional[str] = ..., authorization: _Optional[_Union[_common_pb2.Authorization, _Mapping]] = ..., software: _Optional[str] = ..., backups: _Optional[_Iterable[_Union[ModelBackup, _Mapping]]] = ..., kind: _Optional[str] = ...) -> None: ...

class ModelBackup(_message.Message):
    __slots__ = ("path", "iteration", "save_time", "size_bytes")
    PATH_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    SAVE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    path: str
    iteration: int
    save_time: _timestamp_pb2.Timestamp
    size_bytes: int
    def __init__(self, path: _Optional[str] = ..., iteration: _Optional[int] = ..., save_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class Preset(_message.Message):
    __slots__ = ("name", "help")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    name: str
    help: str
    def __init__(self, name: _Optional[str] = ..., help: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListPresetsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPresetsResponse(_message.Message):
    __slots__ = ("presets",)
    PRESETS_FIELD_NUMBER: _ClassVar[int]
    presets: _containers.RepeatedCompositeFieldContainer[Preset]
    def __init__(self, presets: _Optional[_Iterable[_Union[Preset, _Mapping]]] = ...) -> None: ...
