"""The driver: the trial table depends neither on the workers, nor on the order of their results, nor on stops."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from studies.errors import AllWorkersLostError, WorkerLostError
from studies.records.trial_log import read_log
from studies.running.driver import MAX_LOST_WORKERS, Driver, Snapshot
from studies.running.engines import AbstractEngine, InProcess, LocalProcesses
from studies.running.segments import Progress, Segment, run_segment
from studies.search.samplers import AbstractSampler, samplers
from studies.search.spec import StudySpec
from tests.study_data import (
    IDENTITY,
    PRUNING,
    STUDY,
    log_table,
    most_eager,
    open_ledger,
    rows,
    run,
    run_until,
    small_study,
    study_folder,
    trial_table,
)

Tables = tuple[list[Any], list[Any]]

TRIALS = STUDY["trials"]


class Changed(InProcess):
    """Computes at once, but changes a segment first, or lets it fail."""

    def __init__(self, change: Callable[[Segment], Segment]) -> None:
        self.change = change
        self.segments: list[Segment] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute the changed segment."""
        self.segments.append(args[0])
        return super().submit(lambda segment: fn(self.change(segment)), *args, **kwargs)


class Shuffled(AbstractEngine):
    """Computes at once, but returns the results later and in random order.

    Attributes:
        most: the largest number of results that were held back at the same time.
    """

    def __init__(self, n_workers: int, seed: int) -> None:
        self.n_workers = n_workers
        self.most = 0
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._held: list[tuple[Future[Any], Any]] = []
        self._trials: dict[Future[Any], int] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute, and return one of the results that are held back after a moment."""
        future: Future[Any] = Future()
        assert args[0].trial not in [trial for other, trial in self._trials.items() if not other.done()]
        self._trials[future] = args[0].trial
        with self._lock:
            self._held.append((future, fn(*args, **kwargs)))
            self.most = max(self.most, len(self._held))
        threading.Timer(self._dice.uniform(0.0, 0.005), self._release).start()
        return future

    def _release(self) -> None:
        with self._lock:
            future, result = self._held.pop(self._dice.randrange(len(self._held)))
        future.set_result(result)


def fast_and_slow(fast: Iterable[int], slow: Iterable[int]) -> list[Any]:
    """Return parameters for a test; those that are in `slow` only are marked slow."""
    fast = list(fast)
    return [*fast, *(pytest.param(value, marks=pytest.mark.slow) for value in slow if value not in fast)]


def tables(root: Path) -> Tables:
    return trial_table(root), log_table(root)


def fail_at(trial: int, epoch: int) -> Callable[[Segment], Segment]:
    """Return a change that fails each segment with this epoch of this trial."""

    def change(segment: Segment) -> Segment:
        if segment.trial == trial and segment.start < epoch <= segment.start + segment.epochs:
            raise ZeroDivisionError("a failure")
        return segment

    return change


def lose(trial: int, times: int) -> Callable[[Segment], Segment]:
    """Return a change that loses the worker several times at each segment of a trial."""
    lost: Counter[int] = Counter()

    def change(segment: Segment) -> Segment:
        if segment.trial == trial and lost[segment.start] < times:
            lost[segment.start] += 1
            raise WorkerLostError("killed")
        return segment

    return change


@pytest.fixture(scope="module")
def reference(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables of the small study, run without a stop in this process."""
    root = tmp_path_factory.mktemp("reference")
    run(small_study(), root, digits)
    return tables(root)


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in samplers if name != STUDY["sampler"]["name"]])
def test_a_stopped_study_resumes_with_any_sampler(tmp_path: Path, digits: Path, name: str) -> None:
    check_resume(small_study({"sampler": name, "trials": 5}), tmp_path, digits)


