"""What the choice of layout and arithmetic brings to a whole step: ``python -m dflcore.bench.layouts df 96 4``.

The ways take turns, so that other programs disturb all alike; ``one_core`` measures on one core in seconds that the
thread really ran, which keeps the ratios right on a machine that others use.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace

import torch

from dflcore.bench.figures import Figure, print_figures
from dflcore.models.device import resolve_device
from dflcore.models.face_model import FaceModel
from dflcore.models.registry import load_preset
from dflcore.tuning.arithmetic import Arithmetic, choose_arithmetic
from dflcore.tuning.layers import trace_layers
from dflcore.tuning.layouts import plan_layouts
from dflcore.tuning.speed import measure_layers

_PLAIN = Arithmetic(autocast=None, memory_format=torch.contiguous_format, reason="")


def bench_layouts(preset_name: str, resolution: int, batch_size: int, *, rounds: int, one_core: bool) -> list[Figure]:
    """A step without data and losses' details: paint, compare, backward, fused Adam."""
    device = resolve_device("auto")
    preset = load_preset(preset_name)
    network = preset.resolve_network({"resolution": resolution})
    with torch.device("meta"):
        blank = preset.build(network)
    uses = trace_layers(blank, batch_size)
    chosen = choose_arithmetic(blank, device, batch_size=batch_size)
    plan, _ = plan_layouts(uses, measure_layers(uses, device))
    last = replace(_PLAIN, memory_format=torch.channels_last)
    ways = {
        "contiguous": _PLAIN,
        "channels_last": last,
        "layout per layer": replace(_PLAIN, layouts=plan),
        "bfloat16": replace(last, autocast=torch.bfloat16),
        "as chosen": chosen,
    }
    steps = {name: _Step(preset.build(network), way, batch_size, device) for name, way in ways.items()}
    clock = time.thread_time if one_core and device.type == "cpu" else time.perf_counter
    if one_core:
        torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, step in steps.items():
            start = clock()
            step.run()
            if round_number:
                times[name].append(clock() - start)
    note = f"{preset_name} {resolution} px, {batch_size} + {batch_size}, {'one core' if one_core else 'all cores'}"
    base = statistics.median(times["contiguous"])
    figures = []
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        text = f"{note}; {chosen.reason}" if name == "as chosen" else note
        figures.append(Figure(stage="layouts", name=name, value=1e3 * middle, unit="ms/step", note=text))
        figures.append(Figure(stage="layouts", name=f"{name}, speed", value=base / middle, unit="× contiguous"))
    return figures


class _Step:
    def __init__(self, model: FaceModel, way: Arithmetic, batch_size: int, device: torch.device) -> None:
        self._model, self._way, self._device = model.to(device), way, device
        way.prepare(self._model)
        self._optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
        shape = (batch_size, 3, model.resolution, model.resolution)
        self._faces = {name: torch.rand(shape, device=device) for name in model.identities}

    def run(self) -> None:
        with torch.autocast(self._device.type, dtype=self._way.autocast, enabled=self._way.autocast is not None):
            painted = self._model.reconstruct(self._faces)
        losses = [(one.face.float() - self._faces[name]).square().mean() for name, one in painted.items()]
        losses += [(1 - one.mask.float()).square().mean() for one in painted.values()]
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def main(arguments: list[str]) -> int:
    """Preset, resolution and batch from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("resolution", type=int)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    figures = bench_layouts(
        given.preset, given.resolution, given.batch_size, rounds=given.rounds, one_core=given.one_core
    )
    print_figures(figures, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
