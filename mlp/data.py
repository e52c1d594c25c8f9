"""Data: a data set, its parts, and its split into training and validation.

A split is two lists of row numbers. The inputs stay as they are on disk until `mlp.batches` copies a few rows of them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array, digest
from mlp.columns import Schema, pack
from mlp.conversion import TargetEncoding, column_names, frame_schema, is_frame, read_inputs, read_weights
from mlp.data_checks import check_inputs, check_targets, check_weights
from mlp.data_config import DataConfig as DataConfig  # users import it from here
from mlp.encoding import Encoding, TableEncoding
from mlp.errors import ConfigError
from mlp.losses import Task
from mlp.scaling import Scaling
from mlp.splits import Population, find_absent, split_rows, strata_of, subset_rows


@dataclass(frozen=True)
class Examples:
    """Some rows of a data set; nothing is copied until a batch is gathered.

    Attributes:
        inputs: the inputs of all rows, shape (n, d), integers or floating point; the cells of a table.
        targets: the targets of all rows: classes, integers in 0..k-1, shape (n,); labels, 0 or 1, shape (n, m); or
            values, shape (n, m).
        rows: the row numbers that belong to this part.
        encoding: how raw inputs become inputs of the network.
        weights: the weight of each row in the loss, shape (n,), at least 0; None for equal weights.
    """

    inputs: Array
    targets: Array
    rows: Array
    encoding: Encoding = Scaling()
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_inputs(self) -> int:
        """The number of inputs of the network."""
        return self.encoding.n_inputs(self.inputs.shape[1])

    @functools.cached_property
    def encoded(self) -> dict[str, Array]:
        """The encoded inputs of `rows`, by the type of the arithmetic, where a reader has found it worth keeping."""
        return {}

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
        classes: the names of the classes, labels or values; empty if they have none.

    Raises:
        ConfigError: if inputs, targets or weights are not valid; the message names the row.
    """

    train: Examples
    validation: Examples | None
    n_targets: int
    task: Task = "classes"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in (self.train, self.validation):
            if part is not None:
                check_inputs(part.inputs, may_be_missing=isinstance(part.encoding, TableEncoding))
                check_targets(part.targets, len(part.inputs), self.n_targets, self.task)
                check_weights(part.weights, len(part.inputs))
        if not len(self.train):
            raise ConfigError("there is no example to train on.", path="data")

    @property
    def n_features(self) -> int:
        """The number of inputs of the network."""
        return self.train.n_inputs

    def encoded_by(self, encoding: Encoding) -> Split:
        """Return the split with another encoding."""
        validation = None if self.validation is None else replace(self.validation, encoding=encoding)
        return replace(self, train=replace(self.train, encoding=encoding), validation=validation)

    def find_gaps(self) -> list[str]:
        """Return a sentence for each part of the data in which a class is absent."""
        if self.task != "classes" or not self.classes:
            return []
        parts = {"training": self.train, "validation": self.validation}
        sentences = []
        for name, part in parts.items():
            if part is not None and (absent := find_absent(part.row_targets, self.classes)):
                shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
                of = f"class {shown}" if len(absent) == 1 else f"{len(absent)} classes ({shown})"
                sentences.append(f"the {name} part has no example of {of}.")
        return sentences


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
        schema: the columns of a table, whose cells are the inputs; None for images and other arrays.
        weights: the weight of each training example in the loss, shape (n,); None for equal weights.
        groups: the group of each training example, integers of shape (n,), which no split divides; None for no groups.
        order: the place of each training example in time, shape (n,); the latest are the validation part; None for no
            order.
        n_given: the number of last training examples that are the validation part of every split; 0 to hold out some.
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
    schema: Schema | None = None
    weights: Array | None = field(default=None, kw_only=True)
    groups: Array | None = field(default=None, kw_only=True)
    order: Array | None = field(default=None, kw_only=True)
    n_given: int = field(default=0, kw_only=True)

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
        positive: str | None = None,
        weights: Any = None,
        groups: Any = None,
    ) -> Dataset:
        """Return the data set of some arrays, lists, or pandas frames and series.

        Arrays are not copied where they can be used as they are, so they must not be changed afterwards.

        Args:
            x: the training inputs: numbers, shape (n, d), or a pandas frame. A frame is a table: its columns may be
                numbers, booleans, texts, categories and dates, and cells may be missing.
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
            positive: the name of the class that precision, recall and F1 are of, which becomes the second of two.
            weights: the weight of each training example in the loss, shape (n,), at least 0.
            groups: the group of each training example, shape (n,): numbers or texts. No split divides a group.

        Raises:
            ConfigError: if shapes do not fit together, or a value is infinite or not a number, or missing in an array;
                the message names the row and the column.
        """
        if test is not None and not (isinstance(test, tuple | list) and len(test) == 2):
            raise ConfigError("must be a pair (x, y) of inputs and targets.", path="test")
        columns = column_names(x) if columns is None else tuple(map(str, columns))
        schema = frame_schema(x, columns) if is_frame(x) and not image_shape else None
        inputs = read_inputs(x, path="x", columns=columns) if schema is None else pack(schema.read_rows(x, path="x"))
        if columns and len(columns) != inputs.shape[1]:
            raise ConfigError(f"must name {inputs.shape[1]} features, got {len(columns)} names.", path="columns")
        encoding = TargetEncoding.of(y, task, classes, positive)
        targets = encoding.encode(y, len(inputs), path="y")
        test_inputs, test_targets = inputs[:0], targets[:0]
        if test is not None:
            test_inputs = _read_test(test[0], x, inputs.shape[1], columns, schema)
            test_targets = encoding.encode(test[1], len(test_inputs), path="test")
        if largest is None:
            largest = 1.0 if schema else max(float(inputs.max()), -float(inputs.min())) or 1.0
        arrays = (inputs, targets, test_inputs, test_targets)
        example_weights, group_codes = read_weights(weights, len(inputs)), _read_groups(groups, len(inputs))
        extra = [array for array in (example_weights, group_codes) if array is not None]
        return cls(
            name,
            *arrays,
            encoding.names,
            largest,
            digest(*arrays, *extra),
            tuple(image_shape),
            columns,
            schema,
            weights=example_weights,
            groups=group_codes,
        )

    @property
    def task(self) -> Task:
        """One of k classes, any of m labels, or m values; follows from the shape and the type of the targets."""
        if self.targets.ndim == 1:
            return "classes"
        return "values" if self.targets.dtype.kind == "f" else "labels"

    def encoding(self, config: DataConfig, rows: Array) -> Encoding:
        """Return how raw inputs become inputs of the network, fitted on the given training rows."""
        scale = config.scale
        if scale == "auto":
            is_bytes = self.inputs.dtype == np.uint8 and self.schema is None
            scale = "unit" if is_bytes or self.image_shape else "robust"
        self.check_scale(config)
        if scale == "example":
            return Scaling(by_example=True)
        if self.schema is None:
            if scale == "standard":
                return Scaling.standard(self.inputs, rows)
            if scale in ("unit", "none"):
                return Scaling((1.0 / self.largest if scale == "unit" else 1.0,))
        return TableEncoding.fit(self.inputs, rows, self.schema, scale)

    def check_scale(self, config: DataConfig) -> None:
        """Refuse a scale that the data cannot have.

        Raises:
            ConfigError: if examples of a table are to be scaled one by one.
        """
        if config.scale == "example" and self.schema is not None:
            problem = 'is "example", which is for images and other arrays. Use "robust" or "standard" for a table.'
            raise ConfigError(problem, path="data.scale")

    def split(self, config: DataConfig, seed: int) -> Split:
        """Return the training and validation parts for a seed, or for `split_seed`; the test part is in neither.

        Raises:
            ConfigError: if no example would be left to train on, the data is not valid, or the configuration asks for
                all folds of a cross-validation.
        """
        self._check_positive(config)
        n_given = self.n_given
        if n_given and config.folds:
            raise ConfigError("cannot be combined with a validation part in a file of its own.", path="data.folds")
        if config.is_cross_validation:
            n = len(config.by_fold())
            problem = f"must choose one of {n} folds here, such as 0, because one network is trained. "
            problem += "To train on every fold, use mlp.CrossValidation or a study."
            raise ConfigError(problem, path="data.fold")
        used = self._used_rows(config)
        if n_given:
            return self._split(config, used, np.arange(len(self.inputs) - n_given, len(self.inputs)))
        train, validation = split_rows(config, seed, self._population(config).take(used))
        return self._split(config, used[train], used[validation])

    def splits(self, config: DataConfig, seed: int) -> tuple[Split, ...]:
        """Return the split of each fold and repeat of a cross-validation; otherwise the only split.

        Raises:
            ConfigError: as for `split`.
        """
        return tuple(self.split(each, seed) for each in config.by_fold())

    def without_validation(self, config: DataConfig) -> Split:
        """Return a split with all training examples in the training part."""
        given = np.arange(len(self.inputs) - self.n_given, len(self.inputs))
        return self._split(config, np.concatenate([self._used_rows(config), given]), np.arange(0))

    def _used_rows(self, config: DataConfig) -> Array:
        """Return the rows that may be held out or trained on: all, or a subset."""
        n = len(self.inputs) - self.n_given
        n_used = config.n_examples(n)
        if self.schema is None:
            return np.arange(n_used)
        return subset_rows(self._population(config).take(np.arange(n)), n_used)

    def _population(self, config: DataConfig) -> Population:
        stratify = self.schema is not None if config.stratify == "auto" else config.stratify
        strata = strata_of(self.targets, self.task) if stratify else None
        return Population(len(self.inputs), strata, self.groups, self.order)

    def _check_positive(self, config: DataConfig) -> None:
        if config.positive and (self.task != "classes" or self.classes[1:] != (config.positive,)):
            problem = f'must be one of two classes, got "{config.positive}", and the targets are {self.task}: '
            raise ConfigError(f"{problem}{', '.join(self.classes[:5])}.", path="data.positive")

    def _split(self, config: DataConfig, train_rows: Array, validation_rows: Array) -> Split:
        encoding = self.encoding(config, train_rows)
        parts = [
            Examples(self.inputs, self.targets, rows, encoding, self.weights) for rows in (train_rows, validation_rows)
        ]
        validation = parts[1] if len(validation_rows) else None
        return Split(parts[0], validation, len(self.classes), self.task, self.classes)

    def test(self, encoding: Encoding) -> Examples:
        """Return the test part, encoded like the training part: for a final evaluation, never for a search."""
        return Examples(self.test_inputs, self.test_targets, np.arange(len(self.test_inputs)), encoding)


def _read_groups(groups: Any, n: int) -> Array | None:
    """Return the number of the group of each example, shape (n,), or None if there are no groups."""
    if groups is None:
        return None
    codes = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    if len(codes) != n:
        raise ConfigError(f"must have one group for each of {n} examples, got {len(codes)}.", path="groups")
    return codes


def _read_test(x: Any, train: Any, width: int, columns: Sequence[str], schema: Schema | None) -> Array:
    """Return the inputs of the test part in the form of those of the training part."""
    if schema is not None:
        return pack(schema.read_rows(x, path="test"))
    inputs = read_inputs(x, path="test", columns=columns)
    of_train, of_test = column_names(train), column_names(x)
    if inputs.shape[1] != width or (of_train and of_test and of_train != of_test):
        problem = f"must have the {width} features of x, in the same order"
        raise ConfigError(f"{problem}, got {', '.join(of_test) or inputs.shape[1]}.", path="test")
    return inputs
