"""How many cores torch uses in which thread.

Every thread that lets torch compute on several cores gets helper threads of its own. When there are more of those
than cores, OpenMP's helpers go to sleep after each operation instead of waiting a moment for the next one, in all
threads of the process; a training step of many small operations then took half as long again (2 cores, AMD EPYC).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_lock = threading.Lock()


def use_one_core() -> None:
    """Let torch compute on one core in the calling thread; what other threads use, and new ones, stays as it is."""
    # torch keeps the number per thread, and the last one set anywhere as what new threads begin with. So a thread that
    # ends at once sets the latter back.
    with _lock:
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        restorer = threading.Thread(target=torch.set_num_threads, args=(usual,))
        restorer.start()
        restorer.join()


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """Let torch compute on so many cores in the calling thread for a while.

    For alternating between many small operations, which wait for helper threads longer than those save when anything
    else runs on the machine, and few large ones. Threads begun meanwhile begin with that number too.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
