"""The node: what comes out of it, and what scripts that hold it look like."""

from __future__ import annotations

from pathlib import Path

import nk_text
import pytest
from one_pixel import pixel

from dflhost import words

GOLDEN = Path(__file__).parent / "golden" / "dfl_swap.nk"
PLATE = {"rgba.red": 0.2, "rgba.green": 0.2, "rgba.blue": 0.2, "rgba.alpha": 1.0, "depth.Z": 7.0}
RESULT = {
    "rgba.red": 0.41,  # not exactly what 0.25 of 1.0 over 0.2 gives: the daemon's own blending
    "rgba.green": 0.4,
    "rgba.blue": 0.4,
    "rgba.alpha": 1.0,
    "swap.red": 1.0,
    "swap.green": 0.9,
    "swap.blue": 0.8,
    "matte.alpha": 0.25,
    "st.red": 3.0,
}
RED, ALPHA = "rgba.red", "rgba.alpha"


@pytest.fixture
def node(world, load):
    return load("group").create()


@pytest.fixture
def look(node):
    """Output of the node in a frame."""

    def files(path, frame):
        assert path, "a Read without a file was asked"
        return {**RESULT, RED: 5.0} if "still" in path else RESULT

    return lambda frame=1001: pixel(node.node("Output1"), frame, files, PLATE)


def with_result(node, first=1001, last=1010):
    node.node("Result")["file"].setValue("/r/v001/x.%04d.exr")
    for name, value in (("first", first), ("last", last)):
        node.node("Result")[name].setValue(value)
        node[f"result_{name}"].setValue(value)


def test_without_a_result_the_plate_comes_out(look):
    assert look() == PLATE


def test_frames_outside_the_result_show_the_plate(node, look):
    with_result(node)
    assert look(1000) == PLATE
    assert look(1011) == PLATE
    assert look(1010)["swap.red"] == 1.0


def test_the_beauty_is_the_daemons_and_all_layers_come_along(node, look):
    with_result(node)
    assert look() == {**PLATE, **RESULT}


@pytest.mark.parametrize(
    ("mode", "red", "alpha"), [("Patch only", 0.25, 0.25), ("Matte only", 0.25, 0.25), ("Plate", 0.2, 1.0)]
)
def test_modes(node, look, mode, red, alpha):
    with_result(node)
    node["mode"].setValue(mode)
    assert look()[RED] == pytest.approx(red)
    assert look()[ALPHA] == pytest.approx(alpha)


def test_a_retouched_matte_puts_the_face_over_the_plate_anew(node, look):
    with_result(node)
    node["matte_gain"].setValue(2.0)
    assert look()[RED] == pytest.approx(0.2 * 0.5 + 1.0 * 0.5)
    assert look()["matte.alpha"] == 0.5
    assert look()[ALPHA] == 1.0, "the plate's alpha stays"
    node["matte_gain"].setValue(100.0)
    assert look()["matte.alpha"] == 1.0


def test_the_matte_can_come_out_in_alpha(node, look):
    with_result(node)
    node["matte_in_alpha"].setValue(True)
    assert look()[ALPHA] == 0.25
    assert look()[RED] == 0.41


def test_a_still_is_shown_in_its_frame_alone(node, look):
    with_result(node)
    node.node("Still")["file"].setValue("/r/frames/still.exr")
    for name in ("first", "last"):
        node.node("Still")[name].setValue(1005)
    node["still_frame"].setValue(1005)
    node["still_shown"].setValue(1)
    assert look(1005)[RED] == 5.0
    assert look(1004)[RED] == 0.41


def test_fields_and_buttons_are_those_of_all_hosts_in_their_order(node):
    order = (*words.FIELDS, *words.STEPS, *words.BUTTONS)
    labels = [knob.label() for knob in node.knobs().values()]
    assert tuple(label for label in labels if label in order) == order


def test_a_new_node_takes_the_selection_and_its_frames(world, load):
    read = world.make("Read", {"name": "Read1", "first": 1001, "last": 1040})
    world.selected = read
    node = load("group").create()
    assert node.input(0) is read
    assert (node["first"].value(), node["last"].value()) == (1001, 1040)
    assert load("layout").is_ours(node)


def test_a_newer_package_rebuilds_the_inside_and_what_is_shown_stays(world, node, load, look):
    with_result(node)
    node["matte_gain"].setValue(2.0)
    before = world.script()
    node.node("Repaint")["maskChannel"].setValue("none")
    world.do_delete(node.node("Patch"))
    load("actions").rebuild_all()
    assert world.script() == before
    assert look()["matte.alpha"] == 0.5


def test_the_script_is_the_golden_one(world, load):
    """Look at the difference before replacing the golden file: scripts of artists hold what is in it."""
    world.selected = world.make("Read", {"name": "Read1", "first": 1001, "last": 1040})
    load("group").create()
    assert world.script() == GOLDEN.read_text("utf-8")


def test_a_reader_that_knows_nothing_of_ours_finds_the_node(world, load):
    script = nk_text.parse(GOLDEN.read_text("utf-8"))
    node = script.find("DFL_Swap1")
    assert node.inputs == [script.find("Read1")]
    assert [one.kind for one in node.nodes].count("Write") == 1
    assert node.find("PlateWrite").knobs["disable"] == "true", "a farm runs every Write that is not switched off"
    assert node.find("Repaint").inputs == [node.find("PlateWrite"), node.find("SwapColor"), node.find("MatteBlur")]
    assert node.find("Result").knobs["localizationPolicy"] == "off"
    assert node.find("Result").knobs["before"] == "black"
    assert {"model", "faceset", "first", "last", "press_swap_range", "status"} <= set(node.user_names())


def test_a_script_holds_no_callback_and_no_code_but_the_buttons(world, load):
    world.selected = world.make("Read", {"name": "Read1"})
    load("menu").install()
    load("group").create()
    node = nk_text.parse(world.script()).find("DFL_Swap1")
    assert not {"knobChanged", "onCreate", "autolabel", "updateUI"} & set(node.knobs)
    code = [words for words in node.user_knobs if "import" in " ".join(words)]
    assert all(words[0] == "22" for words in code)
    assert all("except ImportError" in " ".join(words) for words in code)


def test_a_script_opens_and_renders_where_the_package_is_missing(start_nuke, tmp_path):
    world = start_nuke()
    path = tmp_path / "shot.nk"
    path.write_text(GOLDEN.read_text("utf-8"))
    world.do_scriptOpen(str(path))
    assert world.script() == GOLDEN.read_text("utf-8"), "opening and saving changes nothing"
    node = world.do_toNode("DFL_Swap1")
    with_result(node)
    assert pixel(node.node("Output1"), 1001, lambda path, frame: RESULT, PLATE)[RED] == 0.41
