"""Conversion: the arrays, lists and pandas frames of a user, checked and turned into the arrays of a data set.

pandas is never imported here: a frame is recognised by its `columns` and `dtypes`, a series by its `name`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from numbers import Real
from typing import Any, Literal, Self

import numpy as np

from mlp.arrays import Array
from mlp.cells import is_missing_value
from mlp.columns import Column, Schema
from mlp.data_checks import check_inputs, check_targets, check_weights
from mlp.errors import ConfigError, errors_in
from mlp.losses import Task

NUMERIC_KINDS = "biuf"  # booleans, signed and unsigned integers, floats
ENCODE_HINT = "Encode it as numbers, or use a pandas frame, in which columns of text are encoded automatically."
MAX_LEVELS = 5000  # of a column of texts; more are names, or a mistake, and as many inputs
N_SHOWN = 10  # classes that an error lists


def column_names(x: Any) -> tuple[str, ...]:
    """Return the column names of a frame, or an empty tuple for anything else."""
    return tuple(map(str, x.columns)) if is_frame(x) else ()


def is_frame(x: Any) -> bool:
    """Return whether something is a pandas frame."""
    return hasattr(x, "columns") and hasattr(x, "dtypes")


def is_table(x: Any) -> bool:
    """Return whether something is a frame with a column that does not contain numbers."""
    return is_frame(x) and any(getattr(dtype, "kind", "O") not in "iuf" for dtype in x.dtypes)


def frame_schema(frame: Any, names: Sequence[str]) -> Schema:
    """Return the schema of a frame, decided by the types of its columns: text, booleans and categories are categories.

    Args:
        frame: the training inputs.
        names: the names of its columns.

    Raises:
        ConfigError: if a name appears twice, or a column has values of other types, or too many distinct texts.
    """
    with errors_in(path="x"):
        if len(names) != frame.shape[1]:
            return Schema(tuple(Column(name, "number") for name in names))  # refused later, with all details
        return Schema(tuple(_column_of(name, frame.iloc[:, at]) for at, name in enumerate(names)))


def _column_of(name: str, series: Any) -> Column:
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        return Column(name, "number", integer=kind in "iu")
    if kind == "M":
        return Column(name, "date")
    if kind not in "bOUT":
        raise ConfigError(f'column "{name}" must contain numbers, texts or dates, got the type {series.dtype}.')
    if kind == "O" and not hasattr(series.dtype, "categories"):
        present = [value for value in series.tolist() if not is_missing_value(value)]
        if present and all(isinstance(value, Real) and not isinstance(value, bool) for value in present):
            return Column(name, "number")
        if present and all(isinstance(value, date) for value in present):
            return Column(name, "date")
    column = Column.of_category(name, series)
    if len(column.levels) > MAX_LEVELS:
        problem = f'column "{name}" has {len(column.levels)} distinct texts, at most {MAX_LEVELS} can be categories.'
        raise ConfigError(f"{problem} Remove the column, or replace rare texts by one.")
    return column


def read_weights(weights: Any, n: int) -> Array | None:
    """Return the weights of n examples as float64, or None if there are none.

    Raises:
        ConfigError: if they are not n numbers of at least 0.
    """
    if weights is None:
        return None
    try:
        array = np.asarray(weights, np.float64)
    except (ValueError, TypeError):
        raise ConfigError("must be numbers.", path="weights") from None
    check_weights(array, n)
    return array


def read_inputs(x: Any, *, path: str, columns: Sequence[str] = ()) -> Array:
    """Return inputs as a valid array of numbers, shape (n, d).

    Args:
        x: an array, a list of rows, or a frame.
        path: the argument that it was given as, for errors.
        columns: the names of the features, for errors; empty if they have none.

    Raises:
        ConfigError: if it has another shape, no row, or a value that is not a finite number.
    """
    if is_frame(x):
        for name, dtype in zip(x.columns, x.dtypes, strict=True):
            if getattr(dtype, "kind", "O") not in NUMERIC_KINDS:
                raise ConfigError(f'column "{name}" must be numeric, got the type {dtype}. {ENCODE_HINT}', path=path)
    inputs = _as_array(x, path)
    if inputs.dtype.kind in "USO":
        raise ConfigError(f"inputs must be numbers, got text or objects ({inputs.dtype}). {ENCODE_HINT}", path=path)
    if inputs.ndim in (1, 3, 4):
        hint = "reshape(-1, 1) makes one feature" if inputs.ndim == 1 else "reshape(len(x), -1) flattens each example"
        raise ConfigError(f"inputs must have shape (n, d), got {inputs.shape}; {hint}.", path=path)
    check_inputs(inputs, path=path, columns=columns)
    if not len(inputs):
        raise ConfigError("must contain at least one example.", path=path)
    return inputs


def _as_array(values: Any, path: str) -> Array:
    """Return values as an array; objects that are numbers become floats, and missing ones NaN."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"must be an array, and all rows must have the same length: {error}.", path=path) from None
    if array.dtype != object:
        return array
    if hasattr(values, "where"):  # pandas marks missing values by objects such as NA, which become None here
        values = values.astype(object).where(values.notna(), None)
    items = np.asarray(values, object)
    if all(item is None or isinstance(item, Real | np.bool_) for item in items.flat):
        return items.astype(np.float64)
    return items


