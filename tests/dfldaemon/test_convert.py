import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.config.describe import describe_settings
from dflcore.config.train import TrainSettings
from dflcore.errors import DataCorrupt, InvalidInput
from dflcore.progress import FrameProgress, Notice, Preview, Saved, TrainProgress
from dfldaemon import convert
from dfldaemon.jobs import ErrorReport, JobEvent, JobKind, JobState, StateChange
from dflproto.v1 import common_pb2, daemon_service_pb2, job_service_pb2

PATHS = {
    "extract": {"plate": {"path": "/p.####.exr", "frames": "1-3"}, "faceset_path": "/f"},
    "train": {"source_path": "/s", "target_path": "/t", "model_path": "/m"},
    "merge": {
        "plate": {"path": "/p.####.exr", "frames": ""},
        "model_path": "/m",
        "faceset_path": "/f",
        "output_path": "/o.####.exr",
    },
    "curate": {"faceset_path": "/f", "other_path": "/other", "output_path": "/out", "sort": {}},
    "train_mask": {"faceset_paths": ["/f", "/g"], "model_path": "/m"},
    "train_detail": {"faceset_paths": ["/f", "/g"], "model_path": "/m"},
    "import_model": {"legacy_path": "/l", "model_path": "/m"},
    "export_model": {"model_path": "/m", "output_path": "/o.dfm"},
    "qc": {
        "plate": {"path": "/p.####.exr", "frames": "1-3"},
        "result_path": "/r.####.exr",
        "faceset_path": "/f",
        "source_path": "/s",
        "output_path": "/report",
    },
}
OUTPUTS = {
    "extract": "/f",
    "train": "/m",
    "merge": "/o.####.exr",
    "curate": "/f",
    "train_mask": "/m",
    "train_detail": "/m",
    "import_model": "/m",
    "export_model": "/o.dfm",
    "qc": "/report",
}
OPERATION = {JobKind.CURATE: "sort"}


@pytest.mark.parametrize("kind", list(JobKind))
def test_a_spec_is_resolved_stored_and_read_back(kind: JobKind) -> None:
    work = convert.work_from_spec(job_service_pb2.JobSpec(**{kind.value: PATHS[kind.value]}))
    defaults = convert.settings_class_of(kind, OPERATION.get(kind, ""))().values()
    assert dict(work.settings) == defaults
    spec = convert.spec_from_work(work)
    body = getattr(spec, kind.value)
    settings = body.sort if kind is JobKind.CURATE else body.settings
    present = {field.name for field, _ in settings.ListFields()}
    assert present == {name for name, value in defaults.items() if value is not None}
    assert convert.work_from_stored(spec.SerializeToString()) == work
    assert work.output == OUTPUTS[kind.value]


def test_a_curate_job_keeps_its_operation_and_paths() -> None:
    spec = job_service_pb2.JobSpec(curate={**PATHS["curate"], "sort": {"by": "blur"}})
    work = convert.work_from_stored(convert.spec_from_work(convert.work_from_spec(spec)).SerializeToString())
    assert (work.operation, work.settings["by"]) == ("sort", "blur")
    assert work.paths == {"faceset": "/f", "other": "/other", "output": "/out"}
    with pytest.raises(InvalidInput, match="can be done to a faceset"):
        convert.work_from_spec(job_service_pb2.JobSpec(curate={"faceset_path": "/f"}))


def test_several_facesets_keep_their_order() -> None:
    facesets = [f"/f{number}" for number in range(12)]
    spec = job_service_pb2.JobSpec(train_mask={"faceset_paths": facesets, "model_path": "/m"})
    work = convert.work_from_stored(convert.spec_from_work(convert.work_from_spec(spec)).SerializeToString())
    assert work.facesets == facesets


def test_further_sources_keep_their_order() -> None:
    more = [f"/s{number}" for number in range(12, 0, -1)]
    spec = job_service_pb2.JobSpec(train={**PATHS["train"], "more_source_paths": more})
    work = convert.work_from_stored(convert.spec_from_work(convert.work_from_spec(spec)).SerializeToString())
    assert work.facesets == more
    assert (work.paths["source"], work.paths["target"]) == ("/s", "/t")


