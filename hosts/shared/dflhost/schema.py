"""The wire protocol as plain values, for the hosts' own codec. Made by protos/generate.py. DO NOT EDIT!

MESSAGES
    full name -> list of rows (number, field name, label, type, type name, oneof name).
    label: single, optional (presence counts), repeated, or map (repeated entries of type ``type name``, which has the
    rows 1 key and 2 value). type: string, bytes, bool, int32, int64, float, double, message or enum; type name: of
    the last two, else empty. Repeated numbers are packed. oneof name: empty when the field is in none.
ENUMS
    full name -> value name -> number.
SERVICES
    full name -> method name -> (request, response, whether a stream is answered).
DIGEST
    equals GetServerInfoResponse.schema_digest of a daemon of the same build.
"""

DIGEST = "2a52166ad3d7bc79121e1ef81e0466d1e0780c68da383776e5db1e229745dfab"

MESSAGES = {
    "dflproto.v1.Authorization": [
        (1, "person", "single", "string", "", ""),
        (2, "project", "single", "string", "", ""),
        (3, "use", "single", "string", "", ""),
        (4, "until", "single", "string", "", ""),
        (5, "reference", "single", "string", "", ""),
    ],
    "dflproto.v1.CancelJobRequest": [
        (1, "id", "single", "string", "", ""),
    ],
    "dflproto.v1.CancelJobResponse": [
        (1, "job", "single", "message", "dflproto.v1.Job", ""),
    ],
    "dflproto.v1.DescribeSettingsRequest": [
        (1, "kind", "single", "enum", "dflproto.v1.JobKind", ""),
        (2, "audience", "single", "enum", "dflproto.v1.Audience", ""),
    ],
    "dflproto.v1.DescribeSettingsResponse": [
        (1, "knobs", "repeated", "message", "dflproto.v1.Knob", ""),
    ],
    "dflproto.v1.ErrorDetail": [
        (1, "reason", "single", "string", "", ""),
        (2, "message", "single", "string", "", ""),
        (3, "details", "map", "message", "dflproto.v1.ErrorDetail.DetailsEntry", ""),
        (4, "category", "single", "string", "", ""),
    ],
    "dflproto.v1.ErrorDetail.DetailsEntry": [
        (1, "key", "single", "string", "", ""),
        (2, "value", "single", "string", "", ""),
    ],
    "dflproto.v1.ExtractSettings": [
        (1, "detector", "optional", "string", "", ""),
        (2, "landmarker", "optional", "string", "", ""),
        (3, "face_type", "optional", "string", "", ""),
        (4, "aligned_size", "optional", "int64", "", ""),
        (5, "max_faces", "optional", "int64", "", ""),
        (6, "min_face_size", "optional", "int64", "", ""),
        (7, "min_score", "optional", "double", "", ""),
        (8, "detect_size", "optional", "int64", "", ""),
        (9, "compute_identity", "optional", "bool", "", ""),
        (10, "input_colorspace", "optional", "string", "", ""),
        (11, "ocio_config", "optional", "string", "", ""),
        (12, "missing_frames", "optional", "string", "", ""),
        (13, "authorization_person", "optional", "string", "", ""),
        (14, "authorization_project", "optional", "string", "", ""),
        (15, "authorization_use", "optional", "string", "", ""),
        (16, "authorization_until", "optional", "string", "", ""),
        (17, "authorization_reference", "optional", "string", "", ""),
    ],
    "dflproto.v1.ExtractSpec": [
        (1, "plate", "single", "message", "dflproto.v1.PlateSpec", ""),
        (2, "faceset_path", "single", "string", "", ""),
        (3, "settings", "single", "message", "dflproto.v1.ExtractSettings", ""),
    ],
    "dflproto.v1.Face": [
        (1, "name", "single", "string", "", ""),
        (2, "plate", "single", "string", "", ""),
        (3, "frame", "single", "int64", "", ""),
        (4, "face_index", "single", "int32", "", ""),
        (5, "score", "single", "double", "", ""),
        (6, "pitch_rad", "single", "double", "", ""),
        (7, "yaw_rad", "single", "double", "", ""),
        (8, "roll_rad", "single", "double", "", ""),
        (9, "sharpness", "single", "double", "", ""),
        (10, "box_xyxy_px", "repeated", "double", "", ""),
        (11, "landmarks_px", "repeated", "float", "", ""),
    ],
    "dflproto.v1.Faceset": [
        (1, "path", "single", "string", "", ""),
        (2, "face_count", "single", "int64", "", ""),
        (3, "face_type", "single", "string", "", ""),
        (4, "aligned_size_px", "single", "int32", "", ""),
        (5, "plates", "repeated", "string", "", ""),
        (6, "authorization", "single", "message", "dflproto.v1.Authorization", ""),
        (7, "software", "single", "string", "", ""),
    ],
    "dflproto.v1.FrameProgress": [
        (1, "done_count", "single", "int64", "", ""),
        (2, "total_count", "single", "int64", "", ""),
        (3, "frame", "optional", "int64", "", ""),
        (4, "path", "optional", "string", "", ""),
        (5, "face_count", "optional", "int64", "", ""),
    ],
    "dflproto.v1.GetFacesetRequest": [
        (1, "path", "single", "string", "", ""),
    ],
    "dflproto.v1.GetFacesetResponse": [
        (1, "faceset", "single", "message", "dflproto.v1.Faceset", ""),
    ],
    "dflproto.v1.GetJobRequest": [
        (1, "id", "single", "string", "", ""),
    ],
    "dflproto.v1.GetJobResponse": [
        (1, "job", "single", "message", "dflproto.v1.Job", ""),
    ],
    "dflproto.v1.GetMergeOutputRequest": [
        (1, "output_path", "single", "string", "", ""),
    ],
    "dflproto.v1.GetMergeOutputResponse": [
        (1, "frames", "repeated", "message", "dflproto.v1.MergedFrame", ""),
    ],
    "dflproto.v1.GetModelRequest": [
        (1, "path", "single", "string", "", ""),
    ],
    "dflproto.v1.GetModelResponse": [
        (1, "model", "single", "message", "dflproto.v1.Model", ""),
    ],
    "dflproto.v1.GetServerInfoRequest": [],
    "dflproto.v1.GetServerInfoResponse": [
        (1, "version", "single", "string", "", ""),
        (2, "api_minor", "single", "int32", "", ""),
        (3, "features", "repeated", "string", "", ""),
        (4, "schema_digest", "single", "string", "", ""),
        (5, "pid", "single", "int64", "", ""),
        (6, "start_time", "single", "message", "google.protobuf.Timestamp", ""),
        (7, "address", "single", "string", "", ""),
        (8, "roots", "repeated", "string", "", ""),
        (9, "queued_count", "single", "int64", "", ""),
        (10, "running_count", "single", "int64", "", ""),
        (11, "log_path", "single", "string", "", ""),
    ],
    "dflproto.v1.Job": [
        (1, "id", "single", "string", "", ""),
        (2, "kind", "single", "enum", "dflproto.v1.JobKind", ""),
        (3, "state", "single", "enum", "dflproto.v1.JobState", ""),
        (4, "spec", "single", "message", "dflproto.v1.JobSpec", ""),
        (5, "create_time", "single", "message", "google.protobuf.Timestamp", ""),
        (6, "start_time", "single", "message", "google.protobuf.Timestamp", ""),
        (7, "end_time", "single", "message", "google.protobuf.Timestamp", ""),
        (8, "attempt_count", "single", "int32", "", ""),
        (9, "error", "single", "message", "dflproto.v1.ErrorDetail", ""),
        (10, "frame_progress", "single", "message", "dflproto.v1.FrameProgress", ""),
        (11, "train_progress", "single", "message", "dflproto.v1.TrainProgress", ""),
        (12, "last_sequence", "single", "int64", "", ""),
        (13, "stop_requested", "single", "bool", "", ""),
        (14, "ahead_count", "single", "int32", "", ""),
        (15, "result", "map", "message", "dflproto.v1.Job.ResultEntry", ""),
    ],
    "dflproto.v1.Job.ResultEntry": [
        (1, "key", "single", "string", "", ""),
        (2, "value", "single", "string", "", ""),
    ],
    "dflproto.v1.JobEvent": [
        (1, "sequence", "single", "int64", "", ""),
        (2, "time", "single", "message", "google.protobuf.Timestamp", ""),
        (3, "state", "single", "message", "dflproto.v1.StateEvent", "body"),
        (4, "frame_progress", "single", "message", "dflproto.v1.FrameProgress", "body"),
        (5, "train_progress", "single", "message", "dflproto.v1.TrainProgress", "body"),
        (6, "preview", "single", "message", "dflproto.v1.PreviewEvent", "body"),
        (7, "saved", "single", "message", "dflproto.v1.SavedEvent", "body"),
        (8, "notice", "single", "message", "dflproto.v1.NoticeEvent", "body"),
    ],
    "dflproto.v1.JobSpec": [
        (1, "extract", "single", "message", "dflproto.v1.ExtractSpec", "work"),
        (2, "train", "single", "message", "dflproto.v1.TrainSpec", "work"),
        (3, "merge", "single", "message", "dflproto.v1.MergeSpec", "work"),
    ],
    "dflproto.v1.Knob": [
        (1, "name", "single", "string", "", ""),
        (2, "type", "single", "enum", "dflproto.v1.KnobType", ""),
        (3, "default_value", "single", "message", "dflproto.v1.KnobValue", ""),
        (4, "help", "single", "string", "", ""),
        (5, "unit", "single", "string", "", ""),
        (6, "audience", "single", "enum", "dflproto.v1.Audience", ""),
        (7, "minimum", "optional", "double", "", ""),
        (8, "maximum", "optional", "double", "", ""),
        (9, "choices", "repeated", "string", "", ""),
        (10, "optional_value", "single", "bool", "", ""),
        (11, "fixed_once_trained", "single", "bool", "", ""),
    ],
    "dflproto.v1.KnobValue": [
        (1, "bool_value", "single", "bool", "", "value"),
        (2, "int_value", "single", "int64", "", "value"),
        (3, "float_value", "single", "double", "", "value"),
        (4, "string_value", "single", "string", "", "value"),
    ],
    "dflproto.v1.Layer": [
        (1, "name", "single", "string", "", ""),
        (2, "channels", "single", "string", "", ""),
        (3, "pixel_type", "single", "string", "", ""),
        (4, "help", "single", "string", "", ""),
    ],
    "dflproto.v1.ListFacesRequest": [
        (1, "path", "single", "string", "", ""),
        (2, "page_size", "single", "int32", "", ""),
        (3, "page_token", "single", "string", "", ""),
    ],
    "dflproto.v1.ListFacesResponse": [
        (1, "faces", "repeated", "message", "dflproto.v1.Face", ""),
        (2, "next_page_token", "single", "string", "", ""),
    ],
    "dflproto.v1.ListJobsRequest": [
        (1, "page_size", "single", "int32", "", ""),
        (2, "page_token", "single", "string", "", ""),
        (3, "states", "repeated", "enum", "dflproto.v1.JobState", ""),
    ],
    "dflproto.v1.ListJobsResponse": [
        (1, "jobs", "repeated", "message", "dflproto.v1.Job", ""),
        (2, "next_page_token", "single", "string", "", ""),
    ],
    "dflproto.v1.ListLayersRequest": [],
    "dflproto.v1.ListLayersResponse": [
        (1, "layers", "repeated", "message", "dflproto.v1.Layer", ""),
    ],
    "dflproto.v1.ListPresetsRequest": [],
    "dflproto.v1.ListPresetsResponse": [
        (1, "presets", "repeated", "message", "dflproto.v1.Preset", ""),
    ],
    "dflproto.v1.MergeSettings": [
        (1, "profile", "optional", "string", "", ""),
        (2, "layers", "optional", "string", "", ""),
        (3, "matte_mode", "optional", "string", "", ""),
        (4, "matte_erode", "optional", "double", "", ""),
        (5, "matte_feather", "optional", "double", "", ""),
        (6, "color_transfer", "optional", "string", "", ""),
        (7, "opacity", "optional", "double", "", ""),
        (8, "face_scale", "optional", "double", "", ""),
        (9, "bit_depth", "optional", "string", "", ""),
        (10, "compression", "optional", "string", "", ""),
        (11, "input_colorspace", "optional", "string", "", ""),
        (12, "ocio_config", "optional", "string", "", ""),
        (13, "missing_frames", "optional", "string", "", ""),
        (14, "overwrite", "optional", "bool", "", ""),
        (15, "provenance_attributes", "optional", "string", "", ""),
        (16, "device", "optional", "string", "", ""),
        (17, "authorization_project", "optional", "string", "", ""),
        (18, "authorization_use", "optional", "string", "", ""),
    ],
    "dflproto.v1.MergeSpec": [
        (1, "plate", "single", "message", "dflproto.v1.PlateSpec", ""),
        (2, "model_path", "single", "string", "", ""),
        (3, "faceset_path", "single", "string", "", ""),
        (4, "output_path", "single", "string", "", ""),
        (5, "settings", "single", "message", "dflproto.v1.MergeSettings", ""),
    ],
    "dflproto.v1.MergedFrame": [
        (1, "frame", "single", "int64", "", ""),
        (2, "path", "single", "string", "", ""),
        (3, "key", "single", "string", "", ""),
    ],
    "dflproto.v1.Model": [
        (1, "path", "single", "string", "", ""),
        (2, "preset", "single", "string", "", ""),
        (3, "resolution_px", "single", "int32", "", ""),
        (4, "face_type", "single", "string", "", ""),
        (5, "iteration", "single", "int64", "", ""),
        (6, "trained_s", "single", "double", "", ""),
        (7, "generations", "repeated", "message", "dflproto.v1.ModelGeneration", ""),
        (8, "digest", "single", "string", "", ""),
        (9, "authorization", "single", "message", "dflproto.v1.Authorization", ""),
        (10, "software", "single", "string", "", ""),
    ],
    "dflproto.v1.ModelGeneration": [
        (1, "number", "single", "int64", "", ""),
        (2, "iteration", "single", "int64", "", ""),
        (3, "save_time", "single", "message", "google.protobuf.Timestamp", ""),
        (4, "size_bytes", "single", "int64", "", ""),
    ],
    "dflproto.v1.NoticeEvent": [
        (1, "reason", "single", "string", "", ""),
        (2, "message", "single", "string", "", ""),
        (3, "severity", "single", "enum", "dflproto.v1.Severity", ""),
        (4, "details", "map", "message", "dflproto.v1.NoticeEvent.DetailsEntry", ""),
    ],
    "dflproto.v1.NoticeEvent.DetailsEntry": [
        (1, "key", "single", "string", "", ""),
        (2, "value", "single", "string", "", ""),
    ],
    "dflproto.v1.PauseJobRequest": [
        (1, "id", "single", "string", "", ""),
    ],
    "dflproto.v1.PauseJobResponse": [
        (1, "job", "single", "message", "dflproto.v1.Job", ""),
    ],
    "dflproto.v1.PlateSpec": [
        (1, "path", "single", "string", "", ""),
        (2, "frames", "single", "string", "", ""),
    ],
    "dflproto.v1.Preset": [
        (1, "name", "single", "string", "", ""),
        (2, "help", "single", "string", "", ""),
    ],
    "dflproto.v1.PreviewEvent": [
        (1, "path", "single", "string", "", ""),
        (2, "title", "single", "string", "", ""),
        (3, "iteration", "optional", "int64", "", ""),
    ],
    "dflproto.v1.ResumeJobRequest": [
        (1, "id", "single", "string", "", ""),
    ],
    "dflproto.v1.ResumeJobResponse": [
        (1, "job", "single", "message", "dflproto.v1.Job", ""),
    ],
    "dflproto.v1.RetryJobRequest": [
        (1, "id", "single", "string", "", ""),
    ],
    "dflproto.v1.RetryJobResponse": [
        (1, "job", "single", "message", "dflproto.v1.Job", ""),
    ],
    "dflproto.v1.SavedEvent": [
        (1, "path", "single", "string", "", ""),
        (2, "iteration", "single", "int64", "", ""),
        (3, "generation", "single", "int64", "", ""),
    ],
    "dflproto.v1.ShutdownRequest": [],
    "dflproto.v1.ShutdownResponse": [],
    "dflproto.v1.StateEvent": [
        (1, "state", "single", "enum", "dflproto.v1.JobState", ""),
        (2, "error", "single", "message", "dflproto.v1.ErrorDetail", ""),
        (3, "result", "map", "message", "dflproto.v1.StateEvent.ResultEntry", ""),
    ],
    "dflproto.v1.StateEvent.ResultEntry": [
        (1, "key", "single", "string", "", ""),
        (2, "value", "single", "string", "", ""),
    ],
    "dflproto.v1.SubmitJobRequest": [
        (1, "spec", "single", "message", "dflproto.v1.JobSpec", ""),
        (2, "request_id", "single", "string", "", ""),
    ],
    "dflproto.v1.SubmitJobResponse": [
        (1, "job", "single", "message", "dflproto.v1.Job", ""),
    ],
    "dflproto.v1.TrainProgress": [
        (1, "iteration", "single", "int64", "", ""),
        (2, "target_iterations", "optional", "int64", "", ""),
        (3, "elapsed_s", "single", "double", "", ""),
        (4, "target_s", "optional", "double", "", ""),
        (5, "losses", "map", "message", "dflproto.v1.TrainProgress.LossesEntry", ""),
        (6, "step_ms", "single", "double", "", ""),
        (7, "data_ms", "single", "double", "", ""),
        (8, "learning_rate", "single", "double", "", ""),
    ],
    "dflproto.v1.TrainProgress.LossesEntry": [
        (1, "key", "single", "string", "", ""),
        (2, "value", "single", "double", "", ""),
    ],
    "dflproto.v1.TrainSettings": [
        (1, "preset", "optional", "string", "", ""),
        (2, "iterations", "optional", "int64", "", ""),
        (3, "minutes", "optional", "double", "", ""),
        (4, "batch_size", "optional", "int64", "", ""),
        (5, "resolution", "optional", "int64", "", ""),
        (6, "learning_rate", "optional", "double", "", ""),
        (7, "random_warp", "optional", "bool", "", ""),
        (8, "random_flip_source", "optional", "bool", "", ""),
        (9, "random_flip_target", "optional", "bool", "", ""),
        (10, "masked_training", "optional", "bool", "", ""),
        (11, "save_interval_s", "optional", "double", "", ""),
        (12, "preview_interval_s", "optional", "double", "", ""),
        (13, "keep_generations", "optional", "int64", "", ""),
        (14, "cache_mb", "optional", "int64", "", ""),
        (15, "seed", "optional", "int64", "", ""),
        (16, "device", "optional", "string", "", ""),
        (17, "authorization_project", "optional", "string", "", ""),
        (18, "authorization_use", "optional", "string", "", ""),
        (19, "authorization_reference", "optional", "string", "", ""),
        (20, "face_type", "optional", "string", "", ""),
        (21, "precision", "optional", "string", "", ""),
    ],
    "dflproto.v1.TrainSpec": [
        (1, "source_path", "single", "string", "", ""),
        (2, "target_path", "single", "string", "", ""),
        (3, "model_path", "single", "string", "", ""),
        (4, "settings", "single", "message", "dflproto.v1.TrainSettings", ""),
    ],
    "dflproto.v1.WatchJobRequest": [
        (1, "id", "single", "string", "", ""),
        (2, "after_sequence", "single", "int64", "", ""),
    ],
    "dflproto.v1.WatchJobResponse": [
        (1, "event", "single", "message", "dflproto.v1.JobEvent", ""),
    ],
    "google.protobuf.Any": [
        (1, "type_url", "single", "string", "", ""),
        (2, "value", "single", "bytes", "", ""),
    ],
    "google.protobuf.Timestamp": [
        (1, "seconds", "single", "int64", "", ""),
        (2, "nanos", "single", "int32", "", ""),
    ],
    "google.rpc.ErrorInfo": [
        (1, "reason", "single", "string", "", ""),
        (2, "domain", "single", "string", "", ""),
        (3, "metadata", "map", "message", "google.rpc.ErrorInfo.MetadataEntry", ""),
    ],
    "google.rpc.ErrorInfo.MetadataEntry": [
        (1, "key", "single", "string", "", ""),
        (2, "value", "single", "string", "", ""),
    ],
    "google.rpc.Status": [
        (1, "code", "single", "int32", "", ""),
        (2, "message", "single", "string", "", ""),
        (3, "details", "repeated", "message", "google.protobuf.Any", ""),
    ],
}

