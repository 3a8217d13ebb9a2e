"""Which torch device a setting means, how much memory it has, and in which precision networks paint on it."""

from __future__ import annotations

from pathlib import Path

import torch

from dflcore.errors import Unsupported


def resolve_device(name: str) -> torch.device:
    """``auto`` → the first GPU if there is one, else the CPU; anything else as torch spells it.

    Raises:
        Unsupported: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        told = str(error).splitlines()[0].rstrip(".")
        if told.startswith("Expected one of"):  # and then all that torch has ever heard of
            told = "there is no such kind"
        raise Unsupported(
            f"The device {name!r} cannot be used here: {told}. Use auto, cpu or cuda.",
            reason="NO_SUCH_DEVICE",
            field="device",
        ) from error
    return device


def resolve_autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype networks are autocast to, None for plain float32.

    ``auto`` is bfloat16 on GPUs that compute it natively, and float32 on CPUs, where only a measurement can tell:
    see :func:`dflcore.tuning.arithmetic.choose_arithmetic`, which is worth its second where training is.
    """
    if precision == "bfloat16":
        return torch.bfloat16
    if precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return None


def available_memory(device: torch.device) -> int | None:
    """Bytes this process may use on a device: what is free, and what torch holds there already; None where unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    free_bytes = _meminfo_bytes("MemAvailable")
    limits = [value for value in (free_bytes, _container_bytes()) if value is not None]
    return min(limits) if limits else None


def _meminfo_bytes(name: str, path: Path = Path("/proc/meminfo")) -> int | None:
    try:
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _container_bytes(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container may still take; None without a limit."""
    try:
        limit = int((folder / "memory.max").read_text())
        return max(0, limit - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or the limit is "max"
        return None
