"""The verdict of a confirmation in words."""

from __future__ import annotations

from collections.abc import Sequence

from studies.evidence.confirmation import Confirmation, mean_of
from studies.evidence.verdict import FINAL_LEVEL, Candidate, Verdict

DIGITS = 4


def enumeration(items: Sequence[object]) -> str:
    """Return items in a sentence: `a`, `a and b`, or `a, b and c`."""
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}" if first else last


def verdict_sentences(confirmation: Confirmation) -> list[str]:
    """Return the result of a confirmation in sentences. The first one is the verdict."""
    if not confirmation.is_complete:
        return [f"The winner is not confirmed yet. Trainings so far: {confirmation.n_trainings}."]
    verdict = confirmation.verdict
    if verdict is None:
        return ["Nothing could be confirmed, because every candidate diverged or failed."]
    sentences = [*_outcome(confirmation, verdict), *_choice(confirmation, verdict)]
    base = confirmation.base.trial
    if verdict.outcome == "no better than base" and base in verdict.comparisons:
        detectable = verdict.comparisons[base].detectable(verdict.level)
        sentences.append(f"A difference of {detectable:.2g} would have been found with a probability of 80 %.")
    winner = confirmation.candidate(verdict.winner)
    if winner.search_value is not None and winner.role == "best":
        sentences.append(
            f"In the search, trial {winner.trial} reached {winner.search_value:.{DIGITS}f}. "
            f"On fresh seeds and splits, its mean is {mean_of(winner):.{DIGITS}f}."
        )
    return sentences


def _outcome(confirmation: Confirmation, verdict: Verdict) -> list[str]:
    leader, base = verdict.leader, confirmation.base
    if leader == base.trial:
        return [f"No trial is better than base, which has the best mean: {mean_of(base):.{DIGITS}f}."]
    difference = difference_text(verdict, base) if base.trial in verdict.comparisons else ""
    if verdict.outcome == "no better than base":
        p, n = verdict.p_values[base.trial], len(verdict.comparisons)
        corrected = f", corrected for {n} comparisons" if n > 1 else ""
        required = f"; below {FINAL_LEVEL} is required" if p >= FINAL_LEVEL else ""
        return [
            "No trial was shown to be better than base.",
            f"Trial {leader} is ahead by {difference}, which may be chance (p = {p:.2g}{corrected}{required}).",
        ]
    by = f" by {difference}" if difference else ", which could not be trained"
    if verdict.outcome == "better":
        return [f"Trial {leader} is better than all other candidates. It is better than base{by}."]
    names = f"Trial{'s' if len(verdict.ties) > 1 else ''} {enumeration(verdict.ties)}"
    return [f"Trial {leader} is better than base{by}.", f"{names} may be as good."]


def _choice(confirmation: Confirmation, verdict: Verdict) -> list[str]:
    """Return why the winner was chosen, unless it is the leader of a clear result."""
    winner, leader, base = verdict.winner, verdict.leader, confirmation.base.trial
    if verdict.outcome == "no better than base" and leader != base:
        if winner == base:
            return [f"Base is chosen, because it is within one standard error of trial {leader}."]
        return [f"Trial {leader} is chosen nevertheless, because base is more than one standard error behind."]
    if winner != leader:
        return [f"Trial {winner} is chosen, because it is the cheapest within one standard error of trial {leader}."]
    return []


def difference_text(verdict: Verdict, candidate: Candidate) -> str:
    """Return by how much the leader is better than a candidate, with the interval: `0.0123 [0.0045, 0.0201]`.

    The intervals of all comparisons hold at the same time with a confidence of `1 - FINAL_LEVEL`.
    """
    comparison = verdict.comparisons[candidate.trial]
    low, high = comparison.interval(verdict.level)
    return f"{comparison.mean:.{DIGITS}f} [{low:.{DIGITS}f}, {high:.{DIGITS}f}]"
