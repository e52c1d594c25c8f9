"""The cells of a file's columns: whole columns at once where pyarrow reads them, otherwise one distinct text at a time.

The same functions read the training file and every later one, so that a cell means the same in both.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlp.arrays import Array
from mlp.cells import LARGEST_CELL
from mlp.columns import MISSING_WORDS, Column, Schema
from mlp.data_config import DataConfig
from mlp.errors import ConfigError, did_you_mean, listed, shown

if TYPE_CHECKING:
    import pyarrow

    from studies.data.table import Table

N_TRIED = 1000  # rows that are tried first, because most columns that are not numbers show it at once


def missing_words(config: DataConfig) -> frozenset[str]:
    """Return the texts that mean a missing value; an empty cell always does."""
    return frozenset(MISSING_WORDS if config.missing == "auto" else ("", *(word.strip() for word in config.missing)))


def texts_of(values: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | None:
    """Return a column that contains texts, such as dictionaries of texts and times of day, as texts; otherwise None."""
    import pyarrow
    import pyarrow.types as types

    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    if types.is_string(values.type) or types.is_large_string(values.type):
        return values
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_time(kind):
        return values.cast(pyarrow.large_string())
    return None


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct texts of a column, and which of them each row has.

    Attributes:
        texts: the texts without blanks around them, objects of shape (u,).
        codes: the index of each row's text, integers of shape (n,); -1 where the value is missing.
        n_padded: the number of rows whose text had blanks around it.
    """

    texts: Array
    codes: Array
    n_padded: int

    @functools.cached_property
    def counts(self) -> Array:
        """The number of rows with each text, shape (u,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))

    @functools.cached_property
    def n_missing(self) -> int:
        """The number of rows without a value."""
        return int((self.codes < 0).sum())

    def first_row(self, code: int) -> int:
        """Return the first row with a text."""
        return int((self.codes == code).argmax())

    def take(self, of_texts: Array, missing: float = np.nan) -> Array:
        """Return what each row has, given what each text has, shape (u,), as float64 of shape (n,)."""
        padded = np.append(of_texts.astype(np.float64), missing)  # the code -1 is the last entry
        return padded[self.codes]


def distinct_texts(values: pyarrow.ChunkedArray, missing: Collection[str]) -> Distinct:
    """Return the distinct texts of a column of texts, in the order in which they appear; missing values are none.

    Args:
        values: the column.
        missing: the texts that mean a missing value.
    """
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(values).unify_dictionaries()
    chunks = [pc.fill_null(chunk.indices, -1).to_numpy() for chunk in encoded.chunks]
    codes = np.concatenate(chunks).astype(np.int64) if chunks else np.arange(0)
    raw = encoded.chunk(0).dictionary.to_pylist() if chunks else []
    stripped = [text.strip() for text in raw]
    is_padded = np.fromiter((text != short for text, short in zip(raw, stripped, strict=True)), bool, len(raw))
    n_padded = int(np.append(is_padded, False)[codes].sum()) if is_padded.any() else 0
    numbers: dict[str, int] = {}
    mapping = [-1 if text in missing else numbers.setdefault(text, len(numbers)) for text in stripped]
    new_codes = np.array([*mapping, -1], np.int64)[codes]
    texts = np.fromiter(numbers, object, len(numbers))
    return Distinct(texts, new_codes, n_padded)


def plain_numbers(values: pyarrow.ChunkedArray, missing: Collection[str]) -> Array | None:
    """Return a column of texts as float64 of shape (n,), NaN where missing; None unless all are plain numbers.

    A plain number has no separators and a point as its decimal mark. pyarrow and Python round it to the same float.
    """
    import pyarrow
    import pyarrow.compute as pc

    words = pyarrow.array(sorted(missing), values.type)

    def read(part: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
        texts = pc.utf8_trim_whitespace(part)
        present = pc.if_else(pc.is_in(texts, value_set=words), pyarrow.scalar(None, values.type), texts)
        return pc.cast(present, pyarrow.float64())

    try:
        read(values.slice(0, N_TRIED))
        numbers = read(values)
    except pyarrow.ArrowInvalid:
        return None
    array: Array = numbers.to_numpy()
    is_finite = np.abs(array) <= LARGEST_CELL
    return array if int(is_finite.sum()) == len(array) - numbers.null_count else None


def read_column(table: Table, column: Column, missing: frozenset[str], advice: str = "") -> Array:
    """Return the cells of one column, float64 of shape (n,), as `Column.parse` describes them.

    Args:
        table: the table.
        column: how to read the column of this name.
        missing: the texts that mean a missing value.
        advice: what to do about a cell that cannot be read, instead of the usual advice.

    Raises:
        ConfigError: if a cell cannot be read; the message names the line.
    """
    texts = texts_of(table.columns[column.name])
    if texts is None:
        cells, is_bad = column.try_parse(table.values(column.name), missing)
    elif column.kind == "number" and column.decimal == "." and (numbers := plain_numbers(texts, missing)) is not None:
        cells, is_bad = column.try_parse(numbers, missing)
    else:
        distinct = distinct_texts(texts, frozenset() if column.kind == "category" else missing)
        of_texts, bad_texts = column.try_parse(distinct.texts, missing)
        cells = distinct.take(of_texts)
        is_bad = distinct.take(bad_texts, 0.0) > 0
    if is_bad.any():
        row = int(is_bad.argmax())
        if advice:
            raise table.error(
                f"{shown_cell(table, column.name, row)} is not a {column.wanted}. {advice}", column.name, row
            )
        value = table.values(column.name)[row]
        raise table.error(column.problem(value.strip() if isinstance(value, str) else value), column.name, row)
    return cells


def shown_cell(table: Table, name: str, row: int) -> str:
    """Return how a message shows a cell."""
    value = table.values(name)[row]
    return shown(value.item() if isinstance(value, np.generic) else value)


def read_cells(table: Table, schema: Schema) -> Array:
    """Return the cells of a table by a schema, float64 of shape (n, c); columns may be in any order.

    Raises:
        ConfigError: if a column is missing, or a cell cannot be read; the message names the column and the line.
    """
    check_columns(table, schema.names)
    missing = frozenset(schema.missing)
    advice = "Correct it, or leave the cell empty if the value is not known."
    cells = np.empty((len(table), len(schema)))
    for at, column in enumerate(schema.columns):
        cells[:, at] = read_column(table, column, missing, advice)
    return cells


def check_columns(table: Table, wanted: Collection[str]) -> None:
    """Refuse a table in which a column is missing.

    Raises:
        ConfigError: naming the columns.
    """
    absent = [name for name in wanted if name not in table.columns]
    if not absent:
        return
    hint = did_you_mean(absent[0], table.names) if len(absent) == 1 else ""
    what = "there is no column" if len(absent) == 1 else f"{len(absent)} columns are missing:"
    quoted = listed(f'"{name}"' for name in absent)
    raise ConfigError(f"{table.file}: {what} {quoted}, which the model needs.{hint} {table.list_columns()}")
