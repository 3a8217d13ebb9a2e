"""The window, pressed as an artist presses it."""

from __future__ import annotations

from fake_window import Bmd, FusionApp
from pressing import fill, show, wait

from dflhost.errors import HostError
from dflhost.messages import EXTRACT, TRAIN
from dflhost.words import BUTTONS, FIELDS, SOURCE, TARGET
from dflresolve import window
from dflresolve.app import App
from dflresolve.host import Host


def test_fields_and_buttons_have_the_words_of_all_hosts_in_their_order(world, session, tmp_path):
    found = []

    def script(dispatcher, main):
        assert main.is_shown
        assert tuple(label for label in main.labels if label in FIELDS) == FIELDS
        texts = [item.Text for item in main.items.values() if item.kind == "Button"]
        found.extend(text for text in texts if text.startswith(EXTRACT) or text in (TRAIN, *BUTTONS))
        main.On[window.WINDOW].Close({})
        assert dispatcher.is_over

    _, ui = show(world, session.connect, tmp_path, script)
    steps = dict.fromkeys((f"{EXTRACT}: {SOURCE}", f"{EXTRACT}: {TARGET}", TRAIN, *BUTTONS))
    assert found == [step for step in steps if step != EXTRACT]
    assert not ui.windows[window.WINDOW].is_shown
    assert session.is_closed


def test_a_swap_from_the_window(world, session, tmp_path):
    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))
        assert main.items["State"].Text == "Take 2 of plate.[1001-1048].exr: plate_swap v001 1011-1018"

    app, _ = show(world, session.connect, tmp_path, script)
    assert app.preferences.model == "/models/anna"
    assert world.item._take == 2


def test_errors_are_sentences_in_the_window(world, session, tmp_path):
    def script(dispatcher, main):
        main.click("SwapRange")
        assert main.items["Notes"].PlainText == "Choose a model first."
        fill(main, tmp_path)
        session.error = HostError("No face.", reason="NO_FACE_FOUND", category="INVALID_INPUT")
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text == "Failed")
        assert "No face was found." in main.items["Notes"].PlainText
        assert "Traceback" not in main.items["Notes"].PlainText
        main.click("Report")
        report = dispatcher.ui.windows[window.REPORT_WINDOW]
        assert report.is_shown
        assert "NO_FACE_FOUND" in report.items["Text"].PlainText

    show(world, session.connect, tmp_path, script)


def test_a_fault_of_our_own_is_no_stack_trace(world, session, tmp_path):
    def script(dispatcher, main):
        world.project = None
        del main.items["Scope"]
        main.click("SwapRange")
        assert "error of its own" in main.items["Notes"].PlainText or "first" in main.items["Notes"].PlainText

    show(world, session.connect, tmp_path, script)


def test_settings_come_from_the_daemon_and_only_changes_are_kept(world, session, tmp_path):
    def script(dispatcher, main):
        main.click("SwapSettings")
        wait(dispatcher, lambda: window.settings_window("merge") in dispatcher.ui.windows)
        knobs = dispatcher.ui.windows[window.settings_window("merge")]
        assert "profile" not in knobs.items  # this integration decides it
        assert knobs.items["blend"].choices == ["overlay", "seamless"]
        assert (knobs.items["erode"].Value, knobs.items["power"].Value) == (2, 1.5)
        knobs.items["blend"].CurrentIndex = 1
        knobs.items["erode"].Value = 4
        knobs.click("Keep")
        assert not knobs.is_shown

    app, _ = show(world, session.connect, tmp_path, script)
    assert app.preferences.settings == {"blend": "seamless", "erode": 4}


def test_a_frame_is_shown_in_the_window(world, session, tmp_path):
    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click("SwapFrame")
        wait(dispatcher, lambda: "<img" in main.items["Notes"].HTML)
        assert "<img" in main.items["Notes"].HTML

    show(world, session.connect, tmp_path, script)


