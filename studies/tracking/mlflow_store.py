"""MLflow as the tracking store behind the mirror, with its setup, `sync`, server and deletion.

This is the only module that imports mlflow.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mlp.errors import ConfigError
from studies.errors import NotPublishedError, RefusedError, StudyLockedError
from studies.processes import child_environment
from studies.records.addresses import MaskingFormatter, mask_secrets, sqlite_url
from studies.records.confirmation_record import is_finished, read_confirm_trainings, read_confirmation_record
from studies.records.databases import create_database
from studies.records.home import Home, StudyFolder
from studies.records.results import read_results
from studies.tracking.children import module_command
from studies.tracking.comparison import differences, missing_epochs
from studies.tracking.explanation import explain
from studies.tracking.mirror import Mirror, confirm_published
from studies.tracking.own_store import own_store, relocate
from studies.tracking.projection import STUDY_KEY, Point, child_runs, milliseconds, study_key
from studies.tracking.publication import mark_published
from studies.tracking.store import Run

METRICS_PER_CALL, PAIRS_PER_CALL, RUNS_PER_PAGE = 800, 100, 1000  # MLflow's limit is 1000 entities per call
REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST")
SERVER_CONNECTIONS = 8  # a server that takes 1 s for each call then gets 24 finished trials in 12 s instead of 96
NONSENSE = (AttributeError, KeyError, TypeError, ValueError)  # what MLflow's client raises about answers it cannot read
SYNC_LOCK_SECONDS = 10.0  # how long `sync` waits for another publisher of the study

# MLflow reads these when it is imported. Its defaults retry for minutes, print, and send telemetry.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}


class TrackingStore:
    """MLflow's client, adapted to the mirror's interface. The home's own store is created on first use.

    Args:
        home: the home whose tracking store to use.
        uri: the address of another tracking store.

    Attributes:
        uri: the address of the tracking store.
        client: MLflow's client.
        n_connections: how many calls may be made at once; one for a database, which has one writer at a time.
    """

    def __init__(self, home: Home, uri: str | None = None) -> None:
        _set_environment()
        from mlflow.tracking import MlflowClient

        self.uri = uri or home.tracking_uri
        if self.uri == own_store(home):
            create_store(home)
            relocate(home)
        self._is_server = self.uri.startswith(("http:", "https:", "databricks"))
        self.n_connections = SERVER_CONNECTIONS if self._is_server else 1
        self.client: Any = MlflowClient(tracking_uri=self.uri)
        self._artifacts = home.artifacts

    def open_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment with this name; create or restore it if necessary."""
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            location = None if self._is_server else (self._artifacts / name).as_uri()
            # Without a kind the UI asks for one, or shows traces instead of runs.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            created = self.client.create_experiment(name, artifact_location=location, tags=kind | dict(tags))
            return _checked(created, "an experiment")
        if experiment.name != name:
            raise NotPublishedError(
                f"it answered with an experiment {experiment.name!r}, not {name!r}; is it an MLflow server?"
            )
        if experiment.lifecycle_stage == "deleted":
            logging.getLogger(__name__).warning("the experiment %s was deleted; it has been restored.", name)
            self.client.restore_experiment(experiment.experiment_id)
        return _checked(experiment.experiment_id, "an experiment")

    def runs(self, experiment_id: str, tag: tuple[str, str] | None = None) -> Iterator[Run]:
        """Yield the runs of an experiment, deleted ones included; only those with a tag, if one is given."""
        from mlflow.entities import ViewType

        condition = f"tags.`{tag[0]}` = '{tag[1]}'" if tag else ""
        token = None
        while True:
            page = self.client.search_runs([experiment_id], condition, ViewType.ALL, RUNS_PER_PAGE, page_token=token)
            for found in page:
                yield Run(
                    found.info.run_id,
                    dict(found.data.tags),
                    found.info.status,
                    described=bool(found.data.params) and bool(found.inputs.dataset_inputs),
                    n_steps=None,
                    last_steps={metric.key: metric.step for metric in found.data.to_proto().metrics},
                    is_deleted=found.info.lifecycle_stage == "deleted",
                )
            token = page.token
            if not token:
                return

    def create_run(self, experiment_id: str, name: str, started: float, tags: Mapping[str, str]) -> str:
        """Return the id of a new run."""
        with _refusals_raised():
            run = self.client.create_run(experiment_id, milliseconds(started), dict(tags), name)
        return _checked(run.info.run_id, "a run")

    def log(self, run_id: str, points: Sequence[Point], parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Add metrics, parameters and tags in as few calls as MLflow allows."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        params = [Param(key, value) for key, value in parameters.items()]
        run_tags = [RunTag(key, value) for key, value in tags.items()]
        with _refusals_raised():
            while metrics or params or run_tags:
                # Newest first within a call: MLflow then updates the latest value of a metric once, not at each step.
                now = metrics[:METRICS_PER_CALL][::-1], params[:PAIRS_PER_CALL], run_tags[:PAIRS_PER_CALL]
                self.client.log_batch(run_id, *now)
                metrics, params = metrics[METRICS_PER_CALL:], params[PAIRS_PER_CALL:]
                run_tags = run_tags[PAIRS_PER_CALL:]

    def log_dataset(self, run_id: str, fields: Mapping[str, str]) -> None:
        """Add the data set as an input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        context = [InputTag("mlflow.data.context", "training")]
        with _refusals_raised():
            self.client.log_inputs(run_id, [DatasetInput(Dataset(**fields), context)])

    def history(self, run_id: str, metric: str) -> dict[int, float]:
        """Return the values of a metric by step."""
        return {entry.step: entry.value for entry in self.client.get_metric_history(run_id, metric)}

    def set_status(self, run_id: str, status: str, ended: float | None = None) -> None:
        """Set the status of a run and, for a run that has ended, the time of its end."""
        with _refusals_raised():
            if ended is None:
                self.client.update_run(run_id, status=status)
            else:
                self.client.set_terminated(run_id, status, milliseconds(ended))

    def delete_tag(self, run_id: str, name: str) -> None:
        """Remove a tag."""
        with _refusals_raised():
            self.client.delete_tag(run_id, name)

    def delete_run(self, run_id: str) -> None:
        """Delete a run."""
        self.client.delete_run(run_id)

    def upload(self, run_id: str, folder: Path) -> None:
        """Add the files of a folder to the artifacts of a run."""
        with _refusals_raised():
            self.client.log_artifacts(run_id, str(folder))


def create_store(home: Home) -> None:
    """Create the home's own store, unless it exists."""
    create_database(home.mlflow_db, _migrate)


def _migrate(file: Path) -> None:
    """Have MLflow create its database in a file, without waiting for the disk after each of hundreds of statements.

    That saves about half of the time, 6 of 13 s. The file is only a draft, so a power cut can do no harm.
    """
    _set_environment()
    from mlflow.tracking import MlflowClient
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", _turn_off_synchronous)
    try:
        MlflowClient(tracking_uri=sqlite_url(file))
    finally:
        event.remove(Engine, "connect", _turn_off_synchronous)


def _turn_off_synchronous(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def open_mirror(home: Home, folder: StudyFolder) -> Mirror:
    """Return the mirror of a study in the current tracking store; it connects on first use."""
    return Mirror(folder, lambda: TrackingStore(home))


def publishing_lock(folder: StudyFolder) -> FileLock:
    """Return the lock that allows a study one publisher at a time, because two could create the same run at once."""
    return FileLock(folder.root / "publisher.lock")


def sync(home: Home, folder: StudyFolder) -> int:
    """Publish everything that MLflow does not have yet; if no driver is running the study, also close its runs.

    Returns:
        How many runs were written to.

    Raises:
        ConfigError: if the tracking store cannot be used, or another process is publishing the study.
    """
    mirror = open_mirror(home, folder)
    with _errors_explained(home.tracking_uri, folder.publisher_log):
        try:
            with publishing_lock(folder).acquire(timeout=SYNC_LOCK_SECONDS):
                live = _is_running(folder)
                mirror.publish(live=live)
                if not live:
                    mirror.close(artifacts=True)
                    confirm_published(mirror)
                    if mirror.results.is_complete:
                        mark_published(home, folder, mirror.results)
        except Timeout:
            raise ConfigError(
                f'study "{folder.name}" is being published by another process. Try again when it is done.'
            ) from None
    return len(mirror.touched)


def compare(home: Home, folder: StudyFolder) -> list[str]:
    """Return the differences between the logs of a study and the tracking store, one line for each; change nothing.

    Args:
        home: the home of the study.
        folder: the folder of the study. If a driver is running it, what has not been published yet is a difference.

    Raises:
        ConfigError: if the tracking store or a file of the study cannot be read.
    """
    results = read_results(folder)
    trainings = read_confirm_trainings(folder, results)
    nothing = [f'MLflow has no experiment "{folder.name}"']
    if home.tracking_uri == own_store(home) and not home.mlflow_db.exists():
        return nothing
    with _errors_explained(home.tracking_uri, folder.publisher_log):
        store = TrackingStore(home)
        experiment = store.client.get_experiment_by_name(folder.name)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            return nothing
        runs = list(store.runs(str(experiment.experiment_id), (STUDY_KEY, study_key(results.record))))
        children = child_runs(results, trainings)
        is_over = is_finished(results, trainings, read_confirmation_record(folder, results))
        return differences(results, children, runs, is_finished=is_over) + missing_epochs(children, runs, store)


def experiment_id(home: Home, name: str) -> str | None:
    """Return the id of a study's experiment in the current tracking store, or None if it has none.

    Raises:
        ConfigError: if the tracking store cannot be used.
    """
    if home.tracking_uri == own_store(home) and not home.mlflow_db.exists():
        return None
    with _errors_explained(home.tracking_uri, home.root / "mlflow.log"):
        experiment = TrackingStore(home).client.get_experiment_by_name(name)
    return str(experiment.experiment_id) if experiment and experiment.lifecycle_stage == "active" else None


def delete_experiment(home: Home, name: str) -> None:
    """Delete a study's experiment, permanently from the home's own store, so that its name is free again.

    If other studies of the same name share the experiment, as on a common server, only the runs of this one are
    deleted. If the record of the study is damaged, its runs cannot be told from theirs, and a server is left as it is.

    Raises:
        ConfigError: if a tracking store cannot be used.
    """
    folder = home.study(name)
    own = {own_store(home)} if home.mlflow_db.exists() else set()
    try:
        key = study_key(folder.read_record())
        uris = {home.tracking_uri} | own
    except ConfigError:
        key, uris = None, own
    for uri in uris:
        with _errors_explained(uri, home.root / "mlflow.log"):
            store = TrackingStore(home, uri)
            experiment = store.client.get_experiment_by_name(name)
            if experiment is None:
                continue
            identifier = str(experiment.experiment_id)
            if experiment.lifecycle_stage == "deleted":
                store.client.restore_experiment(identifier)  # a deleted experiment cannot be renamed
            runs = [run for run in store.runs(identifier) if not run.is_deleted]
            of_this_study = [run for run in runs if key in (None, run.tags.get(STUDY_KEY))]
            if len(of_this_study) < len(runs):
                for run in of_this_study:
                    store.delete_run(run.id)
                continue
            store.client.rename_experiment(identifier, f"{name} (deleted {time.time():.0f})")
            store.client.delete_experiment(identifier)
        if uri == own_store(home):
            _erase(home, identifier)
            shutil.rmtree(home.artifacts / name, ignore_errors=True)


def _erase(home: Home, identifier: str) -> None:
    """Remove the rows of a deleted experiment. MLflow offers only a command for it; if it fails, hidden rows remain."""
    store = own_store(home)
    options = ["--backend-store-uri", store, "--tracking-uri", store, "--experiment-ids", identifier]
    command = module_command("mlflow", "gc", *options)
    subprocess.run(command, env=child_environment(), check=False, capture_output=True)


def _checked(identifier: object, what: str) -> str:
    """Return an identifier as text.

    Raises:
        NotPublishedError: if it is empty, as it is when the address leads to another kind of server.
    """
    if not identifier:
        raise NotPublishedError(f"it answered without the identifier of {what}; is it an MLflow server?")
    return str(identifier)


def _is_running(folder: StudyFolder) -> bool:
    try:
        with folder.lock():
            return False
    except StudyLockedError:
        return True


def _set_environment() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def _refusals_raised() -> Iterator[None]:
    """Turn permanent rejections by MLflow into `RefusedError`; temporary failures pass unchanged."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in REFUSALS:
            raise RefusedError(str(error)) from error
        raise


@contextmanager
def _errors_explained(uri: str, log: Path) -> Iterator[None]:
    """Send MLflow's messages to a log file, and turn a failure of a tracking store into a `ConfigError`."""
    _set_environment()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    is_writable = os.access(log.parent, os.W_OK)  # false for a home on a read-only disk
    handler = logging.FileHandler(log, delay=True) if is_writable else logging.NullHandler()
    handler.setFormatter(MaskingFormatter())
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "studies")]
    for each in loggers:
        each.addHandler(handler)
        each.propagate = False
    try:
        yield
    except ConfigError:
        raise
    except (MlflowException, SQLAlchemyError, sqlite3.Error, NotPublishedError, OSError, *NONSENSE) as error:
        raise ConfigError(f"the tracking store {mask_secrets(uri)} cannot be used: {explain(error)}") from None
    finally:
        for each in loggers:
            each.removeHandler(handler)
            each.propagate = True
        handler.close()
