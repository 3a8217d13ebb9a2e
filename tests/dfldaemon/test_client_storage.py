"""The grpcio client against a daemon behind TLS: files sent, gone on with, and what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studio_certificates import daemon_settings_of, make_certificates

from dflcore.errors import InvalidInput, NotFound
from dfldaemon.client import DaemonClient, connect, explicit_endpoint
from dfldaemon.client_calls import ClientTls
from dfldaemon.client_storage import CHUNK_BYTES
from dfldaemon.discovery import find_session


@pytest.fixture(scope="module")
def far_daemon(tmp_path_factory: pytest.TempPathFactory, daemon: Any) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("far")
    tls = daemon_settings_of(make_certificates(folder))
    running = type(daemon)(folder / "state", runtime_dir=folder / "run", listen="127.0.0.2:0", **tls)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(far_daemon: Any) -> Iterator[DaemonClient]:
    address = find_session(far_daemon.state_dir).remote_address
    files = far_daemon.state_dir.parent
    tls = ClientTls(str(files / "studio-ca.pem"), str(files / "ws01.pem"), str(files / "ws01.key"))
    with connect(lambda: explicit_endpoint(address, far_daemon.state_dir, tls=tls)) as opened:
        yield opened


def test_files_arrive_and_are_offered(client: DaemonClient, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(os.urandom(2 * CHUNK_BYTES + 5))
    (tmp_path / "empty").touch()
    files = {"generations/00000001/weights": tmp_path / "weights", "empty": tmp_path / "empty"}
    folder = Path(client.send_files("hero", files))
    assert folder.name == "hero"
    assert {name: (folder / name).read_bytes() for name in files} == {n: p.read_bytes() for n, p in files.items()}
    assert client.send_files("hero", files) == str(folder)
    assert [one.path for one in client.list_folders("model")] == [str(folder)]
    assert client.list_folders("faceset") == []


def test_what_cannot_be_sent_is_a_sentence(client: DaemonClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        client.send_files("hero", {"a": tmp_path / "none"})
    (tmp_path / "a").touch()
    with pytest.raises(InvalidInput, match="cannot be taken"):
        client.send_files("hero", {"../a": tmp_path / "a"})


def test_a_daemon_that_is_not_trusted_is_not_told_the_token(far_daemon: Any, tmp_path: Path) -> None:
    address = find_session(far_daemon.state_dir).remote_address
    with pytest.raises(InvalidInput, match=r"none\.pem cannot be read"):
        connect(lambda: explicit_endpoint(address, far_daemon.state_dir, tls=ClientTls(str(tmp_path / "none.pem"))))
    with (
        DaemonClient(lambda: explicit_endpoint(address, far_daemon.state_dir)) as plain,
        pytest.raises(NotFound, match="cannot be reached"),
    ):
        plain.server_info()
