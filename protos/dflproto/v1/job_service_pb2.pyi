from dflproto.v1 import common_pb2 as _common_pb2
from dflproto.v1 import settings_pb2 as _settings_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlateSpec(_message.Message):
    __slots__ = ("path", "frames")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    path: str
    frames: str
    def __init__(self, path: _Optional[str] = ..., frames: _Optional[str] = ...) -> None: ...

class ExtractSpec(_message.Message):
    __slots__ = ("plate", "faceset_path", "settings")
    PLATE_FIELD_NUMBER: _ClassVar[int]
    FACESET_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    plate: PlateSpec
    faceset_path: str
    settings: _settings_pb2.ExtractSettings
    def __init__(self, plate: _Optional[_Union[PlateSpec, _Mapping]] = ..., faceset_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.ExtractSettings, _Mapping]] = ...) -> None: ...

class TrainSpec(_message.Message):
    __slots__ = ("source_path", "target_path", "model_path", "settings", "more_source_paths")
    SOURCE_PATH_FIELD_NUMBER: _ClassVar[int]
    TARGET_PATH_FIELD_NUMBER: _ClassVar[int]
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MORE_SOURCE_PATHS_FIELD_NUMBER: _ClassVar[int]
    source_path: str
    target_path: str
    model_path: str
    settings: _settings_pb2.TrainSettings
    more_source_paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source_path: _Optional[str] = ..., target_path: _Optional[str] = ..., model_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.TrainSettings, _Mapping]] = ..., more_source_paths: _Optional[_Iterable[str]] = ...) -> None: ...

class MergeSpec(_message.Message):
    __slots__ = ("plate", "model_path", "faceset_path", "output_path", "settings")
    PLATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    FACESET_PATH_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    plate: PlateSpec
    model_path: str
    faceset_path: str
    output_path: str
    settings: _settings_pb2.MergeSettings
    def __init__(self, plate: _Optional[_Union[PlateSpec, _Mapping]] = ..., model_path: _Optional[str] = ..., faceset_path: _Optional[str] = ..., output_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.MergeSettings, _Mapping]] = ...) -> None: ...

