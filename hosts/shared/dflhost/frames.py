"""Single frames, now: what *Swap Frame* asks for and gets."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import HostError
from .paths import PathMap, settings_to_daemon
from .schema import ENUMS

EXR, PNG, HALF, FLOAT = "exr", "png", "half", "float"
"""Formats of the bytes: an EXR file; an 8-bit PNG of one layer for user interfaces; raw little-endian pixels."""
STREAM, PATH, SHARED_MEMORY = "stream", "path", "shared_memory"
"""Roads: in the answer itself, always possible; a file that the daemon writes, where both see the same disk; memory of
this machine, which a stream with a client key takes by itself."""
WHOLE, FACES, WINDOW = "whole", "faces", "window"
"""Regions of the plate."""


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels; x runs right, y down."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class FrameRequest:
    """One frame to be swapped. Paths are the workstation's.

    Attributes:
        plate_path: pattern, still or movie. frame: number on disk.
        model_path, faceset_path: folders of the model, and of the faceset of this plate.
        settings: of the merge; absent means the daemon's default.
        layers: ``beauty`` or names as :meth:`DaemonSession.layers` has them; empty is the beauty. PNG takes one.
        pixel_format: ``exr``, ``png``, ``half`` or ``float``.
        road: ``stream``, ``path`` or ``shared_memory``.
        output_path: of the road ``path``: the file to write, EXR or PNG.
        reduction: divide both sides by this whole number, 1 to 16.
        max_side_px: reduce further until neither side is longer; 0 for no limit.
        region, window: which part; a window is in plate pixels from the display window's top-left corner.
        client_key: names whoever looks (a node, a viewer): a newer request with the same key ends an older one.
    """

    plate_path: str
    frame: int
    model_path: str
    faceset_path: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    pixel_format: str = EXR
    road: str = STREAM
    output_path: str = ""
    reduction: int = 1
    max_side_px: int = 0
    region: str = WHOLE
    window: Window | None = None
    client_key: str = ""


@dataclass(frozen=True)
class PixelLayer:
    """Where a layer lies in raw pixels: rows from the top, the channels of a pixel side by side."""

    name: str
    channels: str
    offset_bytes: int


@dataclass(frozen=True)
class FramePicture:
    """One merged frame.

    Attributes:
        frame: number on disk. key: equals that of a merge with the same inputs and settings.
        face_count: faces composited; 0 is the untouched plate.
        data: the bytes; empty on the road ``path``.
        path: the file the daemon wrote, the workstation's path; empty on the other roads.
        data_window, display_window: in the coordinates of the plate's EXR divided by ``reduction``.
        color_space: of colours in EXR, half and float.
        notices: what a person should know, one sentence each.
        steps_ms: step → milliseconds.
    """

    frame: int
    key: str
    face_count: int
    data: memoryview
    path: str
    data_window: Window
    display_window: Window
    pixel_aspect: float
    color_space: str
    layers: tuple[PixelLayer, ...]
    reduction: int
    notices: tuple[str, ...]
    steps_ms: Mapping[str, float]
    network_reused: bool

    def save(self, path: str) -> None:
        """Write the bytes to a file, which appears whole: written beside it and renamed.

        Raises:
            HostError: it cannot be written (reasons ``NOT_WRITABLE``, ``DISK_FULL``).
        """
        folder, name = os.path.split(os.path.abspath(path))
        temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
        try:
            os.makedirs(folder, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(self.data)
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            reason = "DISK_FULL" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "NOT_WRITABLE"
            text = f"{path} cannot be written: {error.strerror}."
            raise HostError(text, reason=reason, category="RESOURCE_EXHAUSTED", details={"path": path}) from error


def request_message(request: FrameRequest, paths: PathMap) -> dict[str, Any]:
    """The request as the protocol has it, with the daemon's paths.

    Raises:
        HostError: a format, road or region does not exist (reason ``BAD_REQUEST``).
    """
    message: dict[str, Any] = {
        "plate_path": paths.to_daemon(request.plate_path),
        "frame": request.frame,
        "model_path": paths.to_daemon(request.model_path),
        "faceset_path": paths.to_daemon(request.faceset_path),
        "settings": settings_to_daemon(request.settings, paths),
        "layers": list(request.layers),
        "pixel_format": _enum("PixelFormat", "PIXEL_FORMAT", request.pixel_format),
        "road": _enum("PixelRoad", "PIXEL_ROAD", request.road),
        "output_path": paths.to_daemon(request.output_path),
        "reduction": request.reduction,
        "max_side_px": request.max_side_px,
        "region": _enum("FrameRegion", "FRAME_REGION", request.region),
        "client_key": request.client_key,
    }
    if request.window is not None:
        message["window"] = asdict(request.window)
    return message


def picture_of(header: Mapping[str, Any], data: memoryview, paths: PathMap) -> FramePicture:
    """A decoded ``FrameHeader`` and its bytes."""
    layers = [PixelLayer(one["name"], one["channels"], one["offset_bytes"]) for one in header["layers"]]
    return FramePicture(
        frame=header["frame"],
        key=header["key"],
        face_count=header["face_count"],
        data=data,
        path=paths.to_workstation(header["path"]),
        data_window=_window(header.get("data_window")),
        display_window=_window(header.get("display_window")),
        pixel_aspect=header["pixel_aspect"],
        color_space=header["color_space"],
        layers=tuple(layers),
        reduction=header["reduction"],
        notices=tuple(notice["message"] for notice in header["notices"]),
        steps_ms=header["steps_ms"],
        network_reused=header["network_reused"],
    )


def _enum(enum: str, prefix: str, word: str) -> str:
    name = f"{prefix}_{word.upper()}"
    if name not in ENUMS[f"dflproto.v1.{enum}"]:
        raise HostError(f"There is no {enum} {word!r}.", reason="BAD_REQUEST", category="INVALID_INPUT")
    return name


def _window(message: Mapping[str, Any] | None) -> Window:
    known = message or {}
    return Window(*(int(known.get(side, 0)) for side in ("x", "y", "width", "height")))
