"""`run_study`: runs a study file until its last trial, or resumes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mlp.errors import ConfigError, listed
from studies.errors import WaitInterruptedError
from studies.evidence.conclusion import write_confirmation
from studies.evidence.confirmation import confirm_winner, read_confirmation
from studies.evidence.winner import export_trial
from studies.hints import command_line
from studies.plan import Plan, StudySource, plan_study
from studies.records.failures import failures_explained
from studies.records.home import Home
from studies.records.results import StudyResults, read_results
from studies.records.study_record import StudyRecord
from studies.running.driver import Driver
from studies.running.engines import AbstractEngine, EngineName, n_cores, open_engine
from studies.running.fixed_trainings import FixedTrainings
from studies.running.ledger import Ledger
from studies.running.live_trial import Snapshot
from studies.running.reconciliation import notice_of_damage, opened_table, reconcile_rows
from studies.running.stopping import StopRequest, wait_for_database
from studies.search.spec import StudySpec
from studies.tracking.own_store import relocation_notice
from studies.tracking.publication import is_published
from studies.tracking.publisher import Publisher

PUBLISH_SECONDS = 120.0  # how long a complete study waits for the publisher
PUBLISH_SECONDS_INTERRUPTED = 5.0  # how long an interrupted one waits; the next launch publishes the rest
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
    workers: int | None = None,
    timeout: float | None = None,
    home: Path | str | None = None,
    data_dir: Path | str | None = None,
    engine: EngineName | AbstractEngine = "processes",
    publish: bool = True,
    confirm: bool = True,
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
        workers: the number of worker processes, at most the study's parallelism; by default one per core.
        timeout: seconds after which the study stops. It can be resumed.
        home: the folder of runs; by default `STUDIES_HOME`, or else `./mlruns`.
        data_dir: the folder of downloaded data sets, such as `mnist/*.gz`; by default `STUDIES_DATA`.
        engine: what computes the trainings: `processes`, `in-process`, or an engine that you have opened.
        publish: whether to publish the study to MLflow while it runs.
        confirm: whether to confirm the winner after the search, if the study file says so.
        on_change: called with a snapshot of the progress after every event.
        on_notice: called with messages that the user should read.

    Raises:
        ConfigError: if the study cannot be run as described; no work has started then.
        RecordError: if a file of the study is damaged.
        HistoryMismatchError: if the study has a record that differs from what is computed now.
        StorageError: if a file or Optuna's database can no longer be written; the study can be resumed.
        AllWorkersLostError: if worker processes die whatever they compute; the study can be resumed.
    """
    started = time.monotonic()
    plan = plan_study(file, name=name, trials=trials, budget=budget, overrides=overrides, data_dir=data_dir)
    spec = plan.spec
    runs = Home.find(None if home is None else Path(home))
    runs.create()
    folder = runs.study(spec.study.name)
    notify, pending = on_notice or _ignore, ""
    with ExitStack() as stack:
        repair = command_line("check", folder.name, "--repair", home=runs)
        stack.enter_context(failures_explained(runs.root / "optuna.db", repair))
        stack.enter_context(folder.lock())
        stop = stack.enter_context(StopRequest.on_signals(None if timeout is None else started + timeout))
        moved = relocation_notice(runs) if publish else ""
        if moved:
            notify(moved)
        on_locked = wait_for_database(runs.root / "optuna.db", stop, notify)
        recorded = folder.read_record() if folder.record.exists() else None
        record, spent = recorded or plan.record, 0.0
        if recorded is None:
            record = record.with_limits(spec.limits)
        else:
            check_record(recorded, plan, runs)
            results = read_results(folder)
            spent = results.seconds() if spec.study.seconds is not None else 0.0
            limits = replace(spec.limits, step=results.next_step, is_over=_is_over(spec, recorded, spent))
            if not results.is_complete or limits.exceed(recorded.limits[-1]):
                record = record.with_limits(limits)
            elif not confirm or not _is_to_be_confirmed(results, spec):
                if damage := reconcile_rows(runs, folder, spec, record.identity, on_locked):
                    notify(notice_of_damage(damage))
                for checkpoint in folder.checkpoints():
                    checkpoint.unlink()
                write_confirmation(results, folder)
                export = export_trial(results, None, folder.best) if results.best else None
                is_late = publish and results.is_complete and not is_published(runs, folder, results)
                if is_late:
                    notify(f"Study {folder.name} is complete. Publishing what MLflow does not have yet.")
                    pending = _finish_publishing(Publisher.start(runs, folder), stop, notify)
                seconds = time.monotonic() - started
                return Launch(results, "already complete", 0, export, pending, seconds, published_late=is_late)
        # What takes long to start comes first: the processes start up while this one reads its databases.
        n_workers = min(workers or n_cores(), spec.study.parallelism)
        opened = open_engine(engine, n_workers) if isinstance(engine, str) else engine
        stack.callback(opened.shutdown)
        environment = {**plan.record.machine, "numpy": plan.record.versions["numpy"]}
        new_machine = _change_of_machine(record, environment)
        record = replace(record.with_launch(time.time(), environment), confirm=spec.confirm.to_mapping())
        folder.write_record(record)
        publisher = Publisher.start(runs, folder) if publish else None
        if publisher is not None:
            # If an error ends the study, no process outlives it, even if the caller continues. Workers end first.
            stack.callback(publisher.interrupt, PUBLISH_SECONDS_INTERRUPTED)
            stack.callback(opened.shutdown)
        for notice in [*plan.data_plan.lines, *plan.notices(workers), *new_machine]:
            notify(notice)
        driver = None
        search = stop.within(None if spec.study.seconds is None else started + spec.study.seconds - spent)
        try:
            with opened_table(runs, spec, on_locked) as table:
                ledger = Ledger(spec, folder, table, plan.epoch_cost, record.identity, environment, record.limits)
                if ledger.damage:
                    notify(notice_of_damage(ledger.damage))
                if ledger.lost:
                    notify(f"The logs of these trials are lost, so they are computed again: {listed(ledger.lost)}.")
                driver = Driver(ledger, opened, plan.data, on_change=on_change, should_stop=search.is_due)
                finished = driver.run()
                if not finished and not stop.is_due():
                    # The time of the search is over. What runs is ended at this step, also after a crash.
                    record = record.with_limits(ledger.end_search())
                    folder.write_record(record)
                    search.deadline = None
                    finished = driver.run()
            if finished:
                record = replace(record, is_searched=True)
                folder.write_record(record)
            # Whoever deletes the database while a study runs leaves the driver one that nobody else can see.
            if finished and (damage := reconcile_rows(runs, folder, spec, record.identity, on_locked)):
                notify(notice_of_damage(damage))
            if finished and confirm:
                finished = _confirm(read_results(folder), plan, opened, environment, on_change, stop)
        except WaitInterruptedError:
            finished = False
        opened.shutdown()
        results = replace(read_results(folder), is_running=False)
        write_confirmation(results, folder)
        export = export_trial(results, None, folder.best) if results.best else None
        if publisher is not None and finished:
            pending = _finish_publishing(publisher, stop, notify)
        elif publisher is not None:
            pending = publisher.interrupt(PUBLISH_SECONDS_INTERRUPTED).error
    status: Status = "complete" if finished else "interrupted" if stop.signal else "out of time"
    number, seconds = 0 if finished else stop.signal, time.monotonic() - started
    return Launch(results, status, number, export, pending, seconds, driver.n_epochs if driver else 0)


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
            "Run it under a new name with --name, or delete the old one with: "
            f"{command_line('delete', recorded.name, home=home)}"
        )


