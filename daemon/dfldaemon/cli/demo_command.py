"""``dfl demo``: shoot two plates, swap a face through a daemon of its own, measure the result.

What needs the imaging libraries runs as ``python -m dflcore.demo``; the jobs run in a daemon that is started here,
keeps its state inside the demo's folder and is stopped at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dflcore.config.train import TrainSettings
from dflcore.demo.layout import DEMO_PROJECT, DEMO_USE, EXIT_CHECKS_NOT_MET, SOURCE_PERSON, TARGET_PERSON, DemoLayout
from dflcore.errors import ERROR_CLASSES, Conflict, DflError, Internal, InvalidInput
from dflcore.io.atomic import write_text
from dfldaemon.cli.exit_codes import FAILED, OK
from dfldaemon.cli.following import OnInterrupt
from dfldaemon.cli.rate import duration_text
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.work import submit_and_follow
from dfldaemon.client import DaemonClient
from dfldaemon.private_daemon import private_daemon
from dflproto.v1 import job_service_pb2, settings_pb2

DEMO_MARK = ".dfl-demo"
"""A folder with this file in it was made by a demo and may be emptied by the next."""
MIN_FRAME_COUNT = 2
_PARTS = ("plates", "facesets", "model", "result", "state")


@dataclass(slots=True)
class DemoRun:
    """One run: its folder and the seconds of its steps so far."""

    session: CliSession
    layout: DemoLayout
    seconds: dict[str, float] = field(default_factory=dict)

    def step(self, name: str, title: str, action: Callable[[], int]) -> int:
        """Do one step, tell about it, keep its time; returns its exit code."""
        self.session.output.event("demo", step=name, state="running")
        self.session.output.remark(title, style="bold")
        begun = time.monotonic()
        code = action()
        self.seconds[name] = round(time.monotonic() - begun, 2)
        write_text(self.layout.stages, json.dumps(self.seconds, indent=2) + "\n")
        state = "done" if code == OK else "failed"
        self.session.output.event("demo", step=name, state=state, seconds=self.seconds[name])
        return code


def demo(session: CliSession, options: argparse.Namespace) -> int:
    """Run the whole demo.

    Raises:
        InvalidInput: a flag is out of range.
        Conflict: the folder holds something that is not a demo.
        DflError: a step failed.
    """
    TrainSettings.from_values({"minutes": options.minutes})
    if options.frame_count < MIN_FRAME_COUNT:
        raise InvalidInput(
            f"--frame-count must be {MIN_FRAME_COUNT} or more, not {options.frame_count}.",
            reason="BAD_FRAME_COUNT",
            field="frame_count",
        )
    run = DemoRun(session, DemoLayout(Path(session.absolute(options.output))))
    prepare_folder(run.layout)
    code = run.step("shoot", "Shooting two plates of public-domain portraits", lambda: _shoot(run, options.frame_count))
    if code == OK:
        with private_daemon(run.layout.state, session.environ) as client:
            code = _run_jobs(run, client, options.minutes)
    if code != OK:
        return code
    run.step("measure", "Measuring the result", lambda: _run_part(run, ["measure", "--demo", str(run.layout.folder)]))
    return _tell(run)


def prepare_folder(layout: DemoLayout) -> None:
    """Make the folder, and remove what an earlier demo left in it.

    Raises:
        Conflict: there are files in it and no demo made them.
    """
    mark = layout.folder / DEMO_MARK
    if layout.folder.exists() and any(layout.folder.iterdir()) and not mark.exists():
        raise Conflict(
            f"{layout.folder} holds files that are not of a demo; name another folder with --output.",
            reason="NOT_A_DEMO_FOLDER",
            path=layout.folder,
        )
    layout.folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    for part in _PARTS:
        shutil.rmtree(layout.folder / part, ignore_errors=True)
    for path in (layout.report, layout.stages, layout.contact_sheet, layout.before_after):
        path.unlink(missing_ok=True)


def _run_jobs(run: DemoRun, client: DaemonClient, minutes: float) -> int:
    steps = (
        ("extract_source", "Extracting the source's faces", _extract_spec(run.layout, "source")),
        ("extract_target", "Extracting the target's faces", _extract_spec(run.layout, "target")),
        ("train", f"Training for {duration_text(minutes * 60)}", _train_spec(run.layout, minutes)),
        ("merge", "Merging", _merge_spec(run.layout)),
    )
    for name, title, spec in steps:
        code = run.step(name, title, lambda spec=spec: _do_job(run, client, spec))  # type: ignore[misc]
        if code != OK:
            return code
    return OK


def _do_job(run: DemoRun, client: DaemonClient, spec: job_service_pb2.JobSpec) -> int:
    # The daemon ends with the demo, so there is nothing to detach from.
    return submit_and_follow(run.session, client, spec, on_interrupt=OnInterrupt.CANCEL_ONLY)


def _extract_spec(layout: DemoLayout, side: str) -> job_service_pb2.JobSpec:
    plate, faceset, person = layout.target_plate, layout.target_faceset, TARGET_PERSON
    if side == "source":
        plate, faceset, person = layout.source_plate, layout.source_faceset, SOURCE_PERSON
    return job_service_pb2.JobSpec(
        extract=job_service_pb2.ExtractSpec(
            plate=job_service_pb2.PlateSpec(path=str(plate)),
            faceset_path=str(faceset),
            settings=settings_pb2.ExtractSettings(
                max_faces=1,
                authorization_person=person,
                authorization_project=DEMO_PROJECT,
                authorization_use=DEMO_USE,
            ),
        )
    )


def _train_spec(layout: DemoLayout, minutes: float) -> job_service_pb2.JobSpec:
    return job_service_pb2.JobSpec(
        train=job_service_pb2.TrainSpec(
            source_path=str(layout.source_faceset),
            target_path=str(layout.target_faceset),
            model_path=str(layout.model),
            settings=settings_pb2.TrainSettings(
                preset="quick", minutes=minutes, authorization_project=DEMO_PROJECT, authorization_use=DEMO_USE
            ),
        )
    )


def _merge_spec(layout: DemoLayout) -> job_service_pb2.JobSpec:
    return job_service_pb2.JobSpec(
        merge=job_service_pb2.MergeSpec(
            plate=job_service_pb2.PlateSpec(path=str(layout.target_plate)),
            model_path=str(layout.model),
            faceset_path=str(layout.target_faceset),
            output_path=str(layout.result),
            settings=settings_pb2.MergeSettings(authorization_project=DEMO_PROJECT, authorization_use=DEMO_USE),
        )
    )


def _shoot(run: DemoRun, frame_count: int) -> int:
    arguments = ["shoot", "--output", str(run.layout.plates), "--frame-count", str(frame_count)]
    return _run_part(run, arguments)


def _run_part(run: DemoRun, arguments: list[str]) -> int:
    """Run ``python -m dflcore.demo`` with these arguments.

    Raises:
        DflError: as the part reports it.
    """
    command = [sys.executable, "-P", "-m", "dflcore.demo", *arguments]
    environ = dict(run.session.environ)
    answer = subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if answer.returncode in (OK, EXIT_CHECKS_NOT_MET):  # the report tells which
        return OK
    raise _part_error(answer.stderr)


def _part_error(stderr: str) -> DflError:
    """What a part said on its last line, or its last words when it crashed."""
    lines = stderr.strip().splitlines() or ["no message"]
    try:
        report: dict[str, Any] = json.loads(lines[-1])
        classes = {one.default_reason: one for one in ERROR_CLASSES}
        return classes[report["category"]](report["message"], reason=report["reason"])
    except (ValueError, KeyError, TypeError):
        return Internal(f"A part of the demo crashed: {lines[-1]}", reason="DEMO_PART_CRASHED")


def _tell(run: DemoRun) -> int:
    """Say what came out and where to look; the exit code follows the checks."""
    report = json.loads(run.layout.report.read_text(encoding="utf-8"))
    report["stages_s"], report["seconds"] = run.seconds, round(sum(run.seconds.values()), 1)
    write_text(run.layout.report, json.dumps(report, indent=2) + "\n")
    output = run.session.output
    output.event("demo", step="report", state="done", report=report)
    output.result(_summary(report))
    output.result(f"Look at   {run.layout.contact_sheet}")
    output.result(f"          {run.layout.before_after}")
    output.result(f"          {run.layout.result}")
    output.result(f"Figures   {run.layout.report}")
    failed = [check for check in report["checks"] if not check["passed"]]
    for check in failed:
        message = f"Check not met: {check['name']}: {check['figure']}, limit {check['limit']}."
        output.error_report("CHECK", "CHECK_NOT_MET", message, {"check": check["name"]}, FAILED)
    return FAILED if failed else OK


def _summary(report: dict[str, Any]) -> str:
    return (
        f"Distance to the source {report['identity_to_source']:.3f}, to the target {report['identity_to_target']:.3f} "
        f"(the two people: {report['source_to_target']:.3f}); sharpness {report['sharpness_ratio']:.2f} of the "
        f"portrait's; {report['frames']} frames, peak light {report['max_linear_value']:.2f}; "
        f"{duration_text(report['seconds'])} in all."
    )
