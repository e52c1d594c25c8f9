"""Cells: whole columns read by pyarrow equal those that are read one text at a time."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp.columns import MISSING_WORDS, Column, Schema
from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.table_cells import distinct_texts, missing_words, plain_numbers, read_cells, read_column
from tests.table_data import columns_of, typed

WORDS = frozenset(MISSING_WORDS)
CELLS = (
    st.floats(-1e30, 1e30).map(repr)
    | st.integers(-(10**20), 10**20).map(str)
    | st.sampled_from(["", "NA", " 7 ", "1e999", "inf", "nan", "1_000", "+1", "0x10", ".5", "5.", "1,234", "12 %", "x"])
)


@settings(deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=20))
def test_a_column_of_numbers_has_the_same_cells_whether_pyarrow_reads_it_or_python(cells: list[str]) -> None:
    column = Column("a", "number")
    expected, is_bad = column.try_parse(cells, WORDS)
    table = columns_of(a=cells)
    numbers = plain_numbers(table.columns["a"], WORDS)
    if numbers is not None:
        np.testing.assert_array_equal(numbers, expected)
    if is_bad.any():
        with pytest.raises(ConfigError, match=rf'^t\.csv: column "a", line {2 + int(is_bad.argmax())}: '):
            read_column(table, column, WORDS)
    else:
        np.testing.assert_array_equal(read_column(table, column, WORDS), expected)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", " red", "007", "7", "1.50", "", "NA", "None", "grün"]), min_size=1))
def test_a_category_has_the_same_codes_whether_its_texts_are_read_once_or_row_by_row(cells: list[str]) -> None:
    column = Column("a", "category", levels=("007", "1.50", "None", "red"))
    expected = column.parse(cells, WORDS)
    np.testing.assert_array_equal(read_column(columns_of(a=cells), column, WORDS), expected)


def test_distinct_texts_are_stripped_numbered_as_they_appear_and_counted() -> None:
    chunks = pa.chunked_array([["b", " a", ""], ["b", "NA", "a"], pa.array([None, "c"], pa.string())])
    distinct = distinct_texts(chunks, WORDS)
    assert distinct.texts.tolist() == ["b", "a", "c"]
    assert distinct.codes.tolist() == [0, 1, -1, 0, -1, 1, -1, 2]
    assert (distinct.counts.tolist(), distinct.n_missing, distinct.n_padded) == ([2, 2, 1], 3, 1)
    assert distinct.first_row(1) == 1


def test_a_table_without_rows_has_no_distinct_texts() -> None:
    distinct = distinct_texts(pa.chunked_array([pa.array([], pa.string())]), WORDS)
    assert (distinct.texts.tolist(), distinct.codes.tolist()) == ([], [])


SCHEMA = Schema((Column("size", "number"), Column("colour", "category", levels=("blue", "red")), Column("day", "date")))


def test_a_table_is_read_by_a_schema_with_its_columns_in_any_order() -> None:
    table = columns_of(day=["2024-01-01", ""], extra=["x", "y"], colour=["red", "green"], size=["1.5", "NA"])
    cells = read_cells(table, SCHEMA)
    assert cells.tolist()[0] == [1.5, 1, 1704067200.0]
    assert np.isnan(cells[1]).tolist() == [True, False, True]
    assert SCHEMA.count_unseen(cells) == {"colour": 1}


def test_a_typed_table_is_read_by_the_same_schema() -> None:
    table = typed(size=[1.5, None], colour=["red", None], day=[date(2024, 1, 1), None])
    cells = read_cells(table, SCHEMA)
    assert cells.tolist()[0] == [1.5, 1, 1704067200.0]
    assert np.isnan(cells[1]).all()


def test_missing_columns_are_named_with_the_most_similar_one() -> None:
    with pytest.raises(ConfigError, match=r'there is no column "colour", which the model needs\. Did you mean "color"'):
        read_cells(columns_of(size=[1], color=["red"], day=[""]), SCHEMA)
    with pytest.raises(ConfigError, match='2 columns are missing: "size", "day", which the model needs'):
        read_cells(columns_of(colour=["red"]), SCHEMA)


def test_a_cell_that_cannot_be_read_is_named_by_its_line() -> None:
    table = columns_of(size=["1", "big", "2"], colour=["", "", ""], day=["", "", ""])
    with pytest.raises(ConfigError, match=r"^t\.csv: column \"size\", line 3: 'big' is not a number\. Correct it, or"):
        read_cells(table, SCHEMA)


def test_an_empty_cell_always_means_a_missing_value() -> None:
    assert missing_words(DataConfig("t.csv", missing=("unknown ",))) == {"", "unknown"}
    assert "NA" in missing_words(DataConfig("t.csv"))
    assert "None" not in missing_words(DataConfig("t.csv"))
