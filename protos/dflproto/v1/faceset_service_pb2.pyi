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
    __slots__ = ("name", "plate", "frame", "face_index", "score", "pitch_rad", "yaw_rad", "roll_rad", "sharpness", "box_xyxy_px", "landmarks_px", "track_id", "spread", "origin", "original_name", "sort_value")
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
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_NAME_FIELD_NUMBER: _ClassVar[int]
    SORT_VALUE_FIELD_NUMBER: _ClassVar[int]
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
    track_id: int
    spread: float
    origin: str
    original_name: str
    sort_value: float
    def __init__(self, name: _Optional[str] = ..., plate: _Optional[str] = ..., frame: _Optional[int] = ..., face_index: _Optional[int] = ..., score: _Optional[float] = ..., pitch_rad: _Optional[float] = ..., yaw_rad: _Optional[float] = ..., roll_rad: _Optional[float] = ..., sharpness: _Optional[float] = ..., box_xyxy_px: _Optional[_Iterable[float]] = ..., landmarks_px: _Optional[_Iterable[float]] = ..., track_id: _Optional[int] = ..., spread: _Optional[float] = ..., origin: _Optional[str] = ..., original_name: _Optional[str] = ..., sort_value: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("path", "page_size", "page_token", "where", "sort_by", "reverse", "view")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    SORT_BY_FIELD_NUMBER: _ClassVar[int]
    REVERSE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    path: str
    page_size: int
    page_token: str
    where: str
    sort_by: str
    reverse: bool
    view: str
    def __init__(self, path: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., where: _Optional[str] = ..., sort_by: _Optional[str] = ..., reverse: bool = ..., view: _Optional[str] = ...) -> None: ...

class ListFacesResponse(_message.Message):
    __slots__ = ("faces", "next_page_token", "total_count")
    FACES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    next_page_token: str
    total_count: int
    def __init__(self, faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_count: _Optional[int] = ...) -> None: ...

class Track(_message.Message):
    __slots__ = ("plate", "track_id", "first_frame", "last_frame", "face_count", "interpolated_count", "sample_face")
    PLATE_FIELD_NUMBER: _ClassVar[int]
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    LAST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FACE_COUNT_FIELD_NUMBER: _ClassVar[int]
    INTERPOLATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FACE_FIELD_NUMBER: _ClassVar[int]
    plate: str
    track_id: int
    first_frame: int
    last_frame: int
    face_count: int
    interpolated_count: int
    sample_face: str
    def __init__(self, plate: _Optional[str] = ..., track_id: _Optional[int] = ..., first_frame: _Optional[int] = ..., last_frame: _Optional[int] = ..., face_count: _Optional[int] = ..., interpolated_count: _Optional[int] = ..., sample_face: _Optional[str] = ...) -> None: ...

class ListTracksRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class ListTracksResponse(_message.Message):
    __slots__ = ("tracks",)
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    tracks: _containers.RepeatedCompositeFieldContainer[Track]
    def __init__(self, tracks: _Optional[_Iterable[_Union[Track, _Mapping]]] = ...) -> None: ...

class FaceField(_message.Message):
    __slots__ = ("name", "unit", "help", "needs_measure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    NEEDS_MEASURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    help: str
    needs_measure: bool
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., help: _Optional[str] = ..., needs_measure: bool = ...) -> None: ...

class FaceSort(_message.Message):
    __slots__ = ("name", "help", "needs_measure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    NEEDS_MEASURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    help: str
    needs_measure: bool
    def __init__(self, name: _Optional[str] = ..., help: _Optional[str] = ..., needs_measure: bool = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("name", "help", "other_help", "other_optional", "output_help", "output_optional")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    OTHER_HELP_FIELD_NUMBER: _ClassVar[int]
    OTHER_OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_HELP_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    help: str
    other_help: str
    other_optional: bool
    output_help: str
    output_optional: bool
    def __init__(self, name: _Optional[str] = ..., help: _Optional[str] = ..., other_help: _Optional[str] = ..., other_optional: bool = ..., output_help: _Optional[str] = ..., output_optional: bool = ...) -> None: ...

class DescribeCurationRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeCurationResponse(_message.Message):
    __slots__ = ("fields", "sorts", "operations")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    SORTS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[FaceField]
    sorts: _containers.RepeatedCompositeFieldContainer[FaceSort]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    def __init__(self, fields: _Optional[_Iterable[_Union[FaceField, _Mapping]]] = ..., sorts: _Optional[_Iterable[_Union[FaceSort, _Mapping]]] = ..., operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ...) -> None: ...

class FacePlacement(_message.Message):
    __slots__ = ("nose_x_px", "nose_y_px", "size_px", "roll_deg")
    NOSE_X_PX_FIELD_NUMBER: _ClassVar[int]
    NOSE_Y_PX_FIELD_NUMBER: _ClassVar[int]
    SIZE_PX_FIELD_NUMBER: _ClassVar[int]
    ROLL_DEG_FIELD_NUMBER: _ClassVar[int]
    nose_x_px: float
    nose_y_px: float
    size_px: float
    roll_deg: float
    def __init__(self, nose_x_px: _Optional[float] = ..., nose_y_px: _Optional[float] = ..., size_px: _Optional[float] = ..., roll_deg: _Optional[float] = ...) -> None: ...

class FaceCorrection(_message.Message):
    __slots__ = ("frame", "box_xyxy_px", "landmarks_px", "placement", "remove")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    BOX_XYXY_PX_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_PX_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    frame: int
    box_xyxy_px: _containers.RepeatedScalarFieldContainer[float]
    landmarks_px: _containers.RepeatedScalarFieldContainer[float]
    placement: FacePlacement
    remove: bool
    def __init__(self, frame: _Optional[int] = ..., box_xyxy_px: _Optional[_Iterable[float]] = ..., landmarks_px: _Optional[_Iterable[float]] = ..., placement: _Optional[_Union[FacePlacement, _Mapping]] = ..., remove: bool = ...) -> None: ...

class CorrectFacesRequest(_message.Message):
    __slots__ = ("path", "plate", "corrections", "add", "forget_frames")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    FORGET_FRAMES_FIELD_NUMBER: _ClassVar[int]
    path: str
    plate: str
    corrections: _containers.RepeatedCompositeFieldContainer[FaceCorrection]
    add: bool
    forget_frames: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, path: _Optional[str] = ..., plate: _Optional[str] = ..., corrections: _Optional[_Iterable[_Union[FaceCorrection, _Mapping]]] = ..., add: bool = ..., forget_frames: _Optional[_Iterable[int]] = ...) -> None: ...

class CorrectFacesResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, frames: _Optional[_Iterable[int]] = ...) -> None: ...

class ListCorrectionsRequest(_message.Message):
    __slots__ = ("path", "plate")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    path: str
    plate: str
    def __init__(self, path: _Optional[str] = ..., plate: _Optional[str] = ...) -> None: ...

class ListCorrectionsResponse(_message.Message):
    __slots__ = ("corrections",)
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    corrections: _containers.RepeatedCompositeFieldContainer[FaceCorrection]
    def __init__(self, corrections: _Optional[_Iterable[_Union[FaceCorrection, _Mapping]]] = ...) -> None: ...