ENUMS = {
    "dflproto.v1.Audience": {
        "AUDIENCE_UNSPECIFIED": 0,
        "AUDIENCE_ARTIST": 1,
        "AUDIENCE_TD": 2,
        "AUDIENCE_INTERNAL": 3,
    },
    "dflproto.v1.JobKind": {
        "JOB_KIND_UNSPECIFIED": 0,
        "JOB_KIND_EXTRACT": 1,
        "JOB_KIND_TRAIN": 2,
        "JOB_KIND_MERGE": 3,
    },
    "dflproto.v1.JobState": {
        "JOB_STATE_UNSPECIFIED": 0,
        "JOB_STATE_QUEUED": 1,
        "JOB_STATE_RUNNING": 2,
        "JOB_STATE_PAUSED": 3,
        "JOB_STATE_SUCCEEDED": 4,
        "JOB_STATE_FAILED": 5,
        "JOB_STATE_CANCELLED": 6,
    },
    "dflproto.v1.KnobType": {
        "KNOB_TYPE_UNSPECIFIED": 0,
        "KNOB_TYPE_BOOL": 1,
        "KNOB_TYPE_INT": 2,
        "KNOB_TYPE_FLOAT": 3,
        "KNOB_TYPE_STRING": 4,
        "KNOB_TYPE_CHOICE": 5,
    },
    "dflproto.v1.Severity": {
        "SEVERITY_UNSPECIFIED": 0,
        "SEVERITY_INFO": 1,
        "SEVERITY_WARNING": 2,
    },
}

