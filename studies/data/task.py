"""The task: whether classes, labels or values are predicted, as the configuration or the target columns decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mlp.config import TrainConfig
from mlp.data_config import DataConfig
from mlp.losses import AbstractResidualLoss
from studies.data.data_report import DataReport


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
    task, _ = _find_implied_task(config)
    return replace(data, task=task)


def explain_task(report: DataReport, config: TrainConfig) -> DataReport:
    """Return a report on the data of a training configuration that says which part of it decides the task, if one does.

    A report is cached with the data, which other configurations use too, so that it cannot say that itself.

    Args:
        report: the report.
        config: the configuration.
    """
    if config.data.task != "auto":
        return replace(report, task=f"{config.data.task}, because data.task says so.")
    task, reason = _find_implied_task(config)
    return report if task == "auto" else replace(report, task=f"{task}, because {reason}.")


def _find_implied_task(config: TrainConfig) -> tuple[Literal["auto", "classes", "values"], str]:
    """Return the task that the loss or a metric implies, and the reason as the end of a sentence."""
    if isinstance(config.loss, AbstractResidualLoss):
        return "values", f"the loss {config.loss.name} compares values. data.task decides otherwise"
    for task in ("values", "classes"):
        for metric in config.metrics:
            if metric.tasks == (task,):
                return task, f"the metric {metric.name} is defined for {task} only. data.task decides otherwise"
    return "auto", ""
