"""One named address besides the socket: with TLS where others reach it, always with the token, never a wildcard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from studio_certificates import daemon_settings_of, make_certificates

from dflcore.errors import Conflict, DflError, InvalidInput, NotFound
from dfldaemon.auth import kept_token
from dfldaemon.discovery import find_session, read_token
from dfldaemon.listening import TlsFiles, bind, named_address, server_credentials
from dfldaemon.settings import daemon_settings
from dflproto.v1 import daemon_service_pb2, daemon_service_pb2_grpc

TLS = TlsFiles("server.pem", "server.key", "ca.pem")


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:50051", "[::]:50051", ":50051", "*:50051", "0:50051", "[::ffff:0.0.0.0]:1", "0x0:1", "[0::0]:1", "[]:1"],
)
@pytest.mark.parametrize("tls", [TlsFiles(), TLS], ids=["plain", "tls"])
def test_every_address_at_once_is_refused_however_it_is_written(listen: str, tls: TlsFiles) -> None:
    with pytest.raises(InvalidInput, match="every address of the machine") as refused:
        named_address(listen, tls)
    assert refused.value.reason == "WILDCARD_ADDRESS"


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "farm", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:5"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(InvalidInput, match=r"unix, tcp, or host:port"):
        named_address(listen, TLS)


def test_there_is_no_plain_text_beyond_loopback() -> None:
    for listen in ("192.0.2.7:50051", "127.0.0.2:0"):
        with pytest.raises(InvalidInput, match=r"read the token; set tls_certificate, tls_key and tls_client_ca"):
            daemon_settings({"listen": listen}, {"HOME": "/h"})
    given = {"listen": "192.0.2.7:50051", "tls_certificate": "c", "tls_key": "k"}
    with pytest.raises(InvalidInput, match=r"each workstation needs a certificate .* set tls_client_ca") as refused:
        daemon_settings(given, {"HOME": "/h"})
    assert refused.value.reason == "CLIENT_CA_MISSING"
    given["tls_client_ca"] = "a"
    assert daemon_settings(given, {"HOME": "/h"}).listen == "192.0.2.7:50051"


def test_tls_is_whole_or_not_at_all() -> None:
    for tls in (TlsFiles("c"), TlsFiles("", "k"), TlsFiles("", "", "ca")):
        with pytest.raises(InvalidInput, match="both tls_certificate and tls_key"):
            named_address("127.0.0.2:0", tls)
    with pytest.raises(InvalidInput, match="uses no certificate"):
        named_address("unix", TLS)
    assert named_address("unix", TlsFiles()) is None


def test_an_address_is_announced_as_it_was_named() -> None:
    named = named_address("[::1]:7", TlsFiles())
    assert named is not None
    assert (named.is_local, named.target, named.announced(9)) == (True, "[::1]:7", "[::1]:9")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A path in the studio's folder; ``stranger/`` has those of another studio."""
    folder = make_certificates(tmp_path_factory.mktemp("tls"), "DNS:farm.example")  # not a letter changed
    make_certificates(folder / "stranger")
    return lambda name: str(folder / name)


def test_files_that_cannot_be_used_are_named(certificates: Callable[[str], str], tmp_path: Path) -> None:
    named = named_address("127.0.0.2:0", TLS)
    assert named is not None
    open_key = tmp_path / "open.key"
    open_key.write_bytes(Path(certificates("farm.key")).read_bytes())
    open_key.chmod(0o644)
    empty = tmp_path / "empty.pem"
    empty.touch()
    pem = certificates("farm.pem")
    cases: list[tuple[type[DflError], str, TlsFiles]] = [
        (NotFound, "tls_key: there is no file", TlsFiles(pem, str(tmp_path / "none"), pem)),
        (InvalidInput, "tls_certificate: .* is no PEM", TlsFiles(str(empty), certificates("farm.key"))),
        (InvalidInput, "others may open the key", TlsFiles(pem, str(open_key))),
        (InvalidInput, "cannot be read", TlsFiles(pem, str(tmp_path))),
    ]
    for error, text, tls in cases:
        with pytest.raises(error, match=text):
            server_credentials(named, tls)


def test_an_address_that_cannot_be_had_is_a_sentence(certificates: Callable[[str], str]) -> None:
    authority = certificates("studio-ca.pem")
    good = TlsFiles(certificates("farm.pem"), certificates("farm.key"), authority)
    mixed = TlsFiles(certificates("farm.pem"), certificates("ws01.key"), authority)

    async def refused(listen: str, tls: TlsFiles) -> None:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        named = named_address(listen, tls)
        assert named is not None
        with pytest.raises(Conflict, match="cannot listen at"):
            bind(server, named, tls)
        await server.stop(None)

    with socket.create_server(("127.0.0.2", 0)) as taken:
        for listen, tls in (
            (f"127.0.0.2:{taken.getsockname()[1]}", good),
            ("192.0.2.7:0", good),
            ("127.0.0.2:0", mixed),
        ):
            asyncio.run(refused(listen, tls))