def test_folders_are_chosen_with_resolves_own_dialog(world, session, tmp_path):
    def script(dispatcher, main):
        main.click("BrowseModel")
        assert main.items["Model"].Text.endswith("chosen")

    show(world, session.connect, tmp_path, script)


def test_a_second_start_shows_the_first_ones_window(world, session, tmp_path):
    def script(dispatcher, main):
        main.Hide()
        host = Host(world.resolve, FusionApp(world, dispatcher.ui), Bmd(lambda *_: None))
        assert window.open_window(App(host, str(tmp_path / "resolve.json"), session.connect))
        assert main.is_shown

    show(world, session.connect, tmp_path, script)


def test_no_window_where_resolve_gives_none(world, session, tmp_path):
    app = App(Host(world.resolve), str(tmp_path / "resolve.json"), session.connect)
    assert not window.open_window(app)


def test_where_the_daemon_is_can_be_said(world, session, tmp_path):
    def script(dispatcher, main):
        main.click("Connection")
        fields = dispatcher.ui.windows[window.CONNECTION_WINDOW]
        fields.items["path_map"].Text = "no map"
        fields.click("Keep")
        assert "path map" in main.items["Notes"].PlainText
        fields.items["path_map"].Text = "/here=/there"
        fields.items["address"].Text = "farm:7000"
        dispatcher.On.Timeout({})
        wait(dispatcher, lambda: main.items["State"].Text == "Idle")
        fields.click("Keep")
        assert session.is_closed
        assert not fields.is_shown

    app, _ = show(world, session.connect, tmp_path, script)
    assert app.preferences.connection().path_map.to_daemon("/here/a") == "/there/a"
    assert app.preferences.connection().address == "farm:7000"


def test_a_result_that_is_out_of_date_says_so(world, session, tmp_path):
    for frame in range(1011, 1019):
        (world.folder / f"plate.{frame}.exr").write_bytes(b"plate")

    def swap(dispatcher, main):
        fill(main, tmp_path)
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))

    show(world, session.connect, tmp_path, swap)

    def look(dispatcher, main):
        wait(dispatcher, lambda: main.items["State"].Text == "Idle")
        main.click("SwapSettings")
        wait(dispatcher, lambda: window.settings_window("merge") in dispatcher.ui.windows)
        knobs = dispatcher.ui.windows[window.settings_window("merge")]
        knobs.items["erode"].Value = 5
        knobs.click("Keep")
        wait(dispatcher, lambda: main.items["State"].Text == "Stale: Settings were changed.")
        main.click("Update")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 3"))

    show(world, session.connect, tmp_path, look)

    def look_again(dispatcher, main):
        session.digest = "another"
        wait(dispatcher, lambda: main.items["State"].Text == "Stale: The model was trained further or is another one.")

    session.is_closed = False
    show(world, session.connect, tmp_path, look_again)


def test_what_the_daemon_knows_is_in_menus_beside_the_paths(world, session, tmp_path):
    def script(dispatcher, main):
        menu = main.items["FacesMenu"]
        wait(dispatcher, lambda: len(menu.choices) == 3)
        assert menu.choices == ["Known…", "anna", "ben"]
        assert main.items["SourceMenu"].choices == menu.choices
        main.choose("FacesMenu", 2)
        main.choose("ModelMenu", 1)
        assert (main.items["Faces"].Text, main.items["Model"].Text) == ("/faces/ben", "/models/anna")
        main.choose("ModelMenu", 0)
        assert main.items["Model"].Text == "/models/anna"
        session.known["facesets"].append("/faces/cleo")
        main.items["Folder"].Text = str(tmp_path)
        main.click("ExtractFacesSource")
        wait(dispatcher, lambda: menu.choices[-1] == "cleo")
        assert main.items["Source"].Text == str(tmp_path / "plate_faces")

    show(world, session.connect, tmp_path, script)


