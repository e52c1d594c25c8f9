"""The record of a study, `study.json`: what is searched, on which data, and on which machines.

Beside each entry the file has a digest of it, so that an entry that was edited or damaged is refused by its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from mlp.errors import ConfigError, errors_in, listed
from mlp.losses import Task
from mlp.metrics import Direction
from mlp.records import AbstractRecord, decode, number
from mlp.scores import direction
from studies.records.limits import Limits
from studies.records.prior_trial import PriorTrial
from studies.records.second_objective import SecondObjective

RECORD_VERSION = 3
DIGESTS = "digests"  # the entry of the file with the digest of every other entry


@dataclass(frozen=True, kw_only=True)
class DataRecord(AbstractRecord):
    """The data set of a study.

    Attributes:
        name: the name of the data set, or the path of its file.
        digest: the SHA-256 of the prepared data set.
        n_train: examples in the training part.
        n_validation: examples in the validation part; 0 without one.
        n_features: values per example.
        task: `classes`, `labels` or `values`.
        n_targets: classes, labels or values to predict.
        folder: the folder in which the relative path of the file was found; empty if it is found from anywhere.
    """

    name: str
    digest: str
    n_train: int = number(at_least=0)
    n_validation: int = number(at_least=0)
    n_features: int = number(at_least=0)
    task: Task
    n_targets: int = number(at_least=0)
    folder: str = ""


@dataclass(frozen=True, kw_only=True)
class LaunchRecord(AbstractRecord):
    """A launch that computed trials of a study.

    Attributes:
        started: when it started, in seconds since 1970.
        machine: the processor, the BLAS library and the version of NumPy that it used.
    """

    started: float
    machine: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class EnqueuedRecord(AbstractRecord):
    """A configuration that a launch enqueued.

    Attributes:
        step: the step of the study's history from which it is tried as soon as a new trial may start.
        params: its searched parameters by path.
    """

    step: int = number(at_least=0)
    params: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StudyRecord(AbstractRecord):
    """What `study.json` contains. It is written when a study starts; each launch adds itself and its total of trials.

    Attributes:
        version: the version of this layout.
        name: the name of the study.
        created: when the study was started, in seconds since 1970.
        study: the [study] table, with every default.
        base: the [base] table, with every default.
        space: the [space] table, with every default.
        confirm: the [confirm] table, with every default; empty in a record that is made by hand.
        data: the data set.
        versions: the versions of Python and of the libraries that started the study.
        machine: the processor and the BLAS library of the machine that started it; empty if unknown.
        fingerprint: everything that decides the trial table, by dotted path.
        launches: every launch that computed something, in order.
        limits: the limits of the search, in the order of the steps from which on they hold.
        enqueued: the configurations that launches enqueued, in the order in which they are tried.
        prior: the trials of other studies that its sampler learns from.
        is_searched: whether the search has reached the last of the limits.
    """

    version: int
    name: str
    created: float
    study: Mapping[str, Any]
    base: Mapping[str, Any]
    space: Mapping[str, Any]
    confirm: Mapping[str, Any] = field(default_factory=dict)
    data: DataRecord
    versions: Mapping[str, str]
    machine: Mapping[str, str] = field(default_factory=dict)
    fingerprint: Mapping[str, Any]
    launches: tuple[LaunchRecord, ...] = ()
    limits: tuple[Limits, ...] = ()
    enqueued: tuple[EnqueuedRecord, ...] = ()
    prior: tuple[PriorTrial, ...] = ()
    is_searched: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        with errors_in(path="study"):
            if "metric" not in self.study:
                raise ConfigError("is missing.", path="metric")
            decode(str, self.study["metric"], path="metric")
            with errors_in(path="metric"):
                direction(self.metric)
        with errors_in(path="base"):
            if "epochs" not in self.base:
                raise ConfigError("is missing.", path="epochs")
            decode(int, self.base["epochs"], path="epochs")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, path: str = "") -> Self:
        """Return the record that a mapping describes, as read from `study.json`.

        Raises:
            ConfigError: if the mapping is not a record of this version; the message names the key.
        """
        with errors_in("is not a study record:"):
            if not isinstance(mapping, Mapping):
                raise ConfigError(f"must be a table, got {type(mapping).__name__}.")
            if mapping.get("version", RECORD_VERSION) != RECORD_VERSION:
                problem = f"must be {RECORD_VERSION}, got {mapping['version']!r}. Use the program that wrote it."
                raise ConfigError(problem, path="version")
            return super().from_mapping(mapping, path=path)

    @property
    def metric(self) -> str:
        """The key of the metric that decides, such as `validation/accuracy`."""
        return str(self.study["metric"])

    @property
    def direction(self) -> Direction:
        """Whether the metric is maximised or minimised."""
        return direction(self.metric)

    @property
    def second_objective(self) -> SecondObjective | None:
        """The second objective; None if the study has one objective."""
        name, data = self.study.get("second_objective"), self.data
        return None if name is None else SecondObjective(name, data.n_features, data.n_targets, data.task)

    @property
    def base_epochs(self) -> int:
        """The epochs of base, which are the unit of a budget."""
        return int(self.base["epochs"])

    @property
    def total(self) -> int | None:
        """The maximum number of trials over all launches; None without such a limit."""
        return self.limits[-1].trials if self.limits else None

    @property
    def max_epochs(self) -> int | None:
        """The maximum number of epochs of all trials over all launches; None without such a limit."""
        return self.limits[-1].epochs if self.limits else None

    @property
    def identity(self) -> str:
        """The SHA-256 of everything that decides the trial table, with which the logs of the study's trials begin."""
        return _digest({"name": self.name, "fingerprint": dict(self.fingerprint)})

    @property
    def confirm_identity(self) -> str:
        """The identity with which the logs of the trainings that confirm the winner begin."""
        return f"{self.identity}/confirm"

    @property
    def audit_identity(self) -> str:
        """The identity with which the logs of an audit begin."""
        return f"{self.identity}/audit"

    @property
    def compare_identity(self) -> str:
        """The identity with which the logs of trainings that compare trials begin."""
        return f"{self.identity}/compare"

    def differences_to(self, other: StudyRecord) -> list[str]:
        """Return one clause for each setting of the fingerprint that differs from another record."""
        was, now = self.fingerprint, other.fingerprint
        return [
            "the content of its data, or how it is read, has changed"
            if key == "data.digest"  # whose digits mean nothing to a reader
            else "the trials of other studies that it learns from have changed"
            if key == "study.prior"
            else f"{key} was {was.get(key, 'absent')} and is {now.get(key, 'absent')}"
            for key in {**was, **now}
            if was.get(key) != now.get(key)
        ]

    def to_file(self) -> str:
        """Return the content of `study.json`."""
        mapping = self.to_mapping()
        return json.dumps(mapping | {DIGESTS: {key: _digest(value) for key, value in mapping.items()}}, indent=1)

    @classmethod
    def from_file(cls, text: str) -> Self:
        """Return the record that `to_file` wrote.

        Raises:
            ConfigError: if it is not a record of this version, or an entry of it was changed.
        """
        try:
            mapping = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"is not a study record: it is not JSON: {error}.") from None
        digests = mapping.pop(DIGESTS, None) if isinstance(mapping, dict) else None
        record = cls.from_mapping(mapping)
        if not isinstance(digests, dict):
            raise ConfigError(f'is not a study record: "{DIGESTS}" is missing.')
        changed = [key for key in {**mapping, **digests} if digests.get(key) != _digest(mapping.get(key))]
        if changed:
            raise ConfigError(
                f"{listed(changed)} of this record was changed. Restore it, or delete this file and run the study file "
                "again. To raise its limits, use `studies run FILE --budget N` or `--trials N`."
            )
        return record

    def with_limits(self, limits: Limits) -> StudyRecord:
        """Return the same record with other limits from `limits.step` on, unless they are the same as before."""
        if self.limits and replace(limits, step=0) == replace(self.limits[-1], step=0):
            return self
        before = tuple(old for old in self.limits if old.step < limits.step)
        return replace(self, limits=(*before, limits if before else replace(limits, step=0)), is_searched=False)

    def with_enqueued(self, step: int, configurations: Iterable[Mapping[str, Any]]) -> StudyRecord:
        """Return the same record with more enqueued configurations, except those that launches enqueued before.

        A repeated launch, as after a stop, enqueues nothing twice.
        """
        enqueued = list(self.enqueued)
        for params in configurations:
            if params not in [entry.params for entry in enqueued]:
                enqueued.append(EnqueuedRecord(step=step, params=dict(params)))
        return self if len(enqueued) == len(self.enqueued) else replace(self, enqueued=tuple(enqueued))

    def with_launch(self, started: float, machine: Mapping[str, str]) -> StudyRecord:
        """Return the same record with one more launch."""
        return replace(self, launches=(*self.launches, LaunchRecord(started=started, machine=machine)))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode(errors="surrogatepass")).hexdigest()
