"""What is said when memory runs out: the numbers are the estimate's, and what is advised really fits."""

import re
from dataclasses import replace

import pytest
import torch

from dflcore.models.registry import load_preset
from dflcore.tuning.advice import check_fits, explain_out_of_memory
from dflcore.tuning.memory import MemoryEstimator, TrainingLoad

CUDA = torch.device("cuda:0")
ERROR = torch.OutOfMemoryError("CUDA out of memory.")
LOAD = TrainingLoad(batch_size=32)


@pytest.fixture(scope="module")
def estimator() -> MemoryEstimator:
    """Of a network whose pictures outweigh its weights."""
    preset = load_preset("df-ud")
    numbers = {"resolution": 128, "ae_dims": 64, "e_dims": 32, "d_dims": 32, "d_mask_dims": 16}
    with torch.device("meta"):
        return MemoryEstimator(preset.build(preset.resolve_network(numbers)))


def test_single_changes_that_fit_are_named_with_what_they_need(estimator: MemoryEstimator) -> None:
    available = int(0.9 * estimator.total(LOAD))
    error = explain_out_of_memory(ERROR, CUDA, LOAD, estimator, available=available)
    batch_size = int(error.details["fitting_batch_size"])
    assert 1 <= batch_size < 32
    assert estimator.total(replace(LOAD, batch_size=batch_size)) <= available
    assert f"batch_size {batch_size} (" in error.message
    assert "checkpoint_activations (" in error.message
    assert re.search(r"batch_size 32 needs about \d+\.\d GB, \d+\.\d GB can be had", error.message)
    assert (error.reason, error.details["field"]) == ("OUT_OF_MEMORY", "batch_size")
    assert error.details["needed_bytes"] == str(estimator.total(LOAD))


def test_where_no_single_change_fits_they_are_put_together(estimator: MemoryEstimator) -> None:
    one = replace(LOAD, batch_size=1, has_mean=True)
    all_in = estimator.total(replace(one, offload_optimizer=True, has_mean=False))
    error = explain_out_of_memory(ERROR, CUDA, one, estimator, available=int(all_in / 0.94))
    assert re.search(r"With offload_optimizer and .*ema_decay 0, batch_size 1 fits \(\d+ MB\)", error.message)


def test_where_nothing_fits_the_network_is_too_large(estimator: MemoryEstimator) -> None:
    error = explain_out_of_memory(ERROR, CUDA, LOAD, estimator, available=10**8)
    assert "Even batch_size 1" in error.message
    assert "smaller resolution or preset" in error.message


def test_a_step_that_should_have_fitted_is_not_advised_again(estimator: MemoryEstimator) -> None:
    error = explain_out_of_memory(ERROR, CUDA, LOAD, estimator, available=10**12)
    assert int(error.details["fitting_batch_size"]) < 32


def test_what_does_not_help_is_not_offered(estimator: MemoryEstimator) -> None:
    load = replace(LOAD, on_gpu=False, checkpoint_activations=True)
    error = explain_out_of_memory(MemoryError(), torch.device("cpu"), load, estimator, available=10**9)
    assert "offload" not in error.message
    assert "checkpoint_activations" not in error.message


def test_main_memory_is_told_from_the_cards(estimator: MemoryEstimator) -> None:
    error = explain_out_of_memory(MemoryError(), CUDA, LOAD, estimator, available=10**12)
    assert error.details["field"] == "cache_mb"


def test_a_load_is_checked_before_training(estimator: MemoryEstimator) -> None:
    needed = estimator.total(LOAD)
    assert check_fits(CUDA, LOAD, estimator, available=needed) is None
    warning = check_fits(CUDA, LOAD, estimator, available=int(0.9 * needed))
    assert warning is not None
    assert "batch_size" in warning
