"""The encoding of a table: how the cells of its columns become inputs of a network.

It is fitted on the training part of a split, so that nothing of the other parts can leak into it. Only whether a column
has missing cells, and whether the hour of a date varies, is decided by all examples that may be used for training, so
that the number of inputs is the same for every split. It is applied with NumPy alone, one row like many.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mlp.arrays import Array
from mlp.calendar import CYCLES, cyclic_parts, days_and_years, hour_varies
from mlp.columns import Schema
from mlp.errors import ConfigError
from mlp.numeric_scaling import MAX_KNOTS, NumberScale, NumberScaling, fit_number
from mlp.records import AbstractRecord
from mlp.scaling import Scaling

BLOCK_BYTES = 32 << 20  # of the columns that are fitted at once: 4 columns of a million rows


@dataclass(frozen=True)
class DateEncoding(AbstractRecord):
    """How a date is encoded: days and year as numbers; month, weekday and hour as points on a circle.

    Attributes:
        days: how the number of days since 1970 is scaled.
        year: how the year is scaled.
        hour: whether the hour is an input.
    """

    days: NumberScaling
    year: NumberScaling
    hour: bool


@dataclass(frozen=True)
class CategoryEncoding(AbstractRecord):
    """How a category is encoded.

    Two levels are one input, -1 or +1, and 0 for a missing or an unseen level. More are one input per level, 1 for the
    level of the example and 0 for all others; a missing level is another level, or 0 everywhere.

    Attributes:
        n_levels: the number of levels.
        missing: whether a missing level has an input of its own.
    """

    n_levels: int
    missing: bool

    @property
    def is_binary(self) -> bool:
        """Whether the two levels share one input."""
        return self.n_levels == 2

    @property
    def n_inputs(self) -> int:
        """The number of inputs."""
        return 1 if self.is_binary else self.n_levels + self.missing


@dataclass(frozen=True)
class ColumnEncoding(AbstractRecord):
    """How one column is encoded: exactly one of its parts is set.

    Attributes:
        number: of a number.
        category: of a category.
        date: of a date.
        indicator: whether a number or a date has another input, which is 1 where the cell is missing.
    """

    number: NumberScaling | None = None
    category: CategoryEncoding | None = None
    date: DateEncoding | None = None
    indicator: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(part is not None for part in (self.number, self.category, self.date)) != 1:
            raise ConfigError("must have exactly one of number, category and date.")

    @property
    def numbers(self) -> tuple[NumberScaling, ...]:
        """The numbers that are scaled: the cell, or the days and the year of a date."""
        if self.date is not None:
            return self.date.days, self.date.year
        return () if self.number is None else (self.number,)


@dataclass(frozen=True)
class TableEncoding(AbstractRecord):
    """How cells become inputs: numbers first, then indicators of missing cells, cyclic parts of dates, categories.

    Attributes:
        columns: the encoding of each column, in the order of the cells.
        smooth_clip: whether scaled numbers z become z / sqrt(1 + (z / 3)²), which lies between -3 and 3.
    """

    columns: tuple[ColumnEncoding, ...]
    smooth_clip: bool = False

    @classmethod
    def can_decode(cls, value: Any) -> bool:
        return isinstance(value, cls) or (isinstance(value, Mapping) and "columns" in value)

    @classmethod
    def fit(cls, cells: Array, rows: Array, schema: Schema | None, scale: NumberScale) -> TableEncoding:
        """Return the encoding of a table.

        Args:
            cells: the cells of all examples that may be used for training, shape (n, c).
            rows: the rows of the training part, from which every number is computed.
            schema: the columns; None if all of them are numbers.
            scale: how numbers are scaled; `robust` is equation 1 of Holzmüller et al. 2024, arXiv:2407.04491.
        """
        width = cells.shape[1]
        n_numbers = (
            width if schema is None else sum(2 if c.kind == "date" else c.kind == "number" for c in schema.columns)
        )
        n_knots = max(2, min(MAX_KNOTS, 100_000 // max(1, n_numbers)))
        encodings = []
        per_block = max(1, BLOCK_BYTES // (8 * max(1, len(cells))))
        for first in range(0, width, per_block):
            block = cells[:, first : first + per_block].astype(np.float64)
            for offset, column in enumerate(block.T):
                kind = "number" if schema is None else schema.columns[first + offset].kind
                n_levels = 0 if schema is None else len(schema.columns[first + offset].levels)
                encodings.append(_fit_column(kind, n_levels, column, rows, scale, n_knots))
        return cls(tuple(encodings), smooth_clip=scale == "robust")

    def fits(self, schema: Schema) -> bool:
        """Return whether these are encodings of the columns of a schema."""
        if len(self.columns) != len(schema.columns):
            return False
        for column, encoding in zip(schema.columns, self.columns, strict=True):
            part = {"number": encoding.number, "category": encoding.category, "date": encoding.date}[column.kind]
            n_levels = encoding.category.n_levels if encoding.category is not None else 0
            if part is None or n_levels != len(column.levels):
                return False
        return True

    def n_inputs(self, n_columns: int) -> int:
        """Return the number of inputs that `n_columns` columns have."""
        return self._layout.width

    def names(self, schema: Schema) -> tuple[str, ...]:
        """Return the name of each input, such as `age`, `age is missing`, `colour=red` or `day: cos of month`."""
        numbers, indicators, cycles, categories = [], [], [], []
        for column, encoding in zip(schema.columns, self.columns, strict=True):
            if encoding.category is not None and encoding.category.is_binary:
                categories.append(f"{column.name}={column.levels[1]}")
            elif encoding.category is not None:
                categories += [f"{column.name}={level}" for level in column.levels]
                categories += [f"{column.name} is missing"] * encoding.category.missing
            elif encoding.date is not None:
                numbers += [column.name, f"{column.name}: year"]
                parts = CYCLES if encoding.date.hour else CYCLES[:-1]
                cycles += [f"{column.name}: {function} of {part}" for part in parts for function in ("sin", "cos")]
            else:
                numbers.append(column.name)
            indicators += [f"{column.name} is missing"] * encoding.indicator
        return (*numbers, *indicators, *cycles, *categories)

    def apply(self, raw: Array, x: Array) -> None:
        """Write the inputs of some rows of cells, shape (b, c), into `x`, shape (b, d), in its type."""
        layout = self._layout
        x[:, layout.n_numbers :] = 0
        if layout.n_numbers:
            self._write_numbers(raw, x[:, : layout.n_numbers])
        start = layout.n_numbers
        if len(layout.indicators):
            stop = start + len(layout.indicators)
            x[:, start:stop] = np.isnan(raw[:, layout.indicators])
            start = stop
        for column, with_hour in layout.dates:
            parts = cyclic_parts(raw[:, column].astype(np.float64), with_hour=with_hour)
            stop = start + parts.shape[1]
            x[:, start:stop] = parts
            start = stop
        if len(layout.binary):
            codes = raw[:, layout.binary].astype(np.float64)
            x[:, layout.binary_inputs] = np.where(codes >= 0, 2 * codes - 1, 0)
        if len(layout.one_hot):
            codes = raw[:, layout.one_hot].astype(np.float64)
            codes = np.where(np.isnan(codes), layout.missing_codes, codes)
            rows, at = np.nonzero(codes >= 0)
            x[rows, layout.one_hot_inputs[at] + codes[rows, at].astype(np.intp)] = 1

    def _write_numbers(self, raw: Array, x: Array) -> None:
        layout = self._layout
        numbers = np.empty(x.shape)
        numbers[:, layout.number_inputs] = raw[:, layout.numbers]
        for (column, _), at in zip(layout.dates, layout.date_inputs, strict=True):
            numbers[:, at : at + 2] = days_and_years(raw[:, column].astype(np.float64))
        np.copyto(numbers, layout.fill, where=np.isnan(numbers))
        for at, scaling in layout.quantiles:
            numbers[:, at] = np.interp(numbers[:, at], scaling.knots, scaling.scores)
        np.subtract(numbers, layout.centre, out=numbers)
        np.multiply(numbers, layout.factor, out=numbers)
        if self.smooth_clip:
            np.divide(numbers, np.sqrt(1.0 + np.square(numbers / 3.0)), out=numbers)
        x[...] = numbers

    @functools.cached_property
    def _layout(self) -> _Layout:
        return _Layout(self.columns)


class _Layout:
    """Where the parts of each column are among the cells and among the inputs, as arrays."""

    def __init__(self, columns: tuple[ColumnEncoding, ...]) -> None:
        scalings = [scaling for column in columns for scaling in column.numbers]
        self.n_numbers = len(scalings)
        self.fill, self.centre, self.factor = (
            np.array([getattr(scaling, name) for scaling in scalings]) for name in ("fill", "centre", "factor")
        )
        self.quantiles = [(at, scaling) for at, scaling in enumerate(scalings) if scaling.knots]
        starts = np.cumsum([0, *(len(column.numbers) for column in columns)])
        of_kind: dict[str, list[int]] = {name: [] for name in ("numbers", "binary", "one_hot", "indicators")}
        self.dates: list[tuple[int, bool]] = []
        for at, column in enumerate(columns):
            if column.number is not None:
                of_kind["numbers"].append(at)
            elif column.date is not None:
                self.dates.append((at, column.date.hour))
            elif column.category is not None:
                of_kind["binary" if column.category.is_binary else "one_hot"].append(at)
            if column.indicator:
                of_kind["indicators"].append(at)
        self.numbers, self.binary, self.one_hot, self.indicators = (np.array(v, np.intp) for v in of_kind.values())
        self.number_inputs = starts[self.numbers]
        self.date_inputs = [int(starts[at]) for at, _ in self.dates]
        width = self.n_numbers + len(self.indicators)
        width += sum(2 * (len(CYCLES) if with_hour else len(CYCLES) - 1) for _, with_hour in self.dates)
        first: dict[int, int] = {}
        for at, category in ((at, column.category) for at, column in enumerate(columns)):
            if category is not None:
                first[at] = width
                width += category.n_inputs
        self.binary_inputs, self.one_hot_inputs = (
            np.array([first[int(at)] for at in found], np.intp) for found in (self.binary, self.one_hot)
        )
        self.missing_codes = np.array([_missing_code(columns[int(at)].category) for at in self.one_hot])
        self.width = width


def _missing_code(category: CategoryEncoding | None) -> float:
    """Return the code of a missing cell: one more than the levels have, or -1 if it has no input."""
    return float(category.n_levels) if category is not None and category.missing else -1.0


def _fit_column(
    kind: str, n_levels: int, column: Array, rows: Array, scale: NumberScale, n_knots: int
) -> ColumnEncoding:
    """Return the encoding of the cells of one column, float64 of shape (n,)."""
    has_missing = bool(np.isnan(column).any())
    if kind == "category":
        return ColumnEncoding(category=CategoryEncoding(n_levels, has_missing or not n_levels))
    values = column[rows]
    if kind == "number":
        return ColumnEncoding(number=fit_number(values, scale, n_knots), indicator=has_missing)
    days, years = days_and_years(values).T
    date = DateEncoding(fit_number(days, scale, n_knots), fit_number(years, scale, n_knots), hour_varies(column))
    return ColumnEncoding(date=date, indicator=has_missing)


Encoding: TypeAlias = TableEncoding | Scaling
