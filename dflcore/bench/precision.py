"""Whether bfloat16 learns as float32 does: ``python -m dflcore.bench.precision FOLDER --steps 2000``.

The same network, seed and batches, trained once in each arithmetic; compared is the mean loss of the last tenth, where
single steps differ by more than the arithmetics do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from dflcore.bench.figures import Figure, print_figures
from dflcore.bench.stepping import open_trainer
from dflcore.config.train import TrainSettings

ARITHMETICS = ("float32", "bfloat16")
_STAGE = "precision"


def bench_precision(folder: Path, *, preset: str, steps: int, device: str = "auto") -> list[Figure]:
    """Loss and time of both, and how far the losses are apart.

    Args:
        folder: holds the facesets ``source_faces`` and ``target_faces``.
        steps: of each, 10 at least.

    Raises:
        DflError: as :func:`dflcore.train.trainer.train`.
    """
    figures = []
    means = []
    for precision in ARITHMETICS:
        settings = TrainSettings(preset=preset, precision=precision, iterations=steps, device=device)
        tail = max(1, steps // 10)
        times = []
        with open_trainer(folder, settings) as (trainer, description):
            for step in range(steps):
                if step == steps - tail:
                    trainer.loop.report()  # what it reports next is the mean from here on
                started = time.perf_counter()
                trainer.step()
                times.append(time.perf_counter() - started)
            trainer.loop.report()
            loss = sum(trainer.loop.losses[name] for name in trainer.steps.loss_names)
            note = f"{preset} {description.resolution} px, {precision}, {steps} steps"
        means.append(loss)
        figures += [
            Figure(
                stage=_STAGE,
                name=f"loss, {precision}",
                value=loss,
                unit="",
                note=f"{note}, mean of the last tenth",
            ),
            Figure(stage=_STAGE, name=f"step, {precision}", value=1e3 * statistics.median(times), unit="ms", note=note),
        ]
    apart = 100.0 * abs(means[1] / means[0] - 1.0)
    return [*figures, Figure(stage=_STAGE, name="losses apart", value=apart, unit="%", note="of float32's")]


def main(arguments: list[str]) -> int:
    """Folder, preset and steps from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    figures = bench_precision(given.folder, preset=given.preset, steps=given.steps, device=given.device)
    print_figures(figures, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