@dataclass(frozen=True)
class TargetEncoding:
    """How a user's targets become the targets of a data set; learnt from y, then applied to the test targets too.

    Attributes:
        task: what is to be predicted.
        names: the names of the k classes, or of the m labels or values.
        class_values: the k values that stand for the classes in y; empty for labels and values.
    """

    task: Task
    names: tuple[str, ...]
    class_values: tuple[Any, ...] = ()

    @classmethod
    def of(
        cls,
        y: Any,
        task: Literal["auto", "classes", "values"],
        classes: Sequence[str] | None,
        positive: str | None = None,
    ) -> Self:
        """Return the encoding for some training targets; arguments as in `Dataset.from_arrays`.

        Raises:
            ConfigError: if the targets fit no task, or `classes` does not fit the targets.
        """
        if task not in ("auto", "classes", "values"):
            raise ConfigError(f'must be "auto", "classes" or "values", got {task!r}.', path="task")
        targets = _read_targets(y, "y")
        found = _find_task(targets, task)
        if found == "classes":
            encoding = cls._of_classes(targets, classes)
            return encoding if positive is None else encoding._with_positive(positive)
        if positive is not None:
            raise ConfigError(f"needs two classes, but the targets are {found}.", path="positive")
        width = targets.shape[1] if targets.ndim == 2 else 1
        if classes is None:
            default = [str(getattr(y, "name", None) or "y")] if width == 1 else [f"y{i}" for i in range(width)]
            classes = column_names(y) or default
        if len(classes) != width:
            raise ConfigError(f"must name {width} {found}, got {len(classes)} names.", path="classes")
        return cls(found, tuple(map(str, classes)))

    @classmethod
    def _of_classes(cls, targets: Array, classes: Sequence[str] | None) -> Self:
        if classes is None:
            values = np.unique(targets).tolist()
            names = tuple(map(str, values))
        else:
            names = tuple(map(str, classes))
            values = list(names) if targets.dtype.kind == "U" else list(range(len(names)))
        if len(names) < 2 or len(set(names)) < len(names):
            argument = "y" if classes is None else "classes"
            raise ConfigError(f"must have at least two different classes, got {', '.join(names)}.", path=argument)
        return cls("classes", names, tuple(values))

    def _with_positive(self, positive: str) -> Self:
        """Return the encoding of two classes of which the given one is the second."""
        if len(self.names) != 2 or str(positive) not in self.names:
            raise ConfigError(f"must be one of two classes, got {positive!r}, not of {self.names}.", path="positive")
        step = 1 if self.names[1] == str(positive) else -1
        return replace(self, names=self.names[::step], class_values=self.class_values[::step])

    def encode(self, y: Any, n: int, *, path: str) -> Array:
        """Return targets in the form of `mlp.data.Examples`.

        Args:
            y: the targets as the user has them.
            n: the number of examples.
            path: the argument that they were given as, for errors.

        Raises:
            ConfigError: if the length, the width, a class or a value does not fit.
        """
        targets = _read_targets(y, path)
        if len(targets) != n:
            raise ConfigError(f"must have one target for each of {n} examples, got {len(targets)}.", path=path)
        if self.task == "classes":
            return self._encode_classes(targets, path)
        targets = targets.reshape(n, -1)
        if targets.dtype.kind not in NUMERIC_KINDS:
            raise ConfigError(f"targets must be numbers, got the type {targets.dtype}.", path=path)
        if self.task == "values" and targets.dtype.kind != "f":
            targets = targets.astype(np.float64)
        check_targets(targets, n, len(self.names), self.task, path=path)
        return targets.astype(np.uint8) if self.task == "labels" else targets

    def _encode_classes(self, targets: Array, path: str) -> Array:
        if targets.ndim != 1:
            raise ConfigError(f"classes must have shape (n,), got {targets.shape}.", path=path)
        index = {value: i for i, value in enumerate(self.class_values)}
        codes = [index.get(value, -1) for value in targets.tolist()]
        if -1 in codes:
            row = codes.index(-1)
            shown = ", ".join(map(str, self.class_values[:N_SHOWN]))
            more = ", ..." if len(self.class_values) > N_SHOWN else ""
            got = targets.tolist()[row]
            raise ConfigError(f"targets must be one of {shown}{more}, got {got!r} in row {row}.", path=path)
        return np.array(codes, np.int64)


def _read_targets(y: Any, path: str) -> Array:
    """Return targets as numbers or strings, of shape (n,) where there is one column, else (n, m)."""
    targets = _as_array(y, path)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim not in (1, 2):
        raise ConfigError(f"targets must have shape (n,) or (n, m), got {targets.shape}.", path=path)
    if targets.dtype == object:
        targets = _read_strings(targets, path)
    if targets.dtype.kind not in f"U{NUMERIC_KINDS}":
        raise ConfigError(f"targets must be strings or numbers, got the type {targets.dtype}.", path=path)
    return targets


def _read_strings(targets: Array, path: str) -> Array:
    for row, target in enumerate(targets.tolist()):
        if target is None or target != target:
            raise ConfigError(f"targets must not be missing, got {target} in row {row}.", path=path)
        if not isinstance(target, str):
            raise ConfigError(f"targets must be all strings or all numbers, got {target!r} in row {row}.", path=path)
    return targets.astype(str)


def _find_task(targets: Array, task: Literal["auto", "classes", "values"]) -> Task:
    is_float = targets.dtype.kind == "f"
    if task == "auto" and targets.ndim == 2:
        if targets.dtype.kind in NUMERIC_KINDS and np.isin(targets, (0, 1)).all():
            return "labels"
        if not is_float:
            problem = f"targets of shape {targets.shape} must be 0 or 1 (labels) or floats (values)"
            raise ConfigError(f"{problem}, got the type {targets.dtype}.", path="y")
    if task == "auto":
        return "values" if is_float else "classes"
    return task
