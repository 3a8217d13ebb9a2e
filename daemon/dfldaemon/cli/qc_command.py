"""``dfl qc``: measure a merged shot, and say where the report lies."""

from __future__ import annotations

import argparse

from dflcore.config.qc import QcSettings
from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange
from dfldaemon.cli.exit_codes import FAILED
from dfldaemon.cli.flags import given_settings
from dfldaemon.cli.following import OnInterrupt, follow_job, report_end
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.cli.work import submit_and_follow
from dflproto.v1 import common_pb2, job_service_pb2, settings_pb2


def review(session: CliSession, options: argparse.Namespace) -> int:
    """Submit a review and follow it; with ``--fail-on-flags`` flagged frames are a failure. Raises DflError."""
    if options.fail_on_flags and options.detach:
        raise InvalidInput(
            "--fail-on-flags waits for the report, --detach does not; choose one.", reason="BAD_USAGE", field="detach"
        )
    spec = job_service_pb2.JobSpec(qc=_spec(session, options))
    with session.connect_or_start() as client:
        if not options.fail_on_flags:
            return submit_and_follow(session, client, spec, is_detached=options.detach)
        job = client.submit(spec)
        session.output.event("submitted", job=message_values(job))
        session.output.remark(f"Job {job.id}", style="dim")
        ended = follow_job(client, job, session.output, on_interrupt=OnInterrupt.CANCEL)
        code = report_end(session.output, ended, job.id)
    if ended is None or ended.state != common_pb2.JOB_STATE_SUCCEEDED:
        return code
    flagged = int(ended.result.get("flagged_frames", "0"))
    if flagged:
        words = "1 frame is" if flagged == 1 else f"{flagged} frames are"
        session.output.remark(f"{words} flagged; see {ended.result.get('page', '')}.", style="yellow")
        return FAILED
    return code


def _spec(session: CliSession, options: argparse.Namespace) -> job_service_pb2.QcSpec:
    settings = given_settings(options, QcSettings)
    config = session.color_config(str(settings.get("ocio_config", "")))
    if config:
        settings["ocio_config"] = config
    frames = str(FrameRange.parse(options.frames)) if options.frames else ""
    return job_service_pb2.QcSpec(
        plate=job_service_pb2.PlateSpec(path=session.absolute(options.plate), frames=frames),
        result_path=session.absolute(options.result),
        faceset_path=session.absolute(options.faceset),
        source_path=session.absolute(options.source) if options.source else "",
        output_path=session.absolute(options.output),
        settings=settings_pb2.QcSettings(**settings),  # type: ignore[arg-type]
    )
