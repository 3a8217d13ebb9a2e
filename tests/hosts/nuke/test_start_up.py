"""How Nuke starts with the folder on NUKE_PATH, on which Pythons, and the self-test for those who have the real one."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nuke_tables import NODE_KNOBS
from strict_fake import load_table

from dflhost.vendor import copy_client

HERE = Path(__file__).parent
PROGRAM = """
import sys
sys.path[:0] = {folders!r}
from nuke_layer import World
world = World(window=False)
sys.modules["nuke"] = world.api
import dflnuke.scripting, dflnuke.menu, dflnuke.selftest
read = world.make("Read", {{"name": "Read1", "file": {plate!r}, "first": 1001, "last": 1002}})
world.selected = read
node = dflnuke.scripting.create()
present = set(sys.modules) & {{"numpy", "torch", "google", "grpc", "h2", "dflcore", "dfldaemon"}}
assert not present, present
from fake_session import FakeSession
session = FakeSession()
session.finishes = True
dflnuke.scripting.swap.connection._held[:] = [session]
node["model"].setValue("/models/anna")
node["folder"].setValue({out!r})
node["source"].setValue("/faces/anna")
dflnuke.scripting.extract(node)
dflnuke.scripting.train(node)
dflnuke.scripting.swap_range(node)
dflnuke.scripting.swap_frame(node, 1001)
print(node.name(), node["result_last"].value(), node["status"].value())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder as it lies on a workstation: the integration, and the client with its HTTP/2 packages beside it."""
    folder = tmp_path_factory.mktemp("nuke_path")
    shutil.copytree(HERE.parents[2] / "hosts" / "nuke", folder, dirs_exist_ok=True)
    copy_client(folder)
    return folder


def test_init_adds_a_folder_and_does_nothing_else(world, nuke_folder):
    before = set(sys.modules)
    runpy.run_path(str(nuke_folder / "init.py"))
    assert world.plugin_paths == [str(nuke_folder / "icons")]
    assert not [name for name in set(sys.modules) - before if name.startswith("dfl")]


def test_the_menu_is_there_once_and_makes_a_node(world, nuke_folder, load):
    for _ in range(2):
        runpy.run_path(str(nuke_folder / "menu.py"))
    items = world.commands["menu Nuke"]._items["Face Swap"]._items
    assert list(items) == ["DFL Swap", "Update All", "Rebuild Nodes", "Preferences…", "Self-test"]
    assert (len(world.changed), len(world.loaded)) == (1, 1)
    assert world.printed == []


def test_every_name_of_nuke_in_the_code_is_one(nuke_folder):
    """Also on lines that no test runs."""
    table = load_table("nuke_13_2")
    known = {*table["functions"], *table["classes"], *table["constants"]}
    for path in sorted(nuke_folder.rglob("*.py")):
        for inner in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "nuke":
                assert inner.attr in known, f"{path.name}:{inner.lineno}: nuke.{inner.attr}"
            if isinstance(inner, ast.Attribute) and ast.unparse(inner.value) == "nuke.nodes":
                assert inner.attr in NODE_KNOBS, f"{path.name}:{inner.lineno}: {inner.attr}"


def test_a_fault_at_start_up_is_one_printed_line(world, nuke_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "dflhost.messages", None)  # as if the client had not been copied
    runpy.run_path(str(nuke_folder / "menu.py"))
    (line,) = world.printed
    assert line.startswith("Face Swap could not be loaded: ")
    assert "Traceback" not in line


def test_a_button_without_the_package_says_so(world, load, monkeypatch):
    node = load("group").create()
    for name in [name for name in sys.modules if name.split(".")[0] == "dflnuke"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dflnuke", None)
    world.press(node, "press_swap_range")
    assert "not installed" in world.messages[0]


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.13"])
def test_on_the_pythons_of_nuke(version, installed, tmp_path):
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"there is no Python {version} among ~/.pyenv/versions")
    folders = [str(folder) for folder in (HERE, HERE.parent / "strict", installed)]
    plate, out = f"{tmp_path}/a.%04d.exr", str(tmp_path / "out")
    program = PROGRAM.format(folders=folders, plate=plate, out=out)
    done = subprocess.run([str(found[0]), "-I", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("DFL_Swap1 1002 Done"), done.stderr


def test_the_self_test_reports_what_it_tried(world, load, tmp_path):
    world.root["name"].setValue(str(tmp_path / "shot.nk"))
    path = load("selftest").write_report(str(tmp_path / "report.json"))
    report = json.loads(Path(path).read_text("utf-8"))
    assert report["passed"], [check for check in report["checks"] if not check["passed"]]
    assert report["nuke"] == "14.0v5"
    assert len(report["checks"]) == len(load("selftest").CHECKS)
    assert world.root._nodes == [], "nothing is left in the artist's script"
    assert world.undoable == [] or world.undo_off == 0


@pytest.mark.parametrize(("written", "passed"), [(None, True), (1, False)], ids=["all", "one of two"])
def test_the_self_test_tries_another_nuke_and_adds_what_came_of_it(world, load, tmp_path, monkeypatch, written, passed):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world.root["name"].setValue(str(tmp_path / "shot.nk"))
    load("selftest").run_from_menu()
    assert "is added to it" in world.messages[0]
    world.finish_background(1, frames=written)
    world.pump()
    (path,) = tmp_path.glob("dfl_nuke_selftest_*.json")
    report = json.loads(path.read_text("utf-8"))
    assert (report["checks"][-1]["passed"], report["passed"]) == (passed, passed)
    assert world.root._nodes == []
    assert [one for one in tmp_path.iterdir() if one.is_dir()] == [], "no folder is left"


def test_the_self_test_in_a_script_without_a_file_says_so(world, load, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load("selftest").run_from_menu()
    (path,) = tmp_path.glob("dfl_nuke_selftest_*.json")
    assert "Save the script first" in json.loads(path.read_text("utf-8"))["checks"][-1]["detail"]


def test_the_self_test_says_what_is_wrong(world, load, tmp_path, monkeypatch):
    monkeypatch.setitem(NODE_KNOBS, "Keymix", {"channels": ("ChannelMask_Knob", "all")})
    path = load("selftest").write_report(str(tmp_path / "report.json"))
    report = json.loads(Path(path).read_text("utf-8"))
    assert not report["passed"]
    assert "Keymix.maskChannel" in report["checks"][0]["detail"]


def test_the_self_test_asks_for_every_knob_that_the_group_sets(load, world, nuke_folder):
    asked = {knob for names in load("selftest").KNOBS.values() for knob in names.split()}
    text = (nuke_folder / "dflnuke" / "group.py").read_text("utf-8")
    used = set(re.findall(r'\w+\["(\w+)"\]\.set', text))
    assert used <= asked | {"disable", "localizationPolicy"}


def test_the_table_of_steps_names_tests_that_are_there(nuke_folder):
    text = (nuke_folder / "README.md").read_text("utf-8").partition("## What is tested")[2]
    there = {name for path in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named
    assert named <= there, named - there
