"""How many faces fit: try, halve the distance, try again."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from dflcore.errors import ResourceExhausted

_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
)
"""What torch and the libraries below it say; only the CUDA allocator has an exception class of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, a GPU's or the machine's, and not something else."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign.lower() in str(error).lower() for sign in _SIGNS)


def release_memory(device: torch.device) -> None:
    """Give back what nobody uses any more, to the device and to Python."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def largest_batch(
    try_step: Callable[[int], None],
    device: torch.device,
    start: int,
    limit: int,
    *,
    is_safe: Callable[[int], bool] | None = None,
) -> int:
    """The largest batch with which a step runs: doubled from ``start`` until one fails, then narrowed down.

    Args:
        try_step: runs one whole step, optimiser included, with so many faces of each person; whatever it changes is
            the caller's to undo, and it must hold nothing when it returns or raises.
        device: its unused memory is given back between tries.
        start: first try, at least 1. limit: largest batch wanted, at least ``start``.
        is_safe: asked before each try; False counts as not fitting. A CPU needs it: systems hand out more memory than
            they have, and end the process that uses it.

    Raises:
        ResourceExhausted: not even one face fits.
        Exception: what ``try_step`` raised, unless it is about memory.
    """

    def fits(batch_size: int) -> bool:
        if is_safe is not None and not is_safe(batch_size):
            return False
        try:
            try_step(batch_size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False  # the error, which holds the step's frames and their tensors, ends here
        finally:
            release_memory(device)
        return True

    good, bad = 0, limit + 1
    batch_size = min(start, limit)
    while bad - good > 1:
        if fits(batch_size):
            good = batch_size
        else:
            bad = batch_size
        batch_size = min(2 * good, bad - 1) if bad > limit else (good + bad) // 2
    if not good:
        raise ResourceExhausted(
            f"Not even one face per step fits on {device}. Take a smaller resolution or preset, switch "
            "checkpoint_activations on, or end other programs that use its memory.",
            reason="OUT_OF_MEMORY",
            field="batch_size",
            device=device,
        )
    return good
