"""`plan_study`: a study file that has been checked in full, so that no trial can be refused later."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlp.config import TrainConfig
from mlp.data import Dataset, Split
from mlp.errors import ConfigError, errors_in, listed
from mlp.losses import Task
from mlp.memory import DataSize
from mlp.metrics import metrics
from mlp.paths import value_at
from mlp.preparation import check_defined, check_fit
from studies.data.cache import open_cached, read_report
from studies.data.data_plan import DataPlan
from studies.data.data_report import DataReport
from studies.data.file_search import Places
from studies.data.prepare import prepare_data
from studies.data.task import explain_task, settle_task
from studies.models.export import read_config
from studies.models.machine import machine, versions
from studies.records.home import Home
from studies.records.study_record import RECORD_VERSION, DataRecord, StudyRecord
from studies.running.clock import CostModel
from studies.running.trial_limits import TrialLimits, machine_memory
from studies.search.constraints import read_bytes
from studies.search.domains import Params
from studies.search.enqueued import params_of_config, params_of_values
from studies.search.sampled import check_constraints
from studies.search.space import Space, errors_of_choices
from studies.search.spec import StudySpec, make_spec, read_spec, with_changes
from studies.search.warm_start import collect_prior

EnqueueSource = Mapping[str, Any] | Path | str
StudySource = StudySpec | Mapping[str, Any] | Path | str


@dataclass(frozen=True)
class Plan:
    """A study that has been checked in full, so that no trial can be refused later.

    Attributes:
        spec: the study file.
        data: the folder of the prepared data set.
        record: the content of `study.json`, if the study is new.
        splits: the data as base splits it: one split, or one for each fold.
        report: what was found in the file of the data; None for a published data set.
        namesakes: a sentence for each file of the data that has a namesake.
        ignored: a sentence for each enqueued file that differs from base in fields that are not searched.
        learns_from: a sentence for each other study that the sampler learns from.
    """

    spec: StudySpec
    data: Path
    record: StudyRecord
    splits: tuple[Split, ...]
    report: DataReport | None = None
    namesakes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    learns_from: tuple[str, ...] = ()

    @property
    def data_plan(self) -> DataPlan:
        """What is learnt from a file of columns, and what to know about the parts of any data."""
        report = self.report and explain_task(self.report, self.spec.base)
        return DataPlan.of(report, self.splits, self.namesakes)

    def notices(self, workers: int | None = None) -> list[str]:
        """Return what a user should know before the study starts: settings that have no effect.

        Args:
            workers: the number of workers asked for.
        """
        study, found = self.spec.study, [*self.data_plan.warnings, *self.ignored, *self.learns_from]
        if outside := self.spec.space.why_base_is_outside():
            found.append(f"[base] is outside [space]: {outside}; trial 0 runs it, the sampler ignores it.")
        least = value_at(study.pruner, "min_epochs")
        epochs = max(config.epochs for config in (self.spec.base, *(e.config for e in self.spec.space.examples)))
        if least is not None and least >= epochs:
            problem = f"pruner.min_epochs = {least} is not below epochs = {epochs}"
            found.append(f"{problem}, so that no trial is pruned.")
        if workers is not None and workers > study.parallelism:
            problem = f"{study.parallelism} of {workers} workers are used, because parallelism is {study.parallelism}"
            found.append(f"{problem}. To use more, set parallelism in [study] and start a new study.")
        return found

    @property
    def max_memory(self) -> int | None:
        """The bytes of memory that a training may need by prediction; None without this limit."""
        most = self.spec.study.max_memory
        return None if most is None else read_bytes(most)

    @property
    def trial_limits(self) -> TrialLimits:
        """What a single trial may use on this machine."""
        return TrialLimits(self.spec.study.trial_seconds, DataSize.of(self.splits[0]), machine_memory())

    def epoch_cost(self, config: TrainConfig) -> int:
        """Return the virtual cost of one epoch of a configuration, which is an epoch on each of its folds."""
        split = self.splits[0]
        sizes = config.layer_sizes(split.n_features, split.n_targets, split.task)
        return CostModel().epoch(config, len(split.train), sizes) * len(config.data.by_fold())


def plan_study(
    file: StudySource,
    *,
    name: str | None = None,
    trials: int | None = None,
    budget: float | None = None,
    overrides: Iterable[str] = (),
    data_dir: Path | str | None = None,
    enqueue: Iterable[EnqueueSource] = (),
) -> Plan:
    """Return the study that a file describes, checked in full. Its data set is downloaded if necessary.

    Args:
        file: the study file; or its tables as a mapping; or a study that has been read.
        name: replaces the name of the study.
        trials: replaces the maximum number of trials.
        budget: replaces the budget, in trainings of base.
        overrides: `path=value` pairs that change base; a searched path becomes fixed.
        data_dir: the folder of downloaded data sets, such as `mnist/*.gz`; by default `STUDIES_DATA`.
        enqueue: configurations to try after base: files of exports or configurations, or values by searched path.

    Raises:
        ConfigError: if the file has a mistake, the data set cannot be found, or the study does not fit the data.
    """
    beside: tuple[Path, ...] = ()
    if isinstance(file, Path | str):
        spec = read_spec(Path(file), name=name, trials=trials, budget=budget, overrides=overrides)
        place, beside = f"{file}:", (Path(file).parent,)
    else:
        tables = file.to_mapping() if isinstance(file, StudySpec) else file
        tables = with_changes(tables, name=name, trials=trials, budget=budget)
        spec, place = make_spec(tables, overrides), ""
    with errors_in(place):
        _check_space(spec)
        plan = _plan(spec, Places(beside, data_dir))
    return _with_enqueued(plan, enqueue)


def with_prior(plan: Plan, home: Home, recorded: StudyRecord | None = None) -> Plan:
    """Return the plan with the trials of other studies that its sampler learns from.

    Args:
        plan: the plan.
        home: the home of the study and of the others.
        recorded: the record of the study if it exists. It has the trials, so that the others are not needed any more.

    Raises:
        ConfigError: if another study does not exist, or has another metric.
    """
    names = list(plan.spec.study.warm_start)
    if not names:
        return plan
    if recorded is not None and recorded.study.get("warm_start") == names:
        prior, notices = recorded.prior, list[str]()
    else:
        prior, notices = collect_prior(plan.spec, home, plan.record.data.digest)
    spec = replace(plan.spec, prior=prior)
    fingerprint = spec.fingerprint(plan.record.data.digest, CostModel().to_mapping())
    record = replace(plan.record, prior=prior, fingerprint=fingerprint)
    return replace(plan, spec=spec, record=record, learns_from=tuple(notices))


def _with_enqueued(plan: Plan, sources: Iterable[EnqueueSource]) -> Plan:
    """Return the plan with enqueued configurations.

    Raises:
        ConfigError: if one is not in the space.
    """
    space, added, ignored = plan.spec.space, list[Params](), list[str]()
    for source in sources:
        config = source if isinstance(source, Mapping) else read_config(source)[0]
        with errors_in("--enqueue:" if isinstance(source, Mapping) else f"--enqueue {source}:"):
            params, different = _enqueued(space, config)
            space.check_allowed(params)
        added.append(params)
        if different:
            ignored.append(f"Only the searched values of {source} are tried, although {listed(different.values())}.")
    return replace(plan, spec=replace(plan.spec, added=tuple(added)), ignored=tuple(ignored))


def _enqueued(space: Space, given: Mapping[str, Any] | TrainConfig) -> tuple[Params, dict[str, str]]:
    """Return the parameters of an enqueued configuration, and its other fields that differ from the study."""
    if isinstance(given, TrainConfig):
        return params_of_config(space, given)
    return params_of_values(space, given), {}


def _check_space(spec: StudySpec) -> None:
    """Refuse a study of several trials that would all be the same.

    Raises:
        ConfigError: if nothing is searched.
    """
    examples = spec.space.examples
    if spec.study.trials != 1 and all(example.config == examples[0].config for example in examples):
        problem = "has only one configuration, so that all trials would be the same"
        raise ConfigError(f"[space]: {problem}. Add a path with several values, or use `studies train` instead.")


def _plan(spec: StudySpec, places: Places) -> Plan:
    with errors_in("[base]"):
        folder = prepare_data(settle_task(spec.base), data_dir=places.data_dir, beside=places.beside)
        dataset = open_cached(folder)
        splits = dataset.splits(spec.base.data, spec.base.seed)
    split, spec = splits[0], spec.with_metric_for(dataset.task)
    _check_fit(spec, dataset, split)
    spec = spec.with_constraints_on(DataSize.of(split))
    spec = spec.with_second_on(split.n_features, split.n_targets, split.task)
    check_constraints(spec.space)
    part, _, metric = spec.study.metric.partition("/")
    with errors_in('[study] "metric":'):
        if part == "validation":
            check_defined(metrics.decode(metric), spec.base.loss_for(split.task), splits)
    data = DataRecord(
        name=dataset.name,
        digest=dataset.digest,
        n_train=len(split.train),
        n_validation=len(split.validation) if split.validation else 0,
        n_features=split.n_features,
        task=split.task,
        n_targets=split.n_targets,
        folder=places.folder_of(spec.base.data.file) if spec.base.data.file else "",
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
    return Plan(spec, folder, record, splits, read_report(folder), places.find_namesakes(spec.base.data))


def _check_fit(spec: StudySpec, dataset: Dataset, split: Split) -> None:
    """Refuse a study if base or anything in the space cannot be trained on the data, or lacks the study's metric.

    Raises:
        ConfigError: with the section and the field of the mistake.
    """
    metric = spec.study.metric.partition("/")[2]
    with errors_in('[study] "metric":'):
        metrics.decode(metric).check_task(dataset.task)
    with errors_in("[base]"):
        check_fit(spec.base, split)
        _check_metric(spec, spec.base, dataset.task)
    # Splits are reused, and not scaled: scaling never fails, but it may read all the data.
    splits = {replace(spec.base.data, scale="none"): split}
    for example in spec.space.examples:
        config = example.config
        data = replace(config.data, scale="none")
        with errors_in("[space]"), errors_of_choices(example.chosen):
            dataset.check_scale(config.data)
            splits[data] = splits.get(data) or dataset.split(data.by_fold()[0], config.seed)
            check_fit(config, splits[data])
            _check_metric(spec, config, dataset.task)


def _check_metric(spec: StudySpec, config: TrainConfig, task: Task) -> None:
    """Refuse a configuration that does not compute the metric of the study."""
    part, _, name = spec.study.metric.partition("/")
    computed = config.metric_names(task)
    if name not in computed:
        names = ", ".join(f'"{name}"' for name in (*(metric.name for metric in config.metrics), name))
        others = " or ".join(f"{part}/{name}" for name in computed)
        problem = f'metric "{spec.study.metric}" of [study] is not computed. Set metrics = [{names}] in [base]'
        raise ConfigError(f"{problem}, or use {others}.", path="metrics")
