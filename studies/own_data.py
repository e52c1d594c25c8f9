"""Data of the user's own: a CSV file with one column to predict, cached as arrays like every other data set."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlp.arrays import Array
from mlp.data import DataConfig, Dataset, one_hot
from mlp.registry import ConfigError, did_you_mean
from studies.datasets import find_data_dir, keep, prepare

if TYPE_CHECKING:
    import pandas as pd

LEAST_PIXELS = 64  # a square number of bytes from there on is taken for a picture
MANY_CATEGORIES = 1000  # beyond, a column of texts is no category but a name, a date or a mistake


def prepare_data(
    config: DataConfig, *, data_dir: Path | None = None, progress: bool = False, path: str = "data"
) -> Path:
    """Make sure that the data set of a configuration is cached as arrays, and return the folder for `open_dataset`.

    Args:
        config: whose `name` is that of a data set, or a file that ends in `.csv`.
        data_dir: where `mnist/*.gz` and the like, and CSV files, are looked for; `STUDIES_DATA` unless given.
        progress: whether to show a bar while downloading.
        path: where the data stand in the configuration, for the error.

    Raises:
        ConfigError: on data that are missing or cannot be learnt from, on an unwritable cache.
    """
    if not config.is_table:
        return prepare(config.name, data_dir=data_dir, progress=progress, path=f"{path}.name")
    file = _find(Path(config.name), find_data_dir(data_dir), f"{path}.name")
    content = hashlib.sha256(file.read_bytes())
    content.update(f"{config.label}\0{config.test!r}\0{config.task}".encode())
    digest = content.hexdigest()
    return keep(file.stem, digest, lambda: read_csv(file, config, digest=digest), path=path)


def _find(file: Path, data_dir: Path | None, path: str) -> Path:
    places = [file] if file.is_absolute() or data_dir is None else [file, data_dir / file]
    for place in places:
        if place.is_file():
            return place
    looked = " nor ".join(str(place.absolute()) for place in places)
    raise ConfigError(f"there is no file {looked}.", path=path)


def read_csv(file: Path, config: DataConfig, *, digest: str = "") -> Dataset:
    """Return the data set that a CSV file holds: its first line names the columns, every other is an example.

    Columns of numbers are inputs as they are; columns of texts or truth values are categories, an input each. Whole
    numbers and texts to predict are classes, other numbers values, unless `config.task` says so. A test part is set
    aside by a fixed rule: rows evenly spread over the file.

    Raises:
        ConfigError: naming the file, and the row and the column at fault.
    """
    import pandas as pd

    try:
        table = pd.read_csv(file, low_memory=False)
    except (ValueError, OSError) as error:  # pandas' own errors are kinds of ValueError
        raise ConfigError(f"{file}: cannot be read as CSV: {error}") from None
    table.columns = [str(column).strip() for column in table.columns]
    if config.label not in table.columns:
        hint = did_you_mean(config.label, table.columns)
        raise ConfigError(f'{file}: there is no column "{config.label}" to predict.{hint} Name it with data.label.')
    if len(table.columns) < 2 or not len(table):
        raise ConfigError(f"{file}: must have a row an example and a column besides the one to predict.")
    _refuse_missing(file, table)
    targets, classes = _read_targets(file, table[config.label], config.task)
    inputs = _read_inputs(file, table.drop(columns=config.label))
    is_test = _spread(len(table), config.n_test(len(table)))
    side = round(inputs.shape[1] ** 0.5)
    is_picture = inputs.dtype == np.uint8 and side * side == inputs.shape[1] >= LEAST_PIXELS
    return Dataset(
        name=config.name,
        inputs=inputs[~is_test],
        targets=targets[~is_test],
        test_inputs=inputs[is_test],
        test_targets=targets[is_test],
        classes=classes,
        largest=float(np.abs(inputs.astype(np.float64)).max()) or 1.0,
        digest=digest,
        image_shape=(side, side) if is_picture else (),
    )


def _refuse_missing(file: Path, table: pd.DataFrame) -> None:
    missing = np.argwhere(table.isna().to_numpy())
    if len(missing):
        row, column = missing[0]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        where = f'line {row + 2}, column "{table.columns[column]}"'
        raise ConfigError(f"{file}: {where}: there is no value{more}. Fill it in, or leave out the row or the column.")


def _spread(n: int, n_test: int) -> Array:
    """Return which of n rows are set aside: `n_test` of them, evenly spread, each the last of its stretch."""
    ends = (np.arange(n + 1) * n_test) // n
    return ends[1:] > ends[:-1]


def _read_targets(file: Path, column: pd.Series[Any], task: str) -> tuple[Array, tuple[str, ...]]:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if task == "values" or (task == "auto" and pd.api.types.is_float_dtype(column)):
        if not is_number:
            raise ConfigError(f'{file}: column "{column.name}" must hold numbers to be predicted as values.')
        return column.to_numpy(np.float64)[:, None], (str(column.name),)
    classes = sorted(set(column.tolist()))
    if len(classes) < 2:
        raise ConfigError(f'{file}: column "{column.name}" must tell at least two classes apart, got {classes}.')
    if len(classes) > MANY_CATEGORIES:
        problem = (
            f'column "{column.name}" would be {len(classes)} classes; to predict numbers, set data.task = "values"'
        )
        raise ConfigError(f"{file}: {problem}.")
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[value] for value in column.tolist()], np.int64), tuple(map(str, classes))


def _read_inputs(file: Path, table: pd.DataFrame) -> Array:
    import pandas as pd

    parts = []
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            parts.append(column.to_numpy()[:, None])
            continue
        encoded, categories = one_hot(column.tolist())
        if len(categories) > MANY_CATEGORIES:
            raise ConfigError(f'{file}: column "{name}" would be {len(categories)} categories; leave it out.')
        parts.append(encoded)
    wide = np.concatenate(parts, axis=1)
    for narrow in (np.uint8, np.float32):
        with np.errstate(all="ignore"):
            cast = wide.astype(narrow)
        if (cast == wide).all():
            return cast
    return wide.astype(np.float64)
