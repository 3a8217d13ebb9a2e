"""Single frames on request: the daemon's end of the process that renders them (:mod:`dfldaemon.frame_worker`).

The process is started with the first request and stays, warm, until nobody has asked for a while, or a job starts that
may need the device and the memory. If it dies, the requests it had fail and the next one starts another.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dflcore.config.merge import MergeSettings
from dflcore.errors import Cancelled, DflError, Internal, InvalidInput, ResourceExhausted
from dflcore.version import __version__
from dfldaemon.frame_folders import empty_folder
from dfldaemon.frame_slots import SlotReference
from dfldaemon.jobs import ErrorReport, JobKind, Work
from dfldaemon.submission import check_work_paths
from dfldaemon.supervisor import explain_exit
from dfldaemon.worker_protocol import MAX_LINE_BYTES, WorkerLimits, decode_line, encode_line
from dfldaemon.worker_start import start_worker
from dflproto.v1 import merge_service_pb2 as wire

logger = logging.getLogger(__name__)

HANG_S = 120.0
"""A process that is asked for something and says nothing for so long is ended."""
BESIDE_JOB_IDLE_S = 15.0
"""While a job runs, the process leaves so soon after its last frame."""
RELEASE_PATIENCE_S = 10.0
"""How long a job waits for a frame that is being rendered."""
MAX_CLIENT_KEY = 64
_SUFFIXES = {
    wire.PIXEL_FORMAT_UNSPECIFIED: ".exr",
    wire.PIXEL_FORMAT_EXR: ".exr",
    wire.PIXEL_FORMAT_PNG: ".png",
}
"""Of the formats that are files."""
_CHOICES = {"pixel_format": wire.PixelFormat, "road": wire.PixelRoad, "region": wire.FrameRegion}
"""Fields that are one of several; a newer client may know more."""


class FrameWorkerLost(Internal):
    """The process that renders frames died over a request, or hung. The next request starts another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOptions:
    """How frames are rendered.

    Attributes:
        command: program and arguments; ``--channel=<descriptor>`` is added.
        folders: for pixels on their way, see :func:`dfldaemon.frame_folders.pixel_folders`.
        idle_s: the process leaves when nobody has asked for so long.
        cache_mb: decoded plates it keeps.
    """

    command: Sequence[str]
    folders: Sequence[Path]
    limits: WorkerLimits = field(default_factory=WorkerLimits)
    idle_s: float = 300.0
    cache_mb: int = 1024


@dataclass(slots=True, eq=False)
class FrameOrder:
    """A request somebody waits for, and its answer once it is there.

    Attributes:
        client: whose slots take the bytes.
        is_superseded: a newer request of the same client has come.
        has_gone: whoever asked has hung up.
        slot: where the bytes are; None for a file.
    """

    id: int
    client: str
    answered: asyncio.Future[None]
    is_superseded: bool = False
    has_gone: bool = False
    header: wire.FrameHeader = field(default_factory=wire.FrameHeader)
    slot: SlotReference | None = None

    def check(self) -> None:
        """Raises Cancelled when a newer request has come."""
        if self.is_superseded:
            raise _superseded()


