"""Reading a study: its record and the logs of its trials, whether it runs, has ended, or was killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.metrics import Direction
from mlp.scores import direction
from studies.records.home import Home, StudyFolder
from studies.records.trial_log import TrialRecord, read_log

if TYPE_CHECKING:
    import pandas as pd

RECORD_VERSION = 1  # of `study.json`
STATES = ("complete", "pruned", "failed", "running")


@dataclass(frozen=True)
class StudyResults:
    """A study as it stood when it was read.

    Attributes:
        name: of the study.
        record: what `study.json` holds.
        trials: all trials that have begun, by number.
    """

    name: str
    record: dict[str, Any]
    trials: list[TrialRecord]

    @property
    def metric(self) -> str:
        """The key of what decides, such as `validation/accuracy`."""
        key: str = self.record["study"]["metric"]
        return key

    @property
    def direction(self) -> Direction:
        """Which way the metric is better."""
        return direction(self.metric)

    @property
    def total(self) -> int:
        """How many trials the study will have."""
        n: int = self.record["study"]["trials"]
        return n

    @property
    def is_complete(self) -> bool:
        """Whether all trials of the study have ended."""
        counts = self.counts()
        return not counts["running"] and sum(counts.values()) >= self.total

    @property
    def best(self) -> TrialRecord | None:
        """The complete trial with the best value, the lowest number winning a tie; None before there is one."""
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[TrialRecord]:
        """Return the complete trials, the best first, equal ones by number."""
        return list(self._ranked)

    @cached_property
    def _ranked(self) -> list[TrialRecord]:
        sign = -1.0 if self.direction == "maximize" else 1.0
        complete = [(trial, trial.value) for trial in self.trials if trial.state == "complete"]
        valued = [(sign * value, trial.number, trial) for trial, value in complete if value is not None]
        return [trial for *_, trial in sorted(valued, key=lambda entry: entry[:2])]

    def top(self, n: int) -> list[TrialRecord]:
        """Return the best `n` complete trials, or as many as there are."""
        return self.ranked()[: max(0, n)]

    def counts(self) -> dict[str, int]:
        """Return how many trials are in each state, absent states included."""
        counts = dict.fromkeys(STATES, 0)
        for trial in self.trials:
            counts[trial.state] += 1
        return counts

    def trial(self, number: int) -> TrialRecord:
        """Return a trial.

        Raises:
            ConfigError: when there is none of this number, with those that there are.
        """
        if number not in self._by_number:
            there_are = f"It has: {_in_ranges(list(self._by_number))}." if self.trials else "It has none yet."
            raise ConfigError(f'study "{self.name}" has no trial {number}. {there_are}')
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, TrialRecord]:
        return {trial.number: trial for trial in self.trials}

    def config(self, number: int) -> TrainConfig:
        """Return the complete configuration of a trial.

        Raises:
            ConfigError: when there is no such trial, or this program does not know what is in its configuration.
        """
        return TrainConfig.from_mapping(self.trial(number).config)

    def trials_frame(self) -> pd.DataFrame:
        """Return a row a trial.

        Columns: `number`, `state`, `reason`, `value`, `epochs`, `seconds`, `started` and `ended` (in UTC), the
        metrics as `final/...` and `best/...`, and the searched paths as `params.<path>`, in the order of the space.
        """
        import pandas as pd

        trials = self.trials
        endings = [trial.ending for trial in trials]
        columns: dict[str, Any] = {
            "number": pd.array([trial.number for trial in trials], dtype="int64"),
            "state": pd.array([trial.state for trial in trials], dtype="str"),
            "reason": pd.array([ending.reason if ending else "" for ending in endings], dtype="str"),
            "value": _floats([trial.value for trial in trials]),
            "epochs": pd.array([trial.n_epochs for trial in trials], dtype="int64"),
            "seconds": _floats([ending.seconds if ending else None for ending in endings]),
            "started": pd.to_datetime(_floats([trial.started for trial in trials]), unit="s", utc=True),
            "ended": pd.to_datetime(_floats([trial.ended for trial in trials]), unit="s", utc=True),
        }
        summaries = [trial.summary() for trial in trials]
        for key in dict.fromkeys(key for summary in summaries for key in summary):
            columns[key] = _floats([summary.get(key) for summary in summaries])
        for path in dict.fromkeys([*self.record["space"], *(path for trial in trials for path in trial.params)]):
            columns[f"params.{path}"] = _params([trial.params.get(path) for trial in trials])
        return pd.DataFrame(columns)


def _floats(values: Sequence[float | None]) -> Array:
    return np.array(values, np.float64)  # None becomes NaN


def _params(values: list[Any]) -> pd.Series[Any]:
    """Return a column of parameters; whole numbers stay whole where others are missing."""
    import pandas as pd

    present = {type(value) for value in values} - {type(None)}
    has_gaps = None in values and present == {int}
    return pd.Series(values, dtype="Int64" if has_gaps else None)


def _in_ranges(numbers: list[int]) -> str:
    """Return ascending numbers as a person says them: `0 to 7, 9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs)


def load_study(name: str, home: Path | None = None) -> StudyResults:
    """Return what a study has come to so far.

    Args:
        name: of the study.
        home: where runs live; `STUDIES_HOME` or `./mlruns` unless given.

    Raises:
        ConfigError: when there is no such study, or a file of it is not what this program writes.
    """
    return _load(Home.find(home).existing_study(name))


def load_studies(home: Path | None = None) -> list[StudyResults]:
    """Return all studies of a home, by name.

    Raises:
        ConfigError: when a file is not what this program writes.
    """
    return [_load(folder) for folder in Home.find(home).studies()]


def _load(folder: StudyFolder) -> StudyResults:
    record = _read_record(folder)
    trials = [trial for trial in map(_read_trial, folder.logs()) if trial is not None]
    return StudyResults(folder.name, record, trials)


def _read_record(folder: StudyFolder) -> dict[str, Any]:
    try:
        record = folder.read_record()
        version, _ = record["version"], (record["study"]["metric"], record["study"]["trials"], record["space"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder.record}: is no record of a study: {_in_words(error)}.") from error
    if version != RECORD_VERSION:
        problem = f"has version {version}, this program reads {RECORD_VERSION}"
        raise ConfigError(f"{folder.record}: {problem}. Use the program that wrote it.")
    return record


def _read_trial(file: Path) -> TrialRecord | None:
    try:
        return read_log(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: is no event log of a trial: {_in_words(error)}.") from error


def _in_words(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
