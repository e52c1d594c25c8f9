"""The plan of a training on a table, in a few lines: task, classes, inputs, rows in each part, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlp.data import Split
from mlp.errors import escaped, listed, shortened
from studies.data.data_report import DataReport

MAX_WARNINGS = 8


@dataclass(frozen=True)
class DataPlan:
    """What is learnt from a data set.

    Attributes:
        lines: what is learnt from a file of columns, a few lines; empty for published data sets.
        warnings: what to know about the columns and about the parts, one sentence each.
    """

    lines: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, report: DataReport | None, splits: Sequence[Split], namesakes: Sequence[str] = ()) -> DataPlan:
        """Return the plan for a data set.

        Args:
            report: the report on its file; None for a published data set.
            splits: its splits: one, or one for each fold.
            namesakes: a sentence for each file of the data that has a namesake.
        """
        gaps = tuple(dict.fromkeys(gap for split in splits for gap in split.find_gaps()))
        if report is None:
            return cls((), (*namesakes, *gaps))
        return cls(_lines(report, splits[0]), (*namesakes, *_warnings(report), *gaps))


def _lines(report: DataReport, split: Split) -> tuple[str, ...]:
    used = [column for column in report.columns if column.is_input]
    dropped = [f"{shortened(column.name)} ({column.use.removeprefix('dropped: ')})" for column in report.dropped]
    n_validation = len(split.validation) if split.validation else 0
    columns = "1 column" if len(used) == 1 else f"{len(used):,} columns"
    without = f"; dropped: {listed(dropped)}" if dropped else ""
    lines = (
        f"data     {report.reading}",
        *(f"numbers  {form}" for form in report.forms),
        f"task     {report.task}",
        *([f"classes  {len(report.classes)}: {listed(report.classes)}"] if report.classes else []),
        f"inputs   {split.n_features:,} from {columns}{without}",
        f"rows     {len(split.train):,} training, {n_validation:,} validation, {report.n_test:,} test",
    )
    return tuple(map(escaped, lines))  # the name of a class may contain the end of a line


def _warnings(report: DataReport) -> list[str]:
    """Return the warnings about the columns, at most the first few."""
    found = [escaped(sentence.rstrip(".") + ".") for sentence in report.warnings]
    more = len(found) - MAX_WARNINGS
    return found if more <= 0 else [*found[:MAX_WARNINGS], f"{more} more warnings are shown by: studies data FILE"]