class CurateSpec(_message.Message):
    __slots__ = ("faceset_path", "other_path", "output_path", "measure", "sort", "trash", "restore", "empty_trash", "coverage", "change", "enhance", "pack", "unpack", "import_legacy", "export_legacy", "save_metadata", "restore_metadata", "recover_names", "import_labels", "import_masks", "import_mattes", "export_masks", "remove_masks", "apply_masks")
    FACESET_PATH_FIELD_NUMBER: _ClassVar[int]
    OTHER_PATH_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    TRASH_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    EMPTY_TRASH_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    ENHANCE_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    UNPACK_FIELD_NUMBER: _ClassVar[int]
    IMPORT_LEGACY_FIELD_NUMBER: _ClassVar[int]
    EXPORT_LEGACY_FIELD_NUMBER: _ClassVar[int]
    SAVE_METADATA_FIELD_NUMBER: _ClassVar[int]
    RESTORE_METADATA_FIELD_NUMBER: _ClassVar[int]
    RECOVER_NAMES_FIELD_NUMBER: _ClassVar[int]
    IMPORT_LABELS_FIELD_NUMBER: _ClassVar[int]
    IMPORT_MASKS_FIELD_NUMBER: _ClassVar[int]
    IMPORT_MATTES_FIELD_NUMBER: _ClassVar[int]
    EXPORT_MASKS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_MASKS_FIELD_NUMBER: _ClassVar[int]
    APPLY_MASKS_FIELD_NUMBER: _ClassVar[int]
    faceset_path: str
    other_path: str
    output_path: str
    measure: _settings_pb2.MeasureSettings
    sort: _settings_pb2.SortSettings
    trash: _settings_pb2.TrashSettings
    restore: _settings_pb2.RestoreSettings
    empty_trash: _settings_pb2.EmptyTrashSettings
    coverage: _settings_pb2.CoverageSettings
    change: _settings_pb2.ChangeSettings
    enhance: _settings_pb2.EnhanceSettings
    pack: _settings_pb2.PackSettings
    unpack: _settings_pb2.UnpackSettings
    import_legacy: _settings_pb2.ImportLegacySettings
    export_legacy: _settings_pb2.ExportLegacySettings
    save_metadata: _settings_pb2.SaveMetadataSettings
    restore_metadata: _settings_pb2.RestoreMetadataSettings
    recover_names: _settings_pb2.RecoverNamesSettings
    import_labels: _settings_pb2.ImportLabelsSettings
    import_masks: _settings_pb2.ImportMasksSettings
    import_mattes: _settings_pb2.ImportMattesSettings
    export_masks: _settings_pb2.ExportMasksSettings
    remove_masks: _settings_pb2.RemoveMasksSettings
    apply_masks: _settings_pb2.ApplyMasksSettings
    def __init__(self, faceset_path: _Optional[str] = ..., other_path: _Optional[str] = ..., output_path: _Optional[str] = ..., measure: _Optional[_Union[_settings_pb2.MeasureSettings, _Mapping]] = ..., sort: _Optional[_Union[_settings_pb2.SortSettings, _Mapping]] = ..., trash: _Optional[_Union[_settings_pb2.TrashSettings, _Mapping]] = ..., restore: _Optional[_Union[_settings_pb2.RestoreSettings, _Mapping]] = ..., empty_trash: _Optional[_Union[_settings_pb2.EmptyTrashSettings, _Mapping]] = ..., coverage: _Optional[_Union[_settings_pb2.CoverageSettings, _Mapping]] = ..., change: _Optional[_Union[_settings_pb2.ChangeSettings, _Mapping]] = ..., enhance: _Optional[_Union[_settings_pb2.EnhanceSettings, _Mapping]] = ..., pack: _Optional[_Union[_settings_pb2.PackSettings, _Mapping]] = ..., unpack: _Optional[_Union[_settings_pb2.UnpackSettings, _Mapping]] = ..., import_legacy: _Optional[_Union[_settings_pb2.ImportLegacySettings, _Mapping]] = ..., export_legacy: _Optional[_Union[_settings_pb2.ExportLegacySettings, _Mapping]] = ..., save_metadata: _Optional[_Union[_settings_pb2.SaveMetadataSettings, _Mapping]] = ..., restore_metadata: _Optional[_Union[_settings_pb2.RestoreMetadataSettings, _Mapping]] = ..., recover_names: _Optional[_Union[_settings_pb2.RecoverNamesSettings, _Mapping]] = ..., import_labels: _Optional[_Union[_settings_pb2.ImportLabelsSettings, _Mapping]] = ..., import_masks: _Optional[_Union[_settings_pb2.ImportMasksSettings, _Mapping]] = ..., import_mattes: _Optional[_Union[_settings_pb2.ImportMattesSettings, _Mapping]] = ..., export_masks: _Optional[_Union[_settings_pb2.ExportMasksSettings, _Mapping]] = ..., remove_masks: _Optional[_Union[_settings_pb2.RemoveMasksSettings, _Mapping]] = ..., apply_masks: _Optional[_Union[_settings_pb2.ApplyMasksSettings, _Mapping]] = ...) -> None: ...

class TrainMaskSpec(_message.Message):
    __slots__ = ("faceset_paths", "model_path", "settings")
    FACESET_PATHS_FIELD_NUMBER: _ClassVar[int]
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    faceset_paths: _containers.RepeatedScalarFieldContainer[str]
    model_path: str
    settings: _settings_pb2.MaskTrainSettings
    def __init__(self, faceset_paths: _Optional[_Iterable[str]] = ..., model_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.MaskTrainSettings, _Mapping]] = ...) -> None: ...

class ImportModelSpec(_message.Message):
    __slots__ = ("legacy_path", "model_path", "settings")
    LEGACY_PATH_FIELD_NUMBER: _ClassVar[int]
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    legacy_path: str
    model_path: str
    settings: _settings_pb2.ModelImportSettings
    def __init__(self, legacy_path: _Optional[str] = ..., model_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.ModelImportSettings, _Mapping]] = ...) -> None: ...

