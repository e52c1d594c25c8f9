"""Checks of inputs, targets and weights before a network sees them; each error names the row at fault."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlp.arrays import Array
from mlp.cells import LARGEST_CELL
from mlp.errors import ConfigError
from mlp.losses import Task

LARGEST_INPUT = LARGEST_CELL
ROWS_PER_CHECK = 512  # rows checked at once, so that a memory-mapped data set is never read into memory in full


def check_inputs(
    inputs: Array, *, path: str = "data", columns: Sequence[str] = (), may_be_missing: bool = False
) -> None:
    """Refuse inputs that no network can take.

    Args:
        inputs: raw inputs.
        path: the dotted path or the argument that the inputs came from, for the error.
        columns: the names of the columns, for the error; empty if they have none.
        may_be_missing: whether values may be NaN.

    Raises:
        ConfigError: if the shape is not (n, d), or a value is not a number, not finite, or too large.
    """
    if inputs.ndim != 2 or not inputs.shape[1]:
        raise ConfigError(f"inputs must have shape (n, d), one row per example, got {inputs.shape}.", path=path)
    if inputs.dtype.kind not in "biuf":
        raise ConfigError(f"inputs must be numbers, got the type {inputs.dtype}.", path=path)
    if inputs.dtype.kind == "f" and inputs.size:
        _check_finite(inputs, "inputs", path, columns, may_be_missing=may_be_missing)


def _check_finite(
    values: Array, name: str, path: str, columns: Sequence[str] = (), *, may_be_missing: bool = False
) -> None:
    for start in range(0, len(values), ROWS_PER_CHECK):
        block = values[start : start + ROWS_PER_CHECK]
        is_bad = np.abs(block) > LARGEST_INPUT if may_be_missing else ~(np.abs(block) <= LARGEST_INPUT)
        if is_bad.any():
            row, *column = np.argwhere(is_bad)[0].tolist()
            got = f"got {block[(row, *column)]} in row {start + row}"
            if column:
                got += f', column "{columns[column[0]]}"' if columns else f", column {column[0]}"
            raise ConfigError(f"{name} must be finite and at most {LARGEST_INPUT:g}, {got}.", path=path)


def check_targets(targets: Array, n: int, n_targets: int, task: Task, *, path: str = "data") -> None:
    """Refuse targets that do not fit the task.

    Args:
        targets: as in `mlp.data.Examples`.
        n: the number of examples.
        n_targets: the number of classes, labels or values.
        task: what is to be predicted.
        path: the dotted path or the argument that the targets came from, for the error.

    Raises:
        ConfigError: if the shape, the type or a value does not fit.
    """
    shape = (n,) if task == "classes" else (n, n_targets)
    if targets.shape != shape:
        raise ConfigError(f"targets must have shape {shape}, got {targets.shape}.", path=path)
    kinds = {"classes": "iu", "labels": "biuf", "values": "f"}[task]
    if targets.dtype.kind not in kinds:
        allowed = {"classes": "whole numbers", "labels": "0 or 1", "values": "floating point"}[task]
        raise ConfigError(f"targets must be {allowed}, got the type {targets.dtype}.", path=path)
    if not targets.size:
        return
    if task == "values":
        _check_finite(targets, "targets", path)
        return
    is_bad = (targets < 0) | (targets >= n_targets) if task == "classes" else (targets != 0) & (targets != 1)
    if is_bad.any():
        row = int(np.argwhere(is_bad)[0][0])
        allowed = f"from 0 to {n_targets - 1}" if task == "classes" else "0 or 1"
        raise ConfigError(f"targets must be {allowed}, got {targets[row]} in row {row}.", path=path)


def check_weights(weights: Array | None, n: int) -> None:
    """Refuse weights of examples that are not finite, negative, or not one per example.

    Raises:
        ConfigError: with what must hold.
    """
    if weights is None:
        return
    if weights.shape != (n,):
        raise ConfigError(f"weights must have shape ({n},), one per example, got {weights.shape}.", path="data")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ConfigError("weights must be finite and at least 0.", path="data")
