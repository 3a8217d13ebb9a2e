"""``python -m dfldaemon.frame_worker``: the process that renders single frames; see :mod:`dfldaemon.frame_requests`.

Lines of JSON, each with a ``type``:

==========  ==============  =====================================================================================
to worker   ``start``       ``limits``, ``folders`` (for pixels), ``cache_mb``; the first line
            ``frame``       ``id``, ``client``, ``request`` (base64 of a MergeFrameRequest), ``settings`` (resolved)
            ``drop``        ``id``: nobody waits for it any more
            ``forget``      ``client``: its slots may go
from        ``done``        ``id``, ``header`` (base64 of a FrameHeader), ``slot`` (path, offset, size, generation)
worker                      or None where a file was written
            ``failed``      ``id``, ``error``
==========  ==============  =====================================================================================

Frames are rendered one after the other in the order of their lines; those that were dropped before their turn are not
begun, and the one at work ends at its next step.
"""

from __future__ import annotations

import base64
import faulthandler
import logging
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dflcore.errors import Cancelled, DflError
from dfldaemon.convert import notice_to_message
from dfldaemon.frame_slots import FrameSlots, SlotReference
from dfldaemon.jobs import ErrorReport, JobKind
from dfldaemon.submission import check_path
from dfldaemon.worker import explain, leave, limit_threads
from dfldaemon.worker_channel import Channel, die_with_parent, name_process
from dfldaemon.worker_protocol import EXIT_ORPHANED, WorkerLimits
from dflproto.v1 import merge_service_pb2 as wire

if TYPE_CHECKING:  # loaded with the first request
    from dflcore.merge.frame import FrameRequest, RenderedFrame, WarmFrames

logger = logging.getLogger(__name__)

_FLOATS = {wire.PIXEL_FORMAT_HALF: "half", wire.PIXEL_FORMAT_FLOAT: "float"}


class FrameDesk:
    """Takes requests from the channel and renders them in a thread of its own."""

    def __init__(self, channel: Channel, limits: WorkerLimits, folders: Sequence[Path], cache_mb: int) -> None:
        self._channel = channel
        self._limits = limits
        self._slots = FrameSlots(folders)
        self._cache_bytes = cache_mb << 20
        self._orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._dropped: set[int] = set()
        self._swept: set[Path] = set()
        self._frames: WarmFrames | None = None

    def serve(self) -> None:
        """Listen until the daemon closes the channel."""
        threading.Thread(target=self._work, name="frames", daemon=True).start()
        while (message := self._channel.receive()) is not None:
            if message["type"] == "drop":
                self._dropped.add(int(message["id"]))
            else:
                self._orders.put(message)
        self._slots.close()

    def _work(self) -> None:
        while (message := self._orders.get()) is not None:
            if message["type"] == "forget":
                self._slots.forget(str(message["client"]))
            elif message["type"] == "frame":
                number = int(message["id"])
                self._channel.send({**self._answer(message), "id": number})
                self._dropped.difference_update([one for one in list(self._dropped) if one <= number])

    def _answer(self, message: Mapping[str, Any]) -> dict[str, object]:
        """The line for a request. Every error ends here."""
        number = int(message["id"])

        def check() -> None:
            if number in self._dropped:
                raise Cancelled("Nobody waits for this frame any more.", reason="SUPERSEDED")

        try:
            check()
            order = wire.MergeFrameRequest.FromString(base64.b64decode(message["request"]))
            header, slot = self._render(order, message["settings"], str(message["client"]), check)
        except DflError as error:
            return {"type": "failed", "error": asdict(ErrorReport.of(error))}
        except (Exception, MemoryError) as error:
            logger.exception("a frame failed")
            return {"type": "failed", "error": asdict(ErrorReport.of(explain(error, JobKind.MERGE)))}
        encoded = base64.b64encode(header.SerializeToString()).decode("ascii")
        return {"type": "done", "header": encoded, "slot": asdict(slot) if slot else None}

    def _render(
        self, order: wire.MergeFrameRequest, settings: Mapping[str, Any], client: str, check: Callable[[], None]
    ) -> tuple[wire.FrameHeader, SlotReference | None]:
        request = _frame_request(order, settings)
        _check_links(request, self._limits.roots)
        if self._frames is None:
            self._frames = _open_frames(self._cache_bytes, self._limits.weights)
        rendered = self._frames.render(request, check)
        header = _header(request, rendered)
        started = time.perf_counter()
        if order.road == wire.PIXEL_ROAD_PATH:
            self._write_file(order, request, rendered)
            header.path = order.output_path
            header.size_bytes = Path(order.output_path).stat().st_size
            slot = None
        else:
            slot = self._slots.write(client, self._parts(order, request, rendered, header))
            header.size_bytes = slot.size
        header.steps_ms["write"] = 1000.0 * (time.perf_counter() - started)
        return header, slot

    def _parts(
        self,
        order: wire.MergeFrameRequest,
        request: FrameRequest,
        rendered: RenderedFrame,
        header: wire.FrameHeader,
    ) -> list[bytes | memoryview]:
        """The bytes of the answer, one part after the other; the header is told where layers begin."""
        assert self._frames is not None
        if order.pixel_format in _FLOATS:
            parts = _pixel_parts(rendered, _FLOATS[order.pixel_format])
            offset = 0
            for layer, part in zip(header.layers, parts, strict=True):
                layer.offset_bytes = offset
                offset += len(part)
            return parts
        if order.pixel_format == wire.PIXEL_FORMAT_PNG:
            return [rendered.png()]
        size = sum(layer.pixels.nbytes for layer in rendered.layers)
        with tempfile.TemporaryDirectory(dir=self._slots.scratch_folder(size), prefix="exr-") as folder:
            path = Path(folder) / "frame.exr"
            settings = request.settings
            self._frames.files.submit(rendered.write_exr, path, settings.compression, settings.dwa_level).result()
            return [path.read_bytes()]

    def _write_file(self, order: wire.MergeFrameRequest, request: FrameRequest, rendered: RenderedFrame) -> None:
        from dflcore.io.atomic import remove_leftovers, write_bytes
        from dflcore.merge.frame import check_output

        assert self._frames is not None
        path = Path(check_path(order.output_path, "output_path", self._limits.roots))
        check_output(path, request, rendered)
        if path.parent not in self._swept:  # of what a killed process began there
            remove_leftovers(path.parent)
            self._swept.add(path.parent)
        if order.pixel_format == wire.PIXEL_FORMAT_PNG:
            write_bytes(path, rendered.png())
        else:
            settings = request.settings
            self._frames.files.submit(rendered.write_exr, path, settings.compression, settings.dwa_level).result()


