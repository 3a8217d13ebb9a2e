"""``dfl qc`` against a fake daemon: what is submitted, and when flagged frames are a failure."""

import json

import pytest

from dflproto.v1 import job_service_pb2

ARGUMENTS = ("qc", "out/swap.####.exr", "--plate", "p.####.exr", "--faceset", "faces", "--output", "report")


def test_whole_paths_and_the_settings_given_are_submitted(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id, page="/r/swap.qc.html", flagged_frames="3")
    code, _, err = dfl(*ARGUMENTS, "--source", "him", "--frames", "1001-1003,1004", "--max-flicker", "0.5")
    assert code == 0
    assert "/r/swap.qc.html" in err
    spec = daemon.jobs["qc-000000"].spec.qc
    assert (spec.plate.path, spec.plate.frames) == (str(tmp_path / "p.####.exr"), "1001-1004")
    assert spec.result_path == str(tmp_path / "out/swap.####.exr")
    assert (spec.faceset_path, spec.source_path) == (str(tmp_path / "faces"), str(tmp_path / "him"))
    assert spec.output_path == str(tmp_path / "report")
    assert [(field.name, value) for field, value in spec.settings.ListFields()] == [("max_flicker", 0.5)]


def test_the_version_is_left_to_whoever_reads_the_frames(dfl, daemon, tmp_path):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    arguments = ["out/{version}/swap.####.exr" if one == ARGUMENTS[1] else one for one in ARGUMENTS]
    assert dfl(*arguments)[0] == 0
    assert daemon.jobs["qc-000000"].spec.qc.result_path == str(tmp_path / "out/{version}/swap.####.exr")


def test_without_a_source_no_path_is_sent(dfl, daemon):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    assert dfl(*ARGUMENTS)[0] == 0
    assert daemon.jobs["qc-000000"].spec.qc.source_path == ""


@pytest.mark.parametrize(("flagged", "expected"), [("0", 0), ("1", 1), ("7", 1)])
def test_flags_are_a_failure_only_when_asked(dfl, daemon, flagged, expected):
    daemon.on_submit = lambda job: daemon.finish(job.id, page="/r.html", flagged_frames=flagged)
    assert dfl(*ARGUMENTS)[0] == 0
    code, _, err = dfl(*ARGUMENTS, "--fail-on-flags")
    assert code == expected
    assert ("flagged; see /r.html" in err) == bool(expected)


def test_a_failed_review_exits_with_its_error(dfl, daemon):
    daemon.on_submit = lambda job: daemon.fail(job.id, "NOT_FOUND", "There is no plate.")
    code, out, _ = dfl(*ARGUMENTS, "--fail-on-flags", "--json")
    assert code == 3
    assert json.loads(out.splitlines()[-1])["exit_code"] == 3


def test_who_detaches_cannot_wait_for_flags(dfl, daemon):
    assert dfl(*ARGUMENTS, "--fail-on-flags", "--detach")[0] == 2
    assert daemon.jobs == {}


def test_measuring_is_told_as_such(dfl, daemon):
    def run(job):
        progress = job_service_pb2.FrameProgress(done_count=3, total_count=6, stage="measure")
        daemon.tell(job.id, frame_progress=progress)
        daemon.finish(job.id)

    daemon.on_submit = run
    assert "Measuring: 3/6 frames\n" in dfl(*ARGUMENTS)[2]
