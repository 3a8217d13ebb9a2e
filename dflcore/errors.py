"""The exception tree of the product. It is part of the API: the daemon maps each class to one status code.

DflError
├── InvalidInput        the request or a file the user named cannot be used as it is
├── NotFound            something named does not exist
├── Conflict            the thing exists but is in the wrong state (locked, busy, already there)
├── Unsupported         understood, but this build or machine cannot do it
├── ResourceExhausted   memory, disk or a limit ran out
├── Cancelled           somebody asked for it to stop
├── DataCorrupt         a file is damaged (truncated, checksum differs)
└── Internal            a defect of ours
"""

from __future__ import annotations

from collections.abc import Mapping


class DflError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what was wrong, where, and what to do next; one or two sentences, shown to the user as is.
        reason: stable upper-case identifier for programs (``EMPTY_FRAME_RANGE``); defaults to the class's own.
        details: plain strings that locate the fault: ``path``, ``frame``, ``field``, ``shot``...
    """

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.details: Mapping[str, str] = {key: str(value) for key, value in details.items()}


class InvalidInput(DflError):
    """The request, a setting, or a file the user named cannot be used as it is."""

    default_reason = "INVALID_INPUT"


class NotFound(DflError):
    """Something the user named does not exist."""

    default_reason = "NOT_FOUND"


class Conflict(DflError):
    """The thing exists but is in the wrong state: locked, running, or already there."""

    default_reason = "CONFLICT"


class Unsupported(DflError):
    """Understood, but this build, machine or file format cannot do it."""

    default_reason = "UNSUPPORTED"


class ResourceExhausted(DflError):
    """Memory, disk space or a configured limit ran out."""

    default_reason = "RESOURCE_EXHAUSTED"


class Cancelled(DflError):
    """Somebody asked for the work to stop."""

    default_reason = "CANCELLED"


class DataCorrupt(DflError):
    """A file is damaged: truncated, undecodable, or its checksum differs."""

    default_reason = "DATA_CORRUPT"


class Internal(DflError):
    """A defect of ours; the message asks for a report."""

    default_reason = "INTERNAL"


ERROR_CLASSES: tuple[type[DflError], ...] = (
    InvalidInput,
    NotFound,
    Conflict,
    Unsupported,
    ResourceExhausted,
    Cancelled,
    DataCorrupt,
    Internal,
)
