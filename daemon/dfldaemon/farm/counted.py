"""Farms without sessions and path parameters: Deadline 10 and Flamenco, as the files they take.

Both count tasks from 1, and a task does the I-th of N parts, so any range of frames is possible. Written from their
documentation and never sent to either: neither can be had here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dflcore.errors import InvalidInput
from dfldaemon.cli.chunks import MAX_COUNT
from dfldaemon.farm.job import MAX_JOB_BYTES, FarmJob, chunk_count
from dfldaemon.farm.openjd import write_text

JOB_FILE = "job.json"
JOB_INFO = "job_info.txt"
PLUGIN_INFO = "plugin_info.txt"
FLAMENCO_SCRIPT = "dfl.js"
FLAMENCO_SETTINGS = "flamenco_job.json"


def write_job_file(job: FarmJob, folder: Path) -> Path:
    """The description that tasks read; the folder must be on a share that the workers see.

    Raises:
        InvalidInput: no task would take it: it is too long, or has too many parts; or it cannot be written.
    """
    text = json.dumps(job.to_values(), indent=1) + "\n"
    if len(text) > MAX_JOB_BYTES:
        raise InvalidInput(
            f"The description of the job is too long ({len(text)} bytes, {MAX_JOB_BYTES} are allowed): "
            f"{len(job.frames)} frames are too scattered, or the settings too long. Submit it in several.",
            reason="FRAMES_TOO_SCATTERED",
            field="frames",
        )
    if chunk_count(job) > MAX_COUNT:
        raise InvalidInput(
            f"{chunk_count(job)} tasks are more than a job may have ({MAX_COUNT}); give a larger --chunk.",
            reason="BAD_CHUNK",
            field="chunk",
        )
    return write_text(folder / JOB_FILE, text)


def task_words(job_file: Path, part: str) -> list[str]:
    """Words of a task's command after ``dfl``."""
    return ["farm", "task", "--job", str(job_file), "--chunk", part]


def write_deadline10(job: FarmJob, folder: Path, *, command: str, gpus: int) -> list[Path]:
    """``job_info.txt`` and ``plugin_info.txt`` for ``deadlinecommand``.

    Raises:
        InvalidInput: GPUs are asked for, which are a matter of pools and limits there; a name cannot be written so; or
            a file cannot be written.
    """
    if gpus:
        raise InvalidInput(
            "Deadline 10 has no count of GPUs in a job; leave --gpus out and choose a pool or group there.",
            reason="FARM_CANNOT",
            field="gpus",
        )
    count = chunk_count(job)
    info = {"Plugin": "CommandLine", "Name": job.name, "Frames": f"1-{count}", "ChunkSize": "1"}
    words = task_words(folder / JOB_FILE, f"<STARTFRAME>/{count}")
    _check_words([command, *words])
    job_file = write_job_file(job, folder)
    plugin = {
        "Executable": command,
        "Arguments": _quoted(words),
        "Shell": "default",
        "ShellExecute": "False",
    }
    return [
        job_file,
        write_text(folder / JOB_INFO, _keys(info)),
        write_text(folder / PLUGIN_INFO, _keys(plugin)),
    ]


def write_flamenco(job: FarmJob, folder: Path, *, command: str, gpus: int) -> list[Path]:
    """A job type for Flamenco's ``scripts`` folder, and the settings of this job.

    Raises:
        InvalidInput: GPUs are asked for, which Flamenco does not know; or a file cannot be written.
    """
    if gpus:
        raise InvalidInput(
            "Flamenco does not count GPUs; leave --gpus out and use worker tags there.",
            reason="FARM_CANNOT",
            field="gpus",
        )
    job_file = write_job_file(job, folder)
    settings = {"command": command, "job_file": str(job_file), "task_count": chunk_count(job)}
    values = {"name": job.name, "type": "dfl", "priority": 50, "settings": settings}
    values["submitter_platform"] = "windows" if os.name == "nt" else "linux"
    return [
        job_file,
        write_text(folder / FLAMENCO_SCRIPT, FLAMENCO_JOB_TYPE),
        write_text(folder / FLAMENCO_SETTINGS, json.dumps(values, indent=1) + "\n"),
    ]


def run_program(words: Sequence[str]) -> int:
    """A farm's own submitter, with its words on our terminal; answers with its exit code."""
    return subprocess.run(list(words), check=False).returncode


def _keys(values: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _check_words(words: Sequence[str]) -> None:
    """Raises InvalidInput for a word that these files have no way to write."""
    for word in words:
        if '"' in word or word.splitlines() != [word]:
            raise InvalidInput(
                f"Deadline 10's files cannot hold {word!r}: quotation marks and line breaks are not possible there. "
                "Give the folder a plain name.",
                reason="FARM_CANNOT",
                field="output",
            )


def _quoted(words: Sequence[str]) -> str:
    """Words as one line; Deadline writes ``<QUOTE>`` for a quotation mark."""
    return " ".join(f"<QUOTE>{word}<QUOTE>" if any(c.isspace() for c in word) else word for word in words)


FLAMENCO_JOB_TYPE = """\
// Job type of dfl for Flamenco: copy it into the manager's `scripts` folder.
// Every task is one call of `dfl farm task`; frames that are there and current are not computed again.

const JOB_TYPE = {
    label: "dfl",
    settings: [
        { key: "command", type: "string", required: true, default: "dfl", description: "dfl as workers call it" },
        { key: "job_file", type: "string", subtype: "file_path", required: true, description: "job.json on a share" },
        { key: "task_count", type: "int32", required: true, default: 1, description: "Parts the job is divided into" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    for (let part = 1; part <= settings.task_count; part++) {
        const task = author.Task("part-" + part, "misc");
        task.addCommand(author.Command("exec", {
            exe: settings.command,
            args: ["farm", "task", "--job", settings.job_file, "--chunk", part + "/" + settings.task_count],
        }));
        job.addTask(task);
    }
}
"""
