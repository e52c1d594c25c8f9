"""The mirror: compares what the logs of a study tell with what its runs show, and publishes the difference.

Every run carries a key of ours, by which it is found before it is created; every event carries its own time.
So whoever publishes, however often, after whatever crash: the same runs come out, and what is there stays.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from studies.errors import RefusedError
from studies.records.home import StudyFolder
from studies.records.results import StudyResults
from studies.records.trial_log import TrialRecord, read_log
from studies.tracking import projection
from studies.tracking.projection import BEST_SO_FAR, Point

KEY, STUDY_KEY, ARTIFACTS = "studies.key", "studies.study", "studies.artifacts"
INTERRUPTED, NOTE = "interrupted", "mlflow.note.content"
POINTS_AT_ONCE = 8  # of the best value so far, while the study runs
FRESH_SECONDS = 4.0  # a trial that has just begun can wait: a short one then takes half the calls
SHORT_SECONDS = 12.0  # where most trials end within this, each is published when it has ended
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """What is known of a run in the store.

    Attributes:
        described: whether its parameters and its data set are there.
        n_steps: how many steps of its metrics are there; None while that has not been asked.
        is_deleted: whether someone deleted it; then it is left alone.
    """

    id: str
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "RUNNING"
    described: bool = False
    n_steps: int | None = 0
    is_deleted: bool = False

    def shows(self, trial: TrialRecord) -> bool:
        """Return whether the run says how the trial ended."""
        is_ended = trial.ending is not None and self.tags.get("state") == trial.state
        return is_ended and self.status == STATUS[trial.state] and INTERRUPTED not in self.tags


class Store(Protocol):
    """What a mirror asks of a tracking store. Any call may fail; `RefusedError` says that no retry would help."""

    def open_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment of this name, created or restored if need be."""

    def runs(self, experiment_id: str, tag: tuple[str, str] | None = None) -> Iterable[Run]:
        """Return the runs of an experiment that carry a tag, the deleted ones too."""

    def create_run(self, experiment_id: str, name: str, started: float, tags: Mapping[str, str]) -> str:
        """Return the id of a new run."""

    def log(self, run_id: str, points: Sequence[Point], parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Add metrics, parameters and tags; what is there already changes nothing."""

    def log_dataset(self, run_id: str, fields: Mapping[str, str]) -> None:
        """Add the data set; once it is there, that changes nothing."""

    def last_step(self, run_id: str, metric: str) -> int | None:
        """Return the last step of a metric."""

    def set_status(self, run_id: str, status: str, ended: float | None = None) -> None:
        """Say how a run stands, and when it ended."""

    def delete_tag(self, run_id: str, name: str) -> None:
        """Remove a tag."""

    def delete_run(self, run_id: str) -> None:
        """Delete a run."""

    def upload(self, run_id: str, folder: Path) -> None:
        """Add the files of a folder to a run."""


class Mirror:
    """The runs of one study.

    Args:
        folder: the study.
        open_store: connects.

    Attributes:
        experiment_id: empty until the store has been reached.
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
        self._sizes: dict[int, int] = {}
        self._waiting: dict[int, TrialRecord] = {}
        self._plots: tuple[str, dict[str, bytes]] = ("", {})

    def connect(self) -> Store:
        """Return the store; on the first call, and after `forget`, see what is there."""
        if self._store is not None:
            return self._store
        store = self._open_store()
        self.experiment_id = store.open_experiment(self.results.name, projection.study_tags(self.results.record))
        self._runs = {}
        for run in store.runs(self.experiment_id, (STUDY_KEY, self._key)):
            known = self._runs.get(run.tags[KEY])
            if known is None or known.is_deleted:
                self._runs[run.tags[KEY]] = run
            elif not run.is_deleted:  # a twin: a server created it, and its answer was lost
                store.delete_run(run.id)
        self._store = store
        return store

    def forget(self) -> None:
        """Forget what the store is believed to hold: after a failed call nobody knows what arrived."""
        self._store = None
        self._waiting = dict(self._trials)

    def publish(self, *, live: bool, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Publish what the logs tell and the store does not show yet.

        Args:
            live: whether someone is running the study: what is marked as interrupted then runs again.
            go_on: asked before each trial.

        Returns:
            Whether everything is published.
        """
        self._read_logs()
        store = self.connect()
        parent = self._publish_study(store, live)
        fresh = self._fresh_seconds()
        for number, trial in sorted(self._waiting.items()):
            if not go_on():
                return False
            if live and trial.ending is None and time.time() - trial.started < fresh:
                continue
            with _refusal_logged(f"trial {number}"):
                self._publish_trial(store, trial, parent, live)
            del self._waiting[number]
        with _refusal_logged("the study's own run"):
            self._publish_best_so_far(store, parent, live=live)
        return True

    def draw(self) -> dict[str, bytes]:
        """Return the plots of the trials that are known, by file name; `close` draws no others if these still hold."""
        digest = projection.artifacts_digest(self.results)
        if self._plots[0] != digest:
            from studies.tracking.plots import draw_plots

            self._plots = digest, draw_plots(self.results)
        return self._plots[1]

    def close(self, *, artifacts: bool) -> None:
        """Leave no run open: the study's is finished if all trials have ended; all else was interrupted.

        Args:
            artifacts: whether to upload plots, tables and the best configuration, if they have changed.
        """
        store, parent = self.connect(), self._runs[self._key]
        ends = {self._trial_key(trial.number): trial.last_event for trial in self.results.trials}
        for key, run in self._runs.items():
            if run is not parent and run.status == "RUNNING" and not run.is_deleted:
                self._interrupt(store, key, ends.get(key, time.time()))
        if parent.is_deleted:
            return
        with _refusal_logged("the study's own run"):
            self._publish_best_so_far(store, parent, live=False)
            self._summarise(store)
            if artifacts:
                self._upload(store, parent)
            if not self.results.is_complete:
                self._interrupt(store, self._key, self.results.last_event)
            else:
                self._forget_interruption(store, parent)
                if parent.status != "FINISHED":
                    self._set_status(store, self._key, "FINISHED", self.results.last_event)

    def _read_logs(self) -> None:
        """Read the logs that have grown."""
        for file in self._folder.logs():
            size, number = file.stat().st_size, int(file.stem)
            if self._sizes.get(number) == size:
                continue
            self._sizes[number] = size
            try:
                trial = read_log(file)
            except (ValueError, LookupError) as error:
                logger.warning("%s cannot be read: %s", file, error)
                continue
            if trial is not None:
                self._trials[number] = self._waiting[number] = trial
        self.results = replace(self.results, trials=tuple(trial for _, trial in sorted(self._trials.items())))

    def _fresh_seconds(self) -> float:
        """Return for how long a trial that runs can wait: twice as long as the trials of a study of short ones take."""
        durations = [trial.ended - trial.started for trial in self.results.trials if trial.ended is not None]
        usual = statistics.median(durations) if durations else 0.0
        return max(FRESH_SECONDS, 2 * usual) if usual <= SHORT_SECONDS else FRESH_SECONDS

    def _publish_study(self, store: Store, live: bool) -> Run:
        """Return the study's own run, created, described or set running as need be."""
        record, key, total = self.results.record, self._key, {"trials": str(self.results.total)}
        run = self._runs.get(key)
        if run is None:
            tags = projection.study_tags(record) | total | {NOTE: projection.introduction(record)}
            run = self._create(store, key, record.name, record.created, tags)
        if not run.is_deleted:
            with _refusal_logged("the study's own run"):
                if live and run.status != "RUNNING" and not self.results.is_complete:
                    self._resume(store, key)
                self._log(store, key, [], {} if run.described else projection.study_parameters(record), total)
        return run

    def _publish_trial(self, store: Store, trial: TrialRecord, parent: Run, live: bool) -> None:
        key = self._trial_key(trial.number)
        run = self._runs.get(key)
        if run is None:
            # The tags of its end too if it has ended: a call that takes them all is cheaper than two.
            tags = projection.trial_tags(self.results.record, trial)
            tags |= {"mlflow.parentRunId": parent.id} | projection.ending_tags(trial)
            run = self._create(store, key, f"trial {trial.number:04d}", trial.started, tags)
        elif run.is_deleted or run.shows(trial):
            return
        if INTERRUPTED in run.tags and (live or trial.ending):
            self._resume(store, key)
        if run.n_steps is None:
            # The points of an epoch arrive by key, so the last key says that all of them are there.
            run.n_steps = (store.last_step(run.id, max(trial.history)) or 0) if trial.history else 0
        points = projection.epoch_points(trial, after=run.n_steps) + projection.ending_points(trial)
        parameters = {} if run.described else projection.trial_parameters(trial)
        self._log(store, key, points, parameters, projection.ending_tags(trial))
        run.n_steps = trial.n_epochs
        if trial.ending is not None:
            self._set_status(store, key, STATUS[trial.state], trial.last_event)

    def _publish_best_so_far(self, store: Store, parent: Run, *, live: bool) -> None:
        points = projection.best_so_far_points(self.results)
        if parent.is_deleted or not points:
            return
        if parent.n_steps is None:
            last = store.last_step(parent.id, BEST_SO_FAR)
            parent.n_steps = 0 if last is None else last + 1
        new = [point for point in points if point.step >= parent.n_steps]
        if new and (not live or len(new) >= POINTS_AT_ONCE or new[0].step == points[0].step):
            self._log(store, self._key, new, {}, {})
            parent.n_steps = points[-1].step + 1

    def _summarise(self, store: Store) -> None:
        best, note = self.results.best, {NOTE: projection.note(self.results)}
        if self._runs[self._key].tags.get(NOTE) != note[NOTE]:
            tags = note | ({"best_trial": str(best.number)} if best else {})
            self._log(store, self._key, projection.total_points(self.results), {}, tags)

    def _upload(self, store: Store, parent: Run) -> None:
        """Upload the artifacts, unless they are there as they would be now."""
        best = self._folder.best.read_bytes() if self._folder.best.exists() else b""
        digest = projection.artifacts_digest(self.results, best)
        if parent.tags.get(ARTIFACTS) == digest:
            return
        with tempfile.TemporaryDirectory() as name:
            draft = Path(name)
            (draft / "trials.csv").write_text(projection.trials_csv(self.results), encoding="utf-8")
            if best:
                (draft / "best.toml").write_bytes(best)
            (draft / "plots").mkdir()
            for plot, content in self.draw().items():
                (draft / "plots" / plot).write_bytes(content)
            store.upload(parent.id, draft)
        self._log(store, self._key, [], {}, {ARTIFACTS: digest})

    def _trial_key(self, number: int) -> str:
        return projection.trial_key(self.results.record, number)

    def _create(self, store: Store, key: str, name: str, started: float, tags: dict[str, str]) -> Run:
        user = os.environ.get("USER", "studies")
        tags |= {KEY: key, STUDY_KEY: self._key, "mlflow.user": user, "mlflow.source.name": "studies"}
        run = self._runs[key] = Run(store.create_run(self.experiment_id, name, started, tags), tags)
        self.touched.add(key)
        return run

    def _log(
        self, store: Store, key: str, points: list[Point], parameters: dict[str, str], tags: dict[str, str]
    ) -> None:
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
        with _refusal_logged(key):
            self._log(store, key, [], {}, {INTERRUPTED: "true"})
            self._set_status(store, key, "KILLED", ended)

    def _resume(self, store: Store, key: str) -> None:
        run = self._runs[key]
        self._set_status(store, key, "RUNNING")
        self._forget_interruption(store, run)

    def _forget_interruption(self, store: Store, run: Run) -> None:
        if INTERRUPTED in run.tags:
            store.delete_tag(run.id, INTERRUPTED)
            del run.tags[INTERRUPTED]


@contextmanager
def _refusal_logged(what: str) -> Iterator[None]:
    """Go on where the store refuses one run for good; the log says so."""
    try:
        yield
    except RefusedError as error:
        logger.warning("%s is not published: %s", what, error)
