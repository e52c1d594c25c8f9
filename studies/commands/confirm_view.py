"""The confirmation of a study as a table and sentences for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from studies.evidence.confirmation import Confirmation, mean_of
from studies.evidence.words import difference_text, verdict_sentences


def confirmation_view(confirmation: Confirmation) -> RenderableType:
    """Return the verdict and a table of the candidates, the best mean first."""
    first, *others = verdict_sentences(confirmation)
    lines: list[RenderableType] = [Text(first, style="bold"), *(Text(sentence) for sentence in others)]
    verdict = confirmation.verdict
    if verdict is None:
        return Group(*lines)
    table = Table(box=None, padding=(0, 2))
    for column in ("trial", "", "search", "mean", "pairs", "leader is better by"):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    order = [verdict.leader, *sorted(verdict.comparisons, key=lambda trial: verdict.comparisons[trial].mean)]
    rest = [candidate.trial for candidate in confirmation.candidates if candidate.trial not in order]
    for trial in [*order, *rest]:
        candidate = confirmation.candidate(trial)
        role = "base" if candidate.role == "base" else "pruned in the search" if candidate.role == "pruned" else ""
        searched = "" if candidate.search_value is None else f"{candidate.search_value:.4f}"
        compared = difference_text(verdict, candidate) if trial in verdict.comparisons else ""
        note = (
            "dropped" if trial in rest and not candidate.has_failed else "failed" if candidate.has_failed else compared
        )
        style = "green" if trial == verdict.winner else ""
        mean, pairs = f"{mean_of(candidate):.4f}", str(len(candidate.values))
        table.add_row(str(trial), role, searched, mean, pairs, note, style=style)
    title = Text("on fresh seeds and splits (the intervals hold together with a confidence of 97 %)", style="italic")
    return Group(*lines, Text(), title, table)
