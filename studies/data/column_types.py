"""What each column of a table is: a number, a category or a date, and whether it is of any use as an input.

`studies.data.column_rules` says how that is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mlp.arrays import Array
from mlp.cells import LARGEST_CELL, Decimal, text_of
from mlp.columns import Column, Kind
from mlp.data_config import DataConfig
from mlp.errors import ConfigError, did_you_mean, shortened, shown
from studies.data.table_cells import (
    Distinct,
    distinct_texts,
    missing_words,
    plain_numbers,
    read_column,
    shown_cell,
    texts_of,
)
from studies.data.text_formats import (
    COMPACT,
    are_compact_dates,
    find_date_format,
    find_date_mixture,
    find_mixed_units,
    find_number_form,
    numbers_of,
    spread,
    vote_for_decimal,
)

if TYPE_CHECKING:
    import pyarrow

    from studies.data.table import Table

BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"on", "off"})
MOSTLY_NUMBERS = 0.8  # the share of rows from which on other cells are refused
MANY_NUMBERS = 20  # distinct numbers from which on a column is not a category such as 0, 1, 2, 3+
MIN_NAMES = 10  # rows from which on texts that are all different are names
MAX_TEXT_LEVELS = 50  # levels that a category may have although most of its texts are different
MAX_LEVELS = 10_000  # more are free text, unless data.categorical asks for them
N_EXAMPLES = 3


@dataclass(eq=False)
class ColumnFacts:
    """What one column is found to be.

    Attributes:
        name: the name of the column.
        kind: what its cells are; None if it is no input.
        type: what it is called.
        decimal: the decimal mark of numbers.
        form: the format of dates.
        cells: the cells of a number or a date, float64 of shape (n,).
        distinct: the distinct texts of any other column.
        n_missing: the number of rows without a value.
        n_distinct: the number of distinct values.
        integer: whether all numbers are whole.
        is_asked_for: whether the configuration asks for the column.
        values: the range of the values, or examples.
        drop: why it is no input; empty if it is one.
        notes: sentences for the user.
        written: how numbers are written, if not plainly, and an example.
    """

    name: str
    kind: Kind | None = None
    type: str = "empty"
    decimal: Decimal = "."
    form: str = ""
    cells: Array | None = None
    distinct: Distinct | None = None
    n_missing: int = 0
    n_distinct: int = 0
    integer: bool = False
    is_asked_for: bool = False
    values: str = ""
    drop: str = ""
    notes: list[str] = field(default_factory=list)
    written: tuple[str, str] = ("", "")


def find_types(table: Table, names: list[str], config: DataConfig) -> list[ColumnFacts]:
    """Return what some columns of a table are.

    Args:
        table: the table.
        names: the columns.
        config: what the user has decided.

    Raises:
        ConfigError: if a cell cannot be read as what the column is; the message names the line and what to do.
    """
    missing = missing_words(config)
    found = [_find_type(table, name, config, missing) for name in names]
    if config.decimal == "auto":
        _settle_decimals(table, found, missing)
    return found


def check_names(table: Table, config: DataConfig) -> None:
    """Refuse a configuration that names a column which the table does not have.

    Raises:
        ConfigError: naming the field, with the most similar column.
    """
    named = {"drop": config.drop, "categorical": config.categorical, "numeric": config.numeric}
    named |= {name: (value,) for name in ("group", "order", "weight") if (value := getattr(config, name))}
    for path, names in named.items():
        for name in names:
            if name not in table.columns:
                problem = f'{table.file}: there is no column "{name}".{did_you_mean(name, table.names)}'
                raise ConfigError(f"{problem} {table.list_columns()}", path=path)


def _find_type(table: Table, name: str, config: DataConfig, missing: frozenset[str]) -> ColumnFacts:
    values = texts_of(table.columns[name])
    facts = ColumnFacts(name, is_asked_for=name in (*config.categorical, *config.numeric))
    if values is None:
        return _of_typed(table, facts, config, missing)
    if name not in config.categorical and not (name not in config.numeric and _has_leading_zeros(values)):
        numbers = plain_numbers(values, missing) if config.decimal != "," else None
        if numbers is not None and not np.isnan(numbers).all():
            return _of_numbers(table, facts, numbers, missing)
    facts.distinct = distinct = distinct_texts(values, missing)
    facts.n_missing, facts.n_distinct = distinct.n_missing, len(distinct.texts)
    if not facts.n_distinct:
        facts.drop = "empty"
        return facts
    if distinct.n_padded:
        facts.notes.append(f"blanks around the text are removed in {distinct.n_padded:,} rows")
    if name in config.categorical:
        return _of_levels(facts)
    if name in config.numeric:
        facts.decimal = _decimal(distinct, config)
        return _of_text_numbers(table, facts, missing)
    return _find_text_type(table, facts, config, missing)


def _find_text_type(table: Table, facts: ColumnFacts, config: DataConfig, missing: frozenset[str]) -> ColumnFacts:
    distinct = facts.distinct
    assert distinct is not None
    texts: list[str] = distinct.texts.tolist()
    if any(_is_padded_code(text) for text in texts) and all(text.isdigit() for text in texts):
        facts.notes.append("leading zeros make it a code, not a number")
        return _of_levels(facts, may_be_text=True)
    sample = spread(texts)
    decimal = _decimal(distinct, config)
    if not np.isnan(numbers_of(sample, decimal)).all():
        is_number = ~np.isnan(numbers_of(texts, decimal))
        if is_number.all():
            facts.decimal = decimal
            return _of_text_numbers(table, facts, missing)
        _check_mostly_numbers(table, facts, is_number)
    other: Decimal = "." if decimal == "," else ","
    if config.decimal != "auto" and not np.isnan(numbers_of(texts, other)).any():
        facts.notes.append(
            f'{shown(texts[0])} is no number because data.decimal = "{decimal}"; "auto" decides for each column'
        )
    if any({text.casefold() for text in texts} == pair for pair in BOOLEANS) and len(texts) == 2:
        return replace(_of_levels(facts), type="boolean")
    if (date := find_date_format(texts)) is not None:
        facts.form = date.form
        facts.notes += [date.doubt] * bool(date.doubt)
        return _of_dates(table, facts, missing)
    if mixture := find_date_mixture(texts):
        facts.notes.append(mixture)
    return _of_levels(facts, may_be_text=True)


def _decimal(distinct: Distinct, config: DataConfig) -> Decimal:
    """Return the decimal mark of a column that is read alone."""
    if config.decimal != "auto":
        return config.decimal
    n_point, n_comma = vote_for_decimal(spread(distinct.texts.tolist()))
    return "," if n_comma > n_point else "."


def _settle_decimals(table: Table, found: list[ColumnFacts], missing: frozenset[str]) -> None:
    """Read numbers such as 1.234 by the decimal mark of the other columns, if they can be read either way."""
    marks = {facts.decimal for facts in found if facts.kind == "number" and _votes(facts)}
    for facts in found:
        if facts.kind != "number" or facts.distinct is None or _votes(facts):
            continue
        texts = [text for text in spread(facts.distinct.texts.tolist()) if "," in text or "." in text]
        if not texts:
            continue
        if marks == {","} and not np.isnan(numbers_of(facts.distinct.texts.tolist(), ",")).any():
            facts.decimal = ","
            _of_text_numbers(table, facts, missing)
        reading = numbers_of(texts[:1], facts.decimal)[0]
        if not marks:
            facts.notes.append(f'{texts[0]} is read as {reading:.12g}; data.decimal = "," or "." decides')


def _votes(facts: ColumnFacts) -> bool:
    """Return whether the texts of a column of numbers have one possible decimal mark."""
    if facts.distinct is None:
        return bool(facts.cells is not None and not facts.integer)
    n_point, n_comma = vote_for_decimal(spread(facts.distinct.texts.tolist()))
    return n_point != n_comma


def _of_typed(table: Table, facts: ColumnFacts, config: DataConfig, missing: frozenset[str]) -> ColumnFacts:
    """Return what a column of a typed file is: its type decides, unless the configuration does."""
    import pyarrow.types as types

    kind = table.columns[facts.name].type
    is_date = types.is_date(kind) or types.is_timestamp(kind)
    if facts.name not in config.categorical and not types.is_boolean(kind):
        values = table.values(facts.name)
        if is_date:
            return _of_dates(table, facts, missing)
        numbers, is_bad = Column(facts.name, "number").try_parse(values, missing)
        numbers[is_bad] = np.inf
        if np.isnan(numbers).all():
            facts.n_missing, facts.drop = len(table), "empty"
            return facts
        return _of_numbers(table, facts, numbers, missing)
    texts: dict[str, int] = {}
    present = [None if value is None or value != value else text_of(value) for value in table.values(facts.name)]
    codes = [-1 if text is None or text in missing else texts.setdefault(text, len(texts)) for text in present]
    facts.distinct = Distinct(np.fromiter(texts, object, len(texts)), np.array(codes, np.int64), 0)
    facts.n_missing, facts.n_distinct = facts.distinct.n_missing, len(texts)
    if not texts:
        facts.drop = "empty"
        return facts
    return replace(_of_levels(facts), type="boolean" if types.is_boolean(kind) else "category")


def _of_numbers(table: Table, facts: ColumnFacts, numbers: Array, missing: frozenset[str]) -> ColumnFacts:
    """Return a column of numbers; an unreadable text is infinite among them."""
    present = numbers[~np.isnan(numbers)]
    facts.integer = bool((present == np.floor(present)).all())
    is_code = not table.has_types and not facts.is_asked_for
    if facts.integer and is_code and are_compact_dates(present):
        facts.form = COMPACT
        return _of_dates(table, facts, missing)
    facts.cells, is_bad = Column(facts.name, "number").try_parse(numbers, missing)
    if is_bad.any():
        row = int(is_bad.argmax())
        problem = f"{shown_cell(table, facts.name, row)} is not a number of at most {LARGEST_CELL:g}"
        advice = "Correct it, or list it in data.missing if it means a missing value."
        raise table.error(f"{problem}. {advice}", facts.name, row)
    facts.kind, facts.type = "number", "number"
    present = facts.cells[~np.isnan(facts.cells)]
    facts.n_missing, facts.n_distinct = len(facts.cells) - len(present), len(np.unique(present))
    if len(present):
        facts.values = f"{present.min():.6g} to {present.max():.6g}"
    else:
        facts.kind, facts.drop = None, "empty"
    return facts


def _of_text_numbers(table: Table, facts: ColumnFacts, missing: frozenset[str]) -> ColumnFacts:
    assert facts.distinct is not None
    numbers = numbers_of(facts.distinct.texts.tolist(), facts.decimal)
    texts: list[str] = facts.distinct.texts.tolist()
    _of_numbers(table, facts, facts.distinct.take(np.where(np.isnan(numbers), np.inf, numbers)), missing)
    if facts.kind == "number":
        facts.written = find_number_form(texts, facts.decimal)
        doubt = find_mixed_units(texts)
        facts.notes += [doubt] if doubt and doubt not in facts.notes else []
    return facts


def _of_dates(table: Table, facts: ColumnFacts, missing: frozenset[str]) -> ColumnFacts:
    facts.cells = read_column(table, Column(facts.name, "date", format=facts.form), missing)
    present = facts.cells[~np.isnan(facts.cells)]
    facts.kind, facts.type = "date", "date"
    facts.n_missing, facts.n_distinct = len(facts.cells) - len(present), len(np.unique(present))
    if not len(present):
        facts.kind, facts.drop = None, "empty"
        return facts
    ends = np.array([present.min(), present.max()]).astype("datetime64[s]").astype(str)
    form = f" ({facts.form})" if facts.form else ""
    facts.values = f"{_short_date(ends[0])} to {_short_date(ends[1])}{form}"
    return facts


def _of_levels(facts: ColumnFacts, *, may_be_text: bool = False) -> ColumnFacts:
    assert facts.distinct is not None
    n_levels, n_present = facts.n_distinct, len(facts.distinct.codes) - facts.n_missing
    most = np.argsort(-facts.distinct.counts, kind="stable")[:N_EXAMPLES]
    examples = [shortened(facts.distinct.texts[at], 20) for at in most]
    facts.values = ", ".join(examples) + (", ..." if n_levels > len(examples) else "")
    facts.kind, facts.type = "category", "category"
    if not may_be_text:
        return facts
    name = shown(facts.name).replace("'", '"')
    if n_levels == n_present >= MIN_NAMES:
        facts.kind, facts.type, facts.drop = None, "text", "identifier"
        facts.notes.append(f"every text is different; to use it, set data.categorical = [{name}]")
    elif n_levels > MAX_LEVELS or (n_levels > MAX_TEXT_LEVELS and n_levels > n_present / 2):
        facts.kind, facts.type, facts.drop = None, "text", "free text"
        facts.notes.append(f"{n_levels:,} different texts; to use it, set data.categorical = [{name}]")
    return facts


def _check_mostly_numbers(table: Table, facts: ColumnFacts, is_number: Array) -> None:
    """Refuse a column of numbers in which a few cells are words, and warn about one in which many are."""
    distinct = facts.distinct
    assert distinct is not None
    if is_number.sum() <= MANY_NUMBERS:
        return
    n_words = int(distinct.counts[~is_number].sum())
    n_present = len(distinct.codes) - distinct.n_missing
    words = distinct.texts[~is_number].tolist()
    name = shortened(facts.name)
    if n_words > (1.0 - MOSTLY_NUMBERS) * n_present:
        share = f"{n_present - n_words:,} of {n_present:,} cells are numbers, others are not, such as {shown(words[0])}"
        facts.notes.append(f'{share}; if it means a missing value, set data.missing = ["", {_quoted(words[0])}]')
        return
    others = f", nor are {n_words - 1:,} other cells" if n_words > 1 else ""
    problem = f"{_quoted(words[0])} is not a number{others}. Correct it, or"
    problem += f' list it in data.missing = ["", {_quoted(words[0])}] if it means a missing value, or'
    problem += f' treat the column as categories with data.categorical = ["{name}"].'
    raise table.error(problem, facts.name, distinct.first_row(int((~is_number).argmax())))


def _quoted(text: str) -> str:
    return f'"{shortened(text)}"'


def _has_leading_zeros(values: pyarrow.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(values, r"^\s*0[0-9]+\s*$")).as_py())


def _is_padded_code(text: str) -> bool:
    return len(text) > 1 and text[0] == "0" and text.isdigit()


def _short_date(text: str) -> str:
    return text.removesuffix("T00:00:00").replace("T", " ")
