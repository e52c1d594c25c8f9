"""Data: a data set, its split into training and validation, and the gathering of minibatches.

Inputs stay as they lie on disk (uint8 pixels, memory-mapped): a split is two lists of rows, and a minibatch is
gathered and scaled into one reused buffer. Four bytes a pixel are never held for the whole set, and taking
bytes and widening them is faster than taking floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array, aligned_empty, stream
from mlp.errors import ConfigError
from mlp.losses import Task
from mlp.records import AbstractRecord, number
from mlp.scaling import Scaling

LARGEST_INPUT = 1e30  # beyond, the first product may overflow float32
PAGE_ROWS = 512  # rows that are gathered, or checked, at once


@dataclass(frozen=True)
class DataConfig(AbstractRecord):
    """The data of a training.

    Attributes:
        name: of the data set, or a CSV file.
        label: of a CSV file the column to predict.
        task: of a CSV file whether to predict `classes` or `values`; `auto` goes by the column.
        test: of a CSV file how much is set aside as the test part: a number of rows, or a fraction, of which at
            least one row is; 0 for none.
        scale: `unit` divides by the data set's largest possible raw value, `standard` gives every feature mean 0 and
            deviation 1 on the training part, `example` gives every example that, `none` leaves it as it is.
        subset: only so many of the first training examples; 0 for all.
        validation: how much of the training part is held out: a number of examples, or a fraction, of which at
            least one example is; 0 for none.
        balanced: whether the held-out part has its share of every class.
        folds: with 2 or more the training part is cut into so many, and number `fold`, counted from 0, is held out
            instead of `validation`.
    """

    name: str
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
                    problem = f'is for CSV files; "{self.name}" has its own, so leave it out.'
                    raise ConfigError(problem, path=f.name)
        if self.folds == 1:
            raise ConfigError("must be 0, for none, or at least 2, got 1.", path="folds")
        if self.fold >= max(1, self.folds):
            raise ConfigError(f"must be below folds = {self.folds}, got {self.fold}.", path="fold")

    @property
    def is_table(self) -> bool:
        """Whether the data are a CSV file."""
        return self.name.endswith(".csv")

    @property
    def source(self) -> dict[str, Any]:
        """What decides which data set it is, and what there is to predict in it, by field."""
        return {"name": self.name, "label": self.label, "task": self.task, "test": self.test}

    @property
    def holds_out(self) -> bool:
        """Whether there is a validation part."""
        return bool(self.folds or self.validation)

    def n_test(self, n: int) -> int:
        """Return how many of `n` rows are set aside as the test part.

        Raises:
            ConfigError: when none would be left to train on.
        """
        n_test = self.test
        if isinstance(n_test, float):
            n_test = max(1, round(n_test * n)) if n_test > 0 else 0
        if n_test >= n:
            raise ConfigError(f"must leave something to train on: there are {n} rows, got {self.test!r}.", path="test")
        return n_test

    def n_examples(self, n: int) -> int:
        """Return how many of `n` training examples are used.

        Raises:
            ConfigError: when there are fewer than `subset`.
        """
        if self.subset > n:
            problem = f'must be at most {n}, the training examples of "{self.name}", got {self.subset}.'
            raise ConfigError(problem, path="data.subset")
        return self.subset or n

    def n_validation(self, n: int) -> int:
        """Return how many of `n` training examples are held out.

        Raises:
            ConfigError: when none would be left to train on.
        """
        if self.folds:
            if self.folds > n:
                problem = f'must be at most {n}, the examples of "{self.name}" in use, got {self.folds}.'
                raise ConfigError(problem, path="data.folds")
            return n // self.folds + (self.fold < n % self.folds)
        fraction = isinstance(self.validation, float) and self.validation > 0
        held_out = max(1, round(self.validation * n)) if fraction else int(self.validation)
        if held_out >= n:
            problem = (
                f'must leave something to train on: "{self.name}" has {n} training examples, got {self.validation!r}.'
            )
            raise ConfigError(problem, path="data.validation")
        return held_out

    def held_out(self, labels: Array, seed: int) -> tuple[Array, Array]:
        """Return the rows to train on and those held out, both in ascending order."""
        n = len(labels)
        held_out = self.n_validation(n)
        rows = stream(seed, "split").permutation(n)
        if self.balanced:
            rows = _interleaved(rows, labels)
        if self.folds:
            out = np.zeros(n, bool)
            out[self.fold :: self.folds] = True
            return np.sort(rows[~out]), np.sort(rows[out])
        return np.sort(rows[held_out:]), np.sort(rows[:held_out])


def _interleaved(rows: Array, labels: Array) -> Array:
    """Return shuffled rows in an order of which every stretch has its share of every class."""
    of_rows = labels[rows]
    place = np.empty(len(rows))
    for label in np.unique(of_rows):
        mine = np.flatnonzero(of_rows == label)
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return rows[np.argsort(place, kind="stable")]


@dataclass(frozen=True)
class Examples:
    """Some rows of a data set; nothing is copied until a batch is gathered.

    Attributes:
        inputs: all inputs, shape (n, d), integers or floating point.
        targets: all targets: classes, integers in 0..k-1 of shape (n,); labels, 0 or 1, or values, of shape (n, m).
        rows: which of them belong to this part.
        scaling: what is done to raw inputs.
        weights: how much each example counts, shape (n,), at least 0; None for all the same.
    """

    inputs: Array
    targets: Array
    rows: Array
    scaling: Scaling = Scaling()
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def own_targets(self) -> Array:
        """The targets of the rows."""
        return self.targets[self.rows]

    @property
    def own_weights(self) -> Array | None:
        """The weights of the rows."""
        return None if self.weights is None else self.weights[self.rows]


@dataclass(frozen=True)
class Split:
    """What a training sees: the part it learns from, the part it is judged by, and what there is to predict.

    Attributes:
        task: one of k classes, any of m labels, or m values.
        n_targets: k or m.

    Raises:
        ConfigError: when something in it cannot be learnt from, with the row at fault.
    """

    train: Examples
    validation: Examples | None
    n_targets: int
    task: Task = "classes"

    def __post_init__(self) -> None:
        for part in (self.train, self.validation):
            if part is not None:
                check_inputs(part.inputs)
                _check_targets(part.targets, len(part.inputs), self.n_targets, self.task)
                _check_weights(part.weights, len(part.inputs))
        if not len(self.train):
            raise ConfigError("there is no example to train on.", path="data")

    @property
    def n_features(self) -> int:
        return int(self.train.inputs.shape[1])


def check_inputs(inputs: Array) -> None:
    """Refuse inputs that no network can take.

    Raises:
        ConfigError: on another shape than (n, d), another type than numbers, and what is not finite or huge.
    """
    if inputs.ndim != 2 or not inputs.shape[1]:
        raise ConfigError(f"inputs must have shape (n, d), a row an example, got {inputs.shape}.", path="data")
    if inputs.dtype.kind not in "biuf":
        raise ConfigError(f"inputs must be numbers, got the type {inputs.dtype}.", path="data")
    if inputs.dtype.kind == "f" and inputs.size:
        _check_finite(inputs, "inputs")


def _check_finite(values: Array, what: str) -> None:
    for start in range(0, len(values), PAGE_ROWS):
        block = values[start : start + PAGE_ROWS]
        is_bad = ~(np.abs(block) <= LARGEST_INPUT)
        if is_bad.any():
            place = np.argwhere(is_bad)[0]
            where = f"row {start + place[0]}" + (f", column {place[1]}" if len(place) > 1 else "")
            problem = f"{what} must be finite and at most {LARGEST_INPUT:g}, got {block[tuple(place)]} in {where}."
            raise ConfigError(problem, path="data")


def _check_targets(targets: Array, n: int, n_targets: int, task: Task) -> None:
    shape = (n,) if task == "classes" else (n, n_targets)
    if targets.shape != shape:
        raise ConfigError(f"targets must have shape {shape}, got {targets.shape}.", path="data")
    kinds = {"classes": "iu", "labels": "biuf", "values": "f"}[task]
    if targets.dtype.kind not in kinds:
        wanted = {"classes": "whole numbers", "labels": "0 or 1", "values": "floating point"}[task]
        raise ConfigError(f"targets must be {wanted}, got the type {targets.dtype}.", path="data")
    if not targets.size:
        return
    if task == "values":
        _check_finite(targets, "targets")
        return
    is_bad = (targets < 0) | (targets >= n_targets) if task == "classes" else (targets != 0) & (targets != 1)
    if is_bad.any():
        row, wanted = np.argwhere(is_bad)[0][0], f"from 0 to {n_targets - 1}" if task == "classes" else "0 or 1"
        raise ConfigError(f"targets must be {wanted}, got {targets[row]} in row {row}.", path="data")


def _check_weights(weights: Array | None, n: int) -> None:
    if weights is None:
        return
    if weights.shape != (n,):
        raise ConfigError(f"weights must have shape ({n},), one an example, got {weights.shape}.", path="data")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ConfigError("weights must be finite and at least 0.", path="data")


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on disk.

    Attributes:
        inputs: training inputs, shape (n, d); `test_inputs` those of the test part.
        targets: training targets, as in `Examples`; `test_targets` those of the test part.
        classes: the names of the k classes, or of the m labels or values.
        largest: the largest raw value that can occur.
        digest: identifies the content.
        image_shape: the shape of one example as a picture, (height, width); empty when it is none.
        columns: the names of the d features, or none where they have none.
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

    @property
    def task(self) -> Task:
        """One of k classes, any of m labels, or m values: by the shape and the type of the targets."""
        if self.targets.ndim == 1:
            return "classes"
        return "values" if self.targets.dtype.kind == "f" else "labels"

    def scaling(self, config: DataConfig, rows: Array) -> Scaling:
        """Return what is done to raw inputs, learnt from some training rows where it has to be."""
        if config.scale == "standard":
            return Scaling.standard(self.inputs, rows)
        factor = 1.0 / self.largest if config.scale == "unit" else 1.0
        return Scaling((factor,), by_example=config.scale == "example")

    def split(self, config: DataConfig, seed: int) -> Split:
        """Return the training and validation parts that a seed gives; the test part is not in it.

        Raises:
            ConfigError: when nothing would be left to train on, or the data cannot be learnt from.
        """
        n = config.n_examples(len(self.inputs))
        if config.balanced and self.task != "classes":
            raise ConfigError(f'needs classes; "{self.name}" has {self.task}.', path="data.balanced")
        rows, held_out = config.held_out(self.targets[:n], seed)
        scaling = self.scaling(config, rows)
        train = Examples(self.inputs, self.targets, rows, scaling)
        validation = Examples(self.inputs, self.targets, held_out, scaling) if len(held_out) else None
        return Split(train, validation, len(self.classes), self.task)

    def whole(self, config: DataConfig) -> Split:
        """Return all training examples, none held out."""
        rows = np.arange(config.n_examples(len(self.inputs)))
        train = Examples(self.inputs, self.targets, rows, self.scaling(config, rows))
        return Split(train, None, len(self.classes), self.task)

    def test(self, scaling: Scaling) -> Examples:
        """Return the test part, scaled as the training part was: for a final judgement, never for a search."""
        return Examples(self.test_inputs, self.test_targets, np.arange(len(self.test_inputs)), scaling)


class BatchReader:
    """Gives rows of a data set scaled and in the type that the network computes in, batch by batch.

    Rows are gathered a page at a time into one reused buffer, of which small batches are slices.

    Args:
        examples: of which the rows are.
        n_rows: the most that a batch has.
        dtype: of what is given.
    """

    def __init__(self, examples: Examples, n_rows: int, dtype: Any) -> None:
        self._inputs = np.asarray(examples.inputs)  # a plain view: memory-mapped arrays are slow to index
        self._scaling = examples.scaling
        shape = (n_rows * max(1, PAGE_ROWS // max(1, n_rows)), self._inputs.shape[1])
        self._raw = aligned_empty(shape, self._inputs.dtype)
        self._x = aligned_empty(shape, dtype)
        self.begin(examples.rows)

    def begin(self, rows: Array) -> None:
        """Set the order in which rows are to be taken."""
        self._rows = rows
        self._start = self._stop = 0

    def take(self, start: int, stop: int) -> Array:
        """Return the inputs of rows `start` to `stop` in that order, shape (b, d); a later call overwrites them."""
        if not self._start <= start <= stop <= self._stop:
            rows = self._rows[start : start + len(self._x)]
            self._start, self._stop = start, start + len(rows)
            raw = self._raw[: len(rows)]
            np.take(self._inputs, rows, axis=0, out=raw, mode="clip")  # any other mode buffers `out`
            self._scaling.apply(raw, self._x[: len(rows)])
        return self._x[start - self._start : stop - self._start]


def one_hot(values: Sequence[Any] | Array, categories: Sequence[Any] | None = None) -> tuple[Array, tuple[Any, ...]]:
    """Return categories as inputs: a column each, 1 where an example is of it, and the categories in their order.

    Args:
        values: one an example.
        categories: all there are; those that occur, sorted, unless given.

    Raises:
        ConfigError: on a value that is none of them.
    """
    known = tuple(sorted(set(values))) if categories is None else tuple(categories)
    column = {category: i for i, category in enumerate(known)}
    encoded = np.zeros((len(values), len(known)), np.uint8)
    for row, value in enumerate(values):
        if value not in column:
            raise ConfigError(f"{value!r} in row {row} is none of {', '.join(map(repr, known))}.", path="data")
        encoded[row, column[value]] = 1
    return encoded, known
