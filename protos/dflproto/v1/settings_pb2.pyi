from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ExtractSettings(_message.Message):
    __slots__ = ("detector", "landmarker", "face_type", "aligned_size", "max_faces", "min_face_size", "min_score", "detect_size", "compute_identity", "input_colorspace", "ocio_config", "missing_frames", "authorization_person", "authorization_project", "authorization_use", "authorization_until", "authorization_reference", "aligned_format", "jpeg_quality", "rotations", "landmark_passes", "landmark_looks", "mesh_above_yaw", "detect_batch", "identity_encoder", "smoothing_radius", "max_gap", "split_at_cuts", "keep_person", "keep_tracks", "same_person_distance", "people", "restore_deleted")
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
    ALIGNED_FORMAT_FIELD_NUMBER: _ClassVar[int]
    JPEG_QUALITY_FIELD_NUMBER: _ClassVar[int]
    ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    LANDMARK_PASSES_FIELD_NUMBER: _ClassVar[int]
    LANDMARK_LOOKS_FIELD_NUMBER: _ClassVar[int]
    MESH_ABOVE_YAW_FIELD_NUMBER: _ClassVar[int]
    DETECT_BATCH_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_ENCODER_FIELD_NUMBER: _ClassVar[int]
    SMOOTHING_RADIUS_FIELD_NUMBER: _ClassVar[int]
    MAX_GAP_FIELD_NUMBER: _ClassVar[int]
    SPLIT_AT_CUTS_FIELD_NUMBER: _ClassVar[int]
    KEEP_PERSON_FIELD_NUMBER: _ClassVar[int]
    KEEP_TRACKS_FIELD_NUMBER: _ClassVar[int]
    SAME_PERSON_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    RESTORE_DELETED_FIELD_NUMBER: _ClassVar[int]
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
    aligned_format: str
    jpeg_quality: int
    rotations: str
    landmark_passes: int
    landmark_looks: int
    mesh_above_yaw: float
    detect_batch: int
    identity_encoder: str
    smoothing_radius: int
    max_gap: int
    split_at_cuts: bool
    keep_person: str
    keep_tracks: str
    same_person_distance: float
    people: str
    restore_deleted: bool
    def __init__(self, detector: _Optional[str] = ..., landmarker: _Optional[str] = ..., face_type: _Optional[str] = ..., aligned_size: _Optional[int] = ..., max_faces: _Optional[int] = ..., min_face_size: _Optional[int] = ..., min_score: _Optional[float] = ..., detect_size: _Optional[int] = ..., compute_identity: bool = ..., input_colorspace: _Optional[str] = ..., ocio_config: _Optional[str] = ..., missing_frames: _Optional[str] = ..., authorization_person: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_until: _Optional[str] = ..., authorization_reference: _Optional[str] = ..., aligned_format: _Optional[str] = ..., jpeg_quality: _Optional[int] = ..., rotations: _Optional[str] = ..., landmark_passes: _Optional[int] = ..., landmark_looks: _Optional[int] = ..., mesh_above_yaw: _Optional[float] = ..., detect_batch: _Optional[int] = ..., identity_encoder: _Optional[str] = ..., smoothing_radius: _Optional[int] = ..., max_gap: _Optional[int] = ..., split_at_cuts: bool = ..., keep_person: _Optional[str] = ..., keep_tracks: _Optional[str] = ..., same_person_distance: _Optional[float] = ..., people: _Optional[str] = ..., restore_deleted: bool = ...) -> None: ...

