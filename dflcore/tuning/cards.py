"""Tables for the documentation: what the presets need of a GPU, computed without one.

``python -m dflcore.tuning.cards`` prints them as Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from dflcore.models.registry import load_preset
from dflcore.tuning.memory import GPU_CONTEXT_BYTES, GPU_SLACK, MemoryEstimate, MemoryEstimator, TrainingLoad

GB = 10**9
USABLE = 0.9
"""Share of a card's memory that a desktop leaves to us; assumed."""
CARDS_GB = {"small-card": 2, "large-card": 24}
LARGEST_BATCH = 64
NOTE = (
    "Computed from the networks' shapes, no card at hand: peak of one step with the model's own losses replaced by a "
    "squared error and without critics; {context} GB for CUDA and {slack} % for scratch memory and gaps are assumed."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRow:
    """A preset under some settings. ``fitting``: largest batch on that card, 0 for none."""

    preset: str
    card_gb: int
    settings: str
    load: TrainingLoad
    estimate: MemoryEstimate
    fitting: int


def compute_rows(preset_name: str, card_gb: int, precisions: Sequence[torch.dtype | None]) -> Iterator[CardRow]:
    """A preset with its own batch on a card: plain, then with what saves memory, one after the other."""
    preset = load_preset(preset_name)
    with torch.device("meta"):
        estimator = MemoryEstimator(preset.build(preset.network))
    recipe = preset.recipe
    base = TrainingLoad(
        batch_size=recipe.batch_size, optimizer=recipe.optimizer, has_mean=recipe.ema_decay > 0, on_gpu=True
    )
    for autocast in precisions:
        plain = replace(base, autocast=autocast)
        lighter = replace(plain, checkpoint_activations=True)
        for load in (plain, lighter, replace(lighter, offload_optimizer=True)):
            yield CardRow(
                preset=preset_name,
                card_gb=card_gb,
                settings=_describe(load),
                load=load,
                estimate=estimator.estimate(load),
                fitting=estimator.largest_batch(load, int(USABLE * card_gb * GB), LARGEST_BATCH),
            )


def table(rows: Sequence[CardRow], note: str) -> str:
    """Markdown; sizes in GB of 10^9 bytes."""
    lines = [
        "| preset, batch | settings | weights | gradients | optimiser | activations | workspace | CUDA | **peak** "
        "| largest batch |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        one = row.estimate
        parts = (one.weights, one.gradients, one.optimizer, one.activations, one.workspace, one.runtime)
        sizes = " | ".join(f"{part / GB:.2f}" for part in parts)
        limit = f"{row.fitting}{'+' if row.fitting == LARGEST_BATCH else ''} on {row.card_gb} GB"
        lines.append(
            f"| {row.preset}, {row.load.batch_size} | {row.settings} | {sizes} | **{one.total / GB:.2f}** | {limit} |"
        )
    return "\n".join([*lines, "", note, ""])


def main() -> int:
    """Print the table of the presets made for a class of cards."""
    rows = [
        row for preset, card_gb in CARDS_GB.items() for row in compute_rows(preset, card_gb, (None, torch.bfloat16))
    ]
    note = NOTE.format(context=f"{GPU_CONTEXT_BYTES / GB:.1f}", slack=round(100 * GPU_SLACK))
    sys.stdout.write(table(rows, note))
    return 0


def _describe(load: TrainingLoad) -> str:
    words = ["float32" if load.autocast is None else "bfloat16"]
    words += ["checkpoint_activations"] if load.checkpoint_activations else []
    words += ["offload_optimizer"] if load.offload_optimizer else []
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
