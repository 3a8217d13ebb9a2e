"""What the exit code of ``dfl`` says; one table for the code, ``dfl --help`` and scripts."""

from __future__ import annotations

from collections.abc import Mapping

from dflcore.errors import (
    Cancelled,
    Conflict,
    DataCorrupt,
    DflError,
    Internal,
    InvalidInput,
    NotFound,
    ResourceExhausted,
    Unsupported,
)
from dfldaemon.discovery import UNREACHABLE_REASONS
from dfldaemon.jobs import error_category

OK = 0
FAILED = 1
UNREACHABLE = 8
INTERRUPTED = 130
CATEGORY_CODES: Mapping[str, int] = {
    InvalidInput.default_reason: 2,
    NotFound.default_reason: 3,
    Conflict.default_reason: 4,
    ResourceExhausted.default_reason: 5,
    DataCorrupt.default_reason: 6,
    Unsupported.default_reason: 7,
    Internal.default_reason: 9,
    Cancelled.default_reason: INTERRUPTED,
}
"""Category of an error (the default reason of its class) → exit code. A failed job exits with its error's code."""

HELP = """\
exit codes:
  0    done
  1    failed, a check of the demo was not met, or `dfl qc --fail-on-flags` found something
  2    wrong usage or input (a flag, a value, a file that cannot be used)
  3    something named does not exist
  4    wrong state: locked, running, already there
  5    memory, disk or a limit ran out
  6    a file is damaged
  7    this machine or build cannot do it
  8    the daemon cannot be reached or refuses the token
  9    a defect of ours; please report it
  130  cancelled, or left while the job goes on
"""


def exit_code(error: DflError) -> int:
    """The code for an error."""
    if error.reason in UNREACHABLE_REASONS:
        return UNREACHABLE
    return category_code(error_category(type(error)))


def category_code(category: str) -> int:
    """The code for a category as the wire writes it; an unknown one is a plain failure."""
    return CATEGORY_CODES.get(category, FAILED)
