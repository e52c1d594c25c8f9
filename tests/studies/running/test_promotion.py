"""A study with pauses and promotions: the same table for any number of workers, after any stop, and with any limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studies.errors import HistoryMismatchError
from studies.records.limits import Limits
from studies.records.trial_log import read_log
from studies.running.driver import Driver
from studies.running.engines import InProcess
from studies.search.spec import StudySpec
from tests.studies.running.driver_data import Shuffled, Tables, tables
from tests.study_data import IDENTITY, log_table, open_ledger, run, run_until, small_study, study_folder

ASHA = {"name": "asha", "min_epochs": 1, "factor": 2, "finish": 0.2}


def study(**settings: Any) -> StudySpec:
    return small_study({"pruner": ASHA, "trials": None, "budget": 5.0} | settings, {"epochs": 5})


def run_with(limits: list[Limits], root: Path, digits: Path, *, end_after: int = 10**9) -> int:
    """Run a study under limits that change at given steps; end its search after a number of events."""
    ledger, storage = open_ledger(study(), root, digits, limits)
    left = iter(range(end_after, -1, -1))
    try:
        driver = Driver(ledger, InProcess(), digits, on_change=None, should_stop=lambda: next(left, 1) == 0)
        if not driver.run():
            limits.append(ledger.end_search())
            assert Driver.run(driver)
    finally:
        storage.engine.dispose()
    return ledger.step


@pytest.fixture(scope="module", name="undisturbed")
def undisturbed_fixture(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("undisturbed")
    run(study(), root, digits)
    return tables(root)


def test_trials_pause_are_promoted_and_at_the_end_pruned(undisturbed: Tables) -> None:
    events = [[line["event"] for line in lines] for lines in undisturbed[1]]
    assert any("promoted" in of_trial for of_trial in events)
    assert any(of_trial[-2:] == ["paused", "ended"] for of_trial in events)
    assert {row[1] for row in undisturbed[0]} == {"COMPLETE", "PRUNED"}
    assert sum(of_trial.count("epoch") for of_trial in events) <= 25


def test_the_steps_of_all_logs_are_one_sequence(undisturbed: Tables) -> None:
    steps = sorted(line["step"] for lines in undisturbed[1] for line in lines)
    assert [int(step) for step in steps] == list(range(len(steps)))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_results_arrive_does_not_matter(
    tmp_path: Path, digits: Path, undisturbed: Tables, seed: int
) -> None:
    run(study(), tmp_path, digits, engine=Shuffled(3, seed))
    assert tables(tmp_path) == undisturbed


@pytest.mark.parametrize("at", [13, *(pytest.param(at, marks=pytest.mark.slow) for at in range(1, 50, 3))])
def test_a_stopped_study_resumes_to_the_same_table(tmp_path: Path, digits: Path, undisturbed: Tables, at: int) -> None:
    run_until(at, study(), tmp_path, digits)
    run(study(), tmp_path, digits)
    assert tables(tmp_path) == undisturbed


def test_a_paused_trial_continues_without_its_checkpoint(tmp_path: Path, digits: Path, undisturbed: Tables) -> None:
    run_until(12, study(), tmp_path, digits)
    for checkpoint in study_folder(tmp_path).checkpoints():
        checkpoint.unlink()
    run(study(), tmp_path, digits)
    assert tables(tmp_path) == undisturbed


def test_a_lost_log_is_computed_again(tmp_path: Path, digits: Path, undisturbed: Tables) -> None:
    run_until(14, study(), tmp_path, digits)
    study_folder(tmp_path).log(2).unlink()
    run(study(), tmp_path, digits)
    assert tables(tmp_path) == undisturbed


def test_no_checkpoint_is_left_at_the_end(tmp_path: Path, digits: Path) -> None:
    run(study(), tmp_path, digits)
    assert study_folder(tmp_path).checkpoints() == []


def test_a_paused_trial_is_read_as_paused(tmp_path: Path, digits: Path) -> None:
    run_until(14, study(), tmp_path, digits)
    trials = [read_log(file, IDENTITY) for file in study_folder(tmp_path).logs()]
    paused = [trial for trial in trials if trial is not None and trial.state == "paused"]
    assert paused
    assert all(trial.pauses[-1].epoch == trial.n_epochs and trial.value is None for trial in paused)


@pytest.mark.parametrize("at", [6, 17, 10**9])
def test_a_raised_budget_is_repeated_from_the_step_at_which_it_was_raised(
    tmp_path: Path, digits: Path, at: int
) -> None:
    root = tmp_path / "raised"
    run_until(at, study(), root, digits)
    before = log_table(root)
    step = max(int(line["step"]) for lines in before for line in lines) + 1
    limits = [study().limits, replace(study(budget=8.0).limits, step=step)]
    run_with(limits, root, digits)
    after = log_table(root)
    for old, new in zip(before, after, strict=False):
        assert new[: len(old)] == old
    assert sum(line["event"] == "epoch" for lines in after for line in lines) > 25
    # A launch that has lost half of the logs repeats the same history.
    for file in study_folder(root).logs()[1::2]:
        file.unlink()
    (root / "optuna.db").unlink()
    run_with(limits, root, digits)
    assert log_table(root) == after


def test_a_search_that_is_ended_early_ends_what_runs_and_stays_ended(tmp_path: Path, digits: Path) -> None:
    limits = [study().limits]
    step = run_with(limits, tmp_path, digits, end_after=9)
    after = tables(tmp_path)
    endings = [lines[-1] for lines in after[1]]
    assert {ending["event"] for ending in endings} == {"ended"}
    assert "stopped" in {ending["reason"] for ending in endings}
    assert run_with(limits, tmp_path, digits) == step
    assert tables(tmp_path) == after


def test_a_promotion_of_a_trial_that_is_not_paused_is_refused(tmp_path: Path, digits: Path) -> None:
    run(study(), tmp_path / "a", digits)
    ledger, storage = open_ledger(study(), tmp_path / "a", digits)
    start = next(step for step, (kind, _) in ledger._starts.items() if kind == "promoted")
    ledger._starts[start] = ("promoted", 0)
    try:
        with pytest.raises(HistoryMismatchError, match=rf"step {start} promotes it, but it is not paused"):
            Driver(ledger, InProcess(), digits, on_change=None, should_stop=lambda: False).run()
    finally:
        storage.engine.dispose()
