"""Preparation of a training: whether configuration and data fit together, and the weight of each example."""

from __future__ import annotations

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Split
from mlp.errors import ConfigError, errors_in
from mlp.scores import PARTS


def check_fit(config: TrainConfig, data: Split) -> None:
    """Refuse a configuration that cannot be trained with this data: what it says first, a `Training` says too.

    Raises:
        ConfigError: naming the field at fault.
    """
    with errors_in(path="loss"):
        config.loss.n_outputs(data.task, data.n_targets)
    with errors_in(path="metrics"):
        for metric in config.metrics:
            metric.check_task(data.task)
    known = [f"{part}/{name}" for part in PARTS for name in config.metric_names(data.task)]
    for path, watched in config.watched().items():
        if watched not in known:
            problem = f'watches "{watched}", which is not computed. Name it in metrics, or watch {" or ".join(known)}.'
            raise ConfigError(problem, path=path)
        if watched.startswith("validation/") and data.validation is None:
            raise ConfigError(f'watches "{watched}", but no example is held out.', path=path)
    if config.class_weights and data.task != "classes":
        raise ConfigError(f'needs classes; "{config.data.name}" has {data.task}.', path="class_weights")
    if isinstance(config.class_weights, tuple) and len(config.class_weights) not in (0, data.n_targets):
        problem = f"must hold one number for each of the {data.n_targets} classes, got {len(config.class_weights)}."
        raise ConfigError(problem, path="class_weights")


def example_weights(config: TrainConfig, data: Split) -> Array | None:
    """Return how much each training example counts in the loss, shape (n,), or None for all the same."""
    own = data.train.own_weights
    own = None if own is None else own.astype(config.dtype)
    if config.class_weights == ():
        return own
    targets, k = data.train.own_targets, data.n_targets
    if config.class_weights == "balanced":
        counts = np.bincount(targets, own, minlength=k)
        by_class = counts.sum() / (np.count_nonzero(counts) * np.where(counts > 0, counts, 1.0))
    else:
        by_class = np.array(config.class_weights)
    weights: Array = by_class[targets].astype(config.dtype)
    return weights if own is None else weights * own
