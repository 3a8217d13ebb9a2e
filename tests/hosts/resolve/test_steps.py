"""Beside a plain swap: frames that are streamed, faces and training, parts of clips, several clips, movies, a Saver."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pressing import finish, mark, touch_plates

from dflhost.errors import HostError
from dflhost.events import BytesSent, StateChanged
from dflhost.plates import FrameSet
from dflresolve import place
from dflresolve.app import ALL_UNDER_PLAYHEAD, SELECTED, UNDER_PLAYHEAD, App
from dflresolve.orders import EXTRACT_SOURCE, EXTRACT_TARGET, OWN_FILES, QUEUE, SAVER


def test_a_daemon_that_sees_no_disk_of_ours_sends_the_frames(world, app, session):
    session.settings.is_remote, session.result = True, None  # nothing is asked of the daemon's disk
    touch_plates(world, range(1011, 1019))
    app.swap_range(UNDER_PLAYHEAD)
    assert finish(app)[-1].startswith("Take 2 of")
    kind, request, frames, pattern = session.submitted[0]
    assert (kind, frames) == ("streamed", tuple(range(1011, 1019)))
    assert (request.faceset_path, dict(request.settings)) == ("/there/facesets/plate_faces", {})
    assert "/v001/" in pattern
    app.show_result(UNDER_PLAYHEAD)
    finish(app)
    assert world.item._take == 3
    app.remember(app.preferences.with_values(place=place.TRACK))
    app.show_result(UNDER_PLAYHEAD)
    assert finish(app)[-1] == "plate_swap v001 1011-1018 on video track 2"
    assert world.project._timeline._tracks[1]["items"][0]._media._about["Alpha mode"] == "None"  # the whole picture


def test_where_frames_are_streamed_only_what_has_changed_is_made_again(world, app, session, tmp_path):
    session.settings.is_remote = True
    touch_plates(world, range(1011, 1019))
    app.remember(app.preferences.with_values(frames="1011-1014"))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    app.remember(app.preferences.with_values(frames=""))
    app.update(UNDER_PLAYHEAD)
    finish(app)
    assert world.item._take == 2
    (world.folder / "plate.1012.exr").write_bytes(b"another plate")
    app.update(UNDER_PLAYHEAD)
    finish(app)
    assert [(order[2], Path(order[3]).parent.name) for order in session.submitted] == [
        ((1011, 1012, 1013, 1014), "v001"),
        ((1015, 1016, 1017, 1018), "v001"),
        ((1012,), "v002"),
    ]
    assert len(list((tmp_path / "swap" / "plate_swap" / "v002").glob("*.exr"))) == 8
    assert world.item._take == 3
    app.update(UNDER_PLAYHEAD)
    assert finish(app)[-1] == "Nothing is out of date"


def test_streamed_frames_that_lack_after_the_window_was_closed_are_made_by_update(world, app, session, tmp_path):
    session.settings.is_remote = True
    touch_plates(world, range(1011, 1019))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    for frame in range(1015, 1019):
        (tmp_path / "swap" / "plate_swap" / "v001" / f"plate_swap.{frame}.exr").unlink()
    again = App(app.host, str(tmp_path / "preferences" / "resolve.json"), session.connect)
    said = []
    again.look_for_stale(said.append)
    finish(again)
    assert said == ["Stale: 4 frames not made yet."]
    again.update(UNDER_PLAYHEAD)
    finish(again)
    assert session.submitted[-1][2] == (1015, 1016, 1017, 1018)
    assert "/v001/" in session.submitted[-1][3]


def test_plates_on_their_way_are_told_in_mb_and_stopped(app, session):
    session.settings.is_remote = True

    def send(plate, frames, progress, is_stopped):
        progress(BytesSent(3 << 20, (6 << 20) + 1))
        while not is_stopped():
            time.sleep(0.001)
        raise HostError("Stopped.", reason="SENDING_STOPPED", category="CANCELLED")

    session.plate_there = send
    app.extract(UNDER_PLAYHEAD, EXTRACT_TARGET)
    while app.desk.text != "Sending 3/7 (MB)":
        app.tick()
    app.desk.cancel()
    assert finish(app)[-1] == "Cancelled"
    assert app.desk.run.error is None
    app.extract(UNDER_PLAYHEAD, EXTRACT_TARGET)
    while app.desk.text != "Sending 3/7 (MB)":
        app.tick()
    app.desk.close()  # ends the sending too
    assert app.desk.run.task.is_done


def test_a_local_model_that_was_trained_further_makes_a_streamed_result_stale(world, app, session, tmp_path):
    session.settings.is_remote = True
    touch_plates(world, range(1011, 1019))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"one")
    session.model = None  # it is not there, and is not sent only to look
    app.remember(app.preferences.with_values(model=str(tmp_path / "model")))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    (tmp_path / "model" / "weights").write_bytes(b"further")
    said = []
    app.look_for_stale(said.append)
    finish(app)
    assert said == ["Stale: The model was trained further or is another one."]


# Faces and training


def test_faces_of_the_target_are_kept_one_faceset_a_clip(world, app, session):
    app.extract(UNDER_PLAYHEAD, EXTRACT_TARGET)
    faces = str(Path(app.preferences.folder) / "plate_faces")
    assert finish(app)[-1] == f"Done: Extract Faces, plate.[1001-1048].exr: {faces}"
    kind, plate, where = session.submitted[0]
    assert (kind, plate.frames, where) == ("extract", FrameSet.span(1011, 1018), faces)
    assert not mark(app).is_running
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert session.submitted[1][3] == faces


def test_faces_of_the_source_are_what_training_takes(world, app, session):
    app.remember(app.preferences.with_values(model=""))
    with pytest.raises(HostError, match="Choose the source faces, or extract them, first"):
        app.train(UNDER_PLAYHEAD)
    app.extract(UNDER_PLAYHEAD, EXTRACT_SOURCE)
    finish(app)
    folder = Path(app.preferences.folder)
    assert app.preferences.source == str(folder / "plate_faces")
    world.item._media = world.add_media("target.[0001-0048].exr", 48)
    app.train(UNDER_PLAYHEAD)
    assert finish(app)[-1] == f"Done: the model {folder / 'model'}"
    kind, source, target, model, settings = session.submitted[-1]
    assert (kind, settings) == ("train", {})
    assert (source, target) == (str(folder / "plate_faces"), str(folder / "target_faces"))
    assert app.preferences.model == model == str(folder / "model")


def test_closing_while_a_model_is_trained_and_opening_again_finds_it(world, app, session, tmp_path):
    app.remember(app.preferences.with_values(source="/faces/a", faces="/faces/b"))
    app.train(UNDER_PLAYHEAD)
    while not app.preferences.training:
        app.tick()
    with pytest.raises(HostError, match="being trained"):
        app.swap_range(UNDER_PLAYHEAD)
    app.desk.close()
    again = App(app.host, str(tmp_path / "preferences" / "resolve.json"), session.connect)
    again.attach_running()
    finish(again)
    assert again.preferences.training == ""
    assert len(session.submitted) == 1


def test_closing_while_faces_are_found_and_opening_again_finds_it(world, app, session, tmp_path):
    app.extract(UNDER_PLAYHEAD, EXTRACT_TARGET)
    session.jobs = []
    while not session.jobs:
        app.tick()
    session.jobs[0].script.insert(0, StateChanged("RUNNING"))
    while mark(app) is None:
        app.tick()
    app.desk.close()
    again = App(app.host, str(tmp_path / "preferences" / "resolve.json"), session.connect)
    again.attach_running()
    assert finish(again)[-1] == "Done"
    assert len(session.submitted) == 1


def test_far_faces_and_models_have_places_over_there(world, app, session, tmp_path):
    session.settings.is_remote = True
    app.remember(app.preferences.with_values(model=""))
    app.extract(UNDER_PLAYHEAD, EXTRACT_SOURCE)
    finish(app)
    assert session.submitted[0][0] == "plate"
    assert session.submitted[0][2] == tuple(range(1011, 1019))
    assert session.submitted[1][1].path == "/there/inbox/plate.####.exr"
    assert app.preferences.source == "/there/facesets/plate_faces"
    app.train(UNDER_PLAYHEAD)
    finish(app)
    assert app.preferences.model == session.submitted[-1][3] == "/there/models/model"
    here = tmp_path / "hero"
    here.mkdir()
    (here / "weights").touch()
    app.remember(app.preferences.with_values(model=str(here)))
    app.train(UNDER_PLAYHEAD)
    finish(app)
    assert app.preferences.model == session.submitted[-1][3] == "/there/inbox/hero"  # a copy goes on over there


# Frames of a clip


def test_some_frames_of_a_clip_lie_where_they_belong(world, app, session):
    app.remember(app.preferences.with_values(frames="1013-1014"))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert session.submitted[0][1].frames == FrameSet.span(1013, 1014)
    assert "needs all 8 frames" in app.desk.run.notes[-1]
    (made,) = world.project._timeline._tracks[1]["items"]
    assert (made._start, made._count) == (86402, 2)


def test_frames_outside_the_clip(world, app):
    app.remember(app.preferences.with_values(frames="1009-1012"))
    with pytest.raises(HostError, match=r"Frames 1009-1010 lie outside .* which shows 1011-1018") as caught:
        app.swap_range(UNDER_PLAYHEAD)
    assert caught.value.reason == "FRAMES_OUTSIDE_CLIP"
    app.remember(app.preferences.with_values(frames="9", plates=QUEUE, color_space="ACEScg"))
    with pytest.raises(HostError, match=r"Frames 9 lie outside .* which shows 1-8"):
        app.swap_range(UNDER_PLAYHEAD)
    assert not app.desk.is_busy


# Several clips


def test_clips_that_cannot_be_swapped_do_not_keep_the_others(world, app, session):
    raw = world.add_media("A001.braw", 48)
    world.add_item(raw, track=1, start=90000, count=4)
    swap = world.add_media("b_swap/v001/b_swap.1001.exr", 8)
    world.add_item(swap, track=2, start=90000, count=8)
    world.project._pool._selected = [world.media, raw, swap]
    app.swap_range(SELECTED)
    finish(app)
    assert world.item._take == 2
    reasons = {run.name: run.error.reason for run in app.desk.ended if run.error is not None}
    assert reasons == {"A001.braw": "COLOR_SPACE_UNKNOWN", swap._name: "CLIP_IS_A_RESULT"}


def test_all_clips_under_the_playhead(world, app, session):
    world.add_item(world.add_media("upper.[0001-0048].exr", 48), track=2, start=86400, count=4)
    swap = world.add_item(world.add_media("b_swap/v001/b_swap.1001.exr", 8), track=3, start=86400, count=8)
    world.add_item(world.media, track=2, start=90000, count=4)
    world.add_item(world.media, track=4, start=86400, count=4)
    world.project._timeline._tracks[3]["on"] = False
    app.swap_range(ALL_UNDER_PLAYHEAD)
    finish(app)
    assert [order[1].path.rpartition("/")[2] for order in session.submitted] == ["plate.####.exr", "upper.####.exr"]
    assert swap._takes == []
    assert [run.error for run in app.desk.ended] == [None, None]


# Movies


def test_a_movies_color_is_told_and_its_frames_are_those_of_the_clip(world, app, session):
    world.item._media = world.add_media("take 2.mov", 100, **{"Input Color Space": "Project", "FPS": "25.0"})
    app.swap_range(UNDER_PLAYHEAD)
    assert finish(app)[-1] == "Take 2 of take 2.mov: take_2_swap v001 11-18"
    assert "sRGB-encoded Rec.709 (srgb_tx)" in app.desk.run.notes[0]
    media, *span = world.item._takes[1]
    assert span == [0, 7]
    assert media._about["File Path"].endswith("/take_2_swap.0011.exr")
    assert media._about["FPS"] == "25.0"


def test_a_movie_that_resolve_takes_as_log_must_be_named(world, app):
    world.item._media = world.add_media("a.mov", 100, **{"Input Color Space": "ARRI LogC3"})
    with pytest.raises(HostError, match=r"ARRI LogC3.*field Color space") as caught:
        app.swap_range(UNDER_PLAYHEAD)
    assert caught.value.reason == "COLOR_SPACE_UNKNOWN"
    app.remember(app.preferences.with_values(color_space="ARRI LogC3"))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert app.desk.run.placed is not None
    assert not any("srgb" in note for note in app.desk.run.notes)


# Plates by a Saver


def test_a_plate_by_a_saver_becomes_a_take(world, app, session):
    world.item._media = world.add_media("A001.braw", 48)
    app.remember(app.preferences.with_values(color_space="ACEScg", plates=SAVER))
    app.swap_range(UNDER_PLAYHEAD)
    seen = finish(app)
    assert "Sending plates 2/8" in seen
    assert seen[-1].startswith("Take 2 of A001.braw")
    plate = session.submitted[0][1]
    assert (plate.frames, plate.color_space) == (FrameSet.span(5, 12), "ACEScg")
    assert (world.page, world.item._comps, world.jobs) == ("edit", {}, {})
    app.update(UNDER_PLAYHEAD)
    assert finish(app)[-1] == "Nothing is out of date"
    assert app.preferences.choices.plates != OWN_FILES
