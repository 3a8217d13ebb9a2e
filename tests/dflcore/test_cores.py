"""One core in one thread, and no trace of that elsewhere in the process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dflcore.cores import cores, use_one_core


@pytest.fixture(params=[2, 3])
def usual(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_only_the_thread_that_asks(usual):
    with ThreadPoolExecutor(1, initializer=use_one_core) as asking, ThreadPoolExecutor(1) as other:
        assert asking.submit(torch.get_num_threads).result() == 1
        assert other.submit(torch.get_num_threads).result() == usual
    assert torch.get_num_threads() == usual


def test_asked_by_many_at_once(usual):
    together = threading.Barrier(4, timeout=30)

    def ask():
        together.wait()
        use_one_core()
        return torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert [one.result() for one in [pool.submit(ask) for _ in range(4)]] == [1] * 4
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == usual


def test_for_a_while(usual):
    with cores(1):
        assert torch.get_num_threads() == 1
        with cores(usual):
            assert torch.get_num_threads() == usual
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == usual
    with pytest.raises(ValueError, match="broken"), cores(1):
        raise ValueError("broken")
    assert torch.get_num_threads() == usual