class TrainSettings(_message.Message):
    __slots__ = ("preset", "iterations", "minutes", "batch_size", "resolution", "learning_rate", "random_warp", "random_flip_source", "random_flip_target", "masked_training", "save_interval_s", "preview_interval_s", "keep_generations", "cache_mb", "seed", "device", "authorization_project", "authorization_use", "authorization_reference", "face_type", "precision", "masks", "fit_batch", "letters", "ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims", "morph_factor", "ca_init", "optimizer", "lr_dropout", "lr_cycle", "clip_gradients", "ema_decay", "random_hsv", "color_transfer", "uniform_yaw", "eyes_mouth_priority", "blur_out_mask", "face_style_power", "background_style_power", "true_face_power", "gan_power", "gan_patch_size", "gan_dims", "pretrain", "backup_interval_h", "keep_backups", "preview_history", "processes", "shard_optimizer", "channels_last", "compile", "accumulate_steps", "checkpoint_activations", "offload_optimizer", "nodes", "node_address")
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
    MASKS_FIELD_NUMBER: _ClassVar[int]
    FIT_BATCH_FIELD_NUMBER: _ClassVar[int]
    LETTERS_FIELD_NUMBER: _ClassVar[int]
    AE_DIMS_FIELD_NUMBER: _ClassVar[int]
    INTER_DIMS_FIELD_NUMBER: _ClassVar[int]
    E_DIMS_FIELD_NUMBER: _ClassVar[int]
    D_DIMS_FIELD_NUMBER: _ClassVar[int]
    D_MASK_DIMS_FIELD_NUMBER: _ClassVar[int]
    MORPH_FACTOR_FIELD_NUMBER: _ClassVar[int]
    CA_INIT_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LR_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    LR_CYCLE_FIELD_NUMBER: _ClassVar[int]
    CLIP_GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    EMA_DECAY_FIELD_NUMBER: _ClassVar[int]
    RANDOM_HSV_FIELD_NUMBER: _ClassVar[int]
    COLOR_TRANSFER_FIELD_NUMBER: _ClassVar[int]
    UNIFORM_YAW_FIELD_NUMBER: _ClassVar[int]
    EYES_MOUTH_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    BLUR_OUT_MASK_FIELD_NUMBER: _ClassVar[int]
    FACE_STYLE_POWER_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_STYLE_POWER_FIELD_NUMBER: _ClassVar[int]
    TRUE_FACE_POWER_FIELD_NUMBER: _ClassVar[int]
    GAN_POWER_FIELD_NUMBER: _ClassVar[int]
    GAN_PATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    GAN_DIMS_FIELD_NUMBER: _ClassVar[int]
    PRETRAIN_FIELD_NUMBER: _ClassVar[int]
    BACKUP_INTERVAL_H_FIELD_NUMBER: _ClassVar[int]
    KEEP_BACKUPS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_HISTORY_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    SHARD_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_LAST_FIELD_NUMBER: _ClassVar[int]
    COMPILE_FIELD_NUMBER: _ClassVar[int]
    ACCUMULATE_STEPS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    OFFLOAD_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    NODE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
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
    masks: str
    fit_batch: bool
    letters: str
    ae_dims: int
    inter_dims: int
    e_dims: int
    d_dims: int
    d_mask_dims: int
    morph_factor: float
    ca_init: bool
    optimizer: str
    lr_dropout: float
    lr_cycle: int
    clip_gradients: float
    ema_decay: float
    random_hsv: float
    color_transfer: str
    uniform_yaw: bool
    eyes_mouth_priority: bool
    blur_out_mask: bool
    face_style_power: float
    background_style_power: float
    true_face_power: float
    gan_power: float
    gan_patch_size: int
    gan_dims: int
    pretrain: bool
    backup_interval_h: float
    keep_backups: int
    preview_history: int
    processes: int
    shard_optimizer: bool
    channels_last: str
    compile: str
    accumulate_steps: int
    checkpoint_activations: bool
    offload_optimizer: bool
    nodes: int
    node_address: str
    def __init__(self, preset: _Optional[str] = ..., iterations: _Optional[int] = ..., minutes: _Optional[float] = ..., batch_size: _Optional[int] = ..., resolution: _Optional[int] = ..., learning_rate: _Optional[float] = ..., random_warp: bool = ..., random_flip_source: bool = ..., random_flip_target: bool = ..., masked_training: bool = ..., save_interval_s: _Optional[float] = ..., preview_interval_s: _Optional[float] = ..., keep_generations: _Optional[int] = ..., cache_mb: _Optional[int] = ..., seed: _Optional[int] = ..., device: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_reference: _Optional[str] = ..., face_type: _Optional[str] = ..., precision: _Optional[str] = ..., masks: _Optional[str] = ..., fit_batch: bool = ..., letters: _Optional[str] = ..., ae_dims: _Optional[int] = ..., inter_dims: _Optional[int] = ..., e_dims: _Optional[int] = ..., d_dims: _Optional[int] = ..., d_mask_dims: _Optional[int] = ..., morph_factor: _Optional[float] = ..., ca_init: bool = ..., optimizer: _Optional[str] = ..., lr_dropout: _Optional[float] = ..., lr_cycle: _Optional[int] = ..., clip_gradients: _Optional[float] = ..., ema_decay: _Optional[float] = ..., random_hsv: _Optional[float] = ..., color_transfer: _Optional[str] = ..., uniform_yaw: bool = ..., eyes_mouth_priority: bool = ..., blur_out_mask: bool = ..., face_style_power: _Optional[float] = ..., background_style_power: _Optional[float] = ..., true_face_power: _Optional[float] = ..., gan_power: _Optional[float] = ..., gan_patch_size: _Optional[int] = ..., gan_dims: _Optional[int] = ..., pretrain: bool = ..., backup_interval_h: _Optional[float] = ..., keep_backups: _Optional[int] = ..., preview_history: _Optional[int] = ..., processes: _Optional[int] = ..., shard_optimizer: bool = ..., channels_last: _Optional[str] = ..., compile: _Optional[str] = ..., accumulate_steps: _Optional[int] = ..., checkpoint_activations: bool = ..., offload_optimizer: bool = ..., nodes: _Optional[int] = ..., node_address: _Optional[str] = ...) -> None: ...

