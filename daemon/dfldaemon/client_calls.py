"""How the client calls the daemon: the channel, what goes with a call, and what its errors become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from dflcore.errors import Conflict, DflError, InvalidInput, NotFound, ResourceExhausted
from dflcore.version import __version__
from dfldaemon.errors import error_from_call

MAX_MESSAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files for a daemon on another machine: what it is known by, and this client's own where it asks for them."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


def open_channel(address: str, token: str, tls: ClientTls | None = None) -> grpc.Channel:
    """A channel that never sends the token in the clear to another machine: local credentials need a local peer.

    Raises:
        InvalidInput: a file of TLS cannot be read.
    """
    credentials = grpc.composite_channel_credentials(
        _channel_credentials(address, tls), grpc.access_token_call_credentials(token)
    )
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_http_proxy", 0),
    ]
    return grpc.secure_channel(address, credentials, options=options)


def _channel_credentials(address: str, tls: ClientTls | None) -> grpc.ChannelCredentials:
    if address.startswith("unix:"):
        return grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    if tls is None or not tls.ca:
        return grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)
    try:
        ca, key, certificate = (
            Path(path).read_bytes() if path else None for path in (tls.ca, tls.key, tls.certificate)
        )
    except OSError as error:
        raise InvalidInput(
            f"The TLS file {error.filename} cannot be read: {error.strerror}.", reason="TLS_FILE_NOT_READABLE"
        ) from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


def call_metadata() -> tuple[tuple[str, str], ...]:
    """What goes with every call."""
    return (("dfl-client-version", __version__),)


def status_code(error: grpc.RpcError) -> grpc.StatusCode:
    """How a call ended."""
    return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN


def translate(error: grpc.RpcError, address: str) -> DflError:
    """What the daemon raised, or why it could not be asked."""
    translated = error_from_call(cast(grpc.Call, error))  # what the sync stubs raise is both
    code = status_code(error)
    if code == grpc.StatusCode.UNAVAILABLE and translated.reason == code.name:
        return unreachable(address)
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return InvalidInput(
            f"The daemon at {address} refuses the token; it was restarted, or is another user's.",
            reason="TOKEN_REFUSED",
            address=address,
        )
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and translated.reason == code.name:
        return ResourceExhausted(
            f"What was to be sent to the daemon, or its answer, is too large for one call: at most "
            f"{MAX_MESSAGE_BYTES >> 20} MiB. Ask for less, or split it.",
            reason="MESSAGE_TOO_LARGE",
        )
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Conflict(
            f"The daemon at {address} did not answer in time; see its log (`dfl daemon status`).",
            reason="DAEMON_TIMEOUT",
            address=address,
        )
    return translated


def unreachable(address: str) -> NotFound:
    """For a daemon that does not answer. Its reason is one of :data:`dfldaemon.discovery.UNREACHABLE_REASONS`."""
    return NotFound(
        f"The daemon at {address} cannot be reached; jobs it has are kept. Start it with `dfl daemon start`.",
        reason="DAEMON_UNREACHABLE",
        address=address,
    )
