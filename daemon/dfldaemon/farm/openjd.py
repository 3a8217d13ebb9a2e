"""The OpenJobDescription bundle: the one description of a farm job that the others are made from.

A bundle is a folder: ``template.json`` says what is run, ``parameter_values.json`` and ``asset_references.json`` are as
AWS Deadline Cloud reads them, ``openjd_parameters.json`` holds the same values for ``openjd run -p file://...``. JSON
needs no library. Of the extensions only ``TASK_CHUNKING`` is used: older schedulers know no other that would help.

One step. Its environment starts a daemon for the session of a worker and always stops it; its task is one call of
``dfl farm task``, which does nothing for frames that are there and current, so a task may run twice. No shell takes
part.
Specification: Open Job Description, jobtemplate-2023-09, and its RFC of task chunking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dflcore.errors import InvalidInput
from dflcore.io.atomic import write_bytes
from dfldaemon.farm.job import WRITTEN, FarmJob, range_text

TEMPLATE = "template.json"
PARAMETER_VALUES = "parameter_values.json"
ASSET_REFERENCES = "asset_references.json"
CLI_PARAMETERS = "openjd_parameters.json"
MAX_STRING = 1024
"""Characters a STRING parameter may have."""
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 180
CANCEL_S = 60
"""After SIGTERM a task may finish and save what it is at for so long."""


def write_bundle(job: FarmJob, folder: Path, *, command: str = "dfl", gpus: int = 0) -> list[Path]:
    """Write the bundle of a job.

    Args:
        command: ``dfl`` as workers call it; a name on their ``PATH``, or a whole path.
        gpus: a worker must have so many; 0 takes any worker.

    Raises:
        InvalidInput: the frames are too scattered for one parameter, or the folder cannot be written.
    """
    values = parameter_values(job, command)
    files: dict[str, Any] = {
        TEMPLATE: job_template(job, gpus=gpus),
        PARAMETER_VALUES: {"parameterValues": [{"name": name, "value": value} for name, value in values.items()]},
        ASSET_REFERENCES: asset_references(job),
        CLI_PARAMETERS: {name: str(value) for name, value in values.items()},
    }
    return [write_text(folder / name, json.dumps(content, indent=1) + "\n") for name, content in files.items()]


def write_text(path: Path, text: str) -> Path:
    """Write a file of a submission whole.

    Raises:
        InvalidInput: it cannot be written. ResourceExhausted: the disk is full.
    """
    try:
        write_bytes(path, text.encode("utf-8"))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror}; name another folder.", reason="NOT_A_FOLDER", path=path
        ) from error
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"A name in {text[max(error.start - 40, 0) : error.end + 40]!r} is not Unicode, and no farm takes it; "
            "rename the file or folder.",
            reason="NAME_NOT_UNICODE",
        ) from error
    return path


def parameter_values(job: FarmJob, command: str = "dfl") -> dict[str, str | int]:
    """Job parameter → value.

    Raises:
        InvalidInput: a path is too long, or the frames are too scattered, for one parameter.
    """
    values: dict[str, str | int] = {"Command": command}
    values |= {parameter_name(role): path.folder for role, path in job.paths.items()}
    long = [name for name, value in values.items() if len(str(value)) > MAX_STRING]
    if long:
        raise InvalidInput(
            f"{long[0]} is longer than a farm takes ({MAX_STRING} characters); use a folder with a shorter path.",
            reason="PATH_TOO_LONG",
            field=long[0],
        )
    if _is_chunked(job):
        frames = range_text(job.frames)
        if len(frames) > MAX_STRING:
            raise InvalidInput(
                f"The {len(job.frames)} frames are too scattered for one farm job ({len(frames)} characters, "
                f"{MAX_STRING} are allowed); submit them in several.",
                reason="FRAMES_TOO_SCATTERED",
                field="frames",
            )
        values |= {"Frames": frames, "ChunkSize": job.chunk, "ChunkSeconds": 0}
    return values


def asset_references(job: FarmJob) -> dict[str, Any]:
    """What Deadline Cloud must bring to a worker, and bring back."""
    written = WRITTEN[job.kind]
    inputs = sorted({path.folder for role, path in job.paths.items() if role != written})
    return {
        "assetReferences": {
            "inputs": {"filenames": [], "directories": inputs},
            "outputs": {"directories": [job.written.folder]},
            "referencedPaths": [],
        }
    }


def job_template(job: FarmJob, *, gpus: int = 0) -> dict[str, Any]:
    """The template; every path is a parameter, so that a farm may map it."""
    step: dict[str, Any] = {
        "name": job.kind.capitalize(),
        "stepEnvironments": [_daemon_environment()],
        "script": {
            "embeddedFiles": [{"name": "Job", "type": "TEXT", "filename": "job.json", "data": _job_text(job)}],
            "actions": {"onRun": _task_action(job)},
        },
    }
    if _is_chunked(job):
        chunks = {
            "defaultTaskCount": "{{Param.ChunkSize}}",
            "targetRuntimeSeconds": "{{Param.ChunkSeconds}}",
            # Frames around a chunk are read for nothing but its ends: the fewer ends, the less is read twice.
            "rangeConstraint": "CONTIGUOUS" if job.has_window else "NONCONTIGUOUS",
        }
        frames = {"name": "Frames", "type": "CHUNK[INT]", "range": "{{Param.Frames}}", "chunks": chunks}
        step["parameterSpace"] = {"taskParameterDefinitions": [frames]}
    elif job.nodes > 1:  # no farm promises to run them at once; whoever is there trains, who comes late finds it done
        nodes = {"name": "Node", "type": "INT", "range": f"1-{job.nodes}"}
        step["parameterSpace"] = {"taskParameterDefinitions": [nodes]}
    if gpus:
        step["hostRequirements"] = {"amounts": [{"name": "amount.worker.gpu", "min": gpus}]}
    template: dict[str, Any] = {"specificationVersion": "jobtemplate-2023-09", "name": job.name}
    if _is_chunked(job):
        template["extensions"] = ["TASK_CHUNKING"]
    return {**template, "parameterDefinitions": _parameter_definitions(job), "steps": [step]}


def parameter_name(role: str) -> str:
    """``plate`` → ``PlateFolder``."""
    return f"{role.capitalize()}Folder"


def _is_chunked(job: FarmJob) -> bool:
    return job.chunk > 0 and bool(job.frames)


def _daemon_environment() -> dict[str, Any]:
    def action(verb: str, timeout_s: int) -> dict[str, Any]:
        words = ["farm", verb, "--session-folder", "{{Session.WorkingDirectory}}"]
        return {"command": "{{Param.Command}}", "args": words, "timeout": timeout_s}

    actions = {"onEnter": action("enter", START_TIMEOUT_S), "onExit": action("leave", STOP_TIMEOUT_S)}
    return {"name": "Daemon", "description": "A daemon for this session.", "script": {"actions": actions}}


def _task_action(job: FarmJob) -> dict[str, Any]:
    words = ["farm", "task", "--job", "{{Task.File.Job}}", "--path-mapping", "{{Session.PathMappingRulesFile}}"]
    for role in job.paths:
        words += ["--folder", f"{role}={{{{Param.{parameter_name(role)}}}}}"]
    if _is_chunked(job):
        words.append("--frames={{Task.Param.Frames}}")  # one word: frames may be negative
    elif job.nodes > 1:
        words.append(f"--chunk={{{{Task.Param.Node}}}}/{job.nodes}")
    cancel = {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": CANCEL_S}
    return {"command": "{{Param.Command}}", "args": words, "cancelation": cancel}


def _job_text(job: FarmJob) -> str:
    """The description as an embedded file: no pair of braces may be taken for a format string."""
    text = json.dumps(job.to_values(), indent=1)
    return text.replace("{{", "\\u007b\\u007b").replace("}}", "\\u007d\\u007d")


def _parameter_definitions(job: FarmJob) -> list[dict[str, Any]]:
    written = WRITTEN[job.kind]
    definitions: list[dict[str, Any]] = [
        {"name": "Command", "type": "STRING", "default": "dfl", "description": "dfl as workers call it."}
    ]
    for role in job.paths:
        flow = "OUT" if role == written else "IN"
        if job.kind == "train" and role == written:
            flow = "INOUT"  # a training that was stopped goes on
        definition: Mapping[str, Any] = {"name": parameter_name(role), "type": "PATH"}
        definitions.append({**definition, "objectType": "DIRECTORY", "dataFlow": flow})
    if _is_chunked(job):
        definitions += [
            {"name": "Frames", "type": "STRING", "description": "For example 1001-1100 or 1-9:2,20."},
            {"name": "ChunkSize", "type": "INT", "minValue": 1, "description": "Frames per task."},
            {
                "name": "ChunkSeconds",
                "type": "INT",
                "minValue": 0,
                "default": 0,
                "description": "Let the farm choose chunks that take so long; 0 keeps the size.",
            },
        ]
    return definitions
