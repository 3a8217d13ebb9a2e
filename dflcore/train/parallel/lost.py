"""What it means that another process of the group is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from dflcore.errors import Internal

GROUP_LOST = "TRAINING_GROUP_LOST"
"""Reason of the error of a process whose fellows are gone: a consequence, never the cause."""
_MEMORY_WORDS = "allocate memory"
"""In torch's complaint when the machine's memory is used up, which has no class of its own."""


@contextlib.contextmanager
def lost_fellows() -> Iterator[None]:
    """What torch raises when another process is gone, as our error.

    Raises:
        Internal: reason TRAINING_GROUP_LOST.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # torch's errors of the network and of its stores are all of this class
        if _MEMORY_WORDS in str(error):
            raise
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Internal(
            "Another process of this training is gone, or does not answer. What was saved is good; start the training "
            "again.",
            reason=GROUP_LOST,
            cause=what,
        ) from error
