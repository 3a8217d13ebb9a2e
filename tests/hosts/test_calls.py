"""What goes wrong with a call, as hosts see it."""

from __future__ import annotations

import ssl

import pytest

from dflcore.errors import ERROR_CLASSES, DflError
from dfldaemon.errors import rpc_status_of, status_code
from dfldaemon.jobs import ErrorReport
from dflhost.calls import Caller, error_of_call, error_of_connecting
from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.transport import status
from dflhost.transport.status import CallError


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_every_class_of_error_arrives_as_it_was_raised(error_class: type[DflError]) -> None:
    raised = error_class("Größe 7 – was nun?", reason="SOME_REASON", frame=7, path="/plates/é.exr")
    packed = rpc_status_of(raised).SerializeToString()
    arrived = error_of_call(CallError(status_code(raised).value[0], raised.message, packed), "unix:/d")
    assert (arrived.message, arrived.reason, arrived.details) == (raised.message, "SOME_REASON", raised.details)
    assert arrived.category == ErrorReport.of(raised).category
    assert arrived.code == status_code(raised).value[0]
    assert not arrived.is_unreachable


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (status.UNAVAILABLE, "DAEMON_UNREACHABLE"),
        (status.DEADLINE_EXCEEDED, "DAEMON_TIMEOUT"),
        (status.UNAUTHENTICATED, "TOKEN_REFUSED"),
        (status.UNIMPLEMENTED, "DAEMON_IS_OLDER"),
        (status.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
        (status.UNKNOWN, "UNKNOWN"),
        (77, "77"),
    ],
)
def test_errors_without_details_have_reasons_too(code: int, reason: str) -> None:
    for details in (b"", b"\xff\xff damaged"):
        assert error_of_call(CallError(code, "why", details), "unix:/d").reason == reason


def test_errors_of_connecting() -> None:
    assert error_of_connecting(ConnectionRefusedError(111, "Connection refused"), "a:1").reason == "DAEMON_UNREACHABLE"
    assert error_of_connecting(ssl.SSLError("certificate verify failed"), "a:1").reason == "CERTIFICATE_REFUSED"
    assert error_of_connecting(ValueError("'x' is no address"), "x").reason == "BAD_ADDRESS"


def test_calls_this_client_does_not_know_are_refused_here() -> None:
    caller = Caller(ConnectionSettings(address="127.0.0.1:1"), {})
    for service, method in (("JobService", "Juggle"), ("Nonsense", "GetJob")):
        with pytest.raises(HostError) as failure:
            caller.call(service, method, {}, deadline_s=1.0)
        assert failure.value.reason == "BAD_CALL"
    caller.close()
