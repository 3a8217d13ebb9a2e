"""Nuke: the start-up file keeps every byte of the user's, and Nuke starts with what was installed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflinstall import nuke
from dflinstall.nuke import with_lines, without_lines

FOLDER = Path("/home/an na/ünter/dfl")
FILES = [
    b"",
    b"import os\n",
    b"import os",
    b"import os\r\nprint(1)\r\n",
    b"import os\r\nprint(1)",
    b"\n\n",
    b"if True:\n    import os\n",
    "# caf\xe9\n".encode("latin-1"),
    b"\xef\xbb\xbfimport os\n",
]


@pytest.mark.parametrize("data", FILES)
def test_the_lines_come_and_go_and_leave_no_trace(data: bytes) -> None:
    added = with_lines(data, FOLDER)
    assert added.startswith(data)
    assert added.count(b"pluginAddPath") == 1
    assert without_lines(added) == data
    assert with_lines(added, FOLDER) == added


@given(st.lists(st.sampled_from([b"a = 1\n", b"\n", b"b = 2\r\n", b"# x", b" ", b"\xff"])).map(b"".join))
def test_whatever_the_file_holds(data: bytes) -> None:
    added = with_lines(data, FOLDER)
    assert without_lines(added) == data
    assert without_lines(with_lines(added, Path("/elsewhere"))) == data


def test_what_was_written_below_our_lines_since_stays() -> None:
    added = with_lines(b"import os", FOLDER) + b"print(2)\n"
    assert without_lines(added) == b"import os\nprint(2)\n"
    assert with_lines(added, FOLDER).startswith(b"import os\nprint(2)\n# dfl")


def test_a_folder_that_moved_is_named_once() -> None:
    moved = with_lines(with_lines(b"import os\n", Path("/old")), FOLDER)
    assert moved.count(b"pluginAddPath") == 1
    assert b"/old" not in moved


def test_install_and_uninstall_leave_an_empty_home_empty(user: Any) -> None:
    first = user.done("install", "nuke")
    assert "changed" in first.states
    assert (user.data / "nuke" / "dflhost" / "_vendor" / "h2" / "LICENSE").is_file()
    assert not list(user.data.rglob("__pycache__"))
    assert user.done("uninstall", "nuke").states == {"changed"}
    assert not user.init.parent.exists()
    assert [path.name for path in user.home.rglob("*")] == [".local", "share"]
    assert user.done("uninstall", "nuke").states == {"same"}


def test_twice_is_once(user: Any, look: Callable[[Path], Any]) -> None:
    user.init.parent.mkdir()
    user.init.write_bytes(b"import os")
    user.done("install", "nuke")
    before = look(user.home)
    assert user.done("install", "nuke").states == {"same", "note"}
    assert look(user.home) == before


def test_the_users_own_start_up_file_comes_back_to_the_byte(user: Any, look: Callable[[Path], Any]) -> None:
    user.init.parent.mkdir()
    user.init.write_bytes(b"import os\r\nprint('caf\xe9')")
    user.init.chmod(0o640)
    (user.init.parent / "menu.py").write_text("mine")
    before = look(user.init.parent)
    user.done("install", "nuke")
    assert (user.init.parent / "init.py.before-dfl").read_bytes() == b"import os\r\nprint('caf\xe9')"
    assert user.init.stat().st_mode & 0o777 == 0o640
    user.done("uninstall", "nuke")
    assert look(user.init.parent) == before


def test_an_empty_start_up_file_stays_one(user: Any) -> None:
    user.init.parent.mkdir()
    user.init.touch()
    user.done("install", "nuke")
    user.done("uninstall", "nuke")
    assert user.init.read_bytes() == b""


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_a_linked_start_up_file_stays_a_link(user: Any, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles" / "init.py"
    kept.parent.mkdir()
    kept.write_text("import os\n")
    user.init.parent.mkdir()
    user.init.symlink_to(kept)
    user.done("install", "nuke")
    assert user.init.is_symlink()
    assert "pluginAddPath" in kept.read_text()
    user.done("uninstall", "nuke")
    assert user.init.is_symlink()
    assert kept.read_text() == "import os\n"


def test_a_file_that_takes_no_more_lines_is_left_alone(user: Any) -> None:
    user.init.parent.mkdir()
    user.init.write_bytes(b"\0\0")
    answer = user.run("install", "nuke")
    assert (answer.code, answer.error["reason"]) == (2, "START_UP_FILE_ODD")
    assert user.init.read_bytes() == b"\0\0"


def test_a_start_up_file_that_may_not_be_written_is_a_sentence(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        if Path(target).name == "init.py":
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        real(source, target)

    monkeypatch.setattr("os.replace", replace)
    answer = user.run("install", "nuke")
    assert (answer.code, answer.error["reason"]) == (2, "NOT_WRITABLE")
    assert "NUKE_PATH" in answer.error["message"]
    assert not user.init.exists()


def test_a_target_is_for_nuke_path_and_touches_no_file_of_nukes(user: Any, tmp_path: Path) -> None:
    target = tmp_path / "studio" / "face swap"
    answer = user.done("install", "nuke", "--target", target)
    assert any(str(target) in text and "NUKE_PATH" in text for _, text in answer.about("start_up"))
    assert list(user.home.iterdir()) == []
    assert {path.name for path in target.iterdir()} >= {"init.py", "menu.py", "dflnuke", "dflhost"}
    assert target.stat().st_mode & 0o777 == (tmp_path / "studio").stat().st_mode & 0o777, "others may read it too"
    assert "wrong" not in user.done("doctor", "nuke", "--target", target).states
    user.done("uninstall", "nuke", "--target", target)
    assert not target.exists()


PROGRAM = """
import runpy, sys
sys.path[:0] = {folders!r}
sys.dont_write_bytecode = True
from nuke_layer import World
world = World()
sys.modules["nuke"] = world.api
runpy.run_path({init!r})
(folder,) = world.plugin_paths
sys.path.insert(0, folder)  # as Nuke does with a folder of its plug-in path
runpy.run_path(folder + "/init.py")
runpy.run_path(folder + "/menu.py")
print(folder, list(world.commands["menu Nuke"]._items["Face Swap"]._items), world.printed)
"""


@pytest.mark.parametrize("version", ["3.9", "this"])
def test_nuke_starts_with_what_was_installed(user: Any, version: str) -> None:
    python = sys.executable
    if version != "this":
        found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        if not found:
            pytest.skip(f"there is no Python {version} among ~/.pyenv/versions")
        python = str(found[0])
    user.done("install", "nuke")
    hosts = Path(__file__).parents[1]
    program = PROGRAM.format(folders=[str(hosts / "nuke"), str(hosts / "strict")], init=str(user.init))
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith(str(user.data / "nuke"))
    assert "'DFL Swap'" in done.stdout
    assert done.stdout.endswith("[]\n")
    assert user.done("uninstall", "nuke").states == {"changed"}


class TestDoctor:
    def test_nothing_installed(self, user: Any) -> None:
        answer = user.run("doctor", "nuke")
        assert answer.code == 1
        for about in ("files", "start_up"):
            assert answer.about(about)[0][0] == "wrong"
            assert "Run `dfl hosts install nuke`." in answer.about(about)[0][1]

    def test_all_is_well(self, user: Any) -> None:
        user.done("install", "nuke")
        answer = user.done("doctor", "nuke")
        assert answer.states == {"ok", "note"}

    def test_files_that_lack_and_files_that_changed(self, user: Any) -> None:
        user.done("install", "nuke")
        (user.data / "nuke" / "dflnuke" / "menu.py").unlink()
        (user.data / "nuke" / "menu.py").write_text("mine")
        answer = user.run("doctor", "nuke")
        (lacking, changed) = answer.about("files")[:2]
        assert lacking[0] == "wrong"
        assert "dflnuke/menu.py" in lacking[1]
        assert changed == ("note", changed[1])
        assert answer.code == 1
        user.done("install", "nuke")
        assert user.done("doctor", "nuke").code == 0
        assert (user.data / "nuke" / "menu.py.yours").read_text() == "mine"

    def test_another_version(self, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(nuke, "__version__", "0.0.9")
            user.done("install", "nuke")
        answer = user.run("doctor", "nuke")
        assert answer.about("version")[0][0] == "wrong"
        assert "0.0.9" in answer.about("version")[0][1]

    def test_a_fault_in_the_start_up_file(self, user: Any) -> None:
        user.init.parent.mkdir()
        user.init.write_text('print "python 2"\n')
        user.done("install", "nuke")
        answer = user.run("doctor", "nuke")
        assert "line 1" in answer.about("start_up")[0][1]
        assert answer.code == 1
