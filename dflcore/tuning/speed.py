"""How fast layers run forward and backward on a device, in each arithmetic and memory layout that may be chosen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from dflcore.cores import cores
from dflcore.tuning.layers import LayerShape, LayerUse, count_shapes

CPU_BUDGET_S = 4.0
GPU_BUDGET_S = 3.0
"""Of one measurement; what is running when it is over is finished. A GPU's first calls load its kernels."""
PATIENCE = 3.0
"""On a machine that others use, a measurement ends after so many times its budget by the clock on the wall."""
COVERED_SHARE = 0.95
"""Of the work that is measured; layers that come after it are too small to decide anything."""
CPU_OPERATIONS, GPU_OPERATIONS = 1_000_000_000, 60_000_000_000
"""Most operations of one measured forward pass; larger layers are shrunk."""
MOST_WEIGHTS = 4_000_000
OPERATIONS_PER_WEIGHT = 60
"""What reading, casting and updating one weight costs, in operations; makes dense layers comparable."""
WARM_UP_SHARE = 0.6
"""Of the budget, for everybody's first run; shapes that come later are left out."""
COPIED_SHAPE = (4, 128, 48, 48)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run layers: arithmetic and memory layout."""

    name: str
    autocast: torch.dtype | None
    memory_format: torch.memory_format
    tf32: bool = False

    @property
    def family(self) -> str:
        """The arithmetic, as people call it."""
        return self.name.split()[0]


PLAIN: Final = Way("float32 contiguous", None, torch.contiguous_format)
PIXELWISE: Final = Way("float32 channels_last", None, torch.channels_last)
BFLOAT16: Final = Way("bfloat16 channels_last", torch.bfloat16, torch.channels_last)
TF32_PLAIN: Final = Way("tf32 contiguous", None, torch.contiguous_format, tf32=True)
TF32_PIXELWISE: Final = Way("tf32 channels_last", None, torch.channels_last, tf32=True)
CPU_WAYS: Final = (PLAIN, PIXELWISE, BFLOAT16)
GPU_WAYS: Final = (PLAIN, PIXELWISE, TF32_PLAIN, TF32_PIXELWISE, BFLOAT16)


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """What was measured of one network.

    Attributes:
        seconds: layer shape → name of the way → seconds forward and backward, of that shape in full.
        copy_s_per_byte: to bring a picture into the other layout, and its gradient back.
        covered: share of the network's work that the shapes make up, 0..1.
    """

    seconds: Mapping[LayerShape, Mapping[str, float]]
    copy_s_per_byte: float
    covered: float

    def step_s(self, uses: Sequence[LayerUse]) -> dict[str, float]:
        """Name of the way → seconds that all measured layers of a step take together."""
        totals: dict[str, float] = {}
        for use in uses:
            for way, seconds in self.seconds.get(use.shape, {}).items():
                totals[way] = totals.get(way, 0.0) + seconds
        return totals


def measure_layers(
    uses: Sequence[LayerUse],
    device: torch.device,
    *,
    ways: Sequence[Way] | None = None,
    budget_s: float | None = None,
) -> LayerTimes:
    """Run the layers that matter most, in turns, as often as the budget allows, and keep the shortest times.

    A CPU is measured on one of its cores, in seconds that the thread really ran: the relation between the ways then
    is the same on a machine that others use at the same time, where times on the wall are off by a factor.

    Args:
        uses: of :func:`dflcore.tuning.layers.trace_layers`.
    """
    is_gpu = device.type == "cuda"
    ways = ways or (GPU_WAYS if is_gpu else CPU_WAYS)
    watch = _Stopwatch(device, budget_s or (GPU_BUDGET_S if is_gpu else CPU_BUDGET_S))
    trials: list[_Trial] = []
    with cores(1), _seeded():
        copy_s_per_byte = _measure_copy(device, watch)
        for shape in _most_costly(uses):
            if trials and watch.used() > WARM_UP_SHARE:
                break
            trial = _Trial(shape, device, ways)
            trial.run(watch)
            trials.append(trial)
        while trials and watch.used() < 1.0:
            for trial in trials:
                trial.run(watch)
                if watch.used() >= 1.0:
                    break
    counts, total = count_shapes(uses), sum(_cost(use.shape) for use in uses)
    covered = sum(_cost(trial.shape) * counts[trial.shape] for trial in trials) / total if total else 0.0
    times = LayerTimes({trial.shape: trial.best for trial in trials}, copy_s_per_byte, covered)
    trials.clear()
    if is_gpu:
        torch.cuda.empty_cache()
    return times


@contextmanager
def float32_by(*, tf32: bool) -> Iterator[None]:
    """Inside, CUDA multiplies float32 with TF32's short mantissa, or in full."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    set_tf32(tf32)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def set_tf32(enabled: bool) -> None:
    """For matrix products and convolutions of float32 on CUDA devices, from now on."""
    torch.backends.cuda.matmul.allow_tf32 = enabled
    torch.backends.cudnn.allow_tf32 = enabled


