"""The report on a table: a line for each column, and the number of examples of each class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlp.columns import Column, Schema
from mlp.data import Dataset
from mlp.data_config import DataConfig
from studies.data.column_checks import drop_useless, note_doubtful_values
from studies.data.column_levels import make_column
from studies.data.column_types import ColumnFacts, check_names, find_types
from studies.data.data_report import ColumnReport, DataReport
from studies.data.table import Table
from studies.data.target_columns import Targets


def report_columns(
    table: Table, found: list[ColumnFacts], targets: Targets, schema: Schema, config: DataConfig
) -> tuple[ColumnReport, ...]:
    """Return the reports on all columns, in the order of the file."""
    reports = {report.name: report for report in targets.reports}
    columns = {column.name: column for column in schema.columns}
    reports |= {facts.name: _report_column(facts, columns.get(facts.name)) for facts in found}
    for use, names in (("dropped: data.drop", config.drop), ("group", (config.group,)), ("weight", (config.weight,))):
        reports |= {name: ColumnReport(name, "", use=use) for name in names if name and name not in reports}
    return tuple(reports[name] for name in table.names)


def _report_column(facts: ColumnFacts, column: Column | None) -> ColumnReport:
    use = f"dropped: {facts.drop}" if column is None else _describe_use(column, facts)
    sizes = (facts.n_missing, facts.n_distinct)
    return ColumnReport(facts.name, facts.type, *sizes, facts.values, use, tuple(facts.notes), *facts.written)


def _describe_use(column: Column, facts: ColumnFacts) -> str:
    """Return what an input becomes."""
    indicator = ", is missing" if facts.n_missing else ""
    if column.kind == "number":
        return f"scaled{indicator}"
    if column.kind == "date":
        return f"days, year, month, weekday, hour if it varies{indicator}"
    if len(column.levels) == 2:
        return "one input, -1 or 1"
    return f"{len(column.levels)} levels, one input each{indicator}"


def count_classes(dataset: Dataset) -> tuple[str, ...]:
    """Return the number of training examples of each class, as `name (n)`; empty if there are no classes."""
    if dataset.task != "classes":
        return ()
    counts = np.bincount(dataset.targets, minlength=len(dataset.classes)).tolist()
    return tuple(f"{name} ({n:,})" for name, n in zip(dataset.classes, counts, strict=True))


def describe_table(table: Table, config: DataConfig) -> DataReport:
    """Return the report on a table of which it is not decided yet what is predicted: all columns are inputs.

    Raises:
        ConfigError: if a column cannot be read; the message names the line.
    """
    check_names(table, replace(config, target="label"))
    found = find_types(table, [name for name in table.names if name not in config.drop], config)
    note_doubtful_values(found)
    drop_useless(found)
    columns = {f.name: make_column(f, np.arange(len(table))) for f in found if f.kind is not None}
    reports = {facts.name: _report_column(facts, columns.get(facts.name)) for facts in found}
    reports |= {name: ColumnReport(name, "", use="dropped: data.drop") for name in config.drop}
    task = "not known, because no column to predict is chosen"
    ordered = tuple(reports[name] for name in table.names)
    return DataReport(table.reading, task, ordered, table.notices, n_train=len(table))
