"""``dfl frame``: one merged frame, now, into a file or to standard output; any layer, any size."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dflcore.config.merge import MergeSettings
from dflcore.errors import Conflict, InvalidInput
from dflcore.io.atomic import translate_disk_errors, write_bytes
from dfldaemon.cli.exit_codes import OK
from dfldaemon.cli.flags import given_settings
from dfldaemon.cli.session import CliSession
from dfldaemon.cli.wire_json import message_values
from dfldaemon.cli.work import with_whole_tools
from dflproto.v1 import merge_service_pb2 as wire
from dflproto.v1 import settings_pb2

FORMATS = {
    "exr": wire.PIXEL_FORMAT_EXR,
    "png": wire.PIXEL_FORMAT_PNG,
    "half": wire.PIXEL_FORMAT_HALF,
    "float": wire.PIXEL_FORMAT_FLOAT,
}
SIZES = {"full": 1, "half": 2, "quarter": 4}
STDOUT = "-"
BEAUTY = "beauty"
MAX_NUMBER = 2**62
MAX_DEADLINE_S = 1e6


def frame(session: CliSession, options: argparse.Namespace) -> int:
    """Have a frame rendered. Raises DflError."""
    settings = with_whole_tools(session, given_settings(options, MergeSettings))
    config = session.color_config(str(settings.get("ocio_config", "")))
    if config:
        settings["ocio_config"] = config
    _check_numbers(options)
    to_stdout = options.output == STDOUT
    format_name = _format_name(options)
    if session.output.is_json and to_stdout:
        raise InvalidInput("--json and `--output -` both want standard output.", reason="BAD_USAGE")
    if to_stdout and sys.stdout.isatty():
        raise InvalidInput(
            "A picture would be gibberish on a terminal; send standard output to a file or another program.",
            reason="BAD_USAGE",
        )
    is_file = not to_stdout and format_name in ("exr", "png")
    region, window = _region(options.region)
    request = wire.MergeFrameRequest(
        plate_path=session.absolute(options.input),
        frame=options.frame,
        model_path=session.absolute(options.model),
        faceset_path=session.absolute(options.faceset),
        settings=settings_pb2.MergeSettings(**settings),  # type: ignore[arg-type]
        layers=_layers(options, settings, format_name),
        pixel_format=FORMATS[format_name],
        road=wire.PIXEL_ROAD_PATH if is_file else wire.PIXEL_ROAD_STREAM,
        output_path=session.absolute(options.output) if is_file else "",
        reduction=SIZES[options.size],
        max_side_px=options.max_side,
        region=region,
        window=window,
    )
    with session.connect_or_start() as client:
        picture = client.merge_frame(request, deadline_s=options.deadline_s)
    header = picture.header
    for notice in header.notices:
        session.output.remark(notice.message)
    if to_stdout:
        _write_to_stdout(picture.data)
        return OK
    if not is_file:
        _write(Path(session.absolute(options.output)), bytes(picture.data), is_allowed=bool(settings.get("overwrite")))
    session.output.event("merged_frame", output=session.absolute(options.output), header=message_values(header))
    window_text = f"{header.data_window.width}x{header.data_window.height}"
    faces = "no face" if header.face_count == 0 else f"{header.face_count} face{'s' * (header.face_count > 1)}"
    session.output.result(f"{session.absolute(options.output)} ({window_text}, {faces})")
    return OK


def _check_numbers(options: argparse.Namespace) -> None:
    """Raises InvalidInput for what no call can carry."""
    for flag, value in (("--frame", options.frame), ("--max-side", options.max_side)):
        if abs(value) > MAX_NUMBER:
            raise InvalidInput(f"{flag} {value} is out of range.", reason="BAD_USAGE")
    if not 0.0 < options.deadline_s <= MAX_DEADLINE_S:
        raise InvalidInput(
            f"--deadline-s {options.deadline_s:g} must be above 0 and at most {MAX_DEADLINE_S:g} seconds.",
            reason="BAD_USAGE",
        )


def _format_name(options: argparse.Namespace) -> str:
    """The one given, else what the file's name says. Raises InvalidInput."""
    if not options.output:
        raise InvalidInput("--output is empty; name a file.", reason="BAD_USAGE")
    if options.format:
        return str(options.format)
    suffix = Path(options.output).suffix.lower().removeprefix(".")
    if suffix in ("exr", "png"):
        return suffix
    if options.output == STDOUT:
        raise InvalidInput("For standard output, say what to write with --format.", reason="BAD_USAGE")
    raise InvalidInput(
        f"{options.output} does not say what to write; end it in .exr or .png, or give --format.",
        reason="BAD_USAGE",
    )


def _layers(options: argparse.Namespace, settings: dict[str, object], format_name: str) -> list[str]:
    """Those named; else what a merge writes into an EXR, and the beauty alone into anything else."""
    if options.layer:
        return list(options.layer)
    if format_name != "exr":
        return [BEAUTY]
    listed = str(settings.get("layers", MergeSettings.model_fields["layers"].default))
    return [BEAUTY, *(name.strip() for name in listed.split(",") if name.strip())]


def _region(text: str) -> tuple[wire.FrameRegion, wire.PixelWindow | None]:
    """``whole``, ``faces``, or ``x,y,width,height``. Raises InvalidInput."""
    if text in ("whole", "faces"):
        return (wire.FRAME_REGION_FACES if text == "faces" else wire.FRAME_REGION_WHOLE), None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
        window = wire.PixelWindow(x=x, y=y, width=width, height=height)
    except ValueError as error:  # of a number that is too large, too
        raise InvalidInput(
            f"--region {text!r} must be whole, faces, or x,y,width,height in pixels.", reason="BAD_USAGE"
        ) from error
    return wire.FRAME_REGION_WINDOW, window


def _write_to_stdout(data: memoryview) -> None:
    """Past Python's buffer, which would be written once more at the end after an error. Raises ResourceExhausted."""
    left = data
    with translate_disk_errors(Path("standard output")):
        while left:
            left = left[os.write(sys.stdout.fileno(), left) :]


def _write(path: Path, data: bytes, *, is_allowed: bool) -> None:
    """Raises InvalidInput, Conflict, ResourceExhausted."""
    if os.path.lexists(path):
        if path.exists() and not path.is_file():
            raise InvalidInput(f"The output {path} is no file.", reason="BAD_OUTPUT_PATTERN", path=path)
        if not is_allowed:
            raise Conflict(
                f"{path} is there already. Nothing was written. Name another file, or give --overwrite.",
                reason="OUTPUT_EXISTS",
                path=path,
            )
    try:
        write_bytes(path, data)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror}. Name a file in a folder you may write to.",
            reason="NOT_WRITABLE",
            path=path,
        ) from error
