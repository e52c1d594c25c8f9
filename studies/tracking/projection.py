"""What MLflow shows of a study, as plain data: keys, tags, parameters, metrics, and the texts beside them.

All of it follows from the study's record and logs, so that whoever publishes it, and however often, publishes
the same.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import Any

from mlp.metrics import Direction
from mlp.paths import flatten
from mlp.records import label
from mlp.scores import direction, is_better
from studies.records.trial_log import TrialRecord

VALUE_LENGTH = 5000  # MLflow takes 6000 characters in a parameter and 8000 in a tag
DIGEST_LENGTH = 36  # MLflow's limit for the digest of a data set
BEST_SO_FAR = "best_value"


@dataclass(frozen=True)
class Point:
    """A value of a metric at a step.

    Attributes:
        time: when it came about, in milliseconds since 1970.
    """

    key: str
    value: float
    step: int
    time: int


@dataclass
class Study:
    """A study as its record and its logs tell it.

    Attributes:
        record: what `study.json` holds.
        trials: those that have begun, by number.
    """

    record: dict[str, Any]
    trials: dict[int, TrialRecord] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.record["name"])

    @property
    def key(self) -> str:
        """What tells this study from every other, also from a later one of the same name."""
        return f"{self.name}/{self.record['created']}"

    @property
    def metric(self) -> str:
        """The key of the metric that decides."""
        return str(self.record["study"]["metric"])

    @property
    def direction(self) -> Direction:
        """Which way the metric is better."""
        return direction(self.metric)

    @property
    def total(self) -> int:
        """How many trials the study asks for."""
        return int(self.record["study"]["trials"])

    @property
    def is_finished(self) -> bool:
        """Whether all trials have ended."""
        return self.n_to_go <= 0

    @property
    def is_half_done(self) -> bool:
        """Whether half of the trials have ended."""
        return 2 * self.n_ended >= self.total

    @property
    def n_ended(self) -> int:
        """How many trials have ended."""
        return self.count("complete", "pruned", "failed")

    @property
    def n_to_go(self) -> int:
        """How many trials have yet to end."""
        return self.total - self.n_ended

    @property
    def ended(self) -> float:
        """When the last event of the study happened so far, in seconds since 1970."""
        return max((last_event(trial) for trial in self.trials.values()), default=float(self.record["created"]))

    def count(self, *states: str) -> int:
        """Return how many trials are in one of the states."""
        return sum(trial.state in states for trial in self.trials.values())

    def in_order(self) -> list[TrialRecord]:
        """Return the trials by number."""
        return [self.trials[number] for number in sorted(self.trials)]

    def best(self) -> TrialRecord | None:
        """Return the best complete trial, the lowest number winning ties."""
        best: TrialRecord | None = None
        for trial in self.in_order():
            best = self._better(trial, best)
        return best

    def best_so_far(self) -> list[Point]:
        """Return the best value among trials 0 to k, at step k.

        It stops before the first trial that has not ended, so a point never changes once it is there.
        """
        points: list[Point] = []
        best: TrialRecord | None = None
        last = 0.0
        for number, trial in enumerate(self.in_order()):
            if trial.number != number or trial.ended is None:
                break
            last, best = max(last, trial.ended), self._better(trial, best)
            if best is not None and best.value is not None:
                points.append(Point(BEST_SO_FAR, best.value, number, milliseconds(last)))
        return points

    def _better(self, trial: TrialRecord, best: TrialRecord | None) -> TrialRecord | None:
        if trial.state != "complete" or trial.value is None:
            return best
        if best is not None and best.value is not None and not is_better(self.metric, trial.value, best.value):
            return best
        return trial

    def tags(self) -> dict[str, str]:
        """Return the tags of the study's own run."""
        return {"metric": self.metric, "direction": self.direction, **self._origin()}

    def parameters(self) -> dict[str, str]:
        """Return the settings of the search, and base by dotted path under `base`.

        The total of trials is not among them: it may be raised, and MLflow never changes a parameter.
        """
        settings = {key: value for key, value in self.record["study"].items() if key not in ("name", "trials")}
        return texts(flatten(settings)) | {
            f"base.{path}": text(at) for path, at in flatten(self.record["base"]).items()
        }

    def totals(self) -> list[Point]:
        """Return how many trials ended how, and the time that went into them."""
        values = {
            "n_complete": self.count("complete"),
            "n_pruned": self.count("pruned"),
            "n_failed": self.count("failed"),
            "seconds": sum(trial.ending.seconds for trial in self.in_order() if trial.ending),
        }
        step, now = self.n_ended, milliseconds(self.ended)
        return [Point(key, float(value), step, now) for key, value in values.items()]

    def trial_tags(self, trial: TrialRecord) -> dict[str, str]:
        """Return the tags that a trial's run has from the beginning."""
        seed = {"seed": text(trial.config["seed"])} if "seed" in trial.config else {}
        return {"trial": str(trial.number), "config": text(json.dumps(trial.config)), **seed, **self._origin()}

    def _origin(self) -> dict[str, str]:
        return {"study": self.name} | {f"version.{name}": text(of) for name, of in self.record["versions"].items()}

    def csv(self) -> str:
        """Return the table of all trials."""
        trials = self.in_order()
        metrics = sorted({key for trial in trials for key in trial.summary()})
        paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
        columns = ["number", "state", "reason", "value", "seconds", "epochs", *metrics, *paths]
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for trial in trials:
            ending = {"reason": trial.ending.reason, "seconds": trial.ending.seconds} if trial.ending else {}
            row = {"number": trial.number, "state": trial.state, "value": trial.value, "epochs": trial.n_epochs}
            writer.writerow(row | ending | trial.summary() | texts(trial.params))
        return table.getvalue()

    def introduction(self) -> str:
        """Return in Markdown what the study is."""
        data = self.record["data"]
        sizes = f"{data['n_train']:,} training and {data['n_validation']:,} validation examples"
        return (
            f"**{self.name}** {self.direction}s `{self.metric}` over {self.total} trials.\n"
            f"Data: `{data['name']}`, {sizes}."
        )

    def note(self) -> str:
        """Return in Markdown what the study is and what it has come to; MLflow shows it above the study's run."""
        best, to_go = self.best(), self.n_to_go
        counts = ", ".join(f"{self.count(state)} {state}" for state in ("complete", "pruned", "failed"))
        lines = [self.introduction(), "", f"{counts}, {to_go} to go." if to_go > 0 else f"{counts}."]
        if best is not None and best.value is not None:
            lines += [
                "",
                f"Best: trial {best.number} with **{best.value:.6g}**.",
                "",
                "| parameter | value |",
                "|---|---|",
            ]
            lines += [f"| `{path}` | {value} |" for path, value in texts(best.params).items()]
        return "\n".join(lines)

    def digest(self, *extra: bytes) -> str:
        """Return what changes when the artifacts of the study would."""
        return hashlib.sha256(b"\0".join([self.csv().encode(), *extra])).hexdigest()[:16]


