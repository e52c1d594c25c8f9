"""Data: the configuration of a training's data, a data set, and its split into training and validation.

A split is two lists of row numbers. The inputs stay as they are on disk until `mlp.batches` copies a few rows of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array, digest, stream
from mlp.conversion import TargetEncoding, column_names, read_inputs
from mlp.data_checks import check_inputs, check_targets, check_weights
from mlp.errors import ConfigError
from mlp.losses import Task
from mlp.records import AbstractRecord, number
from mlp.scaling import Scaling


@dataclass(frozen=True)
class DataConfig(AbstractRecord):
    """The data of a training.

    Attributes:
        name: the name of the data set, or the path of a CSV file; may be empty if the data is given in Python.
        label: the column to predict (CSV only).
        task: what to predict (CSV only): `classes` or `values`; `auto` decides by the column's type.
        test: the size of the test part (CSV only): a number of rows, or a fraction (at least one row); 0 for none.
        scale: `unit` divides by the data set's largest possible raw value, `standard` gives each feature mean 0 and
            standard deviation 1 on the training part, `example` gives each example mean 0 and standard deviation 1,
            `none` leaves inputs as they are.
        subset: the number of training examples to use, taken from the front; 0 for all.
        validation: the size of the validation part: a number of training examples, or a fraction (at least one
            example); 0 for none.
        balanced: whether the validation part has the same class proportions as the training examples.
        folds: the number of folds for cross-validation; 0 for none. Fold number `fold` is then the validation part, and
            `validation` is ignored.
        fold: the fold to validate on, counted from 0.
    """

    name: str = ""
    label: str = "label"
    task: Literal["auto", "classes", "values"] = "auto"
    test: int | float = number(0.2, at_least=0)
    scale: Literal["unit", "standard", "example", "none"] = "unit"
    subset: int = number(0, at_least=0)
    validation: int | float = number(0.2, at_least=0)
    balanced: bool = False
    folds: int = number(0, at_least=0)
    fold: int = number(0, at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_table:
            for f in fields(self):
                if f.name in ("label", "task", "test") and getattr(self, f.name) != f.default:
                    advice = "Save the file with commas as separators and a name that ends in .csv"
                    advice = advice if "." in self.name else "Remove it"
                    problem = f'applies to CSV files only, and data.name is "{self.name}". {advice}.'
                    raise ConfigError(problem, path=f.name)
        if self.folds == 1:
            raise ConfigError("must be 0 (no folds) or at least 2, got 1.", path="folds")
        if self.fold >= max(1, self.folds):
            raise ConfigError(f"must be below folds = {self.folds}, got {self.fold}.", path="fold")

    def require_name(self) -> None:
        """Refuse an empty name, in files whose data set must be found by name.

        Raises:
            ConfigError: if the name is empty.
        """
        if not self.name:
            raise ConfigError("is missing. Give the name of a data set or the path of a CSV file.", path="data.name")

    @property
    def is_table(self) -> bool:
        """Whether the data is a CSV file."""
        return self.name.endswith(".csv")

    @property
    def source(self) -> dict[str, Any]:
        """The fields that select the data set and the column to predict, by name."""
        return {"name": self.name, "label": self.label, "task": self.task, "test": self.test}

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation part."""
        return bool(self.folds or self.validation)

    def n_test(self, n: int) -> int:
        """Return how many of `n` rows are in the test part.

        Raises:
            ConfigError: if no row would be left to train on.
        """
        n_test = self.test
        if isinstance(n_test, float):
            n_test = max(1, round(n_test * n)) if n_test > 0 else 0
        if n_test >= n:
            raise ConfigError(f"must leave at least one of {n} rows to train on, got {self.test!r}.", path="test")
        return n_test

    def n_examples(self, n: int) -> int:
        """Return how many of `n` training examples are used.

        Raises:
            ConfigError: if `subset` is larger.
        """
        if self.subset > n:
            problem = f"must be at most {n}, the number of training examples, got {self.subset}."
            raise ConfigError(problem, path="data.subset")
        return self.subset or n

    def n_validation(self, n: int) -> int:
        """Return how many of `n` training examples are in the validation part.

        Raises:
            ConfigError: if no example would be left to train on.
        """
        if self.folds:
            if self.folds > n:
                problem = f"must be at most {n}, the number of training examples in use, got {self.folds}."
                raise ConfigError(problem, path="data.folds")
            return n // self.folds + (self.fold < n % self.folds)
        is_fraction = isinstance(self.validation, float) and self.validation > 0
        n_validation = max(1, round(self.validation * n)) if is_fraction else int(self.validation)
        if n_validation >= n:
            problem = f"must leave at least one of {n} training examples to train on, got {self.validation!r}."
            raise ConfigError(problem, path="data.validation")
        return n_validation

    def split_rows(self, targets: Array, seed: int) -> tuple[Array, Array]:
        """Return the rows of the training part and those of the validation part, both in ascending order.

        Args:
            targets: the targets of all training examples, first axis n; only their classes are used, if `balanced`.
            seed: the training's seed.
        """
        n = len(targets)
        n_validation = self.n_validation(n)
        rows = stream(seed, "split").permutation(n)
        if self.balanced:
            rows = _spread_classes(rows, targets)
        if self.folds:
            is_validation = np.zeros(n, bool)
            is_validation[self.fold :: self.folds] = True
            return np.sort(rows[~is_validation]), np.sort(rows[is_validation])
        return np.sort(rows[n_validation:]), np.sort(rows[:n_validation])