class MergeSettings(_message.Message):
    __slots__ = ("profile", "layers", "matte_mode", "matte_erode", "matte_feather", "color_transfer", "opacity", "face_scale", "bit_depth", "compression", "input_colorspace", "ocio_config", "missing_frames", "overwrite", "provenance_attributes", "device", "authorization_project", "authorization_use", "segmentation", "identity", "morph", "mode", "segmenter", "smooth_matte", "color_area", "histogram_threshold", "smooth_colors", "cast", "smooth_landmarks", "sharpen", "sharpen_mode", "denoise", "degrade", "color_degrade", "motion_blur", "grain", "enhancer", "enhance_power", "overrides", "dwa_level", "seamless_light")
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
    SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    MORPH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTER_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_MATTE_FIELD_NUMBER: _ClassVar[int]
    COLOR_AREA_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_COLORS_FIELD_NUMBER: _ClassVar[int]
    CAST_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    SHARPEN_FIELD_NUMBER: _ClassVar[int]
    SHARPEN_MODE_FIELD_NUMBER: _ClassVar[int]
    DENOISE_FIELD_NUMBER: _ClassVar[int]
    DEGRADE_FIELD_NUMBER: _ClassVar[int]
    COLOR_DEGRADE_FIELD_NUMBER: _ClassVar[int]
    MOTION_BLUR_FIELD_NUMBER: _ClassVar[int]
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    ENHANCER_FIELD_NUMBER: _ClassVar[int]
    ENHANCE_POWER_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    DWA_LEVEL_FIELD_NUMBER: _ClassVar[int]
    SEAMLESS_LIGHT_FIELD_NUMBER: _ClassVar[int]
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
    segmentation: str
    identity: str
    morph: float
    mode: str
    segmenter: str
    smooth_matte: int
    color_area: str
    histogram_threshold: float
    smooth_colors: int
    cast: str
    smooth_landmarks: int
    sharpen: float
    sharpen_mode: str
    denoise: float
    degrade: float
    color_degrade: float
    motion_blur: float
    grain: float
    enhancer: str
    enhance_power: float
    overrides: str
    dwa_level: float
    seamless_light: str
    def __init__(self, profile: _Optional[str] = ..., layers: _Optional[str] = ..., matte_mode: _Optional[str] = ..., matte_erode: _Optional[float] = ..., matte_feather: _Optional[float] = ..., color_transfer: _Optional[str] = ..., opacity: _Optional[float] = ..., face_scale: _Optional[float] = ..., bit_depth: _Optional[str] = ..., compression: _Optional[str] = ..., input_colorspace: _Optional[str] = ..., ocio_config: _Optional[str] = ..., missing_frames: _Optional[str] = ..., overwrite: bool = ..., provenance_attributes: _Optional[str] = ..., device: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., segmentation: _Optional[str] = ..., identity: _Optional[str] = ..., morph: _Optional[float] = ..., mode: _Optional[str] = ..., segmenter: _Optional[str] = ..., smooth_matte: _Optional[int] = ..., color_area: _Optional[str] = ..., histogram_threshold: _Optional[float] = ..., smooth_colors: _Optional[int] = ..., cast: _Optional[str] = ..., smooth_landmarks: _Optional[int] = ..., sharpen: _Optional[float] = ..., sharpen_mode: _Optional[str] = ..., denoise: _Optional[float] = ..., degrade: _Optional[float] = ..., color_degrade: _Optional[float] = ..., motion_blur: _Optional[float] = ..., grain: _Optional[float] = ..., enhancer: _Optional[str] = ..., enhance_power: _Optional[float] = ..., overrides: _Optional[str] = ..., dwa_level: _Optional[float] = ..., seamless_light: _Optional[str] = ...) -> None: ...

