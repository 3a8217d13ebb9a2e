"""The folder where machines meet: who may, what of dead runs stays, and that nobody is locked out or in."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dflcore.errors import Conflict, InvalidInput, Unsupported
from dflcore.train.parallel.meeting import is_met, meeting_folder, take_part

FACTS = {"version": "1", "iterations": "100"}


def test_machines_meet_in_a_folder_of_the_user_alone_which_the_last_removes(tmp_path: Path) -> None:
    model = tmp_path / "new" / "model"
    with take_part(model, FACTS) as first:
        assert first.folder == tmp_path / "new" / "model.nodes"
        assert stat.S_IMODE(first.folder.stat().st_mode) == 0o700
        with take_part(model, FACTS) as second:
            assert second == first
            first.roll_path.write_text("x")
        assert first.roll_path.exists(), "who leaves takes nothing from those who stay"
        assert is_met(model)
    assert not first.folder.exists()
    assert not is_met(model)


def test_machines_that_were_told_different_things_do_not_train_together(tmp_path: Path) -> None:
    with take_part(tmp_path / "model", FACTS):
        with (
            pytest.raises(Conflict, match="iterations is 200 here and 100 on") as caught,
            take_part(tmp_path / "model", {**FACTS, "iterations": "200"}),
        ):
            pass
        assert caught.value.reason == "NODES_DIFFER"
        with pytest.raises(Conflict, match="version is not said here"), take_part(tmp_path / "model", {}):
            pass
    with take_part(tmp_path / "model", {**FACTS, "iterations": "200"}):
        pass


def test_what_a_dead_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    model = tmp_path / "model"
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom dflcore.train.parallel.meeting import take_part\n"
        "with take_part(Path(sys.argv[1]), {'version': '0'}) as meeting:\n"
        "    meeting.roll_path.write_text('who takes part')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model)], check=False)
    assert done.returncode == -signal.SIGKILL
    folder = meeting_folder(model)
    assert len(list(folder.glob("roll-*"))) == 1
    with take_part(model, FACTS) as meeting:
        assert not list(folder.glob("roll-*"))
        assert not meeting.roll_path.exists()
    assert not folder.exists()


def test_a_run_that_is_over_makes_room_for_another_while_some_are_still_there(tmp_path: Path) -> None:
    model = tmp_path / "model"
    with (
        take_part(model, FACTS) as old,
        take_part(model, FACTS, over=old.run) as new,
        take_part(model, FACTS, over=old.run) as slower,
    ):
        assert new.run != old.run
        assert slower.run == new.run, "one new run, whoever comes first"


@pytest.mark.parametrize("how", ["open to others", "a link", "a file", "of somebody else"])
def test_a_folder_that_others_can_change_is_refused(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = meeting_folder(tmp_path / "model")
    if how == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif how == "a file":
        folder.touch()
    else:
        folder.mkdir(mode=0o700)
    if how == "open to others":
        folder.chmod(0o750)
    if how == "of somebody else":
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(InvalidInput, match=r"model\.nodes") as caught, take_part(tmp_path / "model", FACTS):
        pass
    assert caught.value.reason == "FOLDER_NOT_PRIVATE"


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(Unsupported, match="has no locks") as caught, take_part(tmp_path / "model", FACTS):
        pass
    assert caught.value.reason == "NO_LOCKS"


def test_machines_that_come_and_leave_at_once_are_always_in_the_same_run(tmp_path: Path) -> None:
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom dflcore.train.parallel.meeting import take_part\n"
        "for _ in range(100):\n"
        "    with take_part(Path(sys.argv[1]), {}) as meeting:\n"
        "        said = json.loads((meeting.folder / 'run.json').read_text())['name']\n"
        "        assert said == meeting.run, (said, meeting.run)\n"
    )
    program = [sys.executable, "-c", code, str(tmp_path / "model")]
    running = [subprocess.Popen(program, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for one in running:
        _, said = one.communicate()
        assert one.returncode == 0, said
    assert not meeting_folder(tmp_path / "model").exists()
