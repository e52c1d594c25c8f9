"""The verdict of a confirmation in words."""

from __future__ import annotations

from mlp.errors import listed
from studies.evidence.confirmation import Confirmation, mean_of
from studies.evidence.verdict import FINAL_LEVEL, Candidate, Verdict

DIGITS = 4


def verdict_sentences(confirmation: Confirmation) -> list[str]:
    """Return what a confirmation says, one sentence each; the first is the verdict."""
    if not confirmation.is_complete:
        return [f"The winner is not confirmed yet: {confirmation.n_trainings} trainings are done."]
    verdict = confirmation.verdict
    if verdict is None:
        return ["Nothing could be confirmed, because every candidate has diverged or failed."]
    sentences = [_outcome(confirmation, verdict)]
    base = next(candidate for candidate in confirmation.candidates if candidate.role == "base")
    if verdict.winner != verdict.leader:
        sentences.append(
            f"Trial {verdict.winner} is chosen, because it is the cheapest within one standard error of the leader."
        )
    elif verdict.outcome == "no better than base" and verdict.winner != base.trial:
        sentences.append(f"Trial {verdict.winner} is chosen all the same: base is not within one standard error of it.")
    if verdict.outcome == "no better than base" and base.trial in verdict.comparisons:
        detectable = verdict.comparisons[base.trial].detectable
        sentences.append(f"A difference of {detectable:.2g} would have been found with a probability of 80 %.")
    winner = confirmation.candidate(verdict.winner)
    if winner.search_value is not None and winner.role == "best":
        sentences.append(
            f"In the search trial {winner.trial} had {winner.search_value:.{DIGITS}f}, "
            f"on fresh seeds and splits {mean_of(winner):.{DIGITS}f}."
        )
    return sentences


def _outcome(confirmation: Confirmation, verdict: Verdict) -> str:
    leader = confirmation.candidate(verdict.leader)
    base = next(candidate for candidate in confirmation.candidates if candidate.role == "base")
    if verdict.outcome == "no better than base":
        if leader is base:
            return f"No better than base: base has the best mean, {mean_of(base):.{DIGITS}f}."
        compared = difference_text(verdict, base)
        n, p = len(verdict.comparisons), verdict.p_values[base.trial]
        corrected = f"p = {p:.2g}, corrected for {n} comparisons," if n > 1 else f"p = {p:.2g}"
        corrected = f"{corrected} is not below {FINAL_LEVEL}" if p >= FINAL_LEVEL else corrected
        return f"No better than base: trial {leader.trial} differs by {compared}, which may be chance ({corrected})."
    compared = f" ({difference_text(verdict, base)})" if base.trial in verdict.comparisons else ""
    if verdict.outcome == "tie":
        others = listed([str(trial) for trial in verdict.ties])
        return f"A tie: trial {leader.trial} is better than base{compared}, but not than trial {others}."
    return f"Better: trial {leader.trial} is better than base{compared} and than all others."


def difference_text(verdict: Verdict, candidate: Candidate) -> str:
    """Return the difference of the leader to a candidate with its interval: `+0.0123 [+0.0045, +0.0201]`."""
    comparison = verdict.comparisons[candidate.trial]
    low, high = comparison.interval()
    return f"{comparison.mean:+.{DIGITS}f} [{low:+.{DIGITS}f}, {high:+.{DIGITS}f}]"
