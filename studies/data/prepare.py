"""Data of the user's own: a CSV file with one column to predict, cached as arrays like every other data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlp.arrays import Array
from mlp.data import DataConfig, Dataset
from mlp.errors import ConfigError, did_you_mean
from studies.data.cache import find_data_dir, keep, open_cached
from studies.data.published import names, prepare
from studies.data.tables import (
    MANY_CATEGORIES,
    Table,
    encode,
    read_table,
)

READING = "csv 2"  # changes when a file is read into other arrays than before, so that it is read anew
LEAST_PIXELS = 64  # a square number of bytes from there on is taken for a picture


def open_dataset(
    data: str | Path | DataConfig, *, data_dir: Path | str | None = None, progress: bool = False
) -> Dataset:
    """Return a data set; it is read, verified and stored in the cache first if the cache does not have it.

    Args:
        data: the name of a data set, the path of a CSV file, or the `data` of a training configuration.
        data_dir: a folder with `mnist/*.gz`, `fashion-mnist/*.gz` or CSV files; by default the environment variable
            `STUDIES_DATA`.
        progress: whether to show a progress bar during downloads.

    Raises:
        ConfigError: if the data is missing or invalid, or the cache is not writable.
    """
    return open_cached(prepare_data(data, data_dir=data_dir, progress=progress))


def prepare_data(
    data: str | Path | DataConfig, *, data_dir: Path | str | None = None, progress: bool = False, path: str = "data"
) -> Path:
    """Make sure that the cache has a data set, and return its folder for `open_cached`.

    Args:
        data: the name of a data set, the path of a CSV file, or the `data` of a training configuration.
        data_dir: a folder with `mnist/*.gz`, `fashion-mnist/*.gz` or CSV files; by default the environment variable
            `STUDIES_DATA`.
        progress: whether to show a progress bar during downloads.
        path: the dotted path of the data in the configuration, for errors.

    Raises:
        ConfigError: if the data is missing or invalid, or the cache is not writable.
    """
    config = data if isinstance(data, DataConfig) else DataConfig(str(data))
    if not config.name:
        problem = f"is empty. Give the path of a CSV file or one of: {', '.join(names())}."
        raise ConfigError(problem, path=f"{path}.name")
    if not config.is_table:
        return prepare(config.name, data_dir=data_dir, progress=progress, path=f"{path}.name")
    file = find_table(config.name, data_dir, path=f"{path}.name")
    try:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}.", path=f"{path}.name") from None
    content.update(f"{READING}\0{config.label}\0{config.test!r}\0{config.task}".encode())
    digest = content.hexdigest()
    return keep(file.stem[:64], digest, lambda: read_csv(file, config, digest=digest), path=path)


def find_table(name: str, data_dir: Path | str | None, *, path: str = "") -> Path:
    """Return where a CSV file is: looked for from the working folder, and then in the data directory.

    Raises:
        ConfigError: when it is in neither.
    """
    file, data_dir = Path(name).expanduser(), find_data_dir(data_dir)
    places = [file] if file.is_absolute() or data_dir is None else [file, data_dir / file]
    for place in places:
        if place.is_file():
            return place
    looked = " nor ".join(str(place.absolute()) for place in places)
    raise ConfigError(f"there is no file {looked}.", path=path)


def read_csv(file: Path, config: DataConfig, *, digest: str = "") -> Dataset:
    """Return the data set that a CSV file holds: its first line names the columns, every other is an example.

    Columns of numbers are inputs as they are; columns of texts are categories, an input each. Whole numbers and
    texts to predict are classes, other numbers values, unless `config.task` says so. A test part is set aside by a
    fixed rule: rows evenly spread over the file.

    Raises:
        ConfigError: naming the file, and the line and the column at fault.
    """
    table = read_table(file)
    check_label(table, config.label)
    if len(table.names) < 2:
        raise ConfigError(f"{file}: must have a column besides the one to predict.")
    targets, classes = _read_targets(table, config.label, config.task)
    inputs, columns = encode(table.without(config.label))
    is_test = _spread(len(table), config.n_test(len(table)))
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
        image_shape=_image_shape(inputs, columns) if largest > 1 else (),
        columns=columns,
    )


def check_label(table: Table, label: str) -> None:
    """Refuse a table without the column to predict.

    Raises:
        ConfigError: with the nearest name.
    """
    if label not in table.names:
        hint = did_you_mean(label, table.names)
        raise ConfigError(f'{table.file}: there is no column "{label}" to predict.{hint} Name it with data.label.')


def _spread(n: int, n_test: int) -> Array:
    """Return which of n rows are set aside: `n_test` of them, evenly spread, each the last of its stretch."""
    ends = (np.arange(n + 1) * n_test) // n
    return ends[1:] > ends[:-1]


def _image_shape(inputs: Array, columns: tuple[str, ...]) -> tuple[int, ...]:
    """Return height and width where every row looks like a square picture in bytes."""
    side = round(len(columns) ** 0.5)
    is_picture = inputs.dtype == np.uint8 and side * side == len(columns) >= LEAST_PIXELS
    return (side, side) if is_picture and not any("=" in name for name in columns) else ()


def _read_targets(table: Table, name: str, task: str) -> tuple[Array, tuple[str, ...]]:
    column = table.column(name)
    if task == "values" or (task == "auto" and table.is_fraction(name)):
        if column.dtype == object:
            raise table.error("must hold numbers to be predicted as values.", name)
        return column.astype(np.float64)[:, None], (name,)
    classes, targets = np.unique(column, return_inverse=True)
    if len(classes) < 2:
        raise table.error(f"must tell at least two classes apart, and holds {classes[0]} only.", name)
    if len(classes) > MANY_CATEGORIES:
        problem = f'would be {len(classes)} classes; to predict numbers, set data.task = "values".'
        raise table.error(problem, name)
    return targets.astype(np.int64), tuple(map(str, classes.astype(table.kind(name)).tolist()))


def read_targets_as(table: Table, name: str, task: str, classes: Sequence[str]) -> Array:
    """Return a column to predict in the numbers that a model has for these classes, or as values; shape (n,) or (n, 1).

    Raises:
        ConfigError: naming the line of what is none of the classes, or no number.
    """
    check_label(table, name)
    column = table.column(name)
    if task == "values":
        if column.dtype == object:
            raise table.error("must hold numbers to be compared with values.", name)
        return column.astype(np.float64)[:, None]
    number = {known: index for index, known in enumerate(classes)}
    texts = list(map(str, column.astype(table.kind(name)).tolist()))
    for row, text in enumerate(texts):
        if text not in number:
            problem = f"{text!r} is none of the classes of the model: {', '.join(classes)}."
            raise table.error(problem, name, row)
    return np.array([number[text] for text in texts], np.int64)
