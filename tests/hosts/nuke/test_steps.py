"""Training, menus of what the daemon has, preferences, and nodes of older packages."""

from __future__ import annotations

from pathlib import Path

import nk_text
import pytest

from dflhost import words
from dflhost.errors import HostError
from dflhost.folders import KnownFolder

OLDER = Path(__file__).parent / "golden" / "dfl_swap_layout_1.nk"


class TestTrain:
    def test_source_and_faces_become_the_nodes_model(self, shot):
        shot.node["source"].setValue("/faces/anna")
        shot.node["model"].setValue("")
        shot.press("train")
        job = shot.job()
        shot.until(lambda: shot.node["jobs"].value())
        job.end("SUCCEEDED")
        shot.until(lambda: shot.status == "Done")
        asked = shot.session.submitted[0]
        assert (asked["source"], asked["target"]) == ("/faces/anna", f"{shot.folder}/dfl_swap/faces/DFL_Swap1")
        assert asked["model"] == shot.node["model"].value() == f"{shot.folder}/dfl_swap/model"

    def test_its_settings_are_knobs_of_their_own(self, shot):
        shot.press("get_settings")
        shot.until(lambda: shot.node.knob("train_target_minutes"))
        assert shot.node.knob("extract_every")
        assert shot.node.knob("extract_input_colorspace") is None
        shot.node["train_target_minutes"].setValue(5.0)
        shot.node["source"].setValue("/faces/anna")
        shot.press("train")
        shot.job().end("SUCCEEDED")
        shot.until(lambda: shot.status == "Done")
        assert shot.session.submitted[0]["settings"] == {"target_minutes": 5.0}

    def test_settings_of_extract_are_sent(self, shot):
        shot.press("get_settings")
        shot.until(lambda: shot.node.knob("extract_every"))
        shot.node["extract_every"].setValue(3)
        shot.press("extract")
        shot.job().end("SUCCEEDED")
        assert shot.session.submitted[0]["settings"] == {"every": 3}

    def test_without_a_source_it_says_so(self, shot):
        shot.press("train")
        assert "source faces" in shot.status
        assert shot.session.submitted == []

    def test_cancel_stops_it(self, shot):
        shot.node["source"].setValue("/faces/anna")
        shot.press("train")
        job = shot.job()
        shot.until(lambda: shot.node["jobs"].value())
        shot.press("cancel")
        shot.until(lambda: job.was_cancelled and shot.status == "Cancelled")

    def test_in_a_terminal(self, terminal_shot):
        terminal_shot.session.finishes = True
        terminal_shot.node["source"].setValue("/faces/anna")
        terminal_shot.load("scripting").train(terminal_shot.node)
        assert terminal_shot.status == "Done"


class TestMenus:
    @pytest.fixture
    def known(self, shot):
        shot.session.known = {
            "models": [KnownFolder("/models/anna", "anna", 2, False), KnownFolder("/models/ben", "ben", 1, False)],
            "facesets": [KnownFolder("/faces/anna", "anna", 2, False)],
        }
        return shot

    def test_what_is_chosen_goes_into_the_knob(self, known):
        known.world.choice = lambda options: 1
        known.press("choose_model")
        known.until(lambda: known.node["model"].value() == "/models/ben")
        ((prompt, options),) = known.world.chosen
        assert prompt == words.MODEL
        assert options == ["anna   /models/anna", "ben   /models/ben"]
        known.world.choice = lambda options: 0
        known.press("choose_source")
        known.until(lambda: known.node["source"].value() == "/faces/anna")
        known.press("choose_faceset")
        known.until(lambda: known.node["faceset"].value() == "/faces/anna")

    def test_the_lists_are_fetched_before_they_are_wanted_and_open_at_once(self, known):
        known.load("menu").install()
        known.world.notify(known.node, known.world.api.String_Knob("showPanel"))
        known.until(lambda: known.load("asking")._known)
        known.world.choice = lambda options: 0
        known.press("choose_model")
        assert known.node["model"].value() == "/models/anna", "without waiting"

    def test_a_menu_that_is_closed_changes_nothing(self, known):
        known.node["model"].setValue("/models/mine")
        known.press("choose_model")
        known.until(lambda: known.world.chosen)
        assert known.node["model"].value() == "/models/mine"

    def test_nothing_of_it_is_in_the_script(self, known):
        known.load("menu").install()
        before = known.world.script()
        known.world.notify(known.node, known.world.api.String_Knob("showPanel"))
        known.press("choose_model")
        known.until(lambda: known.world.chosen)
        assert known.world.script() == before

    def test_no_daemon_and_nothing_there_are_said(self, shot):
        shot.session.error = HostError("No daemon runs.", reason="DAEMON_NOT_RUNNING")
        shot.press("choose_model")
        shot.until(lambda: shot.status.startswith("Not connected"))
        shot.session.error = None
        shot.press("choose_model")
        shot.until(lambda: "knows no models yet" in shot.status)
        assert shot.world.chosen == []


