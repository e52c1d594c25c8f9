"""Rungs: the order of trials at a rung, and which of the paused ones are promoted."""

from __future__ import annotations

import math

import pytest

from mlp.metrics import Direction
from studies.running.rungs import Rungs


def third(n: int) -> int:
    return n // 3


def filled(direction: Direction, values: dict[int, float | None]) -> Rungs:
    rungs = Rungs(direction)
    for number, value in values.items():
        rungs.add(1, number, value)
    return rungs


@pytest.mark.parametrize(("direction", "best"), [("maximize", [5, 4]), ("minimize", [1, 2])])
def test_the_best_third_of_a_rung_is_promoted_best_first(direction: Direction, best: list[int]) -> None:
    values = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 5.0, 6: 3.5}
    rungs = filled(direction, values)
    assert list(rungs.promotable(third, dict.fromkeys(values, 1))) == best


def test_too_few_trials_at_a_rung_promote_none() -> None:
    assert list(filled("maximize", {0: 1.0, 1: 2.0}).promotable(third, {0: 1, 1: 1})) == []


def test_a_trial_that_is_not_paused_there_takes_its_place_but_is_not_promoted() -> None:
    rungs = filled("maximize", {0: 3.0, 1: 2.0, 2: 1.0})
    assert list(rungs.promotable(third, {1: 1, 2: 1})) == []
    assert list(rungs.promotable(third, {0: 3, 1: 1, 2: 1})) == []


def test_undefined_and_missing_values_are_the_worst() -> None:
    values = {0: math.nan, 1: None, 2: -1e300, 3: -1.0}
    assert list(filled("maximize", values).paused(dict.fromkeys(values, 1))) == [3, 2, 0, 1]


def test_among_equal_values_the_lower_number_comes_first() -> None:
    assert list(filled("maximize", {7: 1.0, 3: 1.0, 5: 1.0}).paused({7: 1, 3: 1, 5: 1})) == [3, 5, 7]


def test_the_highest_rung_comes_first() -> None:
    rungs = filled("maximize", {0: 0.9, 1: 0.8, 2: 0.7})
    rungs.add(3, 1, 0.1)
    assert list(rungs.paused({0: 1, 1: 3, 2: 1})) == [1, 0, 2]
