"""Scaling: what is done to raw inputs before the network sees them, learnt from the training part where need be."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import AbstractRecord

ROWS = 512  # that are summed up at once


@dataclass(frozen=True)
class Scaling(AbstractRecord):
    """What is done to raw inputs: `(raw - centre) * factor`, or every example to mean 0 and deviation 1.

    Attributes:
        factor: one for all features, or one each.
        centre: one for each feature, or none.
        by_example: whether each example goes by its own mean and deviation instead.
    """

    factor: tuple[float, ...] = (1.0,)
    centre: tuple[float, ...] = ()
    by_example: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.factor) != (len(self.centre) or 1):
            problem = f"must hold one number, or one for each of {len(self.centre)} centres, got {len(self.factor)}."
            raise ConfigError(problem, path="factor")

    @classmethod
    def standard(cls, inputs: Array, rows: Array) -> Scaling:
        """Return what gives each feature mean 0 and deviation 1 over some rows; a constant feature becomes 0."""
        total, squares = (np.zeros(inputs.shape[1]) for _ in range(2))
        for start in range(0, len(rows), ROWS):
            total += inputs[rows[start : start + ROWS]].sum(axis=0, dtype=np.float64)
        centre = total / len(rows)
        for start in range(0, len(rows), ROWS):
            squares += ((inputs[rows[start : start + ROWS]] - centre) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / len(rows))
        factor = 1.0 / np.where(deviation > _rounding(centre), deviation, 1.0)
        return cls(tuple(factor.tolist()), tuple(centre.tolist()))

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
            wide = np.subtract(raw, centre)  # in float64: what is far from 0 keeps its digits
            np.multiply(wide, factor, out=x, casting="same_kind")
        elif self.factor[0] == 1.0:
            np.copyto(x, raw, casting="same_kind")
        else:
            np.copyto(x, raw, casting="same_kind")  # and then scale: quicker than to widen and scale at once
            np.multiply(x, x.dtype.type(self.factor[0]), out=x)

    @functools.cached_property
    def _arrays(self) -> tuple[Array, Array]:
        return np.array(self.centre), np.array(self.factor)


def _rounding(mean: Array) -> Array:
    """Return the deviation that rounding alone gives to numbers that are all alike."""
    rounding: Array = 10 * np.finfo(mean.dtype).eps * np.abs(mean)
    return rounding
