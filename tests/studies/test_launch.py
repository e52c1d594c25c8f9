"""`run_study` from Python: its result, its callbacks, its errors, and how it is stopped and resumed."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlp.errors import ConfigError
from studies.errors import StudyLockedError
from studies.launch import (
    Launch,
    check_record,
    plan_study,
    run_study,
)
from studies.models.export import read_config
from studies.models.retrain import retrain
from studies.records.home import Home
from studies.records.results import load_study
from studies.running.driver import Snapshot
from studies.running.engines import InProcess
from tests.study_data import (  # noqa: F401 - a fixture
    NAME,
    empty_database,
    log_table,
    prepared_digits,
    trial_table,
)

STUDY = f"""
[study]
name = "{NAME}"
trials = 8
seed = 1
parallelism = 3
sampler = {{ name = "tpe", startup_trials = 3 }}
pruner = {{ name = "median", startup_trials = 2 }}

[base]
epochs = 3
batch_size = 128
data = {{ name = "digits" }}
network = {{ hidden = [8] }}
optimizer = {{ name = "adam", learning_rate = 0.01 }}

[space]
"network.activation" = ["relu", "tanh"]
"optimizer.learning_rate" = {{ low = 1e-4, high = 0.1, log = true }}
"""


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


pytestmark = pytest.mark.usefixtures("digits")
Run = Callable[..., Launch]


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path) -> Path:
    """The file of a small study."""
    file = tmp_path / "small.toml"
    file.write_text(STUDY)
    return file


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Path:
    """A home with an empty database, because creating one takes a while."""
    home = Home(tmp_path / "home")
    home.create()
    (home.root / "optuna.db").write_bytes(empty_database())
    return home.root


@pytest.fixture(name="run")
def run_fixture(file: Path, root: Path) -> Run:
    """A function that launches the small study in this process, without MLflow."""

    def run(**options: Any) -> Launch:
        return run_study(file, **({"home": root, "engine": "in-process", "publish": False} | options))

    return run


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
    assert seen[-1] == Snapshot(8, 8, 0, counts["pruned"], counts["failed"], 0, (best.number, best.value))


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
    assert seen[-1] == Snapshot(4, 4, 0, 0, 4, 0, None)
    results = load_study(NAME, root)
    assert results.best is None
    endings = [trial.ending for trial in results.trials]
    assert [(ending.state, ending.reason) for ending in endings if ending] == [("failed", "ZeroDivisionError")] * 4
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


def test_a_notice_names_the_value_of_base_that_is_outside_the_space(run: Run, file: Path) -> None:
    notices: list[str] = []
    run(trials=1, on_notice=notices.append, name="inside")
    assert notices == []
    file.write_text(STUDY.replace("learning_rate = 0.01", "learning_rate = 0.5"))
    run(trials=1, on_notice=notices.append)
    assert notices == [
        '[base] is outside [space]: "optimizer.learning_rate" = 0.5; trial 0 runs it, the sampler ignores it.'
    ]


def test_a_notice_names_settings_without_effect(run: Run) -> None:
    notices: list[str] = []
    run(trials=1, on_notice=notices.append, workers=99, overrides=["epochs=1"])
    never_pruned, unused_workers = notices
    assert never_pruned == "pruner.min_epochs = 1 is not below epochs = 1, so that no trial is pruned."
    assert unused_workers.startswith("3 of 99 workers are used, because parallelism is 3.")


@pytest.mark.parametrize("space", ["", "[space]\n", "[space]\nbatch_size = [32]\n"])
def test_several_trials_of_the_same_configuration_are_refused(run: Run, file: Path, root: Path, space: str) -> None:
    file.write_text(STUDY.partition("[space]")[0] + space)
    with pytest.raises(
        ConfigError, match=r"\[space\]: has only one configuration, so that the \d+ trials would be the"
    ):
        run()
    assert not Home(root).study(NAME).record.exists()
    assert run(trials=1).status == "complete"


def test_a_study_that_another_process_runs_is_refused_naming_the_process(run: Run, root: Path) -> None:
    with (
        Home(root).study(NAME).lock(),
        pytest.raises(StudyLockedError, match=rf'study "small" is being run by process {os.getpid()} on '),
    ):
        run()
    assert run(trials=1).status == "complete"


def test_a_different_study_of_the_same_name_is_refused_with_every_difference(run: Run, root: Path, file: Path) -> None:
    run(trials=2)
    before = trial_table(root), Home(root).study(NAME).record.read_bytes()
    with pytest.raises(ConfigError) as refusal:
        run(overrides=["epochs=5", "seed=4"])
    assert str(refusal.value).startswith(
        'study "small" already exists with different settings: base.seed was 0 and is 4, base.epochs was 3 and is 5. '
        "Run it under a new name with --name, or delete the old one with: "
    )
    assert (trial_table(root), Home(root).study(NAME).record.read_bytes()) == before
    recorded = Home(root).study(NAME).read_record()
    check_record(recorded, plan_study(file, trials=99), Home(root))
    edited = replace(recorded, fingerprint={**recorded.fingerprint, "data.digest": "f" * 64})
    assert recorded.differences_to(edited) == ["the content of its data, or how it is read, has changed"]


def test_a_home_that_cannot_be_written_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match=r"the home .*taken cannot be written: Not a directory. Choose another"):
        run(home=tmp_path / "taken")


def test_the_home_can_be_set_by_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("STUDIES_HOME", str(root))
    monkeypatch.chdir(tmp_path)
    run(home=None, trials=1)
    assert len(load_study(NAME).trials) == 1
    assert not (tmp_path / "mlruns").exists()


TWO_CLASSES = 'the loss "binary_cross_entropy" needs exactly 2 classes, got 10; use "softmax_cross_entropy".'
TOGETHER = (
    "must be at least 2 with batch normalization, which needs several examples, got 1. This happens with "
    "batch_size = 1 and network.normalization = batch. Guard one of them with `when`, or remove it."
)
UNFIT = {
    "a loss for another task": ('loss = "binary_cross_entropy"', "", f'[base] "loss": {TWO_CLASSES}'),
    "weights for other classes": (
        "class_weights = [1.0, 2.0]",
        "",
        '[base] "class_weights": must have one number for each of the 10 classes, got 2.',
    ),
    "more held out than there is": (
        "",
        '"data.validation" = [0.2, 1438]',
        '[space] "data.validation": must leave at least one of 1438 training examples to train on, got 1438.',
    ),
    "a choice for another task": (
        "",
        'loss = ["softmax_cross_entropy", "binary_cross_entropy"]',
        f'[space] "loss": {TWO_CLASSES}',
    ),
    "a choice that batches of one exclude": (
        "",
        'batch_size = [64, 1]\n"network.normalization" = ["none", "batch"]',
        f'[space] "batch_size": {TOGETHER}',
    ),
    "a metric for another task": (
        'metrics = ["r2"]',
        "",
        '[base] "metrics": the metric "r2" is for values, but the targets are classes; use one of ',
    ),
    "a metric to stop by that is not computed": (
        'early_stopping = { metric = "validation/top_k_accuracy" }',
        "",
        '[base] "early_stopping": needs "validation/top_k_accuracy", which is not computed. Add it to metrics, or ',
    ),
}


@pytest.mark.parametrize(("base", "space", "problem"), UNFIT.values(), ids=UNFIT)
def test_a_study_that_does_not_fit_the_data_is_refused_before_any_work(
    run: Run, file: Path, root: Path, base: str, space: str, problem: str
) -> None:
    file.write_text(STUDY.replace("epochs = 3", f"epochs = 3\n{base}") + space)
    with pytest.raises(ConfigError) as refusal:
        run()
    assert str(refusal.value).startswith(f"{file}: {problem}")
    assert not Home(root).study(NAME).root.exists()


def test_a_study_metric_that_is_not_computed_is_refused_with_what_to_add(run: Run, file: Path) -> None:
    file.write_text(STUDY.replace("trials = 8", 'trials = 1\nmetric = "validation/top_k_accuracy"'))
    with pytest.raises(ConfigError) as refusal:
        run()
    assert str(refusal.value) == (
        f'{file}: [base] "metrics": metric "validation/top_k_accuracy" of [study] is not computed. '
        'Set metrics = ["top_k_accuracy"] in [base], or use validation/loss or validation/accuracy.'
    )
    assert run(overrides=['metrics=["top_k_accuracy"]']).status == "complete"


def test_a_study_metric_for_another_task_is_refused(run: Run, file: Path) -> None:
    file.write_text(STUDY.replace("trials = 8", 'trials = 1\nmetric = "validation/r2"'))
    with pytest.raises(ConfigError, match=r'\[study\] "metric": the metric "r2" is for values, but the targets are c'):
        run()


def test_an_unknown_data_set_is_reported_with_the_study_file(run: Run, file: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        run(overrides=["data.name=digit"])
    assert str(refusal.value).startswith(f'{file}: [base] "data.name": "digit" is not a data set.')
