"""The columns of a file as they are in it: nothing is converted, guessed or left out.

`studies.data.reading.files.read_table` makes a `Table` from a CSV or Parquet file. pyarrow is imported when a table is
read, never by a worker.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mlp.arrays import Array
from mlp.cells import parse_number
from mlp.errors import ConfigError, did_you_mean, shortened, shown

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 20_000  # as many weights per neuron; more are mostly identifiers or a mistake, and fill the memory


@dataclass(frozen=True)
class Lines:
    """The lines of a file on which its rows begin.

    Rows follow one another line by line, except where lines were skipped or a text has several lines. Only these places
    are stored, because a file may have a hundred million rows.

    Attributes:
        rows: the rows, counted from 0, that do not begin on the line below the previous row; the first is 0.
        lines: the line, counted from 1, on which each of them begins.
    """

    rows: Array
    lines: Array

    @classmethod
    def from_line(cls, line: int) -> Lines:
        """Return the lines of rows that follow one another from the given line."""
        return cls(np.zeros(1, np.int64), np.array([line]))

    def of(self, row: int) -> int:
        """Return the line on which a row begins."""
        jump = int(np.searchsorted(self.rows, row, side="right")) - 1
        return int(self.lines[jump]) + row - int(self.rows[jump])

    def take(self, rows: Array) -> Lines:
        """Return the lines of some rows, which become rows 0, 1, 2, ..."""
        jumps = np.searchsorted(self.rows, rows, side="right") - 1
        return Lines(np.arange(len(rows)), self.lines[jumps] + rows - self.rows[jumps])


@dataclass(frozen=True)
class Table:
    """The columns of a file.

    Attributes:
        file: how the user named the file, for errors: `wine.csv`, or `standard input`.
        columns: the columns by name, n cells each. A CSV file has texts, exactly as in the file without their quotes;
            the text of an empty cell is empty. A Parquet file has its own types.
        n_rows: the number of rows n.
        lines: where each row begins. A Parquet file has no lines, so they are the numbers of its rows, from 1.
        has_types: whether the file states the types of its columns, as Parquet; in a CSV file every cell is a text.
        reading: one line on what was detected: `wine.csv: 1,599 rows, 12 columns; separator ";", UTF-8.`
        notices: what the user should know, one sentence each, such as how many lines were skipped.
    """

    file: str
    columns: Mapping[str, pa.ChunkedArray]
    n_rows: int
    lines: Lines = Lines.from_line(2)
    has_types: bool = False
    reading: str = ""
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.n_rows

    @property
    def names(self) -> list[str]:
        """The names of the columns, in the order of the file."""
        return list(self.columns)

    def values(self, name: str) -> Array:
        """Return a column, shape (n,).

        Returns:
            Texts as objects, numbers, booleans or `datetime64[us]`. A missing value is None among objects, NaN among
            numbers and NaT among dates; the texts of a CSV file are never None. Integers and booleans of which some are
            missing are floats and objects.

        Raises:
            ConfigError: if there is no such column, or a Parquet file has lists or bytes in it.
        """
        if name not in self.columns:
            problem = f'there is no column "{name}".{did_you_mean(name, self.names)} {self.list_columns()}'
            raise ConfigError(f"{self.file}: {problem}")
        if not self.has_types:
            texts: Array = self.columns[name].to_numpy()
            return texts.astype(object, copy=False)
        from studies.data.reading.parquet_values import to_numpy

        try:
            return to_numpy(self.columns[name])
        except ConfigError as error:
            raise self.error(error.problem, name) from None

    def line(self, row: int) -> int:
        """Return the line on which a row begins, counted from 1; of a Parquet file the number of the row, from 1."""
        return self.lines.of(row)

    def error(self, problem: str, name: str, row: int | None = None) -> ConfigError:
        """Return an error about a column, or about one cell of it, that names file, column and line."""
        unit = "row" if self.has_types else "line"
        where = "" if row is None else f", {unit} {self.line(row)}"
        return ConfigError(f'{self.file}: column "{shortened(name)}"{where}: {problem}')

    def list_columns(self, most: int = 12) -> str:
        """Return a sentence that lists the columns, at most the first few, and one that says if they may be a row."""
        more = f" and {len(self.columns) - most} more" if len(self.columns) > most else ""
        n_numbers = sum(parse_number(name) is not None for name in self.names[:most])
        is_row = not self.has_types and 2 * n_numbers > len(self.names[:most])
        advice = " If its first line is a row, set data.header = false." if is_row else ""
        return f"Its columns are: {', '.join(map(shortened, self.names[:most]))}{more}.{advice}"

    def select(self, names: Sequence[str]) -> Table:
        """Return the table with some of its columns, in the given order."""
        return replace(self, columns={name: self.columns[name] for name in names})

    def take(self, rows: Array) -> Table:
        """Return the table with some of its rows, in the given order."""
        rows = np.asarray(rows, np.int64)
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return replace(self, columns=columns, n_rows=len(rows), lines=self.lines.take(rows))


def describe_size(n_rows: int, n_columns: int) -> str:
    """Return the size of a table in words, such as `1,599 rows, 12 columns`."""
    rows, columns = ("row" if n_rows == 1 else "rows"), ("column" if n_columns == 1 else "columns")
    return f"{n_rows:,} {rows}, {n_columns:,} {columns}"


def max_columns() -> int:
    """Return how many columns a file, and how many inputs a network, may have: `STUDIES_MAX_INPUTS`, or 20,000.

    Raises:
        ConfigError: if the environment variable is not a whole number.
    """
    text = os.environ.get("STUDIES_MAX_INPUTS", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"the environment variable STUDIES_MAX_INPUTS must be a whole number, got {shown(text)}.")
    return int(text or MAX_COLUMNS)


def check_names(names: Sequence[str], advice: str = "") -> None:
    """Refuse more columns than are allowed, and names that appear twice.

    Args:
        names: the names of the columns, at least one.
        advice: what else to do about a name that appears twice.

    Raises:
        ConfigError: the message does not name the file.
    """
    n, limit = len(names), max_columns()
    if n > limit:
        problem = f"has {n} columns, at most {limit} are allowed"
        raise ConfigError(f"{problem}. Remove columns, or set STUDIES_MAX_INPUTS={n} to allow them.")
    name, n = Counter(names).most_common(1)[0]
    if n > 1:
        problem = f'{n} columns are called "{shortened(name)}". Rename them, as each name must be unique. {advice}'
        raise ConfigError(problem.rstrip())
