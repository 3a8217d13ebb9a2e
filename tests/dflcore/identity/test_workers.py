"""One core per face, and no trace of that elsewhere in the process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dflcore.identity.workers import create_workers


def in_new_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.fixture(params=[2, 3])
def usual(request):
    """What torch is set to, in this thread and in new ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_one_core_inside_and_as_before_outside(usual):
    workers = create_workers()
    assert workers.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == usual
    assert in_new_thread(torch.get_num_threads) == usual


def test_several_at_once(usual):
    """Workers that start together do not take each other's setting for the usual one."""
    together = threading.Barrier(2, timeout=30)

    def count():
        together.wait()
        return torch.get_num_threads()

    for _ in range(20):
        first, second = create_workers(), create_workers()
        counts = [first.submit(count), second.submit(count)]
        assert [one.result() for one in counts] == [1, 1]
    assert in_new_thread(torch.get_num_threads) == usual


def test_threads_end_with_their_owner():
    workers = create_workers()
    workers.submit(int).result()
    (name,) = {thread.name for thread in workers._threads}
    assert name in {thread.name for thread in threading.enumerate()}
    (worker,) = workers._threads
    del workers
    worker.join(timeout=30)
    assert not worker.is_alive()
