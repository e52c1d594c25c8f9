"""The race and the verdict: planted cases, in which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from studies.evidence.verdict import Candidate, Verdict, judge, missing, racing
from studies.search.confirm_config import ConfirmConfig

CONFIG = ConfirmConfig()
N_STUDIES = 150
NOISE = 0.01  # the standard deviation of the paired differences


def confirmed(
    levels: list[float], seed: int, *, sign: float = 1.0, config: ConfirmConfig = CONFIG, overlap: float = 0.0
) -> Verdict:
    """Race candidates with given true levels to the end: base first, each one cheaper than the one before.

    If splits overlap, their values are correlated by what Nadeau & Bengio expect: the share of validation examples.
    """
    dice, shared = np.random.default_rng(seed), overlap / (1 + overlap)
    own = dice.normal(0, NOISE / np.sqrt(2), (len(levels), config.seeds))
    common = dice.normal(0, NOISE / np.sqrt(2), (len(levels), 1))
    noise = np.sqrt(1 - shared) * own + np.sqrt(shared) * common
    values = sign * (np.array(levels)[:, None] + noise)
    candidates = [
        Candidate(number, "base" if number == 0 else "best", None, cost=100 - number) for number in range(len(levels))
    ]
    while todo := missing(candidates, config, sign=sign):
        for trial, pair in todo:
            candidates[trial].values[pair] = float(values[trial, pair])
    verdict = judge(candidates, config, sign=sign, overlap=overlap)
    assert verdict is not None
    return verdict


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_two_equal_configurations_are_called_a_tie(overlap: float) -> None:
    outcomes = [confirmed([0.5, 0.9, 0.9], seed, overlap=overlap).outcome for seed in range(N_STUDIES)]
    assert outcomes.count("tie") >= 0.95 * N_STUDIES


@pytest.mark.parametrize("n_others", [0, 3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_difference_of_one_and_a_half_noise_deviations_is_found(sign: float, n_others: int) -> None:
    levels = [0.9, 0.9 + 1.5 * NOISE, *[0.88] * n_others]
    verdicts = [confirmed(levels, seed, sign=sign) for seed in range(N_STUDIES)]
    found = [verdict for verdict in verdicts if verdict.outcome == "better" and verdict.winner == 1]
    assert len(found) >= 0.8 * N_STUDIES


@pytest.mark.slow
def test_where_splits_overlap_it_takes_thirty_seeds_to_find_it() -> None:
    shares = {}
    for seeds in (8, 30):
        config = ConfirmConfig(seeds=seeds)
        levels = [0.9, 0.9 + 1.5 * NOISE, 0.88, 0.88, 0.88]
        outcomes = [confirmed(levels, seed, config=config, overlap=0.25).outcome for seed in range(2 * N_STUDIES)]
        shares[seeds] = outcomes.count("better") / len(outcomes)
    assert 0.45 < shares[8] < 0.65
    assert shares[30] >= 0.8


@pytest.mark.parametrize("levels", [[0.9, 0.9, 0.9, 0.9, 0.9], [0.9, 0.88, 0.87, 0.9]])
def test_when_nothing_is_better_than_base_the_verdict_says_so(levels: list[float]) -> None:
    outcomes = [confirmed(levels, seed).outcome for seed in range(N_STUDIES)]
    assert outcomes.count("no better than base") >= 0.95 * N_STUDIES


def test_among_ties_the_cheapest_wins() -> None:
    winners = [confirmed([0.5, 0.9, 0.9 + 0.0001], seed).winner for seed in range(N_STUDIES)]
    assert winners.count(2) > 0.7 * N_STUDIES


def test_what_is_clearly_worse_is_dropped_after_three_pairs_and_base_never_is() -> None:
    candidates = [Candidate(number, "best" if number else "base", None, cost=1) for number in range(3)]
    for candidate, level in zip(candidates, (0.1, 0.9, 0.2), strict=True):
        candidate.values = {pair: level + 0.001 * pair * level for pair in range(3)}
    assert racing(candidates, CONFIG, sign=1.0) == candidates[:2]
    assert missing(candidates, CONFIG, sign=1.0) == [(trial, pair) for trial in (0, 1) for pair in range(3, 8)]


def test_first_every_candidate_is_trained_on_three_pairs() -> None:
    candidates = [Candidate(0, "base", None, cost=1), Candidate(4, "best", None, cost=1)]
    candidates[0].values = {0: 0.5, 1: 0.5}
    assert missing(candidates, CONFIG, sign=1.0) == [(0, 2), (4, 0), (4, 1), (4, 2)]


def test_a_candidate_that_fails_once_is_out_of_the_race() -> None:
    candidates = [Candidate(0, "base", None, cost=1), Candidate(4, "best", None, cost=1)]
    candidates[1].values = {0: 0.9, 1: None}
    assert (0, 0) in missing(candidates, CONFIG, sign=1.0)
    assert not [trial for trial, _ in missing(candidates, CONFIG, sign=1.0) if trial == 4]
    candidates[0].values = dict.fromkeys(range(8), 0.5)
    verdict = judge(candidates, CONFIG, sign=1.0, overlap=0.0)
    assert verdict is not None
    assert (verdict.outcome, verdict.winner) == ("no better than base", 0)


def test_without_a_candidate_that_can_be_trained_there_is_no_verdict() -> None:
    candidates = [Candidate(0, "base", None, cost=1, values={0: None})]
    assert missing(candidates, CONFIG, sign=1.0) == []
    assert judge(candidates, CONFIG, sign=1.0, overlap=0.0) is None


def test_differences_within_the_region_of_equivalence_are_none() -> None:
    candidates = [Candidate(0, "base", None, cost=1), Candidate(1, "best", None, cost=2)]
    for candidate, level in zip(candidates, (0.9, 0.9005), strict=True):
        candidate.values = {pair: level + 1e-6 * (pair % 3) * (candidate.trial + 1) for pair in range(8)}
    verdict = judge(candidates, CONFIG, sign=1.0, overlap=0.0)
    assert verdict is not None
    assert (verdict.outcome, verdict.leader, verdict.winner) == ("no better than base", 1, 0)


@pytest.mark.parametrize(("lead", "winner"), [(0.0005, 0), (0.004, 1)])
def test_without_evidence_against_base_it_wins_unless_it_is_more_than_a_standard_error_behind(
    lead: float, winner: int
) -> None:
    """A third candidate that is cheaper, but worse than base, is not chosen."""
    candidates = [Candidate(number, "best" if number else "base", None, cost=9 - number) for number in range(3)]
    noise = 0.004 * np.random.default_rng(0).standard_normal((3, 8))
    noise -= noise.mean(axis=1, keepdims=True)
    for candidate, level in zip(candidates, (0.9, 0.9 + lead, 0.8999), strict=True):
        candidate.values = {pair: level + noise[candidate.trial, pair] for pair in range(8)}
    verdict = judge(candidates, CONFIG, sign=1.0, overlap=0.25)
    assert verdict is not None
    assert (verdict.outcome, verdict.leader, verdict.winner) == ("no better than base", 1, winner)
