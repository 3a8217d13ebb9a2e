"""Where the daemon may be reached: a socket file, loopback, or one named address of this machine with TLS and token.

There is no way to every address of the machine at once: a wildcard is refused however it is written. Beyond loopback
there is no way without TLS on both sides either: the token would be read on the wire, and whoever got hold of one could
call from anywhere.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dflcore.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    import grpc
    import grpc.aio

UNIX, TCP = "unix", "tcp"
LOCAL_ADDRESSES = frozenset({"127.0.0.1", "::1"})
"""Where plain text is possible: the addresses whose peers gRPC's local credentials take for local."""
MAX_PEM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """One address of this machine: as the user wrote it, and what it stands for. Port 0 takes a free one."""

    host: str
    port: int
    numeric: str

    @property
    def is_local(self) -> bool:
        """Only this machine reaches it, and gRPC knows that it does."""
        return self.numeric in LOCAL_ADDRESSES

    @property
    def target(self) -> str:
        """As gRPC writes it."""
        return _joined(self.numeric, self.port)

    def announced(self, port: int) -> str:
        """What clients connect to, with the port that was taken."""
        return _joined(self.host, port)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the server; ``client_ca`` has whoever signs the clients' certificates.

    On loopback all may be empty, and clients need no certificate where ``client_ca`` is.
    """

    certificate: str = ""
    key: str = ""
    client_ca: str = ""

    @property
    def is_given(self) -> bool:
        return bool(self.certificate or self.key or self.client_ca)


def named_address(listen: str, tls: TlsFiles) -> NamedAddress | None:
    """What the setting ``listen`` names; None for ``unix`` and ``tcp``.

    Raises:
        InvalidInput: it is no ``host:port`` or no address of any machine; it means every address
            (``WILDCARD_ADDRESS``); it is beyond loopback without TLS (``TLS_MISSING``) or without certificates of
            clients (``CLIENT_CA_MISSING``); or TLS files are incomplete or not used.
    """
    if listen in (UNIX, TCP):
        if tls.is_given:
            raise InvalidInput(
                f"listen = {listen} uses no certificate; set listen to host:port, or leave the tls settings empty.",
                reason="TLS_UNUSED",
                field="listen",
            )
        return None
    if tls.is_given and not (tls.certificate and tls.key):
        raise InvalidInput(
            "TLS needs both tls_certificate and tls_key.", reason="TLS_INCOMPLETE", field="tls_certificate"
        )
    host, port = _split(listen)
    named = NamedAddress(host, port, _resolve(listen, host))
    if not named.is_local and not tls.is_given:
        raise InvalidInput(
            f"listen = {listen}: other machines reach this address, and without TLS anybody between could read the "
            "token; set tls_certificate, tls_key and tls_client_ca (docs/remote.md has the lines that make them).",
            reason="TLS_MISSING",
            field="listen",
        )
    if not named.is_local and not tls.client_ca:
        raise InvalidInput(
            f"listen = {listen}: other machines reach this address, so each workstation needs a certificate of its "
            "own; set tls_client_ca to the certificate (PEM) that signs them (docs/remote.md has the lines that make "
            "them).",
            reason="CLIENT_CA_MISSING",
            field="tls_client_ca",
        )
    return named


def server_credentials(named: NamedAddress, tls: TlsFiles) -> grpc.ServerCredentials:
    """TLS where files are given; else a check that the peer is on this machine.

    Raises:
        NotFound, InvalidInput: a file is not there, cannot be read, is no PEM, or others may read the key.
    """
    import grpc  # settings are read by commands that call nobody

    if not tls.is_given:
        return grpc.local_server_credentials(grpc.LocalConnectionType.LOCAL_TCP)
    pair = (_pem(tls.key, "tls_key", is_secret=True), _pem(tls.certificate, "tls_certificate"))
    authority = _pem(tls.client_ca, "tls_client_ca") if tls.client_ca else None
    return grpc.ssl_server_credentials([pair], authority, authority is not None)


def bind(server: grpc.aio.Server, named: NamedAddress, tls: TlsFiles) -> str:
    """Let a server listen there; answers with the address that clients connect to.

    Raises:
        Conflict: the address is not this machine's, is taken, or the certificate does not fit its key.
        NotFound, InvalidInput: as :func:`server_credentials`.
    """
    credentials = server_credentials(named, tls)
    try:
        port = server.add_secure_port(named.target, credentials)
    except RuntimeError as error:
        port, why = 0, str(error)
    else:
        why = "it is taken"
    if not port:
        raise Conflict(
            f"The daemon cannot listen at {named.announced(named.port)}: it is not an address of this machine, it is "
            f"taken, or the certificate does not fit its key ({why}).",
            reason="CANNOT_LISTEN",
            field="listen",
        )
    return named.announced(port)


def _split(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in bare and bare == host):
        raise InvalidInput(
            f"listen = {listen!r} is not known; allowed are unix, tcp, or host:port with one address of this machine.",
            reason="BAD_ADDRESS",
            field="listen",
        )
    if not bare or bare == "*":
        raise _wildcard(listen)
    return bare, int(port)


def _resolve(listen: str, host: str) -> str:
    """The one address a name stands for: resolved here, so that what was looked at is what is listened to."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InvalidInput(
            f"listen = {listen}: there is no address of the name {host} ({error}).",
            reason="BAD_ADDRESS",
            field="listen",
        ) from error
    addresses = [str(entry[4][0]) for entry in found]
    if any(_means_all(_ip(address)) for address in addresses):
        raise _wildcard(listen)
    return addresses[0]


def _means_all(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_unspecified or address.is_multicast or (mapped is not None and mapped.is_unspecified)


def _wildcard(listen: str) -> InvalidInput:
    return InvalidInput(
        f"listen = {listen}: this means every address of the machine, which the daemon never listens at; name the one "
        "address that your workstations use.",
        reason="WILDCARD_ADDRESS",
        field="listen",
    )


def _ip(numeric: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(numeric.partition("%")[0])


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _pem(path: str, field: str, *, is_secret: bool = False) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_PEM_BYTES)
    except FileNotFoundError as error:
        raise NotFound(f"{field}: there is no file {path}.", reason="TLS_FILE_NOT_FOUND", field=field) from error
    except OSError as error:
        raise InvalidInput(
            f"{field}: {path} cannot be read: {error.strerror}.", reason="TLS_FILE_NOT_READABLE", field=field
        ) from error
    if is_secret and mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise InvalidInput(
            f"{field}: others may open the key {path}; give it mode 0600.", reason="KEY_NOT_PRIVATE", field=field
        )
    if b"-----BEGIN " not in data:
        raise InvalidInput(f"{field}: {path} is no PEM file.", reason="NOT_PEM", field=field)
    return data
