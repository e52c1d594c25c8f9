"""The account of trials that failed or diverged."""

from __future__ import annotations

import pytest

from studies.commands.failures_view import failures_view
from studies.records.results import StudyResults
from studies.records.trial_record import Ending, TrialRecord
from tests.record_data import study_record
from tests.studies.commands.test_views import render

COMPLETE = Ending("complete", "", 0.9, 1, "ab")
ERROR = Ending("failed", "error", error="Traceback (most recent call last):\n  File x\nValueError: too bad\n")
TIMEOUT = Ending("failed", "timeout", error="the training has taken more than trial_seconds = 2: 2.5 seconds.")
DIVERGED = Ending("pruned", "diverged", 0.1, 1)


def account(*endings: Ending) -> str:
    trials = [TrialRecord(number, {}, {"epochs": 3}, 0.0, ending=ending) for number, ending in enumerate(endings)]
    view = failures_view(StudyResults(study_record(), tuple(trials)))
    return "" if view is None else render(view, 200)


def test_each_class_has_its_trials_a_message_and_advice() -> None:
    lines = [line.rstrip() for line in account(COMPLETE, ERROR, TIMEOUT, COMPLETE, TIMEOUT).splitlines()]
    assert lines[:2] == ["1 trial ended with error: 1", "  ValueError: too bad"]
    assert lines[2].endswith("studies show digits 1")
    assert lines[3:5] == [
        "2 trials ended with timeout: 2, 4",
        "  the training has taken more than trial_seconds = 2: 2.5 seconds.",
    ]
    assert "Raise trial_seconds in [study]" in lines[5]


def test_many_trials_of_a_class_are_not_all_listed() -> None:
    assert "12 trials ended with error: 0, 1, 2, 3, 4, 5, 6, 7 and 4 more" in account(*[ERROR] * 12)


@pytest.mark.parametrize(("n_complete", "is_shown"), [(0, True), (9, True), (10, False)])
def test_a_few_trials_that_diverge_are_part_of_a_search(n_complete: int, is_shown: bool) -> None:
    assert ("1 trial ended with diverged" in account(*[COMPLETE] * n_complete, DIVERGED)) == is_shown


def test_a_study_without_failures_has_no_account() -> None:
    assert account(COMPLETE, Ending("pruned", "pruner", 0.2, 1)) == ""
