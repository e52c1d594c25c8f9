"""The scaling of values to predict: the network learns them near 0, and predicts them in their own units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import AbstractRecord

# The largest logarithm that a prediction may have. Beyond it, the square of an error would be infinite in float64, and
# a training that is merely bad would count as diverged.
MAX_LOG = 300.0


@dataclass(frozen=True)
class TargetScaling(AbstractRecord):
    """How values are scaled for the network: `(t - centre) * factor`, where t is the value or log(1 + value).

    Attributes:
        centre: one number per value to predict; empty if values are not scaled.
        factor: one number per value to predict.
        log: whether t is log(1 + value).
    """

    centre: tuple[float, ...] = ()
    factor: tuple[float, ...] = ()
    log: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.factor) != len(self.centre):
            raise ConfigError(f"must have {len(self.centre)} numbers, one per centre.", path="factor")
        if 0.0 in self.factor:
            raise ConfigError("must not contain 0.", path="factor")

    def __bool__(self) -> bool:
        return bool(self.centre)

    @classmethod
    def fit(cls, values: Array, *, weights: Array | None = None, log: bool = False) -> TargetScaling:
        """Return the scaling that gives each column mean 0 and standard deviation 1; a constant one becomes 0.

        Args:
            values: the values of the training part, shape (n, m).
            weights: the weight of each example, shape (n,); None for equal weights.
            log: whether to take the logarithm of 1 + value first.

        Raises:
            ConfigError: if `log` is set and a value is not above -1.
        """
        t = values.astype(np.float64)
        if log:
            if (t <= -1.0).any():
                problem = f'is "log", which needs values above -1, got {float(t.min()):g}. Use "standard".'
                raise ConfigError(problem, path="data.target_scale")
            t = np.log1p(t)
        if weights is not None and not weights.any():
            weights = None
        centre = np.average(t, axis=0, weights=weights)
        deviation = np.sqrt(np.average(np.square(t - centre), axis=0, weights=weights))
        varies = deviation > 10 * np.finfo(np.float64).eps * np.abs(centre)
        # What only rounding tells apart is divided by its size, so that it becomes (nearly) 0 rather than large.
        factor = 1.0 / np.where(varies, deviation, np.maximum(1.0, np.abs(centre)))
        return cls(tuple(centre.tolist()), tuple(factor.tolist()), log)

    def apply(self, values: Array, dtype: Any) -> Array:
        """Return values as the network learns them, shape (n, m), in a type; as they are if they are not scaled."""
        if not self:
            return values
        t = values.astype(np.float64)
        if self.log:
            t = np.log1p(np.maximum(t, np.nextafter(-1.0, 0.0)))  # a test part may contain smaller values
        scaled: Array = ((t - self.centre) * self.factor).astype(dtype)
        return scaled

    def invert(self, predictions: Array) -> Array:
        """Return predictions of the network in the values' own units, float64; as they are if they are not scaled."""
        if not self:
            return predictions
        t: Array = predictions.astype(np.float64) / self.factor + self.centre
        return np.expm1(np.minimum(t, MAX_LOG)) if self.log else t
