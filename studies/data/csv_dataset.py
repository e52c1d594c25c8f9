"""A CSV file as a data set: one column to predict, the others as inputs, and a test part by a fixed rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.arrays import Array
from mlp.data import DataConfig, Dataset
from mlp.errors import ConfigError, did_you_mean, errors_in, listed, shortened, shown
from mlp.untrusted import open_regular
from studies.data.sources import AbstractSource, FileSearch, find_data_dir
from studies.data.tables import MANY_CATEGORIES, Table, encode, read_table

ENCODING = "csv 2"  # change it when the same file gives other arrays than before, so that caches are not reused
MIN_PIXELS = 64  # a square number of columns from here on may be a picture


@dataclass(frozen=True)
class CsvSource(AbstractSource):
    """A CSV file with the fields of a configuration that decide what is read from it.

    `digest` covers the content of the file, the fields `target`, `task` and `test`, and the way the file is encoded.

    Attributes:
        file: the file.
        config: the configuration.
    """

    file: Path
    config: DataConfig

    @classmethod
    def from_file(cls, file: Path, config: DataConfig) -> CsvSource:
        """Return the source for a file, which is read once to compute its digest.

        Raises:
            ConfigError: if the file cannot be read.
        """
        try:
            with errors_in(f"{file}:"), open_regular(file) as stream:
                content = hashlib.file_digest(stream, "sha256")
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}.", path="name") from None
        content.update(f"{ENCODING}\0{config.targets[0]}\0{config.test!r}\0{config.task}".encode())
        return cls(file.stem[:64], content.hexdigest(), file, config)

    def read(self, search: FileSearch) -> Dataset:
        return read_csv(self.file, self.config, digest=self.digest)


def find_csv(name: str, data_dir: Path | str | None) -> Path:
    """Return the path of a CSV file, relative to the working folder or else to the data folder.

    Raises:
        ConfigError: if it is in neither.
    """
    file, data_dir = Path(name).expanduser(), find_data_dir(data_dir)
    places = [file] if file.is_absolute() or data_dir is None else [file, data_dir / file]
    for place in places:
        if place.exists() and not place.is_dir():  # a pipe or a device is refused when it is opened
            return place
    searched = " nor ".join(str(place.absolute()) for place in places)
    raise ConfigError(f"there is no file {searched}.", path="name")


def read_csv(file: Path, config: DataConfig, *, digest: str = "") -> Dataset:
    """Return the data set in a CSV file, whose first line names the columns and whose other lines are examples.

    A column of numbers is one input. A column of texts is a category and becomes one input per distinct text. The
    column to predict is a class if it contains integers or texts, and a value otherwise, unless `config.task` decides.
    The rows of the test part are evenly spread over the file.

    Args:
        file: the file.
        config: the column to predict, the task and the size of the test part.
        digest: identifies the data set.

    Raises:
        ConfigError: if the file cannot be used; the message names file, line and column.
    """
    table = read_table(file)
    check_label(table, config.targets[0])
    if len(table.names) < 2:
        raise ConfigError(f"{file}: must have at least one column besides the one to predict.")
    targets, classes = _encode_targets(table, config.targets[0], config.task)
    inputs, columns = encode(table.without(config.targets[0]))
    # A rule without randomness: the test part must not depend on the seed, or searches with other seeds would see it.
    is_test = _choose_test_rows(len(table), config.n_test(len(table)))
    train = inputs[~is_test]
    largest = max(float(train.max()), -float(train.min()))
    return Dataset(
        name=file.name,
        inputs=train,
        targets=targets[~is_test],
        test_inputs=inputs[is_test],
        test_targets=targets[is_test],
        classes=classes,
        largest=largest or 1.0,
        digest=digest,
        image_shape=_find_image_shape(inputs, columns) if largest > 1 else (),
        columns=columns,
    )


def read_targets_as(table: Table, label: str, task: str, classes: Sequence[str]) -> Array:
    """Return the column to predict, encoded as the targets of an existing model were.

    Args:
        table: the table.
        label: the name of the column.
        task: `classes` or `values`.
        classes: the names of the model's classes, in the order of its outputs.

    Returns:
        The index of each row's class, shape (n,); or its value, shape (n, 1).

    Raises:
        ConfigError: if a row has another class, or a text where a value is expected.
    """
    check_label(table, label, advice="Name it with --label.")
    column = table.column(label)
    if task == "values":
        return _to_values(table, label, column)
    number = {name: index for index, name in enumerate(classes)}
    texts = list(map(str, column.astype(table.original_type(label)).tolist()))
    for row, text in enumerate(texts):
        if text not in number:
            known = listed(classes)
            raise table.error(f"{shown(text)} is not one of the classes of the model: {known}.", label, row)
    return np.array([number[text] for text in texts], np.int64)


def check_label(table: Table, label: str, *, advice: str = "Set data.target to the column to predict.") -> None:
    """Refuse a table without the column to predict.

    Args:
        table: the table.
        label: the name of the column.
        advice: how to name another column.

    Raises:
        ConfigError: with the most similar name and all columns.
    """
    if label not in table.names:
        problem = f'there is no column "{label}" to predict.{did_you_mean(label, table.names)}'
        raise ConfigError(f"{table.file}: {problem} {advice} {table.list_columns()}")


def _encode_targets(table: Table, label: str, task: str) -> tuple[Array, tuple[str, ...]]:
    """Return the column to predict as targets, and the names of the classes or the value."""
    column = table.column(label)
    if task == "values" or (task == "auto" and table.has_fractions(label)):
        return _to_values(table, label, column), (label,)
    classes, targets = np.unique(column, return_inverse=True)
    if len(classes) < 2:
        raise table.error(f"must have at least two classes, got {shortened(str(classes[0]))} in every row.", label)
    if len(classes) > MANY_CATEGORIES:
        problem = f"has {len(classes)} distinct values, at most {MANY_CATEGORIES} can be classes."
        raise table.error(f'{problem} To predict numbers, set data.task = "values".', label)
    return targets.astype(np.int64), tuple(map(str, classes.astype(table.original_type(label)).tolist()))


def _to_values(table: Table, label: str, column: Array) -> Array:
    """Return a column of numbers as values to predict, shape (n, 1)."""
    if column.dtype == object:
        raise table.error("must contain numbers, because its values are predicted.", label)
    return column.astype(np.float64)[:, None]


def _choose_test_rows(n: int, n_test: int) -> Array:
    """Return a mask of `n_test` of n rows, evenly spread: the last row of each of `n_test` stretches."""
    ends = (np.arange(n + 1) * n_test) // n
    return ends[1:] > ends[:-1]


def _find_image_shape(inputs: Array, columns: tuple[str, ...]) -> tuple[int, ...]:
    """Return height and width if every row could be a square picture of bytes, otherwise an empty tuple."""
    side = round(len(columns) ** 0.5)
    is_picture = inputs.dtype == np.uint8 and side * side == len(columns) >= MIN_PIXELS
    return (side, side) if is_picture and not any("=" in name for name in columns) else ()
