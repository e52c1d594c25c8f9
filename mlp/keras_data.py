"""The data of a `Sequential`: inputs, targets and weights as Keras takes them, as examples and splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Dataset, Examples, Split
from mlp.data_config import Scale
from mlp.errors import ConfigError, errors_in
from mlp.keras_arguments import read_sample_weight
from mlp.keras_targets import count_targets, read_targets, to_targets
from mlp.losses import Task


@dataclass(frozen=True)
class DataReader:
    """Reads the data of a stack.

    Attributes:
        input_dim: the number of features of an example.
        units: the number of units of the last layer.
        dtype: the type of the arithmetic.
        scale: how inputs are scaled.
    """

    input_dim: int | None
    units: int
    dtype: str
    scale: Scale

    def inputs(self, x: Any) -> Array:
        """Return inputs as an array of shape (n, input_dim).

        Raises:
            ConfigError: if they have another shape.
        """
        inputs, d = np.asarray(x), self.input_dim
        if inputs.ndim != 2 or inputs.shape[1] != d:
            raise ConfigError(f"inputs must have shape (n, {d}), because input_dim = {d}, got {inputs.shape}.")
        return inputs

    def targets(self, y: Array, task: Task) -> Array:
        """Return targets in the form that `mlp.data.Examples` has; arguments and errors are those of `to_targets`."""
        return to_targets(y, task, self.units, self.dtype)

    def dataset(self, x: Array, y: Array, task: Task, weights: Array | None) -> Dataset:
        """Return the data set of inputs, targets and weights of examples.

        Raises:
            ConfigError: if the inputs cannot have the scale, or the targets do not fit the task.
        """
        largest = 1.0
        if self.scale == "unit":
            if x.dtype.kind not in "iu":
                raise ConfigError(f'"unit" is for integers, got the type {x.dtype}. Scale them yourself.', path="scale")
            largest = float(np.iinfo(x.dtype).max)
        targets = self.targets(y, task)
        classes = tuple(map(str, range(count_targets(task, self.units))))
        return Dataset("arrays", x, targets, x[:0], targets[:0], classes, largest, digest="", weights=weights)

    def validation(self, data: Any, task: Task) -> Examples:
        """Return the examples of the argument `validation_data`, which are not scaled yet.

        Raises:
            ConfigError: if they are not valid, or there are none.
        """
        with errors_in(path="validation_data"):
            if not isinstance(data, tuple | list) or len(data) not in (2, 3):
                raise ConfigError("must be a pair of inputs and targets, (x, y), or (x, y, sample_weight).")
            x, (y, *weights) = self.inputs(data[0]), data[1:]
            if not len(x):
                raise ConfigError("must have at least one example.")
            weight = read_sample_weight(weights[0] if weights else None, len(x))
            return Examples(x, self.targets(read_targets(y, len(x)), task), np.arange(len(x)), weights=weight)


def split_rows(config: TrainConfig, dataset: Dataset, n_train: int, validation: Examples | None) -> Split:
    """Return the training part, which is the first rows, and the validation part: the last rows, or other examples."""
    rows = np.arange(len(dataset.inputs))
    encoding = dataset.encoding(config.data, rows[:n_train])
    train = Examples(dataset.inputs, dataset.targets, rows[:n_train], encoding, dataset.weights)
    if validation is not None:
        validation = replace(validation, encoding=encoding)
    elif n_train < len(rows):
        validation = replace(train, rows=rows[n_train:])
    return Split(train, validation, len(dataset.classes), dataset.task, dataset.classes)
