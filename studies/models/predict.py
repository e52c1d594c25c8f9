"""Predicting with a saved model from a file of raw inputs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from mlp.arrays import Array
from mlp.columns import Column, Schema
from mlp.data import DataConfig
from mlp.data_checks import check_inputs
from mlp.errors import ConfigError, did_you_mean, errors_in, listed
from mlp.model import AbstractModel
from mlp.untrusted import MAX_IN_MEMORY, open_npy, open_npz
from studies.data.idx import read_idx
from studies.data.table import Table
from studies.data.table_cells import read_cells, texts_of

ARRAY_ENDINGS = (".npy", ".npz")
TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".data", ".parquet", ".pq")
COMPRESSED_ENDINGS = (".gz", ".bz2", ".xz", ".zip", ".zst")
N_SHOWN = 5  # columns that a notice lists


@dataclass(frozen=True, eq=False)
class Inputs:
    """The raw inputs of some rows.

    Attributes:
        cells: the inputs as `mlp.Model.outputs_of_cells` takes them, shape (n, c).
        table: the table that they are from; None if they are from an array.
        notices: what the user should know, one sentence each.
    """

    cells: Array
    table: Table | None = None
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cells)


def is_table_file(file: Path) -> bool:
    """Return whether the name of a file is that of a table, compressed or not."""
    endings = [ending.casefold() for ending in file.suffixes if ending.casefold() not in COMPRESSED_ENDINGS]
    return bool(endings) and endings[-1] in TABLE_ENDINGS


def read_inputs(
    file: str | Path | BinaryIO,
    model: AbstractModel,
    *,
    label: str | None = None,
    array: str | None = None,
    ids: Sequence[str] = (),
) -> Inputs:
    """Return the raw inputs in a file for a model. Images become rows of pixels.

    Args:
        file: a CSV or Parquet file, an `.npy` or `.npz` file, an IDX file, or an open stream with a table.
        model: the model that will predict from the inputs.
        label: the column with the answers, which is ignored (tables only); by default the model's own, if it is there.
        array: the name of the array (`.npz` only); required if the file has several.
        ids: columns that the caller needs too (tables only).

    Raises:
        ConfigError: if the file cannot be read, or its contents are not inputs of the model.
    """
    if isinstance(file, str | Path):
        file = Path(file)
        is_array = file.suffix.casefold() in ARRAY_ENDINGS or not (model.manifest.schema or is_table_file(file))
        if is_array:
            if ids:
                raise ConfigError(f"{file}: has no columns, so there is no column {ids[0]} to copy.")
            return Inputs(_read_array(file, model, array))
    return inputs_of_table(open_table(file, model), model, label=label, ids=ids)


def _read_array(file: Path, model: AbstractModel, name: str | None) -> Array:
    try:
        if file.suffix.casefold() == ".npy":
            inputs = open_npy(file)
        elif file.suffix.casefold() == ".npz":
            inputs = _read_npz(file, name)
        else:
            inputs = read_idx(file)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    with errors_in(f"{file}:"):
        if not inputs.ndim:
            raise ConfigError("must have one row per example, got a scalar.")
        rows = inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))  # -1 would fail for no examples
        expected, width = model.manifest.n_columns, rows.shape[1]
        if width != expected:
            problem = f"must have {expected} inputs per example, because the model has {expected}, got {width}."
            raise ConfigError(problem)
        check_inputs(rows, path="", may_be_missing=model.manifest.schema is not None)
        return rows if model.manifest.schema is None else model.read_cells(rows)


def _read_npz(file: Path, name: str | None) -> Array:
    with open_npz(file) as archive:
        if not archive.names:
            raise ConfigError("contains no array.")
        if name is None and len(archive.names) > 1:
            n, names = len(archive.names), listed(archive.names)
            raise ConfigError(f"contains {n} arrays: {names}. Choose one with --array NAME.")
        return archive.read(name or archive.names[0], limit=MAX_IN_MEMORY)


def open_table(file: Path | BinaryIO, model: AbstractModel) -> Table:
    """Return a table for a model; its form is detected again, except for what the training configuration states.

    Raises:
        ConfigError: if it cannot be read.
    """
    from studies.data.reading.files import read_table

    trained = model.manifest.config.data
    config = DataConfig(file="any.csv", header=trained.header)
    if trained.is_table:
        config = replace(config, separator=trained.separator, encoding=trained.encoding)
    return read_table(file, config)


def inputs_of_table(table: Table, model: AbstractModel, *, label: str | None = None, ids: Sequence[str] = ()) -> Inputs:
    """Return the inputs of a table; the schema of the model decides how its cells are read.

    Args:
        table: the table.
        model: the model.
        label: the column with the answers; by default the model's own.
        ids: columns that are used for something else.

    Raises:
        ConfigError: if a column is missing, or a cell cannot be read; the message names the column and the line.
    """
    for name in (*ids, *([label] if label is not None else [])):
        if name not in table.columns:
            problem = f'there is no column "{name}".{did_you_mean(name, table.names)}'
            raise ConfigError(f"{table.file}: {problem} {table.list_columns()}")
    answers = model.manifest.config.data.targets if label is None else (label,)
    schema = _schema_for(table, model, (*answers, *ids))
    cells = read_cells(table, schema)
    notices = list(table.notices)
    trained = model.manifest.config.data
    known = {
        *schema.names,
        *answers,
        *ids,
        *trained.targets,
        *trained.drop,
        trained.group,
        trained.weight,
        trained.order,
    }
    extra = [f'"{name}"' for name in table.names if name not in known]
    if len(extra) == 1:
        notices.append(f"{table.file}: the column {extra[0]} is not used by the model.")
    elif extra:
        notices.append(f"{table.file}: {len(extra)} columns are not used by the model: {_listed(extra)}.")
    notices += [f"{table.file}: {notice}" for notice in _find_thousands(table, schema)]
    if unseen := schema.count_unseen(cells):
        where = ", ".join(f"{name} ({n:,} of {len(table):,} rows)" for name, n in list(unseen.items())[:N_SHOWN])
        more = f" and {len(unseen) - N_SHOWN} more columns" if len(unseen) > N_SHOWN else ""
        notices.append(f"{table.file}: levels that the training data did not have count as no level: {where}{more}.")
    if model.manifest.schema is None:
        check_inputs(cells, path="", columns=schema.names)
    return Inputs(cells, table, tuple(notices))


def _listed(names: Sequence[str]) -> str:
    """Return the first of some names."""
    return ", ".join(names[:N_SHOWN]) + (", ..." if len(names) > N_SHOWN else "")


def _find_thousands(table: Table, schema: Schema) -> list[str]:
    """Return a sentence if numbers such as 1,500 are read as thousands, although they may have a decimal comma."""
    import pyarrow.compute as pc

    found = []
    for column in schema.columns:
        texts = texts_of(table.columns[column.name]) if column.kind == "number" else None
        if texts is None:
            continue
        mark = "," if column.decimal == "." else "[.]"
        row = pc.index(
            pc.match_substring_regex(texts, rf"^\s*[-+]?[1-9][0-9]{{0,2}}{mark}[0-9]{{3}}\s*$"), True
        ).as_py()
        if row >= 0:
            text = texts[row].as_py().strip()
            found.append(f'{text} in column "{column.name}" is read as {column.parse([text])[0]:g}')
    more = f", and so in {len(found) - 1} more columns" if len(found) > 1 else ""
    return [f"{found[0]}, as in the training data{more}."] if found else []


def _schema_for(table: Table, model: AbstractModel, others: Sequence[str]) -> Schema:
    """Return the schema of a model; for a model of an array, numbers in its named columns, or in all other columns."""
    if model.manifest.schema is not None:
        return model.manifest.schema
    names = model.manifest.columns or tuple(name for name in table.names if name not in others)
    if len(names) != model.manifest.n_columns:
        expected = model.manifest.n_columns
        problem = f"must have {expected} inputs per example, because the model has {expected}, got {len(names)}."
        raise ConfigError(f"{table.file}: {problem} If a column contains the answers, ignore it with --label COLUMN.")
    return Schema(tuple(Column(name, "number") for name in names), ())


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions as columns.

    Attributes:
        names: the names of the columns.
        columns: the columns, each of shape (n,): copied values, the predicted class, probabilities or values.
    """

    names: tuple[str, ...]
    columns: tuple[Array, ...]

    @classmethod
    def of(cls, model: AbstractModel, inputs: Inputs, ids: Sequence[str] = ()) -> Predictions:
        """Return the predictions for some inputs.

        For classes, they are the predicted class in the column `label`, and the probability of each class; for labels,
        the probability of each label; for values, the values in their own units.

        Args:
            model: the model.
            inputs: what `read_inputs` returned.
            ids: columns that are copied before the predictions.
        """
        copied = [] if inputs.table is None else [inputs.table.values(name) for name in ids]
        classes = np.array(model.classes, object)
        outputs = np.empty((0, model.manifest.sizes[-1])) if not len(inputs) else model.outputs_of_cells(inputs.cells)
        numbers = model.probabilities_of(outputs) if len(inputs) else np.empty((0, len(classes)))
        if model.manifest.task != "classes":
            return cls((*ids, *model.classes), (*copied, *numbers.T))
        predicted = classes[model.decisions_of(outputs)] if len(inputs) else classes[:0]
        return cls((*ids, "label", *model.classes), (*copied, predicted, *numbers.T))

    def write_csv(self, stream: IO[str]) -> None:
        """Write the predictions as CSV, with a header and one row per example."""
        csv.writer(stream, lineterminator="\n").writerows(self._rows())

    def _rows(self) -> Iterator[Sequence[Any]]:
        yield self.names
        texts = [_texts(column) for column in self.columns]
        yield from zip(*texts, strict=True)

    def to_csv(self) -> str:
        """Return the predictions as the text of a CSV file."""
        text = io.StringIO()
        self.write_csv(text)
        return text.getvalue()

    def to_parquet(self) -> bytes:
        """Return the predictions as the content of a Parquet file.

        Raises:
            ConfigError: if two columns have the same name.
        """
        import pyarrow
        import pyarrow.parquet

        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ConfigError(f'two columns would be called "{twice}". Write a CSV file, or copy another column.')
        table = pyarrow.table(dict(zip(self.names, map(pyarrow.array, self.columns), strict=True)))
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer)
        return buffer.getvalue()


def _texts(column: Array) -> list[Any]:
    """Return the cells of a column as CSV has them: float32 numbers with six digits, float64 numbers with nine."""
    if column.dtype.kind != "f":
        return ["" if value is None else value for value in column.tolist()]
    form = ".6g" if column.dtype.itemsize < 8 else ".9g"
    return ["" if value != value else format(value, form) for value in column.tolist()]
