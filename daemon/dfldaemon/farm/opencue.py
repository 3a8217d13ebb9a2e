"""OpenCue: the job as pyoutline sends it. pyoutline is loaded when it is asked for, and no sooner.

OpenCue has no hooks around frames, so a task starts this machine's daemon on demand and the daemon leaves when idle. A
layer's frames are the parts of the job, counted from 1.
"""

from __future__ import annotations

import importlib
import os
import shlex
from pathlib import Path
from typing import Any

from dflcore.errors import Unsupported
from dfldaemon.farm.counted import task_words, write_job_file
from dfldaemon.farm.job import FarmJob, chunk_count
from dfldaemon.farm.openjd import write_text

XML = "opencue_job.xml"
EXTRA = "farm-opencue"


def write_opencue(job: FarmJob, folder: Path, *, command: str, gpus: int) -> list[Path]:
    """The specification that cuebot is sent.

    Raises:
        Unsupported: pyoutline is not installed.
    """
    check_installed()
    job_file = write_job_file(job, folder)
    launcher = _launcher(job, job_file, command=command, gpus=gpus)
    return [job_file, write_text(folder / XML, str(launcher.serialize(use_pycuerun=False)))]


def launch_opencue(job: FarmJob, folder: Path, *, command: str, gpus: int) -> None:
    """Send it to the cuebot of ``CUEBOT_HOSTS`` or pyoutline's configuration. Raises as :func:`write_opencue`."""
    _launcher(job, write_job_file(job, folder), command=command, gpus=gpus).launch(use_pycuerun=False)


def check_installed() -> None:
    """Raises Unsupported without pyoutline."""
    _module("outline")


def _launcher(job: FarmJob, job_file: Path, *, command: str, gpus: int) -> Any:
    outline, shell, cuerun = (_module(f"outline{name}") for name in ("", ".modules.shell", ".cuerun"))
    shot, show = os.environ.get("SHOT", "shot"), os.environ.get("SHOW", "testing")
    made = outline.Outline(_plain(job.name), shot=shot, show=show)
    count = chunk_count(job)
    # The words are one line for a shell by the time rqd runs them; the last holds a token that cuebot replaces.
    *words, part = [command, *task_words(job_file, f"#IFRAME#/{count}")]
    words = [*map(shlex.quote, words), part]
    layer = shell.Shell(
        _plain(job.kind), command=words, range=f"1-{count}", chunk=1, **({"gpus": gpus} if gpus else {})
    )
    made.add_layer(layer)
    launcher = cuerun.OutlineLauncher(made)
    launcher.setup()
    return launcher


def _plain(text: str) -> str:
    """OpenCue's names are letters, digits, dots, dashes and underscores, three at least."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in text)
    return plain.ljust(3, "_")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unsupported(
            f"Submitting to OpenCue needs pyoutline ({error}); run `pip install 'dfl-compositor[{EXTRA}]'`, in an "
            "environment without the extras of other farms.",
            reason="FARM_EXTRA_MISSING",
            extra=EXTRA,
        ) from error
