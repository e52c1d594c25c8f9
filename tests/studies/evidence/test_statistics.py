"""Paired comparisons, compared with SciPy and with worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from studies.evidence.statistics import Comparison, compare, holm, overlap_of

DICE = np.random.default_rng(0)
A, B = DICE.normal(0.1, 1, 9), DICE.normal(0, 1, 9)


def test_without_overlap_it_is_the_paired_t_test() -> None:
    found, expected = compare(A, B, overlap=0.0), stats.ttest_rel(A, B)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval(0.05) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_overlap_adds_to_the_variance() -> None:
    plain, corrected = compare(A, B, overlap=0.0), compare(A, B, overlap=0.25)
    assert corrected.error == pytest.approx(plain.error * math.sqrt((1 / 9 + 0.25) / (1 / 9)))
    assert corrected.p > plain.p


def test_a_smaller_value_may_be_the_better_one() -> None:
    up, down = compare(A, B, overlap=0.0), compare(A, B, overlap=0.0, sign=-1.0)
    assert (down.mean, down.p) == (-up.mean, up.p)


def test_a_single_pair_says_nothing() -> None:
    found = compare([1.0], [0.0], overlap=0.0)
    assert (found.p, found.interval(0.05), found.detectable(0.05)) == (1.0, (-math.inf, math.inf), math.inf)


@pytest.mark.parametrize(("second", "p"), [([1.0, 1.0], 1.0), ([0.5, 0.5], 0.0)])
def test_differences_without_any_spread(second: list[float], p: float) -> None:
    assert compare([1.0, 1.0], second, overlap=0.0).p == p


def test_the_detectable_difference_is_found_with_the_stated_power() -> None:
    n, spread = 8, 1.0
    stated = Comparison(n, 0.0, spread / math.sqrt(n), 1.0).detectable(0.05)
    dice = np.random.default_rng(1)
    samples = dice.normal(stated, spread, (4000, n))
    found = np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05)
    assert 0.77 < found < 0.86


def test_holm_multiplies_the_smallest_p_value_by_the_number_of_comparisons() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_overlap_of_splits() -> None:
    assert overlap_of(800, 200, 1, is_drawn=True) == 0.25
    assert overlap_of(800, 200, 1, is_drawn=False) == 0.0
    assert overlap_of(800, 200, 5, is_drawn=True) == 1.25
