"""Threads in which torch computes on one core each.

A small network split over all cores waits for the slowest of them at every layer: where the cores are busy with
something else, that takes many times longer than one core alone. Several pictures on a core each have no such waits.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from dflcore.cores import use_one_core

MAX_WORKERS = 4


def create_workers() -> ThreadPoolExecutor:
    """As many threads as there are cores, up to :data:`MAX_WORKERS`, started when needed and ended with the object.

    How many cores torch uses in other threads stays as it is.
    """
    count = min(os.cpu_count() or 1, MAX_WORKERS)
    return ThreadPoolExecutor(count, thread_name_prefix="identity", initializer=use_one_core)
