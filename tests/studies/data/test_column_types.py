"""The types of columns: each rule, what overrides it, and what is refused with its line."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlp.columns import Column, Schema
from mlp.errors import ConfigError
from studies.data.column_levels import make_column
from studies.data.column_types import ColumnFacts, find_types
from studies.data.table import Table
from studies.data.table_cells import read_cells
from tests.table_data import columns_of, config_of, type_of, typed

NUMBERS = [str(i) for i in range(40)]


def refusal(cells: list[Any], **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        type_of(cells, **fields)
    return str(error.value)


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["1", "2.5", "-3e2"], "number", [1, 2.5, -300]),
        (["1", "", "NA"], "number", [1, np.nan, np.nan]),
        (["1,234.5", "7", "12,000"], "number", [1234.5, 7, 12000]),
        (["1,5", "2,25", "1.000,5"], "number", [1.5, 2.25, 1000.5]),
        (["12 %", "3.5%", "7"], "number", [12, 3.5, 7]),
        (["$1,200", "$3", "-$4.50"], "number", [1200, 3, -4.5]),
        (["0", "1", "0"], "number", [0, 1, 0]),
        (["0.5", "00.5", "0"], "number", [0.5, 0.5, 0]),
        (["2024-01-31", "", "1970-01-01"], "date", [1706659200, np.nan, 0]),
        (["31.01.2024", "01.02.2024", "1.1.1970"], "date", [1706659200, 1706745600, 0]),
        (["20240131", "20240201", "19700101"], "date", [1706659200, 1706745600, 0]),
    ],
)
def test_numbers_and_dates_are_recognised_however_they_are_written(
    cells: list[str], kind: str, expected: list[float]
) -> None:
    facts = type_of(cells)
    assert facts.kind == facts.type == kind
    assert facts.cells is not None
    np.testing.assert_array_equal(facts.cells, expected)


@pytest.mark.parametrize(
    ("cells", "type_", "levels"),
    [
        (["red", "blue", "red"], "category", ["blue", "red"]),
        (["007", "008", "007"], "category", ["007", "008"]),
        (["1.50", "2.50", "L"], "category", ["1.50", "2.50", "L"]),
        (["True", "False", "True"], "boolean", ["False", "True"]),
        (["yes", "no", ""], "boolean", ["no", "yes"]),
        (["None", "Mild", "None"], "category", ["Mild", "None"]),
        (["0", "1", "2", "3+"], "category", ["0", "1", "2", "3+"]),
        ([" red", "red", "blue "], "category", ["blue", "red"]),
        (["grün", "weiß", "grün"], "category", ["grün", "weiß"]),
    ],
)
def test_other_texts_are_categories_whose_levels_keep_their_text(
    cells: list[str], type_: str, levels: list[str]
) -> None:
    facts = type_of(cells)
    assert (facts.kind, facts.type) == ("category", type_)
    assert list(make_column(facts, np.arange(len(cells))).levels) == levels


def test_blanks_around_texts_are_removed_with_a_notice() -> None:
    assert type_of([" red", "red", "blue "]).notes == ["blanks around the text are removed in 2 rows"]


def test_the_configuration_overrides_what_a_column_is() -> None:
    assert type_of(["1", "2", "1"], categorical=("a",)).kind == "category"
    assert type_of(["007", "008", "010"], numeric=("a",)).kind == "number"
    assert type_of(["1,234", "2,500"], decimal=",").cells.tolist() == [1.234, 2.5]  # type: ignore[union-attr]
    assert type_of(["1,234", "2,500"], decimal=".").cells.tolist() == [1234, 2500]  # type: ignore[union-attr]
    assert type_of(["1", "-999", "2"], missing=("-999",)).n_missing == 1
    assert type_of([f"name {i}" for i in range(30)], categorical=("a",)).kind == "category"
    assert "'x' is not a number" in refusal(["1", "x"], numeric=("a",))


def test_numbers_with_three_digits_after_the_mark_follow_the_other_columns() -> None:
    table = columns_of(a=["1,234", "2,500"], b=["1,5", "2,25"], c=["0.5", "0.25"])
    facts = find_types(table, ["a", "b"], config_of())
    assert [f.cells.tolist() for f in facts] == [[1.234, 2.5], [1.5, 2.25]]  # type: ignore[union-attr]
    facts = find_types(table, ["a", "c"], config_of())
    assert facts[0].cells.tolist() == [1234, 2500]  # type: ignore[union-attr]
    alone = find_types(table, ["a"], config_of())[0]
    assert '1,234 is read as 1234; data.decimal = "," or "." decides' in alone.notes


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        (["1,5", "2,25"], ("a decimal comma", "1,5")),
        (["$1,200.50", "$3"], ("thousands separators and currency signs", "$1,200.50")),
        (
            ["1.234,5", "(1,5)"],
            ("a decimal comma, thousands separators and negative numbers in parentheses", "1.234,5"),
        ),
        (["10 %", "2.5%"], ("percent signs", "10 %")),
        (["1.5", "-2e3", "+3"], ("", "")),
    ],
)
def test_how_numbers_are_written_is_told_and_is_no_warning(cells: list[str], written: tuple[str, str]) -> None:
    facts = type_of(cells)
    assert (facts.kind, facts.written, facts.notes) == ("number", written, [])


def test_numbers_in_different_units_are_told() -> None:
    assert type_of(["50%", "0", "0.3"]).notes == ["'50%' and '0.3' are in different units, which are ignored"]
    assert type_of(["$5", "7 €"]).notes == ["'$5' and '7 €' are in different units, which are ignored"]
    assert type_of(["$5", "0", "$7"]).notes == []


def test_a_word_among_numbers_is_refused_with_its_line_and_what_to_do() -> None:
    assert refusal([*NUMBERS, "n/a?"]) == (
        't.csv: column "a", line 42: "n/a?" is not a number. Correct it, or list it in data.missing = ["", "n/a?"] if '
        'it means a missing value, or treat the column as categories with data.categorical = ["a"].'
    )
    assert 'line 42: "x" is not a number, nor are 2 other cells. Correct it' in refusal([*NUMBERS, "x", "y", "x"])
    assert type_of([*NUMBERS, "n/a?"], missing=("n/a?",)).kind == "number"
    assert type_of([*NUMBERS, "n/a?"], categorical=("a",)).kind == "category"


def test_many_words_among_numbers_are_told() -> None:
    facts = type_of([*NUMBERS, *["unknown"] * 20])
    assert facts.kind == "category"
    assert facts.notes[0] == (
        "40 of 60 cells are numbers, others are not, such as 'unknown'; if it means a missing value, set "
        'data.missing = ["", "unknown"]'
    )


@pytest.mark.parametrize(
    ("cells", "drop"),
    [
        (["", "NA", ""], "empty"),
        ([f"name {i}" for i in range(30)], "identifier"),
        ([f"text {i}" for i in range(60)] + [f"text {i}" for i in range(40)], "free text"),
    ],
)
def test_columns_without_use_are_dropped_with_the_reason(cells: list[str], drop: str) -> None:
    facts = type_of(cells)
    assert (facts.kind, facts.drop) == (None, drop)


def levels_of(facts: ColumnFacts, n: int) -> Column:
    return make_column(facts, np.arange(n))


def test_levels_are_those_of_the_training_rows() -> None:
    facts = type_of(["red", "blue", "red", "green"])
    assert make_column(facts, np.array([0, 2])).levels == ("red",)


def test_rare_levels_are_pooled_if_there_are_many_for_the_number_of_rows() -> None:
    cells = [f"often {i % 15}" for i in range(150)] + [f"once {i}" for i in range(10)]
    facts = type_of(cells)
    column = levels_of(facts, 160)
    assert (len(column.levels), column.levels[-1], len(column.pooled)) == (16, "other", 10)
    assert facts.notes == ["25 levels are many for 160 rows: 10 rare ones are pooled"]
    assert column.parse(["once 3", "often 0", "never seen"]).tolist() == [15, 0, -1]


def test_twenty_levels_are_never_pooled_and_the_pool_does_not_take_the_name_of_a_level() -> None:
    assert not levels_of(type_of([f"l{i % 20}" for i in range(40)]), 40).pooled
    cells = [*(f"often {i % 15}" for i in range(150)), "other", "other", *(f"once {i}" for i in range(10))]
    column = levels_of(type_of(cells), len(cells))
    assert column.levels[-1] == "other (pooled)"
    assert "other" in column.levels


def test_two_thousand_levels_are_cut_to_the_most_frequent_ones() -> None:
    rng = np.random.default_rng(0)
    cells = [f"l{level}" for level in np.minimum(rng.zipf(1.3, 30_000), 2000)]
    column = levels_of(type_of(cells), len(cells))
    assert column.levels[-1] == "other"
    assert len(column.levels) <= 1001
    assert len(column.pooled) <= 2000


@pytest.mark.parametrize(
    ("cells", "type_", "values"),
    [
        ([1, 2, None], "number", "1 to 2"),
        ([True, False, None], "boolean", "True, False"),
        (["a", "b", None], "category", "a, b"),
        ([date(2024, 1, 31), None, date(2024, 2, 1)], "date", "2024-01-31 to 2024-02-01"),
        ([datetime(2024, 1, 31, 12), None, None], "date", "2024-01-31 12:00:00 to 2024-01-31 12:00:00"),
    ],
)
def test_the_types_of_a_typed_file_decide(cells: list[Any], type_: str, values: str) -> None:
    (facts,) = find_types(typed(a=cells), ["a"], config_of())
    assert (facts.type, facts.values, facts.n_missing) == (type_, values, sum(cell is None for cell in cells))


def test_numbers_of_a_typed_file_may_be_categories() -> None:
    (facts,) = find_types(typed(a=[1, 2, 1]), ["a"], config_of(categorical=("a",)))
    assert make_column(facts, np.arange(3)).levels == ("1", "2")


def test_dictionaries_times_and_durations_of_a_typed_file_are_texts_and_numbers() -> None:
    columns = {
        "a": pa.array(["x", "y", "x"]).dictionary_encode(),
        "b": pa.array([time(8, 30), time(9, 15), None]),
        "c": pa.array([timedelta(hours=1), None, timedelta(hours=2)]),
        "d": pa.array([Decimal("1.5"), Decimal("2.5"), None]),
        "e": pa.array([1.5, float("nan"), None]),
    }
    table = Table("t.parquet", {n: pa.chunked_array([c]) for n, c in columns.items()}, 3, has_types=True)
    found = find_types(table, list(columns), config_of())
    assert [facts.type for facts in found] == ["category", "date", "number", "number", "number"]
    assert [facts.n_missing for facts in found] == [0, 1, 1, 1, 2]
    schema = Schema(tuple(make_column(facts, np.arange(3)) for facts in found))
    assert read_cells(table, schema)[0].tolist()[::2] == [0, 3600, 1.5]


def test_infinite_numbers_of_a_typed_file_are_refused_with_their_row() -> None:
    with pytest.raises(ConfigError, match=r'column "a", row 2: inf is not a number of at most 1e\+30\. Correct it, or'):
        find_types(typed(a=[1.0, float("inf")]), ["a"], config_of())


def test_a_column_of_dates_in_two_formats_is_no_silent_category() -> None:
    facts = type_of([*[f"2024-01-{day:02d}" for day in range(1, 20)] * 2, "31.01.2024"])
    assert facts.kind == "category"
    assert "are dates in different formats" in facts.notes[0]


def test_numbers_that_the_stated_decimal_mark_does_not_read_are_told() -> None:
    facts = type_of([f"{i / 7:.2f}" for i in range(1, 20)], decimal=",")
    assert facts.kind is None
    assert facts.notes[0] == ('\'0.14\' is no number because data.decimal = ","; "auto" decides for each column')
