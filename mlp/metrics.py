"""Metrics: what a training is judged by. Each knows which way is better, and which tasks it judges.

A metric is finite wherever the outputs are, also where its formula divides zero by zero: it then takes the value
that its docstring names, so that a value that is not finite always means divergence. All sums are in float64.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mlp.arrays import Array
from mlp.losses import AbstractLoss, Task
from mlp.registry import AbstractPart, ConfigError, Registry, did_you_mean, number

Direction = Literal["minimize", "maximize"]

PARTS = ("train", "validation")
N_BINS = 15


class AbstractMetric(AbstractPart):
    """A number that sums up the outputs for a set of examples.

    Attributes:
        direction: which way is better.
        tasks: what it judges.
    """

    direction: ClassVar[Direction]
    tasks: ClassVar[tuple[Task, ...]]

    @abstractmethod
    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        """Return the metric of raw outputs.

        Args:
            outputs: raw outputs, shape (n, width), at least one row.
            targets: integers of shape (n,) for classes, else rows of shape (n, m).
            loss: what the outputs were learnt with, which knows what they mean.
            weights: of the examples in the loss, shape (n,); no other metric looks at them.
        """

    def check_task(self, task: Task) -> None:
        """Refuse a task that this metric does not judge.

        Raises:
            ConfigError: with the metrics that would.
        """
        if task not in self.tasks:
            fitting = [name for name in metrics if task in metrics.lookup(name).tasks]
            raise ConfigError(
                f'the metric "{self.name}" judges {" or ".join(self.tasks)}, but the targets are {task}, '
                f"which these judge: {', '.join(fitting)}."
            )


metrics: Registry[AbstractMetric] = Registry("metric")
AbstractMetric.family = metrics


@metrics.register("loss")
@dataclass(frozen=True)
class Loss(AbstractMetric):
    """The mean of the training's own loss, weighted where examples have weights; 0 where all of those are 0."""

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels", "values")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        values = loss.values(outputs, targets)
        if weights is None:
            return float(np.mean(values, dtype=np.float64))
        total = weights.sum(dtype=np.float64)
        return float(np.sum(values * weights, dtype=np.float64) / total) if total else 0.0


@metrics.register("accuracy")
@dataclass(frozen=True)
class Accuracy(AbstractMetric):
    """The fraction of examples that are right, the first of equal outputs winning; of labels, all must be right."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        if targets.ndim == 1:
            return float(np.mean(loss.decide(outputs, "classes") == targets))
        return float(np.mean((loss.decide(outputs, "labels") == targets).all(axis=1)))


@metrics.register("label_accuracy")
@dataclass(frozen=True)
class LabelAccuracy(AbstractMetric):
    """The fraction of all labels of all examples that are right: 1 less the Hamming loss."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("labels",)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        return float(np.mean(loss.decide(outputs, "labels") == targets))


@metrics.register("top_k_accuracy")
@dataclass(frozen=True)
class TopKAccuracy(AbstractMetric):
    """The fraction of examples whose class is among the k of the largest probabilities, a tie against the class."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes",)
    k: int = number(5, at_least=1)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        probabilities = loss.probabilities(outputs.astype(np.float64))
        own = probabilities[np.arange(len(targets)), targets]
        return float(np.mean((probabilities > own[:, None]).sum(axis=1) < self.k))


@metrics.register("r2")
@dataclass(frozen=True)
class R2(AbstractMetric):
    """1 less the squared error as a fraction of the targets' variance, averaged over the outputs.

    An output whose targets are all alike counts as 1 where it is exact, else as 0.
    """

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("values",)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        targets = targets.astype(np.float64)
        error = np.square(targets - loss.predictions(outputs.astype(np.float64))).sum(axis=0)
        spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
        ratio = np.divide(error, spread, out=(error > 0).astype(np.float64), where=spread > 0)
        return float(np.mean(1.0 - ratio))


STANDARD: dict[Task, tuple[AbstractMetric, ...]] = {
    "classes": (Loss(), Accuracy()),
    "labels": (Loss(), LabelAccuracy()),
    "values": (Loss(), R2()),
}


def standard(task: Task) -> tuple[AbstractMetric, ...]:
    """Return the metrics that are computed at each epoch without being asked for."""
    return STANDARD[task]


def evaluate(
    outputs: Array,
    targets: Array,
    loss: AbstractLoss,
    part: str,
    task: Task,
    extra: tuple[AbstractMetric, ...] = (),
    weights: Array | None = None,
) -> dict[str, float]:
    """Return the metrics of one part of the data by key: `validation/loss`, `validation/accuracy`."""
    chosen = {metric.name: metric for metric in (*standard(task), *extra)}
    return {f"{part}/{name}": metric.compute(outputs, targets, loss, weights) for name, metric in chosen.items()}


def direction(key: str) -> Direction:
    """Return which way a metric key such as `validation/accuracy` is better.

    Raises:
        ConfigError: when there is no such key.
    """
    known = [f"{part}/{name}" for part in PARTS for name in metrics]
    if key not in known:
        hint = did_you_mean(key, known)
        starts = " or ".join(f"{part}/" for part in PARTS)
        raise ConfigError(f'there is no metric "{key}".{hint} There are, after {starts}: {", ".join(metrics)}.')
    return metrics.lookup(key.split("/")[1]).direction


def is_better(key: str, value: float, than: float) -> bool:
    """Return whether `value` beats `than` by the direction of the metric."""
    return value > than if direction(key) == "maximize" else value < than


def best_epoch(key: str, history: Mapping[str, list[float]]) -> int:
    """Return the first epoch (counted from 1) at which the metric was best."""
    values = history[key]
    return 1 + values.index(max(values) if direction(key) == "maximize" else min(values))
