import decimal
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.cells import cells_of, parse_number, read_dates, read_numbers, sort_texts, text_of

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        (" -1.5e3 ", -1500),
        ("+2", 2),
        (".5", 0.5),
        ("5.", 5),
        ("1,234", 1234),
        ("1,234,567.5", 1234567.5),
        ("12,34,567", 1234567),
        ("1 234 567", 1234567),
        ("1\u202f234,0", None),
        ("1'234.50", 1234.5),
        ("$1,200.50", 1200.5),
        ("-$5", -5),
        ("$-5", -5),
        ("3.5 €", 3.5),
        ("£ 3", 3),
        ("12.5%", 12.5),
        ("(1,234.50)", -1234.5),
        ("($7)", -7),
        ("\u22127", -7),
        ("1,23", None),
        ("1,2345", None),
        ("1_000", None),
        ("--1", None),
        ("(-1)", None),
        ("inf", None),
        ("nan", None),
        ("12kg", None),
        ("", None),
        (".", None),
        ("()", None),
        ("2024-01-31", None),
    ],
)
def test_a_text_is_read_as_the_number_that_a_person_reads(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,5", 1.5),
        ("1.234,5", 1234.5),
        ("1.234", 1234),
        ("1 234,5", 1234.5),
        ("-,5", -0.5),
        ("1.5", None),
        ("1,5e2", 150),
    ],
)
def test_the_comma_may_be_the_decimal_mark(text: str, number: float | None) -> None:
    assert parse_number(text, ",") == number


@given(st.floats(-1e30, 1e30))
def test_any_number_that_python_writes_is_read_back_to_the_last_bit(number: float) -> None:
    assert parse_number(repr(number)) == number
    assert parse_number(repr(number).replace(".", ","), ",") == number
    assert parse_number(f"{number:,.3f}") == float(f"{number:.3f}")


@given(
    st.lists(st.one_of(st.text("0123456789.,-%e $()_x", max_size=6), st.floats(), st.none(), st.booleans()), max_size=9)
)
def test_one_cell_is_read_as_it_is_among_others(values: list[Any]) -> None:
    numbers, is_bad = read_numbers(cells_of(values), frozenset({"", "-"}), ".")
    for value, number, bad in zip(values, numbers, is_bad, strict=True):
        one, one_bad = read_numbers(cells_of([value]), frozenset({"", "-"}), ".")
        np.testing.assert_array_equal(one, [number])
        assert one_bad[0] == bad


def test_a_number_that_stands_for_a_missing_value_does_so_in_any_spelling() -> None:
    missing = frozenset({"-999"})
    for values in (["-999", "1"], ["-999.0", "1"], [-999, 1], np.array([-999.0, 1.0])):
        numbers, is_bad = read_numbers(cells_of(values), missing, ".")
        np.testing.assert_array_equal(numbers, [np.nan, 1])
        assert not is_bad.any()


def test_infinite_and_too_large_numbers_cannot_be_read() -> None:
    for values in ([1.0, np.inf, 1e31], ["1", "inf", "1e31"], [1, decimal.Decimal("Infinity"), 10**400]):
        numbers, is_bad = read_numbers(cells_of(values), NONE, ".")
        np.testing.assert_array_equal(numbers, [1, np.nan, np.nan])
        np.testing.assert_array_equal(is_bad, [False, True, True])


def test_moments_are_seconds_since_1970_whatever_their_type() -> None:
    moment = datetime(2024, 1, 31, 12, 30, tzinfo=UTC)
    east = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    values = ["2024-01-31 12:30", "2024-01-31T12:30:00Z", "2024-01-31T18:00+05:30", moment.replace(tzinfo=None), east]
    for value in [*values, np.datetime64("2024-01-31T12:30")]:
        seconds, _ = read_dates(cells_of([value]), NONE, "")
        assert seconds.tolist() == [moment.timestamp()], value
    seconds, is_bad = read_dates(np.array(["1969-12-31", "NaT"], "datetime64[D]"), NONE, "")
    np.testing.assert_array_equal(seconds, [-86400, np.nan])
    assert not is_bad.any()


def test_a_date_is_read_in_the_given_format_only() -> None:
    seconds, is_bad = read_dates(
        cells_of(["31.01.2024", "2024-01-31", "", date(2024, 1, 31)]), frozenset({""}), "%d.%m.%Y"
    )
    np.testing.assert_array_equal(is_bad, [False, True, False, False])
    assert seconds[0] == seconds[3] == datetime(2024, 1, 31, tzinfo=UTC).timestamp()
    assert np.isnan(seconds[1])
    assert np.isnan(seconds[2])
    seconds, _ = read_dates(cells_of([20240131, 20240131.0]), NONE, "%Y%m%d")
    assert seconds.tolist() == [datetime(2024, 1, 31, tzinfo=UTC).timestamp()] * 2


def test_the_text_of_a_whole_number_has_no_fraction() -> None:
    assert [text_of(value) for value in (2, 2.0, np.float32(2), 2.5, True, "2.0", 10**400)][:6] == [
        *("2", "2", "2", "2.5", "True", "2.0")
    ]


def test_texts_that_are_numbers_are_sorted_as_numbers() -> None:
    assert sort_texts(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert sort_texts(["10", "9", "x"]) == ["10", "9", "x"]
