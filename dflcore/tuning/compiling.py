"""Whether a step is worth compiling, and what else a GPU is told once before training."""

from __future__ import annotations

import importlib.util
import shutil

import torch

from dflcore.errors import Unsupported

WORTH_STEPS = 2000
"""Compiling takes about as long as several hundred steps; shorter runs never earn it back."""
AUTOTUNE_SHARE = 0.4
"""cuDNN's search tries algorithms that more than double the peak: only where the card has room for that."""


def should_compile(device: torch.device, setting: str, expected_steps: int | None) -> bool:
    """Whether to compile the training step.

    ``auto`` compiles on GPUs, for runs long enough, where a compiler is at hand. On a CPU the step is bound by
    convolutions that are compiled already: measured, nothing is gained and the first step takes a minute.

    Args:
        setting: ``auto``, ``on`` or ``off``.
        expected_steps: of this run, None for an open end.

    Raises:
        Unsupported: it is switched on, and there is no compiler for this device.
    """
    if setting == "off":
        return False
    if setting == "on":
        if not has_compiler(device):
            raise Unsupported(
                f"The step cannot be compiled for {device}: {_missing(device)} is not installed. Install it, or leave "
                "compile on auto.",
                reason="COMPILER_MISSING",
                field="compile",
            )
        return True
    is_long = expected_steps is None or expected_steps >= WORTH_STEPS
    return device.type == "cuda" and is_long and has_compiler(device)


def has_compiler(device: torch.device) -> bool:
    """Whether what torch compiles with is here: Triton for GPUs, a C++ compiler for CPUs."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None and _has_c_compiler()
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))


def compile_mode(device: torch.device, *, accumulate_steps: int, offload_optimizer: bool) -> str:
    """Mode for :func:`torch.compile`: with CUDA graphs, where every step does the same on the card alone."""
    if device.type == "cuda" and accumulate_steps == 1 and not offload_optimizer:
        return "reduce-overhead"
    return "default"


def should_autotune(device: torch.device, needed: int, available: int | None) -> bool:
    """Whether cuDNN may try out which algorithm is fastest for each convolution (``torch.backends.cudnn.benchmark``).

    Args:
        needed, available: bytes a step takes, and there are on the card.
    """
    return device.type == "cuda" and available is not None and needed <= AUTOTUNE_SHARE * available


def _has_c_compiler() -> bool:
    """Triton builds its launchers with one."""
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def _missing(device: torch.device) -> str:
    return "Triton or a C compiler" if device.type == "cuda" else "a C++ compiler"
