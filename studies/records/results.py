"""The results of a study: the one read model of its record and of the logs of its trials."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.metrics import Direction
from mlp.scores import direction
from studies.records.home import Home, StudyFolder
from studies.records.second_objective import SecondObjective
from studies.records.study_record import StudyRecord
from studies.records.trial_log import read_log
from studies.records.trial_record import State, TrialRecord

if TYPE_CHECKING:
    import pandas as pd

STATES: tuple[State, ...] = ("complete", "pruned", "failed", "running", "paused")
OPEN: tuple[State, ...] = ("running", "paused")
N_SHOWN = 5  # trials in the table that notebooks show


def rank(metric: str, number: int, value: float) -> tuple[float, int]:
    """Return the sort key of a complete trial: the better value comes first, then the lower number."""
    return (-value if direction(metric) == "maximize" else value), number


@dataclass(frozen=True)
class FrontPoint:
    """A trial of a Pareto front.

    Attributes:
        trial: its number.
        value: the metric of the study.
        size: the second objective.
    """

    trial: int
    value: float
    size: float


@dataclass(frozen=True, repr=False)
class StudyResults:
    """A study at the time it was read.

    Attributes:
        record: the content of `study.json`.
        trials: all trials that have started, by number.
        is_running: whether a process runs the study. If none does, a trial that has not ended is `interrupted`.
        folder: the folder of the study, if it was read from one.
    """

    record: StudyRecord
    trials: tuple[TrialRecord, ...]
    is_running: bool = field(default=True, compare=False)
    folder: StudyFolder | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.record.name

    @property
    def metric(self) -> str:
        """The key of the metric that decides, such as `validation/accuracy`."""
        return self.record.metric

    @property
    def direction(self) -> Direction:
        """Whether the metric is maximised or minimised."""
        return self.record.direction

    @property
    def second_objective(self) -> SecondObjective | None:
        """The second objective of the study; None if it has one objective."""
        return self.record.second_objective

    @property
    def total(self) -> int | None:
        """The most trials that the study will have; None without such a limit."""
        return self.record.total

    @property
    def is_complete(self) -> bool:
        """Whether the search has reached its limits, and all of its trials have ended."""
        is_whole = all(trial.number == number for number, trial in enumerate(self.trials))
        return self.record.is_searched and is_whole and self.n_ended == len(self.trials)

    @property
    def n_ended(self) -> int:
        """How many trials have ended."""
        return len(self.trials) - sum(self.counts()[state] for state in OPEN)

    @property
    def n_epochs(self) -> int:
        """How many epochs all trials have trained."""
        return sum(trial.n_epochs for trial in self.trials)

    @property
    def next_step(self) -> int:
        """The step after the last recorded event."""
        return max((trial.steps[-1] for trial in self.trials), default=-1) + 1

    def seconds(self) -> float:
        """Return how long the study has been run, over all launches; a launch ends with its last event."""
        times = [time for trial in self.trials for time in (trial.started, *trial.epoch_times, trial.ended or 0.0)]
        starts = [launch.started for launch in self.record.launches]
        ends = [max((time for time in times if a <= time < b), default=a) for a, b in pairwise([*starts, math.inf])]
        return sum(end - start for start, end in zip(starts, ends, strict=True))

    @property
    def spent(self) -> str:
        """What the study has spent of its limits: `40 of 50 trials`, `137 trials, 12.5 of 20 trainings`."""
        n, total, most = len(self.trials), self.total, self.record.max_epochs
        trials = f"{n} of {max(n, total)} trials" if total else f"{n} trial{'s' if n != 1 else ''}"
        if most is None:
            return trials
        one = self.record.base_epochs
        return f"{trials}, {self.n_epochs / one:.3g} of {most / one:.3g} trainings"

    @property
    def last_event(self) -> float:
        """The time of the last event, in seconds since 1970."""
        return max((trial.last_event for trial in self.trials), default=self.record.created)

    @property
    def best(self) -> TrialRecord | None:
        """The first of `ranked()`; None before a trial is complete."""
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[TrialRecord]:
        """Return the complete trials, best first; among equal values the lowest number comes first."""
        return list(self._ranked)

    @cached_property
    def _ranked(self) -> list[TrialRecord]:
        return self._best_first(self.trials)

    def _best_first(self, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
        keyed = [
            (rank(self.metric, trial.number, trial.value), trial)
            for trial in trials
            if trial.state == "complete" and trial.value is not None
        ]
        return [trial for _, trial in sorted(keyed, key=lambda entry: entry[0])]

    def top(self, n: int) -> list[TrialRecord]:
        """Return the best `n` complete trials, or all of them if there are fewer."""
        return self.ranked()[: max(0, n)]

    def size(self, number: int) -> float | None:
        """Return the second objective of a trial; None if the study has one objective."""
        second = self.second_objective
        return None if second is None else second.value(self.config(number))

    def pareto_front(self) -> list[FrontPoint]:
        """Return the complete trials than which none is both better and smaller, the smallest network first.

        Of equal trials, the one with the lowest number is returned. The list is empty if the study has one objective.
        """
        sizes = {trial.number: self.size(trial.number) for trial in self.ranked()}
        points = [
            FrontPoint(trial.number, trial.value, size)
            for trial in self.ranked()
            if trial.value is not None and (size := sizes[trial.number]) is not None
        ]
        front: list[FrontPoint] = []
        for point in sorted(points, key=lambda point: (point.size, rank(self.metric, point.trial, point.value))):
            if not front or rank(self.metric, 0, point.value) < rank(self.metric, 0, front[-1].value):
                front.append(point)
        return front

    def best_so_far(self) -> list[tuple[int, TrialRecord]]:
        """Return the best complete trial among trials 0 to k, for each k that has one.

        The list ends before the first trial that has not ended, so an entry never changes once it exists.
        """
        entries: list[tuple[int, TrialRecord]] = []
        leader: list[TrialRecord] = []
        for number, trial in enumerate(self.trials):
            if trial.number != number or trial.ended is None:
                break
            leader = self._best_first([*leader, trial])[:1]
            entries += [(number, best) for best in leader]
        return entries

    def counts(self) -> dict[State, int]:
        """Return the number of trials in each state, absent states included."""
        return dict(self._counts)

    @cached_property
    def _counts(self) -> dict[State, int]:
        counts = dict.fromkeys(STATES, 0)
        for trial in self.trials:
            counts[trial.state] += 1
        return counts

    def shown_state(self, state: State) -> str:
        """Return the word for a state of a trial: `interrupted` for `running`, if no process runs the study."""
        return "interrupted" if state == "running" and not self.is_running else state

    def trial(self, number: int) -> TrialRecord:
        """Return a trial.

        Raises:
            ConfigError: if there is no trial with this number; the message lists the existing ones.
        """
        if number not in self._by_number:
            existing = f"It has: {_in_ranges(list(self._by_number))}." if self.trials else "It has none yet."
            raise ConfigError(f'study "{self.name}" has no trial {number}. {existing}')
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, TrialRecord]:
        return {trial.number: trial for trial in self.trials}

    def config(self, number: int) -> TrainConfig:
        """Return the complete configuration of a trial.

        Raises:
            ConfigError: if there is no such trial, or this program does not know a field of its configuration.
        """
        return TrainConfig.from_mapping(self.trial(number).config)

    def trials_frame(self) -> pd.DataFrame:
        """Return a frame with one row per trial.

        Columns: `number`, `state`, `reason`, `value`, `epochs`, `seconds`, `started` and `ended` (in UTC), the
        metrics as `final/...` and `best/...`, and the searched paths as `params.<path>`, in the order of the space.
        """
        import pandas as pd

        trials = self.trials
        endings = [trial.ending for trial in trials]
        columns: dict[str, Any] = {
            "number": pd.array([trial.number for trial in trials], dtype="int64"),
            "state": pd.array([self.shown_state(trial.state) for trial in trials], dtype="str"),
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
        for path in dict.fromkeys([*self.record.space, *(path for trial in trials for path in trial.params)]):
            columns[f"params.{path}"] = _params([trial.params.get(path) for trial in trials])
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        best = self.best
        leader = "no trial is complete" if best is None else f"best {best.value:.6g} (trial {best.number})"
        return f"StudyResults({self.name!r}, {self.metric}, {leader}, {self._standing()})"

    def _repr_html_(self) -> str:
        """Return a table of the best trials, which notebooks show instead of the repr."""
        top = self.top(N_SHOWN)
        paths = list(dict.fromkeys(path for trial in top for path in trial.params))
        rows = [
            [str(trial.number), f"{trial.value:.6g}", *(_short(trial.params.get(path, "")) for path in paths)]
            for trial in top
        ]
        caption = f"{self.name}: {self.metric}, {self.direction}d; {self._standing()}"
        return (
            f"<table><caption>{html.escape(caption)}</caption>"
            f"<thead>{html_row('th', ['trial', 'value', *paths])}</thead>"
            f"<tbody>{''.join(html_row('td', row) for row in rows)}</tbody></table>"
        )

    def _standing(self) -> str:
        """Return what was spent and the counts: `6 of 6 trials: 3 complete, 1 pruned, 1 failed`."""
        counts = ", ".join(f"{n} {self.shown_state(state)}" for state, n in self.counts().items() if n)
        return self.spent + (f": {counts}" if counts else "")


def html_row(tag: str, cells: Iterable[str]) -> str:
    """Return a row of an HTML table, with cells of the kind `td` or `th`."""
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _floats(values: Sequence[float | None]) -> Array:
    return np.array(values, np.float64)  # None becomes NaN


def _params(values: list[Any]) -> pd.Series[Any]:
    """Return a column of parameters; integers stay integers where other trials have no value."""
    import pandas as pd

    present = {type(value) for value in values} - {type(None)}
    has_gaps = None in values and present == {int}
    return pd.Series(values, dtype="Int64" if has_gaps else None)


def _in_ranges(numbers: list[int]) -> str:
    """Return ascending numbers as ranges: `0 to 7, 9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs)


def load_study(name: str, home: str | Path | None = None) -> StudyResults:
    """Return the results of a study so far.

    Args:
        name: the name of the study.
        home: the directory for runs; `STUDIES_HOME` or `./mlruns` unless given.

    Raises:
        ConfigError: if there is no such study, or one of its files cannot be read.
    """
    return read_results(Home.find(home).existing_study(name))


def load_studies(
    home: str | Path | None = None, *, on_error: Callable[[ConfigError], None] | None = None
) -> list[StudyResults]:
    """Return the results of all studies, by name.

    Args:
        home: the directory for runs; `STUDIES_HOME` or `./mlruns` unless given.
        on_error: called with the error of each study that cannot be read, which is then left out.

    Raises:
        ConfigError: if a file of a study cannot be read, and `on_error` is not given.
    """
    studies = []
    for folder in Home.find(home).studies():
        try:
            studies.append(read_results(folder))
        except ConfigError as error:
            if on_error is None:
                raise
            on_error(error)
    return studies


def read_results(folder: StudyFolder) -> StudyResults:
    """Return the results of the study in a folder.

    Raises:
        RecordError: if `study.json` or a log cannot be read, or is damaged.
    """
    record, was_running = folder.read_record(), folder.is_locked()
    found = (read_log(file, record.identity) for file in folder.logs())
    trials = tuple(trial for trial in found if trial is not None)
    # A study that starts or ends while it is read was running at one of the two moments.
    return StudyResults(record, trials, is_running=was_running or folder.is_locked(), folder=folder)
