"""Versions of results that this computer writes itself, for a daemon that sees none of its disks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import replace

from dflhost.errors import HostError
from dflhost.plates import FrameSet, Plate, frame_path
from dflhost.results import VERSION_TOKEN, ResultKey, StaleReport, next_version, version_of
from dflhost.sending import MODEL_LEAVES_OUT

from . import marks


def begin(output: str, made_output: str, report: StaleReport | None, plate: Plate) -> tuple[str, tuple[int, ...]]:
    """Where frames go, and which of them are still to be made: only what has changed.

    The version before is gone on with where it only lacks frames; where some are out of date a new one begins with the
    others of it, since a version never changes its meaning.

    Args:
        output: pattern with ``{version}``. made_output: of the version before; empty where there is none.
        report: what is out of date in that one.

    Raises:
        HostError: a frame cannot be taken over (``NOT_WRITABLE``).
    """
    asked = plate.frames.frames or (1,)
    is_ours = output.replace(VERSION_TOKEN, f"v{version_of(made_output):03d}") == made_output
    if report is None or not is_ours:
        return next_version(output), asked
    if not report.changed.frames:
        return made_output, report.missing.frames
    pattern = next_version(output)
    for frame in FrameSet.of(asked) - report.frames:
        _take_over(frame_path(made_output, frame), frame_path(pattern, frame))
    return pattern, report.frames.frames


def write_key(pattern: str, key: ResultKey) -> None:
    """Leave what frames are made from beside them; what is known of other frames of the version is kept."""
    before = ResultKey.from_text(marks.read_key(pattern))
    if before is not None and replace(before, frames={}) == replace(key, frames={}):
        key = replace(key, frames={**before.frames, **key.frames})
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(pattern), exist_ok=True)
    marks.write_key(pattern, key.to_text())


def made_of(key: ResultKey) -> str:
    """What a job is made from, but for the plate, short enough for a marker."""
    return f"{key.model_digest}:{key.settings_digest}"


def key_of(text: str, plate: Plate, software: str) -> ResultKey:
    """The key of a job that was met again, with the plate as it is now; inverse of :func:`made_of`."""
    model, _, settings = text.partition(":")
    return ResultKey(plate.path, plate.identities(), model, settings, software)


def folder_digest(path: str) -> str:
    """Changes when a model's files here do; reads none of them, and nothing is sent for it."""
    digest = hashlib.sha256()
    for folder, below, names in os.walk(path):
        below[:] = sorted(one for one in below if not one.startswith(".") and one not in MODEL_LEAVES_OUT)
        for name in sorted(names):
            with contextlib.suppress(OSError):
                about = os.stat(os.path.join(folder, name))
                relative = os.path.relpath(os.path.join(folder, name), path)
                facts = f"{relative}\0{about.st_size}\0{about.st_mtime_ns // 1_000_000}\n"
                digest.update(facts.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _take_over(before: str, now: str) -> None:
    """A frame of the version before, as a second name of the same file where the disk can do that."""
    try:
        os.makedirs(os.path.dirname(now), exist_ok=True)
        try:
            os.link(before, now)
        except OSError:
            shutil.copy2(before, now)
    except OSError as error:
        raise HostError(
            f"{now} cannot be written: {error.strerror}.",
            reason="NOT_WRITABLE",
            category="RESOURCE_EXHAUSTED",
            details={"path": now},
        ) from error
