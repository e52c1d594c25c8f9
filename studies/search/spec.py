"""The study file: how to search (`[study]`), around which configuration (`[base]`), what to vary (`[space]`), and how
to confirm the winner (`[confirm]`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlp.config import TrainConfig
from mlp.data_config import current_changes, current_path
from mlp.errors import ConfigError, did_you_mean, errors_in, shortened, shown
from mlp.losses import Task
from mlp.memory import DataSize
from mlp.metrics import Direction
from mlp.paths import flatten, merge, value_at
from mlp.records import AbstractRecord, field_types, number
from mlp.scores import check_metric, direction, standard
from mlp.untrusted import check_size
from studies.records.files import MAX_DEPTH, parse_toml_value, read_toml
from studies.records.home import check_study_name
from studies.records.limits import Limits
from studies.records.prior_trial import PriorTrial
from studies.records.second_objective import SecondName, SecondObjective
from studies.search.confirm_config import ConfirmConfig
from studies.search.constraints import Constraints, read_bytes
from studies.search.domains import Params
from studies.search.enqueued import params_of_values
from studies.search.pruners import AbstractPruner, Asha, NoPruner
from studies.search.samplers import AbstractSampler, Tpe, samplers
from studies.search.space import Space

AUTO = "auto"
SECTIONS = ("study", "base", "space", "confirm")
FINGERPRINTED = (
    "metric",
    "second_objective",
    "seed",
    "parallelism",
    "max_parameters",
    "max_memory",
    "sampler",
    "pruner",
)  # of [study]
USUAL_BUDGET = 20.0  # trainings
MAX_OVERRIDE = 10_000  # characters of one `--set`


@dataclass(frozen=True)
class StudyConfig(AbstractRecord):
    """The settings of a search.

    Attributes:
        name: the name of the study and of its MLflow experiment.
        metric: the metric that the search optimises, such as `validation/accuracy`; `auto` is the accuracy or, for
            values, R² of the validation part. The metric itself determines whether it is maximised or minimised.
        second_objective: the size of the network that is minimised besides the metric: `parameters`, `multiply_adds`
            (of one prediction) or `latency` (predicted microseconds of one prediction). The result is a Pareto front.
        budget: the maximum number of epochs of all trials together, in units of `base.epochs`; 20 if neither
            `budget` nor `trials` is given. It and the limits below are totals over all launches.
        trials: the maximum number of trials.
        target: end the search when a complete trial has reached this value of the metric.
        patience: ask no more trials when this many in a row were asked without a new best complete trial.
        seconds: end the search after this much time of all launches together.
        seed: the seed of the search; the seed of the trainings is `base.seed`.
        parallelism: how many trials may run at the same time. It belongs to the study, not to the machine, because
            the trial table depends on it.
        trial_seconds: the most seconds of training of one trial. A trial that needs more fails with `timeout`.
        max_parameters: the largest number of parameters. A configuration with more is not trained and costs nothing.
        max_memory: the most memory that a training may need by prediction, in bytes or as a text such as `2GB`.
        enqueue: configurations to try after base, as tables of values by searched path.
        warm_start: the names of other studies in the same home. The sampler learns from their trials that are in the
            space. These trials are recorded with the study and do not count towards its limits.
        sampler: chooses the configurations.
        pruner: stops trials that do not look promising.
    """

    name: str
    metric: str = "auto"
    second_objective: SecondName | None = None
    budget: float | None = number(None, at_least=1, at_most=1_000_000)
    trials: int | None = number(None, at_least=1, at_most=1_000_000)
    target: float | None = None
    patience: int | None = number(None, at_least=1)
    seconds: float | None = number(None, above=0)
    seed: int = number(0, at_least=0, at_most=2**32 - 1)
    parallelism: int = number(4, at_least=1, at_most=4096)
    trial_seconds: float | None = number(None, above=0)
    max_parameters: int | None = number(None, at_least=1)
    max_memory: int | str | None = number(None, at_least=1)
    enqueue: tuple[Mapping[str, Any], ...] = ()
    warm_start: tuple[str, ...] = ()
    sampler: AbstractSampler = Tpe()
    pruner: AbstractPruner = Asha()

    @classmethod
    def error_name(cls) -> str:
        return "[study]"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_study_name(self.name)
        if self.budget is None and self.trials is None:
            object.__setattr__(self, "budget", USUAL_BUDGET)
        if self.max_memory is not None:
            with errors_in(path="max_memory"):
                object.__setattr__(self, "max_memory", read_bytes(self.max_memory))
        if self.metric != AUTO:
            check_metric(self.metric)
        if self.second_objective is not None:
            self._check_second()

    def _check_second(self) -> None:
        """Refuse settings that do not go together with a second objective.

        Raises:
            ConfigError: if a pruner or a warm start is set, or the sampler supports one objective only.
        """
        if not isinstance(self.pruner, NoPruner):
            problem = 'must be "none" with second_objective, because a pruner compares trials by the metric only'
            raise ConfigError(
                f"{problem}, and would end small networks that belong to the Pareto front.", path="pruner"
            )
        if not self.sampler.supports_two_objectives:
            names = ", ".join(name for name in samplers if samplers.lookup(name).supports_two_objectives)
            problem = f'"{self.sampler.name}" supports one objective only. With second_objective, choose one of {names}'
            raise ConfigError(f"{problem}.", path="sampler")
        if self.warm_start:
            raise ConfigError("cannot be combined with second_objective.", path="warm_start")


@dataclass(frozen=True)
class StudySpec:
    """A study file that has been read and checked.

    Attributes:
        study: the settings of the search.
        base: the configuration of trial 0, which all others vary.
        space: the searched parameters.
        confirm: how the winner is confirmed.
        enqueued: the parameters of the configurations in `study.enqueue`.
        added: the parameters of the configurations that launches enqueued with `--enqueue`.
        prior: the trials of the studies in `study.warm_start`, once they have been collected.
        second: the second objective, once the shape of the data is known.
    """

    study: StudyConfig
    base: TrainConfig
    space: Space
    confirm: ConfirmConfig = ConfirmConfig()
    enqueued: tuple[Params, ...] = ()
    added: tuple[Params, ...] = ()
    prior: tuple[PriorTrial, ...] = ()
    second: SecondObjective | None = None

    @property
    def direction(self) -> Direction:
        """`minimize` or `maximize`, as the metric determines."""
        return direction(self.study.metric)

    @property
    def directions(self) -> list[Direction]:
        """The direction of each objective; a second one is minimised."""
        return [self.direction] if self.study.second_objective is None else [self.direction, "minimize"]

    @property
    def limits(self) -> Limits:
        """The limits of the search, except that of its time; a finite space has no more trials than points."""
        study = self.study
        epochs = None if study.budget is None else round(study.budget * self.base.epochs)
        given = [self.space.params_of_base(), *self.enqueued, *self.added]
        most = [study.trials, study.sampler.most_trials(self.space, given)]
        trials = min((number for number in most if number is not None), default=None)
        return Limits(trials=trials, epochs=epochs, target=study.target, patience=study.patience)

    def with_metric_for(self, task: Task) -> StudySpec:
        """Return the study with the metric that `auto` means for a task."""
        if self.study.metric != AUTO:
            return self
        return replace(self, study=replace(self.study, metric=f"validation/{standard(task)[-1].name}"))

    def with_second_on(self, n_features: int, n_targets: int, task: Task) -> StudySpec:
        """Return the study with its second objective, given the shape of the data; the same study without one.

        Args:
            n_features: inputs of the network.
            n_targets: classes, labels or values to predict.
            task: what is predicted.
        """
        name = self.study.second_objective
        return self if name is None else replace(self, second=SecondObjective(name, n_features, n_targets, task))

    def with_constraints_on(self, data: DataSize) -> StudySpec:
        """Return the study whose space has only configurations that meet its constraints, given the size of its data.

        Raises:
            ConfigError: if base or an enqueued configuration violates a constraint.
        """
        study = self.study
        if study.max_parameters is None and study.max_memory is None:
            return self
        most_bytes = None if study.max_memory is None else read_bytes(study.max_memory)
        constraints = Constraints(data, study.max_parameters, most_bytes)
        if problem := constraints.violation(self.base):
            raise ConfigError(f"[base] {problem}. Choose a smaller base, or raise the limit in [study].")
        space = self.space.constrained(constraints)
        for entry, params in enumerate(self.enqueued, start=1):
            with errors_in(f"[[study.enqueue]], entry {entry}:"):
                space.check_allowed(params)
        return replace(self, space=space)

    def fingerprint(self, data_digest: str, cost_model: Mapping[str, int]) -> dict[str, Any]:
        """Return everything that decides the trial table, by dotted path.

        Args:
            data_digest: the digest of the data set.
            cost_model: the constants of the virtual clock, by name.
        """
        study = self.study.to_mapping()
        parts = {
            "study": {key: study[key] for key in FINGERPRINTED if key in study},
            "base": self.base.to_mapping(),
            "space": self.space.fingerprint(),
            "data": {"digest": data_digest},
            "cost": dict(cost_model),
        }
        found = flatten(parts)
        if self.enqueued:  # an empty list would change the identity of studies without any
            found["study.enqueue"] = [*map(dict, self.enqueued)]
        if self.study.warm_start:
            prior = json.dumps([trial.to_mapping() for trial in self.prior], sort_keys=True)
            found["study.warm_start"] = list(self.study.warm_start)
            found["study.prior"] = hashlib.sha256(prior.encode()).hexdigest()
        return found

    def to_mapping(self) -> dict[str, Any]:
        """Return the tables of the study file, every default included."""
        return {
            "study": self.study.to_mapping(),
            "base": self.base.to_mapping(),
            "space": self.space.to_mapping(),
            "confirm": self.confirm.to_mapping(),
        }


def read_spec(
    file: Path | str,
    *,
    name: str | None = None,
    trials: int | None = None,
    budget: float | None = None,
    overrides: Iterable[str] = (),
) -> StudySpec:
    """Return the study that a file describes.

    Args:
        file: the TOML file.
        name: replaces the name of the study.
        trials: replaces the maximum number of trials.
        budget: replaces the budget.
        overrides: `path=value` pairs that change base; a searched path becomes fixed.

    Raises:
        ConfigError: if the file has a mistake; the error names the file, the key, what it got and what is allowed.
    """
    tables = with_changes(read_toml(Path(file)), name=name, trials=trials, budget=budget)
    with errors_in(f"{file}:"):
        return make_spec(tables, overrides)


def with_changes(tables: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
    """Return the tables of a study file with entries of [study] replaced by those changes that are not None."""
    study, given = tables.get("study", {}), {key: value for key, value in changes.items() if value is not None}
    return {**tables, "study": {**study, **given}} if isinstance(study, Mapping) else tables


def make_spec(tables: Mapping[str, Any], overrides: Iterable[str] = ()) -> StudySpec:
    """Return the study that the tables of a study file describe.

    Args:
        tables: `study`, `base` and, optionally, `space` and `confirm`.
        overrides: `path=value` pairs that change base; a searched path becomes fixed.

    Raises:
        ConfigError: if a table has a mistake; the error names the table, the key, what it got and what is allowed.
    """
    _check_sections(tables)
    with errors_in("[study]"):
        study = StudyConfig.from_mapping(tables["study"])
    changes = current_changes(dict(parse_override(text) for text in overrides))
    with errors_in("[base]"):
        base = TrainConfig.from_mapping(tables["base"])
        base = TrainConfig.from_mapping(merge(base.to_mapping(), changes))
        base.data.require_name()
    space_table = {current_path(path): entry for path, entry in tables.get("space", {}).items()}
    searched = {path: entry for path, entry in space_table.items() if not _is_fixed(path, changes, base)}
    with errors_in("[space]"):
        space = Space(searched, base)
    with errors_in('[study] "pruner":'):
        study.pruner.check(base, study.metric)
    with errors_in('[study] "sampler":'):
        study.sampler.check(space)
    if study.warm_start and not study.sampler.learns_from_others(space):
        problem = f'the sampler "{study.sampler.name}" does not learn from other studies'
        raise ConfigError(f'[study] "warm_start": {problem}. Use "tpe" or "gp", or remove warm_start.')
    enqueued = []
    for entry, values in enumerate(study.enqueue, start=1):
        with errors_in(f"[[study.enqueue]], entry {entry}:"):
            enqueued.append(params_of_values(space, values))
    confirm = ConfirmConfig.from_mapping(tables.get("confirm", {}))
    for config in (base, *(example.config for example in space.examples)):
        _check_data(study, base, config)
    return StudySpec(study, base, space, confirm, tuple(enqueued))


def _check_sections(tables: Mapping[str, Any]) -> None:
    sections = "A study file has [study], [base], [space] and, if you like, [confirm]."
    for key, table in tables.items():
        if key not in SECTIONS:
            raise ConfigError(f"[{key}] is not a section of a study file.{did_you_mean(key, SECTIONS)} {sections}")
        if not isinstance(table, dict):
            raise ConfigError(f"[{key}] must be a table, got {shown(table)}.")
    for key in ("study", "base"):
        if key not in tables:
            raise ConfigError(f"has no [{key}]. {sections}")


def _check_data(study: StudyConfig, base: TrainConfig, config: TrainConfig) -> None:
    """Refuse a configuration without the validation part that the metric needs, or with another data set than base."""
    if (study.metric == AUTO or study.metric.startswith("validation/")) and not config.data.has_validation:
        problem = "data.validation = 0 leaves no validation data. Set data.validation above 0, or use a train/ metric."
        raise ConfigError(f'[study] "metric": is "{study.metric}", but {problem}')
    for field, value in config.data.source.items():
        if value != base.data.source[field]:
            problem = "cannot be searched, because all trials of a study use the same data set."
            raise ConfigError(f'[space] "data.{field}": {problem}')


def _is_fixed(path: str, changes: Mapping[str, Any], base: TrainConfig) -> bool:
    """Return whether a searched path is overridden, or no longer exists because a part above it is overridden."""
    if path in changes:
        return True
    return value_at(base, path) is None and any(path.startswith(f"{changed}.") for changed in changes)


def parse_override(text: str) -> tuple[str, Any]:
    """Return the path and the value of `path=value`; the value is TOML or a bare word.

    Raises:
        ConfigError: if the text does not have this form, or the path is not a field of a configuration.
    """
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise ConfigError(f"--set takes path=value, such as optimizer.learning_rate=0.01, got {shown(text)}.")
    first = path.split(".")[0]
    if first not in field_types(TrainConfig):
        known = [*field_types(TrainConfig), *flatten(TrainConfig().to_mapping())]
        hint = did_you_mean(path, known) or did_you_mean(first, known)
        raise ConfigError(f'--set: "{shortened(path)}" is not a field of [base].{hint}')
    with errors_in(f"--set {shortened(path)}:"):
        check_size(len(text), MAX_OVERRIDE)
        if path.count(".") >= MAX_DEPTH:
            raise ConfigError(f"a path may have at most {MAX_DEPTH} parts, got {path.count('.') + 1}.")
        content = parse_toml_value(value)
    return path, value.strip() if content is None else content
