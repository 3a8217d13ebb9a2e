"""The farms a job can go to: for each what is written, and how that is sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dflcore.errors import Internal, Unsupported
from dfldaemon.farm import counted, opencue, openjd
from dfldaemon.farm.job import FarmJob

Write = Callable[..., list[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One farm.

    Attributes:
        write: ``(job, folder, *, command, gpus)`` → the files of a submission.
        program: the farm's own submitter; empty where there is none.
        words: of ``program`` for what was written into a folder.
        extra: of ours that installs the program; empty where it comes with the farm.
        install: what to do where the program is missing and no extra has it.
    """

    write: Write
    program: str = ""
    words: Callable[[Path], list[str]] = lambda folder: []
    extra: str = ""
    install: str = ""


def _openjd_words(folder: Path) -> list[str]:
    values = f"file://{(folder / openjd.CLI_PARAMETERS).absolute()}"
    return ["run", str(folder / openjd.TEMPLATE), "-p", values]


BACKENDS: Mapping[str, Backend] = {
    "openjd": Backend(write=openjd.write_bundle, program="openjd", words=_openjd_words, extra="farm-openjd"),
    "deadline-cloud": Backend(
        write=openjd.write_bundle,
        program="deadline",
        words=lambda folder: ["bundle", "submit", str(folder), "--yes"],
        extra="farm-deadline",
    ),
    "opencue": Backend(write=opencue.write_opencue, extra=opencue.EXTRA),
    "deadline10": Backend(
        write=counted.write_deadline10,
        program="deadlinecommand",
        words=lambda folder: [str(folder / counted.JOB_INFO), str(folder / counted.PLUGIN_INFO)],
        install="it comes with the Deadline client",
    ),
    "flamenco": Backend(write=counted.write_flamenco, install="Flamenco takes jobs through its own programs only"),
}


def submit_command(name: str, folder: Path) -> list[str]:
    """The command that sends what was written; empty where another way is needed."""
    backend = BACKENDS[name]
    return [backend.program, *backend.words(folder)] if backend.program else []


def send(name: str, job: FarmJob, folder: Path, *, command: str, gpus: int) -> int:
    """Send a job to its farm; ``openjd`` runs it here. Answers with the exit code of the farm's program.

    Raises:
        Unsupported: the farm's program is not installed, or there is none.
    """
    if name == "opencue":
        opencue.launch_opencue(job, folder, command=command, gpus=gpus)
        return 0
    backend = BACKENDS[name]
    program = shutil.which(backend.program) if backend.program else None
    if program is None:
        raise _missing(name, backend)
    return counted.run_program([program, *backend.words(folder)])


def check_sendable(name: str) -> None:
    """Before anything is written. Raises Unsupported as :func:`send`."""
    backend = BACKENDS.get(name)
    if backend is None:
        raise Internal(f"There is no farm {name!r}.", reason="UNKNOWN_FARM")
    if name == "opencue":
        opencue.check_installed()
    elif not (backend.program and shutil.which(backend.program)):
        raise _missing(name, backend)


def _missing(name: str, backend: Backend) -> Unsupported:
    if backend.extra:
        return Unsupported(
            f"Submitting to {name} needs the program `{backend.program}`; run `pip install "
            f"'dfl-compositor[{backend.extra}]'`, in an environment without the extras of other farms, or write the "
            "files with --dry-run.",
            reason="FARM_EXTRA_MISSING",
            extra=backend.extra,
        )
    return Unsupported(
        f"A job cannot be sent to {name} from here: {backend.install}. Write the files with --dry-run.",
        reason="FARM_PROGRAM_MISSING",
    )
