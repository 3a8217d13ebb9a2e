"""Commands against a fake daemon: what they submit, print and return."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dflcore.errors import NotFound
from dfldaemon.cli import daemon_commands, session
from dfldaemon.cli.job_commands import output_path
from dfldaemon.cli.work import _has_record
from dflproto.v1 import common_pb2, job_service_pb2


def events_of(out):
    return [json.loads(line) for line in out.splitlines()]


def test_extract_submits_absolute_paths_and_only_the_settings_given(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id, faces="12")
    code, _, err = dfl(
        "extract", "plates/a.####.exr", "--faceset", "../f", "--frames", "1001-1003,1005", "--max-faces", "2"
    )
    assert code == 0
    assert "faces: 12" in err
    spec = next(iter(daemon.jobs.values())).spec.extract
    assert spec.plate.path == str(tmp_path / "plates/a.####.exr")
    assert spec.plate.frames == "1001-1003,1005"
    assert spec.faceset_path == str(tmp_path.parent / "f")
    assert [field.name for field, _ in spec.settings.ListFields()] == ["max_faces"]


def test_train_and_merge_submit_what_they_were_told(dfl, daemon):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    assert (
        dfl("train", "--source", "/s", "--target", "/t", "--model", "/m", "--minutes", "0.5", "--no-random-warp")[0]
        == 0
    )
    train = daemon.jobs["train-000000"].spec.train
    assert (train.source_path, train.target_path, train.model_path) == ("/s", "/t", "/m")
    assert (train.settings.minutes, train.settings.random_warp) == (0.5, False)
    code, *_ = dfl(
        "merge", "/p.####.exr", "--model", "/m", "--faceset", "/t", "--output", "/o/{version}/n.####.exr",
        "--profile", "flat", "--matte-erode", "-3",
    )  # fmt: skip
    merge = daemon.jobs["merge-000001"].spec.merge
    assert code == 0
    assert merge.output_path == "/o/{version}/n.####.exr"
    assert (merge.settings.profile, merge.settings.matte_erode) == ("flat", -3.0)


def test_a_training_takes_several_people(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    sources = ("--source", "/s", "--source", "second", "--source", "../third")
    assert dfl("train", *sources, "--target", "/t", "--model", "/m", "--preset", "df")[0] == 0
    train = daemon.jobs["train-000000"].spec.train
    assert train.source_path == "/s"
    assert list(train.more_source_paths) == [str(tmp_path / "second"), str(tmp_path.parent / "third")]


@pytest.mark.parametrize(
    ("identity", "wanted"), [("nan", []), ("0.61", ["  distance to the source 0.61 (the two people: 0.90)"])]
)
def test_a_training_ends_with_a_summary_of_several_lines(dfl, daemon, identity, wanted):
    def run(job):
        details = {
            "iteration": "80",
            "elapsed_s": "150",
            "step_ms": "31.2",
            "source": "0.1",
            "target": "0.2",
            "identity_to_source": identity,
            "source_to_target": "0.9",
            "sharpness_ratio": "0.4",
            "advice": "The losses still fall: train on.\nIt is not the same person yet.",
        }
        notice = {"reason": "TRAINING_SUMMARY", "message": "All of it.", "severity": common_pb2.SEVERITY_INFO}
        notice["details"] = details
        daemon.tell(job.id, notice=job_service_pb2.NoticeEvent(**notice))
        daemon.finish(job.id, iteration="80", generation="3", advice="The losses still fall: train on.")

    daemon.on_submit = run
    code, _, err = dfl("train", "--source", "/s", "--target", "/t", "--model", "/m", "--watch")
    assert code == 0
    assert err.splitlines()[1:] == [
        "Trained 80 iterations in 2:30 min, 31 ms each",
        "  losses: source 0.100, target 0.200",
        *wanted,
        "  sharpness 40 % of the source's",
        "  The losses still fall: train on.",
        "  It is not the same person yet.",
        "Done. generation: 3",
    ]
    assert "train on" in dfl("job", "get", "train-000000")[1]


def test_nobody_watches_what_is_left_alone(dfl, daemon):
    code, _, err = dfl("train", "--source", "/s", "--target", "/t", "--model", "/m", "--watch", "--detach")
    assert (code, daemon.jobs) == (2, {})
    assert "not allowed with" in err


def test_detach_prints_the_id_at_once(dfl, daemon):
    code, out, _ = dfl("extract", "/p.exr", "--faceset", "/f", "--detach", "--quiet")
    assert (code, out) == (0, "extract-000000\n")


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("INVALID_INPUT", 2), ("NOT_FOUND", 3), ("CONFLICT", 4), ("RESOURCE_EXHAUSTED", 5),
        ("DATA_CORRUPT", 6), ("UNSUPPORTED", 7), ("INTERNAL", 9), ("", 1),
    ],
)  # fmt: skip
def test_a_failed_job_exits_with_its_errors_code(dfl, daemon, category, expected):
    daemon.on_submit = lambda job: daemon.fail(job.id, category, "The disk is [full].")
    code, out, err = dfl("extract", "/p.exr", "--faceset", "/f")
    assert code == expected
    assert err.splitlines()[-1] == "Error: The disk is [full]."
    assert "Traceback" not in err + out


def test_json_prints_one_typed_object_per_line(dfl, daemon):
    def run(job):
        daemon.tell(job.id, state=job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_RUNNING))
        daemon.frames(job.id, 1, 2)
        notice = job_service_pb2.NoticeEvent(reason="NO_FACE", message="none", severity=common_pb2.SEVERITY_WARNING)
        daemon.tell(job.id, notice=notice)
        train = job_service_pb2.TrainProgress(iteration=7, losses={"source": 0.5}, elapsed_s=1.5)
        daemon.tell(job.id, train_progress=train)
        daemon.tell(job.id, preview=job_service_pb2.PreviewEvent(path="/p.png", title="t"))
        daemon.tell(job.id, saved=job_service_pb2.SavedEvent(path="/m", iteration=7, generation=1))
        daemon.finish(job.id, faces="3")

    daemon.on_submit = run
    code, out, err = dfl("--json", "extract", "/p.exr", "--faceset", "/f")
    events = events_of(out)
    assert (code, err) == (0, "")
    assert [event["type"] for event in events] == [
        "submitted", "state", "state", "frame_progress", "notice", "train_progress", "preview", "saved", "state",
    ]  # fmt: skip
    assert events[0]["job"]["kind"] == "extract"
    assert [event["sequence"] for event in events[1:]] == list(range(1, 9))
    assert events[3] | {"time": ""} == {
        "type": "frame_progress", "job": "extract-000000", "sequence": 3, "time": "", "done_count": 1, "total_count": 2,
        "frame": 1001,
    }  # fmt: skip
    assert events[3]["time"].endswith("Z")
    assert events[4]["severity"] == "warning"
    assert events[5]["losses"] == {"source": 0.5}
    assert events[-1]["state"] == "succeeded"
    assert events[-1]["result"] == {"faces": "3"}


def test_json_errors_are_objects(dfl, daemon):
    code, out, err = dfl("job", "get", "nobody", "--json")
    (event,) = events_of(out)
    assert (code, err) == (3, "")
    assert event == {
        "type": "error", "category": "NOT_FOUND", "reason": "JOB_NOT_FOUND", "message": "There is no job nobody.",
        "details": {}, "exit_code": 3,
    }  # fmt: skip


def test_usage_errors_are_errors_like_others(dfl):
    code, out, _ = dfl("train", "--json")
    assert code == 2
    assert events_of(out)[0]["reason"] == "BAD_USAGE"
    code, _, err = dfl("merge", "/p", "--model", "m", "--faceset", "f", "--output", "o", "--opacity", "3")
    assert code == 2
    assert "--opacity" in err
    assert "0 to 1" in err
    assert dfl("extract", "/p", "--faceset", "f", "--frames", "9-1")[0] == 2


def test_no_daemon_exits_with_8(dfl, daemon):
    (daemon.state_dir / "session.json").unlink()
    assert dfl("job", "list")[0] == 8
    code, out, _ = dfl("daemon", "status", "--json")
    assert code == 8
    assert events_of(out)[0] | {"message": ""} == {
        "type": "daemon", "running": False, "reason": "DAEMON_NOT_RUNNING", "message": "",
    }  # fmt: skip
    assert dfl("daemon", "stop")[0] == 0


def test_daemon_status_and_stop(dfl, daemon):
    code, out, _ = dfl("daemon", "status")
    assert code == 0
    assert daemon.address in out
    assert dfl("daemon", "stop", "--json")[0] == 0
    assert daemon.shutdowns == 1


def test_job_list_get_and_steering(dfl, daemon):
    daemon.add_job("extract-aaa111")
    daemon.frames("extract-aaa111", 3, 9)
    daemon.jobs["extract-aaa111"].frame_progress.CopyFrom(job_service_pb2.FrameProgress(done_count=3, total_count=9))
    daemon.add_job("train-bbb222", kind=common_pb2.JOB_KIND_TRAIN)
    code, out, _ = dfl("job", "list")
    assert code == 0
    assert "3/9 frames" in out
    assert [event["job"]["id"] for event in events_of(dfl("job", "list", "--json")[1])] == [
        "train-bbb222", "extract-aaa111",
    ]  # fmt: skip
    assert "3/9 frames" in dfl("job", "get", "extract-a")[1]
    assert dfl("job", "pause", "train")[0] == 0
    assert events_of(dfl("job", "list", "--json", "--state", "paused")[1])[0]["job"]["state"] == "paused"
    assert dfl("job", "resume", "train-bbb222")[0] == 0
    assert dfl("job", "cancel", "train-bbb222")[0] == 0
    assert dfl("job", "cancel", "train-bbb222")[0] == 4
    assert dfl("job", "retry", "train-bbb222")[0] == 0


@pytest.mark.parametrize(
    ("spec", "output"),
    [
        ({"train": {"model_path": "/out/a"}}, "/out/a"),
        ({"merge": {"output_path": "/out/b"}}, "/out/b"),
        ({"curate": {"faceset_path": "/out/c"}}, "/out/c"),
        ({"train_mask": {"model_path": "/out/d"}}, "/out/d"),
        ({"train_detail": {"model_path": "/out/g"}}, "/out/g"),
        ({"import_model": {"legacy_path": "/old", "model_path": "/out/e"}}, "/out/e"),
        ({"export_model": {"model_path": "/m", "output_path": "/out/f.dfm"}}, "/out/f.dfm"),
        ({}, ""),
    ],
)
def test_jobs_name_what_they_write(spec, output):
    assert output_path(job_service_pb2.Job(spec=job_service_pb2.JobSpec(**spec))) == output


def test_job_watch_replays_from_the_first_event(dfl, daemon):
    daemon.add_job("a")
    daemon.frames("a", 1, 1)
    daemon.finish("a")
    code, out, _ = dfl("job", "watch", "a", "--json")
    assert code == 0
    assert [event["type"] for event in events_of(out)] == ["job", "state", "frame_progress", "state"]


def test_a_cancelled_job_exits_with_130(dfl, daemon):
    cancelled = job_service_pb2.StateEvent(state=common_pb2.JOB_STATE_CANCELLED)
    daemon.on_submit = lambda job: daemon.tell(job.id, state=cancelled)
    assert dfl("extract", "/p.exr", "--faceset", "/f")[0] == 130


def test_quiet_says_nothing_when_all_is_well(dfl, daemon):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    assert dfl("extract", "/p.exr", "--faceset", "/f", "--quiet") == (0, "", "")


def test_weights_list_verify_and_offline(dfl):
    code, out, _ = dfl("weights", "list", "--json")
    assert code == 0
    weights = {event["name"]: event for event in events_of(out)}
    assert weights["s3fd"]["fetchable"]
    assert dfl("weights", "fetch", "s3fd", "--offline", "--weights", "nowhere")[0] in (0, 3)
    assert dfl("weights", "verify", "no_such_weight")[0] == 3


def test_info_names_the_daemon_and_the_folders(dfl, daemon, monkeypatch):
    monkeypatch.setattr("dfldaemon.cli.info._devices", lambda session: [{"name": "cpu"}])
    (event,) = events_of(dfl("info", "--json")[1])
    assert event["daemon"]["running"]
    assert event["state_dir"] == str(daemon.state_dir)
    assert "weights:" in dfl("info")[1]


def test_unexpected_errors_are_one_sentence(dfl, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("dfldaemon.cli.job_commands.list_jobs", broken)
    code, _, err = dfl("job", "list")
    assert code == 9
    assert "ZeroDivisionError: oh" in err
    assert "Traceback" not in err


def submitted_config(daemon):
    spec = list(daemon.jobs.values())[-1].spec
    return getattr(spec, spec.WhichOneof("work")).settings.ocio_config


@pytest.mark.parametrize("command", ["extract", "merge"])
def test_the_users_color_config_is_stored_with_the_job(dfl, daemon, environ, tmp_path, command):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    flags = {"extract": ["--faceset", "/f"], "merge": ["--faceset", "/f", "--model", "/m", "--output", "/o.####.exr"]}
    arguments = [command, "/p.####.exr", *flags[command]]
    assert dfl(*arguments)[0] == 0
    assert submitted_config(daemon) == ""
    for value, stored in (
        ("show/config.ocio", str(tmp_path / "show/config.ocio")),
        ("/show/../config.ocio", "/config.ocio"),
        ("ocio://studio-config-v2.2.0_aces-v1.3_ocio-v2.4", "ocio://studio-config-v2.2.0_aces-v1.3_ocio-v2.4"),
        ("cg-config-v2.2.0_aces-v1.3_ocio-v2.4", "cg-config-v2.2.0_aces-v1.3_ocio-v2.4"),
    ):
        environ["OCIO"] = value
        assert dfl(*arguments)[0] == 0
        assert submitted_config(daemon) == stored
        assert dfl(*arguments, "--ocio-config", "mine.ocio")[0] == 0
        assert submitted_config(daemon) == str(tmp_path / "mine.ocio")


def test_info_shows_the_color_config_that_jobs_get(dfl, environ, monkeypatch, tmp_path):
    monkeypatch.setattr("dfldaemon.cli.info._devices", lambda session: [{"name": "cpu"}])
    environ["OCIO"] = "config.ocio"
    assert events_of(dfl("info", "--json")[1])[0]["ocio"] == str(tmp_path / "config.ocio")


def test_a_library_that_is_not_installed_is_no_defect(dfl, monkeypatch):
    def broken(*_):
        raise ModuleNotFoundError("No module named 'grpc'", name="grpc")

    monkeypatch.setattr("dfldaemon.cli.job_commands.list_jobs", broken)
    code, _, err = dfl("job", "list")
    assert code == 7
    assert "pip install 'dfl-compositor[core,daemon]'" in err
    assert "defect" not in err


def test_without_grpc_the_command_says_what_to_install(environ):
    probe = (
        "import sys; sys.modules['grpc'] = None\nfrom dfldaemon.cli.main import main; sys.exit(main(['job', 'list']))"
    )
    answer = subprocess.run([sys.executable, "-c", probe], env=environ, capture_output=True, text=True)
    assert answer.returncode == 7
    assert "pip install" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_last_day_that_is_no_date_is_refused(dfl, daemon):
    code, _, err = dfl("extract", "/p.exr", "--faceset", "/f", "--authorization-until", "1.1.2030")
    assert code == 2
    assert "authorization_until" in err.replace("-", "_")
    assert not daemon.jobs


@pytest.mark.parametrize(
    ("record", "expected"),
    [({"person": "Eileen"}, True), ({"reference": "R 1"}, True), ({"project": "show", "use": "film"}, False)],
)
def test_a_project_alone_is_no_permission(record, expected):
    assert _has_record(lambda: common_pb2.Authorization(**record)) is expected


def test_the_daemon_is_told_where_to_listen(dfl, environ, tmp_path, monkeypatch):
    started = []

    def nobody(self):
        raise NotFound("No daemon runs.", reason="DAEMON_NOT_RUNNING")

    def start_daemon(state_dir, *, environ, idle_exit_s):
        started.append(environ)
        raise NotFound("It was not started.", reason="DAEMON_DID_NOT_START")

    monkeypatch.setattr(session.CliSession, "connect", nobody)
    monkeypatch.setattr(daemon_commands, "start_daemon", start_daemon)
    code, _, err = dfl("daemon", "start", "--listen", "0.0.0.0:50051", "--tls-certificate", "c", "--tls-key", "k")
    assert code != 0
    assert "every address of the machine" in err
    code, _, err = dfl("daemon", "start", "--listen", "127.0.0.2:0")
    assert code != 0
    assert "set tls_certificate, tls_key and tls_client_ca" in err
    assert not started
    kept = Path(environ["DFL_STATE_DIR"]) / "remote_token"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("old")
    files = ("--tls-certificate", "c.pem", "--tls-key", "/k.pem")
    code, _, err = dfl("daemon", "start", "--listen", "127.0.0.2:0", *files, "--new-token")
    assert code != 0
    assert "set tls_client_ca" in err
    assert kept.exists()
    dfl("daemon", "start", "--listen", "127.0.0.2:0", *files, "--tls-client-ca", "ca.pem")
    (told,) = started
    assert told["DFL_LISTEN"] == "127.0.0.2:0"
    assert (told["DFL_TLS_CERTIFICATE"], told["DFL_TLS_KEY"]) == (str(tmp_path / "c.pem"), "/k.pem")
    assert told["DFL_TLS_CLIENT_CA"] == str(tmp_path / "ca.pem")
    assert kept.exists()
    dfl("daemon", "start", "--listen", "127.0.0.2:0", *files, "--tls-client-ca", "ca.pem", "--new-token")
    assert not kept.exists()
