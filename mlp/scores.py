"""Scores: the metrics of each part of the data, by keys such as `validation/accuracy`, and the direction of each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

from mlp.arrays import Array
from mlp.errors import ConfigError, errors_in, nearest_word, shortened
from mlp.losses import AbstractLoss, Task
from mlp.metrics import (
    R2,
    AbstractMetric,
    Accuracy,
    Direction,
    LabelAccuracy,
    Loss,
    metrics,
)
from mlp.targets import TargetScaling

Value = TypeVar("Value")
PARTS = ("train", "validation")
SPREAD = "_std"  # ends the key of a standard deviation over folds: `validation/loss_std`
FOLD = "@fold"  # in the key of a metric on one fold, counted from 1: `validation/loss@fold1`
PART_WORDS = re.compile(
    r"(?:(train|training|val|valid|validation|test|best|final)[/_.-])+", re.I
)  # as other programs write
NO_SCALING = TargetScaling()
MAY_BE_UNDEFINED = {name for name in metrics if metrics.lookup(name).may_be_undefined}
STANDARD: dict[Task, tuple[AbstractMetric, ...]] = {
    "classes": (Loss(), Accuracy()),
    "labels": (Loss(), LabelAccuracy()),
    "values": (Loss(), R2()),
}


def standard(task: Task) -> tuple[AbstractMetric, ...]:
    """Return the metrics that every epoch computes for a task."""
    return STANDARD[task]


def evaluate(
    outputs: Array,
    targets: Array,
    loss: AbstractLoss,
    part: str,
    task: Task,
    extra: tuple[AbstractMetric, ...] = (),
    weights: Array | None = None,
    scaling: TargetScaling = NO_SCALING,
) -> dict[str, float]:
    """Return the metrics of one part of the data by key: `validation/loss`, `validation/accuracy`, ...

    Args:
        outputs: the network's raw outputs, shape (n, k).
        targets: as in `mlp.data.Examples`, first axis n.
        loss: the loss that the network was trained with.
        part: the first half of each key, such as `validation`.
        task: what is predicted, which decides the standard metrics.
        extra: metrics besides the standard ones.
        weights: the weight of each example, shape (n,); None for equal weights.
        scaling: how values to predict were scaled for the network. The loss is that of scaled targets, every other
            metric is in the targets' own units.
    """
    chosen = {metric.name: metric for metric in (*standard(task), *extra)}
    return {
        f"{part}/{name}": metric.compute_in_units(outputs, targets, loss, weights, scaling)
        for name, metric in chosen.items()
    }


def is_finite(values: Mapping[str, float]) -> bool:
    """Return whether the metrics of an epoch are finite; an undefined metric is NaN, and the loss is never undefined.

    Args:
        values: the metrics by key.
    """
    return not any(
        math.isinf(value) or (math.isnan(value) and key.rpartition("/")[2] not in MAY_BE_UNDEFINED)
        for key, value in values.items()
    )


def score_text(value: float, form: str = ".4f") -> str:
    """Return how a metric is shown: a number in a format, or `undefined`."""
    return "undefined" if math.isnan(value) else format(value, form)


def direction(key: str) -> Direction:
    """Return whether a metric such as `validation/accuracy` is maximised or minimised.

    Raises:
        ConfigError: if there is no such metric.
    """
    known = [f"{part}/{name}" for part in PARTS for name in metrics]
    if key not in known:
        starts = " or ".join(f"{part}/" for part in PARTS)
        problem = f'there is no metric "{shortened(key)}".{_metric_hint(key)}'
        raise ConfigError(f"{problem} Available, after {starts}: {', '.join(metrics)}.")
    return metrics.lookup(key.split("/")[1]).direction


def _metric_hint(key: str) -> str:
    """Return the suggestion for an unknown metric: of the training part if the key names it, else of validation."""
    beginning, name = "", key
    if match := PART_WORDS.match(key):
        beginning, name = match[1].lower(), key[match.end() :]
    nearest = nearest_word(name, metrics)
    part = "train" if beginning.startswith("train") else "validation"
    return f' Did you mean "{part}/{nearest}"?' if nearest else ""


def check_metric(key: str) -> None:
    """Refuse an unknown metric key in the field `metric` of a record.

    Raises:
        ConfigError: naming the field.
    """
    with errors_in(path="metric"):
        direction(key)


def scores_at(epoch: int, history: Mapping[str, list[float]]) -> dict[str, float]:
    """Return every metric of one epoch, counted from 1, by key, without those of single folds."""
    return {key: values[epoch - 1] for key, values in without_folds(history).items()}


def without_folds(metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Return what belongs to each metric, without the metrics of single folds."""
    return {key: value for key, value in metrics.items() if FOLD not in key}


def fold_key(key: str, fold: int) -> str:
    """Return the key of a metric on one fold, counted from 1."""
    return f"{key}{FOLD}{fold}"


def on_folds(key: str, metrics: Mapping[str, Value]) -> tuple[Value, ...]:
    """Return what belongs to a metric on each fold, in order; empty without folds."""
    found: list[Value] = []
    while (fold := fold_key(key, len(found) + 1)) in metrics:
        found.append(metrics[fold])
    return tuple(found)


def best_epoch(key: str, history: Mapping[str, list[float]]) -> int:
    """Return the first epoch (counted from 1) at which the metric was best; an undefined value is the worst."""
    sign = 1.0 if direction(key) == "maximize" else -1.0
    values = [-math.inf if math.isnan(value) else sign * value for value in history[key]]
    return 1 + values.index(max(values))
