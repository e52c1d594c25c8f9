"""What MLflow shows of a study, as plain data: keys, tags, parameters, metrics and descriptions.

Everything is a pure function of the study's results, so publishing twice, or from another process, publishes the
same content.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from mlp.config import TrainConfig
from mlp.paths import flatten
from mlp.records import label
from studies.records.confirmation_record import ConfirmationRecord
from studies.records.results import OPEN, StudyResults
from studies.records.study_record import StudyRecord
from studies.records.trial_record import TrialRecord

VALUE_LENGTH = 5000  # MLflow accepts 6000 characters in a parameter and 8000 in a tag
DIGEST_LENGTH = 36  # MLflow's limit for the digest of a data set
BEST_SO_FAR = "best_value"
CONFIRMATION_TAGS = ("verdict", "confirmed_trial")
KEY, STUDY_KEY, INTERRUPTED = "studies.key", "studies.study", "interrupted"  # tags
NOT_PARAMETERS = ("name", "budget", "trials", "target", "patience", "seconds")  # of the study file
STATUSES = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class Point:
    """The value of a metric at a step.

    Attributes:
        key: the name of the metric.
        value: its value.
        step: the epoch, or the trial number for metrics of the study.
        time: when the value was recorded, in milliseconds since 1970.
    """

    key: str
    value: float
    step: int
    time: int


# The study's own run


def study_key(record: StudyRecord) -> str:
    """Return the key of the study's own run; a later study with the same name has another key."""
    return f"{record.name}/{record.created}"


def study_tags(record: StudyRecord) -> dict[str, str]:
    """Return the tags of the study's own run and of its experiment."""
    return {"metric": record.metric, "direction": record.direction, **_origin_tags(record)}


def study_parameters(record: StudyRecord) -> dict[str, str]:
    """Return the settings of the search, and those of base by dotted path below `base`.

    The limits of the search are not parameters, because they may be raised and MLflow never changes a parameter.
    """
    settings = {key: value for key, value in record.study.items() if key not in NOT_PARAMETERS}
    base = {f"base.{path}": value for path, value in flatten(record.base).items()}
    return as_texts(flatten(settings) | base)


def study_dataset(record: StudyRecord) -> dict[str, str]:
    """Return the fields of MLflow's data set: name, digest, source and profile."""
    data = record.data
    return {
        "name": data.name,
        "digest": data.digest[:DIGEST_LENGTH],
        "source_type": "studies",
        "source": json.dumps({"dataset": data.name, "digest": data.digest}),
        "profile": json.dumps({"num_rows": data.n_train + data.n_validation, **data.to_mapping()}),
    }


def best_so_far_points(results: StudyResults) -> list[Point]:
    """Return the best value among trials 0 to k at step k, as far as all of these trials have ended."""
    known = list(accumulate((trial.ended or 0.0 for trial in results.trials), max))
    return [
        Point(BEST_SO_FAR, best.value, number, milliseconds(known[number]))
        for number, best in results.best_so_far()
        if best.value is not None
    ]


def total_points(results: StudyResults) -> list[Point]:
    """Return the number of trials in each final state and the compute time of all trials."""
    counts = results.counts()
    values = {
        "n_complete": counts["complete"],
        "n_pruned": counts["pruned"],
        "n_failed": counts["failed"],
        "seconds": sum(trial.ending.seconds for trial in results.trials if trial.ending),
    }
    now = milliseconds(results.last_event)
    return [Point(key, float(value), results.n_ended, now) for key, value in values.items()]


def introduction(record: StudyRecord) -> str:
    """Return the description of a study in Markdown."""
    data = record.data
    return (
        f"**{record.name}** {record.direction}s `{record.metric}`, {_limits(record)}.\n"
        f"Data: `{data.name}`, {data.n_train:,} training and {data.n_validation:,} validation examples."
    )


def _limits(record: StudyRecord) -> str:
    """Return the limits of the search: `at most 50 trials and 20 trainings of 40 epochs`."""
    trials = [f"{record.total} trials"] if record.total else []
    most, one = record.max_epochs, record.base_epochs
    trainings = [f"{most / one:.3g} trainings of {one} epochs"] if most else []
    return f"at most {' and '.join(trials + trainings)}"


