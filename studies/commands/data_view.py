"""The report on a data set as a table for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlp.errors import escaped, listed, shortened
from studies.data.data_report import DataReport

MAX_COLUMNS = 200  # lines of the table
MAX_WARNINGS = 50


def data_view(report: DataReport) -> RenderableType:
    """Return what was found in a file: how it was read, one line per column, the task, the parts, and warnings."""
    table = Table(box=None, padding=(0, 2))
    for name in ("column", "type", "missing", "distinct", "values", "what becomes of it"):
        table.add_column(name, overflow="fold", justify="right" if name in ("missing", "distinct") else "left")
    for column in report.columns[:MAX_COLUMNS]:
        style = "dim" if column.is_dropped else ""
        counts = [f"{n:,}" if column.type else "" for n in (column.missing, column.distinct)]
        cells = (shortened(column.name, 40), column.type, *counts, column.values, column.use)
        table.add_row(*(Text(escaped(cell)) for cell in cells), style=style)
    lines: list[RenderableType] = [Text(report.reading), Text(), table, Text()]
    if (more := len(report.columns) - MAX_COLUMNS) > 0:
        lines.append(Text(f"{more:,} more columns are not shown."))
    lines += [Text(f"numbers  {form}") for form in report.forms]
    lines.append(Text(f"task     {report.task}"))
    if report.classes:
        lines.append(Text(escaped(f"classes  {len(report.classes)}: {listed(report.classes)}")))
    if report.is_decided:
        n_validation = f", {report.n_validation:,} validation" if report.n_validation else ""
        n_train = report.n_train - report.n_validation
        held = "" if report.n_validation else ", of which the validation part is taken"
        lines.append(Text(f"rows     {n_train:,} training{held}{n_validation}, {report.n_test:,} test"))
    lines += [
        Text(escaped(f"warning: {sentence.rstrip('.')}."), style="yellow")
        for sentence in report.warnings[:MAX_WARNINGS]
    ]
    if (more := len(report.warnings) - MAX_WARNINGS) > 0:
        lines.append(Text(f"{more:,} more warnings are not shown.", style="yellow"))
    return Group(*lines)
