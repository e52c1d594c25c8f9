"""The report on a data set: what was detected in its file, and what becomes of each column."""

from __future__ import annotations

from dataclasses import dataclass

from mlp.records import AbstractRecord, number

OTHER_USES = ("to predict", "group", "weight")


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
        warning: what a user should know about it, in one or more sentences; empty if there is nothing.
    """

    name: str
    type: str
    missing: int = number(0, at_least=0)
    distinct: int = number(0, at_least=0)
    values: str = ""
    use: str = "input"
    warning: str = ""

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
        """The notices, and the warnings of the columns, each of which names its column."""
        return (*self.notices, *(f'column "{c.name}": {c.warning}' for c in self.columns if c.warning))