@contextlib.contextmanager
def remote_stub(daemon: Any, credentials: grpc.ChannelCredentials, token: str | None = None) -> Iterator[Any]:
    session = find_session(daemon.state_dir)
    call = grpc.access_token_call_credentials(read_token(session) if token is None else token)
    options = (("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", "farm.example"))
    with grpc.secure_channel(
        session.remote_address, grpc.composite_channel_credentials(credentials, call), options
    ) as channel:
        yield daemon_service_pb2_grpc.DaemonServiceStub(channel)


def code_of(stub: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as failed:
        stub.GetServerInfo(daemon_service_pb2.GetServerInfoRequest(), timeout=20)
    code: grpc.StatusCode = failed.value.code()
    return code


def credentials_of(folder: str, name: str, authority: str) -> grpc.ChannelCredentials:
    own = [Path(folder, f"{name}.{kind}").read_bytes() for kind in ("key", "pem")] if name else []
    return grpc.ssl_channel_credentials(Path(authority).read_bytes(), *own)


def test_a_daemon_answers_at_its_named_address_with_certificates_and_token(
    start_daemon: Callable[..., Any], certificates: Callable[[str], str]
) -> None:
    """With what the manual's lines make, and nothing less."""
    folder, authority = certificates(""), certificates("studio-ca.pem")
    daemon = start_daemon(listen="127.0.0.2:0", **daemon_settings_of(Path(folder)))
    request = daemon_service_pb2.GetServerInfoRequest()
    session = find_session(daemon.state_dir)
    assert session.address.startswith("unix:")
    assert daemon.daemon.GetServerInfo(request).pid == session.pid
    ours = credentials_of(folder, "ws01", authority)
    with remote_stub(daemon, ours) as stub:
        assert stub.GetServerInfo(request, timeout=20).pid == session.pid
    with remote_stub(daemon, ours, token="0" * 64) as stub:
        assert code_of(stub) == grpc.StatusCode.UNAUTHENTICATED
    for refused in (
        credentials_of(folder, "", authority),  # a workstation without a certificate
        credentials_of(certificates("stranger"), "ws01", authority),  # one that another studio has signed
        credentials_of(folder, "farm", authority),  # the daemon's own, which is no workstation's
        credentials_of(folder, "ws01", certificates("stranger/studio-ca.pem")),  # the daemon is not trusted
    ):
        with remote_stub(daemon, refused) as stub:
            assert code_of(stub) == grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(session.remote_address) as channel:
        assert code_of(daemon_service_pb2_grpc.DaemonServiceStub(channel)) == grpc.StatusCode.UNAVAILABLE
    port = int(session.remote_address.rpartition(":")[2])
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5.0)


def test_the_token_of_distant_clients_outlives_the_daemon(start_daemon: Callable[..., Any]) -> None:
    daemon = start_daemon(listen="localhost:0")
    local = grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)
    session = find_session(daemon.state_dir)
    near, far = read_token(session), Path(session.remote_token_path).read_text()
    assert near != far
    assert stat.S_IMODE(Path(session.remote_token_path).stat().st_mode) == 0o600
    assert daemon.stop() == 0
    daemon.start()
    with remote_stub(daemon, local, token=far) as stub:
        assert stub.GetServerInfo(daemon_service_pb2.GetServerInfoRequest(), timeout=20).pid
    with remote_stub(daemon, local, token=near) as stub:
        assert code_of(stub) == grpc.StatusCode.UNAUTHENTICATED
    assert daemon.stop() == 0
    Path(session.remote_token_path).unlink()
    daemon.start()
    with remote_stub(daemon, local, token=far) as stub:
        assert code_of(stub) == grpc.StatusCode.UNAUTHENTICATED


def test_a_daemon_of_this_machine_alone_keeps_no_token(start_daemon: Callable[..., Any]) -> None:
    daemon = start_daemon()
    session = find_session(daemon.state_dir)
    assert session.remote_token_path == ""
    assert not (daemon.state_dir / "remote_token").exists()


def test_a_kept_token_that_others_could_have_made_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "remote_token"
    token = kept_token(path)
    assert kept_token(path) == token
    path.chmod(0o640)
    cases = [("mode 0600", path)]
    for name, text in (("short", "ab"), ("words", "z" * 64), ("long", "a" * 65)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
        cases.append(("32 bytes in hex", tmp_path / name))
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    cases += [("start with --new-token", tmp_path / "link"), ("mode 0600", tmp_path / "pipe")]
    for words, damaged in cases:
        with pytest.raises(InvalidInput, match=words) as refused:
            kept_token(damaged)
        assert refused.value.reason == "TOKEN_FILE_DAMAGED"


def test_plain_text_is_possible_on_loopback_with_the_token(start_daemon: Callable[..., Any]) -> None:
    daemon = start_daemon(listen="localhost:0")
    local = grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP)
    with remote_stub(daemon, local) as stub:
        assert stub.GetServerInfo(daemon_service_pb2.GetServerInfoRequest(), timeout=20).pid
    with remote_stub(daemon, local, token="x") as stub:
        assert code_of(stub) == grpc.StatusCode.UNAUTHENTICATED
