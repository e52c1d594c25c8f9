"""The race of candidates on fresh seeds and splits, and the verdict, which follow from the candidates' values alone.

A pair is a seed and the split that it draws. All candidates are trained on the same pairs. After three pairs, those
that are clearly worse than the leader are dropped. Base is never dropped, because the others are compared with it. The
remaining candidates are trained on all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from studies.evidence.statistics import Comparison, compare, holm
from studies.search.confirm_config import ConfirmConfig

FIRST_PAIRS = 3
# Together these levels call two equal configurations different in less than 5 % of confirmations, of which the choice
# of the leader and the race cause a part. With 0.05 for both it was 10 %.
RACE_LEVEL, FINAL_LEVEL = 0.005, 0.03
Role = Literal["best", "base", "pruned"]
Outcome = Literal["better", "tie", "no better than base"]


@dataclass
class Candidate:
    """A configuration that is trained again.

    Attributes:
        trial: the trial of the study that found it.
        role: one of the `best`, `base`, or the best `pruned` one.
        search_value: its value in the search; of a pruned trial, at its last epoch.
        cost: the virtual cost of a training, by which ties are decided.
        values: the metric by pair, counted from 0; None if the training diverged or failed.
    """

    trial: int
    role: Role
    search_value: float | None
    cost: int
    values: dict[int, float | None] = field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        """Whether one of its trainings diverged or failed."""
        return None in self.values.values()

    def series(self, n: int) -> list[float]:
        """Return the values of the first `n` pairs."""
        return [value for pair in range(n) if (value := self.values[pair]) is not None]

    def n_pairs(self) -> int:
        """Return the number of pairs that were trained without a gap."""
        return next(n for n in range(len(self.values) + 1) if n not in self.values)


@dataclass(frozen=True)
class Verdict:
    """The result of a confirmation.

    Attributes:
        outcome: `better`: the leader is better than base and all others; `tie`: it is better than base, but not than
            all others; `no better than base`: the difference to base is not significant, or base is the leader.
        leader: the trial with the best mean.
        winner: the trial to use. If it has not been shown that any trial is better than base, it is base, unless base
            is more than one standard error behind the leader. Otherwise it is the cheapest of the trials that are not
            significantly worse than the leader and at most one standard error, or `equivalence`, behind it.
        comparisons: the leader compared with each other candidate, by trial.
        p_values: the p-values of these comparisons after Holm's correction, by trial.
        ties: the trials that the leader is not better than.
    """

    outcome: Outcome
    leader: int
    winner: int
    comparisons: dict[int, Comparison]
    p_values: dict[int, float]
    ties: tuple[int, ...]

    @property
    def level(self) -> float:
        """The level of each comparison, with which all of them together keep `FINAL_LEVEL` (Bonferroni)."""
        return FINAL_LEVEL / max(1, len(self.comparisons))


def racing(candidates: Sequence[Candidate], config: ConfirmConfig, *, sign: float) -> list[Candidate]:
    """Return the candidates that are to be trained on all pairs; all of them before the first pairs are complete.

    Args:
        candidates: the candidates with their values so far.
        config: the settings.
        sign: 1 if larger values are better, -1 if smaller ones are.
    """
    n = min(FIRST_PAIRS, config.seeds)
    left = [candidate for candidate in candidates if not candidate.has_failed or candidate.role == "base"]
    if any(candidate.n_pairs() < n for candidate in left if not candidate.has_failed):
        return left
    leader = _leader(left, n, sign)
    return [
        candidate
        for candidate in left
        if candidate is leader
        or candidate.role == "base"
        or leader is None
        or not _is_clearly_worse(candidate, leader, n, config, sign)
    ]


def missing(candidates: Sequence[Candidate], config: ConfirmConfig, *, sign: float) -> list[tuple[int, int]]:
    """Return the trainings to be done next, as trial and pair: the first pairs, then all; empty at the end."""
    left = [candidate for candidate in racing(candidates, config, sign=sign) if not candidate.has_failed]
    for n in (min(FIRST_PAIRS, config.seeds), config.seeds):
        found = [(candidate.trial, pair) for candidate in left for pair in range(n) if pair not in candidate.values]
        if found:
            return found
    return []


def judge(candidates: Sequence[Candidate], config: ConfirmConfig, *, sign: float, overlap: float) -> Verdict | None:
    """Return the verdict, or None if nothing is missing but every candidate has failed.

    Args:
        candidates: the candidates with all their values.
        config: the settings.
        sign: 1 if larger values are better, -1 if smaller ones are.
        overlap: as `statistics.overlap_of` returns it.
    """
    left = [c for c in racing(candidates, config, sign=sign) if not c.has_failed and c.n_pairs() >= config.seeds]
    leader = _leader(left, config.seeds, sign)
    if leader is None:
        return None
    others = [candidate for candidate in left if candidate is not leader]
    values = leader.series(config.seeds)
    comparisons = {c.trial: compare(values, c.series(config.seeds), overlap=overlap, sign=sign) for c in others}
    corrected = holm([comparison.p for comparison in comparisons.values()])
    p_values = dict(zip(comparisons, corrected, strict=True))
    ties = [c for c in others if not _is_better(comparisons[c.trial], p_values[c.trial], FINAL_LEVEL, config)]
    close = [leader]
    close += [c for c in ties if comparisons[c.trial].mean <= max(comparisons[c.trial].error, config.equivalence)]
    outcome: Outcome = "tie" if ties else "better"
    winner = min(close, key=lambda candidate: (candidate.cost, candidate.trial))
    if any(candidate.role == "base" for candidate in [leader, *ties]):
        outcome = "no better than base"
        winner = next((candidate for candidate in close if candidate.role == "base"), leader)
    return Verdict(outcome, leader.trial, winner.trial, comparisons, p_values, tuple(c.trial for c in ties))


def _leader(candidates: Sequence[Candidate], n: int, sign: float) -> Candidate | None:
    """Return the candidate with the best mean of the first `n` pairs; among equal ones the cheaper."""
    able = [candidate for candidate in candidates if not candidate.has_failed]
    return min(able, key=lambda c: (-sign * float(np.mean(c.series(n))), c.cost, c.trial), default=None)


def _is_clearly_worse(candidate: Candidate, leader: Candidate, n: int, config: ConfirmConfig, sign: float) -> bool:
    """Return whether a candidate is dropped after the first `n` pairs."""
    comparison = compare(leader.series(n), candidate.series(n), overlap=0.0, sign=sign)
    return _is_better(comparison, comparison.p, RACE_LEVEL, config)


def _is_better(comparison: Comparison, p: float, level: float, config: ConfirmConfig) -> bool:
    """Return whether the first configuration of a comparison is better, beyond the region of equivalence."""
    return p < level and comparison.mean > config.equivalence
