"""Ranges and parts of ranges on the command line: what a farm writes, and frames below zero."""

import json

import pytest

from dflcore.errors import InvalidInput, NotFound
from dflcore.frames import FrameRange
from dfldaemon.cli import authorization, work
from dfldaemon.cli.chunks import Chunk, frames_to_divide
from dfldaemon.cli.output import Output
from dfldaemon.cli.parser import build_parser

MERGE = ("merge", "/p/a.####.exr", "--model", "/m", "--faceset", "/t", "--output", "/o/{version}/a.####.exr")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 13])
@pytest.mark.parametrize("frames", ["1001-1010", "1-99x7", "-5-4", "5"])
def test_parts_are_the_range_in_order_without_a_double_and_even(frames, count):
    whole = FrameRange.parse(frames)
    parts = [Chunk(index, count).of(whole) for index in range(1, count + 1)]
    assert [frame for part in parts for frame in part] == list(whole)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", "1/2000000", ""])
def test_what_is_no_part_is_refused_with_an_example(text):
    with pytest.raises(InvalidInput, match="3/10") as caught:
        Chunk.parse(text)
    assert caught.value.reason == "BAD_CHUNK"


def test_without_a_range_what_is_on_disk_is_divided(tmp_path):
    for frame in (1001, 1002, 1005):
        (tmp_path / f"a.{frame}.exr").touch()
    assert list(frames_to_divide(str(tmp_path / "a.####.exr"), "")) == [1001, 1002, 1005]
    assert list(frames_to_divide("/elsewhere/a.####.exr", "1-9x4")) == [1, 5, 9]
    with pytest.raises(NotFound, match="--frames"):
        frames_to_divide(str(tmp_path / "b.####.exr"), "")
    with pytest.raises(InvalidInput, match="--frames"):
        frames_to_divide("/a/clip.mov", "")


def submitted(daemon):
    return list(daemon.jobs.values())[-1].spec.merge.plate.frames


def test_a_farms_tasks_submit_their_parts(dfl, daemon):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    assert dfl(*MERGE, "--frames", "1001-1100x2", "--chunk", "1/5")[0] == 0
    assert FrameRange.parse(submitted(daemon)) == FrameRange.parse("1001-1020x2")
    assert dfl(*MERGE, "--frames", "1001-1100x2", "--chunk", "5/5")[0] == 0
    assert FrameRange.parse(submitted(daemon)) == FrameRange.parse("1081-1099x2")


def test_a_part_without_frames_is_no_error_and_no_job(dfl, daemon):
    code, _, err = dfl(*MERGE, "--frames", "1001-1003", "--chunk", "2/8")
    assert (code, daemon.jobs) == (0, {})
    assert "nothing to do" in err
    out = dfl("--json", *MERGE, "--frames", "1001-1003", "--chunk", "2/8")[1]
    assert json.loads(out) == {"type": "nothing_to_do", "chunk": "2/8", "frames": 3}


def test_a_bad_part_is_wrong_usage(dfl, daemon):
    code, out, _ = dfl("--json", *MERGE, "--frames", "1001-1003", "--chunk", "9/8")
    assert (code, daemon.jobs) == (2, {})
    assert json.loads(out.splitlines()[-1])["reason"] == "BAD_CHUNK"


@pytest.mark.parametrize(
    ("words", "frames"),
    [
        (("--frames", "-5-5"), "-5-5"),
        (("--frames", "-5"), "-5"),
        (("--frames", "-9--5"), "-9--5"),
        (("--frames", "-9--1x4,3"), "-9--1x4,3"),
        (("--frames=-5-5",), "-5-5"),
        (("--frames", "1001,1001,1001-1003"), "1001-1003"),
    ],
)
def test_ranges_as_people_write_them(dfl, daemon, words, frames):
    daemon.on_submit = lambda job: daemon.finish(job.id)
    code, _, err = dfl(*MERGE, *words)
    assert code == 0, err
    assert FrameRange.parse(submitted(daemon)) == FrameRange.parse(frames)


def test_other_flags_are_read_as_before():
    options = build_parser().parse_args([*MERGE, "--matte-erode", "-2.5", "--overwrite", "--frames", "-3"])
    assert (options.matte_erode, options.overwrite, options.frames) == (-2.5, True, "-3")
    options = build_parser().parse_args(
        ["frame", "/p", "--frame", "-12", "--model", "/m", "--faceset", "/t", "--output", "-"]
    )
    assert (options.frame, options.output) == (-12, "-")


@pytest.mark.parametrize("range_text", ["1010-1001", "5-", "", "1-9x0", "a-b", "1-99999999999"])
def test_ranges_that_are_none_are_refused_before_the_daemon_is_asked(dfl, daemon, range_text):
    code, _, err = dfl(*MERGE, "--frames", range_text or ",")
    assert (code, daemon.jobs) == (2, {})
    assert "range" in err.lower()


def test_scripts_are_never_asked_anything(dfl, daemon, monkeypatch, tmp_path):
    """Not even where a person could be: on a terminal, without a record of permission."""

    def asked(*_, **__):
        raise AssertionError("a prompt")

    monkeypatch.setattr(authorization.Prompt, "ask", asked)
    monkeypatch.setattr(Output, "can_ask", True)
    monkeypatch.setattr(work, "_has_record", lambda _: False)
    daemon.on_submit = lambda job: daemon.finish(job.id)
    look = tmp_path / "look.toml"
    look.write_text("opacity = 0.5\n")
    assert dfl(*MERGE, "--settings", str(look))[0] == 0
    assert dfl(*MERGE, "--frames", "1-2", "--chunk", "1/2")[0] == 0


def test_without_standard_input_nobody_is_asked(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)

    class Terminal:
        is_terminal = True

    output = Output()
    output.error_console = Terminal()
    assert output.can_ask is False
