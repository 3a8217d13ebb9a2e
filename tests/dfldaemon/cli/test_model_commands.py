"""``dfl model ...`` against a fake daemon: what is submitted, and what is said about a model."""

import json

from dflproto.v1 import common_pb2, job_service_pb2, model_service_pb2


def test_import_submits_whole_paths_and_the_settings_given(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id, output="/m")
    code, _, err = dfl("model", "import", "old", "--model", "new", "--name", "clip", "--face-type", "whole")
    assert code == 0
    assert "output: /m" in err
    spec = daemon.jobs["import_model-000000"].spec.import_model
    assert (spec.legacy_path, spec.model_path) == (str(tmp_path / "old"), str(tmp_path / "new"))
    assert [(field.name, value) for field, value in spec.settings.ListFields()] == [
        ("name", "clip"), ("face_type", "whole"),
    ]  # fmt: skip


def test_export_submits_whole_paths_and_the_settings_given(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    code, *_ = dfl("model", "export", "m", "--output", "m.pt", "--kind", "torchscript", "--no-scene-linear")
    assert code == 0
    spec = daemon.jobs["export_model-000000"].spec.export_model
    assert (spec.model_path, spec.output_path) == (str(tmp_path / "m"), str(tmp_path / "m.pt"))
    assert [(field.name, value) for field, value in spec.settings.ListFields()] == [
        ("kind", "torchscript"), ("scene_linear", False),
    ]  # fmt: skip


def test_a_kind_nobody_knows_is_refused_before_a_job_is_made(dfl, daemon):
    code, _, err = dfl("model", "export", "m", "--output", "m.x", "--kind", "pickle")
    assert (code, daemon.jobs) == (2, {})
    assert "torchscript" in err


def test_exchange_counts_steps_not_frames(dfl, daemon):
    def run(job):
        progress = job_service_pb2.FrameProgress(done_count=3, total_count=6, stage="weights")
        daemon.tell(job.id, frame_progress=progress)
        daemon.finish(job.id)

    daemon.on_submit = run
    assert "Importing: 3/6 steps\n" in dfl("model", "import", "old", "--model", "new")[2]


def test_long_names_are_whole_in_the_list_of_jobs(dfl, daemon):
    daemon.on_submit = lambda job: job.frame_progress.MergeFrom(
        job_service_pb2.FrameProgress(done_count=3, total_count=3)
    )
    output = "/shows/a_rather_long_name_of_a_show/models/deliveries/v001/model.dfm"
    dfl("model", "export", "/m", "--output", output, "--detach")
    row = dfl("job", "list")[1].splitlines()[1]
    assert row.startswith("export_model-000000  export_model  queued")
    assert "3/3 steps" in row
    assert row.endswith(output)


def test_info_of_a_trained_model_names_its_newest_backup(dfl, daemon):
    daemon.model = model_service_pb2.Model(
        preset="df",
        resolution_px=128,
        face_type="whole",
        kind="face",
        iteration=4200,
        trained_s=3725.0,
        digest="abc",
        software="dfl 1",
        authorization=common_pb2.Authorization(person="Eileen", project="Zoë", until="2027-12-31"),
    )
    for number in (9, 8):
        generation = daemon.model.generations.add(number=number, iteration=4200, size_bytes=12_300_000)
        generation.save_time.FromSeconds(1_700_000_000)
    for iteration in (4000, 2000):
        path = f"/m/backups/iteration_{iteration:08d}"
        daemon.model.backups.add(path=path, iteration=iteration).save_time.FromSeconds(1_699_990_000)
    code, out, _ = dfl("model", "info", "/m")
    assert code == 0
    rows = {line[:12].strip(): line[13:] for line in out.splitlines()}
    assert rows["network"] == "df, 128 px, whole; paints faces"
    assert rows["trained"] == "4200 iterations, 1:02:05 h"
    assert rows["saves"].startswith("2, newest 2023-11-1")
    assert rows["saves"].endswith("12.3 MB")
    assert rows["backups"].startswith("2, newest of iteration 4000, ")
    assert rows["backups"].endswith(": /m/backups/iteration_00004000")
    assert rows["permission"] == "Eileen, for Zoë, until 2027-12-31"
    model = json.loads(dfl("model", "info", "/m", "--json")[1])
    assert model["type"] == "model"
    assert [backup["iteration"] for backup in model["backups"]] == [4000, 2000]


def test_info_of_a_new_model(dfl, daemon):
    daemon.model = model_service_pb2.Model(preset="quick", resolution_px=192, face_type="full", kind="face")
    out = dfl("model", "info", "/m")[1]
    assert "not yet" in out
    assert "backups" not in out
