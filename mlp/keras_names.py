"""What a user of Keras says, in the words of this package: names of parts, losses without outputs, one-hot targets.

There the last layer has an activation, and the loss is called by its customary name; in `mlp.losses` the two are one
part, which takes raw outputs. Names of both worlds are understood, in upper case too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, get_args

import numpy as np

from mlp.activations import AbstractActivation, activations
from mlp.arrays import Array
from mlp.errors import ConfigError, did_you_mean
from mlp.losses import (
    AbstractLoss,
    AbstractResidualLoss,
    Output,
    Task,
    losses,
)
from mlp.metrics import AbstractMetric, metrics
from mlp.optimizers import AbstractOptimizer, optimizers
from mlp.registry import AbstractPart, Registry
from mlp.scores import standard

ACTIVATIONS = {"linear": "identity", "swish": "silu"}
OPTIMIZERS = {"iterative": "sgd"}
LOSSES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "binary_crossentropy": "binary_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
}
METRICS = {
    "acc": "accuracy",
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "cross_entropy": "log_loss",
    "cross-entropy": "log_loss",
    "binary_crossentropy": "log_loss",
    "categorical_crossentropy": "log_loss",
}
# What a metric is called here where the targets are no values.
METRICS_OF_TASK: dict[tuple[Task, str], str] = {
    ("classes", "mse"): "brier",
    ("labels", "mse"): "brier",
    ("labels", "accuracy"): "label_accuracy",
}
SOFTMAX = "softmax"
# Which activation of the last layer is part of a loss.
OUTPUT_OF_LOSS = {"softmax_cross_entropy": SOFTMAX, "binary_cross_entropy": "sigmoid"}

PartT = TypeVar("PartT", bound=AbstractPart)


def find_activation(value: Any) -> AbstractActivation | str:
    """Return the activation that is meant, or `softmax`, which is none that a hidden layer can have.

    Raises:
        ConfigError: when there is none.
    """
    is_softmax = isinstance(value, str) and value.lower() == SOFTMAX
    return SOFTMAX if is_softmax else _find(activations, value, ACTIVATIONS, "activation", others=(SOFTMAX,))


def find_optimizer(value: Any, learning_rate: float | None) -> AbstractOptimizer:
    """Return the optimizer that is meant, with its own learning rate where none is given.

    Raises:
        ConfigError: when there is none.
    """
    optimizer = _find(optimizers, value, OPTIMIZERS, "optimizer")
    return optimizer if learning_rate is None else replace(optimizer, learning_rate=learning_rate)


def find_metrics(values: Any) -> tuple[AbstractMetric, ...]:
    """Return the metrics that are meant.

    Raises:
        ConfigError: when there is none of a name, or no list.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f'must be a list, such as ["accuracy"], got {values!r}.', path="metrics")
    return tuple(_find(metrics, value, METRICS, "metrics") for value in values)


def find_loss(value: Any, output: str) -> AbstractLoss:
    """Return the loss that is meant, with the last layer's activation in it.

    Args:
        value: the loss.
        output: the name of that activation; both `identity` and `linear` are none.

    Raises:
        ConfigError: when there is none, or none that goes with that activation.
    """
    loss = _find(losses, value, LOSSES, "loss")
    if isinstance(loss, AbstractResidualLoss):
        outputs = get_args(Output)
        if output not in outputs:
            problem = f'"{loss.name}" needs a last layer with one of {", ".join(outputs)}, got {output}.'
            raise ConfigError(problem, path="loss")
        return replace(loss, output=output)  # type: ignore[arg-type] # which has just been checked
    if output != (needed := OUTPUT_OF_LOSS[loss.name]):
        fitting = [name for name, its_output in OUTPUT_OF_LOSS.items() if its_output == output]
        hint = " or ".join([*fitting, "mean_squared_error"])
        problem = f'"{loss.name}" needs a last layer with activation="{needed}", got {output}, with which {hint} goes.'
        raise ConfigError(problem, path="loss")
    return loss


def output_of(loss: AbstractLoss) -> str:
    """Return the activation of the last layer that a loss has in it."""
    return loss.output if isinstance(loss, AbstractResidualLoss) else OUTPUT_OF_LOSS[loss.name]


def metrics_for(task: Task, chosen: Iterable[AbstractMetric]) -> tuple[AbstractMetric, ...]:
    """Return the metrics as they are called for a task, each once, without those that are computed in any case."""
    names = {metric: METRICS_OF_TASK.get((task, metric.name)) for metric in chosen}
    meant = dict.fromkeys(metrics.decode(name) if name else metric for metric, name in names.items())
    return tuple(metric for metric in meant if metric not in standard(task))


