"""`compare`: trials of one or several studies next to each other, and the paired differences that are known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp.errors import ConfigError
from mlp.paths import flatten
from mlp.records import label
from studies.evidence.confirmation import Confirmation, overlap_in, read_confirmation
from studies.evidence.statistics import Comparison, compare
from studies.evidence.winner import winner_of
from studies.models.export import read_config
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from studies.records.trial_record import TrialRecord

INTERVAL_LEVEL = 0.05  # the intervals of differences hold with a confidence of 95 %


@dataclass(frozen=True)
class Compared:
    """One of the trials.

    Attributes:
        name: what it is called: `STUDY/TRIAL`.
        results: its study.
        trial: the trial.
        n_parameters: the number of parameters of its network.
    """

    name: str
    results: StudyResults
    trial: TrialRecord
    n_parameters: int

    @property
    def curve(self) -> list[float]:
        """The metric of the study by epoch."""
        return list(self.trial.history.get(self.results.metric, []))


@dataclass(frozen=True)
class TrialComparison:
    """What is known of several trials.

    Attributes:
        items: the trials.
        fields: the fields of their configurations that differ, by dotted path, with the value of each trial; `-` where
            a trial does not have the field. Seeds are left out.
        differences: for each trial but the first one, by how much the first one is better on the pairs of seed and
            split of a confirmation; None if they were not confirmed together.
    """

    items: tuple[Compared, ...]
    fields: Mapping[str, tuple[str, ...]]
    differences: tuple[Comparison | None, ...]

    @property
    def metric(self) -> str:
        """The metric of the values."""
        return self.items[0].results.metric


def compare_trials(names: Sequence[str], home: str | Path | None = None) -> TrialComparison:
    """Compare trials.

    Args:
        names: at least two of: `STUDY`, the confirmed winner of a study, or else its best trial; `STUDY/TRIAL`; or the
            path of an export.
        home: the folder of runs; by default `STUDIES_HOME`, or else `./mlruns`.

    Raises:
        ConfigError: if there are fewer than two, one is not found, or they have different metrics or data.
    """
    if len(names) < 2:
        raise ConfigError("give two trials or more to compare.")
    items = tuple(_find(name, home) for name in names)
    for item in items[1:]:
        for what, first, other in (
            ("metric", items[0].results.metric, item.results.metric),
            ("data set", items[0].results.record.data.digest, item.results.record.data.digest),
        ):
            if first != other:
                shown = f", {first} and {other}" if what == "metric" else ""
                problem = f"{items[0].name} and {item.name} have different {what}s{shown}"
                raise ConfigError(f"{problem}, so that their values cannot be compared.")
    return TrialComparison(items, _differing(items), tuple(_difference(items[0], other) for other in items[1:]))


def _find(name: str, home: str | Path | None) -> Compared:
    study, _, number = name.rpartition("/")
    if Path(name).suffix == ".toml":
        _, provenance = read_config(name)
        if provenance is None:
            raise ConfigError(f"{name}: is not an export of a study, so it has no result. Use STUDY/TRIAL.")
        results, trial = load_study(provenance.study, home), provenance.trial
        recorded = results.trial(trial).ending
        if recorded is None or (recorded.state == "complete" and recorded.weight_digest != provenance.weight_digest):
            problem = f'is not an export of the study "{provenance.study}" in {Home.find(home and Path(home)).root}'
            raise ConfigError(f"{name}: {problem}, which has another trial {trial}.")
    elif study and number.isdigit():
        results, trial = load_study(study, home), int(number)
    else:
        results = load_study(name, home)
        winner = winner_of(results, read_confirmation(results))
        if winner is None:
            raise ConfigError(f'study "{name}" has no complete trial yet.')
        trial = winner
    record, data = results.trial(trial), results.record.data
    config = results.config(trial)
    sizes = config.layer_sizes(data.n_features, data.n_targets, data.task)
    return Compared(f"{results.name}/{trial}", results, record, config.network.count_parameters(sizes))


def _differing(items: Sequence[Compared]) -> dict[str, tuple[str, ...]]:
    configs = [{path: str(label(value)) for path, value in _leaves(item).items()} for item in items]
    paths = dict.fromkeys(path for config in configs for path in config)
    rows = {path: tuple(config.get(path, "-") for config in configs) for path in paths}
    return {path: values for path, values in rows.items() if len(set(values)) > 1}


def _leaves(item: Compared) -> dict[str, Any]:
    return {path: value for path, value in flatten(item.trial.config).items() if path.rpartition(".")[2] != "seed"}


def _difference(first: Compared, other: Compared) -> Comparison | None:
    """Return by how much the first trial is better, from the confirmation of both."""
    if first.results.record.identity != other.results.record.identity:
        return None
    confirmation = read_confirmation(first.results)
    series = [_values(confirmation, item.trial.number) for item in (first, other)]
    pairs = sorted(series[0].keys() & series[1].keys())
    if len(pairs) < 2:
        return None
    sign = 1.0 if first.results.direction == "maximize" else -1.0
    a, b = ([values[pair] for pair in pairs] for values in series)
    return compare(a, b, overlap=overlap_in(first.results), sign=sign)


def _values(confirmation: Confirmation | None, trial: int) -> dict[int, float]:
    candidates = () if confirmation is None else confirmation.candidates
    return {
        pair: value
        for candidate in candidates
        if candidate.trial == trial
        for pair, value in candidate.values.items()
        if value is not None
    }
