"""`audit`: trains a sample of the pruned trials in full, to find out what pruning has cost and saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.errors import ConfigError
from studies.evidence.recorded_data import prepare_recorded
from studies.models.machine import machine
from studies.records.results import StudyResults, rank
from studies.records.trial_log import read_log
from studies.records.trial_record import TrialRecord
from studies.running.driver import Driver
from studies.running.engines import AbstractEngine, EngineName, n_cores, open_engine
from studies.running.fixed_trainings import FixedTraining, FixedTrainings
from studies.running.live_trial import Snapshot
from studies.running.progress import watching
from studies.running.stopping import StopRequest

Z = 1.96  # the quantile of the normal distribution for intervals of 95 %


@dataclass(frozen=True)
class Audit:
    """What is known of the pruned trials of a study.

    Attributes:
        n_pruned: the pruned trials of the study.
        values: the value that each trial of the sample has at its end, by number; None if it diverged or failed.
        best: number and value of the best trial of the search.
        better: the trials of the sample that are better, best first.
        saved_epochs: the epochs that pruning has saved.
        saved_seconds: about how much compute time these would have taken.
        is_complete: whether the whole sample has been trained.
    """

    n_pruned: int
    values: dict[int, float | None]
    best: tuple[int, float]
    better: tuple[int, ...]
    saved_epochs: int
    saved_seconds: float
    is_complete: bool

    @property
    def regret(self) -> float:
        """By how much the best trial of the sample is better than the best one of the search; 0 if none is."""
        found = [value for number in self.better if (value := self.values[number]) is not None]
        return abs(found[0] - self.best[1]) if found else 0.0

    def share_better(self) -> tuple[float, float, float]:
        """Return the share of the pruned trials that are better, with its interval of 95 %.

        If the sample has all of them, the interval has no width; otherwise it is Wilson's score interval (1927).
        """
        n, share = len(self.values), len(self.better) / max(1, len(self.values))
        if n >= self.n_pruned:
            return share, share, share
        middle, scale = (share + Z**2 / (2 * n)), 1 + Z**2 / n
        reach = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
        return share, max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def audit(
    results: StudyResults,
    *,
    trials: int = 20,
    workers: int | None = None,
    engine: EngineName | AbstractEngine = "processes",
    data_dir: str | Path | None = None,
    progress: bool = False,
    on_change: Callable[[Snapshot], None] | None = None,
) -> Audit:
    """Train a sample of the pruned trials in full, with their own seeds. Trainings of an earlier audit are used.

    Args:
        results: the study, as `load_study(name)` returns it.
        trials: the size of the sample. It has the best trial of each epoch at which trials were pruned, and others at
            random.
        workers: the number of worker processes; by default one per core. The result does not depend on it.
        engine: what computes the trainings, as in `run_study`.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.
        progress: whether to show the progress, in a terminal, a notebook or a log.
        on_change: called with a snapshot of the progress after every event.

    Raises:
        ConfigError: if the search is not complete, nothing was pruned, or the data cannot be found or has changed.
        StudyLockedError: if a process runs the study.
    """
    if results.folder is None or not results.is_complete or results.best is None:
        raise ConfigError(
            f'study "{results.name}" is not complete, so its pruning cannot be audited yet. Run it first.'
        )
    pruned = [trial for trial in results.trials if trial.was_cut_short]
    if not pruned:
        raise ConfigError(f'study "{results.name}" has pruned no trial, so there is nothing to audit.')
    folder = results.folder
    data = prepare_recorded(results, data_dir)
    sample = _sample(results, pruned, trials)
    trainings = [FixedTraining(t.number, results.config(t.number), t.place.epoch_cost) for t in sample]
    identity = results.record.audit_identity
    with ExitStack() as stack:
        stack.enter_context(folder.lock())
        stop = stack.enter_context(StopRequest.on_signals(None))
        opened = open_engine(engine, workers or n_cores()) if isinstance(engine, str) else engine
        stack.callback(opened.shutdown)
        ledger = FixedTrainings(
            trainings, folder.audit, results.metric, identity, machine(), opened.n_workers, stage="audit"
        )
        watch = stack.enter_context(watching(on_change, is_shown=progress))
        Driver(ledger, opened, data, on_change=watch, should_stop=stop.is_due).run()
    ended = {trial.number: read_log(folder.audit.log(trial.number), identity) for trial in sample}
    values = {number: trial.value for number, trial in ended.items() if trial is not None and trial.ending is not None}
    return _audit_of(results, pruned, values, is_complete=len(values) == len(sample))


def _audit_of(
    results: StudyResults, pruned: Sequence[TrialRecord], values: dict[int, float | None], *, is_complete: bool
) -> Audit:
    best = results.best
    if best is None or best.value is None:
        raise RuntimeError("a complete study without a best trial was audited.")
    keyed = {number: rank(results.metric, number, value)[0] for number, value in values.items() if value is not None}
    at_best = rank(results.metric, best.number, best.value)[0]
    better = sorted((number for number, key in keyed.items() if key < at_best), key=lambda number: keyed[number])
    saved = [int(trial.config["epochs"]) - trial.n_epochs for trial in pruned]
    seconds = [(trial.ending.seconds if trial.ending else 0.0) / max(1, trial.n_epochs) for trial in pruned]
    saved_seconds = float(np.dot(saved, seconds))
    return Audit(len(pruned), values, (best.number, best.value), tuple(better), sum(saved), saved_seconds, is_complete)


def _sample(results: StudyResults, pruned: Sequence[TrialRecord], n: int) -> list[TrialRecord]:
    """Return the best pruned trial of each number of epochs, those with most epochs first, and others at random."""
    ranked = sorted(pruned, key=lambda trial: rank(results.metric, trial.number, trial.value or 0.0))
    best = {trial.n_epochs: trial for trial in reversed(ranked)}
    chosen = [best[n_epochs] for n_epochs in sorted(best, reverse=True)][:n]
    others = [trial for trial in pruned if trial not in chosen]
    order = np.random.default_rng(int(results.record.study["seed"])).permutation(len(others))
    return [*chosen, *(others[int(index)] for index in order)][:n]