@pytest.mark.parametrize(
    "values",
    [
        {"frame": 7, "box": [1.0, 2.0, 3.0, 4.5], "remove": True},
        {"frame": -3, "landmarks": [[float(i), i + 0.25] for i in range(68)]},
        {"frame": 9, "placement": {"nose": [3.0, 4.0], "size": 50.0, "roll": -2.5}},
    ],
)
def test_corrections_come_back_from_the_wire(values: dict) -> None:
    assert convert.correction_from_message(convert.correction_to_message(values)) == values


def test_an_empty_setting_stays_empty_when_the_default_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = convert.spec_from_work(convert.work_from_spec(job_service_pb2.JobSpec(train=PATHS["train"])))
    stored = spec.SerializeToString()

    class LaterSettings(TrainSettings):
        iterations: int | None = 1000
        save_interval_s: float = 5.0

    monkeypatch.setitem(convert.SETTINGS_CLASSES, JobKind.TRAIN, LaterSettings)
    settings = convert.work_from_stored(stored).settings
    assert settings["iterations"] is None
    assert settings["save_interval_s"] == 60.0


def test_zero_and_false_are_values() -> None:
    settings = {"masked_training": False, "seed": 0}
    work = convert.work_from_spec(job_service_pb2.JobSpec(train={**PATHS["train"], "settings": settings}))
    assert work.settings["masked_training"] is False


def test_an_empty_spec_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not say what to do; fill in one of extract"):
        convert.work_from_spec(job_service_pb2.JobSpec())


@pytest.mark.parametrize("kind", list(JobKind))
def test_knobs_carry_everything(kind: JobKind) -> None:
    for knob in describe_settings(convert.settings_class_of(kind, OPERATION.get(kind, ""))):
        message = convert.knob_to_message(knob)
        assert message.group == knob.group
        assert message.name == knob.name
        assert daemon_service_pb2.KnobType.Name(message.type) == f"KNOB_TYPE_{knob.type.upper()}"
        assert message.HasField("default_value") == (knob.default is not None)
        if knob.default is not None:
            assert getattr(message.default_value, message.default_value.WhichOneof("value")) == knob.default
        assert message.HasField("minimum") == (knob.minimum is not None)
        assert tuple(message.choices) == knob.choices
        assert message.help


def test_every_event_has_its_message() -> None:
    error = ErrorReport(category="NOT_FOUND", reason="GONE", message="m", details={"a": "b"})
    train = TrainProgress(
        iteration=5,
        target_iterations=10,
        elapsed_s=0.5,
        target_s=None,
        losses={"source": float("nan")},
        step_ms=1.0,
        data_ms=0.0,
        learning_rate=1e-4,
    )
    bodies = {
        "state": StateChange(state=JobState.FAILED, error=error),
        "frame_progress": FrameProgress(done=0, total=2, frame=0),
        "train_progress": train,
        "preview": Preview(path="/p.png", title="t"),
        "saved": Saved(path="/m", iteration=5, generation=1),
        "notice": Notice(message="m", reason="R", severity="info"),
    }
    oneof = job_service_pb2.JobEvent.DESCRIPTOR.oneofs_by_name["body"]
    assert set(bodies) == {field.name for field in oneof.fields}
    for name, body in bodies.items():
        message = convert.event_to_message(JobEvent(3, 1.5, body))
        assert message.WhichOneof("body") == name
        assert (message.sequence, message.time.ToMilliseconds()) == (3, 1500)
    frame = convert.event_to_message(JobEvent(1, 0.0, bodies["frame_progress"])).frame_progress
    assert frame.HasField("frame")
    assert not frame.HasField("path")


def test_words_of_both_sides_match() -> None:
    for state, name in convert.STATE_NAMES.items():
        assert convert.state_from_message(common_pb2.JobState.Value(name)) is state
    for kind, name in convert.KIND_NAMES.items():
        assert convert.kind_from_message(common_pb2.JobKind.Value(name)) is kind
    for bad in (0, 99):
        with pytest.raises(InvalidInput):
            convert.state_from_message(bad)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_nobody_meant_are_refused_as_errors_of_ours(data: bytes) -> None:
    with contextlib.suppress(InvalidInput, DataCorrupt):
        convert.work_from_stored(data)
