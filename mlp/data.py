"""Data: a data set, its split into training and validation, and the gathering of minibatches.

Inputs stay as they lie on disk (uint8 pixels, memory-mapped): a split is two lists of rows, and a minibatch is
gathered and scaled into one reused buffer. Four bytes a pixel are never held for the whole set, and taking
bytes and widening them is faster than taking floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array, aligned_empty, stream
from mlp.registry import AbstractRecord, ConfigError, number


@dataclass(frozen=True)
class DataConfig(AbstractRecord):
    """The data of a training.

    Attributes:
        name: of the data set.
        scale: `unit` divides by the data set's largest possible raw value, `none` leaves it as it is.
        validation: how much of the training part is held out: a number of examples, or a fraction, of which at
            least one example is; 0 for none.
    """

    name: str
    scale: Literal["unit", "none"] = "unit"
    validation: int | float = number(0.2, at_least=0)

    def n_validation(self, n: int) -> int:
        """Return how many of `n` training examples are held out.

        Raises:
            ConfigError: when none would be left to train on.
        """
        fraction = isinstance(self.validation, float) and self.validation > 0
        held_out = max(1, round(self.validation * n)) if fraction else int(self.validation)
        if held_out >= n:
            problem = (
                f'must leave something to train on: "{self.name}" has {n} training examples, got {self.validation!r}.'
            )
            raise ConfigError(problem, path="data.validation")
        return held_out


@dataclass(frozen=True)
class Examples:
    """Some rows of a data set; nothing is copied until a batch is gathered.

    Attributes:
        inputs: all inputs, shape (n, d), uint8 or floating point.
        labels: all labels, shape (n,), integers in 0..k-1.
        rows: which of them belong to this part.
        factor: what raw inputs are multiplied by.
    """

    inputs: Array
    labels: Array
    rows: Array
    factor: float = 1.0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> Array:
        """The labels of the rows."""
        return self.labels[self.rows]


@dataclass(frozen=True)
class Split:
    """What a training sees: the part it learns from, the part it is judged by, and the number of classes."""

    train: Examples
    validation: Examples | None
    n_classes: int

    @property
    def n_features(self) -> int:
        return int(self.train.inputs.shape[1])


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on disk.

    Attributes:
        inputs: training inputs, shape (n, d); `test_inputs` those of the test part.
        labels: training labels, shape (n,), integers in 0..k-1; `test_labels` those of the test part.
        classes: the k names.
        largest: the largest raw value that can occur.
        digest: identifies the content.
        image_shape: the shape of one example as a picture, (height, width); empty when it is none.
    """

    name: str
    inputs: Array
    labels: Array
    test_inputs: Array
    test_labels: Array
    classes: tuple[str, ...]
    largest: float
    digest: str
    image_shape: tuple[int, ...] = ()

    def factor(self, config: DataConfig) -> float:
        """Return what raw inputs are multiplied by."""
        return 1.0 / self.largest if config.scale == "unit" else 1.0

    def split(self, config: DataConfig, seed: int) -> Split:
        """Return the training and validation parts that a seed gives; the test part is not in it.

        Raises:
            ConfigError: when nothing would be left to train on.
        """
        rows = stream(seed, "split").permutation(len(self.inputs))
        held_out = config.n_validation(len(self.inputs))
        factor = self.factor(config)
        train = Examples(self.inputs, self.labels, np.sort(rows[held_out:]), factor)
        validation = Examples(self.inputs, self.labels, np.sort(rows[:held_out]), factor) if held_out else None
        return Split(train, validation, len(self.classes))

    def whole(self, config: DataConfig) -> Split:
        """Return all training examples, none held out."""
        return Split(
            Examples(self.inputs, self.labels, np.arange(len(self.inputs)), self.factor(config)),
            None,
            len(self.classes),
        )

    def test(self, config: DataConfig) -> Examples:
        """Return the test part: for a final judgement, never for a search."""
        return Examples(self.test_inputs, self.test_labels, np.arange(len(self.test_inputs)), self.factor(config))


class BatchReader:
    """Gathers rows of a data set into one reused buffer, scaled and in the type that the network computes in."""

    def __init__(self, examples: Examples, n_rows: int, dtype: Any) -> None:
        self.inputs = np.asarray(examples.inputs)  # a plain view: memory-mapped arrays are slow to index
        self.factor = np.dtype(dtype).type(examples.factor)
        shape = (n_rows, self.inputs.shape[1])
        self.raw = aligned_empty(shape, self.inputs.dtype)
        self.x = aligned_empty(shape, dtype)

    def read(self, rows: Array) -> Array:
        """Return the inputs of `rows`, shape (b, d); the next call overwrites them."""
        raw, x = self.raw[: len(rows)], self.x[: len(rows)]
        np.take(self.inputs, rows, axis=0, out=raw, mode="clip")  # any other mode buffers `out`
        np.multiply(raw, self.factor, out=x)
        return x
