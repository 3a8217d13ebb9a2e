"""A clip's way to the daemon and back, step by step as a timer moves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pressing import finish, mark, touch_plates

from dflhost.errors import HostError
from dflhost.plates import FrameSet
from dflhost.preferences import load_preferences, save_preferences
from dflhost.tasks import Task
from dflresolve import place, prefs
from dflresolve.app import SELECTED, UNDER_PLAYHEAD, App
from dflresolve.orders import QUEUE, stem_of
from dflresolve.start import main, without_window


def test_a_swap_ends_as_a_take(world, app, session):
    app.swap_range(UNDER_PLAYHEAD)
    seen = finish(app)
    assert "Merging 4/8" in seen
    assert seen[-1] == "Take 2 of plate.[1001-1048].exr: plate_swap v001 1011-1018"
    _, plate, model, faces, output, settings = session.submitted[0]
    assert plate.frames == FrameSet.span(1011, 1018)
    assert model == "/models/anna"
    assert faces == str(Path(app.preferences.folder) / "plate_faces")
    assert output.endswith("/plate_swap/{version}/plate_swap.####.exr")
    assert settings == {"layers": "matte", "profile": "flat"}
    setting = Path(app.preferences.folder) / "plate_swap" / "v001" / "plate_swap.setting"
    assert "FaceSwapMerge" in setting.read_text("utf-8")


def test_nothing_is_rendered_and_the_page_stays_where_files_can_be_sent(world, app):
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert not {"OpenPage", "SetRenderSettings", "AddRenderJob", "SetTrackEnable"} & set(world.calls)


def test_faces_are_found_first_where_they_lack(app, session):
    session.has_faces = False
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert [kind for kind, *_ in session.submitted] == ["extract", "merge"]
    assert app.desk.run.placed is not None


def test_a_camera_raw_clip_is_rendered_by_resolve(world, app, session):
    world.item._media = world.add_media("A001.braw", 48)
    app.remember(app.preferences.with_values(color_space="ACEScg"))
    app.swap_range(UNDER_PLAYHEAD)
    seen = finish(app)
    assert "Sending plates 4/8" in seen
    _, plate, *_ = session.submitted[0]
    assert plate.color_space == "ACEScg"
    assert len(plate.frames) == 8
    assert world.page == "edit"
    assert app.desk.run.placed.text.endswith("on video track 2")


def test_a_rendered_plate_needs_a_color_space(world, app, session):
    world.item._media = world.add_media("A001.braw", 48)
    with pytest.raises(HostError, match=r"camera raw.*ACEScg") as caught:
        app.swap_range(UNDER_PLAYHEAD)
    assert caught.value.reason == "COLOR_SPACE_UNKNOWN"
    assert not app.desk.is_busy


def test_something_must_be_chosen_first(app):
    app.remember(app.preferences.with_values(model=" "))
    with pytest.raises(HostError, match="Choose a model first"):
        app.swap_range(UNDER_PLAYHEAD)


def test_several_clips_go_one_after_the_other(world, app, session):
    world.add_item(world.media, track=1, start=90000, count=4, offset=20)
    world.project._pool._selected = [world.media]
    app.swap_range(SELECTED)
    seen = finish(app)
    assert any("1 more clips wait" in text for text in seen)
    assert [len(order[1].frames) for order in session.submitted] == [8, 4]


def test_no_clip(world, app):
    world.traps.add("empty playhead")
    with pytest.raises(HostError, match="stands on no clip"):
        app.swap_range(UNDER_PLAYHEAD)
    with pytest.raises(HostError, match="selected in the media pool"):
        app.swap_range(SELECTED)


# Errors


def test_a_failed_job_says_why_and_changes_nothing(world, app, session):
    session.error = HostError("No face.", reason="NO_FACE_FOUND", category="INVALID_INPUT")
    app.swap_range(UNDER_PLAYHEAD)
    assert finish(app)[-1] == "Failed"
    assert app.desk.run.error is session.error
    assert world.item._takes == []
    assert "No face was found." in app.report_text()


def test_resolves_refusal_at_the_end_is_an_error_and_the_result_is_found_again(world, app):
    world.traps.add("take lost")
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert "was not added" in app.desk.run.error.message
    world.traps.clear()
    app.show_result(UNDER_PLAYHEAD)
    finish(app)
    assert world.item._take == 2


def test_no_daemon(world, tmp_path, app):
    def connect(settings, *, start=False):
        def fail():
            raise HostError("No daemon.", reason="DAEMON_NOT_RUNNING", category="NOT_FOUND")

        return Task(fail)

    alone = App(app.host, str(tmp_path / "preferences" / "resolve.json"), connect)
    alone.swap_range(UNDER_PLAYHEAD)
    assert finish(alone)[-1] == "Not connected"
    assert alone.desk.run.error.reason == "DAEMON_NOT_RUNNING"


def test_a_daemon_that_went_away_is_looked_for_anew(app, session):
    lost = HostError("Gone.", reason="DAEMON_UNREACHABLE", category="NOT_FOUND")
    session.model = lambda path: (_ for _ in ()).throw(lost)
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert session.is_closed
    assert app.desk.session is None
    del session.model
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert app.desk.run.placed is not None


def test_a_render_that_fails_is_an_error_of_the_run(world, app):
    world.traps.add("render fails")
    app.remember(app.preferences.with_values(color_space="ACEScg", plates=QUEUE))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert app.desk.run.error.reason == "RENDER_FAILED"
    assert world.page == "edit"


def test_a_clip_that_takes_no_marker_still_gets_its_result(world, app):
    world.traps.add("no markers")
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert world.item._take == 2
    assert any("remembered" in note for note in app.desk.run.notes)


# Cancel


def test_cancel_while_merging(world, app, session):
    app.swap_range(UNDER_PLAYHEAD)
    while not session.jobs or app.desk.run.phase != "working":
        app.desk.tick()
    app.desk.cancel()
    assert finish(app)[-1] == "Cancelled"
    assert world.item._takes == []


def test_cancel_while_rendering_puts_back_and_drops_what_waits(world, app, session):
    world.add_item(world.media, track=1, start=90000, count=4)
    world.project._pool._selected = [world.media]
    app.remember(app.preferences.with_values(color_space="ACEScg", plates=QUEUE))
    app.swap_range(SELECTED)
    while app.desk.run is None or app.desk.run.phase != "rendering":
        app.desk.tick()
    app.desk.cancel()
    assert finish(app) == []
    assert app.desk.run.text == "Cancelled"
    assert (world.page, world.jobs, session.submitted) == ("edit", {}, [])


def test_after_a_cancelled_swap_the_result_before_is_still_found(world, app, session):
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    output = mark(app).output
    app.swap_range(UNDER_PLAYHEAD)
    while len(session.jobs) < 2 or app.desk.run.phase != "working":
        app.desk.tick()
    app.desk.tick()
    assert mark(app).is_running
    app.desk.cancel()
    finish(app)
    assert (mark(app).output, mark(app).is_running) == (output, False)
    app.show_result(UNDER_PLAYHEAD)
    finish(app)
    assert world.item._take == 3


# What is remembered


def test_the_marker_finds_the_result_and_the_artists_markers_stay(world, app):
    world.item.AddMarker(0, "Red", "mine", "", 1, "")
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    assert world.item._markers[0.0]["name"] == "mine"
    assert len(world.item._markers) == 2
    assert mark(app).job == "job1:0"
    assert mark(app).output.endswith("/v001/plate_swap.####.exr")


def test_closing_meanwhile_and_opening_again_finds_the_job(world, app, session, tmp_path):
    app.swap_range(UNDER_PLAYHEAD)
    while mark(app) is None:
        app.desk.tick()
    app.desk.close()
    assert session.is_closed
    again = App(app.host, str(tmp_path / "preferences" / "resolve.json"), session.connect)
    again.attach_running()
    finish(again)
    assert len(session.submitted) == 1
    assert world.item._take == 2
    again.attach_running()  # its result is there: nothing is to be done
    assert not again.desk.is_busy


def test_a_result_that_came_while_the_host_was_closed_is_marked_stale_as_any_other(world, app, session, tmp_path):
    touch_plates(world, range(1011, 1019))
    app.swap_range(UNDER_PLAYHEAD)
    while mark(app) is None:
        app.desk.tick()
    app.desk.close()
    again = App(app.host, str(tmp_path / "preferences" / "resolve.json"), session.connect)
    again.attach_running()
    finish(again)
    said = []
    again.look_for_stale(said.append)
    finish(again)
    session.digest = "d2"
    again.look_for_stale(said.append)
    finish(again)
    assert said == ["", "Stale: The model was trained further or is another one."]
    assert ours(world)["color"] == "Yellow"
    assert ours(world)["note"] == said[1]
    again.update(UNDER_PLAYHEAD)
    finish(again)
    assert ours(world)["color"] == "Cyan"


def ours(world):
    """The marker that we left."""
    (marker,) = [one for one in world.item._markers.values() if one["name"] == "Face Swap"]
    return marker


def test_update_does_nothing_where_nothing_is_out_of_date(world, app, session):
    touch_plates(world, range(1011, 1019))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    app.update(UNDER_PLAYHEAD)
    assert finish(app)[-1] == "Nothing is out of date"
    session.digest = "d2"
    app.update(UNDER_PLAYHEAD)
    finish(app)
    assert len(session.submitted) == 2
    assert world.item._takes[2][0]._about["File Path"].endswith("/v002/plate_swap.1011.exr")


def test_update_of_a_rendered_plate_does_not_render_again(world, app, session):
    app.remember(app.preferences.with_values(color_space="ACEScg", plates=QUEUE))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    renders = world.calls.count("AddRenderJob")
    app.update(UNDER_PLAYHEAD)
    assert finish(app)[-1] == "Nothing is out of date"
    assert world.calls.count("AddRenderJob") == renders
    app.swap_range(UNDER_PLAYHEAD)  # the grade may be another one: rendered anew, into another folder
    finish(app)
    assert world.calls.count("AddRenderJob") == renders + 1
    assert session.submitted[0][1].path != session.submitted[1][1].path


def test_a_swapped_clip_is_swapped_from_its_original_again(world, app, session):
    """The take that is shown is our own result: it may never become the plate."""
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    first, second = session.submitted
    assert second[1] == first[1]
    assert second[4] == first[4]
    assert world.item._take == 3


def test_a_result_on_a_track_is_no_plate(world, app):
    app.remember(app.preferences.with_values(place=place.TRACK))
    app.swap_range(UNDER_PLAYHEAD)
    finish(app)
    world.item = world.project._timeline._tracks[1]["items"][0]
    with pytest.raises(HostError, match="is a result of ours"):
        app.swap_range(UNDER_PLAYHEAD)


def test_two_clips_of_one_source_share_a_version_and_keep_their_frames(world, app, session):
    other = world.add_item(world.media, track=1, start=90000, count=4, offset=20)
    world.project._pool._selected = [world.media]
    real, session.version = session.submit_merge, 0

    def same_version(*arguments):
        session.version = 0
        return real(*arguments)

    session.submit_merge = same_version
    app.swap_range(SELECTED)
    finish(app)
    assert world.item._takes[1][1:] == (0, 7)
    assert other._takes[1][1:] == (0, 3)
    app.show_result(UNDER_PLAYHEAD)
    finish(app)
    assert world.item._takes[2][1:] == (0, 7)


def test_a_clip_that_was_never_swapped_has_no_result(app):
    with pytest.raises(HostError, match="not swapped yet"):
        app.show_result(UNDER_PLAYHEAD)


# Swap Frame


def test_a_frame_is_a_picture(app, session):
    found = []
    app.swap_frame(lambda path, error: found.append((path, error)))
    finish(app)
    ((path, error),) = found
    assert error is None
    assert Path(path).read_bytes() == b"png"
    Path(path).unlink()
    request = session.requests[0]
    assert request.frame == 1014  # the playhead stands on the clip's fourth frame
    assert request.pixel_format == "png"


def test_a_frame_that_fails_is_told(app, session):
    session.error = HostError("x", reason="SUPERSEDED")
    found = []
    app.swap_frame(lambda path, error: found.append((path, error)))
    finish(app)
    assert found == [("", session.error)]


# Preferences, and the script without a window


def test_choices_that_a_newer_version_saved_are_left_at_their_defaults(tmp_path):
    path = tmp_path / "resolve.json"
    wanted = prefs.Preferences(model="/m", place=place.FUSION, settings={"erode": 3}, path_map="/a=/b")
    save_preferences(str(path), wanted)
    assert load_preferences(prefs.Preferences, str(path)) == wanted
    path.write_text(json.dumps({"model": 7, "place": "elsewhere", "new": 1}))
    found = load_preferences(prefs.Preferences, str(path))
    assert (found.choices.place, found.model) == (place.TAKE, "")


def test_without_a_window_the_clip_under_the_playhead_is_swapped(world, app):
    said = []
    assert without_window(app, said.append, lambda seconds: None) == 0
    assert said[-1].startswith("Take 2 of")


def test_without_a_window_errors_are_one_sentence(app, session):
    session.error = HostError("No face.", reason="NO_FACE_FOUND", category="INVALID_INPUT")
    said = []
    assert without_window(app, said.append, lambda seconds: None) == 1
    assert said[-1].startswith("No face was found.")


def test_the_free_edition_is_never_asked_for_a_window(world, monkeypatch, tmp_path):
    from fake_window import FusionApp, Widgets

    monkeypatch.setenv("DFL_RESOLVE_PREFERENCES", str(tmp_path / "resolve.json"))
    world.product = "DaVinci Resolve"
    said = []
    assert main(world.resolve, FusionApp(world, Widgets()), object(), said.append) == 1
    assert not world.is_modal_open
    assert said == ["Choose a model first."]


def test_without_resolve_it_says_so():
    said = []
    assert main(None, say=said.append) == 1
    assert "not running" in said[0]


def test_names_of_clips_as_names_of_files():
    assert stem_of("plate.[1001-1048].exr") == "plate"
    assert stem_of("Take 2.mov") == "Take_2"
    assert stem_of("???") == "shot"