def note(results: StudyResults, confirmed: ConfirmationRecord | None) -> str:
    """Return the description of a study and its results in Markdown; MLflow shows it above the study's run.

    Args:
        results: the study.
        confirmed: the confirmation of its winner, if it is complete.
    """
    best, counts, second = results.best, results.counts(), results.second_objective
    states = ", ".join(f"{n} {state}" for state, n in counts.items() if n or state not in OPEN)
    lines = [introduction(results.record), "", f"{results.spent}: {states}."]
    if best is not None:
        lines += ["", f"Best: trial {best.number} with **{best.value:.6g}**.", "", "| parameter | value |", "|---|---|"]
        lines += [f"| `{path}` | {value} |" for path, value in as_texts(best.params).items()]
    if second is not None:
        lines += ["", f"**Pareto front.** Smaller `{second.name}` against better `{results.metric}`.", ""]
        lines += [f"| trial | {second.name} | {results.metric} |", "|---|---|---|"]
        front = results.pareto_front()
        lines += [f"| {point.trial} | {second.text(point.size)} | {point.value:.6g} |" for point in front]
    if confirmed is not None:
        lines += ["", "**Confirmation.** " + " ".join(confirmed.sentences)]
        lines += ["", "| candidate | | in the search | confirmed mean | trainings |", "|---|---|---|---|---|"]
        for of in confirmed.candidates:
            values = ("" if value is None else f"{value:.6g}" for value in (of.search_value, of.mean))
            lines.append(f"| trial {of.trial} | {of.role} | {' | '.join(values)} | {of.n_pairs} |")
    return "\n".join(lines)


def confirmation_tags(confirmed: ConfirmationRecord | None) -> dict[str, str]:
    """Return the tags of the study's own run about the confirmation of its winner."""
    if confirmed is None:
        return {}
    outcome = confirmed.outcome or "every candidate has failed"
    winner = {} if confirmed.winner is None else {"confirmed_trial": str(confirmed.winner)}
    return {"verdict": outcome} | winner


def confirmation_points(results: StudyResults, confirmed: ConfirmationRecord | None) -> list[Point]:
    """Return the mean value of the confirmed winner, by which studies can be sorted."""
    if confirmed is None or confirmed.value is None:
        return []
    return [Point("confirmed_value", confirmed.value, results.n_ended, milliseconds(results.last_event))]


def trials_csv(results: StudyResults) -> str:
    """Return the table of all trials."""
    trials = results.trials
    metrics = sorted({key for trial in trials for key in trial.summary()})
    paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
    columns = ["number", "state", "reason", "value", "seconds", "epochs", *metrics, *paths]
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        ending = {"reason": trial.ending.reason, "seconds": trial.ending.seconds} if trial.ending else {}
        row = {"number": trial.number, "state": trial.state, "value": trial.value, "epochs": trial.n_epochs}
        writer.writerow(row | ending | trial.summary() | as_texts(trial.params))
    return table.getvalue()


def artifacts_digest(results: StudyResults, *files: bytes) -> str:
    """Return a digest of everything that the study's artifacts depend on.

    Args:
        results: the study.
        files: the content of artifacts that do not follow from the results.
    """
    return hashlib.sha256(b"\0".join([trials_csv(results).encode(), *files])).hexdigest()[:16]


# The runs of trainings


def trial_key(record: StudyRecord, number: int) -> str:
    """Return the key of a trial's run."""
    return f"{study_key(record)}/trial/{number}"


def confirm_key(record: StudyRecord, number: int) -> str:
    """Return the key of the run of a training that confirms the winner."""
    return f"{study_key(record)}/confirm/{number}"