def _spread_classes(rows: Array, classes: Array) -> Array:
    """Return shuffled rows reordered so that any stretch has nearly the overall class proportions.

    The i-th of m rows of a class is placed at (i + 1/2) / m of the way, and all rows are sorted by that position.
    """
    class_of_row = classes[rows]
    position = np.empty(len(rows))
    for one_class in np.unique(class_of_row):
        members = np.flatnonzero(class_of_row == one_class)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return rows[np.argsort(position, kind="stable")]


@dataclass(frozen=True)
class Examples:
    """Some rows of a data set; nothing is copied until a batch is gathered.

    Attributes:
        inputs: the inputs of all rows, shape (n, d), integers or floating point.
        targets: the targets of all rows: classes, integers in 0..k-1, shape (n,); labels, 0 or 1, shape (n, m); or
            values, shape (n, m).
        rows: the row numbers that belong to this part.
        scaling: how raw inputs are scaled.
        weights: the weight of each row in the loss, shape (n,), at least 0; None for equal weights.
    """

    inputs: Array
    targets: Array
    rows: Array
    scaling: Scaling = Scaling()
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def row_targets(self) -> Array:
        """The targets of `rows`, in their order."""
        return self.targets[self.rows]

    @property
    def row_weights(self) -> Array | None:
        """The weights of `rows`, in their order, or None for equal weights."""
        return None if self.weights is None else self.weights[self.rows]


@dataclass(frozen=True)
class Split:
    """The data of one training: the part it learns from, and the part it is evaluated on.

    Attributes:
        n_targets: the number of classes (k), or of labels or values (m).
        task: one of k classes, any of m labels, or m values.

    Raises:
        ConfigError: if inputs, targets or weights are not valid; the message names the row.
    """

    train: Examples
    validation: Examples | None
    n_targets: int
    task: Task = "classes"

    def __post_init__(self) -> None:
        for part in (self.train, self.validation):
            if part is not None:
                check_inputs(part.inputs)
                check_targets(part.targets, len(part.inputs), self.n_targets, self.task)
                check_weights(part.weights, len(part.inputs))
        if not len(self.train):
            raise ConfigError("there is no example to train on.", path="data")

    @property
    def n_features(self) -> int:
        return int(self.train.inputs.shape[1])