def _is_to_be_confirmed(results: StudyResults, spec: StudySpec) -> bool:
    """Return whether trainings are missing to confirm the winner of a study whose search is complete."""
    record = replace(results.record, confirm=spec.confirm.to_mapping())
    confirmation = read_confirmation(replace(results, record=record))
    return confirmation is not None and not confirmation.is_complete


def _confirm(
    results: StudyResults,
    plan: Plan,
    engine: AbstractEngine,
    environment: Mapping[str, str],
    on_change: Callable[[Snapshot], None] | None,
    stop: StopRequest,
) -> bool:
    """Confirm the winner of a study; return whether the confirmation is complete."""

    def driver(trainings: FixedTrainings) -> Driver:
        return Driver(trainings, engine, plan.data, on_change=on_change, should_stop=stop.is_due)

    confirmation = confirm_winner(results, environment, engine.n_workers, driver)
    return confirmation is None or confirmation.is_complete


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


def _finish_publishing(publisher: Publisher, stop: StopRequest, notify: Callable[[str], None]) -> str:
    """Wait until a complete study is published; return why some results are not, or an empty string."""
    outcome = publisher.finish(PUBLISH_SECONDS, on_wait=notify, should_stop=lambda: bool(stop.signal))
    return outcome.error


def _ignore(_: str) -> None:
    """Drop a notice that nobody wants."""
