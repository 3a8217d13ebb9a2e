"""What the tests of the hosts' client share: real daemons with pretended workers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from studio_certificates import daemon_settings_of, make_certificates

from dflhost.discovery import ConnectionSettings, find_endpoint
from dflhost.errors import HostError
from dflhost.session import DaemonSession, connect

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # helpers that are programs as well
FAKE_DAEMON = HERE.parent / "dfldaemon" / "fake_daemon.py"
DEADLINE_S = 20.0


class DaemonProcess:
    """The real daemon in a process of its own; its workers only pretend (``tests/dfldaemon/fake_worker.py``)."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.settings = {"state_dir": folder / "state", "runtime_dir": folder / "run", **settings}
        self.process: subprocess.Popen[bytes] | None = None
        self.host = ConnectionSettings(state_dir=str(folder / "state"))

    def start(self) -> DaemonProcess:
        arguments = [f"{name}={value}" for name, value in self.settings.items()]
        self.process = subprocess.Popen([sys.executable, "-P", str(FAKE_DAEMON), *arguments])
        wait_until(self.is_announced)
        return self

    def start_merging(self) -> DaemonProcess:
        """With the workers that really work, on one core."""
        settings = {f"DFL_{name.upper()}": str(value) for name, value in self.settings.items()}
        environ = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **settings}
        self.process = subprocess.Popen([sys.executable, "-P", "-m", "dfldaemon"], env=environ)
        wait_until(self.is_announced)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(number)
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()  # the test fails, and the next ones find a machine to themselves
                process.wait()
                raise

    def connect(self, **settings: Any) -> DaemonSession:
        return connect(ConnectionSettings(**{**self.host.__dict__, **settings}), {})

    def from_afar(self) -> dict[str, str]:
        """What an artist at another machine sets: an address, a certificate, a copy of the token."""
        text = (self.folder / "state" / "session.json").read_text()
        return {
            "state_dir": "",
            "address": text.partition('"remote_address": "')[2].partition('"')[0],
            "token_path": str(self.folder / "state" / "remote_token"),
            "ca_path": str(self.folder / "studio-ca.pem"),
            "certificate_path": str(self.folder / "ws01.pem"),
            "key_path": str(self.folder / "ws01.key"),
        }

    def variables_from_afar(self) -> dict[str, str]:
        """The same as a studio's variables."""
        names = {"address": "ADDRESS", "token_path": "TOKEN_FILE", "ca_path": "CA_FILE"}
        names |= {"certificate_path": "CERTIFICATE_FILE", "key_path": "KEY_FILE"}
        far = self.from_afar()
        return {f"DFL_{variable}": far[name] for name, variable in names.items()}

    def is_announced(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the daemon did not start"
        try:
            find_endpoint(self.host, {})
        except HostError:
            return False
        return str(self.process.pid) in (self.folder / "state" / "session.json").read_text()


def wait_until(look: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer."""
    end = time.monotonic() + deadline_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def host_threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("dflhost")}


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    return wait_until


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert not host_threads()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for tests that leave it as they found it."""
    running = DaemonProcess(tmp_path_factory.mktemp("daemon")).start()
    yield running
    running.stop()


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """One that a test may stop, kill and start again."""
    running = DaemonProcess(tmp_path / "own").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def merging_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One whose workers do work."""
    running = DaemonProcess(tmp_path_factory.mktemp("merging")).start_merging()
    yield running
    running.stop()


def _far_process(folder: Path) -> DaemonProcess:
    (folder / "root").mkdir()
    tls = daemon_settings_of(make_certificates(folder))
    return DaemonProcess(folder, listen="127.0.0.2:0", roots=folder / "root", **tls)


@pytest.fixture(scope="module")
def far_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One at another address, behind TLS, that may open nothing of ours."""
    running = _far_process(tmp_path_factory.mktemp("far")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def far_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """The same, with workers that work."""
    running = _far_process(tmp_path_factory.mktemp("far")).start_merging()
    yield running
    running.stop()


@pytest.fixture
def far(far_daemon: DaemonProcess) -> Iterator[DaemonSession]:
    with far_daemon.connect(**far_daemon.from_afar()) as opened:
        yield opened


@pytest.fixture
def is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.2 is this machine; here it is taken for another."""
    monkeypatch.setattr(ConnectionSettings, "is_remote", property(lambda _: True))


@pytest.fixture
def session(daemon: DaemonProcess) -> Iterator[DaemonSession]:
    with daemon.connect() as opened:
        yield opened


@pytest.fixture
def plate(tmp_path: Path) -> str:
    """A pattern with two files, which nobody looks into."""
    for number in (1, 2):
        (tmp_path / f"plate.{number:04d}.exr").write_bytes(b"")
    return str(tmp_path / "plate.####.exr")
