"""CSV files: read whole, believed in nothing, and laid out as inputs of a network.

A column holds numbers or texts. Numbers are an input as they are; every text that occurs in a column of texts is an
input of its own, 1 where it stands and 0 elsewhere, called `colour=red`.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlp.arrays import Array
from mlp.data import LARGEST_INPUT
from mlp.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

MANY_CATEGORIES = 1000  # beyond, a column of texts is no category but a name, a date or a mistake
FEW_CATEGORIES = 20  # up to which texts among numbers, such as `3+` after 0, 1 and 2, are categories and no mistake


@dataclass(frozen=True)
class Table:
    """A CSV file: its first line names the columns, every other is a row.

    Attributes:
        frame: what pandas made of it, checked column by column as these are asked for.
    """

    file: Path
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.frame.columns)

    def without(self, name: str) -> Table:
        """Return the same table with a column less, or the same where it has none of this name."""
        return replace(self, frame=self.frame.drop(columns=name, errors="ignore"))

    def is_fraction(self, name: str) -> bool:
        """Return whether a column holds numbers that are not written as whole ones."""
        return bool(self.frame[name].dtype.kind == "f")

    def kind(self, name: str) -> type:
        """Return what a column was read as, before truth values became numbers: bool for these, object else."""
        return bool if self.frame[name].dtype.kind == "b" else object

    def column(self, name: str) -> Array:
        """Return a column, shape (n,): numbers of any type, or texts as objects.

        Raises:
            ConfigError: naming line and column, on what is missing, infinite, or neither numbers nor categories.
        """
        import pandas as pd

        column = self.frame[name]
        if (missing := column.isna().to_numpy()).any():
            more = f", nor in {missing.sum() - 1} other lines" if missing.sum() > 1 else ""
            problem = f"there is no value{more}. Fill it in, or leave out the line or the column."
            raise self.error(problem, name, int(missing.argmax()))
        if column.dtype.kind == "b":
            return column.to_numpy(np.uint8)
        if column.dtype.kind in "iuf":
            return self._bounded(name, column.to_numpy())
        texts = column.astype(str).to_numpy(object)
        numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
        is_number = ~np.isnan(numbers)
        if is_number.all():  # whole ones beyond 64 bits
            return self._bounded(name, numbers)
        n_categories = len(set(texts))
        if is_number.any() and n_categories > FEW_CATEGORIES:
            row = int(is_number.argmin())
            number = texts[is_number.argmax()]
            problem = f"{texts[row]!r} is no number, but {number} is. Fill it in, or leave out the line or the column."
            raise self.error(problem, name, row)
        if n_categories > MANY_CATEGORIES:
            raise self.error(f"would be {n_categories} categories; leave it out.", name)
        return texts

    def _bounded(self, name: str, numbers: Array) -> Array:
        if numbers.dtype.kind == "f" and not (is_good := np.abs(numbers) <= LARGEST_INPUT).all():
            row = int(is_good.argmin())
            problem = f"must be finite and at most {LARGEST_INPUT:g}, got {numbers[row]}."
            raise self.error(problem, name, row)
        return numbers

    def error(self, problem: str, name: str, row: int | None = None) -> ConfigError:
        """Return an error that says where in the file it is: in which line, where a row is given."""
        where = f'column "{name}"' if row is None else f'line {self._line(row)}, column "{name}"'
        return ConfigError(f"{self.file}: {where}: {problem}")

    def _line(self, row: int) -> int:
        """Return the line at which a row begins: empty lines are no rows, and a text may go over several lines."""
        with self.file.open(encoding="utf-8-sig", newline="") as stream:
            for index, line in enumerate(line for line, _ in _rows(stream)):
                if index == row + 1:
                    return line
        raise ValueError(f"{self.file} has been changed: there is no row {row} any more.")


def _rows(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield what is not empty: the line at which it begins, counted from 1, and its cells."""
    reader = csv.reader(lines, skipinitialspace=True)
    line = 1
    for cells in reader:
        if len(cells) > 1 or "".join(cells).strip():
            yield line, cells
        line = reader.line_num + 1


