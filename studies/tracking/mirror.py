"""The mirror: compares the logs of a study with its runs in the tracking store, and publishes the difference.

Each trial has a run below the study's own run, and so has each training that confirms the winner.

Publishing is idempotent. Every run carries a tag with a key that follows from the study and the trial number, and is
looked up by it before it is created. Every event carries the time at which it was logged. So the same runs result
whoever publishes, however often, and after any crash.

The order of writes within a run makes that possible: first the run with its key, then the data set, then metrics,
parameters and tags in one call, and the final status last. A run with a final status is therefore complete, and is
skipped. After a crash in between, the next mirror asks the store for the last step of the run's metrics and appends
only what follows. If a server created a run but its answer was lost, two runs have the same key; `connect` keeps one
of them and deletes the other.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from studies.errors import NotPublishedError, RefusedError
from studies.records.confirmation_record import ConfirmationRecord, is_finished, read_confirmation_record
from studies.records.home import StudyFolder
from studies.records.results import StudyResults
from studies.records.trial_log import read_log
from studies.records.trial_record import TrialRecord
from studies.tracking import comparison, projection
from studies.tracking.projection import (
    BEST_SO_FAR,
    CONFIRMATION_TAGS,
    INTERRUPTED,
    KEY,
    STATUSES,
    STUDY_KEY,
    ChildRun,
    Point,
)
from studies.tracking.store import Run, Store

ARTIFACTS, NOTE = "studies.artifacts", "mlflow.note.content"

logger = logging.getLogger(__name__)


class Mirror:
    """The runs of one study.

    Args:
        folder: the folder of the study.
        open_store: connects to the tracking store.

    Attributes:
        results: the study, as far as its logs have been read.
        experiment_id: the store's identifier of the experiment; empty before the first connection.
        touched: the keys of the runs that were written to.
    """

    def __init__(self, folder: StudyFolder, open_store: Callable[[], Store]) -> None:
        self.results = StudyResults(folder.read_record(), ())
        self.experiment_id = ""
        self.touched: set[str] = set()
        self._folder = folder
        self._open_store = open_store
        self._store: Store | None = None
        self._key = projection.study_key(self.results.record)
        self._runs: dict[str, Run] = {}
        self._trials: dict[int, TrialRecord] = {}
        self._trainings: dict[int, TrialRecord] = {}  # those that confirm the winner
        self._confirmed: ConfirmationRecord | None = None
        self._log_sizes: dict[Path, int] = {}
        self._unpublished: set[str] = set()  # keys of runs

    def connect(self) -> Store:
        """Return the store; on the first call, and after `forget`, find the runs that exist in it."""
        if self._store is not None:
            return self._store
        store = self._open_store()
        self.experiment_id = store.open_experiment(self.results.name, projection.study_tags(self.results.record))
        self._runs = {}
        for run in store.runs(self.experiment_id, (STUDY_KEY, self._key)):
            known = self._runs.get(run.tags[KEY])
            if known is None or known.is_deleted:
                self._runs[run.tags[KEY]] = run
            elif not run.is_deleted:
                store.delete_run(run.id)
        self._store = store
        return store

    def forget(self) -> None:
        """Forget the content of the store, because after a failed call it is unknown which part had an effect."""
        self._store = None
        self._unpublished = {child.key for child in self._children()}

    def publish(
        self,
        *,
        live: bool,
        may_continue: Callable[[], bool] = lambda: True,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Publish what is in the logs and not yet in the store, several runs at once if the store is a server.

        Args:
            live: whether a driver is running the study; runs that were marked as interrupted are then running again.
            may_continue: called before each run below the study's own; publishing stops when it returns False.
            on_progress: called with the number of runs that are left, before the first and after each one.

        Returns:
            Whether everything is published.
        """
        self._read_logs()
        store = self.connect()
        parent = self._publish_study(store, live)
        on_progress(len(self._unpublished))

        def publish_one(child: ChildRun) -> bool:
            if not may_continue():
                return False
            with _refusals_logged(child.title):
                self._publish_child(store, child, parent, live)
            self._unpublished.remove(child.key)
            on_progress(len(self._unpublished))
            return True

        waiting = [child for child in self._children() if child.key in self._unpublished]
        # Children write to different runs. After a failure, `all` ends the iteration, and that cancels what is left.
        with ThreadPoolExecutor(store.n_connections) as pool:
            if not all((map if store.n_connections == 1 else pool.map)(publish_one, waiting)):
                return False
        self._publish_best_so_far(store, parent)
        return True

    def differences(self) -> list[str]:
        """Read the runs back from the store; return what it lacks or shows differently, one line each."""
        runs = list(self.connect().runs(self.experiment_id, (STUDY_KEY, self._key)))
        return comparison.differences(self.results, self._children(), runs, is_finished=self._is_finished)

    def close(self, *, artifacts: bool, is_published: bool = True) -> None:
        """Leave no run open: the study's run is finished if everything has ended, other open runs were interrupted.

        Args:
            artifacts: whether to upload plots, the table of trials and the best configuration, if they have changed.
            is_published: whether all runs below it were published. If not, it is marked as interrupted.
        """
        store, parent = self.connect(), self._runs[self._key]
        ends = {child.key: child.training.last_event for child in self._children()}
        ended = max([self.results.last_event, *ends.values()])
        for key, run in self._runs.items():
            if run is not parent and run.status == "RUNNING" and not run.is_deleted:
                self._interrupt(store, key, ends.get(key, time.time()))
        if parent.is_deleted:
            return
        with _refusals_logged("the study's own run"):
            self._publish_best_so_far(store, parent)
            self._publish_summary(store, parent)
            if artifacts:
                self._upload_artifacts(store, parent)
            if not (self._is_finished and is_published):
                self._interrupt(store, self._key, ended)
            else:
                self._remove_interruption(store, parent)
                if parent.status != "FINISHED":
                    self._set_status(store, self._key, "FINISHED", ended)

    @property
    def _is_finished(self) -> bool:
        """Whether the study is complete, and so is the confirmation of its winner if that was begun."""
        return is_finished(self.results, self._trainings.values(), self._confirmed)

    def _children(self) -> list[ChildRun]:
        return projection.child_runs(self.results, [training for _, training in sorted(self._trainings.items())])

    def _read_logs(self) -> None:
        """Read the record of the study, and the logs that have grown since the last call."""
        record = self._folder.read_record()
        trials = self._read_grown(self._folder.logs(), record.identity, self._trials)
        known = tuple(trial for _, trial in sorted(self._trials.items()))
        self.results = replace(self.results, record=record, trials=known)
        trainings = self._read_grown(self._folder.confirm.logs(), record.confirm_identity, self._trainings)
        self._confirmed = read_confirmation_record(self._folder, self.results)
        self._unpublished |= {projection.trial_key(record, number) for number in trials}
        self._unpublished |= {projection.confirm_key(record, number) for number in trainings}

    def _read_grown(self, logs: Iterable[Path], identity: str, known: dict[int, TrialRecord]) -> list[int]:
        """Read the logs that have grown since the last call, into the known trainings; return their numbers."""
        grown = []
        for file in logs:
            size, number = file.stat().st_size, int(file.stem)
            if self._log_sizes.get(file) == size:
                continue
            self._log_sizes[file] = size
            try:
                training = read_log(file, identity)
            except (ValueError, LookupError) as error:
                logger.warning("%s cannot be read: %s", file, error)
                continue
            if training is not None:
                known[number] = training
                grown.append(number)
        return grown

    def _publish_study(self, store: Store, live: bool) -> Run:
        """Return the study's own run; create it, describe it, or set it running again if necessary."""
        record, total = self.results.record, {"trials": str(len(self.results.trials))}
        run = self._runs.get(self._key)
        if run is None:
            tags = projection.study_tags(record) | total | {NOTE: projection.introduction(record)}
            run = self._create(store, self._key, record.name, record.created, tags)
        if not run.is_deleted:
            with _refusals_logged("the study's own run"):
                if live and run.status != "RUNNING" and not self._is_finished:
                    self._resume(store, self._key)
                self._log(store, self._key, [], {} if run.described else projection.study_parameters(record), total)
        return run

    def _publish_child(self, store: Store, child: ChildRun, parent: Run, live: bool) -> None:
        key, trial = child.key, child.training
        run = self._runs.get(key)
        if run is None:
            tags = child.tags() | {"mlflow.parentRunId": parent.id}
            run = self._create(store, key, child.name, trial.started, tags)
        elif run.is_deleted or _is_final(run, trial):
            return
        if INTERRUPTED in run.tags and (live or trial.ending):
            self._resume(store, key)
        if run.n_steps is None:
            # The metrics of an epoch are written in order of their keys, so the last key is there if all are there.
            run.n_steps = max(store.history(run.id, max(trial.averages)), default=0) if trial.history else 0
        points = projection.epoch_points(trial, after=run.n_steps) + projection.ending_points(trial, child.sizes())
        parameters = {} if run.described else child.parameters()
        self._log(store, key, points, parameters, projection.ending_tags(trial))
        run.n_steps = trial.n_epochs
        if trial.ending is not None:
            self._set_status(store, key, STATUSES[trial.state], trial.last_event)

    def _publish_best_so_far(self, store: Store, parent: Run) -> None:
        points = projection.best_so_far_points(self.results)
        if parent.is_deleted or not points:
            return
        with _refusals_logged("the study's own run"):
            if parent.n_steps is None:
                parent.n_steps = max(store.history(parent.id, BEST_SO_FAR), default=-1) + 1
            self._log(store, self._key, [point for point in points if point.step >= parent.n_steps], {}, {})
            parent.n_steps = points[-1].step + 1

    def _publish_summary(self, store: Store, parent: Run) -> None:
        best, confirmed = self.results.best, self._confirmed
        note = {NOTE: projection.note(self.results, confirmed)}
        if parent.tags.get(NOTE) == note[NOTE]:
            return
        verdict = projection.confirmation_tags(confirmed)
        for name in (name for name in CONFIRMATION_TAGS if name in parent.tags and name not in verdict):
            self._remove_tag(store, parent, name)  # of a search that has been extended since
        points = projection.total_points(self.results) + projection.confirmation_points(self.results, confirmed)
        tags = verdict | ({"best_trial": str(best.number)} if best else {})
        self._log(store, self._key, points, {}, tags | note)

    def _upload_artifacts(self, store: Store, parent: Run) -> None:
        """Upload the artifacts, unless those in the store are up to date."""
        best = self._folder.best.read_bytes() if self._folder.best.exists() else b""
        confirmed = self._confirmed.to_file().encode() if self._confirmed else b""
        digest = projection.artifacts_digest(self.results, best, confirmed)
        if parent.tags.get(ARTIFACTS) == digest:
            return
        from studies.tracking.plots import draw_plots

        with tempfile.TemporaryDirectory() as name:
            draft = Path(name)
            (draft / "trials.csv").write_text(projection.trials_csv(self.results), encoding="utf-8")
            if best:
                (draft / "best.toml").write_bytes(best)
            if confirmed:
                (draft / "confirmation.json").write_bytes(confirmed)
            (draft / "plots").mkdir()
            for plot, content in draw_plots(self.results).items():
                (draft / "plots" / plot).write_bytes(content)
            store.upload(parent.id, draft)
        self._log(store, self._key, [], {}, {ARTIFACTS: digest})

    def _create(self, store: Store, key: str, name: str, started: float, tags: dict[str, str]) -> Run:
        user = os.environ.get("USER", "studies")
        tags |= {KEY: key, STUDY_KEY: self._key, "mlflow.user": user, "mlflow.source.name": "studies"}
        run = self._runs[key] = Run(store.create_run(self.experiment_id, name, started, tags), tags)
        self.touched.add(key)
        return run

    def _log(
        self, store: Store, key: str, points: list[Point], parameters: dict[str, str], tags: dict[str, str]
    ) -> None:
        """Write what is new to a run, and on the first call for a run also its data set."""
        run = self._runs[key]
        changed = {name: value for name, value in tags.items() if run.tags.get(name) != value}
        if not run.described:
            store.log_dataset(run.id, projection.study_dataset(self.results.record))
        if points or parameters or changed:
            store.log(run.id, points, parameters, changed)
            self.touched.add(key)
        run.described = True
        run.tags |= changed

    def _set_status(self, store: Store, key: str, status: str, ended: float | None = None) -> None:
        run = self._runs[key]
        store.set_status(run.id, status, ended)
        run.status = status
        self.touched.add(key)

    def _interrupt(self, store: Store, key: str, ended: float) -> None:
        run = self._runs[key]
        if run.status == "KILLED" and INTERRUPTED in run.tags:
            return
        with _refusals_logged(key):
            self._log(store, key, [], {}, {INTERRUPTED: "true"})
            self._set_status(store, key, "KILLED", ended)

    def _resume(self, store: Store, key: str) -> None:
        run = self._runs[key]
        self._set_status(store, key, "RUNNING")
        self._remove_interruption(store, run)

    def _remove_interruption(self, store: Store, run: Run) -> None:
        if INTERRUPTED in run.tags:
            self._remove_tag(store, run, INTERRUPTED)

    @staticmethod
    def _remove_tag(store: Store, run: Run, name: str) -> None:
        store.delete_tag(run.id, name)
        del run.tags[name]


def confirm_published(mirror: Mirror) -> None:
    """Read back what was published, after the runs were closed.

    Raises:
        NotPublishedError: if the store lacks something.
    """
    missing = mirror.differences()
    if missing:
        others = f", and {len(missing) - 1} more differences" if len(missing) > 1 else ""
        raise NotPublishedError(missing[0] + others)


def _is_final(run: Run, trial: TrialRecord) -> bool:
    """Return whether a run already shows how its trial ended."""
    is_ended = trial.ending is not None and run.tags.get("state") == trial.state
    return is_ended and run.status == STATUSES[trial.state] and INTERRUPTED not in run.tags


@contextmanager
def _refusals_logged(what: str) -> Iterator[None]:
    """Continue after the store has refused a run permanently, and log the refusal."""
    try:
        yield
    except RefusedError as error:
        logger.warning("%s is not published: %s", what, error)