@dataclass(frozen=True)
class ChildRun:
    """A training that has a run of its own: a trial, or a training that confirms the winner.

    Attributes:
        record: the study.
        training: the training as logged.
        params: the searched parameters by dotted path.
        confirms: the trial whose configuration it confirms, and the number of its seed and split; None for a trial.
    """

    record: StudyRecord
    training: TrialRecord
    params: Mapping[str, Any]
    confirms: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        """The key of the run."""
        key_of = trial_key if self.confirms is None else confirm_key
        return key_of(self.record, self.training.number)

    @property
    def title(self) -> str:
        """What messages call it."""
        if self.confirms is None:
            return f"trial {self.training.number}"
        return f"confirmation {self.confirms[1]} of trial {self.confirms[0]}"

    @property
    def name(self) -> str:
        """The name of the run."""
        if self.confirms is None:
            return f"trial {self.training.number:04d}"
        return f"confirm {self.confirms[0]:04d}-{self.confirms[1]:02d}"

    def tags(self) -> dict[str, str]:
        """Return the tags that the run has from its start."""
        config = self.training.config
        seed = {"seed": as_text(config["seed"])} if "seed" in config else {}
        place = {"trial": str(self.training.number)}
        if self.confirms is not None:
            place = {"confirm": "true", "candidate": str(self.confirms[0]), "pair": str(self.confirms[1])}
        return {**place, "config": as_text(json.dumps(config)), **seed, **_origin_tags(self.record)}

    def sizes(self) -> dict[str, float]:
        """Return the second objective of the study by name; empty if it has one objective."""
        second = self.record.second_objective
        return {} if second is None else {second.name: second.value(TrainConfig.from_mapping(self.training.config))}

    def parameters(self) -> dict[str, str]:
        """Return the searched parameters by dotted path.

        The other settings are those of base: they are parameters of the study's own run, and part of the tag `config`.
        A trial 0 outside the space has no searched parameters, so its complete configuration is returned.
        """
        return as_texts(self.params or flatten(self.training.config))


def child_runs(results: StudyResults, trainings: Iterable[TrialRecord]) -> list[ChildRun]:
    """Return everything that has a run below the study's own: the trials, then the trainings that confirm the winner.

    Args:
        results: the study.
        trainings: the trainings that confirm the winner.
    """
    params = {trial.number: trial.params for trial in results.trials}
    runs = [ChildRun(results.record, trial, trial.params) for trial in results.trials]
    for training in trainings:
        trial, pair = int(training.attributes["trial"]), int(training.attributes["pair"])
        runs.append(ChildRun(results.record, training, params.get(trial, {}), (trial, pair)))
    return runs


def ending_tags(trial: TrialRecord) -> dict[str, str]:
    """Return the tags that describe how a trial ended, or that it is paused."""
    if trial.ending is None:
        return {"state": trial.state} if trial.pauses else {}
    ending = trial.ending
    tags = {
        "state": ending.state,
        "reason": ending.reason,
        "error": ending.error,
        "weight_digest": ending.weight_digest,
    }
    return as_texts({key: value for key, value in tags.items() if value})


def epoch_points(trial: TrialRecord, after: int) -> list[Point]:
    """Return the metrics of all epochs after epoch `after`, in order of epochs, then of keys."""
    return [
        Point(key, trial.history[key][epoch - 1], epoch, milliseconds(trial.epoch_times[epoch - 1]))
        for epoch in range(after + 1, trial.n_epochs + 1)
        for key in sorted(trial.averages)
    ]


def ending_points(trial: TrialRecord, sizes: Mapping[str, float]) -> list[Point]:
    """Return the metrics that summarise a trial that has ended.

    Args:
        trial: the trial.
        sizes: its second objective by name; empty if the study has one objective.
    """
    if trial.ending is None:
        return []
    values = (
        trial.summary() | dict(sizes) | {"seconds": trial.ending.seconds, "kept_epoch": float(trial.ending.kept_epoch)}
    )
    if trial.ending.value is not None:
        values["value"] = trial.ending.value
    return [Point(key, value, trial.n_epochs, milliseconds(trial.last_event)) for key, value in values.items()]


def _origin_tags(record: StudyRecord) -> dict[str, str]:
    return {"study": record.name} | {f"version.{name}": as_text(of) for name, of in record.versions.items()}


def milliseconds(seconds: float) -> int:
    """Return a time in MLflow's unit."""
    return round(seconds * 1000)


def as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return every value as MLflow stores it."""
    return {key: as_text(value) for key, value in values.items()}


def as_text(value: Any) -> str:
    """Return a value as MLflow stores it, spelled as in TOML where possible.

    Of a value that is too long only the end is kept, because the last line of a traceback names the error.
    """
    plain = label(value) if not isinstance(value, str) else value
    text = str(plain).lower() if isinstance(plain, bool) else str(plain)
    return text if len(text) <= VALUE_LENGTH else "…" + text[1 - VALUE_LENGTH :]
