"""`run_study`: runs a study file until its last trial, or resumes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from mlp.errors import ConfigError, listed
from studies.errors import WaitInterruptedError
from studies.evidence.conclusion import write_confirmation
from studies.evidence.confirmation import confirm_winner, read_confirmation
from studies.evidence.ensemble import discard_leftovers
from studies.evidence.winner import export_trial
from studies.hints import command_line
from studies.plan import EnqueueSource, Plan, StudySource, plan_study, with_prior
from studies.records.failures import failures_explained
from studies.records.home import Home, StudyFolder
from studies.records.results import StudyResults, read_results
from studies.records.study_record import StudyRecord
from studies.running.driver import Driver
from studies.running.engines import AbstractEngine, EngineName, n_cores, open_engine
from studies.running.fixed_trainings import FixedTrainings
from studies.running.ledger import Ledger
from studies.running.live_trial import Snapshot
from studies.running.progress import progress as show_progress
from studies.running.reconciliation import notice_of_damage, opened_table, reconcile_rows
from studies.running.stopping import StopRequest, wait_for_database
from studies.running.trial_limits import machine_memory, worker_memory
from studies.search.spec import StudySpec
from studies.tracking.own_store import relocation_notice
from studies.tracking.publication import is_published
from studies.tracking.publisher import Publisher

PUBLISH_SECONDS = 120.0  # how long a complete study waits for the publisher
PUBLISH_SECONDS_INTERRUPTED = 5.0  # how long an interrupted one waits; the next launch publishes the rest
T = TypeVar("T")
Status = Literal["complete", "already complete", "out of time", "interrupted"]


@dataclass(frozen=True)
class Launch:
    """The result of a launch.

    Attributes:
        results: the study after the launch.
        status: `complete`, `already complete`, `out of time` or `interrupted`.
        signal: the number of the signal that interrupted it, or 0.
        export: the file of the best configuration, if any trial is complete.
        pending: why some results are not published yet; empty if all are.
        seconds: how long the launch took.
        n_epochs: how many epochs it computed.
        published_late: whether it published results of an earlier launch, because the study was complete already.
    """

    results: StudyResults
    status: Status
    signal: int
    export: Path | None
    pending: str
    seconds: float
    n_epochs: int = field(default=0, compare=False)
    published_late: bool = False

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.results.name


def run_study(
    file: StudySource,
    *,
    name: str | None = None,
    trials: int | None = None,
    budget: float | None = None,
    overrides: Iterable[str] = (),
    enqueue: Iterable[EnqueueSource] = (),
    workers: int | None = None,
    timeout: float | None = None,
    home: Path | str | None = None,
    data_dir: Path | str | None = None,
    engine: EngineName | AbstractEngine = "processes",
    publish: bool = True,
    confirm: bool = True,
    progress: bool = False,
    on_change: Callable[[Snapshot], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Launch:
    """Run the study that a file describes until its limits are reached; resume it if it has been run before.

    Args:
        file: the study file; or its tables as a mapping; or a study that `read_spec` or `make_spec` returned.
        name: replaces the name of the study.
        trials: replaces the maximum number of trials over all launches.
        budget: replaces the budget, in trainings of base, a total over all launches.
        overrides: `path=value` pairs that change base; a searched path becomes fixed.
        enqueue: configurations to try before the sampler chooses the next: files of exports or configurations, or
            values by searched path. A configuration that an earlier launch enqueued is not tried twice.
        workers: the number of worker processes, at most the study's parallelism; by default one per core.
        timeout: seconds after which the study stops. It can be resumed.
        home: the folder of runs; by default `STUDIES_HOME`, or else `./mlruns`.
        data_dir: the folder of downloaded data sets, such as `mnist/*.gz`; by default `STUDIES_DATA`.
        engine: what computes the trainings: `processes`, `in-process`, or an engine that you have opened.
        publish: whether to publish the study to MLflow while it runs.
        confirm: whether to confirm the winner after the search, if the study file says so.
        progress: whether to show the progress and the messages, in a terminal, a notebook or a log. Without it nothing
            is shown.
        on_change: called with a snapshot of the progress after every event.
        on_notice: called with messages that the user should read.

    Raises:
        ConfigError: if the study cannot be run as described; no work has started then.
        RecordError: if a file of the study is damaged.
        HistoryMismatchError: if the study has a record that differs from what is computed now.
        StorageError: if a file or Optuna's database can no longer be written; the study can be resumed.
        DataLostError: if the prepared data set is deleted while the study runs; the study can be resumed.
        AllWorkersLostError: if worker processes die whatever they compute; the study can be resumed.
    """
    started = time.monotonic()
    plan = plan_study(
        file, name=name, trials=trials, budget=budget, overrides=overrides, data_dir=data_dir, enqueue=enqueue
    )
    runs = Home.find(None if home is None else Path(home))
    runs.create()
    folder = runs.study(plan.spec.study.name)
    pending = ""
    with ExitStack() as stack:
        watchers, listeners = [on_change] if on_change else [], [on_notice] if on_notice else []
        if progress:
            from rich.console import Console

            shown = stack.enter_context(show_progress(Console()))
            watchers.append(shown.update)
            listeners.append(shown.notice)
        watch, notify = _all_of(watchers), _all_of(listeners)
        repair = command_line("check", folder.name, "--repair", home=runs)
        stack.enter_context(failures_explained(runs.root / "optuna.db", repair))
        stack.enter_context(folder.lock())
        stop = stack.enter_context(StopRequest.on_signals(None if timeout is None else started + timeout))
        if publish and (moved := relocation_notice(runs)):
            notify(moved)
        on_locked = wait_for_database(runs.root / "optuna.db", stop, notify)
        plan = with_prior(plan, runs, folder.read_record() if folder.record.exists() else None)
        owned = _OwnedStudy(plan, runs, folder, stop, notify, watch, on_locked)
        record, spent = owned.record_to_run(confirm=confirm)
        if record is None:
            return owned.complete_already(started, publish=publish)
        # What takes long to start comes first: the processes start up while this one reads its databases.
        n_workers = min(workers or n_cores(), plan.spec.study.parallelism)
        max_memory = worker_memory(plan.max_memory, machine_memory())
        opened = open_engine(engine, n_workers, max_memory) if isinstance(engine, str) else engine
        stack.callback(opened.shutdown)
        new_machine = _change_of_machine(record, owned.environment)
        record = replace(record.with_launch(time.time(), owned.environment), confirm=plan.spec.confirm.to_mapping())
        folder.write_record(record)
        publisher = Publisher.start(runs, folder) if publish else None
        if publisher is not None:
            # If an error ends the study, no process outlives it, even if the caller continues. Workers end first.
            stack.callback(publisher.interrupt, PUBLISH_SECONDS_INTERRUPTED)
            stack.callback(opened.shutdown)
        for notice in [*plan.data_plan.lines, *plan.notices(workers), *new_machine]:
            notify(notice)
        seconds = plan.spec.study.seconds
        finished, n_epochs = owned.search(opened, record, None if seconds is None else started + seconds - spent)
        if finished and confirm:
            finished = owned.confirm(opened)
        opened.shutdown()
        results = replace(read_results(folder), is_running=False)
        export = _export(results, folder)
        if publisher is not None and finished:
            pending = owned.finish_publishing(publisher)
        elif publisher is not None:
            pending = publisher.interrupt(PUBLISH_SECONDS_INTERRUPTED).error
    status: Status = "complete" if finished else "interrupted" if stop.signal else "out of time"
    number = 0 if finished else stop.signal
    return Launch(results, status, number, export, pending, time.monotonic() - started, n_epochs)


@dataclass(frozen=True)
class _OwnedStudy:
    """A study that this process owns, and the steps of its launch.

    Attributes:
        plan: the study.
        home: the home.
        folder: the folder of the study, which is locked.
        stop: whether the launch must stop.
        notify: called with messages that the user should read.
        on_change: called with a snapshot of the progress after every event.
        on_locked: called with the seconds of waiting while another process keeps Optuna's database locked.
    """

    plan: Plan
    home: Home
    folder: StudyFolder
    stop: StopRequest
    notify: Callable[[str], None]
    on_change: Callable[[Snapshot], None]
    on_locked: Callable[[float], None]

    @property
    def environment(self) -> dict[str, str]:
        """What may change the last bits of results: the machine and the version of NumPy."""
        return {**self.plan.record.machine, "numpy": self.plan.record.versions["numpy"]}

    def record_to_run(self, *, confirm: bool) -> tuple[StudyRecord | None, float]:
        """Return the record with what this launch adds, and the seconds that earlier launches took.

        The record is None if there is nothing to do: the study is complete, its limits are not raised, and its winner
        is confirmed or need not be.

        Raises:
            ConfigError: if the recorded study has other settings, or is complete although configurations are enqueued.
        """
        spec = self.plan.spec
        if not self.folder.record.exists():
            record = self.plan.record.with_enqueued(0, spec.added)
            return record.with_limits(_with_added(spec, record).limits), 0.0
        recorded = self.folder.read_record()
        check_record(recorded, self.plan, self.home)
        results = read_results(self.folder)
        record = recorded.with_enqueued(results.next_step, spec.added)
        spec = _with_added(spec, record)
        spent = results.seconds() if spec.study.seconds is not None else 0.0
        limits = replace(spec.limits, step=results.next_step, is_over=_is_over(spec, recorded, spent))
        if not results.is_complete or limits.exceed(recorded.limits[-1]):
            return record.with_limits(limits), spent
        if len(record.enqueued) > len(recorded.enqueued):
            problem = f"study {recorded.name} is complete, so no enqueued configuration would be tried"
            raise ConfigError(f"--enqueue: {problem}. Raise its limits with --budget or --trials.")
        return recorded if confirm and _is_to_be_confirmed(results, spec) else None, spent

    def complete_already(self, started: float, *, publish: bool) -> Launch:
        """Mend what is derived from the logs of a complete study, and publish what MLflow does not have yet."""
        self._reconcile(self.folder.read_record())
        for checkpoint in self.folder.checkpoints():
            checkpoint.unlink()
        results, pending = read_results(self.folder), ""
        export = _export(results, self.folder)
        is_late = publish and not is_published(self.home, self.folder, results)
        if is_late:
            self.notify(f"Study {self.folder.name} is complete. Publishing what MLflow does not have yet.")
            pending = self.finish_publishing(Publisher.start(self.home, self.folder))
        seconds = time.monotonic() - started
        return Launch(results, "already complete", 0, export, pending, seconds, published_late=is_late)

    def search(self, engine: AbstractEngine, record: StudyRecord, deadline: float | None) -> tuple[bool, int]:
        """Run the search until it is complete or must stop.

        Args:
            engine: computes the trainings.
            record: the record of the study.
            deadline: when the time of the search is over, by the monotonic clock; None without such a limit.

        Returns:
            Whether the search is complete, and how many epochs were computed.
        """
        plan, driver = self.plan, None
        search = self.stop.within(deadline)
        try:
            with opened_table(self.home, plan.spec, self.on_locked) as table:
                ledger = Ledger(
                    plan.spec,
                    self.folder,
                    table,
                    plan.epoch_cost,
                    record.identity,
                    self.environment,
                    record.limits,
                    record.enqueued,
                )
                if ledger.damage:
                    self.notify(notice_of_damage(ledger.damage))
                if ledger.lost:
                    self.notify(
                        f"The logs of these trials are lost, so they are computed again: {listed(ledger.lost)}."
                    )
                driver = Driver(
                    ledger,
                    engine,
                    plan.data,
                    on_change=self.on_change,
                    should_stop=search.is_due,
                    limits=plan.trial_limits,
                )
                finished = driver.run()
                if not finished and not self.stop.is_due():
                    # The time of the search is over. What runs is ended at this step, also after a crash.
                    record = record.with_limits(ledger.end_search())
                    self.folder.write_record(record)
                    search.deadline = None
                    finished = driver.run()
            if finished:
                if ledger.n_enqueued:
                    self.notify(f"Enqueued configurations that the limits left untried: {ledger.n_enqueued}.")
                self.folder.write_record(replace(record, is_searched=True))
                # Whoever deletes the database while a study runs leaves the driver one that nobody else can see.
                self._reconcile(record)
        except WaitInterruptedError:
            finished = False
        return finished, driver.n_epochs if driver else 0

    def confirm(self, engine: AbstractEngine) -> bool:
        """Confirm the winner; return whether the confirmation is complete."""

        def driver(trainings: FixedTrainings) -> Driver:
            return Driver(
                trainings,
                engine,
                self.plan.data,
                on_change=self.on_change,
                should_stop=self.stop.is_due,
                limits=self.plan.trial_limits,
            )

        results = read_results(self.folder)
        confirmation = confirm_winner(results, self.environment, engine.n_workers, driver)
        return confirmation is None or confirmation.is_complete

    def finish_publishing(self, publisher: Publisher) -> str:
        """Wait until a complete study is published; return why some results are not, or an empty string."""
        stop = self.stop
        return publisher.finish(PUBLISH_SECONDS, on_wait=self.notify, should_stop=lambda: bool(stop.signal)).error

    def _reconcile(self, record: StudyRecord) -> None:
        """Make Optuna's rows agree with the logs."""
        damage = reconcile_rows(self.home, self.folder, self.plan.spec, record.identity, self.on_locked)
        if damage:
            self.notify(notice_of_damage(damage))


