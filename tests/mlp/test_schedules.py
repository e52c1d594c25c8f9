"""Schedules: rates worked by hand, warm-up, and reductions that depend on the history."""

from __future__ import annotations

from math import cos, log2, pi
from typing import Any

import pytest

from mlp import ConfigError, Training, advance
from mlp.schedules import schedules
from tests.mlp_data import bits, small_config, small_split

HALF = 0.5**0.5  # cos pi/4


# The rates at epochs 0, 0.5, 1 and 3 of 4, from a base rate of 0.8.
RATES: list[tuple[Any, list[float]]] = [
    ("constant", [0.8, 0.8, 0.8, 0.8]),
    ({"name": "step", "factor": 0.5, "every": 2}, [0.8, 0.8, 0.8, 0.4]),
    ({"name": "linear_step", "minus": 0.3, "every": 1}, [0.8, 0.8, 0.5, 1e-6]),
    ({"name": "linear_step", "minus": 0.3, "every": 1, "at_start": True}, [0.5, 0.5, 0.2, 1e-6]),
    ({"name": "exponential", "factor": 0.25}, [0.8, 0.4, 0.2, 0.0125]),
    ({"name": "inverse_time", "decay": 2.0}, [0.8, 0.4, 0.8 / 3.0, 0.8 / 7.0]),
    ("polynomial", [0.8, 0.7, 0.6, 0.2]),
    ({"name": "polynomial", "power": 2.0, "final": 0.25}, [0.8, 0.2 + 0.6 * 49 / 64, 0.2 + 0.6 * 9 / 16, 0.2375]),
    # Equation 5 of Loshchilov & Hutter 2017 at 0, 1/8, 1/4 and 3/4 of the way: cos pi/8 = sqrt(2 + sqrt 2) / 2
    ("cosine", [0.8, 0.4 * (1 + (2 + 2**0.5) ** 0.5 / 2), 0.4 * (1 + HALF), 0.4 * (1 - HALF)]),
    (
        {"name": "cosine", "final": 0.5},
        [0.8, 0.4 + 0.2 * (1 + (2 + 2**0.5) ** 0.5 / 2), 0.6 + 0.2 * HALF, 0.6 - 0.2 * HALF],
    ),
    # Constant over epochs 0 and 1; half of the way down at epoch 3.
    ("flat_cosine", [0.8, 0.8, 0.8, 0.4]),
    (
        {"name": "flat_cosine", "flat": 0.0, "final": 0.5},
        [0.8, 0.4 + 0.2 * (1 + (2 + 2**0.5) ** 0.5 / 2), 0.6 + 0.2 * HALF, 0.6 - 0.2 * HALF],
    ),
    # log2(1 + 15 t) at t = 0, 1/8, 1/4 and 3/4.
    ("coslog", [0.0, *(0.4 * (1 - cos(2 * pi * log2(x))) for x in (23 / 8, 19 / 4, 49 / 4))]),
    # One cycle: log2(1 + t).
    ({"name": "coslog", "cycles": 1}, [0.0, *(0.4 * (1 - cos(2 * pi * log2(x))) for x in (9 / 8, 5 / 4, 7 / 4))]),
    # Half a cosine over epoch 0, one over epochs 1 and 2, one over epochs 3 to 6.
    ({"name": "cosine_restarts", "period": 1}, [0.8, 0.4, 0.8, 0.8]),
    ({"name": "cosine_restarts", "period": 2, "multiplier": 1}, [0.8, 0.4 * (1 + HALF), 0.4, 0.4]),
    # Up over epochs 0 and 1; half of the way down at epoch 3.
    ({"name": "one_cycle", "rise": 0.5, "start": 0.5, "final": 0.0}, [0.4, 0.6 - 0.2 * HALF, 0.6, 0.4]),
    ("reduce_on_plateau", [0.8, 0.8, 0.8, 0.8]),
]


@pytest.mark.parametrize(("encoded", "expected"), RATES, ids=str)
def test_a_schedule_follows_its_formula(encoded: Any, expected: list[float]) -> None:
    part = schedules.decode(encoded)
    rates = [part.rate(0.8, epoch, 4) for epoch in (0.0, 0.5, 1.0, 3.0)]
    assert rates == pytest.approx(expected, rel=1e-14)


def test_every_schedule_has_rates_worked_by_hand() -> None:
    missing = set(schedules) - {schedules.decode(encoded).name for encoded, _ in RATES}
    assert missing == set(), "add the rates of each to RATES in tests/mlp/test_schedules.py"


def test_a_linear_step_at_the_start_lowers_the_rate_at_once_and_every_five_epochs() -> None:
    part = schedules.decode({"name": "linear_step", "minus": 0.05, "every": 5, "at_start": True})
    rates = [part.rate(0.2, epoch, 20) for epoch in (0.0, 4.99, 5.0, 9.99, 10.0, 15.0, 19.99)]
    assert rates == pytest.approx([0.15, 0.15, 0.10, 0.10, 0.05, 1e-6, 1e-6], rel=1e-12)