class MeasureSettings(_message.Message):
    __slots__ = ("threads",)
    THREADS_FIELD_NUMBER: _ClassVar[int]
    threads: int
    def __init__(self, threads: _Optional[int] = ...) -> None: ...

class SortSettings(_message.Message):
    __slots__ = ("by", "reverse", "count", "reference", "where", "view", "trash_rejected", "browse", "dissimilar")
    BY_FIELD_NUMBER: _ClassVar[int]
    REVERSE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    TRASH_REJECTED_FIELD_NUMBER: _ClassVar[int]
    BROWSE_FIELD_NUMBER: _ClassVar[int]
    DISSIMILAR_FIELD_NUMBER: _ClassVar[int]
    by: str
    reverse: bool
    count: int
    reference: str
    where: str
    view: str
    trash_rejected: bool
    browse: bool
    dissimilar: bool
    def __init__(self, by: _Optional[str] = ..., reverse: bool = ..., count: _Optional[int] = ..., reference: _Optional[str] = ..., where: _Optional[str] = ..., view: _Optional[str] = ..., trash_rejected: bool = ..., browse: bool = ..., dissimilar: bool = ...) -> None: ...

class TrashSettings(_message.Message):
    __slots__ = ("where", "view", "not_in_view", "names")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    NOT_IN_VIEW_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    where: str
    view: str
    not_in_view: bool
    names: str
    def __init__(self, where: _Optional[str] = ..., view: _Optional[str] = ..., not_in_view: bool = ..., names: _Optional[str] = ...) -> None: ...

class RestoreSettings(_message.Message):
    __slots__ = ("what", "names")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    what: str
    names: str
    def __init__(self, what: _Optional[str] = ..., names: _Optional[str] = ...) -> None: ...

