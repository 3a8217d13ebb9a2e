from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
    __slots__ = ("output_path",)
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    output_path: str
    def __init__(self, output_path: _Optional[str] = ...) -> None: ...

class GetMergeOutputResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[MergedFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[MergedFrame, _Mapping]]] = ...) -> None: ...
