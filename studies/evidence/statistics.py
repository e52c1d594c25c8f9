"""Paired comparisons of trainings: tests, intervals and power, corrected for splits that overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POWER = 0.8  # with which `Comparison.detectable` would have been found


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two configurations: differences over the same seeds and splits.

    Attributes:
        n: the number of pairs.
        mean: the mean difference; positive if the first configuration is better.
        error: the standard error of the mean, corrected for overlapping splits; NaN below two pairs.
        p: the two-sided p-value of a paired t-test; 1 below two pairs.
    """

    n: int
    mean: float
    error: float
    p: float

    def interval(self, level: float) -> tuple[float, float]:
        """Return the confidence interval of the mean difference; infinite below two pairs.

        Args:
            level: one minus the confidence.
        """
        if self.n < 2:
            return -math.inf, math.inf
        reach = _quantile(1 - level / 2, self.n - 1) * self.error
        return self.mean - reach, self.mean + reach

    def detectable(self, level: float) -> float:
        """Return the difference that is found with a probability of 80 %; infinite below two pairs.

        The usual approximation: the sum of the two quantiles of the t-distribution, times the standard error.

        Args:
            level: the significance level of the test.
        """
        if self.n < 2:
            return math.inf
        return (_quantile(1 - level / 2, self.n - 1) + _quantile(POWER, self.n - 1)) * self.error


def compare(first: Sequence[float], second: Sequence[float], *, overlap: float, sign: float = 1.0) -> Comparison:
    """Return the paired comparison of the values of two configurations.

    The variance of the mean is (1/n + overlap) times the variance of the differences: equation 12 of Nadeau & Bengio
    2003, "Inference for the generalization error", Machine Learning 52. With overlap = 0 it is the plain paired t-test.

    Args:
        first: the values of one configuration, a value for each pair.
        second: those of the other.
        overlap: as `overlap_of` returns it.
        sign: 1 if larger values are better, -1 if smaller ones are.
    """
    differences = sign * (np.asarray(first, np.float64) - np.asarray(second, np.float64))
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return Comparison(n, mean, math.nan, 1.0)
    error = math.sqrt((1 / n + overlap) * float(np.var(differences, ddof=1)))
    if error == 0:
        return Comparison(n, mean, 0.0, 1.0 if mean == 0 else 0.0)
    from scipy.stats import t

    return Comparison(n, mean, error, float(2 * t.sf(abs(mean) / error, n - 1)))


def overlap_of(n_train: int, n_validation: int, n_folds: int, *, is_drawn: bool) -> float:
    """Return by how much overlapping splits add to the variance of a mean, in units of the variance of one value.

    Args:
        n_train: training examples of a split.
        n_validation: validation examples of a split.
        n_folds: the folds of each value, which is their mean; 1 without folds. Then equation 9 of Bouckaert & Frank
            2004 is used, with the variance of folds estimated as `n_folds` times that of their means.
        is_drawn: whether each seed draws its own split. If not, only seeds differ, and nothing is added.
    """
    if not is_drawn:
        return 0.0
    return n_folds / (n_folds - 1) if n_folds > 1 else n_validation / n_train


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for several comparisons: Holm 1979, "A simple sequentially rejective procedure"."""
    corrected, least = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def _quantile(share: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(share, freedom))
