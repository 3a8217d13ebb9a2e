"""Errors of the daemon and of the way to it, as hosts meet them. :mod:`dflhost.messages` has the words for them."""

from __future__ import annotations

from collections.abc import Mapping

UNREACHABLE_REASONS = frozenset(
    {
        "DAEMON_NOT_RUNNING",
        "DAEMON_GONE",
        "DAEMON_UNREACHABLE",
        "DAEMON_DID_NOT_START",
        "DAEMON_IS_NEWER",
        "DAEMON_IS_OLDER",
        "DAEMON_TIMEOUT",
        "SESSION_FILE_DAMAGED",
        "TOKEN_NOT_FOUND",
        "TOKEN_NOT_READABLE",
        "TOKEN_REFUSED",
        "CERTIFICATE_REFUSED",
        "CERTIFICATE_NOT_USABLE",
        "OWN_CERTIFICATE_REFUSED",
    }
)
"""What keeps a host from reaching the daemon; a job is not touched by any of them."""


class HostError(Exception):
    """Something that an artist is told in one sentence; see :func:`dflhost.messages.explain`.

    Attributes:
        message: what was wrong, where, and what to do next, as the daemon or this client says it.
        reason: stable upper-case identifier, for example ``NO_FACE_FOUND``; programs decide by it.
        category: ``INVALID_INPUT``, ``NOT_FOUND``, ``CONFLICT``, ``UNSUPPORTED``, ``RESOURCE_EXHAUSTED``,
            ``CANCELLED``, ``DATA_CORRUPT`` or ``INTERNAL``.
        details: locates the fault: ``path``, ``frame``, ``field``...
        code: number of the gRPC status the call ended with; 0 where no call did.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        category: str = "INTERNAL",
        details: Mapping[str, str] | None = None,
        code: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.category = category
        self.details: Mapping[str, str] = dict(details or {})
        self.code = code

    @property
    def is_unreachable(self) -> bool:
        """The daemon could not be asked; what it was doing goes on."""
        return self.reason in UNREACHABLE_REASONS
