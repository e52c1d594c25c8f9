"""The limits of a study through `run_study`: budget, trials, target, patience and time, which are totals."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from tests.studies.launch_data import Run, file_fixture, root_fixture, run_fixture  # noqa: F401 - fixtures
from tests.study_data import NAME, log_table, prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")


@pytest.fixture(name="budgeted")
def budgeted_fixture(run: Run, file: Path) -> Run:
    """A function that launches the small study with pauses and a budget of four trainings."""
    text = file.read_text().replace("trials = 8", "budget = 4")
    file.write_text(text.replace('{ name = "median", startup_trials = 2 }', '{ name = "asha", factor = 2 }'))
    return run


def results_in(root: Path) -> StudyResults:
    return load_study(NAME, root)


def test_a_budget_counts_epochs_in_trainings_of_base(budgeted: Run, root: Path) -> None:
    launch = budgeted()
    assert launch.status == "complete"
    results = results_in(root)
    assert 10 <= results.n_epochs <= 12
    assert results.spent == f"{len(results.trials)} trials, {results.n_epochs / 3:.3g} of 4 trainings"
    assert budgeted().status == "already complete"


def test_a_raised_budget_continues_a_complete_study_and_a_lower_one_changes_nothing(budgeted: Run, root: Path) -> None:
    budgeted()
    before = log_table(root)
    assert budgeted(budget=2).status == "already complete"
    assert budgeted(budget=6).status == "complete"
    after = log_table(root)
    assert [new[: len(old)] for old, new in zip(before, after, strict=False)] == before
    assert 12 < results_in(root).n_epochs <= 18
    assert results_in(root).record.max_epochs == 18
    assert budgeted(budget=6).status == "already complete"
    assert log_table(root) == after


def test_without_any_limit_the_budget_is_twenty_trainings(run: Run, root: Path, file: Path) -> None:
    file.write_text(file.read_text().replace("trials = 8\n", ""))
    run()
    assert results_in(root).record.max_epochs == 60


def test_a_study_stops_at_its_target(run: Run, root: Path, file: Path) -> None:
    file.write_text(file.read_text().replace("trials = 8", "trials = 8\ntarget = 0.05"))
    run()
    results = results_in(root)
    assert len(results.trials) < 8
    assert results.is_complete
    assert {trial.ending.reason for trial in results.trials if trial.ending and trial.state == "pruned"} == {"stopped"}


def test_a_study_whose_time_is_over_ends_and_goes_on_when_it_gets_more(run: Run, root: Path, file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace("trials = 8", "trials = 8\nseconds = 1e-9"))
    assert run().status == "complete"
    results = results_in(root)
    assert results.record.limits[-1].is_over
    assert {trial.state for trial in results.trials} <= {"pruned", "complete"}
    assert len(results.trials) < 8
    assert run().status == "already complete"
    file.write_text(text.replace("trials = 8", "trials = 8\nseconds = 1e6"))
    assert run().status == "complete"
    assert len(results_in(root).trials) == 8
    assert Home(root).study(NAME).checkpoints() == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("budget = 0.5", '"budget": must be at least 1'),
        ("trials = 0", '"trials": must be at least 1'),
        ("patience = 0", '"patience": must be at least 1'),
        ("seconds = 0", '"seconds": must be above 0'),
        ('target = "high"', '"target": must be a number'),
    ],
)
def test_an_impossible_limit_is_refused(run: Run, file: Path, line: str, problem: str) -> None:
    file.write_text(file.read_text().replace("trials = 8", line))
    with pytest.raises(ConfigError, match=problem):
        run()
