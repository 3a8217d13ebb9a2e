"""Finding the largest batch, with an allocator that ends where the test says."""

import gc
import weakref

import pytest
import torch

from dflcore.errors import ResourceExhausted
from dflcore.tuning.batch import is_out_of_memory, largest_batch

CPU = torch.device("cpu")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


class Card:
    """Has room for so many faces, and remembers what was tried."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room, self.error, self.tried = room, error or torch.OutOfMemoryError("CUDA out of memory."), []

    def step(self, batch_size: int) -> None:
        self.tried.append(batch_size)
        if batch_size > self.room:
            raise self.error


@pytest.mark.parametrize("start", [1, 4, 7, 64])
@pytest.mark.parametrize("room", [1, 2, 3, 8, 13, 31, 63, 64, 1000])
def test_the_last_batch_that_fits_is_found(room: int, start: int) -> None:
    card = Card(room)
    assert largest_batch(card.step, CPU, start, 64) == min(room, 64)
    assert len(card.tried) <= 14
    assert len(set(card.tried)) == len(card.tried)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whoever_runs_out_of_memory_is_understood(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert largest_batch(Card(5, error).step, CPU, 1, 64) == 5


def test_other_errors_are_not_about_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        largest_batch(Card(3, RuntimeError("shape mismatch")).step, CPU, 1, 64)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_where_not_even_one_fits_the_settings_to_change_are_named() -> None:
    with pytest.raises(ResourceExhausted, match="checkpoint_activations") as caught:
        largest_batch(Card(0).step, CPU, 8, 64)
    assert caught.value.reason == "OUT_OF_MEMORY"


def test_nothing_of_a_failed_try_is_held_during_the_next() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def step(batch_size: int) -> None:
        assert all(reference() is None for reference in held)
        tensor = torch.zeros(batch_size, 1000)
        held.append(weakref.ref(tensor))
        if batch_size > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    gc.disable()
    try:
        assert largest_batch(step, CPU, 1, 32) == 5
    finally:
        gc.enable()


def test_what_is_not_safe_is_never_tried() -> None:
    card = Card(1000)
    assert largest_batch(card.step, CPU, 4, 64, is_safe=lambda batch_size: batch_size <= 11) == 11
    assert max(card.tried) == 11
