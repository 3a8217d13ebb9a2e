from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from journey import Daemon, Shot, extract_spec, run_to_success, shoot, train_spec


@pytest.fixture(scope="session")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shot]:
    """Made once through a real daemon: plates, facesets, model."""
    folder = tmp_path_factory.mktemp("shot")
    shoot(folder / "plates")
    made = Shot(folder)
    daemon = Daemon(folder)
    try:
        client = daemon.start()
        run_to_success(client, extract_spec(folder / "plates" / "source.####.exr", made.source))
        run_to_success(client, extract_spec(made.plate, made.target))
        run_to_success(client, train_spec(made.source, made.target, made.model, iterations=3))
        client.close()
        assert daemon.stop() == 0
        yield made
    finally:
        daemon.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that has not been started yet."""
    made = Daemon(tmp_path / "daemon")
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all the tests of a module; it must be as well at the end as at the start."""
    daemon = Daemon(tmp_path_factory.mktemp("running"))
    client = daemon.start()
    yield daemon
    assert client.server_info().running_count == 0
    client.close()
    daemon.close()
