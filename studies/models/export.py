"""A trial as a file: the configuration that `studies train` takes, and where it came from. Written and read here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, get_args, get_origin, get_type_hints

from mlp.config import TrainConfig
from mlp.errors import ConfigError, did_you_mean, errors_in
from mlp.paths import join_path
from mlp.records import decode
from mlp.scores import scores_at
from studies.models.machine import machine, versions
from studies.records.files import read_toml, write_atomically
from studies.records.results import StudyResults
from studies.records.trial_log import TrialRecord


@dataclass(frozen=True)
class Provenance:
    """Where an exported configuration came from, and what must come out when it is trained again.

    Attributes:
        study: the name of the study.
        trial: its number there.
        metric: the key of what decided.
        value: the metric of the weights that were kept.
        kept_epoch: the epoch whose weights were kept, counted from 1.
        weight_digest: the SHA-256 of these weights.
        data_digest: of the data set.
        cpu: of the machine that began the study.
        blas: NumPy's library there, its version and its kernels.
        scores: all metrics of the kept epoch.
        versions: of Python, NumPy and this program there.
    """

    study: str
    trial: int
    metric: str
    value: float
    kept_epoch: int
    weight_digest: str
    data_digest: str
    cpu: str
    blas: str
    scores: Mapping[str, float]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, results: StudyResults, trial: TrialRecord) -> Self:
        """Return the provenance of a complete trial.

        Raises:
            ConfigError: when it is not complete.
        """
        ending = trial.ending
        if ending is None or ending.state != "complete" or ending.value is None:
            reason = f" ({ending.reason})" if ending and ending.reason else ""
            best = f" The best one is {results.best.number}." if results.best else ""
            problem = f'trial {trial.number} of study "{results.name}" is {trial.state}{reason}'
            raise ConfigError(f"{problem}; only complete trials can be exported.{best}")
        record = results.record
        where = record.machine or machine()
        return cls(
            study=results.name,
            trial=trial.number,
            metric=results.metric,
            value=ending.value,
            kept_epoch=ending.kept_epoch,
            weight_digest=ending.weight_digest,
            data_digest=record.data.digest,
            cpu=where["cpu"],
            blas=where["blas"],
            scores=scores_at(ending.kept_epoch, trial.history),
            versions={name: record.versions[name] for name in versions() if name in record.versions},
        )

    @classmethod
    def from_mapping(cls, mapping: Any) -> Self:
        """Return the provenance that a table holds.

        Raises:
            ConfigError: when an entry is missing, unknown, or of the wrong type.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigError(f"must be a table, got {mapping!r}.", path="provenance")
        annotations = get_type_hints(cls)
        for key in mapping:
            if key not in annotations:
                raise ConfigError(f"is no entry of it.{did_you_mean(key, annotations)}", path=f"provenance.{key}")
        for key in annotations:
            if key not in mapping:
                raise ConfigError("is missing.", path=f"provenance.{key}")
        return cls(**{key: _entry(annotations[key], mapping[key], f"provenance.{key}") for key in annotations})


def _entry(annotation: Any, value: Any, path: str) -> Any:
    if get_origin(annotation) is not Mapping:
        return decode(annotation, value, path=path)
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a table, got {value!r}.", path=path)
    return {key: decode(get_args(annotation)[1], item, path=join_path(path, key)) for key, item in value.items()}


def export_trial(results: StudyResults, number: int | None, file: Path) -> Path:
    """Write the complete configuration of a trial, and where it came from, as TOML.

    Args:
        results: the study.
        number: of the trial; the best one when None.
        file: where to; it is replaced whole, and the folders above it are made.

    Raises:
        ConfigError: when there is no such trial, it is not complete, or the file cannot be written.
    """
    import tomli_w

    trial = results.best if number is None else results.trial(number)
    if trial is None:
        raise ConfigError(f'study "{results.name}" has no complete trial yet, so there is nothing to export.')
    provenance = Provenance.of(results, trial)
    tables = {**results.config(trial.number).to_mapping(), "provenance": asdict(provenance)}
    text = _header(provenance, file) + tomli_w.dumps(tables)
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}. Choose another file.") from None
    return file


def _header(provenance: Provenance, file: Path) -> str:
    name = shlex.quote(file.name) if file.name.isprintable() else "FILE"
    return (
        f'# A training configuration: trial {provenance.trial} of study "{provenance.study}", '
        f"which reached {provenance.metric} = {provenance.value:.6g}.\n"
        "# It is complete, and trains to the same weights, bit for bit, on the same machine; [provenance] is checked.\n"
        f"# Train it again, and judge it by the test set:  studies train {name} --test\n\n"
    )


def read_config(file: Path) -> tuple[TrainConfig, Provenance | None]:
    """Return the configuration that a file holds: an export, a bare configuration, or the base of a study file.

    Raises:
        ConfigError: naming the file, the key, what was got and what is allowed.
    """
    tables = read_toml(file)
    provenance = tables.pop("provenance", None)
    with errors_in(f"{file}:"):
        if "study" in tables or "base" in tables:
            return _base(tables), None
        config = TrainConfig.from_mapping(tables)
        return config, None if provenance is None else Provenance.from_mapping(provenance)


def _base(tables: Mapping[str, Any]) -> TrainConfig:
    if not isinstance(tables.get("base"), Mapping):
        raise ConfigError("has no [base] table. A study file has [study], [base] and [space].")
    with errors_in("[base]"):
        return TrainConfig.from_mapping(tables["base"])
