from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ExtractSettings(_message.Message):
    __slots__ = ("detector", "landmarker", "face_type", "aligned_size", "max_faces", "min_face_size", "min_score", "detect_size", "compute_identity", "input_colorspace", "ocio_config", "missing_frames", "authorization_person", "authorization_project", "authorization_use", "authorization_until", "authorization_reference")
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    LANDMARKER_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ALIGNED_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_FACES_FIELD_NUMBER: _ClassVar[int]
    MIN_FACE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    DETECT_SIZE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    INPUT_COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    OCIO_CONFIG_FIELD_NUMBER: _ClassVar[int]
    MISSING_FRAMES_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PERSON_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PROJECT_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_USE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_UNTIL_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    detector: str
    landmarker: str
    face_type: str
    aligned_size: int
    max_faces: int
    min_face_size: int
    min_score: float
    detect_size: int
    compute_identity: bool
    input_colorspace: str
    ocio_config: str
    missing_frames: str
    authorization_person: str
    authorization_project: str
    authorization_use: str
    authorization_until: str
    authorization_reference: str
    def __init__(self, detector: _Optional[str] = ..., landmarker: _Optional[str] = ..., face_type: _Optional[str] = ..., aligned_size: _Optional[int] = ..., max_faces: _Optional[int] = ..., min_face_size: _Optional[int] = ..., min_score: _Optional[float] = ..., detect_size: _Optional[int] = ..., compute_identity: bool = ..., input_colorspace: _Optional[str] = ..., ocio_config: _Optional[str] = ..., missing_frames: _Optional[str] = ..., authorization_person: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_until: _Optional[str] = ..., authorization_reference: _Optional[str] = ...) -> None: ...

class TrainSettings(_message.Message):
    __slots__ = ("preset", "iterations", "minutes", "batch_size", "resolution", "learning_rate", "random_warp", "random_flip_source", "random_flip_target", "masked_training", "save_interval_s", "preview_interval_s", "keep_generations", "cache_mb", "seed", "device", "authorization_project", "authorization_use", "authorization_reference", "face_type", "precision")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_WARP_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FLIP_SOURCE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FLIP_TARGET_FIELD_NUMBER: _ClassVar[int]
    MASKED_TRAINING_FIELD_NUMBER: _ClassVar[int]
    SAVE_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    KEEP_GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    CACHE_MB_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PROJECT_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_USE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    preset: str
    iterations: int
    minutes: float
    batch_size: int
    resolution: int
    learning_rate: float
    random_warp: bool
    random_flip_source: bool
    random_flip_target: bool
    masked_training: bool
    save_interval_s: float
    preview_interval_s: float
    keep_generations: int
    cache_mb: int
    seed: int
    device: str
    authorization_project: str
    authorization_use: str
    authorization_reference: str
    face_type: str
    precision: str
    def __init__(self, preset: _Optional[str] = ..., iterations: _Optional[int] = ..., minutes: _Optional[float] = ..., batch_size: _Optional[int] = ..., resolution: _Optional[int] = ..., learning_rate: _Optional[float] = ..., random_warp: bool = ..., random_flip_source: bool = ..., random_flip_target: bool = ..., masked_training: bool = ..., save_interval_s: _Optional[float] = ..., preview_interval_s: _Optional[float] = ..., keep_generations: _Optional[int] = ..., cache_mb: _Optional[int] = ..., seed: _Optional[int] = ..., device: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_reference: _Optional[str] = ..., face_type: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class MergeSettings(_message.Message):
    __slots__ = ("profile", "layers", "matte_mode", "matte_erode", "matte_feather", "color_transfer", "opacity", "face_scale", "bit_depth", "compression", "input_colorspace", "ocio_config", "missing_frames", "overwrite", "provenance_attributes", "device", "authorization_project", "authorization_use")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    MATTE_MODE_FIELD_NUMBER: _ClassVar[int]
    MATTE_ERODE_FIELD_NUMBER: _ClassVar[int]
    MATTE_FEATHER_FIELD_NUMBER: _ClassVar[int]
    COLOR_TRANSFER_FIELD_NUMBER: _ClassVar[int]
    OPACITY_FIELD_NUMBER: _ClassVar[int]
    FACE_SCALE_FIELD_NUMBER: _ClassVar[int]
    BIT_DEPTH_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    INPUT_COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    OCIO_CONFIG_FIELD_NUMBER: _ClassVar[int]
    MISSING_FRAMES_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PROJECT_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_USE_FIELD_NUMBER: _ClassVar[int]
    profile: str
    layers: str
    matte_mode: str
    matte_erode: float
    matte_feather: float
    color_transfer: str
    opacity: float
    face_scale: float
    bit_depth: str
    compression: str
    input_colorspace: str
    ocio_config: str
    missing_frames: str
    overwrite: bool
    provenance_attributes: str
    device: str
    authorization_project: str
    authorization_use: str
    def __init__(self, profile: _Optional[str] = ..., layers: _Optional[str] = ..., matte_mode: _Optional[str] = ..., matte_erode: _Optional[float] = ..., matte_feather: _Optional[float] = ..., color_transfer: _Optional[str] = ..., opacity: _Optional[float] = ..., face_scale: _Optional[float] = ..., bit_depth: _Optional[str] = ..., compression: _Optional[str] = ..., input_colorspace: _Optional[str] = ..., ocio_config: _Optional[str] = ..., missing_frames: _Optional[str] = ..., overwrite: bool = ..., provenance_attributes: _Optional[str] = ..., device: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ...) -> None: ...