def _open_frames(cache_bytes: int, weights: Sequence[str]) -> WarmFrames:
    from dflcore.merge.frame import WarmFrames
    from dflcore.weights.store import WeightStore
    from dfldaemon.worker_jobs import authorization_of

    store = WeightStore([Path(folder) for folder in weights])
    return WarmFrames(authorization_of, cache_bytes=cache_bytes, store=store)


def _frame_request(order: wire.MergeFrameRequest, settings: Mapping[str, Any]) -> FrameRequest:
    from dflcore.config.merge import MergeSettings
    from dflcore.io.plate import Window
    from dflcore.merge.frame import BEAUTY_NAME, FrameRequest

    window = order.window
    regions: dict[int, Window | str] = {
        wire.FRAME_REGION_FACES: "faces",
        wire.FRAME_REGION_WINDOW: Window(x=window.x, y=window.y, width=window.width, height=window.height),
    }
    return FrameRequest(
        plate=order.plate_path,
        frame=order.frame,
        model=Path(order.model_path),
        faceset=Path(order.faceset_path),
        settings=MergeSettings.from_values(settings),
        layers=tuple(order.layers) or (BEAUTY_NAME,),
        region=regions.get(order.region),
        reduction=order.reduction or 1,
        max_side=order.max_side_px,
        for_file=order.pixel_format in (wire.PIXEL_FORMAT_UNSPECIFIED, wire.PIXEL_FORMAT_EXR),
    )


def _check_links(request: FrameRequest, roots: Sequence[str]) -> None:
    """The frame's file is no link that leads out of the roots. Raises InvalidInput, NotFound."""
    from dflcore.io.sequence import MOVIE_SUFFIXES, SequencePattern

    if os.sep in roots or Path(request.plate).suffix.lower() in MOVIE_SUFFIXES:
        return
    check_path(str(SequencePattern.parse(request.plate).path(request.frame)), "plate_path", roots)


def _header(request: FrameRequest, rendered: RenderedFrame) -> wire.FrameHeader:
    from dflcore.merge.frame import BEAUTY_NAME

    data, display = rendered.data_window, rendered.display_window
    layers = [
        wire.FrameLayer(name=layer.name or BEAUTY_NAME, channels="".join(layer.channels)) for layer in rendered.layers
    ]
    return wire.FrameHeader(
        frame=request.frame,
        key=rendered.key,
        face_count=rendered.face_count,
        data_window=wire.PixelWindow(x=data.x, y=data.y, width=data.width, height=data.height),
        display_window=wire.PixelWindow(x=display.x, y=display.y, width=display.width, height=display.height),
        pixel_aspect=rendered.pixel_aspect,
        color_space=rendered.light.color_space,
        layers=layers,
        reduction=rendered.reduction,
        notices=[notice_to_message(notice) for notice in rendered.notices],
        steps_ms=rendered.steps_ms,
        network_reused=rendered.network_reused,
    )


def _pixel_parts(rendered: RenderedFrame, kind: str) -> list[bytes | memoryview]:
    """Every layer's pixels in one type, one layer after the other."""
    import numpy as np

    from dflcore.merge.composite import cast, quantise, to_float

    parts: list[bytes | memoryview] = []
    for layer in rendered.layers:
        pixels = layer.pixels
        if kind == "half" and pixels.dtype != np.float16:
            pixels = cast(quantise(to_float(pixels), "half"), np.float16)
        elif kind == "float":
            pixels = to_float(pixels)
        parts.append(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    return parts


def main(arguments: Sequence[str] | None = None) -> int:
    """Render until the daemon closes the channel."""
    die_with_parent()
    faulthandler.enable()
    name_process("dfl-frames")
    channel = Channel.from_arguments(sys.argv[1:] if arguments is None else arguments)
    first = channel.receive()
    if first is None or first["type"] != "start":
        return EXIT_ORPHANED
    limits = WorkerLimits(**first["limits"])
    limit_threads(limits.threads)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    FrameDesk(channel, limits, [Path(folder) for folder in first["folders"]], int(first["cache_mb"])).serve()
    return 0


if __name__ == "__main__":
    leave(main())