SERVICES = {
    "dflproto.v1.DaemonService": {
        "GetServerInfo": ("dflproto.v1.GetServerInfoRequest", "dflproto.v1.GetServerInfoResponse", False),
        "DescribeSettings": ("dflproto.v1.DescribeSettingsRequest", "dflproto.v1.DescribeSettingsResponse", False),
        "Shutdown": ("dflproto.v1.ShutdownRequest", "dflproto.v1.ShutdownResponse", False),
    },
    "dflproto.v1.FacesetService": {
        "GetFaceset": ("dflproto.v1.GetFacesetRequest", "dflproto.v1.GetFacesetResponse", False),
        "ListFaces": ("dflproto.v1.ListFacesRequest", "dflproto.v1.ListFacesResponse", False),
    },
    "dflproto.v1.JobService": {
        "SubmitJob": ("dflproto.v1.SubmitJobRequest", "dflproto.v1.SubmitJobResponse", False),
        "GetJob": ("dflproto.v1.GetJobRequest", "dflproto.v1.GetJobResponse", False),
        "ListJobs": ("dflproto.v1.ListJobsRequest", "dflproto.v1.ListJobsResponse", False),
        "WatchJob": ("dflproto.v1.WatchJobRequest", "dflproto.v1.WatchJobResponse", True),
        "CancelJob": ("dflproto.v1.CancelJobRequest", "dflproto.v1.CancelJobResponse", False),
        "PauseJob": ("dflproto.v1.PauseJobRequest", "dflproto.v1.PauseJobResponse", False),
        "ResumeJob": ("dflproto.v1.ResumeJobRequest", "dflproto.v1.ResumeJobResponse", False),
        "RetryJob": ("dflproto.v1.RetryJobRequest", "dflproto.v1.RetryJobResponse", False),
    },
    "dflproto.v1.MergeService": {
        "ListLayers": ("dflproto.v1.ListLayersRequest", "dflproto.v1.ListLayersResponse", False),
        "GetMergeOutput": ("dflproto.v1.GetMergeOutputRequest", "dflproto.v1.GetMergeOutputResponse", False),
    },
    "dflproto.v1.ModelService": {
        "GetModel": ("dflproto.v1.GetModelRequest", "dflproto.v1.GetModelResponse", False),
        "ListPresets": ("dflproto.v1.ListPresetsRequest", "dflproto.v1.ListPresetsResponse", False),
    },
}
