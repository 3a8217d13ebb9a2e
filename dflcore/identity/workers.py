"""Threads in which torch computes on one core each.

A small network split over all cores waits for the slowest of them at every layer: where the cores are busy with
something else, that takes many times longer than one core alone. Several pictures on a core each have no such waits.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

MAX_WORKERS = 4
_lock = threading.Lock()


def create_workers() -> ThreadPoolExecutor:
    """As many threads as there are cores, up to :data:`MAX_WORKERS`, started when needed and ended with the object.

    How many cores torch uses in other threads stays as it is.
    """
    count = min(os.cpu_count() or 1, MAX_WORKERS)
    return ThreadPoolExecutor(count, thread_name_prefix="identity", initializer=_use_one_core)


def _use_one_core() -> None:
    # torch keeps the number per thread, and the last one set anywhere as what new threads begin with. So a thread that
    # ends at once sets the latter back.
    with _lock:
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        restorer = threading.Thread(target=torch.set_num_threads, args=(usual,))
        restorer.start()
        restorer.join()
