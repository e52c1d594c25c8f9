"""The Pareto front and its picks, compared with the definition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import ConfigError
from studies.evidence.pareto import pick
from studies.records.results import StudyResults
from studies.records.trial_record import Ending, TrialRecord
from tests.record_data import RECORD, study_record

BASE = {"data": {"name": "digits"}, "epochs": 3}


def study(widths: list[int], values: list[float | None], second: str | None = "parameters") -> StudyResults:
    """Return a study whose trials have given widths and values; None is a failed trial."""
    settings: dict[str, Any] = RECORD["study"] | ({} if second is None else {"second_objective": second})
    trials = []
    for number, (width, value) in enumerate(zip(widths, values, strict=True)):
        ending = Ending("failed", "error") if value is None else Ending("complete", "", value, 1, "ab")
        config = BASE | {"network": {"hidden": [width]}}
        trials.append(TrialRecord(number, {}, config, 0.0, ending=ending))
    return StudyResults(study_record(study=settings), tuple(trials))


POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(POINTS)
def test_no_trial_is_better_and_smaller_than_one_of_the_front(points: list[tuple[int, int]]) -> None:
    results = study([width for width, _ in points], [value / 10 for _, value in points])
    front = results.pareto_front()
    numbers = [point.trial for point in front]
    for number, (width, value) in enumerate(points):
        is_beaten = any(
            (w <= width and v >= value) and (w, v) != (width, value) for i, (w, v) in enumerate(points) if i != number
        )
        is_first = points.index((width, value)) == number
        assert (number in numbers) == (not is_beaten and is_first)
    assert [point.size for point in front] == sorted({point.size for point in front})


def test_failed_trials_are_not_on_the_front() -> None:
    assert [point.trial for point in study([1, 2, 3], [None, 0.5, 0.6]).pareto_front()] == [1, 2]


@pytest.mark.parametrize(
    ("widths", "values", "best", "knee", "cheapest"),
    [
        ([4, 16, 64], [0.5, 0.9, 0.91], 2, 1, 0),
        ([4, 16, 64], [0.5, 0.51, 0.91], 2, 2, 0),
        ([4], [0.5], 0, 0, 0),
        ([64, 4], [0.5, 0.7], 1, 1, 1),
    ],
)
def test_the_picks_of_a_front(
    widths: list[int], values: list[float | None], best: int, knee: int, cheapest: int
) -> None:
    results = study(widths, values)
    found = (pick(results, "best"), pick(results, "knee"), pick(results, "cheapest"))
    if (widths, values) == ([4, 16, 64], [0.5, 0.51, 0.91]):
        assert found[1] in (0, 2)
        assert (found[0], found[2]) == (best, cheapest)
    else:
        assert found == (best, knee, cheapest)


def test_without_a_front_nothing_can_be_picked() -> None:
    with pytest.raises(ConfigError, match=r"has one objective, so there is no Pareto front\. Set second_objective"):
        pick(study([1], [0.5], second=None), "knee")
    with pytest.raises(ConfigError, match="has no complete trial yet"):
        pick(study([1], [None]), "best")
    assert study([1], [0.5], second=None).pareto_front() == []
