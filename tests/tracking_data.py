"""Studies as a driver would leave them, and an MLflow database that is migrated once per test session."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from filelock import FileLock

from mlp.paths import merge
from studies.records import trial_log
from studies.records.confirmation_record import CandidateRecord, ConfirmationRecord
from studies.records.home import Home, StudyFolder
from studies.records.results import read_results
from studies.records.study_record import StudyRecord
from studies.records.trial_log import TrialLog, read_log
from studies.records.trial_record import Ending
from studies.tracking.mlflow_store import TrackingStore, create_store, experiment_id
from tests.record_data import CREATED, RECORD

BASE: dict[str, Any] = {
    "data": {"name": "digits", "scale": "unit", "validation": 0.2},
    "seed": 3,
    "epochs": 20,
    "batch_size": 64,
    "network": {
        "hidden": {"depth": 1, "width": 64, "taper": 1.0},
        "activation": "relu",
        "initializer": "he_normal",
        "bias_initializer": "zeros",
    },
    "loss": {"name": "softmax_cross_entropy", "smoothing": 0.0},
    "optimizer": {
        "name": "adam",
        "learning_rate": 0.001,
        "weight_decay": 0.0001,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
    },
    "schedule": "constant",
    "early_stopping": {"patience": 5, "metric": "validation/loss", "min_delta": 0.0},
}
SPACE: dict[str, Any] = {
    "network.activation": {"choices": ["relu", "tanh", {"name": "leaky_relu", "slope": 0.1}]},
    "network.hidden.width": {"low": 16, "high": 256, "log": True},
    "optimizer": {"choices": ["adam", {"name": "sgd", "momentum": 0.9}]},
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "optimizer.nesterov": {"choices": [False, True], "when": {"optimizer": ["sgd(momentum=0.9)"]}},
}
COMPLETE, PRUNED = Ending("complete", seconds=0.8), Ending("pruned", "pruner", seconds=0.3)
DIVERGED, FAILED = Ending("pruned", "diverged", seconds=0.1), Ending("failed", "MemoryError", error="Traceback: ...")


class FakeStudy:
    """Writes the files that a driver would write, with its own clock.

    Args:
        home: the home of the study.
        name: the name of the study.
        trials: the total of trials.
        metric: the metric that decides.
    """

    def __init__(
        self, home: Home, *, name: str = "digits", trials: int = 4, metric: str = "validation/accuracy"
    ) -> None:
        self.folder: StudyFolder = home.study(name)
        self.folder.trials.mkdir(parents=True, exist_ok=True)
        self.now = CREATED
        self.settings = RECORD["study"] | {"name": name, "metric": metric, "trials": trials}
        self.write_record()

    def write_record(self, *, confirm: dict[str, Any] | None = None, **changes: Any) -> None:
        """Write `study.json`, with some settings of the search changed, and possibly those of the confirmation."""
        self.settings |= changes
        tables = {"study": self.settings, "base": BASE, "space": SPACE}
        limits = {"limits": [{"trials": self.settings["trials"]}], "is_searched": False, "confirm": confirm or {}}
        self.record = StudyRecord.from_mapping(RECORD | {"name": self.settings["name"]} | tables | limits)
        self._update_record()

    def _update_record(self) -> None:
        """Write the record; the search is complete when all trials have ended."""
        trials = [read_log(file, self.record.identity) for file in self.folder.logs()]
        n_ended = sum(trial is not None and trial.ending is not None for trial in trials)
        self.folder.write_record(replace(self.record, is_searched=n_ended >= self.settings["trials"]))

    def params(self, number: int) -> dict[str, Any]:
        """Return the parameters of a trial, a pure function of its number."""
        params = {
            "network.activation": ("relu", "tanh", "leaky_relu(slope=0.1)")[number % 3],
            "network.hidden.width": 16 + (number * 37) % 240,
            "optimizer": ("adam", "sgd(momentum=0.9)")[number % 2],
            "optimizer.learning_rate": 10.0 ** (-4 + (number * 7 % 30) / 10),
        }
        return params | ({"optimizer.nesterov": number % 4 == 1} if number % 2 else {})

    def config(self, number: int) -> dict[str, Any]:
        """Return the configuration that belongs to the parameters."""
        params = self.params(number)
        choices = {
            "leaky_relu(slope=0.1)": {"name": "leaky_relu", "slope": 0.1},
            "sgd(momentum=0.9)": {"name": "sgd", "momentum": 0.9},
        }
        here = {
            path: choices.get(value, value) for path, value in params.items() if (path, value) != ("optimizer", "adam")
        }
        return merge(BASE, here)

    def advance(
        self, number: int, epochs: int, ending: Ending | None = None, *, value: float | None = None
    ) -> TrialLog:
        """Log the epochs of a trial up to `epochs` and, if given, its ending, with `value` or the last metric."""
        log = TrialLog(self.folder.log(number), self.folder.read_record().identity)
        with patch.object(trial_log, "time", SimpleNamespace(time=self.tick)):
            log.asked(0, number, self.params(number), self.config(number))
            for epoch in range(1, epochs + 1):
                log.epoch(epoch, epoch, self.metrics(number, epoch))
            if ending is not None:
                key = self.settings["metric"]
                last = log.record.history.get(key, [None])[-1] if log.record else None
                kept = {"kept_epoch": epochs, "weight_digest": f"{number:064x}"} if ending.state == "complete" else {}
                final = None if ending.state == "failed" else last if value is None else value
                log.ended(1000 + number, replace(ending, value=final, **kept))
                self._update_record()
        return log

    def confirm(self, trial: int, pair: int, epochs: int, ending: Ending | None = None) -> TrialLog:
        """Log a training that confirms a trial up to an epoch and, if given, its ending."""
        number = trial * 100 + pair
        config = self.config(trial) | {"seed": 1000 + pair}
        folder = self.folder.confirm
        folder.trials.mkdir(exist_ok=True)
        log = TrialLog(folder.log(number), self.folder.read_record().confirm_identity)
        with patch.object(trial_log, "time", SimpleNamespace(time=self.tick)):
            log.asked(0, number, {}, config, attributes={"trial": trial, "pair": pair})
            for epoch in range(1, epochs + 1):
                log.epoch(epoch, epoch, self.metrics(number, epoch))
            if ending is not None:
                value = self.metrics(number, epochs)[self.settings["metric"]] if epochs else None
                kept = {"kept_epoch": epochs, "weight_digest": f"{number:064x}"} if ending.state == "complete" else {}
                log.ended(epochs + 1, replace(ending, value=None if ending.state == "failed" else value, **kept))
        return log

    def conclude(self, outcome: str = "better", winner: int | None = 0) -> None:
        """Write `confirmation.json`, as if the confirmation were complete."""
        results = read_results(self.folder)
        candidates = (
            CandidateRecord(trial=0, role="base", n_pairs=2, mean=0.9, search_value=0.95),
            CandidateRecord(trial=1, role="pruned", n_pairs=0),
        )
        confirmed = ConfirmationRecord(
            step=results.next_step,
            confirm=results.record.confirm,
            outcome=outcome,
            winner=winner,
            sentences=(f"The verdict is {outcome}.",),
            candidates=candidates,
        )
        self.folder.confirmation.write_text(confirmed.to_file(), encoding="utf-8")

    @staticmethod
    def metrics(number: int, epoch: int) -> dict[str, float]:
        """Return the metrics of an epoch, a pure function of trial and epoch."""
        reach = 0.9 + 0.08 * ((number * 29) % 17) / 17
        accuracy = round(reach * (1 - 0.8 / (epoch + 1)), 6)
        losses = {"train/loss": 2.3 / (epoch + number % 5), "validation/loss": 2.4 / (epoch + number % 5)}
        return losses | {"train/accuracy": accuracy + 0.01, "validation/accuracy": accuracy}

    def tick(self) -> float:
        """Return the time of the next event."""
        self.now += 0.125
        return self.now


def four_trials(home: Home) -> FakeStudy:
    """Return a finished study with one trial of each kind."""
    study = FakeStudy(home)
    for number, (epochs, ending) in enumerate([(3, COMPLETE), (2, PRUNED), (1, DIVERGED), (1, FAILED)]):
        study.advance(number, epochs, ending)
    study.folder.best.write_text("seed = 3\n", encoding="utf-8")
    return study


def dump(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    with closing(sqlite3.connect(database)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in names}


def runs(home: Home) -> dict[str, Any]:
    """Return the active runs by name."""
    client = TrackingStore(home).client
    found = client.search_runs([experiment_id(home, "digits")])
    names = [run.info.run_name for run in found]
    assert len(names) == len(set(names)), "no run exists twice"
    return {run.info.run_name: run for run in found}


def content(home: Home) -> dict[str, Any]:
    """Return the content of all runs, without the identifiers that MLflow generates."""
    client = TrackingStore(home).client
    result = {}
    for name, run in runs(home).items():
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        history = {
            key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        info = run.info.status, run.info.start_time, run.info.end_time
        result[name] = info, tags, run.data.params, history, len(run.inputs.dataset_inputs)
    return result


@pytest.fixture(scope="session", name="migrated_db")
def migrated_db_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty MLflow database, created once for all processes of a test session."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    home = Home(root / "migrated")
    home.root.mkdir(exist_ok=True)
    with FileLock(root / "migrated.lock"):
        create_store(home)
    return home.mlflow_db


def home_with(migrated_db: Path, root: Path) -> Home:
    """Return a home whose MLflow database is ready, so that no test waits for its migrations."""
    home = Home(root / "my runs")
    home.create()
    shutil.copy(migrated_db, home.mlflow_db)
    return home


@pytest.fixture(name="new_home")
def new_home_fixture(tmp_path: Path, migrated_db: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Home]:
    """Return a function that creates homes by name."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda name: home_with(migrated_db, tmp_path / name)


@pytest.fixture(name="home")
def home_fixture(tmp_path: Path, migrated_db: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a home."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return home_with(migrated_db, tmp_path)