def test_a_stopped_study_continues_the_sequence_of_a_sampler_with_a_memory(
    tmp_path: Path, digits: Path, quasi_random: AbstractSampler
) -> None:
    rates = {"optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True}}
    check_resume(small_study({"sampler": quasi_random, "trials": 5}, space=rates), tmp_path, digits)
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
@pytest.mark.parametrize("n_statements", fast_and_slow([0, 50, 100], range(0, 126, 3)))
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
    assert (seen[-1].done, seen[-1].resumed, seen[-1].best) == (TRIALS, TRIALS, ledger.best)


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


def test_an_error_in_a_segment_fails_its_trial_only(tmp_path: Path, digits: Path) -> None:
    engine = Changed(fail_at(trial=2, epoch=1))
    run(small_study(), tmp_path, digits, engine=engine)
    states = [row.state for row in rows(tmp_path)]
    assert states[2] == TrialState.FAIL
    assert states.count(TrialState.FAIL) == 1
    assert all(state.is_finished() for state in states)
    assert rows(tmp_path)[2].user_attrs["reason"] == "ZeroDivisionError"
    record = read_log(study_folder(tmp_path).log(2), IDENTITY)
    assert record is not None
    assert record.ending is not None
    assert (record.state, record.ending.reason, record.value) == ("failed", "ZeroDivisionError", None)
    assert record.ending.error.startswith("Traceback (most recent call last)")
    assert "in fail_at" not in record.ending.error
    assert record.ending.error.rstrip().endswith("ZeroDivisionError: a failure")
    assert [segment.trial for segment in engine.segments].count(2) <= 2  # first with several epochs, then with one


def test_a_failed_trial_keeps_the_epochs_before_it_failed(tmp_path: Path, digits: Path) -> None:
    def change(segment: Segment) -> Segment:
        return fail_at(trial=1, epoch=3)(replace(segment, epochs=1))

    run(small_study({"pruner": "none"}), tmp_path, digits, engine=Changed(change))
    assert list(rows(tmp_path)[1].intermediate_values) == [1, 2]
    assert not study_folder(tmp_path).checkpoint(1).exists()


def test_a_study_with_a_failed_trial_is_replayed_to_the_same_table(tmp_path: Path, digits: Path) -> None:
    engine = Changed(lambda segment: fail_at(trial=1, epoch=3)(replace(segment, epochs=1)))
    run(small_study({"trials": 5}), tmp_path, digits, engine=engine)
    before = tables(tmp_path)
    ledger = run(small_study({"trials": 5}), tmp_path, digits, engine=engine)
    assert tables(tmp_path) == before
    assert ledger.counts["failed"] == 1


def test_a_trial_fails_after_the_same_epoch_however_epochs_fall_into_segments(tmp_path: Path, digits: Path) -> None:
    for epochs in (1, 4):
        engine = Changed(lambda s, n=epochs: fail_at(trial=2, epoch=3)(replace(s, epochs=min(n, s.epochs))))
        run(small_study({"pruner": "none", "trials": 4}), tmp_path / str(epochs), digits, engine=engine)
    assert trial_table(tmp_path / "1") == trial_table(tmp_path / "4")


def test_a_segment_whose_worker_is_lost_is_computed_again(tmp_path: Path, digits: Path, reference: Tables) -> None:
    losing = lose(trial=4, times=MAX_LOST_WORKERS - 1)
    engine = Changed(lambda segment: losing(replace(segment, epochs=1)))
    run(small_study(), tmp_path, digits, engine=engine)
    assert tables(tmp_path) == reference
    starts = Counter(segment.start for segment in engine.segments if segment.trial == 4)
    n_epochs = len(rows(tmp_path)[4].intermediate_values)
    assert n_epochs >= 1
    assert {starts[start] for start in range(n_epochs)} == {MAX_LOST_WORKERS}


def test_a_trial_fails_after_losing_too_many_workers(tmp_path: Path, digits: Path) -> None:
    engine = Changed(lose(trial=2, times=MAX_LOST_WORKERS))
    run(small_study(), tmp_path, digits, engine=engine)
    assert [segment.trial for segment in engine.segments].count(2) == MAX_LOST_WORKERS
    found = {row.number: (row.state, row.user_attrs["reason"]) for row in rows(tmp_path)}
    assert found[2] == (TrialState.FAIL, "worker_lost")
    assert sum(state == TrialState.FAIL for state, _ in found.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_study_stops_when_workers_die_whatever_they_compute(
    tmp_path: Path, digits: Path, reference: Tables, n_workers: int
) -> None:
    class Dying(InProcess):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(WorkerLostError("worker 7 has died (signal SIGKILL)."))
            return future

    engine = Dying()
    engine.n_workers = n_workers
    with pytest.raises(AllWorkersLostError, match=r"in a row have died; the last one: worker 7 .* Nothing is lost"):
        run(small_study(), tmp_path, digits, engine=engine)
    assert {row.state for row in rows(tmp_path)} == {TrialState.RUNNING}
    run(small_study(), tmp_path, digits)
    assert tables(tmp_path) == reference


@pytest.mark.parametrize("can_answer", [True, False])
def test_a_single_trial_that_loses_all_its_workers_fails_only_if_workers_can_compute_at_all(
    tmp_path: Path, digits: Path, can_answer: bool
) -> None:
    class Dying(InProcess):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            if fn is run_segment or not can_answer:
                future: Future[Any] = Future()
                future.set_exception(WorkerLostError("gone."))
                return future
            return super().submit(fn, *args, **kwargs)

    study = small_study({"parallelism": 1, "trials": 1})
    if can_answer:
        assert run(study, tmp_path, digits, engine=Dying()).counts["failed"] == 1
    else:
        with pytest.raises(AllWorkersLostError):
            run(study, tmp_path, digits, engine=Dying())
        assert run(study, tmp_path, digits).counts["complete"] == 1


def test_no_more_segments_are_submitted_than_there_are_workers(tmp_path: Path, digits: Path) -> None:
    engine = Shuffled(1, 0)
    run(small_study({"trials": 4}), tmp_path, digits, engine=engine)
    assert engine.most == 1


def test_epochs_computed_after_the_pruned_one_leave_no_trace(tmp_path: Path, digits: Path, reference: Tables) -> None:
    ahead: Counter[int] = Counter()

    def far(segment: Segment) -> Progress:
        ahead[segment.trial] += segment.epochs
        return run_segment(replace(segment, epochs=4))

    class Far(InProcess):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            return super().submit(far, *args)

    run(small_study(), tmp_path, digits, engine=Far())
    assert tables(tmp_path) == reference
    assert set(ahead) == set(range(TRIALS))


def test_a_logged_failure_is_kept_after_the_driver_died_before_writing_its_row(tmp_path: Path, digits: Path) -> None:
    ledger, storage = open_ledger(small_study(), tmp_path, digits)

    @event.listens_for(storage.engine, "before_cursor_execute")
    def _(*_: Any) -> None:
        record = read_log(study_folder(tmp_path).log(2), IDENTITY)
        if record is not None and record.ending is not None:
            raise KeyboardInterrupt

    engine = Changed(fail_at(trial=2, epoch=1))
    with pytest.raises(KeyboardInterrupt):
        Driver(ledger, engine, digits, on_change=None, should_stop=lambda: False).run()
    storage.engine.dispose()
    run(small_study(), tmp_path, digits)
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    records = [read_log(file, IDENTITY) for file in study_folder(tmp_path).logs()]
    assert [states[record.state] for record in records if record] == [row.state for row in rows(tmp_path)]


def test_snapshots_show_the_progress_of_the_study(tmp_path: Path, digits: Path) -> None:
    seen: list[Snapshot] = []
    ledger = run(small_study(), tmp_path, digits, on_change=seen.append)
    found = rows(tmp_path)
    last = seen[-1]
    assert (last.total, last.done, last.running, last.failed, last.resumed) == (TRIALS, TRIALS, 0, 0, 0)
    assert last.pruned == sum(row.state == TrialState.PRUNED for row in found)
    complete = [(row.value, -row.number) for row in found if row.state == TrialState.COMPLETE]
    assert last.best == ledger.best == (-max(complete)[1], max(complete)[0])
    assert all(one.done <= two.done for one, two in pairwise(seen))
    assert seen[0].best is None


def test_a_resumed_study_reports_how_many_trials_had_ended_before(tmp_path: Path, digits: Path) -> None:
    run_until(12, small_study(), tmp_path, digits)
    ended = sum(row.state.is_finished() for row in rows(tmp_path))
    seen: list[Snapshot] = []
    run(small_study(), tmp_path, digits, on_change=seen.append)
    assert 0 < ended < TRIALS
    assert seen[-1].resumed == ended