def read_table(file: Path) -> Table:
    """Return what a CSV file holds.

    Raises:
        ConfigError: when it cannot be read, or its columns have no names of their own.
    """
    import pandas as pd

    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            (_, header), (line, first) = [*itertools.islice(_rows(stream), 2), (0, []), (0, [])][:2]
        header = [name.strip() for name in header]
        _check_header(file, header)
        if len(first) > len(header):  # which pandas would take for a name of the row
            problem = f"there are {len(first)} cells, but {len(header)} columns have names"
            raise ConfigError(f"{file}: line {line}: {problem}.")
        frame = pd.read_csv(file, low_memory=False, skipinitialspace=True, encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    except ConfigError:
        raise
    except (ValueError, OSError, csv.Error) as error:  # pandas' own errors are kinds of ValueError
        raise ConfigError(f"{file}: cannot be read as CSV: {str(error).strip()}.") from None
    if not len(frame):
        raise ConfigError(f"{file}: has no line below the names of its columns.")
    frame.columns = pd.Index(header)
    return Table(file, frame)


def _check_header(file: Path, header: list[str]) -> None:
    if not header:
        raise ConfigError(f"{file}: is empty. Its first line must name the columns.")
    if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in header[0]), None)):
        raise ConfigError(f"{file}: is separated by {separator!r}. Columns must be separated by commas.")
    for number, name in enumerate(header, 1):
        if not name:
            raise ConfigError(f"{file}: column {number} has no name. Name it, or leave it out if it numbers the rows.")
    name, n = Counter(header).most_common(1)[0]
    if n > 1:
        raise ConfigError(f'{file}: {n} columns are called "{name}". Give each a name of its own.')


def encode(table: Table) -> tuple[Array, tuple[str, ...]]:
    """Return all columns as inputs, shape (n, d), and the d names of these.

    The type is the first of uint8, float32 and float64 that holds them exactly.

    Raises:
        ConfigError: as `Table.column` does.
    """
    parts: list[Array] = []
    names: list[str] = []
    for name in table.names:
        column = table.column(name)
        if column.dtype != object:
            parts.append(column[:, None])
            names.append(name)
            continue
        categories, which = np.unique(column, return_inverse=True)
        parts.append((which[:, None] == np.arange(len(categories))).astype(np.uint8))
        names += [f"{name}={category}" for category in categories]
    return _lay_out(parts, len(table)), tuple(names)


def encode_as(table: Table, names: Sequence[str]) -> Array:
    """Return the inputs that `encode` gave these names, whatever the order of the columns; shape (n, d).

    Raises:
        ConfigError: on a column that is missing or too many, on a text that was not among those of its column.
    """
    wanted = set(names)
    parts: dict[str, Array] = {}
    for name in table.names:
        column = table.column(name)
        if name in wanted and column.dtype != object:
            parts[name] = column[:, None]
            continue
        categories = [known.removeprefix(f"{name}=") for known in names if known.startswith(f"{name}=")]
        if name in wanted:
            raise table.error(f"must hold numbers, got {column[0]!r}.", name, 0)
        if not categories:
            hint = did_you_mean(name, names)
            raise table.error(f"is none of those that the model has learnt from.{hint} Leave it out.", name)
        column = column.astype(str).astype(object)
        is_known = np.isin(column, np.array(categories, object))
        if not is_known.all():
            row = int(is_known.argmin())
            problem = f"{column[row]!r} is none of {', '.join(map(repr, categories))}, which the model has learnt from."
            raise table.error(problem, name, row)
        parts |= {f"{name}={category}": (column == category)[:, None] for category in categories}
    for name in names:
        if name not in parts:
            missing = name if name in table.names else name.partition("=")[0]
            raise ConfigError(f'{table.file}: there is no column "{missing}".{did_you_mean(missing, table.names)}')
    return _lay_out([parts[name] for name in names], len(table))


def _lay_out(parts: list[Array], n: int) -> Array:
    """Return columns side by side, in the narrowest type that holds them exactly."""
    dtype: type[np.generic] = np.uint8
    for wider in (np.float32, np.float64):
        if all(_holds(dtype, part) for part in parts):
            break
        dtype = wider
    inputs = np.empty((n, sum(part.shape[1] for part in parts)), dtype)
    start = 0
    for part in parts:
        inputs[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return inputs


def _holds(dtype: type[np.generic], part: Array) -> bool:
    with np.errstate(all="ignore"):
        return bool((part.astype(dtype) == part).all())
