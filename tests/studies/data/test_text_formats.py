"""The formats of texts: decimal marks, and dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.cells import read_dates
from studies.data.text_formats import (
    COMPACT,
    are_compact_dates,
    find_date_format,
    find_date_mixture,
    numbers_of,
    vote_for_decimal,
)


@pytest.mark.parametrize(
    ("text", "votes"),
    [
        ("1,5", (0, 1)),
        ("1.5", (1, 0)),
        ("1.234,5", (0, 1)),
        ("1,234.5", (1, 0)),
        ("1.234", (0, 0)),
        ("1,234", (0, 0)),
        ("0,123", (0, 1)),
        ("-0.123", (1, 0)),
        ("1,234,567", (1, 0)),
        ("12", (0, 0)),
        ("€ 12,50", (0, 1)),
        ("a,b", (0, 0)),
    ],
)
def test_a_text_votes_for_the_only_decimal_mark_that_it_can_have(text: str, votes: tuple[int, int]) -> None:
    assert vote_for_decimal([text]) == votes


@given(st.floats(-1e6, 1e6))
def test_a_number_with_a_decimal_comma_is_the_number_with_a_decimal_point(number: float) -> None:
    text = f"{number:.3f}"
    assert numbers_of([text.replace(".", ",")], ",")[0] == numbers_of([text], ".")[0] == float(text)


DAYS = [datetime(2024, 1, 31) + timedelta(days=37 * i) for i in range(20)]
WRITTEN = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%b-%Y", "%b %d, %Y", "%d.%m.%y", "%Y%m%d"]


@pytest.mark.parametrize("form", [*WRITTEN, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M:%S"])
def test_dates_in_the_usual_formats_are_read_as_they_were_written(form: str) -> None:
    found = find_date_format([day.strftime(form) for day in DAYS])
    assert found is not None
    assert not found.doubt
    texts = np.array([day.strftime(form) for day in DAYS], object)
    seconds, is_bad = read_dates(texts, frozenset(), found.form)
    assert not is_bad.any()
    assert seconds.tolist() == [day.replace(tzinfo=UTC).timestamp() for day in DAYS]


def test_if_day_and_month_can_be_exchanged_the_order_of_the_rows_decides_and_otherwise_it_is_said() -> None:
    ascending = ["01/02/2024", "02/02/2024", "05/02/2024", "01/03/2024"]
    day_first = find_date_format(ascending)
    assert day_first is not None
    assert (day_first.form, day_first.doubt) == ("%d/%m/%Y", "")
    mixed = find_date_format(["03/02/2024", "01/05/2024", "04/03/2024", "02/01/2024"])
    assert mixed is not None
    assert mixed.form == "%m/%d/%Y"
    assert mixed.doubt.startswith("03/02/2024 may have the day or the month first")


@pytest.mark.parametrize("texts", [["red", "1"], ["2024-13-01"], ["1.5", "2.5"], ["3+", "1"], [], ["2024-01-31", "x1"]])
def test_other_texts_are_no_dates(texts: list[str]) -> None:
    assert find_date_format(texts) is None


def test_eight_digits_are_dates_if_all_of_them_are_days_of_these_centuries() -> None:
    assert are_compact_dates(np.array([20240131.0, 19991231.0]))
    assert not are_compact_dates(np.array([20241331.0, 19991231.0]))
    assert not are_compact_dates(np.array([12345678.0, 19991231.0]))
    assert not are_compact_dates(np.array([20240131.0]))
    found = find_date_format(["20240131", "19991231"])
    assert found is not None
    assert found.form == COMPACT


def test_dates_that_no_format_reads_are_told() -> None:
    iso = [f"2024-01-{day:02d}" for day in range(1, 20)]
    assert find_date_mixture([*iso, "31.01.2024"]) == (
        "'2024-01-01' and '31.01.2024' are dates in different formats, so that dates are read as texts; use one format"
    )
    assert find_date_mixture([*iso, "unknown"]) == (
        "most texts are dates, others are not, such as 'unknown'; if it means a missing value, set "
        'data.missing = ["", "unknown"]'
    )
    assert find_date_mixture(["red", "blue", *iso[:5]]) == ""
    assert find_date_mixture([f"1.{minor}.0" for minor in range(30)]) == ""
    assert find_date_mixture([]) == ""
