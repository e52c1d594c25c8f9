"""Targets as Keras takes them, class indices or one-hot rows, in the form that `mlp.data` has."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.keras_names import output_of
from mlp.losses import AbstractLoss, Task


def read_targets(y: Any, n: int) -> Array:
    """Return targets as an array.

    Raises:
        ConfigError: if they are not numbers, or there is not one number or one row for each of `n` inputs.
    """
    targets = np.asarray(y)
    if targets.ndim not in (1, 2) or len(targets) != n:
        raise ConfigError(f"targets must have one row for each of the {n} inputs, got shape {targets.shape}.")
    if targets.dtype.kind not in "biuf":
        raise ConfigError(f"targets must be numbers, got the type {targets.dtype}. Number the classes from 0.")
    return targets


def find_task(y: Array, loss: AbstractLoss, units: int) -> Task:
    """Return the task that a loss has; a loss that supports several tasks gets the one that the targets fit.

    Args:
        y: the targets as the user gives them.
        loss: the loss to minimise.
        units: the number of units in the last layer.
    """
    # Losses of values, such as squared error, also support one-hot classes and labels. All others have a single task,
    # except binary cross-entropy: one unit distinguishes two classes, several units predict labels.
    if "values" not in loss.tasks:
        return "labels" if "labels" in loss.tasks and units > 1 else "classes"
    if units > 1 and (y.ndim == 1 or y.shape[1] == 1 or _is_one_hot(y).all()):
        return "classes"
    return "labels" if output_of(loss) == "sigmoid" and np.isin(y, (0, 1)).all() else "values"


def count_targets(task: Task, units: int) -> int:
    """Return the number of classes, labels or values; a single unit distinguishes two classes."""
    return max(2, units) if task == "classes" else units


def to_targets(y: Array, task: Task, units: int, dtype: str) -> Array:
    """Return targets in the form that `mlp.data.Examples` has.

    Args:
        y: classes as whole numbers, shape (n,) or (n, 1), or as one-hot rows, shape (n, k); labels or values, shape
            (n, m), or shape (n,) if the last layer has a single unit.
        task: what the network predicts.
        units: the number of units in the last layer.
        dtype: the type of the arithmetic, which values are converted to.

    Raises:
        ConfigError: if the targets have another width or do not fit the task; the message names the row.
    """
    width = count_targets(task, units)
    if y.ndim == 1 and task != "classes":
        y = y[:, None]
    if y.ndim == 2 and y.shape[1] == 1 and task == "classes":
        y = y[:, 0]
    if y.ndim == 2 and y.shape[1] != width:
        kind = "one-hot targets" if task == "classes" else "targets"
        raise ConfigError(f"{kind} must be {width} wide for a last layer of {_units(units)}, got {y.shape[1]}.")
    if task == "values":
        return y.astype(dtype)
    if task == "labels":
        _check_rows(y, (np.isin(y, (0, 1)).sum(axis=1) == units), "0 or 1")
        return y.astype(np.uint8)
    if y.ndim == 2:
        _check_rows(y, _is_one_hot(y), "one-hot, with a single 1 and otherwise 0")
        return y.argmax(axis=1)  # type: ignore[no-any-return]
    is_class = (y == np.rint(y)) & (y >= 0) & (y < width)
    _check_rows(y, is_class, f"whole numbers from 0 to {width - 1} for a last layer of {_units(units)}")
    return y.astype(np.intp)


def _units(units: int) -> str:
    return "1 unit" if units == 1 else f"{units} units"


def _is_one_hot(y: Array) -> Array:
    """Return for each row whether one number is 1 and all others are 0."""
    is_one_hot: Array = ((y == 1).sum(axis=1) == 1) & ((y == 0).sum(axis=1) == y.shape[1] - 1)
    return is_one_hot


def _check_rows(y: Array, is_valid: Array, expected: str) -> None:
    if not is_valid.all():
        row = int(is_valid.argmin())
        raise ConfigError(f"targets must be {expected}, got {y[row].tolist()} in row {row}.")