class ExportModelSpec(_message.Message):
    __slots__ = ("model_path", "output_path", "settings")
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    model_path: str
    output_path: str
    settings: _settings_pb2.ModelExportSettings
    def __init__(self, model_path: _Optional[str] = ..., output_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.ModelExportSettings, _Mapping]] = ...) -> None: ...

class QcSpec(_message.Message):
    __slots__ = ("plate", "result_path", "faceset_path", "source_path", "output_path", "settings")
    PLATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_PATH_FIELD_NUMBER: _ClassVar[int]
    FACESET_PATH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PATH_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    plate: PlateSpec
    result_path: str
    faceset_path: str
    source_path: str
    output_path: str
    settings: _settings_pb2.QcSettings
    def __init__(self, plate: _Optional[_Union[PlateSpec, _Mapping]] = ..., result_path: _Optional[str] = ..., faceset_path: _Optional[str] = ..., source_path: _Optional[str] = ..., output_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.QcSettings, _Mapping]] = ...) -> None: ...

class TrainDetailSpec(_message.Message):
    __slots__ = ("faceset_paths", "model_path", "settings")
    FACESET_PATHS_FIELD_NUMBER: _ClassVar[int]
    MODEL_PATH_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    faceset_paths: _containers.RepeatedScalarFieldContainer[str]
    model_path: str
    settings: _settings_pb2.DetailTrainSettings
    def __init__(self, faceset_paths: _Optional[_Iterable[str]] = ..., model_path: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.DetailTrainSettings, _Mapping]] = ...) -> None: ...

class JobSpec(_message.Message):
    __slots__ = ("extract", "train", "merge", "curate", "train_mask", "import_model", "export_model", "qc", "train_detail")
    EXTRACT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    MERGE_FIELD_NUMBER: _ClassVar[int]
    CURATE_FIELD_NUMBER: _ClassVar[int]
    TRAIN_MASK_FIELD_NUMBER: _ClassVar[int]
    IMPORT_MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPORT_MODEL_FIELD_NUMBER: _ClassVar[int]
    QC_FIELD_NUMBER: _ClassVar[int]
    TRAIN_DETAIL_FIELD_NUMBER: _ClassVar[int]
    extract: ExtractSpec
    train: TrainSpec
    merge: MergeSpec
    curate: CurateSpec
    train_mask: TrainMaskSpec
    import_model: ImportModelSpec
    export_model: ExportModelSpec
    qc: QcSpec
    train_detail: TrainDetailSpec
    def __init__(self, extract: _Optional[_Union[ExtractSpec, _Mapping]] = ..., train: _Optional[_Union[TrainSpec, _Mapping]] = ..., merge: _Optional[_Union[MergeSpec, _Mapping]] = ..., curate: _Optional[_Union[CurateSpec, _Mapping]] = ..., train_mask: _Optional[_Union[TrainMaskSpec, _Mapping]] = ..., import_model: _Optional[_Union[ImportModelSpec, _Mapping]] = ..., export_model: _Optional[_Union[ExportModelSpec, _Mapping]] = ..., qc: _Optional[_Union[QcSpec, _Mapping]] = ..., train_detail: _Optional[_Union[TrainDetailSpec, _Mapping]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "kind", "state", "spec", "create_time", "start_time", "end_time", "attempt_count", "error", "frame_progress", "train_progress", "last_sequence", "stop_requested", "ahead_count", "result")
    class ResultEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FRAME_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STOP_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    AHEAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: _common_pb2.JobKind
    state: _common_pb2.JobState
    spec: JobSpec
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    attempt_count: int
    error: _common_pb2.ErrorDetail
    frame_progress: FrameProgress
    train_progress: TrainProgress
    last_sequence: int
    stop_requested: bool
    ahead_count: int
    result: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.JobKind, str]] = ..., state: _Optional[_Union[_common_pb2.JobState, str]] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., attempt_count: _Optional[int] = ..., error: _Optional[_Union[_common_pb2.ErrorDetail, _Mapping]] = ..., frame_progress: _Optional[_Union[FrameProgress, _Mapping]] = ..., train_progress: _Optional[_Union[TrainProgress, _Mapping]] = ..., last_sequence: _Optional[int] = ..., stop_requested: bool = ..., ahead_count: _Optional[int] = ..., result: _Optional[_Mapping[str, str]] = ...) -> None: ...