class EmptyTrashSettings(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CoverageSettings(_message.Message):
    __slots__ = ("reach",)
    REACH_FIELD_NUMBER: _ClassVar[int]
    reach: float
    def __init__(self, reach: _Optional[float] = ...) -> None: ...

class ChangeSettings(_message.Message):
    __slots__ = ("face_type", "aligned_size", "from_plate")
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ALIGNED_SIZE_FIELD_NUMBER: _ClassVar[int]
    FROM_PLATE_FIELD_NUMBER: _ClassVar[int]
    face_type: str
    aligned_size: int
    from_plate: bool
    def __init__(self, face_type: _Optional[str] = ..., aligned_size: _Optional[int] = ..., from_plate: bool = ...) -> None: ...

class EnhanceSettings(_message.Message):
    __slots__ = ("enhancer", "strength", "device")
    ENHANCER_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    enhancer: str
    strength: float
    device: str
    def __init__(self, enhancer: _Optional[str] = ..., strength: _Optional[float] = ..., device: _Optional[str] = ...) -> None: ...

class PackSettings(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnpackSettings(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ImportLegacySettings(_message.Message):
    __slots__ = ("authorization_person", "authorization_project", "authorization_use", "authorization_until", "authorization_reference", "meta_dat", "plate", "face_type", "aligned_size")
    AUTHORIZATION_PERSON_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PROJECT_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_USE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_UNTIL_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    META_DAT_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ALIGNED_SIZE_FIELD_NUMBER: _ClassVar[int]
    authorization_person: str
    authorization_project: str
    authorization_use: str
    authorization_until: str
    authorization_reference: str
    meta_dat: str
    plate: str
    face_type: str
    aligned_size: int
    def __init__(self, authorization_person: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_until: _Optional[str] = ..., authorization_reference: _Optional[str] = ..., meta_dat: _Optional[str] = ..., plate: _Optional[str] = ..., face_type: _Optional[str] = ..., aligned_size: _Optional[int] = ...) -> None: ...

class ExportLegacySettings(_message.Message):
    __slots__ = ("jpeg_quality",)
    JPEG_QUALITY_FIELD_NUMBER: _ClassVar[int]
    jpeg_quality: int
    def __init__(self, jpeg_quality: _Optional[int] = ...) -> None: ...

class SaveMetadataSettings(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RestoreMetadataSettings(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecoverNamesSettings(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ImportLabelsSettings(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ImportMasksSettings(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: str
    def __init__(self, source: _Optional[str] = ...) -> None: ...

class ImportMattesSettings(_message.Message):
    __slots__ = ("source", "plate")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    source: str
    plate: str
    def __init__(self, source: _Optional[str] = ..., plate: _Optional[str] = ...) -> None: ...

class ExportMasksSettings(_message.Message):
    __slots__ = ("what", "recipe")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    what: str
    recipe: str
    def __init__(self, what: _Optional[str] = ..., recipe: _Optional[str] = ...) -> None: ...

class RemoveMasksSettings(_message.Message):
    __slots__ = ("source", "restore")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    source: str
    restore: bool
    def __init__(self, source: _Optional[str] = ..., restore: bool = ...) -> None: ...

class ApplyMasksSettings(_message.Message):
    __slots__ = ("source", "batch_size", "device")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    source: str
    batch_size: int
    device: str
    def __init__(self, source: _Optional[str] = ..., batch_size: _Optional[int] = ..., device: _Optional[str] = ...) -> None: ...

class MaskTrainSettings(_message.Message):
    __slots__ = ("preset", "masks", "iterations", "minutes", "batch_size", "resolution", "face_type", "learning_rate", "pretrain", "occluders", "backgrounds", "random_flip", "save_interval_s", "preview_interval_s", "keep_generations", "cache_mb", "seed", "device", "precision", "authorization_project", "authorization_use", "authorization_reference")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    PRETRAIN_FIELD_NUMBER: _ClassVar[int]
    OCCLUDERS_FIELD_NUMBER: _ClassVar[int]
    BACKGROUNDS_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FLIP_FIELD_NUMBER: _ClassVar[int]
    SAVE_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    KEEP_GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    CACHE_MB_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PROJECT_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_USE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    preset: str
    masks: str
    iterations: int
    minutes: float
    batch_size: int
    resolution: int
    face_type: str
    learning_rate: float
    pretrain: bool
    occluders: float
    backgrounds: float
    random_flip: bool
    save_interval_s: float
    preview_interval_s: float
    keep_generations: int
    cache_mb: int
    seed: int
    device: str
    precision: str
    authorization_project: str
    authorization_use: str
    authorization_reference: str
    def __init__(self, preset: _Optional[str] = ..., masks: _Optional[str] = ..., iterations: _Optional[int] = ..., minutes: _Optional[float] = ..., batch_size: _Optional[int] = ..., resolution: _Optional[int] = ..., face_type: _Optional[str] = ..., learning_rate: _Optional[float] = ..., pretrain: bool = ..., occluders: _Optional[float] = ..., backgrounds: _Optional[float] = ..., random_flip: bool = ..., save_interval_s: _Optional[float] = ..., preview_interval_s: _Optional[float] = ..., keep_generations: _Optional[int] = ..., cache_mb: _Optional[int] = ..., seed: _Optional[int] = ..., device: _Optional[str] = ..., precision: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_reference: _Optional[str] = ...) -> None: ...

class DetailTrainSettings(_message.Message):
    __slots__ = ("preset", "face_model", "painted_share", "iterations", "minutes", "batch_size", "resolution", "scale", "face_type", "learning_rate", "sharpest", "softness_px", "noise", "compression", "texture", "random_flip", "save_interval_s", "preview_interval_s", "keep_generations", "cache_mb", "seed", "device", "precision", "authorization_project", "authorization_use", "authorization_reference")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    FACE_MODEL_FIELD_NUMBER: _ClassVar[int]
    PAINTED_SHARE_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    SHARPEST_FIELD_NUMBER: _ClassVar[int]
    SOFTNESS_PX_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    TEXTURE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FLIP_FIELD_NUMBER: _ClassVar[int]
    SAVE_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    KEEP_GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    CACHE_MB_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PROJECT_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_USE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    preset: str
    face_model: str
    painted_share: float
    iterations: int
    minutes: float
    batch_size: int
    resolution: int
    scale: int
    face_type: str
    learning_rate: float
    sharpest: float
    softness_px: float
    noise: float
    compression: float
    texture: float
    random_flip: bool
    save_interval_s: float
    preview_interval_s: float
    keep_generations: int
    cache_mb: int
    seed: int
    device: str
    precision: str
    authorization_project: str
    authorization_use: str
    authorization_reference: str
    def __init__(self, preset: _Optional[str] = ..., face_model: _Optional[str] = ..., painted_share: _Optional[float] = ..., iterations: _Optional[int] = ..., minutes: _Optional[float] = ..., batch_size: _Optional[int] = ..., resolution: _Optional[int] = ..., scale: _Optional[int] = ..., face_type: _Optional[str] = ..., learning_rate: _Optional[float] = ..., sharpest: _Optional[float] = ..., softness_px: _Optional[float] = ..., noise: _Optional[float] = ..., compression: _Optional[float] = ..., texture: _Optional[float] = ..., random_flip: bool = ..., save_interval_s: _Optional[float] = ..., preview_interval_s: _Optional[float] = ..., keep_generations: _Optional[int] = ..., cache_mb: _Optional[int] = ..., seed: _Optional[int] = ..., device: _Optional[str] = ..., precision: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_reference: _Optional[str] = ...) -> None: ...

class ModelImportSettings(_message.Message):
    __slots__ = ("name", "face_type", "authorization_person", "authorization_project", "authorization_use", "authorization_until", "authorization_reference")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FACE_TYPE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PERSON_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_PROJECT_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_USE_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_UNTIL_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    face_type: str
    authorization_person: str
    authorization_project: str
    authorization_use: str
    authorization_until: str
    authorization_reference: str
    def __init__(self, name: _Optional[str] = ..., face_type: _Optional[str] = ..., authorization_person: _Optional[str] = ..., authorization_project: _Optional[str] = ..., authorization_use: _Optional[str] = ..., authorization_until: _Optional[str] = ..., authorization_reference: _Optional[str] = ...) -> None: ...

class ModelExportSettings(_message.Message):
    __slots__ = ("kind", "identity", "half", "scene_linear", "overwrite")
    KIND_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    HALF_FIELD_NUMBER: _ClassVar[int]
    SCENE_LINEAR_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    identity: str
    half: bool
    scene_linear: bool
    overwrite: bool
    def __init__(self, kind: _Optional[str] = ..., identity: _Optional[str] = ..., half: bool = ..., scene_linear: bool = ..., overwrite: bool = ...) -> None: ...

class QcSettings(_message.Message):
    __slots__ = ("max_identity_distance", "min_similarity", "max_perceptual", "max_landmark_error", "max_pose_error", "min_sharpness", "min_grain", "max_grain", "max_seam", "max_flicker", "max_boil", "max_jitter", "max_matte_jump", "max_highlight", "min_confidence", "worst_frames", "spread_frames", "landmarker", "input_colorspace", "ocio_config", "overwrite", "device")
    MAX_IDENTITY_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    MAX_PERCEPTUAL_FIELD_NUMBER: _ClassVar[int]
    MAX_LANDMARK_ERROR_FIELD_NUMBER: _ClassVar[int]
    MAX_POSE_ERROR_FIELD_NUMBER: _ClassVar[int]
    MIN_SHARPNESS_FIELD_NUMBER: _ClassVar[int]
    MIN_GRAIN_FIELD_NUMBER: _ClassVar[int]
    MAX_GRAIN_FIELD_NUMBER: _ClassVar[int]
    MAX_SEAM_FIELD_NUMBER: _ClassVar[int]
    MAX_FLICKER_FIELD_NUMBER: _ClassVar[int]
    MAX_BOIL_FIELD_NUMBER: _ClassVar[int]
    MAX_JITTER_FIELD_NUMBER: _ClassVar[int]
    MAX_MATTE_JUMP_FIELD_NUMBER: _ClassVar[int]
    MAX_HIGHLIGHT_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WORST_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FRAMES_FIELD_NUMBER: _ClassVar[int]
    LANDMARKER_FIELD_NUMBER: _ClassVar[int]
    INPUT_COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    OCIO_CONFIG_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    max_identity_distance: float
    min_similarity: float
    max_perceptual: float
    max_landmark_error: float
    max_pose_error: float
    min_sharpness: float
    min_grain: float
    max_grain: float
    max_seam: float
    max_flicker: float
    max_boil: float
    max_jitter: float
    max_matte_jump: float
    max_highlight: float
    min_confidence: float
    worst_frames: int
    spread_frames: int
    landmarker: str
    input_colorspace: str
    ocio_config: str
    overwrite: bool
    device: str
    def __init__(self, max_identity_distance: _Optional[float] = ..., min_similarity: _Optional[float] = ..., max_perceptual: _Optional[float] = ..., max_landmark_error: _Optional[float] = ..., max_pose_error: _Optional[float] = ..., min_sharpness: _Optional[float] = ..., min_grain: _Optional[float] = ..., max_grain: _Optional[float] = ..., max_seam: _Optional[float] = ..., max_flicker: _Optional[float] = ..., max_boil: _Optional[float] = ..., max_jitter: _Optional[float] = ..., max_matte_jump: _Optional[float] = ..., max_highlight: _Optional[float] = ..., min_confidence: _Optional[float] = ..., worst_frames: _Optional[int] = ..., spread_frames: _Optional[int] = ..., landmarker: _Optional[str] = ..., input_colorspace: _Optional[str] = ..., ocio_config: _Optional[str] = ..., overwrite: bool = ..., device: _Optional[str] = ...) -> None: ...
