from dflproto.v1 import job_service_pb2 as _job_service_pb2
from dflproto.v1 import settings_pb2 as _settings_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PixelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIXEL_FORMAT_UNSPECIFIED: _ClassVar[PixelFormat]
    PIXEL_FORMAT_EXR: _ClassVar[PixelFormat]
    PIXEL_FORMAT_PNG: _ClassVar[PixelFormat]
    PIXEL_FORMAT_HALF: _ClassVar[PixelFormat]
    PIXEL_FORMAT_FLOAT: _ClassVar[PixelFormat]

class PixelRoad(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIXEL_ROAD_UNSPECIFIED: _ClassVar[PixelRoad]
    PIXEL_ROAD_STREAM: _ClassVar[PixelRoad]
    PIXEL_ROAD_PATH: _ClassVar[PixelRoad]
    PIXEL_ROAD_SHARED_MEMORY: _ClassVar[PixelRoad]

class FrameRegion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_REGION_UNSPECIFIED: _ClassVar[FrameRegion]
    FRAME_REGION_WHOLE: _ClassVar[FrameRegion]
    FRAME_REGION_FACES: _ClassVar[FrameRegion]
    FRAME_REGION_WINDOW: _ClassVar[FrameRegion]
PIXEL_FORMAT_UNSPECIFIED: PixelFormat
PIXEL_FORMAT_EXR: PixelFormat
PIXEL_FORMAT_PNG: PixelFormat
PIXEL_FORMAT_HALF: PixelFormat
PIXEL_FORMAT_FLOAT: PixelFormat
PIXEL_ROAD_UNSPECIFIED: PixelRoad
PIXEL_ROAD_STREAM: PixelRoad
PIXEL_ROAD_PATH: PixelRoad
PIXEL_ROAD_SHARED_MEMORY: PixelRoad
FRAME_REGION_UNSPECIFIED: FrameRegion
FRAME_REGION_WHOLE: FrameRegion
FRAME_REGION_FACES: FrameRegion
FRAME_REGION_WINDOW: FrameRegion

class PixelWindow(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    width: int
    height: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class FrameLayer(_message.Message):
    __slots__ = ("name", "channels", "offset_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    channels: str
    offset_bytes: int
    def __init__(self, name: _Optional[str] = ..., channels: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class FrameHeader(_message.Message):
    __slots__ = ("frame", "key", "face_count", "data_window", "display_window", "pixel_aspect", "color_space", "layers", "reduction", "size_bytes", "path", "offset_bytes", "generation", "notices", "steps_ms", "network_reused")
    class StepsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FRAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    FACE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DATA_WINDOW_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_WINDOW_FIELD_NUMBER: _ClassVar[int]
    PIXEL_ASPECT_FIELD_NUMBER: _ClassVar[int]
    COLOR_SPACE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    STEPS_MS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_REUSED_FIELD_NUMBER: _ClassVar[int]
    frame: int
    key: str
    face_count: int
    data_window: PixelWindow
    display_window: PixelWindow
    pixel_aspect: float
    color_space: str
    layers: _containers.RepeatedCompositeFieldContainer[FrameLayer]
    reduction: int
    size_bytes: int
    path: str
    offset_bytes: int
    generation: int
    notices: _containers.RepeatedCompositeFieldContainer[_job_service_pb2.NoticeEvent]
    steps_ms: _containers.ScalarMap[str, float]
    network_reused: bool
    def __init__(self, frame: _Optional[int] = ..., key: _Optional[str] = ..., face_count: _Optional[int] = ..., data_window: _Optional[_Union[PixelWindow, _Mapping]] = ..., display_window: _Optional[_Union[PixelWindow, _Mapping]] = ..., pixel_aspect: _Optional[float] = ..., color_space: _Optional[str] = ..., layers: _Optional[_Iterable[_Union[FrameLayer, _Mapping]]] = ..., reduction: _Optional[int] = ..., size_bytes: _Optional[int] = ..., path: _Optional[str] = ..., offset_bytes: _Optional[int] = ..., generation: _Optional[int] = ..., notices: _Optional[_Iterable[_Union[_job_service_pb2.NoticeEvent, _Mapping]]] = ..., steps_ms: _Optional[_Mapping[str, float]] = ..., network_reused: bool = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("name", "channels", "pixel_type", "help")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    PIXEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    name: str
    channels: str
    pixel_type: str
    help: str
    def __init__(self, name: _Optional[str] = ..., channels: _Optional[str] = ..., pixel_type: _Optional[str] = ..., help: _Optional[str] = ...) -> None: ...

class MergedFrame(_message.Message):
    __slots__ = ("frame", "path", "key")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    frame: int
    path: str
    key: str
    def __init__(self, frame: _Optional[int] = ..., path: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class ListLayersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListLayersResponse(_message.Message):
    __slots__ = ("layers",)
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    def __init__(self, layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ...) -> None: ...

class GetMergeOutputRequest(_message.Message):
    __slots__ = ("output_path", "page_size", "page_token")
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    output_path: str
    page_size: int
    page_token: str
    def __init__(self, output_path: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetMergeOutputResponse(_message.Message):
    __slots__ = ("frames", "next_page_token")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[MergedFrame]
    next_page_token: str
    def __init__(self, frames: _Optional[_Iterable[_Union[MergedFrame, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class MergeFrameRequest(_message.Message):
    __slots__ = ("plate_path", "frame", "model_path", "faceset_path", "settings", "layers", "pixel_format", "road", "output_path", "reduction", "max_side_px", "region", "window", "client_key")
    PLATE_PATH_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    FACESET_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    PIXEL_FORMAT_FIELD_NUMBER: _ClassVar[int]
    ROAD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    MAX_SIDE_PX_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    plate_path: str
    frame: int
    model_path: str
    faceset_path: str
    settings: _settings_pb2.MergeSettings
    layers: _containers.RepeatedScalarFieldContainer[str]
    pixel_format: PixelFormat
    road: PixelRoad
    output_path: str
    reduction: int
    max_side_px: int
    region: FrameRegion
    window: PixelWindow
    client_key: str
    def __init__(self, plate_path: _Optional[str] = ..., frame: _Optional[int] = ..., model_path: _Optional[str] = ..., faceset_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.MergeSettings, _Mapping]] = ..., layers: _Optional[_Iterable[str]] = ..., pixel_format: _Optional[_Union[PixelFormat, str]] = ..., road: _Optional[_Union[PixelRoad, str]] = ..., output_path: _Optional[str] = ..., reduction: _Optional[int] = ..., max_side_px: _Optional[int] = ..., region: _Optional[_Union[FrameRegion, str]] = ..., window: _Optional[_Union[PixelWindow, _Mapping]] = ..., client_key: _Optional[str] = ...) -> None: ...

class MergeFrameResponse(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: FrameHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...
