"""Short questions about facesets, models and outputs, answered by a process that may import image libraries and torch.

The process is started with the first question, answers one at a time, and leaves when nobody asked for a while; if it
dies over a damaged file, only that question fails.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from dflcore.errors import DflError, Internal, ResourceExhausted
from dfldaemon.jobs import ErrorReport
from dfldaemon.worker_protocol import decode_line, encode_line
from dfldaemon.worker_start import start_worker

M = TypeVar("M", bound=Message)

logger = logging.getLogger(__name__)

IDLE_S = 120.0
ANSWER_TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024


class QueryProcess:
    """Asks the query worker; see :mod:`dfldaemon.query_worker` for the questions.

    Args:
        command: program and arguments; ``--channel=<descriptor>`` is added.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def ask(self, question: str, answer_class: type[M], **arguments: str | int) -> M:
        """One question.

        Raises:
            DflError: whatever answering raised; Internal when the process died over it.
        """
        async with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                line = await asyncio.wait_for(self._exchange(question, arguments), ANSWER_TIMEOUT_S)
                message = decode_line(line)
            except TimeoutError as error:
                await self._end()
                raise ResourceExhausted(
                    f"The question {question} took longer than {ANSWER_TIMEOUT_S:g} s; is the disk slow?",
                    reason="QUERY_TIMEOUT",
                ) from error
            except (OSError, ValueError, DflError) as error:
                await self._end()
                raise Internal(
                    f"The process that answers questions died over {question}; the daemon's log has its words.",
                    reason="QUERY_FAILED",
                ) from error
            except asyncio.CancelledError:
                await self._end()  # its answer must not reach the next question
                raise
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end_when_free)
        return _answer(message, answer_class)

    async def close(self) -> None:
        """End the process."""
        await self._leave()
        await asyncio.gather(*self._ending)

    async def _exchange(self, question: str, arguments: dict[str, str | int]) -> bytes:
        if self._process is None or self._process.returncode is not None:
            await self._start()
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(encode_line({"type": question, **arguments}))
        return await self._reader.readline()

    async def _start(self) -> None:
        await self._end()
        self._process, self._reader, self._writer = await start_worker(self._command, limit=MAX_ANSWER_BYTES)

    def _end_when_free(self) -> None:
        task = asyncio.get_running_loop().create_task(self._leave())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _leave(self) -> None:
        async with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        writer, self._writer = self._writer, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _answer(message: dict[str, Any], answer_class: type[M]) -> M:
    if message["type"] == "failed":
        raise ErrorReport(**message["error"]).error()
    return answer_class.FromString(base64.b64decode(message["answer"]))
