"""``dfl extract``, ``dfl train``, ``dfl merge``: submit a job, then follow it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from dflcore.config.base import Settings
from dflcore.config.cast_text import parse_casting
from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import DflError, InvalidInput
from dflcore.frames import FrameRange
from dflcore.io.atomic import translate_disk_errors
from dflcore.types import Authorization
from dfldaemon.cli.authorization import ask_authorization
from dfldaemon.cli.chunks import Chunk, frames_to_divide
from dfldaemon.cli.correction_files import correction_request
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.flags import SETTINGS_FILE, given_settings
from dfldaemon.cli.following import OnInterrupt, follow_job, report_end
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.client import DaemonClient
from dflproto.v1 import common_pb2, job_service_pb2, settings_pb2


def extract(session: CliSession, options: argparse.Namespace) -> int:
    """Run an extraction. Raises DflError where it cannot be submitted or followed."""
    settings = _plate_settings(session, options, ExtractSettings)
    if "keep_person" in settings:
        pictures = str(settings["keep_person"]).split(os.pathsep)
        settings["keep_person"] = os.pathsep.join(session.absolute(picture) for picture in pictures if picture)
    plate = _plate(session, options)
    faceset = Path(session.absolute(options.faceset))
    corrections = None
    if options.corrections:
        corrections = correction_request(str(faceset), plate.path, session.absolute(options.corrections))
    with session.connect_or_start() as client:
        if corrections is not None:
            _make_folder(faceset)
            client.correct_faces(corrections)
        settings |= ask_authorization(session.output, ExtractSettings, settings, is_recorded=lambda: False)
        spec = job_service_pb2.JobSpec(
            extract=job_service_pb2.ExtractSpec(
                plate=plate,
                faceset_path=str(faceset),
                settings=settings_pb2.ExtractSettings(**settings),  # type: ignore[arg-type]
            )
        )
        return submit_and_follow(session, client, spec, is_detached=options.detach)


def train(session: CliSession, options: argparse.Namespace) -> int:
    """Run a training. Raises DflError where it cannot be submitted or followed."""
    settings = given_settings(options, TrainSettings)
    source, *more_sources = map(session.absolute, options.source)
    with session.connect_or_start() as client:
        settings |= ask_authorization(
            session.output,
            TrainSettings,
            settings,
            is_recorded=lambda: _has_record(lambda: client.get_faceset(source).authorization),
        )
        spec = job_service_pb2.JobSpec(
            train=job_service_pb2.TrainSpec(
                source_path=source,
                more_source_paths=more_sources,
                target_path=session.absolute(options.target),
                model_path=session.absolute(options.model),
                settings=settings_pb2.TrainSettings(**settings),  # type: ignore[arg-type]
            )
        )
        return submit_and_follow(session, client, spec, is_detached=options.detach, is_watched=options.watch)


def merge(session: CliSession, options: argparse.Namespace) -> int:
    """Run a merge. Raises DflError where it cannot be submitted or followed."""
    settings = with_whole_tools(session, _plate_settings(session, options, MergeSettings))
    plate = _plate(session, options)
    if options.chunk:
        frames = frames_to_divide(plate.path, plate.frames)
        part = Chunk.parse(options.chunk).of(frames)
        if not part:
            session.output.event("nothing_to_do", chunk=options.chunk, frames=len(frames))
            session.output.remark(f"Chunk {options.chunk} of {len(frames)} frames is empty; there is nothing to do.")
            return OK
        plate.frames = str(part)
    is_scripted = bool(options.chunk) or SETTINGS_FILE in options
    model = session.absolute(options.model)
    with session.connect_or_start() as client:
        settings |= ask_authorization(
            session.output,
            MergeSettings,
            settings,
            is_recorded=lambda: is_scripted or _has_record(lambda: client.get_model(model).authorization),
        )
        spec = job_service_pb2.JobSpec(
            merge=job_service_pb2.MergeSpec(
                plate=plate,
                model_path=model,
                faceset_path=session.absolute(options.faceset),
                output_path=session.absolute(options.output),
                settings=settings_pb2.MergeSettings(**settings),  # type: ignore[arg-type]
            )
        )
        return submit_and_follow(session, client, spec, is_detached=options.detach)


def submit_and_follow(
    session: CliSession,
    client: DaemonClient,
    spec: job_service_pb2.JobSpec,
    *,
    is_detached: bool = False,
    is_watched: bool = False,
    on_interrupt: OnInterrupt = OnInterrupt.CANCEL,
) -> int:
    """Put a job into the queue and follow it to its end, unless detached.

    Args:
        is_watched: of a training, draw curves where the terminal can.

    Raises:
        DflError: the daemon refuses the job or went away.
    """
    job = client.submit(spec)
    session.output.event("submitted", job=message_values(job))
    if is_detached:
        session.output.result(job.id)
        return OK
    session.output.remark(f"Job {job.id}", style="dim")
    ended = follow_job(client, job, session.output, on_interrupt=on_interrupt, is_watched=is_watched)
    return report_end(session.output, ended, job.id)


def _make_folder(path: Path) -> None:
    """Raises InvalidInput where it cannot be made, ResourceExhausted on a full disk."""
    try:
        with translate_disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be a folder: {error.strerror}; name another.",
            reason="NOT_A_FOLDER",
            path=path,
        ) from error


def _plate_settings(
    session: CliSession, options: argparse.Namespace, settings_class: type[Settings]
) -> dict[str, object]:
    """The settings given, with the colour config of the user's environment, so that it is stored with the job."""
    settings = given_settings(options, settings_class)
    config = session.color_config(str(settings.get("ocio_config", "")))
    return {**settings, "ocio_config": config} if config else settings


def with_whole_tools(session: CliSession, settings: dict[str, object]) -> dict[str, object]:
    """Settings that name networks, with the whole path where it is one: the daemon does not know the user's folder."""
    whole = dict(settings)
    segmenter = str(settings.get("segmenter", ""))
    if _is_path(session, segmenter):
        whole["segmenter"] = session.absolute(segmenter)
    kind, colon, argument = str(settings.get("enhancer", "")).partition(":")
    path, query, rest = argument.partition("?")
    if _is_path(session, path):
        whole["enhancer"] = f"{kind}{colon}{session.absolute(path)}{query}{rest}"
    if cast := str(settings.get("cast", "")):
        whole["cast"] = str(parse_casting(cast).with_folders(session.absolute))
    return whole


def _is_path(session: CliSession, text: str) -> bool:
    return bool(text) and (os.sep in text or Path(session.absolute(text)).exists())


def _plate(session: CliSession, options: argparse.Namespace) -> job_service_pb2.PlateSpec:
    """Raises InvalidInput for a frame range that cannot be read."""
    frames = str(FrameRange.parse(options.frames)) if options.frames else ""
    return job_service_pb2.PlateSpec(path=session.absolute(options.input), frames=frames)


def _has_record(get_record: Callable[[], common_pb2.Authorization]) -> bool:
    """Somebody's permission is on record; also true where that cannot be told: the job will say what is wrong."""
    try:
        record = get_record()
    except DflError:
        return True
    return Authorization(person=record.person, reference=record.reference).is_stated
