"""The daemon's end of the frame worker against processes that do not play their part."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dflcore.errors import Cancelled, ResourceExhausted
from dfldaemon import frame_requests
from dfldaemon.frame_requests import FrameOptions, FrameProcess, FrameWorkerLost
from dflproto.v1 import merge_service_pb2 as wire

SILENT = "import time; time.sleep(60)"
TALKS_NONSENSE = """
import os, sys, time
os.write(int(sys.argv[1].partition("=")[2]), b"this is not JSON\\n")
time.sleep(60)
"""
ECHO = """
import base64, json, socket, sys, time
lines = socket.socket(fileno=int(sys.argv[1].partition("=")[2])).makefile("rwb")
for line in lines:
    message = json.loads(line)
    if message["type"] == "frame":
        time.sleep(0.2)
        answer = {"type": "done", "id": message["id"], "header": "", "slot": None}
        lines.write(json.dumps(answer).encode() + b"\\n")
        lines.flush()
"""


def with_process(tmp_path: Path, program: str, body: Callable[[FrameProcess], Awaitable[None]]) -> None:
    async def main() -> None:
        command = (sys.executable, "-c", program) if program else ("/nowhere/at/all",)
        process = FrameProcess(FrameOptions(command=command, folders=[tmp_path]))
        try:
            await asyncio.wait_for(body(process), 30.0)
        finally:
            await process.close()

    asyncio.run(main())


async def ask(process: FrameProcess, key: str = "") -> wire.FrameHeader:
    async with process.order(wire.MergeFrameRequest(client_key=key), {}) as order:
        return order.header


@pytest.mark.parametrize(("program", "says"), [(SILENT, "no sign of life"), (TALKS_NONSENSE, "ask again")])
def test_a_process_that_cannot_be_talked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    monkeypatch.setattr(frame_requests, "HANG_S", 1.0)

    async def body(process: FrameProcess) -> None:
        for _ in range(2):
            with pytest.raises(FrameWorkerLost, match=says) as caught:
                await ask(process)
            assert caught.value.reason == "FRAME_WORKER_LOST"

    with_process(tmp_path, program, body)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    async def body(process: FrameProcess) -> None:
        with pytest.raises(ResourceExhausted, match="could not be started"):
            await ask(process)

    with_process(tmp_path, "", body)


def test_a_newer_request_of_the_same_client_ends_the_older_at_once(tmp_path: Path) -> None:
    async def body(process: FrameProcess) -> None:
        older = asyncio.create_task(ask(process, "viewer"))
        other = asyncio.create_task(ask(process, "another viewer"))
        nobodys = asyncio.create_task(ask(process))
        await asyncio.sleep(0)
        newer = asyncio.create_task(ask(process, "viewer"))
        with pytest.raises(Cancelled) as caught:
            await older
        assert caught.value.reason == "SUPERSEDED"
        await asyncio.gather(other, nobodys, newer)

    with_process(tmp_path, ECHO, body)


def test_who_is_being_sent_a_picture_is_told_too(tmp_path: Path) -> None:
    async def body(process: FrameProcess) -> None:
        async with process.order(wire.MergeFrameRequest(client_key="viewer"), {}) as order:
            order.check()
            newer = asyncio.create_task(ask(process, "viewer"))
            await asyncio.sleep(0)
            with pytest.raises(Cancelled):
                order.check()
        await newer

    with_process(tmp_path, ECHO, body)


def test_a_release_waits_for_the_frame_but_not_forever(tmp_path: Path) -> None:
    async def body(process: FrameProcess) -> None:
        asking = asyncio.create_task(ask(process))
        await asyncio.sleep(0)
        await process.release(0.01)
        assert not asking.done()
        await asking
        assert process._worker is not None
        (tmp_path / "left.slot").write_bytes(b"x")
        await process.release()
        assert process._worker is None
        assert list(tmp_path.iterdir()) == []
        await ask(process)

    with_process(tmp_path, ECHO, body)


def test_nobody_waits_for_a_daemon_that_ends(tmp_path: Path) -> None:
    async def body(process: FrameProcess) -> None:
        asking = asyncio.create_task(ask(process))
        while process._worker is None or not process._worker.orders:
            await asyncio.sleep(0.01)
        await process.close()
        with pytest.raises(FrameWorkerLost):
            await asking

    with_process(tmp_path, SILENT, body)


def test_a_caller_that_gives_up_leaves_no_trace(tmp_path: Path) -> None:
    async def body(process: FrameProcess) -> None:
        await ask(process)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(process), 0.05)
        assert process._worker is not None
        assert not process._worker.orders
        await ask(process)

    with_process(tmp_path, ECHO, body)