def trial_parameters(trial: TrialRecord) -> dict[str, str]:
    """Return what was searched, by dotted path, as it is recorded: what tells one trial from another.

    All else is the base, which stands in the study's own run, and in the tag `config`. Of a base that is no point of
    the space the whole configuration is returned.
    """
    return texts(trial.params or flatten(trial.config))


def ending_tags(trial: TrialRecord) -> dict[str, str]:
    """Return the tags that tell how a trial ended."""
    if trial.ending is None:
        return {}
    ending = trial.ending
    tags = {
        "state": ending.state,
        "reason": ending.reason,
        "error": ending.error,
        "weight_digest": ending.weight_digest,
    }
    return texts({key: value for key, value in tags.items() if value})


def epoch_points(trial: TrialRecord, after: int) -> list[Point]:
    """Return the metrics of the epochs that follow epoch `after`, in order, the keys of each sorted."""
    return [
        Point(key, trial.history[key][epoch - 1], epoch, milliseconds(trial.epoch_times[epoch - 1]))
        for epoch in range(after + 1, trial.n_epochs + 1)
        for key in sorted(trial.history)
    ]


def ending_points(trial: TrialRecord) -> list[Point]:
    """Return the metrics that sum up a trial that has ended."""
    if trial.ending is None:
        return []
    values = trial.summary() | {"seconds": trial.ending.seconds, "kept_epoch": float(trial.ending.kept_epoch)}
    if trial.ending.value is not None:
        values["value"] = trial.ending.value
    return [Point(key, value, trial.n_epochs, milliseconds(last_event(trial))) for key, value in values.items()]


def dataset(record: dict[str, Any]) -> dict[str, str]:
    """Return the fields of MLflow's data set: name, digest, source, profile."""
    data = record["data"]
    profile = {"num_rows": data["n_train"] + data["n_validation"], **data}
    return {
        "name": data["name"],
        "digest": data["digest"][:DIGEST_LENGTH],
        "source_type": "studies",
        "source": json.dumps({"dataset": data["name"], "digest": data["digest"]}),
        "profile": json.dumps(profile),
    }


def last_event(trial: TrialRecord) -> float:
    """Return when something last happened in a trial, in seconds since 1970."""
    return max(trial.started, *trial.epoch_times[-1:], trial.ended or 0.0)


def milliseconds(seconds: float) -> int:
    """Return a time in MLflow's unit."""
    return round(seconds * 1000)


def texts(values: dict[str, Any]) -> dict[str, str]:
    """Return every value as MLflow holds it."""
    return {key: text(value) for key, value in values.items()}


def text(value: Any) -> str:
    """Return a value as TOML spells it where it can; the end of what is too long, for there an error says its name."""
    plain = label(value) if not isinstance(value, str) else value
    written = str(plain).lower() if isinstance(plain, bool) else str(plain)
    return written if len(written) <= VALUE_LENGTH else "…" + written[1 - VALUE_LENGTH :]