def _find(
    family: Registry[PartT], value: Any, aliases: Mapping[str, str], path: str, others: tuple[str, ...] = ()
) -> PartT:
    """Return a part from its name in either world, from a table with such a name, or from itself."""
    if isinstance(value, AbstractPart) and value.family is family:
        return value  # type: ignore[return-value]
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        return family.decode(value, path=path)  # which says what is wrong
    known = [*family, *others, *aliases]
    if (word := table["name"].lower()) not in known:
        problem = f'there is no {family.kind} called "{table["name"]}".{did_you_mean(word, known)}'
        raise ConfigError(f"{problem} There are: {', '.join(known)}.", path=path)
    return family.decode({**table, "name": aliases.get(word, word)}, path=path)


def read_targets(y: Any, n: int) -> Array:
    """Return targets as an array.

    Raises:
        ConfigError: when they are no numbers, or not one or one row for each of `n` inputs.
    """
    targets = np.asarray(y)
    if targets.ndim not in (1, 2) or len(targets) != n:
        raise ConfigError(f"targets must have a row for each of the {n} inputs, got shape {targets.shape}.")
    if targets.dtype.kind not in "biuf":
        raise ConfigError(f"targets must be numbers, got the type {targets.dtype}. Number the classes from 0.")
    return targets


def find_task(y: Array, loss: AbstractLoss, units: int) -> Task:
    """Return what there is to learn, by the loss, or by the targets where it can learn anything.

    Args:
        y: targets as the user has them.
        loss: to be minimised.
        units: of the last layer.
    """
    if "values" not in loss.tasks:
        return "labels" if "labels" in loss.tasks and units > 1 else "classes"
    if units > 1 and (y.ndim == 1 or y.shape[1] == 1 or _is_one_hot(y).all()):
        return "classes"
    return "labels" if output_of(loss) == "sigmoid" and np.isin(y, (0, 1)).all() else "values"


def count_targets(task: Task, units: int) -> int:
    """Return how many classes, labels or values there are; a single unit tells two classes apart."""
    return max(2, units) if task == "classes" else units


def to_targets(y: Array, task: Task, units: int, dtype: str) -> Array:
    """Return targets in the form that `mlp.data.Examples` has.

    Args:
        y: classes as whole numbers, shape (n,) or (n, 1), or as one-hot rows; else labels or values, a row an example,
            or shape (n,) where there is a single unit.
        task: what there is to learn.
        units: of the last layer.
        dtype: of the arithmetic.

    Raises:
        ConfigError: when they are of another width, or no such targets, with the row at fault.
    """
    width = count_targets(task, units)
    if y.ndim == 1 and task != "classes":
        y = y[:, None]
    if y.ndim == 2 and y.shape[1] == 1 and task == "classes":
        y = y[:, 0]
    if y.ndim == 2 and y.shape[1] != width:
        rows = "one-hot targets" if task == "classes" else "targets"
        raise ConfigError(f"{rows} must be {width} wide for a last layer of {_units(units)}, got {y.shape[1]}.")
    if task == "values":
        return y.astype(dtype)
    if task == "labels":
        _check_rows(y, (np.isin(y, (0, 1)).sum(axis=1) == units), "0 or 1")
        return y.astype(np.uint8)
    if y.ndim == 2:
        _check_rows(y, _is_one_hot(y), "one-hot, a single 1 among 0")
        return y.argmax(axis=1)  # type: ignore[no-any-return]
    is_class = (y == np.rint(y)) & (y >= 0) & (y < width)
    _check_rows(y, is_class, f"whole numbers from 0 to {width - 1} for a last layer of {_units(units)}")
    return y.astype(np.intp)


def _units(units: int) -> str:
    return "1 unit" if units == 1 else f"{units} units"


def _is_one_hot(y: Array) -> Array:
    """Return of which rows one number is 1 and all others are 0."""
    is_one_hot: Array = ((y == 1).sum(axis=1) == 1) & ((y == 0).sum(axis=1) == y.shape[1] - 1)
    return is_one_hot


def _check_rows(y: Array, is_right: Array, wanted: str) -> None:
    if not is_right.all():
        row = int(is_right.argmin())
        raise ConfigError(f"targets must be {wanted}, got {y[row].tolist()} in row {row}.")
