"""`run_study`: from a study file to a finished study."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Literal

from mlp.config import TrainConfig
from mlp.data import Dataset, Split
from mlp.errors import ConfigError, errors_in
from mlp.losses import Task
from mlp.metrics import metrics
from mlp.preparation import check_fit
from studies.data.cache import open_cached
from studies.data.prepare import prepare_data
from studies.hints import command_line
from studies.models.export import export_trial
from studies.models.machine import machine, versions
from studies.records.home import Home, StudyFolder
from studies.records.results import StudyResults, read_results
from studies.records.study_record import RECORD_VERSION, DataRecord, StudyRecord
from studies.running.clock import CostModel
from studies.running.driver import Driver, Snapshot
from studies.running.engines import AbstractEngine, EngineName, open_engine
from studies.running.ledger import Ledger
from studies.running.storage import StudyTable, open_storage
from studies.search.space import blame
from studies.search.spec import StudySpec, read_spec
from studies.tracking.publisher import Publisher

LAST_PUBLISHING_SECONDS = 120.0
Status = Literal["complete", "already complete", "out of time", "interrupted"]


@dataclass(frozen=True)
class Launch:
    """What a launch came to.

    Attributes:
        results: the study after the launch.
        status: `complete`, `already complete`, `out of time` or `interrupted`.
        signal: the signal that interrupted it, or 0.
        export: the best configuration, if any trial is complete.
        pending: why something is not published yet, or empty.
        seconds: how long the launch took.
    """

    results: StudyResults
    status: Status
    signal: int
    export: Path | None
    pending: str
    seconds: float

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.results.name


@dataclass(frozen=True)
class Plan:
    """A study that has been checked whole: nothing in it can be refused any more.

    Attributes:
        data: the folder of the prepared data set.
        record: the content of `study.json`, if the study is new.
    """

    spec: StudySpec
    data: Path
    record: StudyRecord
    split: Split

    def epoch_cost(self, config: TrainConfig) -> int:
        """Return the virtual cost of an epoch of a configuration."""
        split = self.split
        sizes = config.layer_sizes(split.n_features, split.n_targets, split.task)
        return CostModel().epoch(config, len(split.train), sizes)


def plan_study(
    file: Path | str,
    *,
    name: str | None = None,
    trials: int | None = None,
    overrides: Iterable[str] = (),
    data_dir: Path | None = None,
) -> Plan:
    """Return the study that a file describes, with its data, which is fetched if need be.

    Args:
        file: the study file.
        name: of the study, instead of the file's.
        trials: the total, instead of the file's.
        overrides: `path=value` changes of base.
        data_dir: where `mnist/*.gz` and the like are; `STUDIES_DATA` unless given.

    Raises:
        ConfigError: when the file cannot be run as it stands, the data is missing, or the one does not fit the other.
    """
    spec = read_spec(Path(file), name=name, trials=trials, overrides=overrides)
    with errors_in(f"{file}:"):
        return _plan(spec, data_dir)


def _plan(spec: StudySpec, data_dir: Path | None) -> Plan:
    with errors_in("[base]"):
        folder = prepare_data(spec.base.data, data_dir=data_dir)
        dataset = open_cached(folder)
        split = dataset.split(spec.base.data, spec.base.seed)
    _check_fit(spec, dataset, split)
    data = DataRecord(
        name=dataset.name,
        digest=dataset.digest,
        n_train=len(split.train),
        n_validation=len(split.validation) if split.validation else 0,
        n_features=split.n_features,
        task=split.task,
        n_targets=split.n_targets,
    )
    record = StudyRecord(
        version=RECORD_VERSION,
        name=spec.study.name,
        created=time.time(),
        **spec.to_mapping(),
        data=data,
        versions=versions() | {"optuna": version("optuna")},
        machine=machine(),
        fingerprint=spec.fingerprint(dataset.digest, CostModel().to_mapping()),
    )
    return Plan(spec, folder, record, split)


def _check_fit(spec: StudySpec, dataset: Dataset, split: Split) -> None:
    """Refuse what could not be trained with these data, or not be judged, in base or anywhere in the space.

    Raises:
        ConfigError: naming the table and the field at fault.
    """
    metric = spec.study.metric.partition("/")[2]
    with errors_in('[study] "metric":'):
        metrics.decode(metric).check_task(dataset.task)
    with errors_in("[base]"):
        check_fit(spec.base, split)
        _check_metric(spec, spec.base, dataset.task)
    splits = {replace(spec.base.data, scale="none"): split}  # scaling refuses nothing, and may read everything
    with errors_in("[space]"):
        for example in spec.space.examples:
            config = example.config
            data = replace(config.data, scale="none")
            try:
                splits[data] = splits.get(data) or dataset.split(data, config.seed)
                check_fit(config, splits[data])
                _check_metric(spec, config, dataset.task)
            except ConfigError as error:
                raise blame(example.chosen, error) from None


def _check_metric(spec: StudySpec, config: TrainConfig, task: Task) -> None:
    """Refuse a configuration that does not compute the metric that decides."""
    part, _, name = spec.study.metric.partition("/")
    computed = config.metric_names(task)
    if name not in computed:
        names = ", ".join(f'"{name}"' for name in (*(metric.name for metric in config.metrics), name))
        others = " or ".join(f"{part}/{name}" for name in computed)
        problem = f'[study] decides by "{spec.study.metric}", which is not computed. Set metrics = [{names}] in [base]'
        raise ConfigError(f"{problem}, or decide by {others}.", path="metrics")


def run_study(
    file: Path | str,
    *,
    name: str | None = None,
    trials: int | None = None,
    overrides: Iterable[str] = (),
    workers: int | None = None,
    timeout: float | None = None,
    home: Path | None = None,
    data_dir: Path | None = None,
    engine: EngineName | AbstractEngine = "processes",
    publish: bool = True,
    on_change: Callable[[Snapshot], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Launch:
    """Run the study that a file describes, or go on with it, to its total of trials.

    Args:
        file: the study file.
        name: of the study, instead of the file's.
        trials: the total, instead of the file's.
        overrides: `path=value` changes of base.
        workers: processes; the number of cores unless given, and at most the study's parallelism.
        timeout: seconds after which it stops at a point from which it can go on.
        home: where runs live; `STUDIES_HOME` or `./mlruns` unless given.
        data_dir: where `mnist/*.gz` and the like are; `STUDIES_DATA` unless given.
        engine: `processes`, `in-process`, or an engine of your own.
        publish: whether to mirror the study to MLflow while it runs.
        on_change: called with a snapshot after every event.
        on_notice: called with what a person should know.

    Raises:
        ConfigError: before any work has started, when something cannot be run as asked.
    """
    started = time.monotonic()
    plan = plan_study(file, name=name, trials=trials, overrides=overrides, data_dir=data_dir)
    spec = plan.spec
    place = Home.find(home)
    place.create()
    folder = place.study(spec.study.name)
    with ExitStack() as stack:
        stack.enter_context(folder.lock())
        recorded = folder.read_record() if folder.record.exists() else None
        if recorded is not None:
            check_record(recorded, plan, place)
        if recorded is not None and _may_be_complete(folder, spec.study.trials):
            results = read_results(folder)
            if results.n_ended == len(results.trials):
                export = folder.best if folder.best.exists() else None
                return Launch(results, "already complete", 0, export, "", time.monotonic() - started)
        stop = stack.enter_context(_Stop.on_signals(None if timeout is None else started + timeout))
        # The slow starters go first: processes come up while this one reads its databases.
        n_workers = min(workers or _n_cores(), spec.study.parallelism)
        workforce = open_engine(engine, n_workers) if isinstance(engine, str) else engine
        stack.callback(workforce.shutdown)
        folder.write_record((recorded or plan.record).with_total(spec.study.trials))
        publisher = Publisher.start(place, folder) if publish else None
        if on_notice and spec.params_of_base() is None:
            on_notice("[base] is no point of [space]: trial 0 trains it, but the sampler learns nothing from it.")
        table = StudyTable(open_storage(place.optuna_url), folder.name, spec.direction)
        ledger = Ledger(spec, folder, table, plan.epoch_cost)
        finished = Driver(ledger, workforce, plan.data, on_change=on_change, should_stop=stop.is_due).run()
        if publisher and finished:
            publisher.announce_end()
        workforce.shutdown()
        results = read_results(folder)
        export = export_trial(results, None, folder.best) if results.best else None
        pending = _close(publisher, finished)
    status: Status = "complete" if finished else "interrupted" if stop.signal else "out of time"
    return Launch(results, status, 0 if finished else stop.signal, export, pending, time.monotonic() - started)


def check_record(recorded: StudyRecord, plan: Plan, home: Home) -> None:
    """Refuse to resume an existing study of the same name whose settings are different.

    Args:
        recorded: the record of the existing study.
        plan: the study that was asked for.
        home: where both are, or would be.

    Raises:
        ConfigError: with every difference.
    """
    was, now = recorded.fingerprint, plan.record.fingerprint
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    if changed:
        lines = [f"  {key}: was {was.get(key, 'absent')}, is {now.get(key, 'absent')}" for key in changed]
        raise ConfigError(
            f'study "{recorded.name}" already exists with different settings:\n' + "\n".join(lines) + "\n"
            "Run it under a new name with --name, or delete the old one with: "
            f"{command_line('delete', recorded.name, home=home)}"
        )


def _may_be_complete(folder: StudyFolder, total: int) -> bool:
    """Return whether all trials of the study may have ended; this looks at the names of files only."""
    return len(folder.logs()) >= total and not any(folder.trials.glob("*.npz"))


def _close(publisher: Publisher | None, finished: bool) -> str:
    """Let the publisher finish; return why something is left to publish, or nothing."""
    if publisher is None:
        return ""
    outcome = publisher.finish(LAST_PUBLISHING_SECONDS) if finished else publisher.interrupt(5.0)
    return "" if outcome.drained else outcome.error or "the publisher did not finish in time"


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Stop:
    """Why a run should stop: a signal, or the clock."""

    def __init__(self, deadline: float | None) -> None:
        self.signal = 0
        self._deadline = deadline

    def is_due(self) -> bool:
        return bool(self.signal) or (self._deadline is not None and time.monotonic() >= self._deadline)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            os._exit(128 + number)  # asked twice: workers and publisher see the driver go, and go too
        self.signal = number

    @classmethod
    @contextmanager
    def on_signals(cls, deadline: float | None) -> Iterator[_Stop]:
        """Turn Ctrl-C and SIGTERM into a request, where this is the main thread."""
        stop = cls(deadline)
        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, stop._receive)
        except ValueError:
            pass  # not the main thread: whoever owns it decides about signals
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
