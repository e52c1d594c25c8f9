"""Each piece of advice appears where it is right, with its evidence, and not where it is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from studies.evidence.advice import advice
from studies.evidence.confirmation import Confirmation
from studies.evidence.verdict import Candidate, Verdict
from studies.records.results import StudyResults
from studies.records.trial_record import Ending, TrialRecord
from tests.record_data import study_record

RATE = "optimizer.learning_rate"
SPACE = {RATE: {"low": 1e-4, "high": 1.0, "log": True}, "network.hidden.depth": {"low": 1, "high": 4}}
ORDER = np.random.default_rng(0).permutation(40)


def study(
    values: list[float], rates: list[float] | None = None, endings: dict[int, Ending] | None = None
) -> StudyResults:
    """Return a complete study whose trials have given values and rates, and end otherwise where it is said."""
    trials = []
    for number, value in enumerate(values):
        ending = (endings or {}).get(number, Ending("complete", "", value, 1, "ab"))
        params: dict[str, Any] = {RATE: rates[number] if rates else 0.01, "network.hidden.depth": 2}
        trials.append(TrialRecord(number, params, {"epochs": 3, "n": number}, 0.0, ending=ending))
    return StudyResults(study_record(space=SPACE), tuple(trials))


def kinds(results: StudyResults, *args: Any) -> list[str]:
    return [piece.kind for piece in advice(results, *args)]


MIDDLING = [0.9 - 0.001 * int(i) for i in ORDER[:18]]  # the best is neither among the first nor the last


def test_an_ordinary_study_gets_no_advice() -> None:
    assert kinds(study(MIDDLING)) == []


def test_a_study_with_few_trials_gets_no_advice() -> None:
    assert kinds(study([0.5] * 5, endings=dict.fromkeys(range(5), Ending("failed", "ValueError")))) == []


@pytest.mark.parametrize("at_low_end", [False, True])
def test_the_best_trials_at_the_edge_of_a_range(at_low_end: bool) -> None:
    values = [0.9 - 0.01 * i for i in range(12)]
    rates = [10.0 ** (-0.05 - 0.3 * i) if i >= 5 else 0.9 - 0.02 * i for i in range(12)]
    rates = [1e-4 / rate for rate in rates] if at_low_end else rates
    found = advice(study(values, rates))
    assert [piece.kind for piece in found] == ["edge"]
    end = "low = 0.0001" if at_low_end else "high = 1"
    assert f"5 of the 5 best trials have {RATE} near its {end}" in found[0].text
    assert kinds(study(values, [0.01] * 12)) == []


def test_a_rate_above_which_most_trials_diverge() -> None:
    rates = [10.0 ** (-4 + 0.2 * i) for i in range(20)]
    endings = {i: Ending("pruned", "diverged") for i in (14, 15, 17, 18, 19)}
    found = advice(study([0.9 - 0.001 * (i % 7) for i in range(20)], rates, endings))
    assert found[0].kind == "divergence"
    assert f"trials with {RATE} of " in found[0].text
    scattered = {i: Ending("pruned", "diverged") for i in (1, 6, 12)}
    assert "divergence" not in kinds(study([0.9] * 20, rates, scattered))


def test_a_search_that_has_stopped_improving_and_one_that_has_not() -> None:
    assert "brought no improvement over trial 2" in advice(study([0.5, 0.6, 0.9, *[0.7] * 40]))[0].text
    assert "Raise --budget" in advice(study([*[0.5 + 0.001 * i for i in range(30)]]))[0].text
    assert "progress" not in kinds(study([*[0.7] * 15, 0.9, *[0.7] * 10]))


def test_seeds_that_differ_more_than_the_best_trials() -> None:
    results = study(MIDDLING)
    for spread, expected in ((0.05, ["seeds"]), (0.0001, [])):
        values: dict[int, float | None] = {pair: 0.9 + spread * (-1) ** pair for pair in range(8)}
        candidate = Candidate(0, "base", 0.9, 1, values)
        confirmation = Confirmation((candidate,), (), Verdict("no better than base", 0, 0, {}, {}, ()))
        assert kinds(results, confirmation) == expected


def test_a_parameter_without_importance() -> None:
    values = [0.9 - 0.001 * int(i) for i in ORDER]
    importances = {RATE: 0.995, "network.hidden.depth": 0.005}
    assert any(
        "network.hidden.depth explained less than 1 %" in piece.text
        for piece in advice(study(values), None, importances)
    )
    assert "importance" not in kinds(study(values), None, {RATE: 0.6, "network.hidden.depth": 0.4})
    assert "importance" not in kinds(study(values[:20]), None, importances)
