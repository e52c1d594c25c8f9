"""Exported trials: files with a configuration and its provenance, written and read here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mlp.config import TrainConfig
from mlp.errors import ConfigError, errors_in
from mlp.records import AbstractRecord, decode
from mlp.scores import scores_at
from studies.models.machine import machine, versions
from studies.records.files import read_toml, write_atomically
from studies.records.results import StudyResults
from studies.records.trial_record import TrialRecord


@dataclass(frozen=True)
class Provenance(AbstractRecord):
    """Where an exported configuration came from, and the result that training it again must reproduce.

    Attributes:
        study: the name of the study.
        trial: the number of the trial.
        metric: the key of the metric that the study optimised.
        value: the metric of the kept weights.
        kept_epoch: the epoch whose weights were kept, counted from 1.
        weight_digest: the SHA-256 of the kept weights.
        data_digest: the digest of the data set.
        cpu: the processor of the machine that computed the trial; several, if it was resumed on another one.
        blas: NumPy's BLAS on that machine, with its version and kernels.
        scores: all metrics of the kept epoch, by key.
        versions: the version of NumPy on that machine, and those of Python and this program that started the study.
        data_folder: the folder in which a relative path in `data` was found; empty if it is found from anywhere.
        confirmed: the SHA-256 of the kept weights of each training that has confirmed the configuration, by its seed.
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
    data_folder: str = ""
    confirmed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def error_name(cls) -> str:
        return "[provenance]"

    @classmethod
    def of(cls, results: StudyResults, trial: TrialRecord, confirmed: Mapping[str, str]) -> Self:
        """Return the provenance of a complete trial.

        Args:
            results: the study.
            trial: the trial.
            confirmed: the digest of the weights of each training that has confirmed it, by seed.

        Raises:
            ConfigError: if the trial is not complete.
        """
        ending = trial.ending
        if ending is None or ending.state != "complete" or ending.value is None:
            reason = f" ({ending.reason})" if ending and ending.reason else ""
            best = f" The best complete trial is {results.best.number}." if results.best else ""
            problem = f'trial {trial.number} of study "{results.name}" is {trial.state}{reason}'
            raise ConfigError(f"{problem}. Only complete trials can be exported.{best}")
        record = results.record
        environment = dict(record.versions) | _joined(trial.machines or [dict(record.machine or machine())])
        return cls(
            study=results.name,
            trial=trial.number,
            metric=results.metric,
            value=ending.value,
            kept_epoch=ending.kept_epoch,
            weight_digest=ending.weight_digest,
            data_digest=record.data.digest,
            cpu=environment["cpu"],
            blas=environment["blas"],
            scores={key: of for key, of in scores_at(ending.kept_epoch, trial.history).items() if not math.isnan(of)},
            versions={name: environment[name] for name in versions() if name in environment},
            data_folder=record.data.folder,
            confirmed=confirmed,
        )


def _joined(machines: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the properties of machines, each as one text: `Z80, then 6502`."""
    keys = dict.fromkeys(key for machine in machines for key in machine)
    return {key: ", then ".join(dict.fromkeys(of[key] for of in machines if key in of)) for key in keys}


@dataclass(frozen=True)
class Exported:
    """What an export contains beside the study.

    Attributes:
        record: the trial.
        note: a sentence for the header; may be empty.
        confirmed: the digest of the weights of each training that has confirmed the configuration, by seed.
    """

    record: TrialRecord
    note: str = ""
    confirmed: Mapping[str, str] = field(default_factory=dict)


def write_export(results: StudyResults, exported: Exported, file: str | Path) -> Path:
    """Write the complete configuration of a trial and its provenance to a TOML file, and return the file.

    `retrain(file)` or `studies train FILE` trains it again and checks that the result is reproduced.

    Args:
        results: the study.
        exported: the trial, and what is known of it.
        file: the file to write. Missing folders are created, and an existing file is replaced.

    Raises:
        ConfigError: if the trial is not complete, or the file cannot be written.
    """
    target = Path(file)
    text = _text(results, exported, target)
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != text.encode():
            write_atomically(target, text, sync=True)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror}. Choose another file.") from None
    return target


def is_export_of(results: StudyResults, exported: Exported, file: Path) -> bool:
    """Return whether a file is what `write_export` writes."""
    return file.is_file() and file.read_bytes() == _text(results, exported, file).encode()


def _text(results: StudyResults, exported: Exported, target: Path) -> str:
    import tomli_w  # only an export needs it

    provenance = Provenance.of(results, exported.record, exported.confirmed)
    config = TrainConfig.from_mapping(exported.record.config)
    tables = {**config.to_mapping(), "provenance": provenance.to_mapping()}
    return _header(provenance, target, exported.note) + tomli_w.dumps(tables)


def _header(provenance: Provenance, file: Path, note: str) -> str:
    name = shlex.quote(file.name) if file.name.isprintable() else "FILE"
    return (
        f'# The configuration of trial {provenance.trial} of study "{provenance.study}", '
        f"with {provenance.metric} = {provenance.value:.6g}.\n"
        + (f"# {note}\n" if note else "")
        + "# On the same machine it trains to the same weights, bit for bit, which [provenance] lets `train` check.\n"
        f"# To train it again and evaluate it on the test set:  studies train {name} --test\n\n"
    )


def read_config(file: str | Path) -> tuple[TrainConfig, Provenance | None]:
    """Return the configuration in a file, and its provenance if the file is an export.

    Args:
        file: an export, a training configuration, or a study file, of which `[base]` is read.

    Raises:
        ConfigError: if the file cannot be read or is not valid; the message names the file and the field.
    """
    tables = read_toml(Path(file))
    provenance = tables.pop("provenance", None)
    with errors_in(f"{file}:"):
        if "study" in tables or "base" in tables:
            return _read_base(tables), None
        config = TrainConfig.from_mapping(tables)
        config.data.require_name()
        return config, None if provenance is None else decode(Provenance, provenance, path="provenance")


def _read_base(tables: Mapping[str, Any]) -> TrainConfig:
    if not isinstance(tables.get("base"), Mapping):
        raise ConfigError("has no [base] table. A study file has [study], [base] and [space].")
    with errors_in("[base]"):
        config = TrainConfig.from_mapping(tables["base"])
        config.data.require_name()
        return config
