"""What the client costs. Figures are printed; asserted is only what a busy machine keeps as well."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from awkward_server import SERVICE, TOKEN
from dflhost.transport.channel import Channel

SERVER = Path(__file__).with_name("awkward_server.py")


@pytest.fixture(scope="module", params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a process of its own."""
    wanted = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path_factory.mktemp('run') / 'd.sock'}"
    process = subprocess.Popen([sys.executable, str(SERVER), wanted], stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    process.stdout.close()
    yield f"127.0.0.1:{port}" if request.param == "tcp" else wanted
    process.kill()
    process.wait()


def best_ms(work: Callable[[], object], times: int) -> float:
    """The least of some runs: others use the machine too."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return min(took) * 1e3


def test_calls_and_streams(address: str) -> None:
    def cold() -> None:
        with contextlib.closing(Channel(lambda: (address, TOKEN))) as channel:
            channel.unary(f"/{SERVICE}/echo", b"x", deadline_s=10)

    cold()
    first = best_ms(cold, 10)
    with contextlib.closing(Channel(lambda: (address, TOKEN))) as channel:
        later = best_ms(lambda: channel.unary(f"/{SERVICE}/echo", b"x", deadline_s=10), 100)

        def stream(count: int, size: int) -> float:
            """MB/s of a stream of messages."""

            def read() -> None:
                got = sum(map(len, channel.stream(f"/{SERVICE}/many", f"{count} {size}".encode(), deadline_s=60)))
                assert got == count * size

            return count * size / 1e3 / best_ms(read, 3)

        chunks, small = stream(64, 1 << 20), stream(2000, 20_000)
    kind = address.partition(":")[0]
    print(
        f"\n{kind}: connect, first call, close {first:.1f} ms; later call {later:.2f} ms; "
        f"stream of 1 MiB messages {chunks:.0f} MB/s, of 20 kB {small:.0f} MB/s ({os.cpu_count()} cores)"
    )
    assert first < 100
    assert later < 20


def test_memory_of_a_connection(address: str) -> None:
    """Below 5 MB at rest, once a long stream was read."""
    tracemalloc.start()
    try:
        with contextlib.closing(Channel(lambda: (address, TOKEN))) as channel:
            assert sum(1 for _ in channel.stream(f"/{SERVICE}/many", b"20 1000000", deadline_s=60)) == 20
            current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"\nheld by a connection at rest: {current / 1e6:.2f} MB")
    assert current < 5e6
