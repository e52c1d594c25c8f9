"""An ensemble of networks as a table for a terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlp.scores import score_text
from studies.commands.views import score_texts
from studies.models.ensemble import EnsembleResult, MemberScores
from studies.records.durations import duration


def member_line(member: MemberScores) -> str:
    """Return the result of one seed as one line."""
    texts = score_texts({**member.scores, **(member.test or {})})
    return f"seed {member.seed:<10}  {'  '.join(f'{key} {text}' for key, text in texts.items())}"


def ensemble_view(result: EnsembleResult) -> RenderableType:
    """Return the scores of the single networks, their mean, and those of the ensemble."""
    table = Table(box=None, padding=(0, 2))
    for column in ("", "mean of the seeds", "lowest", "highest", "ensemble"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    of_ensemble = {**(result.validation or {}), **(result.test or {})}
    rows = [{**member.scores, **(member.test or {})} for member in result.members]
    for key in score_texts(rows[0]):
        values = [row[key] for row in rows]
        ensemble = score_text(of_ensemble[key]) if key in of_ensemble else ""
        cells = (score_text(value) for value in (float(np.mean(values)), min(values), max(values)))
        table.add_row(key, *cells, Text(ensemble, style="bold"))
    n = len(result.members)
    lines: list[RenderableType] = [Text(), table, Text()]
    lines.append(Text(f"{result.n_networks} networks, {n} seeds, trained in {duration(result.seconds)}"))
    if result.validation is None and any(key.startswith("validation/") for key in rows[0]):
        lines.append(Text("The ensemble has no validation score, because each seed has its own validation part."))
    if result.saved:
        lines.append(Text(f"saved in {result.saved}"))
    lines += [Text(f"warning: {warning}", style="yellow") for warning in result.warnings]
    lines += [Text(f"mismatch: {difference}", style="red") for difference in result.differences]
    if result.n_reproduced:
        lines.append(Text(f"reproduced exactly: the weights of {result.n_reproduced} of {n} seeds", style="green"))
    return Group(*lines)