def _with_added(spec: StudySpec, record: StudyRecord) -> StudySpec:
    """Return the study with the configurations that all launches enqueued, so that a finite space has room for them."""
    return replace(spec, added=tuple(dict(entry.params) for entry in record.enqueued))


def check_record(recorded: StudyRecord, plan: Plan, home: Home) -> None:
    """Refuse to resume an existing study of the same name whose settings are different.

    Args:
        recorded: the record of the existing study.
        plan: the study that was asked for.
        home: where both are, or would be.

    Raises:
        ConfigError: with every difference.
    """
    if differences := recorded.differences_to(plan.record):
        raise ConfigError(
            f'study "{recorded.name}" already exists with different settings: {listed(differences)}. '
            f'Run it under a new name with --name (with warm_start = ["{recorded.name}"] in [study] to learn from it), '
            "or delete the old one with: "
            f"{command_line('delete', recorded.name, home=home)}"
        )


def _is_to_be_confirmed(results: StudyResults, spec: StudySpec) -> bool:
    """Return whether trainings are missing to confirm the winner of a study whose search is complete."""
    record = replace(results.record, confirm=spec.confirm.to_mapping())
    confirmation = read_confirmation(replace(results, record=record))
    return confirmation is not None and not confirmation.is_complete


def _export(results: StudyResults, folder: StudyFolder) -> Path | None:
    """Write `confirmation.json` and `best.toml`; return the latter, or None before a trial is complete."""
    write_confirmation(results, folder)
    discard_leftovers(results)
    return export_trial(results, None, folder.best) if results.best else None


def _is_over(spec: StudySpec, record: StudyRecord, seconds: float) -> bool:
    """Return whether a search that ran out of time has not been given more."""
    most = spec.study.seconds
    return bool(record.limits and record.limits[-1].is_over and most is not None and seconds >= most)


def _change_of_machine(record: StudyRecord, environment: Mapping[str, str]) -> list[str]:
    """Return a notice if the last launch of a study was on another machine, or with another version of NumPy."""
    if not record.launches:
        return []
    before = record.launches[-1].machine
    changes = [f"{key} was {before[key]} and is {of}" for key, of in environment.items() if before.get(key, of) != of]
    if not changes:
        return []
    return [f"The last launch was on another machine: {listed(changes)}. The last bits of new results may differ."]


def _all_of(receivers: Sequence[Callable[[T], None]]) -> Callable[[T], None]:
    """Return a function that gives its argument to all receivers."""

    def give(content: T) -> None:
        for receiver in receivers:
            receiver(content)

    return give
