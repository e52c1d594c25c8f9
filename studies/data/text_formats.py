"""How the texts of a column write numbers and dates: the decimal mark, and the format of dates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlp.arrays import Array
from mlp.cells import SPACES, Decimal, parse_number, read_dates
from mlp.errors import shortened, shown

N_SAMPLE = 2000  # distinct texts from which a format is decided, before all texts are read in it
# Formats besides ISO 8601 that are tried, in this order; the first that reads all texts is used.
_DAYS = (
    *("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y"),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%Y-%m", "%m/%Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
DATE_FORMATS = ("", *(f"{day}{time}" for day in _DAYS for time in _TIMES), "%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
COMPACT = "%Y%m%d"  # 20240131, which is a number too
_YEARS = (1900, 2100)
N_MIXED = 100  # distinct texts that are looked at one by one when no format reads all of them
MIN_DATES, MOSTLY_DATES = 5, 0.8  # how many of them, and which share, must be dates
_LIKE_A_DATE = re.compile(
    r"(?:[0-9]{1,4}|[A-Za-z]{3,9})[-./ ](?:[0-9]{1,2}|[A-Za-z]{3,9}),?[-./ ][0-9]{1,4}(?:[T ].*)?"
)
_STARTS_WITH_ZERO = re.compile(r"[^0-9]*0([.,])[0-9]")
_MONTH_FIRST = {"%d/%m/": "%m/%d/", "%d-%m-": "%m-%d-"}


def vote_for_decimal(texts: Sequence[str]) -> tuple[int, int]:
    """Return how many texts can only have a decimal point, and how many only a decimal comma.

    `1.234` and `1,234` vote for neither, because the mark may separate thousands. A number that starts with a zero, as
    `0,123` does, has no thousands.
    """
    n_point = n_comma = 0
    for text in texts:
        if "," not in text and "." not in text:
            continue
        is_point, is_comma = parse_number(text, ".") is not None, parse_number(text, ",") is not None
        if starts := _STARTS_WITH_ZERO.match(text):
            is_point, is_comma = is_point and starts[1] == ".", is_comma and starts[1] == ","
        n_point += is_point and not is_comma
        n_comma += is_comma and not is_point
    return n_point, n_comma


def numbers_of(texts: Sequence[str], decimal: Decimal) -> Array:
    """Return the numbers that texts state, float64 of shape (u,); NaN for a text that is not a number."""
    numbers = (parse_number(text, decimal) for text in texts)
    return np.array([np.nan if number is None else number for number in numbers], np.float64)


def find_number_form(texts: Sequence[str], decimal: Decimal) -> tuple[str, str]:
    """Return how texts write numbers, such as `a decimal comma and percent signs`, and one of them as an example.

    Args:
        texts: the texts, all of them numbers.
        decimal: the decimal mark.

    Returns:
        The form and the example; both are empty if every text is a plain number.
    """
    found: dict[str, str] = {}
    for text in texts:
        if not re.fullmatch(r"[+-]?[0-9.]*(?:[eE][+-]?[0-9]+)?", text) or (decimal == "," and "." in text):
            for form, is_written in _FORMS.items():
                if is_written(text, decimal):
                    found.setdefault(form, text)
    parts = list(found)
    if not parts:
        return "", ""
    return ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1], next(iter(found.values()))


def find_mixed_units(texts: Sequence[str]) -> str:
    """Return a sentence if some numbers have a unit that others do not have, because units do not change a number."""
    by_unit: dict[str, str] = {}
    for text in texts:
        unit = "".join(c for c in text if _is_unit(c))
        if unit or parse_number(text) != 0:  # zero is the same in every unit
            by_unit.setdefault(unit, text)
    if len(by_unit) < 2:
        return ""
    first, second = list(by_unit.values())[:2]
    return f"{first!r} and {second!r} are in different units, which are ignored"


def _is_unit(character: str) -> bool:
    return character == "%" or unicodedata.category(character) == "Sc"


def _has_thousands(text: str, decimal: Decimal) -> bool:
    return bool(re.search(rf"[0-9][{SPACES}'’{'.' if decimal == ',' else ','}][0-9]", text))


_FORMS: dict[str, Callable[[str, Decimal], bool]] = {
    "a decimal comma": lambda text, decimal: decimal == "," and "," in text,
    "thousands separators": _has_thousands,
    "percent signs": lambda text, _: "%" in text,
    "currency signs": lambda text, _: any(_is_unit(c) and c != "%" for c in text),
    "negative numbers in parentheses": lambda text, _: text.startswith("("),
}


@dataclass(frozen=True)
class DateFormat:
    """The format of the dates of a column.

    Attributes:
        form: the format, as `mlp.columns.Column` has it; empty for ISO 8601.
        doubt: a sentence if day and month could be exchanged as well; empty otherwise.
    """

    form: str
    doubt: str = ""


def find_date_format(texts: Sequence[str], order: Literal["file", "none"] = "file") -> DateFormat | None:
    """Return the format that reads all texts as dates, or None.

    If day and month can be exchanged, the order in which the dates ascend is taken, and otherwise month first.

    Args:
        texts: the distinct texts, in the order of the file.
        order: whether the order of the texts may decide.
    """
    sample = spread(texts)
    if not sample or not all(any(c.isdigit() for c in text) and len(text) <= 40 for text in sample):
        return None
    if all(text.isdigit() for text in sample):
        return DateFormat(COMPACT) if all(len(text) == 8 for text in sample) and _fits(COMPACT, texts) else None
    fitting = [form for form in DATE_FORMATS if _fits(form, sample[:20]) and _fits(form, texts)]
    if not fitting:
        return None
    form = fitting[0]
    pairs = [other for other in fitting[1:] if _exchanged(other) == form]
    if not pairs:
        return DateFormat(form)
    other = pairs[0]
    if order == "file" and _ascends(texts, other) and not _ascends(texts, form):
        return DateFormat(other)
    if order == "file" and _ascends(texts, form) and not _ascends(texts, other):
        return DateFormat(form)
    doubt = f"{texts[0]} may have the day or the month first; it is read with the month first ({form})"
    return DateFormat(form, f"{doubt}. If that is wrong, write the dates as 2024-01-31.")


def find_date_mixture(texts: Sequence[str]) -> str:
    """Return a sentence if most texts are dates, but no format reads all of them; otherwise an empty string.

    Args:
        texts: the distinct texts of a column for which `find_date_format` found nothing.
    """
    sample = spread(texts, N_MIXED)
    forms = [_find_form(text) for text in sample]
    found: dict[str | None, str] = {}
    for form, text in zip(forms, sample, strict=True):
        found.setdefault(form, text)
    n_dates = len(sample) - forms.count(None)
    if n_dates < MIN_DATES or n_dates < MOSTLY_DATES * len(sample):
        return ""
    if n_dates == len(sample):
        first, second = (*found.values(), sample[-1])[:2]
        return (
            f"{first!r} and {second!r} are dates in different formats, so that dates are read as texts; use one format"
        )
    other = found[None]
    advice = f'if it means a missing value, set data.missing = ["", "{shortened(other)}"]'
    return f"most texts are dates, others are not, such as {shown(other)}; {advice}"


def _find_form(text: str) -> str | None:
    """Return the first format that reads a text as a date with a year, or None."""
    if not _LIKE_A_DATE.fullmatch(text):
        return None
    return next((form for form in DATE_FORMATS if _fits(form, [text])), None)


def are_compact_dates(numbers: Array) -> bool:
    """Return whether whole numbers are dates such as 20240131, of the years 1900 to 2100."""
    years = numbers // 10_000
    if not len(numbers) or years.min() < _YEARS[0] or years.max() > _YEARS[1]:
        return False
    texts = [str(int(number)) for number in np.unique(numbers)]
    return len(texts) > 1 and _fits(COMPACT, texts)


def spread(texts: Sequence[str], n: int = N_SAMPLE) -> list[str]:
    """Return some of the texts, evenly spread: fewer than twice `n`."""
    step = max(1, len(texts) // n)
    return list(texts[::step])


def _fits(form: str, texts: Sequence[str]) -> bool:
    return not read_dates(np.fromiter(texts, object, len(texts)), frozenset(), form)[1].any()


def _exchanged(form: str) -> str:
    for day_first, month_first in _MONTH_FIRST.items():
        if form.startswith(day_first):
            return month_first + form[len(day_first) :]
    return ""


def _ascends(texts: Sequence[str], form: str) -> bool:
    seconds = read_dates(np.fromiter(texts, object, len(texts)), frozenset(), form)[0]
    steps = np.diff(seconds)
    return len(steps) > 1 and bool((steps >= 0).all() or (steps <= 0).all())
