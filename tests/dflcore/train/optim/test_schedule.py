"""The learning rate over a run."""

import pytest

from dflcore.train.optim.schedule import FINAL_FACTOR, WARMUP_ITERATIONS, Schedule


def test_warm_up_then_half_a_cosine() -> None:
    schedule = Schedule(peak=1.0, iterations=1000, seconds=None)
    rates = [schedule.rate(iteration, 0.0) for iteration in range(1000)]
    assert rates[0] == pytest.approx(1 / WARMUP_ITERATIONS, rel=1e-3)
    assert max(rates) > 0.99
    assert schedule.rate(500, 0.0) == pytest.approx((1 + FINAL_FACTOR) / 2, rel=1e-3)
    assert schedule.rate(1000, 0.0) == pytest.approx(FINAL_FACTOR)


def test_a_cycle_falls_to_nothing_and_rises_again() -> None:
    schedule = Schedule(peak=2.0, iterations=None, seconds=None, cycle=500)
    assert schedule.rate(500, 0.0) == pytest.approx(2.0)
    assert schedule.rate(750, 0.0) == pytest.approx(0.0, abs=1e-12)
    assert schedule.rate(625, 0.0) == pytest.approx(1.0)
    assert schedule.rate(1000, 0.0) == pytest.approx(2.0)
    assert schedule.rate(0, 0.0) == pytest.approx(2.0 / WARMUP_ITERATIONS)


def test_cycles_of_a_run_with_a_budget_get_smaller() -> None:
    schedule = Schedule(peak=1.0, iterations=5000, seconds=None, cycle=500)
    tops = [schedule.rate(iteration, 0.0) for iteration in range(500, 5000, 500)]
    assert tops == sorted(tops, reverse=True)
    without = Schedule(peak=1.0, iterations=5000, seconds=None)
    assert tops[3] == pytest.approx(without.rate(2000, 0.0))


def test_no_cycle_leaves_an_open_end_as_it_was() -> None:
    assert Schedule(peak=1.0, iterations=None, seconds=None, open_end_factor=0.4).rate(777, 0.0) == pytest.approx(0.4)


def test_lowered_keeps_the_course() -> None:
    schedule = Schedule(peak=1.0, iterations=1000, seconds=60.0, cycle=100)
    lower = schedule.lowered(0.5)
    for iteration in (0, 60, 333, 999):
        assert lower.rate(iteration, 10.0) == pytest.approx(schedule.rate(iteration, 10.0) / 2)
    assert lower.is_over(1000, 0.0)
