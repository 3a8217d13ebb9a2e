"""Calls of the protocol as dicts, and what goes wrong with them as :class:`~dflhost.errors.HostError`."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from . import wire
from .discovery import ConnectionSettings, Endpoint, find_endpoint, older_daemon
from .errors import HostError
from .schema import SERVICES
from .transport import status
from .transport.channel import Call, Channel
from .transport.link import CertificateFileError, OwnCertificateRefused
from .transport.status import CallError
from .version import VERSION

PACKAGE = "dflproto.v1"
_CATEGORIES = {
    status.INVALID_ARGUMENT: "INVALID_INPUT",
    status.NOT_FOUND: "NOT_FOUND",
    status.FAILED_PRECONDITION: "CONFLICT",
    status.UNIMPLEMENTED: "UNSUPPORTED",
    status.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
    status.CANCELLED: "CANCELLED",
    status.DATA_LOSS: "DATA_CORRUPT",
    status.UNAVAILABLE: "NOT_FOUND",
    status.DEADLINE_EXCEEDED: "CONFLICT",
    status.UNAUTHENTICATED: "INVALID_INPUT",
}
_RETRIED = frozenset({status.UNAVAILABLE})


class Answers:
    """The answers of a stream as dicts. Any thread may cancel it, the call being begun already or not."""

    def __init__(self, caller: Caller, response: str) -> None:
        self._caller = caller
        self._response = response
        self._call: Call | None = None
        self._is_cancelled = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        """Raises HostError."""
        if self._call is None:
            raise StopIteration
        with self._caller.translated():
            return wire.decode(self._response, next(self._call))

    def begin(self, call: Call) -> None:
        self._call = call
        if self._is_cancelled:
            call.cancel()

    def cancel(self) -> None:
        """Nobody wants the rest."""
        self._is_cancelled = True
        if self._call is not None:
            self._call.cancel()


class Caller:
    """One daemon, called by name. Any thread may use it.

    Args:
        settings, environ: where it is; asked again whenever a connection is made.
    """

    def __init__(self, settings: ConnectionSettings, environ: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._environ = dict(environ)
        self._endpoint: Endpoint | None = None
        agent = f"dflhost/{VERSION} python/{sys.version_info[0]}.{sys.version_info[1]}"
        self._channel = Channel(self._locate, settings.security, agent)

    @property
    def address(self) -> str:
        """Of the daemon that was connected to last; empty before."""
        return self._endpoint.address if self._endpoint else ""

    def close(self) -> None:
        """End all calls, and the connection's thread."""
        self._channel.close()

    def call(
        self, service: str, method: str, request: Mapping[str, Any], *, deadline_s: float, attempts: int = 1
    ) -> dict[str, Any]:
        """A unary call.

        Args:
            service, method: ``JobService``, ``GetJob``. request: see :mod:`dflhost.wire`.
            attempts: how often to ask when the daemon goes away meanwhile; more than 1 only for what may be done twice.

        Raises:
            HostError: whatever the daemon raised; or it could not be reached (``is_unreachable``).
        """
        path, data, response = self._prepared(service, method, request)
        is_renewed = False
        for attempt in range(1, attempts + 2):
            used = self._endpoint
            try:
                with self.translated():
                    answer = self._channel.unary(path, data, deadline_s=deadline_s, metadata=_METADATA)
                    return wire.decode(response, answer)
            except HostError as error:
                if error.reason == "TOKEN_REFUSED" and not is_renewed and self._has_moved(used):
                    is_renewed = True  # it was restarted behind this connection's back
                    self._channel.disconnect()
                elif error.code not in _RETRIED or error.reason != "DAEMON_UNREACHABLE" or attempt >= attempts:
                    raise
        raise HostError("A call was made with no attempts.", reason="NO_ATTEMPTS")

    def stream(
        self, service: str, method: str, request: Mapping[str, Any], *, deadline_s: float | None = None
    ) -> Answers:
        """A call answered by a stream. Raises as :meth:`call`, here and while it is read."""
        path, data, response = self._prepared(service, method, request)
        answers = Answers(self, response)
        with self.translated():
            answers.begin(self._channel.stream(path, data, deadline_s=deadline_s, metadata=_METADATA))
        return answers

    def renew(self) -> None:
        """Look for the daemon anew at the next call, if it is not where it was."""
        with contextlib.suppress(HostError):
            if self._has_moved(self._endpoint):
                self._channel.disconnect()

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Whatever a call raises becomes a HostError."""
        address = self._endpoint.address if self._endpoint else self._settings.address
        try:
            yield
        except CallError as error:
            raise error_of_call(error, address) from error
        except wire.WireError as error:
            raise HostError(f"An answer of the daemon cannot be read: {error}", reason="BAD_MESSAGE") from error
        except (OSError, ValueError) as error:
            raise error_of_connecting(error, self._endpoint.address if self._endpoint else address) from error

    def _locate(self) -> tuple[str, str]:
        endpoint = self._endpoint = find_endpoint(self._settings, self._environ)
        return endpoint.address, endpoint.token

    def _has_moved(self, used: Endpoint | None) -> bool:
        return find_endpoint(self._settings, self._environ) != used

    def _prepared(self, service: str, method: str, request: Mapping[str, Any]) -> tuple[str, bytes, str]:
        name = f"{PACKAGE}.{service}"
        if method not in SERVICES.get(name, {}):
            raise HostError(f"This client knows no call {service}.{method}.", reason="BAD_CALL")
        asked, answered, _ = SERVICES[name][method]
        try:
            return f"/{name}/{method}", wire.encode(asked, request), answered
        except wire.WireError as error:
            text = f"{error} Remove it, or update this integration."
            raise HostError(text, reason="BAD_REQUEST", category="INVALID_INPUT") from error


_METADATA = {"dfl-client-version": VERSION}


def error_of_call(error: CallError, address: str) -> HostError:
    """What the daemon raised, or why it could not be asked."""
    details = _details(error)
    if details and error.code != status.UNAUTHENTICATED:
        return error_of_message(details[0], error.code)
    category = _CATEGORIES.get(error.code, "INTERNAL")
    if error.code == status.UNAUTHENTICATED:
        text = f"The daemon at {address} refuses the token; it was restarted, or is another user's."
        return HostError(text, reason="TOKEN_REFUSED", category=category, code=error.code)
    if error.is_local and error.code == status.CANCELLED:
        return HostError("The call was ended here.", reason="SESSION_CLOSED", category=category, code=error.code)
    if error.code == status.UNAVAILABLE:
        return _unreachable(address, error.message, error.code)
    if error.code == status.DEADLINE_EXCEEDED:
        text = f"The daemon at {address} did not answer in time."
        return HostError(text, reason="DAEMON_TIMEOUT", category=category, code=error.code)
    if error.code == status.RESOURCE_EXHAUSTED:
        text = f"A message to or from the daemon is too large: {error.message}."
        return HostError(text, reason="MESSAGE_TOO_LARGE", category=category, code=error.code)
    if error.code == status.UNIMPLEMENTED:
        older = older_daemon(error.message)
        return HostError(older.message, reason=older.reason, category=category, code=error.code)
    name = status.NAMES[error.code] if 0 <= error.code < len(status.NAMES) else str(error.code)
    return HostError(f"The call failed: {error.message or name}.", reason=name, category=category, code=error.code)


def error_of_message(detail: Mapping[str, Any], code: int = 0) -> HostError:
    """A decoded ``ErrorDetail``: of a call, or of a job that failed."""
    return HostError(
        detail["message"],
        reason=detail["reason"] or "UNKNOWN",
        category=detail["category"] or "INTERNAL",
        details=detail["details"],
        code=code,
    )


def error_of_connecting(error: Exception, address: str) -> HostError:
    """Nobody could be reached."""
    if isinstance(error, CertificateFileError):
        return HostError(f"{error}.", reason="CERTIFICATE_NOT_USABLE", category="INVALID_INPUT")
    if isinstance(error, OwnCertificateRefused):
        text = f"The daemon at {address} does not accept this workstation's certificate, or asks for one."
        return HostError(text, reason="OWN_CERTIFICATE_REFUSED", category="CONFLICT", details={"address": address})
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "reason", "") or error
        text = f"The daemon at {address} could not be trusted: {why}."
        return HostError(text, reason="CERTIFICATE_REFUSED", category="CONFLICT", details={"address": address})
    if isinstance(error, ValueError):
        return HostError(f"{error}.", reason="BAD_ADDRESS", category="INVALID_INPUT", details={"address": address})
    return _unreachable(address, error.strerror or str(error) if isinstance(error, OSError) else str(error), 14)


def _unreachable(address: str, why: str, code: int) -> HostError:
    return HostError(
        f"The daemon at {address} cannot be reached ({why}); jobs it has are kept.",
        reason="DAEMON_UNREACHABLE",
        category="NOT_FOUND",
        details={"address": address},
        code=code,
    )


def _details(error: CallError) -> list[dict[str, Any]]:
    """``ErrorDetail`` messages in the status of a failed call; none where it is damaged or another's."""
    found = []
    with contextlib.suppress(wire.WireError):
        for packed in wire.decode("google.rpc.Status", error.details)["details"]:
            if packed["type_url"].rpartition("/")[2] == f"{PACKAGE}.ErrorDetail":
                found.append(wire.decode(f"{PACKAGE}.ErrorDetail", packed["value"]))
    return found
