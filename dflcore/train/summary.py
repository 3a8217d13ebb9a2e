"""Loss curves as TensorBoard event files, for whoever watches several trainings at once."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from dflcore.progress import TrainProgress


class EventFile:
    """Appends scalars to ``<model>/events``; a resumed training continues the same curves.

    Args:
        path: the folder of event files.
        first_iteration: finished iterations; points after it, from a run that was lost, are hidden by viewers.
    """

    def __init__(self, path: Path, first_iteration: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(path), purge_step=first_iteration + 1)

    def add(self, progress: TrainProgress) -> None:
        """One point on every curve."""
        scalars = {f"loss/{name}": value for name, value in progress.losses.items()}
        scalars["speed/step_ms"] = progress.step_ms
        scalars["speed/data_ms"] = progress.data_ms
        scalars["learning_rate"] = progress.learning_rate
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, progress.iteration)

    def close(self) -> None:
        self._writer.close()
