"""Something that waits, done in a thread of its own, for an interface that must not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .errors import HostError

Answer = TypeVar("Answer")


class Task(Generic[Answer]):
    """A call that runs in the background. The interface's timer looks at :attr:`is_done`; nobody is called back.

    Args:
        work: what to do; it must end by itself (calls of a session have deadlines).
        name: of the thread.
    """

    def __init__(self, work: Callable[[], Answer], name: str = "dflhost-task") -> None:
        self._work = work
        self._answer: list[Answer] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """It has ended, one way or the other. Never waits."""
        return not self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """It is this very thread that asks."""
        return threading.current_thread() is self._thread

    @property
    def error(self) -> HostError | None:
        """Why it failed; None while it runs and when it did not."""
        error = self._error if self.is_done else None
        if error is None or isinstance(error, HostError):
            return error
        return HostError(
            f"The integration met an error of its own ({type(error).__name__}: {error}); please report it.",
            reason="UNEXPECTED_ERROR",
        )

    def result(self, timeout_s: float | None = None) -> Answer:
        """The answer; waits for it where it is not there yet.

        Raises:
            HostError: the call failed; or (reason ``TASK_RUNNING``) it has not ended in time.
        """
        self._thread.join(timeout_s)
        if not self.is_done:
            raise HostError("The answer is not there yet.", reason="TASK_RUNNING", category="CONFLICT")
        error = self.error
        if error is not None:
            raise error from self._error
        return self._answer[0]

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until it has ended, whatever came out."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._answer.append(self._work())
        except BaseException as error:  # kept for whoever asks for the result
            self._error = error
