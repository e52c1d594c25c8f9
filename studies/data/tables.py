"""CSV files: every column is checked, then encoded as inputs of a network.

A column contains numbers or texts. A column of numbers becomes one input. A column of texts is one-hot encoded: each
distinct text becomes an input such as `colour=red`, which is 1 in the rows with this text and 0 in the others.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlp.arrays import Array
from mlp.data_checks import LARGEST_INPUT
from mlp.errors import ConfigError, did_you_mean, errors_in, listed, shown
from mlp.untrusted import open_regular

if TYPE_CHECKING:
    import pandas as pd

MANY_CATEGORIES = 1000  # a column with more distinct texts contains names or dates, or is a mistake
MAX_INPUTS = 20_000  # as many weights per neuron; more are mostly identifiers or a mistake, and fill the memory
MAX_LINE = 20_000_000  # characters
FEW_CATEGORIES = 20  # a column of numbers and texts with at most so many is a category, such as 0, 1, 2, `3+`


@dataclass(frozen=True)
class Table:
    """A CSV file whose first line names the columns and whose other lines are rows.

    Attributes:
        file: the file, for errors.
        frame: the file as pandas read it; `column` checks a column when it is used.
    """

    file: Path
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.frame.columns)

    def list_columns(self, most: int = 12) -> str:
        """Return a sentence that lists the columns, at most the first few."""
        more = f" and {len(self.names) - most} more" if len(self.names) > most else ""
        return f"Its columns are: {', '.join(self.names[:most])}{more}."

    def without(self, name: str) -> Table:
        """Return the table without a column; a column that does not exist is ignored."""
        return replace(self, frame=self.frame.drop(columns=name, errors="ignore"))

    def has_fractions(self, name: str) -> bool:
        """Return whether a column contains numbers that are not all integers."""
        return bool(self.frame[name].dtype.kind == "f")

    def original_type(self, name: str) -> type:
        """Return bool for a column of `True` and `False`, which `column` returns as 1 and 0, otherwise object."""
        return bool if self.frame[name].dtype.kind == "b" else object

    def column(self, name: str) -> Array:
        """Return a column, shape (n,): numbers of any type, or texts as objects.

        Raises:
            ConfigError: if a value is missing, not finite or too large, or the column is a mixture of numbers and texts
                or has too many distinct texts; the message names column and line.
        """
        import pandas as pd

        column = self.frame[name]
        if (missing := column.isna().to_numpy()).any():
            n_others = int(missing.sum()) - 1
            more = f" (and in {n_others} other {'line' if n_others == 1 else 'lines'})" if n_others else ""
            problem = f"the value is missing{more}. Fill it in, or remove the line or the column."
            raise self.error(problem, name, int(missing.argmax()))
        if column.dtype.kind == "b":
            return column.to_numpy(np.uint8)
        if column.dtype.kind in "iuf":
            self._check_bounds(name, column.to_numpy())
            return column.to_numpy()
        texts = column.astype(str).to_numpy(object)
        numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
        is_number = ~np.isnan(numbers)
        if is_number.all():  # integers of more than 64 bits, which pandas reads as texts
            self._check_bounds(name, numbers)
            return numbers
        n_categories = len(set(texts))
        if is_number.any() and n_categories > FEW_CATEGORIES:
            row = int(is_number.argmin())
            number = texts[is_number.argmax()]
            problem = f"{shown(texts[row])} is not a number, but other values such as {number} are."
            raise self.error(f"{problem} Correct it, or remove the line or the column.", name, row)
        if n_categories > MANY_CATEGORIES:
            problem = f"has {n_categories} distinct texts, at most {MANY_CATEGORIES} can be categories."
            raise self.error(f"{problem} Remove the column.", name)
        return texts

    def _check_bounds(self, name: str, numbers: Array) -> None:
        if numbers.dtype.kind == "f" and not (is_good := np.abs(numbers) <= LARGEST_INPUT).all():
            row = int(is_good.argmin())
            problem = f"must be finite and at most {LARGEST_INPUT:g}, got {numbers[row]}."
            raise self.error(problem, name, row)

    def error(self, problem: str, name: str, row: int | None = None) -> ConfigError:
        """Return an error about a column, or about one row of it, that names file, column and line."""
        where = f'column "{name}"' if row is None else f'column "{name}", line {self._line(row)}'
        return ConfigError(f"{self.file}: {where}: {problem}")

    def _line(self, row: int) -> int:
        """Return the line on which a row begins: empty lines are not rows, and a quoted text may have several lines."""
        with _open_text(self.file) as stream:
            for index, line in enumerate(line for line, _ in _rows(stream)):
                if index == row + 1:
                    return line
        raise ConfigError(f"{self.file}: was changed while it was read. Try again.")


def max_inputs() -> int:
    """Return how many inputs a table may have: `STUDIES_MAX_INPUTS`, or 20,000.

    Raises:
        ConfigError: if the environment variable is not a whole number.
    """
    text = os.environ.get("STUDIES_MAX_INPUTS", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"the environment variable STUDIES_MAX_INPUTS must be a whole number, got {shown(text)}.")
    return int(text or MAX_INPUTS)


def _open_text(file: Path) -> io.TextIOWrapper:
    with errors_in(f"{file}:"):
        return io.TextIOWrapper(open_regular(file), encoding="utf-8-sig", newline="")


def _bounded(lines: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a stream, none of which is longer than `MAX_LINE`."""
    while line := lines.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"a line has more than {MAX_LINE} characters")
        yield line


