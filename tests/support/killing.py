"""Runs a piece of work on copies of a folder and kills it, in each copy one disk operation later than in the last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SWEEP = """
import importlib, os, shutil, signal, sqlite3, sys, zipfile
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from small_facesets import Watcher
work = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
original = Path(sys.argv[3])

def die_at(left):
    def dying(real):
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        return call
    for owner, names in (
        (os, ("replace", "rename", "unlink", "fsync", "mkdir", "rmdir")),
        (Path, ("unlink", "write_bytes", "mkdir", "rename")),
        (zipfile.ZipFile, ("writestr", "close")),
    ):
        for name in names:
            setattr(owner, name, dying(getattr(owner, name)))

for calls in range(1000):
    folder = original.with_name(f"killed after {calls}")
    shutil.copytree(original, folder)
    child = os.fork()
    if not child:
        die_at(calls)
        work(folder, Watcher())
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(folder, flush=True)
    if code != -signal.SIGKILL:
        sys.exit(code)
sys.exit("the sweep never reached the end")
"""


def kill_everywhere(module: str, function: str, original: Path, *import_from: Path) -> list[Path]:
    """``function(folder, control)`` killed in every copy but the last, where it was left to finish.

    A process of its own does it: forking one that runs threads is not safe. ``import_from`` are folders where
    ``module`` is found.
    """
    arguments = [module, function, str(original), str(Path(__file__).parent), *map(str, import_from)]
    done = subprocess.run([sys.executable, "-c", _SWEEP, *arguments], check=True, capture_output=True, text=True)
    return [Path(line) for line in done.stdout.splitlines()]
