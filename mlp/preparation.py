"""Preparation of a training: whether configuration and data fit together, and the weight of each example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Examples, Split
from mlp.errors import ConfigError, errors_in
from mlp.losses import AbstractLoss, Task
from mlp.metrics import AbstractMetric
from mlp.scores import PARTS
from mlp.targets import TargetScaling


def check_fit(config: TrainConfig, data: Split) -> None:
    """Refuse a configuration that cannot be trained with this data. `Training` makes the same check.

    Raises:
        ConfigError: naming the field.
    """
    with errors_in(path="loss"):
        config.loss_for(data.task).n_outputs(data.task, data.n_targets)
    with errors_in(path="metrics"):
        for metric in config.metrics:
            metric.check_targets(data.task, data.n_targets)
    known = [f"{part}/{name}" for part in PARTS for name in config.metric_names(data.task)]
    for path, watched in config.watched().items():
        if watched not in known:
            problem = f'needs "{watched}", which is not computed. Add it to metrics, or use {" or ".join(known)}.'
            raise ConfigError(problem, path=path)
        if watched.startswith("validation/") and data.validation is None:
            raise ConfigError(f'needs "{watched}", but there is no validation part.', path=path)
    if (
        data.task == "values"
        and config.data.target_scale in ("standard", "log")
        and has_output_function(config, data.task)
    ):
        problem = f'is "{config.data.target_scale}", but the loss has an output function. Use "none", or remove output.'
        raise ConfigError(problem, path="data.target_scale")
    if config.class_weights and data.task != "classes":
        raise ConfigError(f"needs classes, but the targets are {data.task}.", path="class_weights")
    if isinstance(config.class_weights, tuple) and len(config.class_weights) not in (0, data.n_targets):
        problem = f"must have one number for each of the {data.n_targets} classes, got {len(config.class_weights)}."
        raise ConfigError(problem, path="class_weights")


def check_defined(metric: AbstractMetric, loss: AbstractLoss, splits: Sequence[Split]) -> None:
    """Refuse a metric that is undefined on every validation part, even for perfect predictions.

    Raises:
        ConfigError: with the reason, as far as it is a class without examples.
    """
    parts = [split.validation for split in splits if split.validation is not None]
    task, n_targets = splits[0].task, splits[0].n_targets
    if not metric.may_be_undefined or not parts or task == "values":
        return
    if all(math.isnan(_perfect_score(metric, loss, part, task, n_targets)) for part in parts):
        gaps = [gap for gap in splits[0].find_gaps() if gap.startswith("the validation")]
        why = f" {gaps[0][0].upper()}{gaps[0][1:]}" if gaps else ""
        problem = f'the metric "{metric.name}" is undefined on the validation part, whatever is predicted.{why}'
        raise ConfigError(f"{problem} Use data.folds, a larger data.validation, or another metric.")


def _perfect_score(metric: AbstractMetric, loss: AbstractLoss, part: Examples, task: Task, n_targets: int) -> float:
    """Return the metric of outputs from which every target is told."""
    targets, width = part.row_targets, loss.n_outputs(task, n_targets)
    is_true = targets[:, None] == np.arange(n_targets) if task == "classes" else targets > 0
    outputs = np.where(is_true[:, n_targets - width :], 8.0, -8.0)
    with np.errstate(all="ignore"):
        return metric.compute(outputs, targets, loss)


def has_output_function(config: TrainConfig, task: Task) -> bool:
    """Return whether the loss applies a function to the outputs, whose range scaled targets may not fit."""
    return getattr(config.loss_for(task), "output", "identity") != "identity"


def fit_target_scaling(config: TrainConfig, data: Split) -> TargetScaling:
    """Return how the targets are scaled for the network, fitted on the training part; as they are unless values."""
    chosen = config.data.target_scale
    if data.task != "values" or chosen == "none" or (chosen == "auto" and has_output_function(config, data.task)):
        return TargetScaling()
    train = data.train
    return TargetScaling.fit(train.row_targets, weights=train.row_weights, log=chosen == "log")


def example_weights(config: TrainConfig, data: Split) -> Array | None:
    """Return the weight of each training example in the loss, shape (n,), or None for equal weights.

    The weight is the example's own weight, if the data has weights, times the weight of its class.
    """
    given = data.train.row_weights
    given = None if given is None else given.astype(config.dtype)
    if config.class_weights == ():
        return given
    targets, k = data.train.row_targets, data.n_targets
    if config.class_weights == "balanced":
        totals = np.bincount(targets, given, minlength=k)
        by_class = totals.sum() / (np.count_nonzero(totals) * np.where(totals > 0, totals, 1.0))
    else:
        by_class = np.array(config.class_weights)
    weights: Array = by_class[targets].astype(config.dtype)
    return weights if given is None else weights * given
