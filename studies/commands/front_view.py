"""The Pareto front of a study with two objectives as a table for a terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table

from studies.commands.views import short_value
from studies.evidence.pareto import PICKS, pick
from studies.records.results import StudyResults


def front_view(results: StudyResults) -> RenderableType | None:
    """Return the trials of the front, the smallest network first; None if there is no front."""
    second, front = results.second_objective, results.pareto_front()
    if second is None or not front:
        return None
    picks = {which: pick(results, which) for which in PICKS}
    table = Table(
        box=None, padding=(0, 2), title=f"Pareto front: {results.metric} and {second.name}", title_justify="left"
    )
    for column in ("trial", second.name, "value", ""):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    table.add_column("parameters", overflow="fold")
    for point in front:
        names = ", ".join(which for which, trial in picks.items() if trial == point.trial)
        params = results.trial(point.trial).params
        texts = (f"{path.rpartition('.')[2]} {short_value(value)}" for path, value in params.items())
        style = "green" if names else ""
        row = (str(point.trial), second.text(point.size), f"{point.value:.4f}", names, ", ".join(texts))
        table.add_row(*row, style=style)
    return table
