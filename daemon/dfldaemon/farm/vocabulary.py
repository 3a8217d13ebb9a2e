"""What a task says, in words a farm's scheduler picks out of its output.

OpenJobDescription reads lines that begin with ``openjd_progress:`` (0 to 100), ``openjd_status:`` and
``openjd_fail:``; all else is log. OpenCue, Deadline 10 and Flamenco show the same lines as log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from dfldaemon.cli.output import Output

MAX_LINE = 900


class FarmOutput(Output):
    """Takes the events of a followed job and tells the farm."""

    def __init__(self, stdout: TextIO | None = None) -> None:
        super().__init__(is_json=True, stdout=stdout)  # events come as plain values, and nobody is asked

    def event(self, type_: str, **fields: object) -> None:
        """Tell the farm of an event, as :mod:`dfldaemon.cli.output` lists them."""
        teller = getattr(self, f"_tell_{type_}", None)
        if teller is not None:
            teller(fields)

    def say(self, text: str) -> None:
        """A line of the log."""
        self._line(text)

    def status(self, text: str) -> None:
        """What the task is at."""
        self._line(f"openjd_status: {_one_line(text)}")

    def environment(self, variables: Mapping[str, str]) -> None:
        """Variables for every later task of the session."""
        for name, value in variables.items():
            self._line(f"openjd_env: {name}={value}")

    def error_report(self, category: str, reason: str, message: str, details: Mapping[str, str], code: int) -> None:
        """Why the task failed."""
        self._line(f"openjd_fail: {_one_line(message)} ({reason})")

    def _tell_submitted(self, fields: Mapping[str, Any]) -> None:
        self.say(f"Job {fields['job']['id']}")

    def _tell_frame_progress(self, fields: Mapping[str, Any]) -> None:
        done, total = int(fields["done_count"]), int(fields["total_count"])
        if total:
            self._progress(done / total)
        stage = f"{fields['stage']}: " if fields.get("stage") else ""
        frame = f"frame {fields['frame']}, " if "frame" in fields else ""
        self.status(f"{stage}{frame}{done} of {total}")

    def _tell_train_progress(self, fields: Mapping[str, Any]) -> None:
        iteration = int(fields["iteration"])
        parts = [
            float(fields[done]) / float(fields[end])
            for done, end in (("iteration", "target_iterations"), ("elapsed_s", "target_s"))
            if fields.get(end)
        ]
        if parts:
            self._progress(max(parts))
        losses = fields.get("losses") or {}
        shown = ", ".join(f"{name} {float(value):.4f}" for name, value in losses.items())
        self.status(f"iteration {iteration}" + (f": {shown}" if shown else ""))

    def _tell_notice(self, fields: Mapping[str, Any]) -> None:
        self.say(f"{fields['severity']}: {fields['message']} ({fields['reason']})")

    def _tell_interrupt(self, fields: Mapping[str, Any]) -> None:
        self.status("cancelling, finished frames are kept")

    def _tell_state(self, fields: Mapping[str, Any]) -> None:
        self.say(f"Job is {fields['state']}")

    def _progress(self, part: float) -> None:
        self._line(f"openjd_progress: {100.0 * min(max(part, 0.0), 1.0):.1f}")

    def _line(self, text: str) -> None:
        self._stdout.write(_one_line(text) + "\n")
        self._stdout.flush()


def _one_line(text: str) -> str:
    """A scheduler reads line by line, and cuts long ones where it likes."""
    return " ".join(text.split())[:MAX_LINE]
