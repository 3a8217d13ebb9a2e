"""Everything ``dfl`` says goes through here: people read lines on a terminal, scripts read one JSON object per line.

With ``--json`` every line on stdout is an object with a ``type``:

==================  =====================================================================================
``submitted``       ``job``: the job as it was put into the queue
``job``             ``job``: one job (``job get``, ``job list``, and after cancel, pause, resume, retry)
``state``           ``job`` id, ``sequence``, ``time``, ``state``, and ``error`` or ``result`` at the end
``frame_progress``  ``job``, ``sequence``, ``time``, ``done_count``, ``total_count``, ``frame``, ``path``
``train_progress``  ``job``, ``sequence``, ``time``, ``iteration``, ``losses``, ``elapsed_s``, ``step_ms``...
``preview``         ``job``, ``sequence``, ``time``, ``path``, ``title``, ``iteration``
``saved``           ``job``, ``sequence``, ``time``, ``path``, ``iteration``, ``generation``
``notice``          ``reason``, ``message``, ``severity``; ``job``, ``sequence``, ``time`` when a job says it
``interrupt``       ``job``, ``action``: ``cancel`` or ``detach``
``daemon``          ``running`` and what the daemon says about itself
``merged_frame``    ``output`` and ``header`` of a single frame
``model``           what a model says about itself, its generations and its backups
``faceset``         what a faceset says about itself
``face``            one face of ``faceset list``, with ``sort_value`` where it was sorted
``track``           one person followed through a shot
``curation``        ``fields``, ``sorts`` and ``operations`` of facesets
``correction``      one thing said by hand about a frame
``corrected``       ``frames`` the next extraction looks at again
``weight``          one weight file and whether it is here
``info``            versions, devices, folders
``host``            ``host``, ``action``, ``state``, ``about``, ``message``, ``remedy`` of ``hosts``
``farm_job``        ``backend``, ``name``, ``tasks``, ``frames``, ``files``, ``command``, ``is_sent``
``demo``            ``step`` and ``state`` of the demo; at the end ``report``
``error``           ``category``, ``reason``, ``message``, ``details``, ``exit_code``; always the last line
==================  =====================================================================================

Fields may be added; names and meanings stay.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dflcore.errors import DflError
from dfldaemon.cli.exit_codes import exit_code
from dfldaemon.jobs import error_category

MAX_TABLE_WIDTH = 4000


class Output:
    """Where results, remarks and errors go.

    Args:
        is_json: one object per line on stdout instead of text.
        is_quiet: no progress and no remarks; results and errors only.
    """

    def __init__(
        self,
        *,
        is_json: bool = False,
        is_quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet
        self._stdout = stdout or sys.stdout
        self.console = Console(file=self._stdout, highlight=False, markup=False, soft_wrap=True)
        self.error_console = Console(file=stderr or sys.stderr, highlight=False, markup=False, soft_wrap=True)

    @property
    def can_ask(self) -> bool:
        """A person sits at the terminal and no script reads along."""
        has_person = self.error_console.is_terminal and sys.stdin is not None and sys.stdin.isatty()
        return has_person and not self.is_json and not self.is_quiet

    def event(self, type_: str, **fields: object) -> None:
        """One line of JSON; nothing in the other modes."""
        if self.is_json:
            self._stdout.write(json.dumps({"type": type_, **fields}, ensure_ascii=False) + "\n")
            self._stdout.flush()

    def result(self, text: str | Text) -> None:
        """What the command was asked for, on stdout; also when quiet."""
        if not self.is_json:
            self.console.print(text)

    def table(self, table: Table) -> None:
        """Rows a person or a pipe reads: as wide as they are, names are never cut short."""
        if not self.is_json:
            wide = Console(file=self._stdout, highlight=False, markup=False, width=MAX_TABLE_WIDTH)
            wide.print(table, soft_wrap=True)

    def remark(self, text: str, *, style: str = "") -> None:
        """Something good to know, on stderr; not when quiet."""
        if not self.is_json and not self.is_quiet:
            self.error_console.print(Text(text, style=style))

    def warning(self, message: str, *, reason: str) -> None:
        """A notice of our own."""
        self.event("notice", reason=reason, message=message, severity="warning")
        self.remark(message, style="yellow")

    def error(self, error: DflError) -> int:
        """Say one sentence, and give the exit code."""
        code = exit_code(error)
        self.error_report(error_category(type(error)), error.reason, error.message, error.details, code)
        return code

    def error_report(self, category: str, reason: str, message: str, details: Mapping[str, str], code: int) -> None:
        """As :meth:`error`, for an error that came as plain values."""
        self.event("error", category=category, reason=reason, message=message, details=dict(details), exit_code=code)
        if not self.is_json:
            line = Text("Error: ", style="bold red")
            line.append(message, style="not bold default")
            self.error_console.print(line)