def _rows(lines: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty: the line on which each begins, counted from 1, and its cells."""
    reader = csv.reader(_bounded(lines), skipinitialspace=True)
    line = 1
    for cells in reader:
        if len(cells) > 1 or "".join(cells).strip():
            yield line, cells
        line = reader.line_num + 1


def read_table(file: Path) -> Table:
    """Return the table in a CSV file.

    Raises:
        ConfigError: if the file cannot be read, it has no rows, or the names of its columns are missing or repeated.
    """
    import pandas as pd

    try:
        with _open_text(file) as stream:
            (_, header), (line, first) = [*itertools.islice(_rows(stream), 2), (0, []), (0, [])][:2]
        header = [name.strip() for name in header]
        _check_header(file, header)
        if len(first) > len(header):  # pandas would take the first cell as the name of the row
            problem = f"must have {len(header)} cells, one per column, got {len(first)}."
            raise ConfigError(f"{file}: line {line} {problem}")
        with open_regular(file) as content:
            frame = pd.read_csv(content, low_memory=False, skipinitialspace=True, encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    except ConfigError:
        raise
    except (ValueError, OSError, csv.Error) as error:  # the errors of pandas are subclasses of ValueError
        raise ConfigError(f"{file}: cannot be read as CSV: {str(error).strip()}.") from None
    if not len(frame):
        raise ConfigError(f"{file}: must have at least one row below the names of its columns.")
    frame.columns = pd.Index(header)
    return Table(file, frame)


def _check_header(file: Path, header: list[str]) -> None:
    if not header:
        raise ConfigError(f"{file}: is empty. Its first line must name the columns.")
    if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in header[0]), None)):
        raise ConfigError(f"{file}: columns must be separated by commas, got {separator!r}.")
    if len(header) > max_inputs():
        problem = f"has {len(header)} columns, at most {max_inputs()} are allowed"
        raise ConfigError(f"{file}: {problem}. Remove columns, or set STUDIES_MAX_INPUTS={len(header)} to allow them.")
    for number, name in enumerate(header, 1):
        if not name:
            raise ConfigError(f"{file}: column {number} has no name. Name it, or remove it if it numbers the rows.")
    name, n = Counter(header).most_common(1)[0]
    if n > 1:
        raise ConfigError(f'{file}: {n} columns are called "{name}". Rename them, as each name must be unique.')


def encode(table: Table) -> tuple[Array, tuple[str, ...]]:
    """Return all columns as inputs, shape (n, d), and the names of the d inputs.

    Their type is the first of uint8, float32 and float64 that can represent every value exactly.

    Raises:
        ConfigError: if a column cannot be used, as in `Table.column`.
    """
    parts: list[Array] = []
    names: list[str] = []
    limit = max_inputs()
    for name in table.names:
        column = table.column(name)
        if column.dtype != object:
            parts.append(column[:, None])
            names.append(name)
            continue
        categories, which = np.unique(column, return_inverse=True)
        if len(names) + len(categories) > limit:
            problem = f"with its {len(categories)} texts, the table has more than {limit} inputs, one per text"
            raise table.error(f"{problem}. Remove columns, or set STUDIES_MAX_INPUTS to allow more.", name)
        parts.append((which[:, None] == np.arange(len(categories))).astype(np.uint8))
        names += [f"{name}={category}" for category in categories]
    return _join_columns(parts, len(table)), tuple(names)


def encode_as(table: Table, names: Sequence[str]) -> Array:
    """Return the columns as the inputs of an existing model, shape (n, d); their order in the file does not matter.

    Args:
        table: the table.
        names: the names of the d inputs, as `encode` returned them for the training data.

    Raises:
        ConfigError: if a column is missing, was not a training column, or contains a text that its training column did
            not contain.
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
            raise table.error(f"must contain numbers, got {shown(column[0])}.", name, 0)
        if not categories:
            hint = did_you_mean(name, dict.fromkeys(known.partition("=")[0] for known in names))
            raise table.error(f"was not a training column of the model.{hint} Remove or rename it.", name)
        # A column that was a category in training may contain only numbers here, such as 0 and 1 without `3+`.
        column = column.astype(str).astype(object)
        is_known = np.isin(column, np.array(categories, object))
        if not is_known.all():
            row = int(is_known.argmin())
            known = listed(map(repr, categories))
            raise table.error(f"must be one of {known}, as in the training data, got {shown(column[row])}.", name, row)
        parts |= {f"{name}={category}": (column == category)[:, None] for category in categories}
    for name in names:
        if name not in parts:
            missing = name if name in table.names else name.partition("=")[0]
            raise ConfigError(f'{table.file}: there is no column "{missing}".{did_you_mean(missing, table.names)}')
    return _join_columns([parts[name] for name in names], len(table))


def _join_columns(parts: list[Array], n: int) -> Array:
    """Return columns side by side, in the narrowest type that can represent them exactly."""
    dtype: type[np.generic] = np.uint8
    for wider in (np.float32, np.float64):
        if all(_is_exact(dtype, part) for part in parts):
            break
        dtype = wider
    # Workers gather minibatches from these inputs again and again: bytes take a quarter of the memory of float32 and
    # are faster to gather, even though they are converted afterwards.
    inputs = np.empty((n, sum(part.shape[1] for part in parts)), dtype)
    start = 0
    for part in parts:
        inputs[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return inputs


def _is_exact(dtype: type[np.generic], part: Array) -> bool:
    with np.errstate(all="ignore"):
        return bool((part.astype(dtype) == part).all())
