"""Metrics of the errors of predicted values."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlp.arrays import Array
from mlp.losses import AbstractLoss, Task
from mlp.metric import AbstractMetric, Direction, metrics
from mlp.targets import TargetScaling


class AbstractErrorMetric(AbstractMetric):
    """A metric of the errors of predicted values."""

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("values",)

    @abstractmethod
    def summarize(self, errors: Array, targets: Array) -> float:
        """Return the metric of errors and targets, both of shape (n, m) and float64."""

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        return self.compute_in_units(outputs, targets, loss, weights, TargetScaling())

    def compute_in_units(
        self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None, scaling: TargetScaling
    ) -> float:
        targets = targets.astype(np.float64)
        return self.summarize(scaling.invert(loss.predictions(outputs.astype(np.float64))) - targets, targets)


@metrics.register("mse")
@dataclass(frozen=True)
class Mse(AbstractErrorMetric):
    """The squared error, averaged over examples and outputs."""

    def summarize(self, errors: Array, targets: Array) -> float:
        return float(np.mean(np.square(errors)))


@metrics.register("rmse")
@dataclass(frozen=True)
class Rmse(AbstractErrorMetric):
    """The root of the mean squared error of each output, averaged over the outputs."""

    def summarize(self, errors: Array, targets: Array) -> float:
        return float(np.mean(np.sqrt(np.mean(np.square(errors), axis=0))))


@metrics.register("mae")
@dataclass(frozen=True)
class Mae(AbstractErrorMetric):
    """The absolute error, averaged over examples and outputs."""

    def summarize(self, errors: Array, targets: Array) -> float:
        return float(np.mean(np.abs(errors)))


@metrics.register("mape")
@dataclass(frozen=True)
class Mape(AbstractErrorMetric):
    """The absolute error divided by the absolute target, averaged over examples and outputs; 0.1 is 10 %.

    Targets near 0 make it very large: the divisor is at least the eps of float64.
    """

    def summarize(self, errors: Array, targets: Array) -> float:
        return float(np.mean(np.abs(errors) / np.maximum(np.abs(targets), np.finfo(np.float64).eps)))


@metrics.register("r2")
@dataclass(frozen=True)
class R2(AbstractErrorMetric):
    """The coefficient of determination: 1 - squared error / variance of the targets, averaged over the outputs.

    An output whose targets are all equal counts as 1 if it is exact, otherwise as 0.
    """

    direction: ClassVar[Direction] = "maximize"

    def summarize(self, errors: Array, targets: Array) -> float:
        error = np.square(errors).sum(axis=0)
        # The rounded mean of equal numbers may differ from them, but not if they are all 0.
        shifted = targets - targets[0]
        spread = np.square(shifted - shifted.mean(axis=0)).sum(axis=0)
        ratio = np.divide(error, spread, out=(error > 0).astype(np.float64), where=spread > 0)
        return float(np.mean(1.0 - ratio))