class _Stopwatch:
    """Seconds of computing: of this thread on a CPU, until everything asked for is done on a GPU."""

    def __init__(self, device: torch.device, budget_s: float) -> None:
        self._device, self._budget_s = device, budget_s
        self._clock = time.perf_counter if device.type == "cuda" else time.thread_time
        self._start, self._wall_start = self._clock(), time.perf_counter()

    def read(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()

    def used(self) -> float:
        """Share of the budget that is used up, 1 when there is none left."""
        computed = (self._clock() - self._start) / self._budget_s
        waited = (time.perf_counter() - self._wall_start) / (PATIENCE * self._budget_s)
        return max(computed, waited)


class _Trial:
    """One shape on trial in all ways; ``best`` is the shortest time of each, of the shape in full."""

    def __init__(self, shape: LayerShape, device: torch.device, ways: Sequence[Way]) -> None:
        limit = GPU_OPERATIONS if device.type == "cuda" else CPU_OPERATIONS
        small, self._factor = shape.shrunk(limit, MOST_WEIGHTS)
        self.shape, self._device, self._ways = shape, device, ways
        layer = small.build(device)
        x = torch.randn(small.input_shape(), device=device)
        self._layers = {form: _in_format(layer, form) for form in {way.memory_format for way in ways}}
        self._inputs = {way.name: _input_for(x, way) for way in ways}
        self.best: dict[str, float] = {}
        self._is_warm = False

    def run(self, watch: _Stopwatch) -> None:
        """Every way once. On a GPU the very first run, which loads kernels, does not count."""
        for way in self._ways:
            layer, x = self._layers[way.memory_format], self._inputs[way.name]
            if not self._is_warm and self._device.type == "cuda":
                _forward_backward(layer, x, way, self._device)
            start = watch.read()
            _forward_backward(layer, x, way, self._device)
            seconds = (watch.read() - start) * self._factor
            self.best[way.name] = min(seconds, self.best.get(way.name, seconds))
        self._is_warm = True


def _forward_backward(layer: nn.Module, x: Tensor, way: Way, device: torch.device) -> None:
    with float32_by(tf32=way.tf32):
        with torch.autocast(device.type, dtype=way.autocast, enabled=way.autocast is not None):
            y = layer(x)
        torch.autograd.grad(y, [x, *layer.parameters()], torch.ones_like(y))


def _in_format(layer: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    copied = type(layer).__new__(type(layer))
    copied.__dict__.update(layer.__dict__)
    copied._parameters = {
        name: None if value is None else nn.Parameter(_formatted(value.detach(), memory_format))
        for name, value in layer._parameters.items()
    }
    return copied


def _input_for(x: Tensor, way: Way) -> Tensor:
    return _formatted(x.to(way.autocast or x.dtype), way.memory_format).requires_grad_()


def _formatted(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    tensor = tensor.clone(memory_format=torch.preserve_format)
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def _measure_copy(device: torch.device, watch: _Stopwatch) -> float:
    """Seconds per byte to change the layout of a picture, there and back."""
    x = torch.zeros(COPIED_SHAPE, device=device)
    best = float("inf")
    for _ in range(3):
        start = watch.read()
        x.contiguous(memory_format=torch.channels_last).contiguous()
        best = min(best, watch.read() - start)
    return best / (x.numel() * x.element_size())


def _most_costly(uses: Sequence[LayerUse]) -> list[LayerShape]:
    """Shapes that make up nearly all the work, those that take most of it first."""
    costs = {shape: _cost(shape) * count for shape, count in count_shapes(uses).items()}
    ranked = sorted(costs, key=lambda shape: -costs[shape])
    total, covered, kept = sum(costs.values()), 0.0, []
    for shape in ranked:
        if covered >= COVERED_SHARE * total:
            break
        kept.append(shape)
        covered += costs[shape]
    return kept


def _cost(shape: LayerShape) -> float:
    return shape.operations + OPERATIONS_PER_WEIGHT * shape.weight_count


@contextmanager
def _seeded() -> Iterator[None]:
    """Leaves torch's random state as it found it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
