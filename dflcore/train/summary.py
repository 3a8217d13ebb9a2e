"""Loss curves as TensorBoard event files, for whoever watches several trainings at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from dflcore.io.atomic import translate_disk_errors
from dflcore.progress import TrainProgress


class EventFile:
    """Appends scalars to ``<model>/events``; a resumed training continues the same curves.

    When they cannot be written, it says so once; they end there, and training need not.

    Args:
        path: the folder of event files.
        first_iteration: finished iterations; points after it, from a run that was lost, are hidden by viewers.
    """

    def __init__(self, path: Path, first_iteration: int) -> None:
        self._path, self._first_iteration = path, first_iteration
        self._writer: SummaryWriter | None = None
        self._has_failed = False

    def add(self, progress: TrainProgress) -> None:
        """One point on every curve.

        Raises:
            ResourceExhausted, InvalidInput, OSError: they cannot be written; later points are dropped in silence.
        """
        if self._has_failed:
            return
        self._has_failed = True
        with translate_disk_errors(self._path):
            self._append(progress)
        self._has_failed = False

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):  # whoever closes it has more to lose
                self._writer.close()

    def _append(self, progress: TrainProgress) -> None:
        if self._writer is None:
            self._path.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(self._path), purge_step=self._first_iteration + 1)
        scalars = {f"loss/{name}": value for name, value in progress.losses.items()}
        scalars["speed/step_ms"] = progress.step_ms
        scalars["speed/data_ms"] = progress.data_ms
        scalars["learning_rate"] = progress.learning_rate
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, progress.iteration)