def test_a_base_rate_below_least_does_not_change() -> None:
    assert schedules.decode({"name": "linear_step", "least": 0.5}).rate(0.2, 7.0, 20) == 0.2


def test_restarts_come_after_periods_of_doubling_length() -> None:
    part = schedules.decode({"name": "cosine_restarts", "period": 3, "multiplier": 2})
    rates = [part.rate(1.0, epoch, 100) for epoch in (0.0, 3.0, 9.0, 21.0)]
    assert rates == [1.0, 1.0, 1.0, 1.0]
    assert max(part.rate(1.0, epoch - 1e-6, 100) for epoch in (3.0, 9.0, 21.0)) < 1e-10
    assert part.rate(1.0, 6.0, 100) == part.rate(1.0, 15.0, 100) == pytest.approx(0.5)


def test_each_wave_of_coslog_is_twice_as_long_as_the_one_before() -> None:
    # log2(1 + 15 t) is 1, 2, 3 and 4 at t = 1/15, 3/15, 7/15 and 1, and a half more at the tops between.
    part = schedules.decode("coslog")
    ends = [part.rate(1.0, epoch, 15) for epoch in (0.0, 1.0, 3.0, 7.0, 15.0 - 1e-9)]
    tops = [part.rate(1.0, 2.0**waves - 1.0, 15) for waves in (0.5, 1.5, 2.5, 3.5)]
    assert ends == pytest.approx([0.0] * 5, abs=1e-12)
    assert tops == pytest.approx([1.0] * 4, rel=1e-12)


@pytest.mark.parametrize("name", list(schedules))
def test_a_warm_up_longer_than_the_training_stays_linear_to_the_end(name: str) -> None:
    part = schedules.decode({"name": name, "warmup": 8.0})
    rates = [part.rate(1.0, epoch, 4) for epoch in (0.0, 2.0, 3.999_999)]
    assert rates == pytest.approx([0.01, 0.2575, 0.505], rel=1e-6)
    assert schedules.decode({"name": name, "warmup": 4.0}).rate(1.0, 3.999_999, 4) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        ({"patience": 1}, [3.0, 2.0, 2.0, 2.0], 0.5),  # the second epoch without a better one is more than 1
        ({"patience": 1}, [3.0, 2.0, 2.0, 1.9, 1.9], 1.0),  # an improvement resets the count
        ({"patience": 0}, [3.0, 4.0, 5.0], 0.25),
        ({"patience": 1, "factor": 0.1}, [1.0, 1.0, 1.0, 1.0, 1.0], 0.01),
        ({"patience": 0, "factor": 0.1, "least": 0.05}, [1.0, 1.0, 1.0], 0.05),
        ({"patience": 0, "min_delta": 0.5}, [3.0, 2.5, 2.4], 0.5),  # 2.5 is not better by more than 0.5, 2.4 is
        ({"patience": 0, "metric": "validation/accuracy"}, [0.5, 0.6, 0.6], 0.5),
    ],
)
def test_reduce_on_plateau_reduces_the_rate_after_epochs_without_improvement(
    fields: dict[str, Any], values: list[float], expected: float
) -> None:
    part = schedules.decode({"name": "reduce_on_plateau", **fields})
    history = {fields.get("metric", "validation/loss"): values, "train/loss": [9.0] * 9}
    assert part.reduction(history) == pytest.approx(expected, rel=1e-15)
    assert part.reduction({"train/loss": [9.0] * 9}) == 1.0


def test_an_unknown_metric_to_watch_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r'^"schedule.metric": there is no metric "validation/los"'):
        schedules.decode({"name": "reduce_on_plateau", "metric": "validation/los"}, path="schedule")


def test_a_training_that_reduces_its_rate_resumes_exactly() -> None:
    # No epoch improves the loss by 9, so that each epoch after the first multiplies the rate by 0.1.
    plateau = {"name": "reduce_on_plateau", "metric": "train/loss", "patience": 0, "factor": 0.1, "min_delta": 9.0}
    config = small_config({"schedule": plateau, "optimizer": {"name": "sgd", "learning_rate": 0.1}})
    training = Training(config, small_split(config))
    start = training.state()
    lengths = []
    for _ in range(4):
        before = training.network.theta.copy()
        training.run_epoch()
        lengths.append(float(abs(training.network.theta - before).sum()))
    assert lengths[1] > 0.3 * lengths[0]
    assert [lengths[2] / lengths[1], lengths[3] / lengths[2]] == pytest.approx([0.1, 0.1], rel=0.5)
    resumed = start
    for epochs in (1, 2, 1):
        resumed = advance(resumed, training.data, epochs)
    assert bits(resumed) == bits(training.state())