class TestPreferences:
    def test_they_are_kept_and_go_before_the_studios_variables(self, shot, monkeypatch):
        monkeypatch.setenv("DFL_ADDRESS", "studio:1")
        monkeypatch.setenv("DFL_TOKEN_FILE", "/studio/token")

        def fill(rows):
            rows["Address (host:port)"] = "farm:50051"
            rows["Path map (here=there; ...)"] = "/shots=/mnt/shots"
            return True

        shot.world.fill_panel = fill
        assert shot.load("connection").settings().address == "studio:1"
        assert shot.load("prefs").ask()
        found = shot.load("connection").settings()
        assert (found.address, found.token_path) == ("farm:50051", "/studio/token")
        assert found.path_map.to_daemon("/shots/a.exr") == "/mnt/shots/a.exr"
        assert not shot.load("prefs").ask(), "the same again is no change"
        assert "farm:50051" not in shot.world.script(), "no script carries it"

    def test_new_ones_hold_from_the_next_press(self, shot):
        shot.world.fill_panel = lambda rows: rows.update({"Address (host:port)": "bad address"}) is None
        shot.press("ask")
        shot.until(lambda: shot.session.is_closed)
        shot.until(lambda: shot.status.startswith(("Failed", "Not connected")))

    def test_a_running_job_is_still_told_about(self, shot):
        shot.press("swap_range")
        job = shot.job()
        shot.until(lambda: shot.node["jobs"].value())
        shot.world.fill_panel = lambda rows: rows.update({"Address (host:port)": "farm:50051"}) is None
        shot.load("prefs").ask()
        shot.load("connection").drop(is_watched=shot.load("watch").is_anything_running())
        assert not shot.session.is_closed
        job.cancel()
        shot.until(lambda: shot.status == "Cancelled")

    def test_a_path_map_that_cannot_be_read_is_asked_again(self, shot):
        asked = []

        def fill(rows):
            asked.append(dict(rows))
            rows["Path map (here=there; ...)"] = "nonsense"
            return len(asked) == 1

        shot.world.fill_panel = fill
        assert not shot.load("prefs").ask()
        assert "path map" in shot.world.messages[0].lower()
        assert asked[1]["Path map (here=there; ...)"] == "nonsense", "nothing has to be typed twice"
        assert shot.load("connection").settings().path_map.pairs == ()

    def test_a_folder_that_cannot_be_written_is_told(self, shot, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("DFL_NUKE_PREFERENCES", str(tmp_path / "file" / "nuke.json"))
        shot.world.fill_panel = lambda rows: rows.update({"Address (host:port)": "farm:50051"}) is None
        assert not shot.load("prefs").ask()
        assert "cannot be saved" in shot.world.messages[0]


def test_a_node_of_an_older_package_gets_what_it_lacks_at_the_first_press(shot):
    text = OLDER.read_text("utf-8")
    assert "press_train" not in nk_text.parse(text).find("DFL_Swap1").user_names()
    path = shot.folder / "older.nk"
    path.write_text(text)
    shot.load("menu").install()
    shot.world.do_scriptOpen(str(path))
    node = shot.world.do_toNode("DFL_Swap1")
    node["first"].setValue(1005)
    shot.world.press(node, "press_swap_range")
    assert node["status"].value().startswith("Failed"), "no model was chosen"
    assert node.knob("press_train")
    assert node["first"].value() == 1005
    assert node["dfl_swap"].value() == shot.load("layout").LAYOUT_VERSION
