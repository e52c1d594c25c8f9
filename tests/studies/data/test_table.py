"""Tables: the columns of a file, and errors that name its lines."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlp.errors import ConfigError
from studies.data.table import Lines, Table
from tests.table_data import table_of


def typed(values: Any, kind: Any = None) -> Table:
    column = pa.chunked_array([pa.array(values, kind)])
    return Table("t.parquet", {"a": column}, len(column), Lines.from_line(1), has_types=True)


def texts(**columns: list[str]) -> Table:
    arrays = {name: pa.chunked_array([pa.array(cells, pa.string())]) for name, cells in columns.items()}
    return Table("t.csv", arrays, len(next(iter(columns.values()))), Lines(np.array([0, 1, 3]), np.array([2, 5, 9])))


def test_texts_are_objects() -> None:
    values = texts(a=["1", "", "é", "x"]).values("a")
    assert (values.dtype, values.tolist()) == (object, ["1", "", "é", "x"])


def test_rows_follow_line_by_line_between_the_lines_that_are_stored() -> None:
    table = texts(a=["0", "1", "2", "3", "4"])
    assert [table.line(row) for row in range(5)] == [2, 5, 6, 9, 10]
    assert [table.take(np.array([4, 1])).line(row) for row in range(2)] == [10, 5]
    assert table.take(np.array([4, 1])).values("a").tolist() == ["4", "1"]


def test_errors_name_file_column_and_line_or_row() -> None:
    assert str(texts(a=["x", "y"]).error("is bad.", "a", 1)) == 't.csv: column "a", line 5: is bad.'
    assert str(typed([1, 2]).error("is bad.", "a", 1)) == 't.parquet: column "a", row 2: is bad.'
    assert str(typed([1, 2]).error("is bad.", "a")) == 't.parquet: column "a": is bad.'


def test_a_column_that_does_not_exist_is_refused_with_the_most_similar_name() -> None:
    with pytest.raises(
        ConfigError, match=r't\.csv: there is no column "colour"\. Did you mean "color"\? Its columns are'
    ):
        texts(color=["x"]).values("colour")


NOON = datetime.datetime(2024, 5, 1, 12)
ZONE = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "expected"),
    [
        ([1, 2], pa.int16(), np.int16, [1, 2]),
        ([1, None], pa.int64(), np.float64, [1.0, np.nan]),
        ([0.5, None], pa.float32(), np.float32, [0.5, np.nan]),
        ([True, False], pa.bool_(), bool, [True, False]),
        ([True, None], pa.bool_(), object, [True, None]),
        (["a", None], pa.string(), object, ["a", None]),
        (["a", None], pa.large_string(), object, ["a", None]),
        ([None, None], pa.null(), object, [None, None]),
        (["a", "b", None, "a"], pa.dictionary(pa.int8(), pa.string()), object, ["a", "b", None, "a"]),
        ([Decimal("1.5"), None], pa.decimal128(10, 2), np.float64, [1.5, np.nan]),
        ([NOON.date(), None], pa.date32(), "datetime64[us]", [datetime.datetime(2024, 5, 1), None]),
        ([NOON, None], pa.timestamp("ns"), "datetime64[us]", [NOON, None]),
        ([NOON.replace(tzinfo=ZONE)], pa.timestamp("us", "+02:00"), "datetime64[us]", [NOON.replace(hour=10)]),
        ([NOON.time()], pa.time64("us"), object, ["12:00:00.000000"]),
        ([datetime.timedelta(days=1), None], pa.duration("s"), np.float64, [86400.0, np.nan]),
    ],
    ids=str,
)
def test_every_type_of_a_parquet_file_has_values(values: Any, kind: Any, dtype: Any, expected: Any) -> None:
    read = typed(values, kind).values("a")
    assert read.dtype == np.dtype(dtype)
    assert len(read) == len(expected)
    for value, wanted in zip(read.tolist(), expected, strict=True):
        assert value == wanted or (value != value and wanted != wanted)


@pytest.mark.parametrize("kind", [pa.list_(pa.int8()), pa.binary(), pa.struct([("x", pa.int8())])], ids=str)
def test_a_type_without_values_is_refused_by_column(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r't\.parquet: column "a": has the type .* Drop it with data\.drop\.'):
        typed([None], kind).values("a")


def test_names_that_are_numbers_may_be_a_row() -> None:
    advice = "If its first line is a row, set data.header = false."
    assert table_of("0.13,0.35,c\n1,2,d\n").list_columns().endswith(advice)
    assert advice not in table_of("x,2024,c\n1,2,d\n").list_columns()
