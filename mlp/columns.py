"""Columns: what the columns of a table are, and how the cells of any later table are read in the same way.

A schema is made once, from the training data, and is stored with the model. A cell becomes one number: a number itself,
the code of a level of a category, or the seconds of a date. A missing cell is NaN.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array
from mlp.cells import (
    LARGEST_CELL,
    cells_of,
    is_missing_value,
    parse_number,
    read_dates,
    read_numbers,
    sort_texts,
    text_of,
)
from mlp.errors import ConfigError, did_you_mean, errors_in, listed, shown
from mlp.records import AbstractRecord

Kind = Literal["number", "category", "date"]

UNSEEN = -1.0  # the cell of a category whose level was not in the training data
# "None" is not among them, because it is a real value of many columns, such as a diagnosis or a kind of heating.
MISSING_WORDS = (
    *("", "?", "-", "--", ".", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "-nan", "NaT"),
    *("null", "NULL", "Null", "nil", "missing", "Missing", "MISSING", "#NULL!", "#DIV/0!", "#VALUE!"),
)
ROWS_PER_CHECK = 65536


@dataclass(frozen=True)
class Column(AbstractRecord):
    """A column of a table.

    Attributes:
        name: the name of the column.
        kind: what its cells are: numbers, levels of a category, or dates.
        levels: the levels of a category, the text of each exactly as in the file, without blanks around it; the cell of
            a level is its index.
        pooled: the rare levels of a category that are read as its last level.
        decimal: the decimal mark of numbers that are written as text.
        format: the format of dates that are written as text, as `datetime.strptime` takes it; empty for ISO 8601.
        integer: whether every number of the training data was whole.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    pooled: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    format: str = ""
    integer: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind != "category" and (self.levels or self.pooled):
            raise ConfigError(f'must be empty for a column of kind "{self.kind}".', path="levels")
        if self.pooled and not self.levels:
            raise ConfigError("needs a level that the rare levels are read as.", path="pooled")
        for name in ("levels", "pooled"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ConfigError("must not contain a level twice.", path=name)

    @classmethod
    def of_category(cls, name: str, values: Any, missing: Iterable[str] = MISSING_WORDS) -> Column:
        """Return a column whose levels are the distinct values, in ascending order."""
        words = frozenset(missing)
        distinct = set(map(text_of, (cell for cell in _objects(values) if not is_missing_value(cell)))) - words
        return cls(name, "category", levels=tuple(sort_texts(distinct)))

    def parse(self, values: Any, missing: frozenset[str] = frozenset(MISSING_WORDS)) -> Array:
        """Return the cells of some values.

        Args:
            values: n texts or typed values: numbers, booleans, dates, datetime64, None, NaN; a list, an array or a
                pandas series.
            missing: the texts that stand for a missing value.

        Returns:
            float64 of shape (n,): numbers, codes of levels, or seconds since 1970-01-01 UTC; NaN where the value is
            missing; `UNSEEN` where it is a level that the column does not have.

        Raises:
            ConfigError: if a value cannot be read; the message names the column and the row, counted from 0.
        """
        cells, is_bad = self.try_parse(values, missing)
        if is_bad.any():
            row = int(is_bad.argmax())
            raise ConfigError(f'column "{self.name}", row {row}: {self.problem(cells_of(values)[row])}')
        return cells

    def try_parse(self, values: Any, missing: frozenset[str] = frozenset(MISSING_WORDS)) -> tuple[Array, Array]:
        """Return the cells of some values, NaN where a value cannot be read, and where that is; never fails.

        Args:
            values: as for `parse`.
            missing: as for `parse`.

        Returns:
            The cells, float64 of shape (n,), and a mask of the values that cannot be read, of shape (n,).
        """
        array = cells_of(values)
        if self.kind == "number":
            return read_numbers(array, missing, self.decimal)
        if self.kind == "date":
            return read_dates(array, missing, self.format)
        return self._codes(array, missing), np.zeros(len(array), bool)

    def problem(self, value: Any) -> str:
        """Return why a value cannot be read, and what to do."""
        value = value.item() if isinstance(value, np.generic) else value
        is_readable = not isinstance(value, str) or parse_number(value, self.decimal) is not None
        hint = f" that is finite and at most {LARGEST_CELL:g}" if self.kind == "number" and is_readable else ""
        return f"{shown(value)} is not a {self.wanted}{hint}. Correct it, or treat the column as categories."

    @property
    def wanted(self) -> str:
        """What a cell must be, as the end of a sentence: `number`, or `date in the format %d.%m.%Y`."""
        if self.kind != "date":
            return self.kind
        return f"date in the format {self.format}" if self.format else "date in the form 2024-01-31 or 2024-01-31 12:00"

    def _codes(self, cells: Array, missing: frozenset[str]) -> Array:
        known: dict[Any, float] = {}
        codes = np.empty(len(cells))
        for row, cell in enumerate(cells.tolist()):
            if isinstance(cell, str):
                if cell not in known:
                    known[cell] = self._code(cell, missing)
                codes[row] = known[cell]
            else:
                codes[row] = np.nan if is_missing_value(cell) else self._code(cell, missing)
        return codes

    def _code(self, cell: Any, missing: frozenset[str]) -> float:
        """Return the code of a level.

        The text decides. If no level has this text, a number is the level that is the same number (`1.0` is `1`), and
        `TRUE` the level that is the same word in another case. A level with leading zeros is found only by a number
        that is no text, because such zeros belong to codes, and are lost only where a code was read as a number.
        """
        text = text_of(cell)
        if text in self._index:
            return self._index[text]
        if text in missing:
            return float("nan")
        if text.casefold() in ("true", "false"):  # spreadsheets write TRUE, Python writes True
            same = [code for level, code in self._index.items() if level.casefold() == text.casefold()]
            return same[0] if len(same) == 1 else UNSEEN
        number = parse_number(text)
        found = [] if number is None else self._by_number.get(number, [])
        if len(found) != 1 or (isinstance(cell, str) and _has_leading_zeros(found[0])):
            return UNSEEN
        return self._index[found[0]]

    @functools.cached_property
    def _index(self) -> dict[str, float]:
        index = dict.fromkeys(self.pooled, len(self.levels) - 1.0)
        return index | {level: float(code) for code, level in enumerate(self.levels)}

    @functools.cached_property
    def _by_number(self) -> dict[float, list[str]]:
        by_number: dict[float, list[str]] = {}
        for level in self._index:
            if (number := parse_number(level)) is not None:
                by_number.setdefault(number, []).append(level)
        return by_number


def _objects(values: Any) -> list[Any]:
    cells: list[Any] = cells_of(values).tolist()
    return cells


def _has_leading_zeros(level: str) -> bool:
    digits = level.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


@dataclass(frozen=True)
class Schema(AbstractRecord):
    """The columns of a table.

    Attributes:
        columns: the columns, in the order of the cells.
        missing: the texts that stand for a missing value.
    """

    columns: tuple[Column, ...]
    missing: tuple[str, ...] = MISSING_WORDS

    @classmethod
    def error_name(cls) -> str:
        return "a schema"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.columns:
            raise ConfigError("must have at least one column.", path="columns")
        if len(set(self.names)) < len(self.names):
            raise ConfigError("must not contain a name twice.", path="columns")

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    def read(self, table: Any) -> Array:
        """Return the cells of a table, float64 of shape (n, c).

        Args:
            table: a pandas frame, a mapping of names to lists or to single values, or a list of mappings, with the
                columns in any order, and any others, which are ignored; or rows of values in the order of the columns.

        Raises:
            ConfigError: if a column is missing, or a value cannot be read; the message names the column and the row.
        """
        by_name = self._values_by_name(table)
        words = frozenset(self.missing)
        cells: Array | None = None
        for index, column in enumerate(self.columns):
            values = column.parse(by_name[column.name], words)
            if cells is None:
                cells = np.empty((len(values), len(self)))
            elif len(values) != len(cells):
                problem = f"must have {len(cells)} values, as the first column has, got {len(values)}."
                raise ConfigError(f'column "{column.name}" {problem}')
            cells[:, index] = values
        assert cells is not None  # there is at least one column
        return cells

    def read_rows(self, table: Any, *, path: str) -> Array:
        """Return the cells of a table, as `read` does, and refuse a table without rows.

        Args:
            table: as for `read`.
            path: the argument that the table was given as, for errors.
        """
        with errors_in(path=path):
            cells = self.read(table)
            if not len(cells):
                raise ConfigError("must contain at least one example.")
        return cells

    def _values_by_name(self, table: Any) -> Mapping[str, Any]:
        if hasattr(table, "columns") and hasattr(table, "dtypes"):
            self._check_names([str(name) for name in table.columns])
            names = map(str, table.columns)
            wanted = set(self.names)
            return {name: table.iloc[:, at] for at, name in enumerate(names) if name in wanted}
        if isinstance(table, Mapping):
            self._check_names(list(map(str, table)))
            return {str(name): [value] if _is_single(value) else value for name, value in table.items()}
        if isinstance(table, list | tuple) and table and all(isinstance(row, Mapping) for row in table):
            for number, row in enumerate(table):
                if any(name not in row for name in self.names):
                    self._check_names(list(map(str, row)), f"row {number}: ")
            return {name: [row[name] for row in table] for name in self.names}
        return self._values_of_rows(table)

    def _values_of_rows(self, rows: Any) -> Mapping[str, Any]:
        array = rows if isinstance(rows, np.ndarray) else np.array(list(map(list, rows)), object)
        if array.ndim == 2 and not array.size and not len(array):
            array = array.reshape(0, len(self))
        if array.ndim != 2 or array.shape[1] != len(self):
            problem = (
                f"inputs must have shape (n, {len(self)}), one row per example and one value for each of the columns"
            )
            raise ConfigError(f"{problem} {listed(self.names)}, got {array.shape}.")
        return {name: array[:, at] for at, name in enumerate(self.names)}

    def _check_names(self, names: Sequence[str], where: str = "") -> None:
        """Refuse a table in which a column is missing, or is there twice."""
        given = set(names)
        absent = [name for name in self.names if name not in given]
        if absent:
            hint = did_you_mean(absent[0], names) if len(absent) == 1 else ""
            what = "there is no column" if len(absent) == 1 else f"{len(absent)} columns are missing:"
            quoted = ", ".join(f'"{name}"' for name in absent[:20]) + (", ..." if len(absent) > 20 else "")
            raise ConfigError(f"{where}{what} {quoted}, which the model needs.{hint} Columns: {listed(names)}.")
        if len(given) < len(names):
            counts = Counter(names)
            if twice := [name for name in self.names if counts[name] > 1]:
                raise ConfigError(f'{where}the column "{twice[0]}" appears more than once. Remove all but one.')

    def count_unseen(self, cells: Array) -> dict[str, int]:
        """Return in how many rows each category has a level that the training data did not have; others are left out.

        Args:
            cells: as `read` returns them, shape (n, c).
        """
        counts = {
            column.name: int((cells[:, at] == UNSEEN).sum())
            for at, column in enumerate(self.columns)
            if column.kind == "category"
        }
        return {name: count for name, count in counts.items() if count}


def _is_single(value: Any) -> bool:
    return isinstance(value, str) or not hasattr(value, "__len__")


def pack(cells: Array) -> Array:
    """Return cells in the first of the types uint8, float32 and float64 that represents every cell exactly.

    A narrow type takes less memory and is faster to gather. The cells are read in blocks, because a copy of all of them
    in each type would take more memory than the result saves.
    """
    for dtype in (np.uint8, np.float32):
        if all(
            _is_exact(cells[start : start + ROWS_PER_CHECK], dtype) for start in range(0, len(cells), ROWS_PER_CHECK)
        ):
            return cells.astype(dtype)
    return cells


def _is_exact(block: Array, dtype: type[np.generic]) -> bool:
    with np.errstate(all="ignore"):
        same = block.astype(dtype) == block
    return bool((same | np.isnan(block)).all() if dtype is not np.uint8 else same.all())
