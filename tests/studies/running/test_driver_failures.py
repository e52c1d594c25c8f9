"""The driver: what fails a trial, and what only repeats a segment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
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
from studies.running.driver import MAX_LOST_WORKERS, Driver
from studies.running.engines import InProcess
from studies.running.live_trial import Snapshot
from studies.running.segments import Progress, Segment, run_segment
from tests.studies.running.driver_data import (
    TRIALS,
    Changed,
    Shuffled,
    Tables,
    reference_fixture,  # noqa: F401 - a fixture
    tables,
)
from tests.study_data import (
    IDENTITY,
    open_ledger,
    rows,
    run,
    run_until,
    small_study,
    study_folder,
    trial_table,
)


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


def test_an_error_in_a_segment_fails_its_trial_only(tmp_path: Path, digits: Path) -> None:
    engine = Changed(fail_at(trial=2, epoch=1))
    run(small_study(), tmp_path, digits, engine=engine)
    states = [row.state for row in rows(tmp_path)]
    assert states[2] == TrialState.FAIL
    assert states.count(TrialState.FAIL) == 1
    assert all(state.is_finished() for state in states)
    assert rows(tmp_path)[2].user_attrs["reason"] == "error"
    record = read_log(study_folder(tmp_path).log(2), IDENTITY)
    assert record is not None
    assert record.ending is not None
    assert (record.state, record.ending.reason, record.value) == ("failed", "error", None)
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
    assert found[2] == (TrialState.FAIL, "crash")
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
    assert last.best == ledger.decisions.best == (-max(complete)[1], max(complete)[0])
    assert all(one.done <= two.done for one, two in pairwise(seen))
    assert seen[0].best is None


def test_a_resumed_study_reports_how_many_trials_had_ended_before(tmp_path: Path, digits: Path) -> None:
    run_until(12, small_study(), tmp_path, digits)
    ended = sum(row.state.is_finished() for row in rows(tmp_path))
    seen: list[Snapshot] = []
    run(small_study(), tmp_path, digits, on_change=seen.append)
    assert 0 < ended < TRIALS
    assert seen[-1].resumed == ended
