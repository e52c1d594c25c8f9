"""`run_study` from Python: its result, its callbacks, its errors, and how it is stopped and resumed."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import threading
import tomllib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from mlp.errors import ConfigError
from studies.launch import Launch, run_study
from studies.models.export import read_config
from studies.models.retrain import retrain
from studies.plan import plan_study
from studies.records.home import Home
from studies.records.results import load_study
from studies.running.engines import InProcess
from studies.running.live_trial import Snapshot
from studies.search.spec import make_spec
from studies.tracking.projection import epoch_points
from tests.studies.launch_data import (
    Run,
    file_fixture,  # noqa: F401 - a fixture
    root_fixture,  # noqa: F401 - a fixture
    run_fixture,  # noqa: F401 - a fixture
)
from tests.study_data import (
    NAME,
    log_table,
    prepared_digits,  # noqa: F401 - a fixture
    trial_table,
)

pytestmark = pytest.mark.usefixtures("digits")


class Counting(InProcess):
    """Computes as usual, and counts its calls."""

    def __init__(self) -> None:
        self.segments: list[Any] = []
        self.n_shutdowns = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Record a segment and compute it."""
        self.segments += args
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Count it."""
        self.n_shutdowns += 1


class Broken(InProcess):
    """Fails on every segment."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Fail."""
        future: Future[Any] = Future()
        future.set_exception(ZeroDivisionError("there is nothing to compute with"))
        return future


class SignalAt:
    """Sends this process one signal, when a given number of trials have ended."""

    def __init__(self, done: int, number: int = signal.SIGTERM) -> None:
        self.done = done
        self.number = number

    def __call__(self, snapshot: Snapshot) -> None:
        """Send the signal if it is time."""
        if snapshot.done == self.done:
            self.done = -1  # a second signal would end this process
            os.kill(os.getpid(), self.number)


def test_a_launch_returns_its_result(run: Run, root: Path) -> None:
    launch = run()
    folder = Home(root).study(NAME)
    assert launch == Launch(load_study(NAME, root), "complete", 0, folder.best, "", launch.seconds)
    assert 0 < launch.seconds < 60
    results = load_study(NAME, root)
    assert (results.total, len(results.trials), results.is_complete) == (8, 8, True)
    assert launch.export is not None
    config, provenance = read_config(launch.export)
    assert provenance is not None
    best = results.ranked()[0]
    assert (provenance.trial, provenance.value) == (best.number, best.value)
    assert config == results.config(best.number)


def test_paths_can_be_strings(file: Path, root: Path) -> None:
    launch = run_study(str(file), trials=1, home=str(root), data_dir=str(root), engine="in-process", publish=False)
    assert launch.results == load_study(NAME, root)
    assert plan_study(str(file), data_dir=str(root)).spec.study.name == NAME


def test_without_publishing_mlflow_is_not_used(run: Run, root: Path) -> None:
    run(trials=2)
    assert not (root / "mlflow.db").exists()
    assert not Home(root).study(NAME).publisher_log.exists()
    assert multiprocessing.active_children() == []


def test_a_study_that_is_complete_is_not_launched_again(run: Run, root: Path) -> None:
    run(trials=2)
    before = trial_table(root), log_table(root)
    engine, seen = Counting(), list[Snapshot]()
    launch = run(trials=2, engine=engine, on_change=seen.append)
    assert launch == Launch(
        load_study(NAME, root), "already complete", 0, Home(root).study(NAME).best, "", launch.seconds
    )
    assert (engine.segments, seen) == ([], [])
    assert (trial_table(root), log_table(root)) == before


