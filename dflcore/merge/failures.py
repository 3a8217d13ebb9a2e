"""Frames that fail: what is tried again, what a frame's fault is, and what a merge says about it in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from dflcore.errors import DataCorrupt, DflError, Internal, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.io.plate import Plate, PlateImage, brief
from dflcore.progress import Notice

logger = logging.getLogger(__name__)

RETRY_PAUSE_S = 0.5
"""Before a file is read or written once more; a file server's caches are about as old."""
MAX_PAUSES_IN_ROW = 3
"""When so many frames in a row did not get better by waiting, the next are not waited for."""
MAX_FAILED_IN_ROW = 3
"""When computing failed on so many frames in a row, it is not the frames."""

_Result = TypeVar("_Result")


class Retrying:
    """Second attempts of one merge. Each method belongs to one stage and is called by its thread only."""

    def __init__(self, pause_s: float | None = None) -> None:
        self._pause_s = RETRY_PAUSE_S if pause_s is None else pause_s
        self._in_vain = 0
        self._failed_in_row = 0

    def read(self, plate: Plate, number: int, notices: list[Notice]) -> tuple[PlateImage, bool]:
        """A frame, and whether it took a second attempt. Raises as :meth:`Plate.read`."""
        try:
            image = plate.read(number)
        except (NotFound, DataCorrupt) as error:
            if self._in_vain < MAX_PAUSES_IN_ROW:
                time.sleep(self._pause_s)
            self._in_vain += 1
            image = plate.read(number)
            notices.append(_retried(number, "read", error))
            self._in_vain = 0
            return image, True
        self._in_vain = 0
        return image, False

    def compute(self, work: Callable[[], _Result], number: int, notices: list[Notice]) -> _Result:
        """What ``work`` returns; an error that nobody raised on purpose is given a second chance."""
        try:
            result = work()
        except DflError:
            raise
        except Exception as error:
            logger.warning("frame %s is computed again", number, exc_info=True)
            _free_device_memory()
            result = work()
            notices.append(_retried(number, "computed", error))
        self._failed_in_row = 0
        return result

    def must_stop(self, error: Exception) -> bool:
        """After a frame could not be computed: whether the next ones would fare no better."""
        self._failed_in_row += 1
        is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        return is_memory or self._failed_in_row >= MAX_FAILED_IN_ROW

    def write(self, work: Callable[[], None], number: int, notices: list[Notice]) -> None:
        """Write a file. A full disk and a folder that may not be written do not get better by trying again."""
        try:
            work()
        except (InvalidInput, OSError) as error:
            if isinstance(error, InvalidInput) and error.reason != "CANNOT_WRITE":
                raise
            time.sleep(self._pause_s)
            work()
            notices.append(_retried(number, "written", error))


class FailedFrames:
    """What failed for good, by frame number."""

    def __init__(self) -> None:
        self._errors: dict[int, DflError] = {}

    def __len__(self) -> int:
        return len(self._errors)

    def add(self, number: int, error: DflError) -> None:
        """Remember the words; what the error still holds on to (a frame's pixels) is let go."""
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self._errors[number] = error

    def notice(self, number: int) -> Notice:
        """To be told at once; the error comes when the others are done."""
        error = self._errors[number]
        return Notice(
            message=f"Frame {number} failed: {error.message} The merge goes on with the next.",
            reason="FRAME_FAILED",
            details={"frame": str(number), "error": error.reason, **error.details},
        )

    def raise_if_any(self) -> None:
        """Raises the one error there is, or one of the first's class that names all frames."""
        if not self._errors:
            return
        first = next(iter(self._errors.values()))
        if len(self._errors) == 1:
            raise first
        frames = brief(FrameRange.of(self._errors))
        reasons = {error.reason for error in self._errors.values()}
        raise type(first)(
            f"{len(self._errors)} frames could not be merged: {frames}; the others are done. "
            f"The first: {first.message}",
            reason=first.reason if len(reasons) == 1 else "FRAMES_FAILED",
            **{**first.details, "frame": frames},
        ) from first


def unexpected_failure(number: int, error: Exception) -> Internal:
    """The error of a frame on which computing failed for a reason nobody foresaw."""
    logger.error("frame %s failed", number, exc_info=error)
    return Internal(
        f"Frame {number} cannot be merged ({type(error).__name__}: {error}). The log has the details; please report "
        "it.",
        reason="UNEXPECTED",
        frame=number,
        exception=type(error).__name__,
    )


def _retried(number: int, what: str, error: Exception) -> Notice:
    text = error.message if isinstance(error, DflError) else f"{type(error).__name__}: {error}"
    return Notice(
        message=f"Frame {number} was {what} at the second attempt; the first: {text}",
        reason="FRAME_RETRIED",
        severity="info",
        details={"frame": str(number)},
    )


def _free_device_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
