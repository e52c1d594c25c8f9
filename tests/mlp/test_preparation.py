"""Metrics that no prediction can define are refused before a training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlp.data import Dataset, Examples, Split
from mlp.errors import ConfigError
from mlp.losses import AbstractLoss, BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy
from mlp.metrics import metrics
from mlp.preparation import check_defined


def split_of(validation: list[int], k: int = 2) -> Split:
    """Return a split with some classes in the validation part."""
    x, y = np.arange(20.0)[:, None], np.arange(20) % k
    y[: len(validation)] = validation
    data = Dataset.from_arrays(x, y, classes=[f"c{i}" for i in range(k)])
    parts = [Examples(data.inputs, data.targets, rows) for rows in (np.arange(10, 20), np.arange(len(validation)))]
    return Split(parts[0], parts[1], k, "classes", data.classes)


UNDEFINED = [
    name for name in metrics if metrics.lookup(name).may_be_undefined and "classes" in metrics.lookup(name).tasks
]


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), BinaryCrossEntropy(), MeanSquaredError()])
@pytest.mark.parametrize("name", UNDEFINED)
def test_a_metric_of_two_classes_is_refused_if_the_positive_class_is_absent(name: str, loss: AbstractLoss) -> None:
    with pytest.raises(ConfigError, match=rf'"{name}" is undefined .* The validation part has no example of class c1'):
        check_defined(metrics.decode(name), loss, [split_of([0, 0, 0, 0])])
    check_defined(metrics.decode(name), loss, [split_of([0, 1, 0, 0])])
    check_defined(metrics.decode(name), loss, [split_of([0, 0, 0, 0]), split_of([0, 1, 0, 0])])


def test_other_metrics_and_splits_without_validation_are_not_refused() -> None:
    check_defined(metrics.decode("accuracy"), SoftmaxCrossEntropy(), [split_of([0, 0])])
    check_defined(metrics.decode("roc_auc"), SoftmaxCrossEntropy(), [replace(split_of([0, 0]), validation=None)])
    check_defined(metrics.decode("roc_auc"), SoftmaxCrossEntropy(), [split_of([0, 1, 1], k=3)])
