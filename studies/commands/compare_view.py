"""Trials next to each other as tables for a terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from studies.evidence.compare import TrialComparison, difference_sentences, short_field
from studies.records.durations import duration

N_EPOCHS = 7  # columns of the learning curves


def compare_view(comparison: TrialComparison) -> RenderableType:
    """Return the trials, the fields that differ, their learning curves and the known differences."""
    parts = [_trials(comparison), Text(), _fields(comparison), Text(), _curves(comparison), Text()]
    return Group(*parts, *(Text(line) for line in difference_sentences(comparison)))


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
        table.add_row(Text(path, style="bold"), *(short_field(value) for value in values))
    return table


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
