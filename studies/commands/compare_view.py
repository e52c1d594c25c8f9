"""Trials next to each other as tables for a terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from studies.evidence.compare import INTERVAL_LEVEL, TrialComparison
from studies.records.durations import duration

N_EPOCHS = 7  # columns of the learning curves
N_SEEDS = 8  # that are suggested, as in a confirmation


def compare_view(comparison: TrialComparison) -> RenderableType:
    """Return the trials, the fields that differ, their learning curves and the known differences."""
    parts = [_trials(comparison), Text(), _fields(comparison), Text(), _curves(comparison), Text()]
    return Group(*parts, *(Text(line) for line in difference_lines(comparison)))


def difference_lines(comparison: TrialComparison) -> list[str]:
    """Return the differences that are known, one sentence each, and how to find out about the others."""
    first, *others = comparison.items
    lines, is_unknown = [], False
    for other, found in zip(others, comparison.differences, strict=True):
        if other.name == first.name:
            lines.append(f"{first.name} is given twice.")
            continue
        if found is None:
            is_unknown = True
            lines.append(
                f"{first.name} and {other.name} were not trained on the same seeds and splits. "
                "Single values may differ by chance."
            )
            continue
        low, high = found.interval(INTERVAL_LEVEL)
        better, worse, sign = (first, other, 1) if found.mean >= 0 else (other, first, -1)
        low, high = sorted((sign * low, sign * high))
        known = "" if low > 0 else " The difference may be chance."
        lines.append(
            f"{better.name} is better than {worse.name} by {sign * found.mean:.4f} on {found.n} fresh seeds and splits "
            f"(95 % interval of this pair alone: {low:.4f} to {high:.4f}).{known}"
        )
    for item in {item.name: item for item in comparison.items}.values():
        if n_failed := sum(value is None for value in item.fresh.values()):
            n = len(item.fresh)
            lines.append(f"{item.name} diverged or failed in {n_failed} of {n} trainings, which are left out.")
    if is_unknown and comparison.is_complete:
        lines.append(f"To train them on the same fresh seeds and splits, add --seeds {N_SEEDS}.")
    return lines


def _trials(comparison: TrialComparison) -> Table:
    table = Table(box=None, padding=(0, 2))
    for column in ("trial", "state", "value", "kept epoch", "epochs", "parameters", "time"):
        table.add_column(column, justify="left" if column in ("trial", "state") else "right", no_wrap=True)
    for item in comparison.items:
        trial, ending = item.trial, item.trial.ending
        value = "" if trial.value is None else f"{trial.value:.4f}"
        kept, seconds = (str(ending.kept_epoch), duration(ending.seconds)) if ending else ("", "")
        state = item.results.shown_state(trial.state)
        table.add_row(item.name, state, value, kept, str(trial.n_epochs), f"{item.n_parameters:,}", seconds)
    return table


def _fields(comparison: TrialComparison) -> RenderableType:
    if not comparison.fields:
        return Text("The configurations are the same, apart from seeds.")
    table = Table(box=None, padding=(0, 2))
    table.add_column("different fields", overflow="fold")
    for item in comparison.items:
        table.add_column(item.name, overflow="fold")
    for path, values in comparison.fields.items():
        table.add_row(Text(path, style="bold"), *(_short(value) for value in values))
    return table


def _short(value: str) -> str:
    try:
        return value if value.lstrip("-").isdigit() else f"{float(value):.4g}"
    except ValueError:
        return value


def _curves(comparison: TrialComparison) -> Table:
    longest = max(len(item.curve) for item in comparison.items)
    epochs = sorted({round(epoch) for epoch in np.geomspace(1, max(1, longest), N_EPOCHS)})
    table = Table(box=None, padding=(0, 2))
    table.add_column(f"{comparison.metric} after epoch", overflow="fold")
    for epoch in epochs:
        table.add_column(str(epoch), justify="right", no_wrap=True)
    for item in comparison.items:
        curve = item.curve
        table.add_row(item.name, *(f"{curve[epoch - 1]:.4f}" if epoch <= len(curve) else "" for epoch in epochs))
    return table
