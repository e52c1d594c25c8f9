"""Metrics: what a training is judged by. Each knows which way is better."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mlp.arrays import Array
from mlp.losses import AbstractLoss
from mlp.registry import AbstractPart, ConfigError, Registry, did_you_mean

Direction = Literal["minimize", "maximize"]


class AbstractMetric(AbstractPart):
    """A number that sums up the outputs for a set of examples."""

    direction: ClassVar[Direction]

    @abstractmethod
    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss) -> float:
        """Return the metric of raw outputs of shape (n, k) against targets."""


metrics: Registry[AbstractMetric] = Registry("metric")
AbstractMetric.family = metrics


@metrics.register("loss")
@dataclass(frozen=True)
class Loss(AbstractMetric):
    """The mean of the training's own loss, summed in float64."""

    direction: ClassVar[Direction] = "minimize"

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss) -> float:
        return float(np.mean(loss.values(outputs, targets), dtype=np.float64))


@metrics.register("accuracy")
@dataclass(frozen=True)
class Accuracy(AbstractMetric):
    """The fraction of examples whose largest output is their label's; the first wins a tie."""

    direction: ClassVar[Direction] = "maximize"

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss) -> float:
        return float(np.mean(outputs.argmax(axis=1) == targets))


STANDARD: tuple[AbstractMetric, ...] = (Loss(), Accuracy())
PARTS = ("train", "validation")


def evaluate(outputs: Array, targets: Array, loss: AbstractLoss, part: str) -> dict[str, float]:
    """Return the metrics of one part of the data by key: `validation/loss`, `validation/accuracy`."""
    return {f"{part}/{metric.name}": metric.compute(outputs, targets, loss) for metric in STANDARD}


def direction(key: str) -> Direction:
    """Return which way a metric key such as `validation/accuracy` is better.

    Raises:
        ConfigError: when there is no such key.
    """
    known = [f"{part}/{metric.name}" for part in PARTS for metric in STANDARD]
    if key not in known:
        raise ConfigError(f'there is no metric "{key}".{did_you_mean(key, known)} There are: {", ".join(known)}.')
    return metrics.lookup(key.split("/")[1]).direction


def is_better(key: str, value: float, than: float) -> bool:
    """Return whether `value` beats `than` by the direction of the metric."""
    return value > than if direction(key) == "maximize" else value < than


def best_epoch(key: str, history: Mapping[str, list[float]]) -> int:
    """Return the first epoch (counted from 1) at which the metric was best."""
    values = history[key]
    return 1 + values.index(max(values) if direction(key) == "maximize" else min(values))
