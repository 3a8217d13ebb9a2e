"""``dfl extract``, ``dfl train``, ``dfl merge``: submit a job, then follow it."""

from __future__ import annotations

import argparse

from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import DflError
from dflcore.frames import FrameRange
from dfldaemon.cli.authorization import ask_authorization
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.flags import given_settings
from dfldaemon.cli.following import OnInterrupt, follow_job, report_end
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.client import DaemonClient
from dflproto.v1 import job_service_pb2, settings_pb2


def extract(session: CliSession, options: argparse.Namespace) -> int:
    """Run an extraction. Raises DflError where it cannot be submitted or followed."""
    settings = given_settings(options, ExtractSettings)
    plate = _plate(session, options)
    with session.connect_or_start() as client:
        settings |= ask_authorization(session.output, ExtractSettings, settings, is_recorded=lambda: False)
        spec = job_service_pb2.JobSpec(
            extract=job_service_pb2.ExtractSpec(
                plate=plate,
                faceset_path=session.absolute(options.faceset),
                settings=settings_pb2.ExtractSettings(**settings),  # type: ignore[arg-type]
            )
        )
        return submit_and_follow(session, client, spec, is_detached=options.detach)


def train(session: CliSession, options: argparse.Namespace) -> int:
    """Run a training. Raises DflError where it cannot be submitted or followed."""
    settings = given_settings(options, TrainSettings)
    source = session.absolute(options.source)
    with session.connect_or_start() as client:
        settings |= ask_authorization(
            session.output, TrainSettings, settings, is_recorded=lambda: _faceset_has_record(client, source)
        )
        spec = job_service_pb2.JobSpec(
            train=job_service_pb2.TrainSpec(
                source_path=source,
                target_path=session.absolute(options.target),
                model_path=session.absolute(options.model),
                settings=settings_pb2.TrainSettings(**settings),  # type: ignore[arg-type]
            )
        )
        return submit_and_follow(session, client, spec, is_detached=options.detach)


def merge(session: CliSession, options: argparse.Namespace) -> int:
    """Run a merge. Raises DflError where it cannot be submitted or followed."""
    settings = given_settings(options, MergeSettings)
    plate = _plate(session, options)
    model = session.absolute(options.model)
    with session.connect_or_start() as client:
        settings |= ask_authorization(
            session.output, MergeSettings, settings, is_recorded=lambda: _model_has_record(client, model)
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
    on_interrupt: OnInterrupt = OnInterrupt.CANCEL,
) -> int:
    """Put a job into the queue and follow it to its end, unless detached.

    Raises:
        DflError: the daemon refuses the job or went away.
    """
    job = client.submit(spec)
    session.output.event("submitted", job=message_values(job))
    if is_detached:
        session.output.result(job.id)
        return OK
    session.output.remark(f"Job {job.id}", style="dim")
    ended = follow_job(client, job, session.output, on_interrupt=on_interrupt)
    return report_end(session.output, ended, job.id)


def _plate(session: CliSession, options: argparse.Namespace) -> job_service_pb2.PlateSpec:
    """Raises InvalidInput for a frame range that cannot be read."""
    frames = str(FrameRange.parse(options.frames)) if options.frames else ""
    return job_service_pb2.PlateSpec(path=session.absolute(options.input), frames=frames)


def _faceset_has_record(client: DaemonClient, path: str) -> bool:
    try:
        record = client.get_faceset(path).authorization
    except DflError:
        return True  # the job will say what is wrong with the faceset; no question before that
    return bool(record.person or record.reference)


def _model_has_record(client: DaemonClient, path: str) -> bool:
    try:
        record = client.get_model(path).authorization
    except DflError:
        return True
    return bool(record.person or record.reference or record.project)