def test_menus_stay_empty_where_the_daemon_does_not_tell(world, session, tmp_path):
    def refuse():
        raise HostError("Unknown call.", reason="UNIMPLEMENTED", category="UNSUPPORTED")

    session.models = refuse

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))
        assert main.items["ModelMenu"].choices == ["Known…"]
        assert main.items["Notes"].PlainText == ""

    show(world, session.connect, tmp_path, script)


def test_a_line_for_every_clip_that_failed(world, session, tmp_path):
    raw = world.add_media("A001.braw", 48)
    world.add_item(raw, track=1, start=90000, count=4)
    other = world.add_media("late.[0001-0048].exr", 48)
    world.add_item(other, track=1, start=91000, count=4)
    world.project._pool._selected = [world.media, raw, other]
    real = session.submit_merge

    def submit(plate, *more):
        session.error = HostError("x", reason="NO_FACE_FOUND") if "/late" in plate.path else None
        return real(plate, *more)

    session.submit_merge = submit

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.items["Scope"].CurrentIndex = 2
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text == "Failed")
        lines = main.items["Notes"].PlainText.splitlines()
        assert [line.partition(":")[0] for line in lines] == [
            "A001.braw",
            "plate.[1001-1048].exr",
            "late.[0001-0048].exr",
        ]
        assert "Color space" in lines[0]
        assert "Take 2 of" in lines[1]
        assert "No face was found." in lines[2]
        main.click("Report")
        assert main.items["Notes"].PlainText == ""

    show(world, session.connect, tmp_path, script)


def test_each_kind_of_work_has_settings_of_its_own(world, session, tmp_path):
    def script(dispatcher, main):
        for kind, button in (("extract", "ExtractSettings"), ("train", "TrainSettings")):
            main.click(button)
            wait(dispatcher, lambda kind=kind: window.settings_window(kind) in dispatcher.ui.windows)
            knobs = dispatcher.ui.windows[window.settings_window(kind)]
            assert "profile" in knobs.items
            knobs.items["erode"].Value = 7
            knobs.click("Keep")

    app, _ = show(world, session.connect, tmp_path, script)
    chosen = app.preferences
    assert (chosen.settings, chosen.extract_settings, chosen.train_settings) == ({}, {"erode": 7}, {"erode": 7})


def test_a_movies_assumed_color_is_told_while_it_is_swapped(world, session, tmp_path):
    world.item._media = world.add_media("a.mov", 100, **{"Input Color Space": ""})

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click("SwapRange")
        wait(dispatcher, lambda: "sRGB-encoded Rec.709 (srgb_tx)" in main.items["Notes"].PlainText)
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))
        assert main.items["Notes"].PlainText.count("srgb_tx") == 1

    show(world, session.connect, tmp_path, script)


def test_the_playhead_on_another_clip_tells_of_that_ones_result(world, session, tmp_path):
    for frame in range(1011, 1019):
        (world.folder / f"plate.{frame}.exr").write_bytes(b"plate")
    swapped, other = world.item, world.add_item(world.media, track=1, start=90000, count=4)

    def script(dispatcher, main):
        fill(main, tmp_path)
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))
        world.item = other
        for _ in range(2 * window.LOOK_TICKS):
            dispatcher.On.Timeout({})
        session.digest = "another"
        world.item = swapped
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Stale: The model"))

    show(world, session.connect, tmp_path, script)


def test_the_playhead_on_a_result_of_ours_is_nothing_to_be_told(world, session, tmp_path):
    swapped = world.item
    world.item = world.add_item(world.add_media("b_swap/v001/b_swap.1001.exr", 8), track=2, start=86400, count=8)

    def script(dispatcher, main):
        fill(main, tmp_path)
        wait(dispatcher, lambda: main.items["State"].Text == "Idle")
        world.item = swapped
        for _ in range(2 * window.LOOK_TICKS):
            dispatcher.On.Timeout({})
        assert main.items["Notes"].PlainText == ""
        main.click("SwapRange")
        wait(dispatcher, lambda: main.items["State"].Text.startswith("Take 2"))

    show(world, session.connect, tmp_path, script)
