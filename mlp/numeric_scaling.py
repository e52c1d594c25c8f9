"""The scaling of one number of a table, fitted on the training part."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import AbstractRecord

NumberScale = Literal["robust", "standard", "min_max", "quantile", "unit", "none"]

MAX_KNOTS = 1000  # of a quantile scale


@dataclass(frozen=True)
class NumberScaling(AbstractRecord):
    """How a number is scaled: `(number - centre) * factor`, of its normal score if there are knots.

    Attributes:
        fill: what stands for a missing number: the median of the training part.
        centre: what becomes 0.
        factor: the factor; 0 for a number that is constant in the training part.
        knots: numbers in ascending order; those between two knots are interpolated, those beyond take the last score.
        scores: the normal score of each knot.
    """

    fill: float = 0.0
    centre: float = 0.0
    factor: float = 1.0
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.knots) != len(self.scores):
            raise ConfigError(f"must have {len(self.knots)} numbers, one per knot.", path="scores")


def fit_number(values: Array, scale: NumberScale, n_knots: int = MAX_KNOTS) -> NumberScaling:
    """Return the scaling of a number.

    Args:
        values: its values in the training part, float64 of shape (n,); NaN where they are missing.
        scale: `robust`: (x - median) / (third quartile - first quartile), where the distance is half the range if the
            quartiles are equal; `standard`: mean 0 and standard deviation 1; `min_max`: from 0 to 1; `quantile`:
            normally distributed; `unit`: divided by the largest absolute value; `none`: as it is.
        n_knots: the largest number of knots of `quantile`.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return NumberScaling(factor=0.0)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    least, most = float(values.min()), float(values.max())
    if scale == "none":
        return NumberScaling(median)
    if scale == "unit":
        return NumberScaling(median, 0.0, _inverse(max(-least, most), 0.0))
    if scale == "min_max":
        return NumberScaling(median, least, _inverse(most - least, least))
    if scale == "standard":
        mean = float(values.mean())
        return NumberScaling(median, mean, _inverse(float(values.std()), mean))
    if scale == "quantile":
        return NumberScaling(median, 0.0, float(most > least), *_normal_scores(values, n_knots))
    return NumberScaling(median, median, _inverse(high - low, median) or _inverse((most - least) / 2.0, median))


def _inverse(spread: float, centre: float) -> float:
    """Return 1 / spread, or 0 if rounding errors alone could give equal numbers with this centre such a spread."""
    return 1.0 / spread if spread > 10 * np.finfo(np.float64).eps * abs(centre) and spread > 1e-300 else 0.0


def _normal_scores(values: Array, n_knots: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return evenly spaced quantiles, each once, and the mean of the normal scores of its positions."""
    n = min(n_knots, len(values))
    shares = (np.arange(n) + 0.5) / n
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(share) for share in shares.tolist()])
    knots, first = np.unique(np.quantile(values, shares), return_index=True)
    counts = np.diff([*first, n])
    means = np.add.reduceat(scores, first) / counts
    return tuple(knots.tolist()), tuple(means.tolist())
