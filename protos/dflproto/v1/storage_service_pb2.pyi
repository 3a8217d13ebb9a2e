from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FolderKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOLDER_KIND_UNSPECIFIED: _ClassVar[FolderKind]
    FOLDER_KIND_MODEL: _ClassVar[FolderKind]
    FOLDER_KIND_FACESET: _ClassVar[FolderKind]
FOLDER_KIND_UNSPECIFIED: FolderKind
FOLDER_KIND_MODEL: FolderKind
FOLDER_KIND_FACESET: FolderKind

class SetFile(_message.Message):
    __slots__ = ("name", "size_bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    sha256: bytes
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class MissingFile(_message.Message):
    __slots__ = ("index", "received_bytes")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    index: int
    received_bytes: int
    def __init__(self, index: _Optional[int] = ..., received_bytes: _Optional[int] = ...) -> None: ...

class Folder(_message.Message):
    __slots__ = ("path", "change_time", "in_inbox")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    IN_INBOX_FIELD_NUMBER: _ClassVar[int]
    path: str
    change_time: _timestamp_pb2.Timestamp
    in_inbox: bool
    def __init__(self, path: _Optional[str] = ..., change_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., in_inbox: bool = ...) -> None: ...

class OpenSetRequest(_message.Message):
    __slots__ = ("name", "files")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    name: str
    files: _containers.RepeatedCompositeFieldContainer[SetFile]
    def __init__(self, name: _Optional[str] = ..., files: _Optional[_Iterable[_Union[SetFile, _Mapping]]] = ...) -> None: ...

class OpenSetResponse(_message.Message):
    __slots__ = ("set_id", "path", "missing")
    SET_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    set_id: str
    path: str
    missing: _containers.RepeatedCompositeFieldContainer[MissingFile]
    def __init__(self, set_id: _Optional[str] = ..., path: _Optional[str] = ..., missing: _Optional[_Iterable[_Union[MissingFile, _Mapping]]] = ...) -> None: ...

class PutChunkRequest(_message.Message):
    __slots__ = ("set_id", "name", "offset_bytes", "data")
    SET_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    set_id: str
    name: str
    offset_bytes: int
    data: bytes
    def __init__(self, set_id: _Optional[str] = ..., name: _Optional[str] = ..., offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PutChunkResponse(_message.Message):
    __slots__ = ("received_bytes", "complete")
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    complete: bool
    def __init__(self, received_bytes: _Optional[int] = ..., complete: bool = ...) -> None: ...

class GetChunkRequest(_message.Message):
    __slots__ = ("path", "offset_bytes")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    path: str
    offset_bytes: int
    def __init__(self, path: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class GetChunkResponse(_message.Message):
    __slots__ = ("data", "size_bytes", "stamp")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    size_bytes: int
    stamp: str
    def __init__(self, data: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., stamp: _Optional[str] = ...) -> None: ...

class ListFoldersRequest(_message.Message):
    __slots__ = ("kind", "max_count")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MAX_COUNT_FIELD_NUMBER: _ClassVar[int]
    kind: FolderKind
    max_count: int
    def __init__(self, kind: _Optional[_Union[FolderKind, str]] = ..., max_count: _Optional[int] = ...) -> None: ...

class ListFoldersResponse(_message.Message):
    __slots__ = ("folders", "more")
    FOLDERS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    folders: _containers.RepeatedCompositeFieldContainer[Folder]
    more: bool
    def __init__(self, folders: _Optional[_Iterable[_Union[Folder, _Mapping]]] = ..., more: bool = ...) -> None: ...
