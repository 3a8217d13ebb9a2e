from dflproto.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Faceset(_message.Message):
    __slots__ = ("path", "face_count", "face_type", "aligned_size_px", "plates", "authorization", "software")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FACE_COUNT_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ALIGNED_SIZE_PX_FIELD_NUMBER: _ClassVar[int]
    PLATES_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    path: str
    face_count: int
    face_type: str
    aligned_size_px: int
    plates: _containers.RepeatedScalarFieldContainer[str]
    authorization: _common_pb2.Authorization
    software: str
    def __init__(self, path: _Optional[str] = ..., face_count: _Optional[int] = ..., face_type: _Optional[str] = ..., aligned_size_px: _Optional[int] = ..., plates: _Optional[_Iterable[str]] = ..., authorization: _Optional[_Union[_common_pb2.Authorization, _Mapping]] = ..., software: _Optional[str] = ...) -> None: ...

class Face(_message.Message):
    __slots__ = ("name", "plate", "frame", "face_index", "score", "pitch_rad", "yaw_rad", "roll_rad", "sharpness", "box_xyxy_px", "landmarks_px")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    FACE_INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PITCH_RAD_FIELD_NUMBER: _ClassVar[int]
    YAW_RAD_FIELD_NUMBER: _ClassVar[int]
    ROLL_RAD_FIELD_NUMBER: _ClassVar[int]
    SHARPNESS_FIELD_NUMBER: _ClassVar[int]
    BOX_XYXY_PX_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_PX_FIELD_NUMBER: _ClassVar[int]
    name: str
    plate: str
    frame: int
    face_index: int
    score: float
    pitch_rad: float
    yaw_rad: float
    roll_rad: float
    sharpness: float
    box_xyxy_px: _containers.RepeatedScalarFieldContainer[float]
    landmarks_px: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., plate: _Optional[str] = ..., frame: _Optional[int] = ..., face_index: _Optional[int] = ..., score: _Optional[float] = ..., pitch_rad: _Optional[float] = ..., yaw_rad: _Optional[float] = ..., roll_rad: _Optional[float] = ..., sharpness: _Optional[float] = ..., box_xyxy_px: _Optional[_Iterable[float]] = ..., landmarks_px: _Optional[_Iterable[float]] = ...) -> None: ...

class GetFacesetRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class GetFacesetResponse(_message.Message):
    __slots__ = ("faceset",)
    FACESET_FIELD_NUMBER: _ClassVar[int]
    faceset: Faceset
    def __init__(self, faceset: _Optional[_Union[Faceset, _Mapping]] = ...) -> None: ...

class ListFacesRequest(_message.Message):
    __slots__ = ("path", "page_size", "page_token")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    path: str
    page_size: int
    page_token: str
    def __init__(self, path: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFacesResponse(_message.Message):
    __slots__ = ("faces", "next_page_token")
    FACES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    next_page_token: str
    def __init__(self, faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
