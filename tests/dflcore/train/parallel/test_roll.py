"""The roll of machines: one winner of two who change it at once, and nothing that a killed writer could spoil."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError

from dflcore.train.parallel.roll import SLOT_BYTES, Roll

COUNTING = """
import sys
from pathlib import Path
from dflcore.train.parallel.roll import Roll
roll = Roll(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    while True:
        found = roll.get_state()
        state, token = found or (b"0", None)
        state = str(int(state) + 1).encode().rjust(20_000)
        done = roll.set_state(state, token)
        if done and done[2]:
            break
"""


def test_whoever_saw_an_older_state_learns_the_newer(tmp_path: Path) -> None:
    one, other = Roll(tmp_path / "roll"), Roll(tmp_path / "roll")
    assert one.get_state() is None
    assert other.set_state(b"x", 7) is None, "there is nothing he could have seen"
    first = one.set_state(b"first")
    assert first is not None
    assert first[2]
    assert other.set_state(b"also first") == (b"first", first[1], False)
    second = other.set_state(b"second", first[1])
    assert second is not None
    assert second[2]
    assert one.set_state(b"late", first[1]) == (b"second", second[1], False)
    assert one.get_state() == (b"second", second[1])
    assert (tmp_path / "roll").stat().st_size < 2 * SLOT_BYTES, "it does not grow"


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_a_write_that_was_cut_off_does_not_count(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "roll"
    roll = Roll(path)
    token = None
    for number in range(3):
        done = roll.set_state(bytes([number]) * 120, token)
        assert done is not None
        token = done[1]
    with path.open("r+b") as file:  # the third write went over the first
        file.seek(SLOT_BYTES)
        file.write(b"\xff" * cut)
    found = roll.get_state()
    assert found is not None
    assert found[0] == b"\x01" * 120
    assert roll.set_state(b"on", found[1]) is not None
    assert Roll(path).get_state()[0] == b"on"  # type: ignore[index]


def test_nobodys_change_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "roll"
    running = [subprocess.Popen([sys.executable, "-c", COUNTING, str(path), "50"]) for _ in range(3)]
    assert [one.wait() for one in running] == [0, 0, 0]
    assert int(Roll(path).get_state()[0]) == 150  # type: ignore[index]


@pytest.mark.slow
def test_killed_writers_spoil_nothing(tmp_path: Path) -> None:
    draw = random.Random(2)
    path, roll = tmp_path / "roll", Roll(tmp_path / "roll")
    seen = 0
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", COUNTING, str(path), "1000000"])
        reached = seen
        while reached < seen + 5:  # its libraries take seconds
            time.sleep(0.02)
            reached = int((roll.get_state() or (b"0", 0))[0])
        time.sleep(draw.uniform(0.0, 0.2))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        found = roll.get_state()
        assert found is not None
        assert int(found[0]) >= reached
        seen = int(found[0])


def test_storage_that_is_gone_is_an_error_of_torchs(tmp_path: Path) -> None:
    with pytest.raises(RendezvousConnectionError, match="No such file"):
        Roll(tmp_path / "gone" / "roll").get_state()
