"""Cells: how the text or the typed value of one cell of a table is read as a number or as a point in time.

pandas is never imported here. A missing value is recognised by its type or because it differs from itself.
"""

from __future__ import annotations

import decimal as decimals
import functools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from numbers import Real
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array

Decimal = Literal[".", ","]

LARGEST_CELL = 1e30  # with anything larger, the first matrix product may overflow float32
EPOCH = datetime(1970, 1, 1)
SPACES = " \u00a0\u202f\u2009"  # between thousands: the usual space, and those that do not break a line or are thin
MINUS = str.maketrans("\u2212\u2013", "--")  # the mathematical minus and the en dash, which text editors substitute


def is_missing_value(value: Any) -> bool:
    """Return whether a typed value stands for a missing one: None, NaN, NaT or NA of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real | np.datetime64) and bool(value != value)


def cells_of(values: Any) -> Array:
    """Return the values of a column as an array of shape (n,): numbers, datetime64, or objects, with texts stripped."""
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "biufMOUS" or array.ndim != 1 or len(array) != len(values):
        array = np.fromiter(values, object, len(values))
    elif not isinstance(values, np.ndarray) and array.dtype.kind in "US" and not hasattr(values, "dtype"):
        array = np.fromiter(values, object, len(values))  # NumPy turns a list of texts and numbers into texts
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind == "U":
        array = array.astype(object)
    if array.dtype != object:
        return array
    stripped = [value.strip() if isinstance(value, str) else value for value in array.tolist()]
    return np.fromiter(stripped, object, len(stripped))


def read_numbers(cells: Array, missing: frozenset[str], decimal: Decimal) -> tuple[Array, Array]:
    """Return a column as numbers.

    A text may have thousands separators (a comma or a point, whichever is not the decimal mark, a space or an
    apostrophe), a currency sign, a percent sign, which does not change the number, and parentheses for a negative
    amount.

    Args:
        cells: as `cells_of` returns them.
        missing: the texts that stand for a missing value.
        decimal: the decimal mark of texts.

    Returns:
        The numbers, float64 of shape (n,), NaN where the value is missing or cannot be read; and where it cannot be
        read: text that is not a number, or a number that is not finite or larger than 1e30.
    """
    if cells.dtype.kind in "biuf":
        numbers = cells.astype(np.float64)
        is_bad = np.abs(numbers) > LARGEST_CELL
    elif cells.dtype.kind == "M":
        numbers, is_bad = np.full(len(cells), np.nan), ~np.isnat(cells)
    elif decimal == "." and (plain := _plain_numbers(cells)) is not None:
        numbers, is_bad = plain, np.zeros(len(cells), bool)
    else:
        read = functools.partial(_read_number, decimal=decimal)
        numbers, is_bad = _read_objects(cells, missing, read)
    numbers[is_bad] = np.nan
    if sentinels := _numbers_among(missing, decimal):
        numbers[np.isin(numbers, sentinels)] = np.nan
    return numbers, is_bad


@functools.lru_cache(maxsize=16)
def _numbers_among(words: frozenset[str], decimal: Decimal) -> tuple[float, ...]:
    """Return the words that are numbers, such as -999: they stand for a missing value however they are written."""
    numbers = (parse_number(word, decimal) for word in words)
    return tuple(sorted(number for number in numbers if number is not None))


def _plain_numbers(cells: Array) -> Array | None:
    """Return texts as numbers if Python reads all of them as such: far faster than one by one."""
    texts = cells.tolist()
    try:
        if "_" in "".join(texts):  # Python allows it between digits
            return None
        numbers = cells.astype(np.float64)
    except (ValueError, TypeError):
        return None
    return numbers if bool((np.abs(numbers) <= LARGEST_CELL).all()) else None


def read_dates(cells: Array, missing: frozenset[str], form: str) -> tuple[Array, Array]:
    """Return a column as seconds since 1970-01-01 UTC; a time without a zone is taken as UTC.

    Args:
        cells: as `cells_of` returns them.
        missing: the texts that stand for a missing value.
        form: the format of texts, as `datetime.strptime` takes it; empty for ISO 8601.

    Returns:
        The seconds and where a value cannot be read, as `read_numbers` returns them.
    """
    if cells.dtype.kind == "M":
        is_missing = np.isnat(cells)
        seconds = cells.astype("datetime64[us]").astype(np.int64) / 1e6
        seconds[is_missing] = np.nan
        return seconds, np.zeros(len(cells), bool)
    return _read_objects(cells.astype(object), missing, functools.partial(_read_date, form=form))


def _read_objects(cells: Array, missing: frozenset[str], read: Callable[[Any], float | None]) -> tuple[Array, Array]:
    known: dict[Any, float | None] = {}
    results: list[float | None] = []
    for cell in cells.tolist():
        if isinstance(cell, str):
            if cell not in known:
                known[cell] = math.nan if cell in missing else read(cell)
            results.append(known[cell])
        else:
            results.append(math.nan if is_missing_value(cell) else read(cell))
    is_bad = np.fromiter((result is None for result in results), bool, len(results))
    return np.array([math.nan if result is None else result for result in results], np.float64), is_bad


def _read_number(cell: Any, decimal: Decimal) -> float | None:
    """Return a number, or None if the cell is not a finite number of at most 1e30."""
    if isinstance(cell, str):
        number = parse_number(cell, decimal)
    else:
        try:
            number = float(cell) if isinstance(cell, Real | np.bool_ | decimals.Decimal) else None
        except OverflowError:  # an integer of hundreds of digits
            return None
    return number if number is not None and abs(number) <= LARGEST_CELL else None


@functools.cache
def _number_pattern(decimal: Decimal) -> re.Pattern[str]:
    mark, other = (r"\.", ",") if decimal == "." else (",", r"\.")
    plain = r"[0-9]+"
    # Groups of two digits are Indian: 12,34,567.
    grouped = "|".join(rf"[0-9]{{1,3}}(?:{sep}[0-9]{{2,3}})*{sep}[0-9]{{3}}" for sep in (other, f"[{SPACES}]", "['’]"))
    return re.compile(rf"([+-]?)((?:{grouped}|{plain})?)(?:{mark}([0-9]*))?(?:[eE]([+-]?[0-9]+))?")


def parse_number(text: str, decimal: Decimal = ".") -> float | None:
    """Return the finite number that a text states, as `read_numbers` describes it, or None."""
    if decimal == "." and "_" not in text:  # Python allows it between digits
        try:
            number = float(text)
        except ValueError:
            pass
        else:
            return number if math.isfinite(number) else None
    text = text.strip().translate(MINUS)
    is_negative = text.startswith("(") and text.endswith(")") and len(text) > 2
    if is_negative:
        text = text[1:-1].strip()
    sign = text[:1] if text[:1] in "+-" else ""
    text = _without_unit(text[len(sign) :])
    inner = text[:1] if text[:1] in "+-" else ""
    if (sign and inner) or (is_negative and (sign or inner)):
        return None
    match = _number_pattern(decimal).fullmatch(text)
    if match is None or not (match[2] or match[3]):
        return None
    whole = re.sub(r"[^0-9]", "", match[2])
    number = float(f"{whole or 0}.{match[3] or 0}e{match[4] or 0}")
    return -number if is_negative or "-" in (sign, match[1]) else number


def _without_unit(text: str) -> str:
    """Return the text without a currency sign before it or after it, or a percent sign after it."""
    text = text.strip()
    if text and unicodedata.category(text[0]) == "Sc":
        return text[1:].strip()
    if text and (text[-1] == "%" or unicodedata.category(text[-1]) == "Sc"):
        return text[:-1].strip()
    return text


def _read_date(cell: Any, form: str) -> float | None:
    if isinstance(cell, np.datetime64):
        return float(cell.astype("datetime64[us]").astype(np.int64) / 1e6)
    if isinstance(cell, date):
        moment = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day)
    else:
        # A date such as 20240131 is read as a number by most readers of tables.
        text = text_of(cell)
        try:
            moment = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
        except ValueError:
            return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - EPOCH).total_seconds()


def text_of(cell: Any) -> str:
    """Return the text of a cell as a level of a category: that of a text as it is, of anything else as Python has it.

    A number that is whole, such as 2.0, becomes `2`, because a column of whole numbers with missing values is often
    read as floats.
    """
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


def sort_texts(texts: Iterable[str]) -> list[str]:
    """Return texts in ascending order: by their numbers if all of them are numbers, so that 10 comes after 9."""
    texts = list(texts)
    numbers = [parse_number(text) for text in texts]
    if any(number is None for number in numbers):
        return sorted(texts)
    return [text for _, text in sorted(zip(numbers, texts, strict=True))]
