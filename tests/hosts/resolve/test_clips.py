"""Clips become plates only where their files are what is seen."""

from __future__ import annotations

import json

import pytest

from dflhost.errors import HostError
from dflhost.plates import FrameSet
from dflresolve import clips
from dflresolve.clips import frame_of_timecode, plate_of, under_playhead
from dflresolve.host import RECORD_VARIABLE, Host, ask, listed, must


def test_a_sequence_is_sent_as_its_own_files_with_the_frames_that_are_seen(world):
    plate = plate_of(under_playhead(Host(world.resolve))[0], "ACEScg")
    assert plate.path == str(world.folder / "plate.####.exr")
    assert plate.frames == FrameSet.span(1011, 1018)
    assert plate.color_space == "ACEScg"


def test_a_movie_counts_from_one(world):
    world.item._media = world.add_media("take 2.mov", 100)
    plate = plate_of(under_playhead(Host(world.resolve))[0])
    assert plate.frames == FrameSet.span(11, 18)


def test_a_source_start_that_is_one_off_does_not_matter(world):
    world.traps.add("off by one")
    assert under_playhead(Host(world.resolve))[0].is_direct


@pytest.mark.parametrize(
    ("name", "span", "why"),
    [
        ("plate.[1001-1048].exr", 16, "speed"),
        ("a.braw", 8, "raw"),
        ("a.xyz", 8, "read by Resolve only"),
        ("still.exr", 8, "still"),
    ],
)
def test_what_the_files_do_not_show_must_be_rendered(world, name, span, why):
    world.item._media = world.add_media(name, 48)
    world.item._span = span
    clip = under_playhead(Host(world.resolve))[0]
    with pytest.raises(HostError, match=why) as caught:
        plate_of(clip)
    assert caught.value.reason == "CLIP_MUST_BE_RENDERED"


def test_titles_have_no_files(world):
    world.item._media = None
    assert not under_playhead(Host(world.resolve))[0].is_direct


def test_clips_are_chosen_in_the_media_pool(world):
    other = world.add_item(world.media, track=2, start=86500, count=4)
    world.add_item(world.add_media("other.mov", 9), track=1, start=87000, count=9)
    host = Host(world.resolve)
    assert clips.selected(host) == ([], [])
    world.project._pool._selected = [world.media]
    assert [clip.uid for clip in clips.selected(host)[0]] == [world.item._id, other._id]


def test_no_clip_under_the_playhead(world):
    world.traps.add("empty playhead")
    assert under_playhead(Host(world.resolve)) == []


@pytest.mark.parametrize(
    ("text", "rate", "frame"),
    [
        ("01:00:00:00", 24.0, 86400),
        ("00:00:01:05", 25.0, 30),
        ("00:01:00;02", 29.97, 1800),  # 00:01:00;00 and ;01 are left out
        ("00:10:00;00", 29.97, 17982),
        ("01:00:00;00", 59.94, 215784),
    ],
)
def test_time_codes(text, rate, frame):
    assert frame_of_timecode(text, rate) == frame


def test_a_time_code_that_is_none():
    with pytest.raises(HostError, match="cannot be read"):
        frame_of_timecode("soon", 24.0)


def test_the_playhead(world):
    assert clips.playhead(Host(world.resolve)) == 86403


# Resolve's answers


def test_resolve_is_not_there():
    with pytest.raises(HostError, match="not running") as caught:
        Host(None)
    assert caught.value.reason == "RESOLVE_NOT_RUNNING"


def test_resolve_is_too_old(world):
    world.version = [18, 6, 4, 1, ""]
    with pytest.raises(HostError, match=r"18\.6\.4 is too old"):
        Host(world.resolve)


def test_no_timeline_is_said_in_a_sentence(world):
    world.traps.add("no timeline")
    with pytest.raises(HostError, match="Open a timeline first") as caught:
        _ = Host(world.resolve).timeline
    assert caught.value.reason == "RESOLVE_REFUSED"


def test_some_bridges_answer_every_name():
    class Bridge:
        def __getattr__(self, name):
            return None

    with pytest.raises(HostError, match="has no call GetName"):
        ask(Bridge(), "GetName")


def test_a_bridge_that_breaks_is_a_sentence():
    class Bridge:
        def GetName(self):  # noqa: N802 - Resolve's name
            raise RuntimeError("connection lost")

    with pytest.raises(HostError, match="connection lost") as caught:
        ask(Bridge(), "GetName")
    assert caught.value.reason == "RESOLVE_CALL_FAILED"


@pytest.mark.parametrize("answer", [None, False, "", [], {}])
def test_every_empty_answer_is_a_refusal(answer):
    class Owner:
        def Do(self):  # noqa: N802 - as Resolve names its calls
            return answer

    with pytest.raises(HostError, match="It did not"):
        must("It did not", Owner(), "Do")


def test_tables_count_from_one():
    assert listed({1.0: "a", 2.0: "b"}) == ["a", "b"]
    assert listed(None) == []


@pytest.mark.parametrize(
    ("product", "version", "may"),
    [
        ("DaVinci Resolve Studio", [21, 1, 0], True),
        ("DaVinci Resolve", [19, 0, 3], True),
        ("DaVinci Resolve", [19, 1, 0], False),
        ("DaVinci Resolve", [21, 0, 0], False),
    ],
)
def test_windows_are_for_studio_since_19_1(world, product, version, may):
    world.product, world.version = product, version
    assert Host(world.resolve).may_open_windows is may


def test_calls_can_be_recorded(world, monkeypatch, tmp_path):
    monkeypatch.setenv(RECORD_VARIABLE, str(tmp_path / "calls.jsonl"))
    under_playhead(Host(world.resolve))
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert lines[0] == {"call": "GetProductName", "arguments": [], "answer": "DaVinci Resolve Studio"}
    assert {"call": "GetStart", "arguments": [], "answer": 86400} in lines
