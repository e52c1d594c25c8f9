"""The driver: the trial table depends neither on the workers, nor on the order of their results, nor on stops."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from studies.running.driver import Driver
from studies.running.engines import InProcess, LocalProcesses
from studies.running.live_trial import Snapshot
from studies.search.spec import StudySpec
from tests.studies.running.driver_data import (
    TRIALS,
    Changed,
    Shuffled,
    Tables,
    reference_fixture,  # noqa: F401 - a fixture
    tables,
)
from tests.study_data import (
    PRUNING,
    most_eager,
    open_ledger,
    rows,
    run,
    run_until,
    small_study,
    study_folder,
    trial_table,
)


def fast_and_slow(fast: Iterable[int], slow: Iterable[int]) -> list[Any]:
    """Return parameters for a test; those that are in `slow` only are marked slow."""
    fast = list(fast)
    return [*fast, *(pytest.param(value, marks=pytest.mark.slow) for value in slow if value not in fast)]


def test_the_study_of_these_tests_has_complete_and_pruned_trials(reference: Tables) -> None:
    states = Counter(row[1] for row in reference[0])
    assert states["COMPLETE"] >= 3
    assert states["PRUNED"] >= 3
    assert len({row[6]["epoch_cost"] for row in reference[0]}) >= 3


@pytest.mark.parametrize("seed", fast_and_slow([0, 1], range(2, 12)))
def test_the_table_does_not_depend_on_the_order_in_which_results_arrive(
    tmp_path: Path, digits: Path, reference: Tables, seed: int
) -> None:
    engine = Shuffled(3, seed)
    run(small_study(), tmp_path, digits, engine=engine)
    assert tables(tmp_path) == reference
    assert 1 < engine.most <= 3


@pytest.mark.parametrize("seed", fast_and_slow([0], range(1, 12)))
def test_the_table_does_not_depend_on_how_epochs_fall_into_segments(
    tmp_path: Path, digits: Path, reference: Tables, seed: int
) -> None:
    dice = random.Random(seed)
    engine = Changed(lambda segment: replace(segment, epochs=dice.randint(1, 5)))
    run(small_study(), tmp_path, digits, engine=engine)
    assert tables(tmp_path) == reference


@pytest.mark.slow
def test_worker_processes_lead_to_the_same_table(tmp_path: Path, digits: Path, reference: Tables) -> None:
    with LocalProcesses(2) as engine:
        run(small_study(), tmp_path, digits, engine=engine)
    assert tables(tmp_path) == reference


def test_exactly_the_total_is_asked_and_no_trial_is_left_running(tmp_path: Path, digits: Path) -> None:
    run(small_study({"trials": 2, "parallelism": 6}), tmp_path, digits)
    assert [row.state for row in rows(tmp_path)] == [TrialState.COMPLETE, TrialState.COMPLETE]
    assert [file.name for file in sorted(study_folder(tmp_path).trials.iterdir())] == ["0000.jsonl", "0001.jsonl"]


def test_no_more_trials_run_at_once_than_the_study_allows(tmp_path: Path, digits: Path) -> None:
    seen: list[Snapshot] = []
    run(small_study({"parallelism": 2, "trials": 6}), tmp_path, digits, engine=Shuffled(5, 0), on_change=seen.append)
    assert max(snapshot.running for snapshot in seen) == 2


@pytest.mark.parametrize("n_events", fast_and_slow([0, 5, 12], range(22)))
def test_a_stopped_study_resumes_to_the_same_table(
    tmp_path: Path, digits: Path, reference: Tables, n_events: int
) -> None:
    run_until(n_events, small_study(), tmp_path, digits)
    assert trial_table(tmp_path) != reference[0]
    run(small_study(), tmp_path, digits)
    assert tables(tmp_path) == reference


def check_resume(spec: StudySpec, root: Path, digits: Path) -> None:
    run(spec, root / "at once", digits)
    for n_events in (2, 11):
        run_until(n_events, spec, root / "stopped", digits)
    run(spec, root / "stopped", digits)
    assert trial_table(root / "stopped") == trial_table(root / "at once")


def test_a_stopped_study_continues_the_sequence_of_a_sampler_with_a_memory(tmp_path: Path, digits: Path) -> None:
    rates = {"optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True}}
    check_resume(small_study({"sampler": "quasi_random", "trials": 5}, space=rates), tmp_path, digits)
    positions = [row.system_attrs.get("study_attributes", {}).values() for row in rows(tmp_path / "stopped")]
    assert [list(changes) for changes in positions] == [[], [0], [1], [2], [3]]


@pytest.mark.slow
def test_a_study_that_is_stopped_many_times_has_the_same_table(tmp_path: Path, digits: Path, reference: Tables) -> None:
    for n_events in range(4, 40, 6):
        run_until(n_events, small_study(), tmp_path, digits)
    assert tables(tmp_path) == reference


@pytest.mark.parametrize("n_events", [6, 13])
def test_the_record_of_a_stopped_study_is_a_part_of_the_full_table(
    tmp_path: Path, digits: Path, reference: Tables, n_events: int
) -> None:
    run_until(n_events, small_study(), tmp_path, digits)
    stopped, logs = tables(tmp_path)
    assert 0 < len(stopped) <= len(reference[0])
    for row, full in zip(stopped, reference[0], strict=False):
        assert row == full or (row[1], row[3]) == ("RUNNING", full[3])
    for log, full in zip(logs, reference[1], strict=False):
        assert log == full[: len(log)]


@pytest.mark.parametrize("n_events", fast_and_slow([9], range(20)))
def test_a_study_resumes_after_its_driver_died_between_two_events(
    tmp_path: Path, digits: Path, reference: Tables, n_events: int
) -> None:
    left = n_events

    def die(_: Snapshot) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small_study(), tmp_path, digits, on_change=die)
    run(small_study(), tmp_path, digits)
    assert tables(tmp_path) == reference


@pytest.mark.slow
@pytest.mark.parametrize("n_statements", fast_and_slow([0, 40, 90], range(0, 91, 2)))
def test_a_study_resumes_after_its_driver_died_while_writing_to_the_database(
    tmp_path: Path, digits: Path, reference: Tables, n_statements: int
) -> None:
    ledger, storage = open_ledger(small_study(), tmp_path, digits)
    left = n_statements

    @event.listens_for(storage.engine, "before_cursor_execute")
    def _(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal left
        left -= statement.startswith(("INSERT", "UPDATE"))
        if left < 0:
            raise KeyboardInterrupt

    driver = Driver(ledger, InProcess(), digits, on_change=None, should_stop=lambda: False)
    with pytest.raises(KeyboardInterrupt):
        driver.run()
    storage.engine.dispose()
    run(small_study(), tmp_path, digits)
    assert tables(tmp_path) == reference


def test_a_stopped_study_resumes_from_its_checkpoints(tmp_path: Path, digits: Path) -> None:
    run_until(12, small_study(), tmp_path, digits)
    folder = study_folder(tmp_path)
    checkpoints = [int(file.stem) for file in folder.trials.glob("*.npz")]
    assert checkpoints
    engine = Changed(lambda segment: segment)
    run(small_study(), tmp_path, digits, engine=engine)
    first = {segment.trial: segment.start for segment in reversed(engine.segments)}
    assert all(first.get(number, 1) > 0 for number in checkpoints)
    assert not list(folder.trials.glob("*.npz"))


def test_a_complete_study_is_replayed_without_computing_anything(
    tmp_path: Path, digits: Path, reference: Tables
) -> None:
    run(small_study(), tmp_path, digits)
    engine = Changed(lambda segment: segment)
    seen: list[Snapshot] = []
    ledger = run(small_study(), tmp_path, digits, engine=engine, on_change=seen.append)
    assert engine.segments == []
    assert tables(tmp_path) == reference
    assert (seen[-1].done, seen[-1].resumed, seen[-1].best) == (TRIALS, TRIALS, ledger.decisions.best)


@pytest.mark.slow
@pytest.mark.parametrize("pruner", PRUNING)
@pytest.mark.parametrize("seed", fast_and_slow([16], [*range(5), 19]))
def test_a_study_with_a_raised_total_keeps_its_recorded_trials(
    tmp_path: Path, digits: Path, seed: int, pruner: str
) -> None:
    """The trial that was the last one at first is not pruned later because of the trials after it."""
    study = {"seed": seed, "parallelism": 2, "sampler": "random", "pruner": most_eager(pruner)}
    base = {"epochs": 5, "network": {"hidden": []}, "optimizer": {"name": "adam", "learning_rate": 1e-5}}
    space = {
        "network.hidden": [[], [200, 100]],
        "optimizer.learning_rate": {"low": 1e-5, "high": 0.1, "log": True},
    }
    for trials in (2, 5, 8):
        run(small_study(study | {"trials": trials}, base, space), tmp_path / "not stopped", digits)
    final = tables(tmp_path / "not stopped")
    for trials in (2, 5, 8):
        for n_events in (3, 6, 11):
            run_until(n_events, small_study(study | {"trials": trials}, base, space), tmp_path / "stopped", digits)
        run(small_study(study | {"trials": trials}, base, space), tmp_path / "stopped", digits)
        assert [rows[:trials] for rows in tables(tmp_path / "stopped")] == [rows[:trials] for rows in final]


def test_a_lowered_total_changes_nothing(tmp_path: Path, digits: Path) -> None:
    run(small_study({"pruner": "none", "trials": 5}), tmp_path, digits)
    before = tables(tmp_path)
    run(small_study({"pruner": "none", "trials": 3}), tmp_path, digits)
    assert tables(tmp_path) == before
