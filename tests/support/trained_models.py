"""What a training left on disk, for tests that compare models or kill the process that trains one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from dflcore.models.checkpoint import Generation, ModelFolder

LONGEST_WAIT_S = 120.0


def newest(model: Path) -> Generation:
    """The newest save, all of them whole."""
    generation, notices = ModelFolder.open(model).load()
    assert generation is not None
    assert not notices
    return generation


def assert_same_weights(first: Path, second: Path) -> None:
    """Bit for bit."""
    one, other = newest(first).weights, newest(second).weights
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=0)


def train_and_kill(program: str, *arguments: Path, model: Path) -> int:
    """Run a Python program that trains without end; kill it once two saves are there.

    Args:
        arguments: of the program, before the model's folder.

    Returns:
        The newest save's iteration.
    """
    process = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments), str(model)])
    try:
        deadline = time.monotonic() + LONGEST_WAIT_S
        while len(list((model / "generations").glob("????????"))) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return newest(model).iteration
