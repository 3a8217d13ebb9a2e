"""The files that Resolve runs itself: menu scripts, the self test, and the Lua script of the free edition."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_window import Bmd, FusionApp, Widgets

from dflhost.vendor import copy_client
from dflresolve import marks, selftest
from dflresolve.clips import read_clip
from dflresolve.host import Host

HOST = Path(__file__).parents[3] / "hosts" / "resolve"
NAMES = [*sorted(HOST.glob("*.py")), *sorted((HOST / "dflresolve").glob("*.py"))]


@pytest.mark.parametrize("path", NAMES, ids=lambda path: path.name)
def test_every_file_is_python_3_9(path):
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))


def test_nothing_but_the_standard_library_and_the_client_is_imported():
    found = set()
    for path in NAMES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    assert found - set(sys.stdlib_module_names) == {"dflhost", "dflresolve"}


PROGRAM = """
import sys
sys.path[:0] = {folders!r}
sys.dont_write_bytecode = True
import time
from pathlib import Path
from fake_resolve import World
from fake_window import Bmd, FusionApp, Widgets
from pretend_session import FakeSession
from dflresolve import app, host, window

world = World(Path({folder!r}))
session = FakeSession()

def script(dispatcher, main):
    main.items["Model"].Text, main.items["Folder"].Text = "/models/anna", {folder!r}
    main.click("SwapRange")
    end = time.monotonic() + 20
    while not main.items["State"].Text.startswith("Take") and time.monotonic() < end:
        dispatcher.On.Timeout({{}})
        time.sleep(0.005)
    print(main.items["State"].Text, world.faults)

made = host.Host(world.resolve, FusionApp(world, Widgets()), Bmd(script))
window.open_window(app.App(made, {folder!r} + "/resolve.json", session.connect))
"""


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_on_other_pythons(version, tmp_path):
    """Any Python that the user has installed runs the script, with the client as it is installed."""
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"there is no Python {version} among ~/.pyenv/versions")
    copy_client(tmp_path / "installed")
    here = Path(__file__).parent
    folders = [str(one) for one in (here, here.parent / "strict", HOST, tmp_path / "installed")]
    program = PROGRAM.format(folders=folders, folder=str(tmp_path))
    done = subprocess.run([str(found[0]), "-I", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("Take 2 of plate"), done.stderr
    assert done.stdout.endswith("[]\n")


def test_the_menu_script_finds_the_package(world, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DFL_RESOLVE_PACKAGE", str(HOST))
    monkeypatch.setenv("DFL_RESOLVE_PREFERENCES", str(tmp_path / "resolve.json"))
    runpy.run_path(str(HOST / "Face Swap.py"), {"resolve": world.resolve})
    assert capsys.readouterr().out == "Choose a model first.\n"


def test_a_package_that_is_not_whole_is_a_sentence(tmp_path):
    (tmp_path / "dflresolve").mkdir()
    (tmp_path / "dflresolve" / "__init__.py").touch()
    (tmp_path / "dflresolve" / "app.py").write_text("import dflhost_that_is_missing\n")
    command = [sys.executable, "-I", str(HOST / "Face Swap.py")]
    environ = {"DFL_RESOLVE_PACKAGE": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environ)
    assert "run `dfl hosts install resolve`" in done.stdout
    assert done.stderr == ""


def test_the_self_test_reports_each_step(world, monkeypatch, tmp_path):
    monkeypatch.setattr(selftest.time, "sleep", lambda seconds: None)
    plate = selftest.write_sequence(str(tmp_path / "plate"), "plate", 40)
    world.item._media = world.add_media(str(plate.replace("####", "[1001-1008]")), 8)
    world.item._offset = 0
    report = selftest.run(world.resolve, FusionApp(world, Widgets()), Bmd(lambda *_: None), folder=str(tmp_path))
    states = {step["step"]: (step["state"], step["said"]) for step in report.steps}
    assert {state for state, _ in states.values()} == {"passed"}, states
    written = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert written["good"] is True
    assert written["resolve"] == "DaVinci Resolve Studio 20.1.0"


def test_the_self_tests_script_says_what_is_wrong(world, monkeypatch, capsys):
    monkeypatch.setenv("DFL_RESOLVE_PACKAGE", str(HOST))
    runpy.run_path(str(HOST / "Face Swap Self Test.py"))
    assert "not running" in capsys.readouterr().out
    world.traps.add("no new project")
    said = []
    assert selftest.tell(world.resolve, say=said.append) == 1
    assert "scratch project cannot be made" in said[0]


def test_a_step_that_fails_is_in_the_report_and_the_others_go_on(world, monkeypatch, tmp_path):
    monkeypatch.setattr(selftest.time, "sleep", lambda seconds: None)
    plate = selftest.write_sequence(str(tmp_path / "plate"), "plate", 40)
    world.item._media = world.add_media(str(plate.replace("####", "[1001-1008]")), 8)
    world.item._offset = 0
    world.traps |= {"comp cut", "frame lost"}
    report = selftest.run(world.resolve, folder=str(tmp_path))
    failed = {step["step"]: step["said"] for step in report.steps if step["state"] == "failed"}
    assert set(failed) == {"place as Fusion composition", "render a plate by a Saver", "render a plate"}
    assert "came in empty" in failed["place as Fusion composition"]
    assert not report.is_good


# Lua


@pytest.fixture
def lua():
    luajit = pytest.importorskip("lupa.luajit21", reason="lupa (an embedded LuaJIT) is not installed")
    runtime = luajit.LuaRuntime(unpack_returned_tuples=True)
    runtime.globals().DFL_TESTING = True
    return runtime


@pytest.fixture
def free(lua, world, tmp_path, monkeypatch):
    """The script loaded, with a program `dfl` that answers as told, and settings."""
    path = tmp_path / "dfl_resolve.txt"
    path.write_text(f"# comment\nmodel = /models/o'anna\nfaces = /faces\nfolder = {tmp_path}\n")
    monkeypatch.setenv("DFL_RESOLVE_FREE", str(path))
    script = lua.execute((HOST / "Face Swap (file).lua").read_text("utf-8"))
    state = SimpleNamespace(lua=lua, script=script, said=[], lines=[], answer="", folder=tmp_path)

    def popen(line, mode):
        state.lines.append(line)
        read = lua.eval("function(text) return {read = function() return text end, close = function() end} end")
        return read(state.answer)

    script.popen, script.say = popen, state.said.append
    state.resolve = lua.execute(FAKE)(world.item._start, str(tmp_path / "plate.[1001-1048].exr"))
    state.press = lambda: script.main(state.resolve)
    return state


FAKE = """
return function(start, path)
  local world = {takes = 0, imported = {}, bins = {}}
  local media = {GetClipProperty = function(_, name) return name == "File Path" and path or nil end}
  local item = {
    GetName = function() return "plate.[1001-1048].exr" end, GetMediaPoolItem = function() return media end,
    GetStart = function() return start end, GetEnd = function() return start + 8 end,
    GetLeftOffset = function() return 10 end,
    GetSourceStartFrame = function() return 10 end, GetSourceEndFrame = function() return world.last or 17 end,
    GetTakesCount = function() return world.takes end,
    AddTake = function(_, m, a, b)
      if not world.lost then world.takes = world.takes == 0 and 2 or world.takes + 1 end
      return true
    end,
    SelectTakeByIndex = function(_, index) world.selected = index; return true end,
  }
  local root = {GetSubFolderList = function() return world.bins end}
  local pool = {
    GetRootFolder = function() return root end, GetCurrentFolder = function() return root end,
    SetCurrentFolder = function(_, folder) world.current = folder; return true end,
    AddSubFolder = function(_, _, name)
      local made = {GetName = function() return name end}
      table.insert(world.bins, made)
      return made
    end,
    ImportMedia = function(_, what)
      world.imported = what[1]
      if type(what[1]) == "table" and not (what[1].StartIndex and what[1].EndIndex) then return {} end
      return {{}}
    end,
  }
  local timeline = {GetCurrentVideoItem = function() return item end}
  local project = {GetCurrentTimeline = function() return timeline end, GetMediaPool = function() return pool end}
  local manager = {GetCurrentProject = function() return project end}
  return {world = world, GetProjectManager = function() return manager end}
