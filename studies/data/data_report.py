"""The report on a data set: what was detected in its file, and what becomes of each column."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlp.errors import shortened, shown
from mlp.records import AbstractRecord, number

OTHER_USES = ("to predict", "group", "weight")
N_SHOWN = 3  # columns that a line about several columns names


@dataclass(frozen=True)
class ColumnReport(AbstractRecord):
    """What was found in one column.

    Attributes:
        name: the name of the column.
        type: `number`, `boolean`, `category`, `date`, `text` or `empty`.
        missing: the number of rows without a value.
        distinct: the number of distinct values.
        values: the range of the values, or examples.
        use: what becomes of the column, such as `input` or `dropped: constant`.
        warnings: what a user should know about it, one sentence each.
        form: how numbers are written, if not plainly, such as `a decimal comma and percent signs`.
        example: a number as it is written in this form.
    """

    name: str
    type: str
    missing: int = number(0, at_least=0)
    distinct: int = number(0, at_least=0)
    values: str = ""
    use: str = "input"
    warnings: tuple[str, ...] = ()
    form: str = ""
    example: str = ""

    @property
    def is_dropped(self) -> bool:
        """Whether the column is not used."""
        return self.use.startswith("dropped")

    @property
    def is_input(self) -> bool:
        """Whether the network has inputs from the column."""
        return not self.is_dropped and self.use not in OTHER_USES


@dataclass(frozen=True)
class DataReport(AbstractRecord):
    """What was found in a file.

    Attributes:
        reading: how the file was read, in one line.
        task: what is predicted, and why, in one sentence.
        columns: what was found in each column.
        notices: other sentences that a user should read.
        classes: the number of training examples of each class, as `name (n)`; empty unless classes are predicted.
        n_train: the number of training examples, including those of a validation file.
        n_validation: the number of examples in the validation file; 0 if there is none.
        n_test: the number of examples in the test part.
    """

    reading: str
    task: str
    columns: tuple[ColumnReport, ...]
    notices: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    n_train: int = number(0, at_least=0)
    n_validation: int = number(0, at_least=0)
    n_test: int = number(0, at_least=0)

    @classmethod
    def error_name(cls) -> str:
        return "a data report"

    @property
    def is_decided(self) -> bool:
        """Whether the column to predict is chosen."""
        return any(column.use == OTHER_USES[0] for column in self.columns)

    @property
    def dropped(self) -> tuple[ColumnReport, ...]:
        """The columns that are not used."""
        return tuple(column for column in self.columns if column.is_dropped)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notices, and the warnings of the columns; those of the same kind are one sentence."""
        by_kind: dict[str, list[tuple[str, str]]] = {}
        for column in self.columns:
            for warning in column.warnings:
                by_kind.setdefault(_kind(warning), []).append((column.name, warning))
        return (*self.notices, *map(_fold, by_kind.values()))

    @property
    def forms(self) -> tuple[str, ...]:
        """How the numbers of columns are written, if not plainly, one sentence for each form."""
        by_form: dict[str, list[ColumnReport]] = {}
        for column in self.columns:
            if column.form:
                by_form.setdefault(column.form, []).append(column)
        return tuple(
            f"with {form}, such as {shown(columns[0].example)}, in {_named(column.name for column in columns)}"
            for form, columns in by_form.items()
        )


def _kind(warning: str) -> str:
    """Return what warnings of the same kind have in common: their words without numbers and quoted texts."""
    return re.sub(r"""(?<!\w)(?:"[^"]*"|'[^']*')|\S*\d\S*""", "", warning)


def _fold(warnings: list[tuple[str, str]]) -> str:
    """Return one sentence for warnings of the same kind, each with the name of its column."""
    (name, warning), others = warnings[0], [other for other, _ in warnings[1:]]
    sentence = f'column "{shortened(name)}": {warning}'
    return f"{sentence.rstrip('.')}; likewise {_named(others)}" if others else sentence


def _named(names: Iterable[str]) -> str:
    """Return how a sentence names one or more columns."""
    quoted = [f'"{shortened(name)}"' for name in names]
    if len(quoted) == 1:
        return f"column {quoted[0]}"
    more = ", ..." if len(quoted) > N_SHOWN else ""
    return f"{len(quoted):,} columns ({', '.join(quoted[:N_SHOWN])}{more})"