@dataclass(frozen=True)
class Dataset:
    """A data set: training and test examples as raw inputs and targets.

    `Dataset.from_arrays` makes one from arrays or pandas frames.

    Attributes:
        name: shown in errors and records.
        inputs: the training inputs, shape (n, d).
        targets: the training targets, as in `Examples`.
        test_inputs: the test inputs, shape (n_test, d); n_test may be 0.
        test_targets: the test targets.
        classes: the names of the k classes, or of the m labels or values.
        largest: the largest raw value that can occur, by which `scale = "unit"` divides.
        digest: a SHA-256 that identifies the content.
        image_shape: the shape (height, width) of an example that is an image; empty otherwise.
        columns: the names of the d features; empty if they have none.
    """

    name: str
    inputs: Array
    targets: Array
    test_inputs: Array
    test_targets: Array
    classes: tuple[str, ...]
    largest: float
    digest: str
    image_shape: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        test: tuple[Any, Any] | None = None,
        name: str = "arrays",
        task: Literal["auto", "classes", "values"] = "auto",
        classes: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        largest: float | None = None,
        image_shape: tuple[int, ...] = (),
    ) -> Dataset:
        """Return the data set of some arrays, lists, or pandas frames and series.

        Arrays are not copied where they can be used as they are, so they must not be changed afterwards.

        Args:
            x: the training inputs: numbers, shape (n, d). A pandas frame must have numeric columns; its column names
                are kept.
            y: the training targets. Strings, integers and booleans of shape (n,) are classes, floats of shape (n,) or
                (n, m) are values to predict, and 0 or 1 of shape (n, m) are m labels that apply or not.
            test: the test inputs and targets, (x, y); None for no test part.
            name: shown in errors and records.
            task: `classes` or `values` to override what the type of y decides; for shape (n,) only.
            classes: the names of the classes, labels or values. If y is strings, this is every class in order; if y is
                integers, they must be from 0 to k - 1. By default the classes are those in y, sorted.
            columns: the names of the d features; those of the frame by default.
            largest: the largest raw value that can occur; the largest absolute value of x by default.
            image_shape: the shape (height, width) of an example that is an image.

        Raises:
            ConfigError: if shapes do not fit together, or a value is missing, infinite or not a number; the message
                names the row and the column.
        """
        if test is not None and not (isinstance(test, tuple | list) and len(test) == 2):
            raise ConfigError("must be a pair (x, y) of inputs and targets.", path="test")
        columns = column_names(x) if columns is None else tuple(map(str, columns))
        inputs = read_inputs(x, path="x", columns=columns)
        if columns and len(columns) != inputs.shape[1]:
            raise ConfigError(f"must name {inputs.shape[1]} features, got {len(columns)} names.", path="columns")
        encoding = TargetEncoding.of(y, task, classes)
        targets = encoding.encode(y, len(inputs), path="y")
        test_inputs, test_targets = inputs[:0], targets[:0]
        if test is not None:
            test_inputs = read_inputs(test[0], path="test", columns=columns)
            of_x, of_test = column_names(x), column_names(test[0])
            if test_inputs.shape[1] != inputs.shape[1] or (of_x and of_test and of_x != of_test):
                problem = f"must have the {inputs.shape[1]} features of x, in the same order"
                raise ConfigError(f"{problem}, got {', '.join(of_test) or test_inputs.shape[1]}.", path="test")
            test_targets = encoding.encode(test[1], len(test_inputs), path="test")
        if largest is None:
            largest = max(float(inputs.max()), -float(inputs.min())) or 1.0
        content = digest(inputs, targets, test_inputs, test_targets)
        arrays = (inputs, targets, test_inputs, test_targets)
        return cls(name, *arrays, encoding.names, largest, content, tuple(image_shape), columns)

    @property
    def task(self) -> Task:
        """One of k classes, any of m labels, or m values; follows from the shape and the type of the targets."""
        if self.targets.ndim == 1:
            return "classes"
        return "values" if self.targets.dtype.kind == "f" else "labels"

    def scaling(self, config: DataConfig, rows: Array) -> Scaling:
        """Return how raw inputs are scaled; `standard` is fitted on the given training rows."""
        if config.scale == "standard":
            return Scaling.standard(self.inputs, rows)
        factor = 1.0 / self.largest if config.scale == "unit" else 1.0
        return Scaling((factor,), by_example=config.scale == "example")

    def split(self, config: DataConfig, seed: int) -> Split:
        """Return the training and validation parts for a seed; the test part is in neither.

        Raises:
            ConfigError: if no example would be left to train on, or the data is not valid.
        """
        n = config.n_examples(len(self.inputs))
        if config.balanced and self.task != "classes":
            raise ConfigError(f'needs classes, but the targets of "{self.name}" are {self.task}.', path="data.balanced")
        return self._split(config, *config.split_rows(self.targets[:n], seed))

    def without_validation(self, config: DataConfig) -> Split:
        """Return a split with all training examples in the training part."""
        n = config.n_examples(len(self.inputs))
        return self._split(config, np.arange(n), np.arange(0))

    def _split(self, config: DataConfig, train_rows: Array, validation_rows: Array) -> Split:
        scaling = self.scaling(config, train_rows)
        train = Examples(self.inputs, self.targets, train_rows, scaling)
        validation = Examples(self.inputs, self.targets, validation_rows, scaling) if len(validation_rows) else None
        return Split(train, validation, len(self.classes), self.task)

    def test(self, scaling: Scaling) -> Examples:
        """Return the test part, scaled like the training part: for a final evaluation, never for a search."""
        return Examples(self.test_inputs, self.test_targets, np.arange(len(self.test_inputs)), scaling)
