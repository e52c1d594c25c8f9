"""One of the trials that are compared, found by the name of its study, by an export or by results that were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlp.errors import ConfigError, errors_in
from studies.evidence.confirmation import read_confirmation
from studies.evidence.winner import winner_of
from studies.models.export import read_config
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from studies.records.trial_record import TrialRecord

TrialSource = str | Path | StudyResults | tuple[StudyResults, int]


@dataclass(frozen=True)
class Compared:
    """One of the trials.

    Attributes:
        name: what it is called: `STUDY/TRIAL`.
        results: its study.
        trial: the trial.
        n_parameters: the number of parameters of its network.
        confirmed: its values in the confirmation of its study, by pair of seed and split.
        fresh: its values on fresh pairs, which are the same for every study; None where it diverged or failed.
    """

    name: str
    results: StudyResults
    trial: TrialRecord
    n_parameters: int
    confirmed: Mapping[int, float | None] = field(default_factory=dict)
    fresh: Mapping[int, float | None] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        """The same for the same trial, whatever it was found by."""
        return self.study, self.trial.number

    @property
    def study(self) -> str:
        """The identity of its study."""
        return self.results.record.identity

    @property
    def curve(self) -> list[float]:
        """The metric of the study by epoch."""
        return list(self.trial.history.get(self.results.metric, []))


def find_trial(source: TrialSource, home: str | Path | None = None) -> Compared:
    """Return a trial to compare.

    Args:
        source: what describes it, as `compare_trials` takes it.
        home: the folder of runs; by default `STUDIES_HOME`, or else `./mlruns`.

    Raises:
        ConfigError: if it is not found.
    """
    if isinstance(source, StudyResults):
        results, trial = source, _winner(source)
    elif isinstance(source, tuple):
        results, trial = source
    else:
        results, trial = _find_by_name(str(source), home)
    record, data = results.trial(trial), results.record.data
    config = results.config(trial)
    sizes = config.layer_sizes(data.n_features, data.n_targets, data.task)
    n_parameters = config.network.count_parameters(sizes)
    return Compared(f"{results.name}/{trial}", results, record, n_parameters, _confirmed(results, trial))


def _winner(results: StudyResults) -> int:
    winner = winner_of(results, read_confirmation(results))
    if winner is None:
        raise ConfigError(f'study "{results.name}" has no complete trial yet.')
    return winner


def _find_by_name(name: str, home: str | Path | None) -> tuple[StudyResults, int]:
    study, _, number = name.rpartition("/")
    if Path(name).suffix == ".toml":
        _, provenance = read_config(name)
        if provenance is None:
            raise ConfigError(f"{name}: is not an export of a study, so it has no result. Use STUDY/TRIAL.")
        with errors_in(f"{name}: an export is compared through its study, and"):
            results = load_study(provenance.study, home)
        recorded = results.trial(provenance.trial).ending
        if recorded is None or (recorded.state == "complete" and recorded.weight_digest != provenance.weight_digest):
            problem = f'is not an export of the study "{provenance.study}" in {Home.find(home and Path(home)).root}'
            raise ConfigError(f"{name}: {problem}, which has another trial {provenance.trial}.")
        return results, provenance.trial
    if study and number.isdigit():
        return load_study(study, home), int(number)
    results = load_study(name, home)
    return results, _winner(results)


def _confirmed(results: StudyResults, trial: int) -> Mapping[int, float | None]:
    confirmation = read_confirmation(results)
    candidates = () if confirmation is None else confirmation.candidates
    return next((candidate.values for candidate in candidates if candidate.trial == trial), {})
