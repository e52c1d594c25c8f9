"""The task: whether classes, labels or values are predicted, as the configuration or the target columns decide."""

from __future__ import annotations

from dataclasses import replace

from mlp.config import TrainConfig
from mlp.data_config import DataConfig
from mlp.losses import AbstractResidualLoss


def settle_task(config: TrainConfig) -> DataConfig:
    """Return the data of a training configuration, with the task that its loss or a metric implies.

    Whole numbers may be classes or values. A regression loss, or a metric that only values have, such as R², means
    values. A metric that only classes have means classes.

    Args:
        config: the configuration.
    """
    data = config.data
    if data.task != "auto" or not data.is_table:
        return data
    tasks = {metric.tasks for metric in config.metrics}
    if isinstance(config.loss, AbstractResidualLoss) or ("values",) in tasks:
        return replace(data, task="values")
    if ("classes",) in tasks:
        return replace(data, task="classes")
    return data
