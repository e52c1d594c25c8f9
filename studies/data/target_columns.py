"""The columns to predict: the task, the names of the classes as in the file, and the targets of each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array
from mlp.cells import parse_number, sort_texts
from mlp.columns import UNSEEN, Column
from mlp.data_config import DataConfig
from mlp.errors import ConfigError, did_you_mean, listed, shortened, shown
from mlp.losses import Task
from studies.data.column_checks import note_doubtful_values
from studies.data.column_types import ColumnFacts, find_types
from studies.data.data_report import ColumnReport
from studies.data.table import Table
from studies.data.table_cells import missing_words, read_column, shown_cell, texts_of

MAX_CLASSES = 1000
FEW_WHOLE_NUMBERS = 20  # distinct whole numbers up to which `task = "auto"` takes them for classes
ROWS_PER_CLASS = 2  # with fewer rows than that per distinct whole number, they are values
TASK_ADVICE = "data.task decides otherwise."


@dataclass(frozen=True, eq=False)
class Targets:
    """The columns to predict.

    Attributes:
        task: what is predicted.
        names: the names of the classes, as in the file, or of the labels or values.
        columns: how the column is read in any file: one category for classes, otherwise one number per column.
        values: the targets of each row, as in `mlp.data.Examples`; rows that are not known contain zeros.
        is_known: whether all targets of each row are there, shape (n,).
        sentence: what the task is and why, for the user.
        notices: other sentences for the user.
        reports: what was found in each column.
    """

    task: Task
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    values: Array
    is_known: Array
    sentence: str
    notices: tuple[str, ...]
    reports: tuple[ColumnReport, ...]


def find_targets(table: Table, config: DataConfig) -> Targets:
    """Return the targets of the training file, and decide the task.

    Raises:
        ConfigError: if a column is missing, or its values do not fit the task.
    """
    check_target_columns(table, config.targets)
    found = find_types(table, list(config.targets), config)
    note_doubtful_values(found)
    for facts in found:
        if (facts.distinct is not None and not facts.n_distinct) or facts.drop == "empty":
            raise table.error("must have a value in some row, because it is to be predicted.", facts.name)
    task, reason = _find_task(table, found, config)
    for facts in found:
        if task == "values" and facts.kind == "number" and facts.n_distinct == 1:
            raise table.error(
                f"must have at least two different values, got {facts.values.split()[0]} in every row.", facts.name
            )
    columns = _columns(table, found, task, config)
    values, is_known = read_targets(table, columns, task, missing_words(config))
    names = columns[0].levels if task == "classes" else config.targets
    notices = []
    if n_missing := int((~is_known).sum()):
        rows = "row has" if n_missing == 1 else "rows have"
        notices.append(f"{n_missing:,} {rows} no target and {'is' if n_missing == 1 else 'are'} left out.")
    if task == "classes":
        counts = np.bincount(values[is_known], minlength=len(names))
        if single := [name for name, n in zip(names, counts.tolist(), strict=True) if n == 1]:
            of = f"class {shortened(single[0])} has" if len(single) == 1 else f"{len(single)} classes have"
            notices.append(f"{of} only one example: to learn from, to validate, or to test.")
    reports = tuple(_report(facts, task) for facts in found)
    sentence = f"{task}, because {reason}"
    return Targets(task, tuple(names), columns, values, is_known, sentence, tuple(notices), reports)


def _report(facts: ColumnFacts, task: Task) -> ColumnReport:
    kind = {"classes": "class", "labels": "label", "values": "value"}[task]
    written = facts.written if task != "classes" else ("", "")
    sizes = (facts.n_missing, facts.n_distinct)
    return ColumnReport(facts.name, kind, *sizes, facts.values, "to predict", tuple(facts.notes), *written)


def check_target_columns(table: Table, names: tuple[str, ...], advice: str = "Set data.target to it.") -> None:
    """Refuse a table without a column to predict.

    Args:
        table: the table.
        names: the columns to predict.
        advice: how to name another column.

    Raises:
        ConfigError: with the most similar name and all columns.
    """
    for name in names:
        if name not in table.columns:
            problem = f'there is no column "{name}" to predict.{did_you_mean(name, table.names)}'
            raise ConfigError(f"{table.file}: {problem} {advice} {table.list_columns()}")


def _find_task(table: Table, found: list[ColumnFacts], config: DataConfig) -> tuple[Task, str]:
    """Return the task, and the reason as the end of a sentence."""
    if config.task != "auto":
        if config.task == "classes" and len(found) > 1:
            raise ConfigError(f"must name one column to predict classes, got {len(found)}.", path="target")
        return config.task, "the configuration says so."
    if len(found) > 1:
        is_binary = all(f.cells is not None and set(np.unique(f.cells).tolist()) <= {0.0, 1.0} for f in found)
        if is_binary:
            return "labels", f"data.target names {len(found)} columns of 0 and 1. {TASK_ADVICE}"
        return "values", f"data.target names {len(found)} columns. {TASK_ADVICE}"
    facts = found[0]
    name = shortened(facts.name)
    if facts.kind == "date":
        raise table.error("must contain classes or numbers to be predicted, got dates.", facts.name)
    if facts.kind != "number":
        return "classes", f'column "{name}" contains texts.'
    if not facts.integer:
        return "values", f'column "{name}" contains fractions. {TASK_ADVICE}'
    n = len(table) - facts.n_missing
    how_many = f'column "{name}" contains {facts.n_distinct:,} different whole numbers'
    if facts.n_distinct <= FEW_WHOLE_NUMBERS and facts.n_distinct * ROWS_PER_CLASS <= n:
        return "classes", f"{how_many}. {TASK_ADVICE}"
    return "values", f"{how_many}, too many for classes. {TASK_ADVICE}"


def _columns(table: Table, found: list[ColumnFacts], task: Task, config: DataConfig) -> tuple[Column, ...]:
    if task == "classes":
        return (_class_column(table, found[0], config),)
    columns = []
    for facts in found:
        if facts.kind != "number":
            example = "" if facts.distinct is None else f", got {shown(facts.distinct.texts[0])}"
            problem = f"must contain numbers, because its {task} are predicted{example}."
            raise table.error(f'{problem} To predict classes, set data.task = "classes".', facts.name)
        columns.append(Column(facts.name, "number", decimal=facts.decimal, integer=facts.integer))
    return tuple(columns)


def _class_column(table: Table, facts: ColumnFacts, config: DataConfig) -> Column:
    """Return the column of the classes: their texts as in the file, in ascending order, the positive one last."""
    values = texts_of(table.columns[facts.name])
    if facts.distinct is None and values is not None:
        from studies.data.table_cells import distinct_texts

        texts = distinct_texts(values, missing_words(config)).texts.tolist()
    elif facts.distinct is None:
        texts = list(Column.of_category(facts.name, table.values(facts.name), missing_words(config)).levels)
    else:
        texts = facts.distinct.texts.tolist()
    if facts.kind == "number":
        by_number: dict[float | None, str] = {}
        for text in texts:  # 1 and 1.0 are the same class if all classes are numbers
            by_number.setdefault(parse_number(text, facts.decimal), text)
        texts = list(by_number.values())
    levels = sort_texts(texts)
    if len(levels) < 2:
        raise table.error(f"must have at least two classes, got {shortened(levels[0])} in every row.", facts.name)
    if len(levels) > MAX_CLASSES:
        problem = f"has {len(levels):,} distinct values, at most {MAX_CLASSES} can be classes."
        raise table.error(f'{problem} To predict numbers, set data.task = "values".', facts.name)
    if config.positive:
        if len(levels) != 2 or config.positive not in levels:
            known = listed(levels)
            raise ConfigError(f'must be one of two classes, got "{config.positive}" of {known}.', path="positive")
        levels.sort(key=lambda level: level == config.positive)
    return Column(facts.name, "category", levels=tuple(levels))


def read_targets(table: Table, columns: tuple[Column, ...], task: Task, missing: frozenset[str]) -> tuple[Array, Array]:
    """Return the targets of a table, and whether those of each row are known.

    Args:
        table: the table.
        columns: how to read the columns to predict.
        task: what is predicted.
        missing: the texts that mean a missing value.

    Returns:
        The targets as in `mlp.data.Examples`, zeros where they are not known; and a mask of shape (n,).

    Raises:
        ConfigError: if a cell is a class that the columns do not have, or is not a number; the message names the line.
    """
    if task == "classes":
        codes = read_column(table, columns[0], missing)
        if (codes == UNSEEN).any():
            row = int((codes == UNSEEN).argmax())
            text, known = shown_cell(table, columns[0].name, row), listed(columns[0].levels)
            raise table.error(f"{text} is not one of the classes of the model: {known}.", columns[0].name, row)
        is_known = ~np.isnan(codes)
        return np.where(is_known, codes, 0).astype(np.int64), is_known
    advice = "Correct it, or leave the cell empty if the value is not known."
    cells = np.column_stack([read_column(table, column, missing, advice) for column in columns])
    is_known = ~np.isnan(cells).any(axis=1)
    values = np.where(is_known[:, None], cells, 0.0)
    if task == "values":
        return values, is_known
    is_bad = (values != 0) & (values != 1)
    if is_bad.any():
        row, at = np.argwhere(is_bad)[0].tolist()
        raise table.error(f"must be 0 or 1, because it is a label, got {values[row, at]:g}.", columns[at].name, row)
    return values.astype(np.uint8), is_known
