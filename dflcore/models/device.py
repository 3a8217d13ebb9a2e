"""Which torch device a setting means, and in which precision networks run on it."""

from __future__ import annotations

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
        raise Unsupported(
            f"The device {name!r} cannot be used here: {str(error).splitlines()[0]}. Use auto, cpu or cuda.",
            reason="NO_SUCH_DEVICE",
            field="device",
        ) from error
    return device


def resolve_autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype networks are autocast to, None for plain float32.

    ``auto`` is bfloat16 on GPUs that compute it natively. On CPUs it is float32: without matrix units for it,
    bfloat16 is slower there.
    """
    if precision == "bfloat16":
        return torch.bfloat16
    if precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return None
