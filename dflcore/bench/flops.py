"""What a network costs, and what this machine allows: operations counted, kernels timed alone, the matrix peak.

Everything is taken from the real network while it runs forward and backward, not from a table: whatever convolutions
and matrix products reach torch's dispatcher are written down with their shapes, and PyTorch's own counter counts their
multiplications and additions (two operations each). Losses, optimiser and pictures are not in it, so that what is
achieved is never flattered.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dflcore.models.face_model import FaceModel

_ATEN: Final = torch.ops.aten
_CONVOLUTIONS: Final = (_ATEN.convolution.default, _ATEN.convolution_backward.default)
_PRODUCTS: Final = (_ATEN.mm.default, _ATEN.addmm.default, _ATEN.bmm.default, _ATEN.baddbmm.default)
_LAYOUTS: Final = (torch.contiguous_format, torch.channels_last)
_PEAK_SIDES: Final[Mapping[str, tuple[int, ...]]] = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
_PEAK_REPEATS: Final = 4


class _Shape(NamedTuple):
    """A tensor without its values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class KernelCall:
    """One call of a convolution or matrix product, tensors as shapes; calls that are alike are equal.

    Attributes:
        function: the dispatcher's operator.
        arguments: what it was given.
        layer: forward and backward of one convolution have the same: what both depend on.
    """

    function: Any
    arguments: tuple[Any, ...]
    layer: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """One forward and backward pass.

    Attributes:
        operations: floating-point operations, a multiplication with its addition counting two.
        calls: its convolutions and matrix products, and how often each is made.
    """

    operations: int
    calls: Mapping[KernelCall, int]


class _Recorder(TorchDispatchMode):
    """Writes down convolutions and matrix products on their way to the kernels."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[KernelCall] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _CONVOLUTIONS or func in _PRODUCTS:
            arguments = tuple(_frozen(value) for value in args)
            self.calls[KernelCall(func, arguments, _layer_of(func, arguments))] += 1
        return func(*args, **(kwargs or {}))


def measure_network(
    model: FaceModel, batch_size: int, device: torch.device, autocast: torch.dtype | None = None
) -> NetworkCost:
    """Count one pass of the network as training makes it: everybody it knows, painted from their own picture.

    Args:
        model: on ``device``; its gradients are cleared.
        batch_size: faces of each person.
        autocast: dtype the pass runs in, None for the model's own.
    """
    side = model.resolution
    faces = {name: torch.rand(batch_size, 3, side, side, device=device) for name in model.identities}
    counter, recorder = FlopCounterMode(display=False), _Recorder()
    with counter, recorder:
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            painted = model.reconstruct(faces)
        total = torch.stack([one.face.float().sum() + one.mask.float().sum() for one in painted.values()]).sum()
        total.backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    return NetworkCost(counter.get_total_flops(), dict(recorder.calls))


def measure_kernel_limit(cost: NetworkCost, device: torch.device, repeats: int = 3) -> float:
    """Seconds that the pass's convolutions and matrix products take when each is run alone, in its best layout.

    Both passes of a convolution run in the layout that serves them best together, as in a network. Less than this a
    step cannot take on this machine with torch's kernels.
    """
    layers: dict[tuple[Any, ...], list[tuple[KernelCall, int]]] = {}
    for call, count in cost.calls.items():
        layers.setdefault(call.layer, []).append((call, count))
    total = 0.0
    for calls in layers.values():
        layouts = _LAYOUTS if calls[0][0].function in _CONVOLUTIONS else _LAYOUTS[:1]
        total += min(
            sum(count * _best_seconds(_prepared(call, layout, device), device, repeats) for call, count in calls)
            for layout in layouts
        )
    return total


def measure_matrix_peak(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Most operations per second of a square matrix product on this device, in this dtype, with torch's threads.

    Asked for as a product and as a convolution of single pixels, which is the same arithmetic: the library behind the
    first is held back on some makers' processors.
    """
    best = 0.0
    for side in _PEAK_SIDES.get(device.type, _PEAK_SIDES["cpu"]):
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        for work in (_multiply(a, b, torch.empty_like(a)), _convolve(a, b)):
            best = max(best, 2.0 * side**3 / _best_seconds(work, device, _PEAK_REPEATS))
    return best


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _multiply(a: Tensor, b: Tensor, out: Tensor) -> Callable[[], object]:
    return lambda: torch.mm(a, b, out=out)


def _convolve(a: Tensor, b: Tensor) -> Callable[[], object]:
    pixels = a.t()[None, :, :, None].contiguous(memory_format=torch.channels_last)
    return functools.partial(torch.nn.functional.conv2d, pixels, b[:, :, None, None].contiguous())


def _best_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The shortest of some runs after one that does not count: what the machine can do, not what it did."""
    work()
    synchronize(device)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _frozen(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Shape(tuple(value.shape), tuple(value.stride()), value.dtype)
    return tuple(value) if isinstance(value, Sequence) else value


def _layer_of(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Input's and weight's shapes and how the window moves; for a product, itself."""
    if function is _ATEN.convolution.default:
        seen, weight, geometry = arguments[0], arguments[1], arguments[3:]
    elif function is _ATEN.convolution_backward.default:
        seen, weight, geometry = arguments[1], arguments[2], arguments[4:10]
    else:
        return (str(function), *arguments)
    return ("convolution", seen.shape, weight.shape, seen.dtype, *geometry)


def _prepared(call: KernelCall, layout: torch.memory_format, device: torch.device) -> Callable[[], object]:
    """The call, ready to be made again on random numbers; pictures and filters of four dimensions in the layout."""
    is_product = call.function in _PRODUCTS

    def made(value: Any) -> Any:
        if not isinstance(value, _Shape):
            return list(value) if isinstance(value, tuple) else value
        if is_product:
            tensor = torch.empty_strided(value.shape, value.stride, dtype=value.dtype, device=device)
            return tensor.normal_()
        tensor = torch.randn(value.shape, device=device).to(value.dtype)
        return tensor.contiguous(memory_format=layout) if tensor.ndim == 4 else tensor

    arguments = [made(value) for value in call.arguments]
    return lambda: call.function(*arguments)