@dataclass(slots=True, eq=False)
class _Worker:
    """One process and who waits for it."""

    process: asyncio.subprocess.Process
    writer: asyncio.StreamWriter
    orders: dict[int, FrameOrder] = field(default_factory=dict)
    last_sign: float = field(default_factory=time.monotonic)
    reading: asyncio.Task[None] | None = None
    has_hung: bool = False

    @property
    def is_alive(self) -> bool:
        """It runs and its channel is open, as far as anybody knows."""
        return self.process.returncode is None and self.reading is not None and not self.reading.done()

    def send(self, message: Mapping[str, object]) -> None:
        if not self.writer.is_closing():
            self.writer.write(encode_line(message))

    def kill(self) -> None:
        """It and everything it started: it leads a process group of its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class FrameProcess:
    """Asks the frame worker. All its methods belong to one event loop.

    Args:
        is_job_running: whether the process shares the machine with a job.
    """

    def __init__(self, options: FrameOptions, is_job_running: Callable[[], bool] = lambda: False) -> None:
        self._options = options
        self._is_job_running = is_job_running
        self._starting = asyncio.Lock()
        self._worker: _Worker | None = None
        self._newest: dict[str, FrameOrder] = {}
        self._ids = itertools.count(1)
        self._open = 0
        self._free = asyncio.Event()
        self._free.set()
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def order(self, request: wire.MergeFrameRequest, settings: Mapping[str, object]) -> AsyncIterator[FrameOrder]:
        """Have a frame rendered; its bytes stay where they are until this is left.

        Args:
            request: checked by :func:`check_request`. settings: all of them, resolved.

        Raises:
            Cancelled: a newer request of the same client came.
            FrameWorkerLost: the process died.
            DflError: whatever rendering raised.
        """
        number = next(self._ids)
        key = request.client_key
        order = FrameOrder(number, key or f"#{number}", asyncio.get_running_loop().create_future())
        self._supersede(key, order)
        self._enter()
        worker: _Worker | None = None
        try:
            worker = await self._ready_worker()
            order.check()
            worker.orders[number] = order
            worker.send(
                {
                    "type": "frame",
                    "id": number,
                    "client": order.client,
                    "request": base64.b64encode(request.SerializeToString()).decode("ascii"),
                    "settings": dict(settings),
                }
            )
            await self._wait(worker, order)
            order.check()
            yield order
        except (asyncio.CancelledError, GeneratorExit):
            order.has_gone = True
            raise
        finally:
            self._leave(order, worker, key)

    async def release(self, patience_s: float = RELEASE_PATIENCE_S) -> None:
        """End the process, once the frame it is at is done or patience has run out; it then leaves when it is free."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._free.wait(), patience_s)
        await self._end()

    async def close(self) -> None:
        """End the process, whoever waits for it."""
        async with self._starting:
            await self._end_locked()
        if self._ending:
            await asyncio.gather(*self._ending)

    def _supersede(self, key: str, order: FrameOrder) -> None:
        if not key:
            return
        older, self._newest[key] = self._newest.get(key), order
        if older is not None:
            older.is_superseded = True
            if not older.answered.done():
                older.answered.set_exception(_superseded())

    def _enter(self) -> None:
        self._open += 1
        self._free.clear()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _leave(self, order: FrameOrder, worker: _Worker | None, key: str) -> None:
        is_newest = not key or self._newest.get(key) is order
        if key and is_newest:
            del self._newest[key]
        if order.answered.done():
            if not order.answered.cancelled():
                order.answered.exception()  # somebody has looked at it
        else:
            order.answered.cancel()
        if worker is not None:
            if worker.orders.pop(order.id, None) is not None:
                worker.send({"type": "drop", "id": order.id})
            if not key or (order.has_gone and is_newest):
                worker.send({"type": "forget", "client": order.client})
        self._open -= 1
        if not self._open:
            self._free.set()
            is_beside_job = self._is_job_running()
            idle_s = min(self._options.idle_s, BESIDE_JOB_IDLE_S) if is_beside_job else self._options.idle_s
            self._idle = asyncio.get_running_loop().call_later(idle_s, self._end_when_free)

    async def _wait(self, worker: _Worker, order: FrameOrder) -> None:
        """Until the order is answered. Raises what it was answered with."""
        worker.last_sign = max(worker.last_sign, time.monotonic() - HANG_S / 2)
        while not order.answered.done():
            left = worker.last_sign + HANG_S - time.monotonic()
            await asyncio.wait({order.answered}, timeout=max(left, 0.05))
            if not order.answered.done() and time.monotonic() - worker.last_sign >= HANG_S:
                worker.has_hung = True
                worker.kill()
                await asyncio.wait({order.answered})
        order.answered.result()

    async def _ready_worker(self) -> _Worker:
        """The process, started where there is none. Raises ResourceExhausted."""
        async with self._starting:
            if self._worker is not None and self._worker.is_alive:
                return self._worker
            await self._end_locked()
            try:
                self._worker = await self._start()
            except OSError as error:
                raise ResourceExhausted(
                    f"The process that renders frames could not be started: {error}.", reason="WORKER_NOT_STARTED"
                ) from error
            return self._worker

    async def _start(self) -> _Worker:
        options = self._options
        process, reader, writer = await start_worker(options.command, limit=MAX_LINE_BYTES)
        worker = _Worker(process, writer)
        worker.send(
            {
                "type": "start",
                "limits": asdict(options.limits),
                "folders": [str(folder) for folder in options.folders],
                "cache_mb": options.cache_mb,
            }
        )
        worker.reading = asyncio.create_task(self._read(worker, reader))
        return worker

    async def _read(self, worker: _Worker, reader: asyncio.StreamReader) -> None:
        """Lines until the process closes its end; then everybody who still waits is told."""
        try:
            while line := await reader.readline():
                worker.last_sign = time.monotonic()
                _take(worker, decode_line(line))
        except (DflError, KeyError, ValueError, TypeError):
            logger.exception("the frame worker sent nonsense")
        except ConnectionError:
            logger.debug("the frame worker dropped its channel")
        worker.kill()
        exit_code = await worker.process.wait()
        if worker.orders:
            logger.warning("the frame worker was lost", extra={"exit_code": exit_code, "hung": worker.has_hung})
        for order in worker.orders.values():
            if not order.answered.done():
                order.answered.set_exception(_lost(exit_code, has_hung=worker.has_hung))
        worker.orders.clear()

    def _end_when_free(self) -> None:
        task = asyncio.get_running_loop().create_task(self._end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self) -> None:
        """End the process unless somebody waits for it."""
        async with self._starting:
            if not self._open:
                await self._end_locked()

    async def _end_locked(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.kill()
        if worker.reading is not None:
            await worker.reading
        worker.writer.close()
        with contextlib.suppress(OSError):
            await worker.writer.wait_closed()
        for folder in self._options.folders:
            await asyncio.to_thread(empty_folder, folder)


def _take(worker: _Worker, message: Mapping[str, Any]) -> None:
    """A line of the process. What nobody waits for any more is passed over."""
    order = worker.orders.pop(int(message["id"]), None)
    if order is None or order.answered.done():
        return
    if message["type"] == "failed":
        order.answered.set_exception(ErrorReport(**message["error"]).error())
        return
    order.header = wire.FrameHeader.FromString(base64.b64decode(message["header"]))
    order.slot = SlotReference(**message["slot"]) if message["slot"] else None
    order.answered.set_result(None)


def check_request(request: wire.MergeFrameRequest, roots: Sequence[str]) -> Mapping[str, object]:
    """What can be told without looking at pixels; answers with all settings, resolved.

    Raises:
        InvalidInput: a path outside the roots, a setting out of range, a format and a road that do not go together, a
            value of a newer version.
    """
    for name, known in _CHOICES.items():
        if getattr(request, name) not in known.values():
            raise InvalidInput(
                f"{name} = {getattr(request, name)} is none that this daemon ({__version__}) knows.",
                reason="UNKNOWN_VALUE",
                field=name,
            )
    settings = MergeSettings.from_values({field.name: value for field, value in request.settings.ListFields()})
    values = settings.values()
    is_file = request.road == wire.PIXEL_ROAD_PATH
    paths = {"plate": request.plate_path, "model": request.model_path, "faceset": request.faceset_path}
    # Where no file is written, any of the request's paths may stand for it.
    work = Work(
        kind=JobKind.MERGE,
        paths={**paths, "output": request.output_path if is_file else request.faceset_path},
        frames="",
        settings=values,
    )
    check_work_paths(work, roots)
    if request.output_path and not is_file:
        raise InvalidInput(
            "An output_path is for the road PATH; this request asks for another.",
            reason="PATH_UNUSED",
            field="output_path",
        )
    if is_file:
        _check_file(request)
    if request.road == wire.PIXEL_ROAD_SHARED_MEMORY and not request.client_key:
        raise InvalidInput(
            "Shared memory needs a client_key: it says whose memory is used again.",
            reason="CLIENT_KEY_MISSING",
            field="client_key",
        )
    if len(request.client_key) > MAX_CLIENT_KEY or request.client_key.startswith("#"):
        raise InvalidInput(
            f"client_key must have at most {MAX_CLIENT_KEY} characters and not begin with #.",
            reason="BAD_CLIENT_KEY",
            field="client_key",
        )
    return values


def _check_file(request: wire.MergeFrameRequest) -> None:
    suffix = _SUFFIXES.get(request.pixel_format)
    if suffix is None:
        raise InvalidInput(
            "Bare pixels are no file; ask for EXR or PNG, or for another road.",
            reason="FORMAT_NEEDS_FILE",
            field="pixel_format",
        )
    if Path(request.output_path).suffix.lower() != suffix:
        raise InvalidInput(
            f"The output {request.output_path} must end in {suffix}.", reason="BAD_OUTPUT_PATTERN", field="output_path"
        )


def _superseded() -> Cancelled:
    return Cancelled("A newer request of the same client has taken the place of this one.", reason="SUPERSEDED")


def _lost(exit_code: int, *, has_hung: bool) -> FrameWorkerLost:
    if has_hung:
        cause = f"It gave no sign of life for {HANG_S:g} s and was ended."
    else:
        cause = explain_exit(exit_code, JobKind.MERGE).message
    return FrameWorkerLost(
        f"The process that renders frames was lost; ask again, and another one is started. {cause}",
        reason="FRAME_WORKER_LOST",
        exit_code=exit_code,
    )
