"""The study file: what is searched, how, around which configuration. Read, checked whole, and fingerprinted."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlp.config import TrainConfig
from mlp.errors import ConfigError, did_you_mean, errors_in
from mlp.metrics import Direction
from mlp.paths import flatten, merge, value_at
from mlp.records import AbstractRecord, field_types, number
from mlp.scores import check_metric, direction
from studies.records.files import read_toml
from studies.records.home import STUDY_NAME
from studies.search.domains import Params
from studies.search.pruners import AbstractPruner, NoPruner
from studies.search.samplers import AbstractSampler, Tpe
from studies.search.space import Space

SECTIONS = ("study", "base", "space")


@dataclass(frozen=True)
class StudyConfig(AbstractRecord):
    """The settings of a search.

    Attributes:
        name: of the study; also of its MLflow experiment.
        metric: what decides, such as `validation/accuracy`; its direction comes with it.
        trials: the total, over as many launches as it takes.
        seed: of the search only.
        parallelism: how many trials may be in flight, whatever the machine.
    """

    name: str
    metric: str = "validation/accuracy"
    trials: int = number(50, at_least=1, at_most=1_000_000)
    seed: int = number(0, at_least=0, at_most=2**32 - 1)
    parallelism: int = number(4, at_least=1, at_most=4096)
    sampler: AbstractSampler = Tpe()
    pruner: AbstractPruner = NoPruner()

    @classmethod
    def error_name(cls) -> str:
        return "[study]"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not STUDY_NAME.fullmatch(self.name):
            problem = f"must be made of letters, digits, dots, dashes and underscores, got {self.name!r}."
            raise ConfigError(problem, path="name")
        check_metric(self.metric)


@dataclass(frozen=True)
class StudySpec:
    """A study file that has been read and checked."""

    study: StudyConfig
    base: TrainConfig
    space: Space

    @property
    def direction(self) -> Direction:
        """Which way the metric is better."""
        return direction(self.study.metric)

    def params_of_base(self) -> Params | None:
        """Return the parameters of trial 0, which is base, or None where base is no point of the space."""
        return self.space.params_of_base()

    def fingerprint(self, data_digest: str, cost_model: Mapping[str, int]) -> dict[str, Any]:
        """Return everything that decides the trial table, as flat text by dotted path."""
        study = self.study.to_mapping()
        parts = {
            "study": {key: study[key] for key in ("metric", "seed", "parallelism", "sampler", "pruner")},
            "base": self.base.to_mapping(),
            "space": self.space.fingerprint(),
            "data": {"digest": data_digest},
            "cost": dict(cost_model),
        }
        return flatten(parts)

    def to_mapping(self) -> dict[str, Any]:
        """Return the three tables, every default spelled out."""
        return {"study": self.study.to_mapping(), "base": self.base.to_mapping(), "space": self.space.to_mapping()}

    def with_trials(self, trials: int) -> StudySpec:
        """Return the same study with another total."""
        return replace(self, study=StudyConfig.from_mapping(self.study.to_mapping() | {"trials": trials}))


def read_spec(
    file: Path, *, name: str | None = None, trials: int | None = None, overrides: Iterable[str] = ()
) -> StudySpec:
    """Return the study that a file describes.

    Args:
        file: the TOML file.
        name: replaces the file's name of the study.
        trials: replaces the file's total.
        overrides: `path=value` pairs that change base; a searched path is fixed by them.

    Raises:
        ConfigError: naming the file, the key, what was got and what is allowed.
    """
    tables = read_toml(file)
    study = tables.get("study", {})
    if isinstance(study, dict):
        given = {"name": name, "trials": trials}
        tables["study"] = study | {key: value for key, value in given.items() if value is not None}
    with errors_in(f"{file}:"):
        return make_spec(tables, overrides)


def make_spec(tables: Mapping[str, Any], overrides: Iterable[str] = ()) -> StudySpec:
    """Return the study that the three tables describe.

    Raises:
        ConfigError: naming the table, the key, what was got and what is allowed.
    """
    for key, table in tables.items():
        if key not in SECTIONS:
            raise ConfigError(
                f"[{key}] is no table of a study file.{did_you_mean(key, SECTIONS)} It has [study], [base] and [space]."
            )
        if not isinstance(table, dict):
            raise ConfigError(f"[{key}] must be a table, got {table!r}.")
    for key in ("study", "base"):
        if key not in tables:
            raise ConfigError(f"has no [{key}]. A study file has [study], [base] and [space].")
    with errors_in("[study]"):
        study = StudyConfig.from_mapping(tables["study"])
    changes = dict(parse_override(text) for text in overrides)
    with errors_in("[base]"):
        base = TrainConfig.from_mapping(tables["base"])
        base = TrainConfig.from_mapping(merge(base.to_mapping(), changes))
    searched = {path: table for path, table in tables.get("space", {}).items() if not _is_fixed(path, changes, base)}
    with errors_in("[space]"):
        space = Space(searched, base)
    for config in (base, *(example.config for example in space.examples)):
        if study.metric.startswith("validation/") and not config.data.holds_out:
            problem = f'is "{study.metric}", but data.validation = 0 holds nothing out to judge by.'
            raise ConfigError(f'[study] "metric": {problem}')
        for field, value in config.data.source.items():
            if value != base.data.source[field]:
                raise ConfigError(f'[space] "data.{field}": all trials of a study are trained on one data set.')
    return StudySpec(study, base, space)


def _is_fixed(path: str, changes: Mapping[str, Any], base: TrainConfig) -> bool:
    """Return whether an override fixes a searched path, or has put something above it that has no such field."""
    if path in changes:
        return True
    return value_at(base, path) is None and any(path.startswith(f"{changed}.") for changed in changes)


def parse_override(text: str) -> tuple[str, Any]:
    """Return the path and the value of `path=value`; the value is TOML, or a bare word.

    Raises:
        ConfigError: when it is not of that form or the path is no field of a configuration.
    """
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise ConfigError(f"--set takes path=value, such as optimizer.learning_rate=0.01, got {text!r}.")
    first = path.split(".")[0]
    if first not in field_types(TrainConfig):
        raise ConfigError(f'--set: "{path}" is not a field of [base].{did_you_mean(first, field_types(TrainConfig))}')
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value.strip()
