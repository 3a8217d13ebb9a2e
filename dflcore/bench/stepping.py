"""A trainer that is stepped by hand on the benchmark's facesets, and what it takes of main memory.

``python -m dflcore.bench.stepping FOLDER SETTINGS`` trains a few steps and prints by how much its process grew: a
process of its own, because memory that others once needed would hide what training needs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dflcore.config.train import TrainSettings
from dflcore.errors import Internal
from dflcore.io.faceset import Faceset
from dflcore.models.checkpoint import ModelDescription
from dflcore.progress import LoggedRun
from dflcore.train import session
from dflcore.train.trainer import Trainer, name_faces

MEMORY_STEPS = 3
TUNING_NAME = "tuning"
"""Folder beside the facesets where what was measured of the device is kept: a step runs as tuned as an artist's."""
_STATUS = Path("/proc/self/status")
_KIB = 1024


@contextlib.contextmanager
def open_trainer(folder: Path, settings: TrainSettings) -> Iterator[tuple[Trainer, ModelDescription]]:
    """A trainer of a new model, which is gone afterwards.

    Args:
        folder: holds the facesets ``source_faces`` and ``target_faces``; the model is put beside them.

    Raises:
        DflError: as :func:`dflcore.train.trainer.train`.
    """
    with (
        Faceset.open(folder / "source_faces") as source,
        Faceset.open(folder / "target_faces") as target,
    ):
        model_path = Path(tempfile.mkdtemp(prefix="model_", dir=folder))
        try:
            model_folder = session.open_or_create_model(settings, model_path, source.face_type)
            faces = name_faces(source, target)
            with (
                model_folder.lock(),
                contextlib.closing(
                    Trainer(settings, faces, model_folder, LoggedRun(), tuning_folder=folder / TUNING_NAME)
                ) as trainer,
            ):
                yield trainer, model_folder.description
        finally:
            shutil.rmtree(model_path, ignore_errors=True)


def measure_step_memory(folder: Path, settings: TrainSettings) -> float | None:
    """Bytes by which a fresh process grows at most while it trains; None where the system does not say.

    Args:
        folder: as :func:`open_trainer`.

    Raises:
        Internal: the training failed.
    """
    command = [sys.executable, "-P", "-m", "dflcore.bench.stepping", str(folder), json.dumps(settings.values())]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        raise Internal(
            f"The training whose memory is measured ended with code {answer.returncode}.", reason="BENCH_FAILED"
        )
    grown: float | None = json.loads(answer.stdout)["grown_bytes"]
    return grown


def main(arguments: list[str]) -> int:
    """Train a few steps and say by how much this process grew."""
    folder, settings = Path(arguments[0]), TrainSettings.from_values(json.loads(arguments[1]))
    before = _status_bytes("VmRSS")
    with open_trainer(folder, settings) as (trainer, _):
        for _ in range(MEMORY_STEPS):
            trainer.step()
    after = _status_bytes("VmHWM")
    grown = None if before is None or after is None else after - before
    sys.stdout.write(json.dumps({"grown_bytes": grown}) + "\n")
    return 0


def _status_bytes(field: str) -> float | None:
    """A size as the Linux kernel states it of this process."""
    try:
        lines = _STATUS.read_text("utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return float(found[0]) * _KIB if found else None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
