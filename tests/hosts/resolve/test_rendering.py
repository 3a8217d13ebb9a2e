"""Plates that Resolve renders: verified on disk, and everything of the artist's put back."""

from __future__ import annotations

import copy

import pytest

from dflhost.errors import HostError
from dflhost.plates import FrameSet
from dflresolve.clips import under_playhead
from dflresolve.host import Host
from dflresolve.plates import PlateRender
from dflresolve.saver import SaverRender


def begin(world):
    host = Host(world.resolve)
    return PlateRender(host, under_playhead(host)[0], str(world.folder / "plates" / "a_001"), "ACEScg")


def finish(render, steps=10):
    for _ in range(steps):
        if render.step():
            return render.plate
    raise AssertionError("it never ends")


def state(world):
    tracks = [track["on"] for track in world.project._timeline._tracks]
    return copy.deepcopy((world.page, world.format, world.mode, world.settings, world.presets, world.jobs, tracks))


def test_one_clip_on_its_track_alone_as_exr(world):
    world.add_item(world.media, track=2, start=86400, count=8)
    before = state(world)
    render = begin(world)
    (job,) = world.jobs.values()
    assert (job["MarkIn"], job["MarkOut"]) == (86400, 86407)
    assert (job["FormatWidth"], job["FormatHeight"]) == (1920, 1080)
    assert job["GammaTag"] == "Same as Project"
    assert world.format == {"format": "exr", "codec": "RGBHalfZIP"}
    assert world.mode == 1
    assert [track["on"] for track in world.project._timeline._tracks] == [True, False]
    plate = finish(render)
    assert plate.frames == FrameSet.span(86400, 86407)
    assert plate.path.endswith("plate_plate_########.exr")
    assert plate.color_space == "ACEScg"
    assert state(world) == before


def test_progress_is_frames(world):
    render = begin(world)
    assert (render.done, render.total) == (0, 8)
    render.step()
    render.step()
    assert (render.done, render.total) == (4, 8)


def test_a_job_that_never_says_complete_is_done_when_nothing_renders(world):
    world.traps.add("never complete")
    assert len(finish(begin(world)).frames) == 8


def test_a_queue_that_keeps_its_jobs_does_no_harm(world):
    world.traps.add("jobs stay")
    assert len(finish(begin(world)).frames) == 8


@pytest.mark.parametrize(
    ("trap", "sentence"),
    [
        ("no exr", "no EXR codec"),
        ("settings lost", "another range and width"),
        ("no job", "cannot be put into the render queue"),
        ("lost job", "did not get into the render queue"),
        ("no start", "cannot be started"),
        ("render fails", "The disk is full"),
        ("frame lost", "7 frames of 8"),
    ],
)
def test_whatever_goes_wrong_is_said_and_put_back(world, trap, sentence):
    world.add_item(world.media, track=2, start=86400, count=8)
    world.traps.add(trap)
    before = state(world)
    with pytest.raises(HostError, match=sentence):
        finish(begin(world))
    assert state(world) == before


def test_a_track_that_does_not_switch(world):
    world.add_item(world.media, track=2, start=86400, count=8)
    world.traps.add("tracks stay")
    with pytest.raises(HostError, match="track 2 cannot be switched"):
        begin(world)


def test_cancel_puts_back(world):
    before = state(world)
    render = begin(world)
    render.step()
    render.cancel()
    assert not world.is_rendering
    assert state(world) == before


def test_another_render_is_not_disturbed(world):
    world.is_rendering = True
    with pytest.raises(HostError, match="wait until its queue is done"):
        begin(world)
    assert world.page == "edit"


def test_a_folder_that_cannot_be_made(world):
    (world.folder / "plates").write_text("a file")
    with pytest.raises(HostError, match="cannot be made") as caught:
        begin(world)
    assert caught.value.reason == "NOT_WRITABLE"
    assert world.page == "edit"


def test_the_original_is_rendered_where_a_take_of_ours_is_shown(world):
    original = world.item._media
    swap = world.add_media("plate_swap/v001/plate_swap.1011.exr", 8)
    world.item.AddTake(swap, 0, 7)
    world.item.SelectTakeByIndex(2)
    render = begin(world)
    assert world.item.GetMediaPoolItem() is original
    finish(render)
    assert world.item._take == 2


# By a Saver of Fusion


def begin_saver(world):
    host = Host(world.resolve)
    return SaverRender(host, under_playhead(host)[0], str(world.folder / "plates" / "s_001"), "ACEScg")


def test_a_saver_on_a_composition_of_its_own(world):
    before = state(world)
    render = begin_saver(world)
    assert world.page == "fusion"
    (comp,) = world.item._comps.values()
    saver = comp.FindTool("Saver1")
    assert saver.inputs["OutputFormat"] == "OpenEXRFormat"
    assert (saver.inputs["OpenEXRFormat.Depth"], saver.inputs["OpenEXRFormat.Compression"]) == (1, 3)
    plate = finish(render)
    assert (plate.frames, plate.color_space) == (FrameSet.span(5, 12), "ACEScg")
    assert plate.path.endswith("/plate_plate_####.exr")
    assert state(world) == before
    assert world.item._comps == {}


def test_a_saver_on_the_artists_composition_goes_away_again(world):
    comp = world.item.AddFusionComp()
    finish(begin_saver(world))
    assert list(world.item._comps.values()) == [comp]
    assert list(comp._tools) == ["MediaIn1"]


@pytest.mark.parametrize(
    ("trap", "sentence"),
    [
        ("no comps", "composition cannot be added"),
        ("no media in", "no MediaIn"),
        ("no saver", "Saver cannot be added"),
        ("saver deaf", "does not take its file"),
        ("saver sleeps", "0 frames of 8"),
        ("frame lost", "7 frames of 8"),
    ],
)
def test_whatever_goes_wrong_with_a_saver_is_said_and_put_back(world, trap, sentence):
    world.traps.add(trap)
    before = state(world)
    with pytest.raises(HostError, match=sentence):
        finish(begin_saver(world), 40)
    assert state(world) == before
    assert world.item._comps == {}


def test_cancelling_a_saver_puts_back(world):
    before = state(world)
    render = begin_saver(world)
    render.step()
    (comp,) = world.item._comps.values()
    render.cancel()
    assert comp.is_aborted
    assert state(world) == before
    assert world.item._comps == {}