end
"""


def test_the_first_press_sends_the_clip_by_the_program(free):
    free.answer = '{"type": "submitted", "job": {"id": "j\\u00e4b", "state": "queued"}}\n'
    assert free.press()
    assert free.said == ["Face Swap: Sent to the daemon. Press it again when it is done."]
    (line,) = free.lines
    assert line.startswith("'dfl' 'merge' '" + str(free.folder / "plate.####.exr") + "' '--frames' '1011-1018'")
    assert r"'--model' '/models/o'\''anna'" in line
    assert "'--profile' 'flat' '--layers' 'matte' '--detach' --json" in line
    assert (free.folder / "plate_1011.dfljob").read_text("utf-8") == "job = jäb\n"


def test_the_second_press_says_how_far_it_is_and_then_adds_a_take(free):
    (free.folder / "plate_1011.dfljob").write_text("job = j1\n")
    free.answer = '{"type": "job", "job": {"id": "j1", "state": "running"}}\n'
    assert free.press()
    assert free.said[-1] == "Face Swap: The job is running. Press it again later."
    done = {"state": "succeeded", "result": {"output": "/out/v001/a_swap.####.exr"}, "numbers": [1, -2.5e3, None, True]}
    free.answer = json.dumps({"type": "notice"}) + "\n" + json.dumps({"type": "job", "job": done}) + "\n"
    assert free.press()
    world = free.resolve.world
    assert (world.takes, world.selected) == (2, 2)
    assert dict(world.imported) == {"FilePath": "/out/v001/a_swap.%04d.exr", "StartIndex": 1011, "EndIndex": 1018}
    assert not (free.folder / "plate_1011.dfljob").exists()


def test_what_goes_wrong_is_one_sentence(free):
    free.answer = json.dumps({"type": "error", "message": "The daemon is busy."})
    assert not free.press()
    free.answer = "sh: dfl: not found"
    assert not free.press()
    (free.folder / "plate_1011.dfljob").write_text("job = j1\n")
    free.answer = json.dumps({"type": "job", "job": {"state": "failed", "error": {"message": "No face."}}})
    assert not free.press()
    assert free.said == [
        "Face Swap: The daemon is busy.",
        f"Face Swap: The program dfl did not answer; is `command` in {free.folder}/dfl_resolve.txt right?",
        "Face Swap: The job failed. No face. Press it again to start anew.",
    ]
    free.resolve.world.last = 40
    assert not free.press()
    assert "speed is changed" in free.said[-1]


def test_a_take_that_was_lost_is_found_out(free):
    (free.folder / "plate_1011.dfljob").write_text("job = j1\n")
    done = {"state": "succeeded", "result": {"output": "/out/v001/a_swap.####.exr"}}
    free.answer = json.dumps({"type": "job", "job": done})
    free.resolve.world.lost = True
    assert not free.press()
    assert "was not added as a take" in free.said[-1]
    assert (free.folder / "plate_1011.dfljob").exists()


def test_a_take_of_ours_is_no_plate(free):
    free.resolve = free.lua.execute(FAKE)(0, "/swap/plate_swap/v001/plate_swap.[1011-1018].exr")
    assert not free.press()
    assert "is a result of ours" in free.said[-1]
    assert free.lines == []


def test_a_build_that_starts_no_programs(free):
    free.script.popen = lambda line, mode: None
    assert not free.press()
    assert "starts no programs" in free.said[-1]


def test_no_settings(free, monkeypatch):
    (free.folder / "dfl_resolve.txt").write_text("model = /m\n")
    assert not free.press()
    assert "no line with faces" in free.said[-1]


@pytest.mark.parametrize("text", ["plain", "it's", 'a "b"', "$HOME `x` $(y)", "ä ö", "-rf"])
def test_quoted_words_reach_a_shell_unchanged(lua, text):
    script = lua.execute((HOST / "Face Swap (file).lua").read_text("utf-8"))
    line = f"printf %s {script.quote(text)}"
    assert subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True).stdout.decode() == text


# The Comp menu

COMP = """
return function(data, is_deaf)
  local function tool(name)
    return {Name = name, ConnectInput = function(self, input, other) self[input] = other.Name end}
  end
  local comp = {tools = {}, undo = {}}
  comp.ActiveTool = tool("MediaIn1")
  comp.FindTool = function(_, name) return comp.tools[name] end
  comp.StartUndo = function(_, name) table.insert(comp.undo, name) end
  comp.EndUndo = function(_, keep) table.insert(comp.undo, keep) end
  comp.Paste = function(_, names)
    for _, name in ipairs(is_deaf and {} or names) do
      comp.ActiveTool = tool(name)
      comp.tools[name] = comp.ActiveTool
    end
    return true
  end
  local item = {GetMarkers = function() return {[3] = {customData = ""}, [4] = {customData = data}} end}
  local timeline = {GetCurrentVideoItem = function() return item end}
  local project = {GetCurrentTimeline = function() return timeline end}
  local manager = {GetCurrentProject = function() return project end}
  local bmd = {readfile = function(path) return {"FaceSwapPatch", "FaceSwapMatte", "FaceSwapMerge"} end}
  return comp, {GetProjectManager = function() return manager end}, bmd
