"""Bytes to and from the daemon: a Unix socket, loopback TCP, or TLS to another machine.

One thread receives while others send. TLS works on buffers in memory, under a lock, because an ``SSLSocket`` must not
be read and written by two threads at once.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass

RECEIVE_BYTES = 1 << 18
FIRST_BYTES_S = 2.0
"""How long a server may take to begin to speak before it is spoken to."""
SEND_PATIENCE_S = 20.0
"""A peer that takes no byte for so long is lost."""
_BUFFER_BYTES = 1 << 21


class CertificateFileError(OSError):
    """A TLS file of this workstation cannot be used."""


class OwnCertificateRefused(ssl.SSLError):
    """The server does not accept this workstation's certificate, or that it shows none."""


@contextlib.contextmanager
def _used(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = getattr(error, "reason", "") or error.strerror or str(error)
        raise CertificateFileError(f"{path} cannot be used: {why}") from error


@dataclass(frozen=True)
class Security:
    """TLS, for a daemon on another machine; see :class:`~dflhost.discovery.ConnectionSettings`."""

    ca_path: str = ""
    certificate_path: str = ""
    key_path: str = ""
    server_name: str = ""

    def context(self) -> ssl.SSLContext:
        """Trusts ``ca_path`` only; speaks HTTP/2 only. Raises CertificateFileError."""
        with _used(self.ca_path):
            context = ssl.create_default_context(cafile=self.ca_path)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        if self.certificate_path:
            with _used(self.certificate_path if os.path.isfile(self.key_path or os.devnull) else self.key_path):
                context.load_cert_chain(self.certificate_path, self.key_path or None, password=str)  # never asks
        return context


class Link:
    """An open connection without encryption. Closing it from any thread ends a receive that waits."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._selector = selectors.DefaultSelector()
        self._selector.register(opened, selectors.EVENT_READ)
        self._socket.settimeout(SEND_PATIENCE_S)
        self._is_closed = False

    def receive(self, timeout_s: float) -> bytes | None:
        """What came; None when nothing did in time, empty bytes when the peer has closed. Raises OSError."""
        if self._is_closed:
            return b""
        if not self._selector.select(timeout_s):
            return None
        return self._socket.recv(RECEIVE_BYTES)

    def send(self, data: bytes) -> None:
        """Raises OSError. One thread at a time."""
        self._socket.sendall(data)

    def shut_down(self) -> None:
        """No more bytes in either direction; :meth:`receive` returns."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back. By the receiving thread, or when there is none."""
        self._selector.close()
        self._socket.close()


class SecureLink(Link):
    """The same, encrypted."""

    def __init__(self, opened: socket.socket, context: ssl.SSLContext, server_name: str, timeout_s: float) -> None:
        super().__init__(opened)
        self._socket.settimeout(timeout_s)
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._early = b""
        self._shake_hands()
        self._socket.settimeout(SEND_PATIENCE_S)

    def _shake_hands(self) -> None:
        while True:
            try:
                with _alerts():
                    self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                data = self._socket.recv(RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError("the server closed the connection during the TLS handshake") from None
                self._incoming.write(data)
        self._flush()
        if self._tls.selected_alpn_protocol() != "h2":
            raise ssl.SSLError("the server does not speak HTTP/2 over TLS")
        self._early = self._decrypt(b"") or self._first_bytes()

    def _first_bytes(self) -> bytes:
        """What an HTTP/2 server says first; since TLS 1.3 it looks at our certificate after the handshake only."""
        self._socket.settimeout(FIRST_BYTES_S)
        plain = b""
        with contextlib.suppress(socket.timeout):  # TimeoutError from 3.10 on
            while not plain:
                try:
                    data = self._socket.recv(RECEIVE_BYTES)
                except ConnectionError:
                    data = b""
                if not data:
                    raise OwnCertificateRefused("the server closed the connection once it had seen our certificate")
                with _alerts():
                    plain = self._decrypt(data)
                self._flush()
        return plain

    def receive(self, timeout_s: float) -> bytes | None:
        if self._early:
            early, self._early = self._early, b""
            return early
        data = super().receive(timeout_s)
        if not data:
            return data
        plain = self._decrypt(data)
        self._flush()  # what the protocol itself has to answer
        return plain or None

    def send(self, data: bytes) -> None:
        with self._lock:
            self._tls.write(data)
        self._flush()

    def _decrypt(self, data: bytes) -> bytes:
        parts = []
        with self._lock:
            if data:
                self._incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while True:
                    part = self._tls.read(RECEIVE_BYTES)
                    if not part:
                        break
                    parts.append(part)
        return b"".join(parts)

    def _flush(self) -> None:
        with self._send_lock:
            with self._lock:
                data = self._outgoing.read()
            if data:
                self._socket.sendall(data)


@contextlib.contextmanager
def _alerts() -> Iterator[None]:
    """What the server tells of the handshake is about this side."""
    try:
        yield
    except ssl.SSLWantReadError:
        raise
    except ssl.SSLError as error:
        if "_ALERT_" in (error.reason or ""):
            raise OwnCertificateRefused(error.reason) from error
        raise


def open_link(address: str, security: Security, timeout_s: float) -> Link:
    """Connect.

    Args:
        address: ``unix:/path`` or ``host:port``.

    Raises:
        OSError: there is nobody, or (ssl.SSLError) TLS failed.
        ValueError: the address cannot be read; or it is another machine's and there is no TLS to it: the token is
            never sent in the clear.
    """
    path, host, port = parse_address(address)
    if path:
        opened = _unix_socket(path, timeout_s)
        return Link(opened)
    if not security.ca_path and not is_loopback(host):
        raise ValueError(f"{host} is another machine, and no certificates to know it by are set")
    opened = socket.create_connection((host, port), timeout_s)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if security.ca_path:
            return SecureLink(opened, security.context(), security.server_name or host, timeout_s)
        return Link(opened)
    except BaseException:
        opened.close()
        raise


def parse_address(address: str) -> tuple[str, str, int]:
    """(path, "", 0) of a Unix socket, ("", host, port) of a TCP address. Raises ValueError."""
    if address.startswith("unix:"):
        path = address[len("unix:") :]
        return (path[2:] if path.startswith("///") else path), "", 0
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or not host:
        raise ValueError(f"{address!r} is no address; write unix:/path or host:port")
    return "", host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """The name means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unix_socket(path: str, timeout_s: float) -> socket.socket:
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise ValueError("this system has no Unix sockets; start the daemon with listen = tcp")
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(timeout_s)
        opened.connect(os.fspath(path))
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    except BaseException:
        opened.close()
        raise
    return opened
