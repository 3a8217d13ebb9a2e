"""``dfl farm``: submit a job to a render farm; and what the farm's workers call: ``enter``, ``task``, ``leave``."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shlex
import shutil
import socket
from pathlib import Path
from typing import Any

from dflcore.config.cast_text import parse_casting
from dflcore.config.extract import ExtractSettings
from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dfldaemon.cli.authorization import ask_authorization
from dfldaemon.cli.chunks import frames_to_divide
from dfldaemon.cli.exit_codes import FAILED, OK
from dfldaemon.cli.flags import given_settings
from dfldaemon.cli.session import CliSession
from dfldaemon.farm.backends import BACKENDS, check_sendable, send, submit_command
from dfldaemon.farm.job import SETTINGS, FarmJob, FarmPath, Kind, chunk_count, make_job
from dfldaemon.farm.vocabulary import FarmOutput
from dfldaemon.model_facts import read_model_facts


def submit(session: CliSession, options: argparse.Namespace) -> int:
    """Write a job for a farm, and send it. Raises DflError where it cannot be."""
    output = session.output
    if options.gpus < 0:
        raise InvalidInput(f"--gpus {options.gpus} must be 0 or more.", reason="BAD_USAGE", field="gpus")
    job = _job(session, options)
    backend = BACKENDS[options.backend]
    if not options.dry_run:
        check_sendable(options.backend)
    folder = Path(session.absolute(options.dry_run)) if options.dry_run else _new_folder(job)
    try:
        files = backend.write(job, folder, command=options.dfl, gpus=options.gpus)
    except DflError:
        if not options.dry_run:
            shutil.rmtree(folder, ignore_errors=True)  # made for this submission, which does not take place
        raise
    command = submit_command(options.backend, folder)
    output.event(
        "farm_job",
        backend=options.backend,
        name=job.name,
        tasks=chunk_count(job),
        frames=len(job.frames),
        files=[str(path) for path in files],
        command=command,
        is_sent=not options.dry_run,
    )
    for path in files:
        output.result(str(path))
    if options.dry_run:
        sentence = f"It would be sent with: {shlex.join(command)}" if command else "Nothing was sent."
        output.remark(f"{chunk_count(job)} tasks for {options.backend}. {sentence}")
        return OK
    code = send(options.backend, job, folder, command=options.dfl, gpus=options.gpus)
    return OK if code == 0 else FAILED


def enter(session: CliSession, options: argparse.Namespace) -> int:
    """Start the daemon of a farm session; tell the farm where it is."""
    from dfldaemon.farm.session import enter_session

    output = FarmOutput()
    try:
        if session.address:  # the site's own daemon
            session.connect().close()
            output.say(f"This machine's daemon at {session.address} is used.")
            return OK
        output.environment(enter_session(Path(session.absolute(options.session_folder)), session.environ))
    except DflError as error:
        return output.error(error)
    return OK


def leave(session: CliSession, options: argparse.Namespace) -> int:
    """End the daemon of a farm session; without one, do nothing."""
    from dfldaemon.farm.session import leave_session

    output = FarmOutput()
    if session.address:
        return OK
    is_in_order = leave_session(Path(session.absolute(options.session_folder)))
    output.say("The session's daemon has ended." if is_in_order else "The session's daemon was ended by force.")
    return OK


def task(session: CliSession, options: argparse.Namespace) -> int:
    """Do one task of a farm job on this machine's daemon."""
    from dfldaemon.farm.task import frames_of_task, load_job, run_task

    output = FarmOutput()
    try:
        job = load_job(Path(session.absolute(options.job)), options.folder, options.path_mapping)
        frames = frames_of_task(job, options.frames, options.chunk)
        output.say(f"{job.kind} on {socket.gethostname()}" + (f", frames {frames}" if frames else ""))
        return run_task(session, output, job, frames)
    except DflError as error:
        return output.error(error)


def _job(session: CliSession, options: argparse.Namespace) -> FarmJob:
    from dfldaemon.cli.work import with_whole_tools

    kind: Kind = options.kind
    settings: dict[str, Any] = given_settings(options, SETTINGS[kind])
    frames = None
    model_digest, cast_digests = "", tuple[str, ...]()
    if kind != "train":
        config = session.color_config(str(settings.get("ocio_config", "")))
        settings |= {"ocio_config": config} if config else {}
    if kind == "merge":
        settings = with_whole_tools(session, settings)
        frames = frames_to_divide(session.absolute(options.input), options.frames)
        model_digest = _digest(session.absolute(options.model))
        cast_digests = tuple(map(_digest, parse_casting(str(settings.get("cast", ""))).folders))
    elif kind == "extract":
        frames = FrameRange.parse(options.frames) if options.frames else None
        if settings.get("keep_person"):
            pictures = str(settings["keep_person"]).split(os.pathsep)
            settings["keep_person"] = os.pathsep.join(session.absolute(picture) for picture in pictures if picture)
        settings |= ask_authorization(session.output, ExtractSettings, settings, is_recorded=lambda: False)
    return make_job(
        kind,
        _paths(session, options),
        settings,
        frames=frames,
        chunk=getattr(options, "chunk_size", 0),
        name=options.name,
        model_digest=model_digest,
        cast_digests=cast_digests,
    )


def _paths(session: CliSession, options: argparse.Namespace) -> dict[str, FarmPath]:
    def folder(text: str) -> FarmPath:
        return FarmPath(session.absolute(text))

    if options.kind == "train":
        names = ["source", *(f"source{index + 2}" for index in range(len(options.source) - 1))]
        sources = {name: folder(text) for name, text in zip(names, options.source, strict=True)}
        return {**sources, "target": folder(options.target), "model": folder(options.model)}
    plate = session.absolute(options.input)
    paths = {"plate": FarmPath(plate) if Path(plate).is_dir() else FarmPath.of(plate)}
    if options.kind == "merge":
        paths["model"] = folder(options.model)
    paths["faceset"] = folder(options.faceset)
    if options.kind == "merge":
        if Path(options.output).suffix.lower() != ".exr":
            raise InvalidInput(
                f"The output {options.output!r} must be an EXR pattern such as 'out/{{version}}/shot.####.exr'.",
                reason="BAD_OUTPUT_PATTERN",
                field="output",
            )
        paths["output"] = FarmPath.of(session.absolute(options.output))
    return paths


def _digest(model: str) -> str:
    """What the model is now: workers that see another refuse. Raises NotFound without a saved model."""
    facts = read_model_facts(Path(model))
    if not facts:
        raise NotFound(
            f"There is no trained model in {model}; check the path, or train it first.",
            reason="MODEL_NOT_FOUND",
            path=model,
        )
    return facts[0].weights_sha256


def _new_folder(job: FarmJob) -> Path:
    """Where a submission's files lie for good: beside the output's folder, on storage that the workers see.

    Two that are submitted at once have a folder each.

    Raises:
        InvalidInput: it cannot be made.
    """
    folder = Path(f"{job.written.folder}.farm")
    try:
        folder.mkdir(exist_ok=True)
        for number in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                (folder / f"{number:04d}").mkdir()
                break
    except OSError as error:
        raise InvalidInput(
            f"The folder {folder} for the job's files cannot be made: {error.strerror}. Make it so that you may write "
            "there, or write the files elsewhere with --dry-run and send them yourself.",
            reason="NOT_WRITABLE",
            path=folder,
        ) from error
    return folder / f"{number:04d}"