def test_snapshots_show_the_study_growing_to_its_total(run: Run, root: Path) -> None:
    seen: list[Snapshot] = []
    run(on_change=seen.append)
    assert {snapshot.total for snapshot in seen} == {8}
    assert max(snapshot.running for snapshot in seen) == 3
    assert sorted({snapshot.done for snapshot in seen}) == list(range(9))
    for before, after in itertools.pairwise(seen):
        assert before.done <= after.done <= before.done + 1
        assert before.best is None or (after.best is not None and before.best[1] <= after.best[1])
    counts, best = load_study(NAME, root).counts(), load_study(NAME, root).ranked()[0]
    last = seen[-1]
    assert (last.asked, last.done, last.running, last.paused, last.resumed) == (8, 8, 0, 0, 0)
    assert (last.pruned, last.failed) == (counts["pruned"], counts["failed"])
    assert last.best == (best.number, best.value)
    assert last.epochs == load_study(NAME, root).n_epochs


def test_a_raised_total_keeps_the_trials_that_exist_and_counts_them_as_resumed(run: Run, root: Path) -> None:
    run(trials=5)
    before = log_table(root)
    engine, seen = Counting(), list[Snapshot]()
    assert run(trials=7, engine=engine, on_change=seen.append).status == "complete"
    assert log_table(root)[:5] == before
    assert {segment.trial for segment in engine.segments} == {5, 6}
    assert (seen[-1].done, seen[-1].total, seen[-1].resumed) == (7, 7, 5)
    assert load_study(NAME, root).total == 7


def test_a_total_below_the_number_of_started_trials_leaves_no_trial_running(run: Run, root: Path) -> None:
    assert run(timeout=0).status == "out of time"
    with contextlib.suppress(ConfigError):  # it may be refused, but if it is accepted, no trial may be left running
        assert run(trials=1).status == "complete"
        assert [row for row in trial_table(root) if row[1] == "RUNNING"] == []
        assert list(Home(root).study(NAME).trials.glob("*.npz")) == []
        assert run(trials=1).status == "already complete"


def test_an_engine_opened_by_the_caller_computes_and_is_shut_down(run: Run) -> None:
    engine = Counting()
    assert run(trials=2, engine=engine).status == "complete"
    assert {segment.trial for segment in engine.segments} == {0, 1}
    assert engine.n_shutdowns >= 1


def test_a_study_whose_trials_all_fail_is_complete_and_has_no_best_trial(run: Run, root: Path) -> None:
    seen: list[Snapshot] = []
    launch = run(trials=4, engine=Broken(), on_change=seen.append)
    assert (launch.status, launch.export) == ("complete", None)
    assert (seen[-1].done, seen[-1].failed, seen[-1].best) == (4, 4, None)
    results = load_study(NAME, root)
    assert results.best is None
    endings = [trial.ending for trial in results.trials]
    assert [(ending.state, ending.reason) for ending in endings if ending] == [("failed", "error")] * 4
    assert all("there is nothing to compute with" in ending.error for ending in endings if ending)
    assert run(trials=4).status == "already complete"


def test_a_study_whose_trials_all_failed_can_get_more_trials(run: Run, root: Path) -> None:
    run(trials=2, engine=Broken())
    launch = run(trials=3)
    assert (launch.status, launch.export) == ("complete", Home(root).study(NAME).best)
    best = load_study(NAME, root).best
    assert best is not None
    assert best.number == 2


@pytest.mark.slow
def test_a_stopped_study_resumes_in_another_folder_to_the_same_table(run: Run, root: Path, tmp_path: Path) -> None:
    elsewhere, undisturbed = tmp_path / "elsewhere", tmp_path / "undisturbed"
    shutil.copytree(root, undisturbed)
    assert run(on_change=SignalAt(2)).status == "interrupted"
    shutil.move(root, elsewhere)
    assert run(home=elsewhere, timeout=0).status == "out of time"
    assert run(home=elsewhere, on_change=SignalAt(5)).status == "interrupted"
    launch = run(home=elsewhere)
    assert (launch.status, launch.export) == ("complete", Home(elsewhere).study(NAME).best)
    run(home=undisturbed)
    assert trial_table(elsewhere) == trial_table(undisturbed)
    assert log_table(elsewhere) == log_table(undisturbed)
    assert not root.exists()


FOLDS = ["data.folds=3", "data.subset=300", "early_stopping={ patience = 1, metric = 'validation/accuracy' }"]


