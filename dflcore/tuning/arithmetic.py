"""Which arithmetic and memory layout a network runs in on a device: as told, or as a short measurement finds.

Flags of the processor do not decide: the same instruction is twice as fast as float32 on one machine and half as fast
on the next. The measurement is kept in the user's cache and repeated when device, cores, torch or network change.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from dflcore.environment import processor_name
from dflcore.errors import DflError
from dflcore.io.atomic import write_text
from dflcore.tuning.layers import trace_layers
from dflcore.tuning.layouts import AppliedLayouts, LayoutPlan, apply_layouts, plan_layouts, uniform_plan
from dflcore.tuning.speed import BFLOAT16, PIXELWISE, PLAIN, TF32_PIXELWISE, TF32_PLAIN, Way, measure_layers, set_tf32
from dflcore.tuning.twin import Run, paint_everybody
from dflcore.weights.store import cache_folder

_LOG = logging.getLogger(__name__)
SHORTER_GAIN = 1.2
"""A shorter arithmetic must make the layers this much faster: it also costs conversions between them."""
LAYOUT_GAIN = 1.05
"""A layout must make the layers this much faster than contiguous, and a mixed one than a single one."""
KEPT_SHARE = 0.5
"""A measurement that saw less of the network's work than this, on a busy machine, is used but not kept."""
CACHE_VERSION = 3
Family = tuple[Way, ...]
FLOAT32: Final = (PLAIN, PIXELWISE)
FAMILIES: Final[tuple[Family, ...]] = (FLOAT32, (TF32_PLAIN, TF32_PIXELWISE), (BFLOAT16,))
"""Ways of one arithmetic, the longest first."""
_FORMAT_NAMES: Final = {torch.contiguous_format: "contiguous", torch.channels_last: "channels_last"}
_FORMATS: Final = {name: form for form, name in _FORMAT_NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Times of one network on one device.

    Attributes:
        step_ms: way → milliseconds that the measured layers of one step take, forward and backward; on a CPU, of one
            core.
        mixed_ms: the same for float32 with a layout for each layer, its changes included; layouts: that plan.
        covered: share of the network's work that was measured, 0..1.
    """

    step_ms: Mapping[str, float]
    mixed_ms: float
    layouts: LayoutPlan
    covered: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """How a network is run.

    Attributes:
        autocast: dtype for :func:`torch.autocast`, None for float32.
        memory_format: of the pictures that are handed in, and of weights the plan does not name.
        layouts: layout of each convolution; see :func:`apply_layouts`.
        tf32: let CUDA multiply float32 with TF32's short mantissa.
        reason: why, for people. measured: way → milliseconds; empty when nothing was measured.
    """

    autocast: torch.dtype | None
    memory_format: torch.memory_format
    layouts: LayoutPlan = field(default_factory=dict)
    tf32: bool = False
    reason: str
    measured: Mapping[str, float] = field(default_factory=dict)

    def prepare(self, model: nn.Module) -> AppliedLayouts:
        """Set the process to TF32 or not, and give the model its layouts. Before the optimiser is built."""
        set_tf32(self.tf32)
        return apply_layouts(model, self.layouts or uniform_plan(model, self.memory_format))


def tuning_folder(environment: Mapping[str, str]) -> Path:
    """Where measurements are kept: the user's own cache folder.

    Args:
        environment: usually ``os.environ``; only entry points may pass it.
    """
    return cache_folder(environment).parent / "tuning"


def choose_arithmetic(
    model: nn.Module,
    device: torch.device,
    *,
    batch_size: int,
    precision: str = "auto",
    channels_last: str = "auto",
    folder: Path | None = None,
    run: Run = paint_everybody,
) -> Arithmetic:
    """Obey the settings, and measure what they leave open.

    Args:
        model: the network; on any device, ``meta`` too. It is not changed.
        batch_size: faces of each person per step.
        precision: ``auto``, ``float32`` (in full, without TF32) or ``bfloat16``.
        channels_last: ``auto``, ``on`` or ``off``.
        folder: where measurements are kept, None for nowhere; one that cannot be read or written is no error.
        run: what a training step does with the model.
    """
    is_open = precision == "auto" or (precision == "float32" and channels_last == "auto")
    measured = _recall_or_measure(model, device, batch_size, folder, run) if is_open else None
    return decide(measured, precision=precision, channels_last=channels_last)


def decide(measured: Measured | None, *, precision: str, channels_last: str) -> Arithmetic:
    """The choice that follows from the settings, and from a measurement where they leave it open.

    Args:
        measured: None where the settings leave nothing open. Others as :func:`choose_arithmetic`.
    """
    if measured is None or not measured.step_ms:
        autocast = torch.bfloat16 if precision == "bfloat16" else None
        use_last = channels_last == "on" or (channels_last == "auto" and autocast is not None)
        memory_format = torch.channels_last if use_last else torch.contiguous_format
        return Arithmetic(autocast=autocast, memory_format=memory_format, reason="as the settings say")
    families = [family for family in FAMILIES if any(way.name in measured.step_ms for way in family)]
    chosen = families[0]
    if precision == "auto":
        for family in families[1:]:
            if _best_ms(family, measured, channels_last) * SHORTER_GAIN <= _best_ms(chosen, measured, channels_last):
                chosen = family
    memory_format, layouts = _choose_layouts(chosen, measured, channels_last)
    return Arithmetic(
        autocast=chosen[0].autocast,
        memory_format=memory_format,
        layouts=layouts,
        tf32=chosen[0].tf32,
        reason=_explain(chosen, families, measured, channels_last),
        measured=measured.step_ms,
    )


def _allowed(family: Family, measured: Measured, channels_last: str) -> list[Way]:
    """Ways of a family in the layout that was asked for; any where none of them was measured."""
    ways = [way for way in family if way.name in measured.step_ms]
    if channels_last == "auto":
        return ways
    wanted = torch.channels_last if channels_last == "on" else torch.contiguous_format
    return [way for way in ways if way.memory_format == wanted] or ways


def _best_ms(family: Family, measured: Measured, channels_last: str) -> float:
    times = [measured.step_ms[way.name] for way in _allowed(family, measured, channels_last)]
    if family is FLOAT32 and channels_last == "auto" and measured.layouts:
        times.append(measured.mixed_ms)
    return min(times)


def _choose_layouts(family: Family, measured: Measured, channels_last: str) -> tuple[torch.memory_format, LayoutPlan]:
    if channels_last != "auto":
        return (torch.channels_last if channels_last == "on" else torch.contiguous_format), {}
    ways = _allowed(family, measured, channels_last)
    chosen = ways[0]
    for way in ways[1:]:
        if measured.step_ms[way.name] * LAYOUT_GAIN <= measured.step_ms[chosen.name]:
            chosen = way
    is_mixed = len(set(measured.layouts.values())) > 1
    if family is FLOAT32 and is_mixed and measured.mixed_ms * LAYOUT_GAIN <= measured.step_ms[chosen.name]:
        return chosen.memory_format, measured.layouts
    return chosen.memory_format, {}


def _explain(chosen: Family, families: list[Family], measured: Measured, channels_last: str) -> str:
    times = ", ".join(f"{family[0].family} {_best_ms(family, measured, channels_last):.0f} ms" for family in families)
    return f"{chosen[0].family}: the layers of a step take {times}"


def _recall_or_measure(
    model: nn.Module, device: torch.device, batch_size: int, folder: Path | None, run: Run
) -> Measured:
    described = _describe(model, device, batch_size)
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    path = None if folder is None else folder / f"arithmetic-{digest[:24]}.json"
    recalled = None if path is None else _recall(path, described)
    if recalled is not None:
        return recalled
    uses = trace_layers(model, batch_size, run)
    times = measure_layers(uses, device)
    layouts, mixed_s = plan_layouts(uses, times) if device.type == "cpu" else ({}, 0.0)
    dense_s = sum(
        times.seconds[use.shape][PLAIN.name] for use in uses if use.shape.kind == "dense" and use.shape in times.seconds
    )
    measured = Measured(
        step_ms={way: seconds * 1e3 for way, seconds in times.step_s(uses).items()},
        mixed_ms=(mixed_s + dense_s) * 1e3,
        layouts=layouts,
        covered=times.covered,
    )
    if path is not None and measured.covered >= KEPT_SHARE:
        _remember(path, described, measured)
    return measured


def _describe(model: nn.Module, device: torch.device, batch_size: int) -> dict[str, Any]:
    """What a measurement depends on."""
    is_gpu = device.type == "cuda"
    parameters = sorted((name, list(value.shape)) for name, value in model.named_parameters())
    network = [type(model).__qualname__, getattr(model, "resolution", 0), parameters]
    return {
        "version": CACHE_VERSION,
        "device": torch.cuda.get_device_name(device) if is_gpu else processor_name(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "batch_size": batch_size,
        "network": hashlib.sha256(json.dumps(network).encode()).hexdigest(),
    }


def _recall(path: Path, described: Mapping[str, Any]) -> Measured | None:
    """What was measured before; None when nothing was, or the file is damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["for"] != described:
            return None
        return Measured(
            step_ms={str(way): float(ms) for way, ms in stored["step_ms"].items()},
            mixed_ms=float(stored["mixed_ms"]),
            layouts={str(name): _FORMATS[form] for name, form in stored["layouts"].items()},
            covered=float(stored["covered"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(path: Path, described: Mapping[str, Any], measured: Measured) -> None:
    stored = {
        "for": described,
        "step_ms": measured.step_ms,
        "mixed_ms": measured.mixed_ms,
        "layouts": {name: _FORMAT_NAMES[form] for name, form in measured.layouts.items()},
        "covered": measured.covered,
    }
    try:
        write_text(path, json.dumps(stored, indent=1))
    except (OSError, DflError) as error:
        _LOG.debug("The measurement is not kept: %s", error)
