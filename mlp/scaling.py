"""Scaling of raw inputs before the network sees them; fitted on the training part if it depends on the data."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import AbstractRecord

ROWS = 512  # rows summed at once, so that a memory-mapped data set is not read into memory in full


@dataclass(frozen=True)
class Scaling(AbstractRecord):
    """How raw inputs are scaled: `(raw - centre) * factor`, or each example to mean 0 and standard deviation 1.

    Attributes:
        factor: one factor for all features, or one per feature.
        centre: one value per feature; empty for no shift.
        by_example: whether each example is scaled by its own mean and standard deviation instead.
    """

    factor: tuple[float, ...] = (1.0,)
    centre: tuple[float, ...] = ()
    by_example: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.factor) != (len(self.centre) or 1):
            problem = f"must have one number per centre ({len(self.centre)}), or one number, got {len(self.factor)}."
            raise ConfigError(problem, path="factor")

    @classmethod
    def standard(cls, inputs: Array, rows: Array) -> Scaling:
        """Return the scaling that gives each feature mean 0 and standard deviation 1 over some rows.

        A constant feature becomes 0.
        """
        total, squares = (np.zeros(inputs.shape[1]) for _ in range(2))
        for start in range(0, len(rows), ROWS):
            total += inputs[rows[start : start + ROWS]].sum(axis=0, dtype=np.float64)
        centre = total / len(rows)
        for start in range(0, len(rows), ROWS):
            squares += ((inputs[rows[start : start + ROWS]] - centre) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / len(rows))
        factor = 1.0 / np.where(deviation > _rounding(centre), deviation, 1.0)
        return cls(tuple(factor.tolist()), tuple(centre.tolist()))

    def n_inputs(self, n_columns: int) -> int:
        """Return the number of inputs that `n_columns` raw inputs become: as many."""
        return n_columns

    def apply(self, raw: Array, x: Array) -> None:
        """Write scaled inputs of shape (b, d) into `x`, in its type."""
        if self.by_example:
            np.copyto(x, raw, casting="same_kind")
            mean = x.mean(axis=1, keepdims=True)
            np.subtract(x, mean, out=x)
            deviation = np.sqrt(np.einsum("bd,bd->b", x, x) / x.shape[1])[:, None]
            varies = deviation > _rounding(mean)
            np.multiply(x, np.divide(1, deviation, out=np.zeros_like(deviation), where=varies), out=x)
        elif self.centre:
            centre, factor = self._arrays
            shifted = np.subtract(raw, centre)  # in float64, so that values far from 0 keep their digits
            np.multiply(shifted, factor, out=x, casting="same_kind")
        elif self.factor[0] == 1.0:
            np.copyto(x, raw, casting="same_kind")
        else:
            np.copyto(x, raw, casting="same_kind")  # a copy and a scaling are faster than one multiplication that casts
            np.multiply(x, x.dtype.type(self.factor[0]), out=x)

    @functools.cached_property
    def _arrays(self) -> tuple[Array, Array]:
        return np.array(self.centre), np.array(self.factor)


def _rounding(mean: Array) -> Array:
    """Return a bound of the standard deviation that rounding errors alone give to equal numbers with this mean."""
    rounding: Array = 10 * np.finfo(mean.dtype).eps * np.abs(mean)
    return rounding