def test_a_study_with_folds_has_the_same_table_after_a_kill_and_its_export_is_reproduced(
    run: Run, root: Path, tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(root, undisturbed)
    assert run(trials=4, overrides=FOLDS, on_change=SignalAt(2)).status == "interrupted"
    launch = run(trials=4, overrides=FOLDS)
    run(trials=4, overrides=FOLDS, home=undisturbed)
    assert trial_table(root) == trial_table(undisturbed)
    assert log_table(root) == log_table(undisturbed)
    assert launch.export is not None
    best = launch.results.best
    assert best is not None
    assert best.history["validation/accuracy_std"]
    assert best.history["validation/accuracy@fold1"]
    published = {point.key for point in epoch_points(best, 0)} | best.summary().keys()
    assert not [key for key in published if "@" in key]
    again = retrain(launch.export)
    assert again.reproduced
    assert (again.n_folds, again.n_refit) == (3, 0)
    assert again.scores["validation/accuracy"] == best.value


@pytest.mark.slow
def test_worker_processes_lead_to_the_same_table_of_a_study_with_folds(run: Run, root: Path, tmp_path: Path) -> None:
    tables = []
    for workers in (1, 2):
        home = tmp_path / f"{workers} workers"
        shutil.copytree(root, home)
        run(trials=4, overrides=FOLDS, home=home, engine="processes", workers=workers)
        tables.append((trial_table(home), log_table(home)))
    assert tables[0] == tables[1]


def test_an_epoch_costs_its_folds(file: Path) -> None:
    costs = []
    for folds in (["data.fold=0"], ["data.repeats=1"], ["data.repeats=2"]):
        plan = plan_study(file, overrides=["data.folds=4", *folds])
        costs.append(plan.epoch_cost(plan.spec.base))
    assert costs == [costs[0], 4 * costs[0], 8 * costs[0]]


def test_a_study_whose_time_is_over_stops_after_one_event_and_can_be_read(run: Run, root: Path) -> None:
    launch = run(timeout=0)
    assert (launch.status, launch.signal, launch.export) == ("out of time", 0, None)
    assert load_study(NAME, root).counts()["running"] == 3
    assert not (Home(root).study(NAME).root / "owner.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_the_study_and_the_callers_handlers_are_restored(
    run: Run, root: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    launch = run(on_change=SignalAt(2, number))
    assert (launch.status, launch.signal) == ("interrupted", number)
    assert load_study(NAME, root).counts()["running"] > 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert run().status == "complete"


def test_a_study_can_run_in_any_thread(run: Run) -> None:
    launches: list[Launch] = []
    thread = threading.Thread(target=lambda: launches.append(run(trials=2)))
    thread.start()
    thread.join()
    assert [launch.status for launch in launches] == ["complete"]


def test_an_error_in_a_callback_ends_the_launch_and_the_study_can_be_resumed(run: Run, root: Path) -> None:
    def stumble(snapshot: Snapshot) -> None:
        if snapshot.done == 2:
            raise LookupError("an error of the caller")

    engine = Counting()
    with pytest.raises(LookupError, match="an error of the caller"):
        run(engine=engine, on_change=stumble)
    assert engine.n_shutdowns >= 1
    assert not (Home(root).study(NAME).root / "owner.json").exists()
    assert run().status == "complete"
    assert len(trial_table(root)) == 8


def test_a_study_can_be_run_from_a_mapping_or_a_spec_as_from_its_file(run: Run, root: Path, file: Path) -> None:
    run()
    tables = tomllib.loads(file.read_text())
    for study in (tables, make_spec(tables)):
        options = {"home": root, "engine": "in-process", "publish": False}
        assert run_study(study, **options).status == "already complete"
        assert run_study(study, name="other", trials=2, **options).results.total == 2
        shutil.rmtree(root / "studies" / "other")
    with pytest.raises(ConfigError, match=r'^\[base\] "epoch": is not a field'):
        run_study({**tables, "base": {**tables["base"], "epoch": 3}}, home=root)