class FrameProgress(_message.Message):
    __slots__ = ("done_count", "total_count", "frame", "path", "face_count", "stage")
    DONE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    FACE_COUNT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    done_count: int
    total_count: int
    frame: int
    path: str
    face_count: int
    stage: str
    def __init__(self, done_count: _Optional[int] = ..., total_count: _Optional[int] = ..., frame: _Optional[int] = ..., path: _Optional[str] = ..., face_count: _Optional[int] = ..., stage: _Optional[str] = ...) -> None: ...

class TrainProgress(_message.Message):
    __slots__ = ("iteration", "target_iterations", "elapsed_s", "target_s", "losses", "step_ms", "data_ms", "learning_rate")
    class LossesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    TARGET_S_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    STEP_MS_FIELD_NUMBER: _ClassVar[int]
    DATA_MS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    iteration: int
    target_iterations: int
    elapsed_s: float
    target_s: float
    losses: _containers.ScalarMap[str, float]
    step_ms: float
    data_ms: float
    learning_rate: float
    def __init__(self, iteration: _Optional[int] = ..., target_iterations: _Optional[int] = ..., elapsed_s: _Optional[float] = ..., target_s: _Optional[float] = ..., losses: _Optional[_Mapping[str, float]] = ..., step_ms: _Optional[float] = ..., data_ms: _Optional[float] = ..., learning_rate: _Optional[float] = ...) -> None: ...

class PreviewEvent(_message.Message):
    __slots__ = ("path", "title", "iteration")
    PATH_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    path: str
    title: str
    iteration: int
    def __init__(self, path: _Optional[str] = ..., title: _Optional[str] = ..., iteration: _Optional[int] = ...) -> None: ...

class SavedEvent(_message.Message):
    __slots__ = ("path", "iteration", "generation")
    PATH_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    path: str
    iteration: int
    generation: int
    def __init__(self, path: _Optional[str] = ..., iteration: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class NoticeEvent(_message.Message):
    __slots__ = ("reason", "message", "severity", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    severity: _common_pb2.Severity
    details: _containers.ScalarMap[str, str]
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., severity: _Optional[_Union[_common_pb2.Severity, str]] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StateEvent(_message.Message):
    __slots__ = ("state", "error", "result")
    class ResultEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    state: _common_pb2.JobState
    error: _common_pb2.ErrorDetail
    result: _containers.ScalarMap[str, str]
    def __init__(self, state: _Optional[_Union[_common_pb2.JobState, str]] = ..., error: _Optional[_Union[_common_pb2.ErrorDetail, _Mapping]] = ..., result: _Optional[_Mapping[str, str]] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("sequence", "time", "state", "frame_progress", "train_progress", "preview", "saved", "notice")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FRAME_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    state: StateEvent
    frame_progress: FrameProgress
    train_progress: TrainProgress
    preview: PreviewEvent
    saved: SavedEvent
    notice: NoticeEvent
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[StateEvent, _Mapping]] = ..., frame_progress: _Optional[_Union[FrameProgress, _Mapping]] = ..., train_progress: _Optional[_Union[TrainProgress, _Mapping]] = ..., preview: _Optional[_Union[PreviewEvent, _Mapping]] = ..., saved: _Optional[_Union[SavedEvent, _Mapping]] = ..., notice: _Optional[_Union[NoticeEvent, _Mapping]] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("spec", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    request_id: str
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class SubmitJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[_common_pb2.JobState]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_common_pb2.JobState, str]]] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("id", "after_sequence")
    ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    after_sequence: int
    def __init__(self, id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: JobEvent
    def __init__(self, event: _Optional[_Union[JobEvent, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class PauseJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class PauseJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ResumeJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ResumeJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class RetryJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RetryJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...