end
"""


@pytest.fixture
def paste(lua):
    script = lua.execute((HOST / "Face Swap (into this composition).lua").read_text("utf-8"))
    said = []
    script.say = said.append

    def press(data, *, is_deaf=False):
        comp, resolve, bmd = lua.execute(COMP)(data, is_deaf)
        return script.main(comp, resolve, bmd), comp, said[-1]

    press.script = script
    return press


def test_the_face_is_pasted_behind_the_selected_tool(paste, world, tmp_path):
    clip = read_clip(Host(world.resolve), world.item)
    output = str(tmp_path / "größe" / 'a "b"' / "v001" / "shot_swap.####.exr")
    marks.write_mark(clip, marks.Mark("job1:0", output, "Take"), "Done")
    (data,) = (marker["customData"] for marker in world.item._markers.values())
    path = Path(marks.beside(output, ".setting"))
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    is_good, comp, said = paste(data)
    assert is_good, said
    assert comp.ActiveTool.Name == "FaceSwapMerge"
    assert comp.ActiveTool.Background == "MediaIn1"
    assert list(comp.undo.values()) == ["Face Swap", True]
    assert said == "Face Swap: The face lies over MediaIn1."
    is_good, _, said = paste(data, is_deaf=True)
    assert not is_good
    assert "Drag this file" in said
    path.unlink()
    assert "is not there" in paste(data)[2]


def test_a_clip_without_a_result_has_nothing_to_paste(paste):
    assert "no result yet" in paste("dfl:broken")[2]
    assert paste.script.setting_of('dfl:{"job":"","output":""}') is None


def test_windows_paths_of_markers(paste):
    data = "dfl:" + json.dumps({"job": "j", "output": r"C:\swap\v001\a_swap.####.exr"}, separators=(",", ":"))
    assert paste.script.setting_of(data) == r"C:\swap\v001\a_swap.setting"
