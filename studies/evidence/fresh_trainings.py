"""Trainings of trials on fresh pairs of seed and split, which are the same for every study, to compare them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from mlp.errors import ConfigError
from studies.evidence.confirmation import MAX_PAIRS
from studies.evidence.recorded_data import prepare_recorded
from studies.models.machine import machine
from studies.records.results import StudyResults
from studies.records.trial_log import read_log
from studies.running.driver import Driver
from studies.running.engines import AbstractEngine, EngineName, n_cores, open_engine
from studies.running.fixed_trainings import FixedTraining, FixedTrainings
from studies.running.live_trial import Snapshot
from studies.running.stopping import StopRequest


def fresh_seed(pair: int) -> int:
    """Return the seed of a pair, from which its split, its initialisation and the order of its batches follow."""
    return int.from_bytes(hashlib.sha256(f"compare {pair}".encode()).digest()[:4])


def read_fresh(results: StudyResults, trial: int) -> dict[int, float | None]:
    """Return the value of each training of a trial's configuration that has ended, by pair; None if it failed.

    Raises:
        RecordError: if a log is damaged.
    """
    if results.folder is None:
        return {}
    folder, values = results.folder.compare, dict[int, float | None]()
    for log in folder.logs():
        number, pair = divmod(int(log.stem), MAX_PAIRS)
        training = read_log(log, results.record.compare_identity) if number == trial else None
        if training is not None and training.ending is not None:
            values[pair] = training.value if training.state == "complete" else None
    return values


def train_fresh(
    results: StudyResults,
    trials: Sequence[int],
    n_pairs: int,
    *,
    workers: int | None = None,
    engine: EngineName | AbstractEngine = "processes",
    data_dir: str | Path | None = None,
    on_change: Callable[[Snapshot], None] | None = None,
) -> bool:
    """Train the configurations of trials on the first pairs. Trainings that have ended are not repeated.

    Args:
        results: the study of the trials.
        trials: their numbers.
        n_pairs: the number of pairs, at most 100.
        workers: the number of worker processes; by default one per core. The result does not depend on it.
        engine: what computes the trainings, as in `run_study`.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.
        on_change: called with a snapshot of the progress after every event.

    Returns:
        Whether all trainings have ended. Otherwise a signal has stopped them, and the next call continues.

    Raises:
        ConfigError: if the data cannot be found, or has changed since the study.
        StudyLockedError: if a process runs the study.
    """
    folder = results.folder
    if folder is None:
        raise ConfigError(f'study "{results.name}" was not read from a folder, so its trials cannot be trained.')
    data = prepare_recorded(results, data_dir)
    trainings = [
        FixedTraining(
            trial * MAX_PAIRS + pair,
            results.config(trial).with_seed(fresh_seed(pair)),
            results.trial(trial).place.epoch_cost,
            {"trial": trial, "pair": pair},
        )
        for pair in range(n_pairs)  # so that an interrupted comparison has complete pairs
        for trial in trials
    ]
    with ExitStack() as stack:
        stack.enter_context(folder.lock())
        stop = stack.enter_context(StopRequest.on_signals(None))
        opened = open_engine(engine, workers or n_cores()) if isinstance(engine, str) else engine
        if isinstance(engine, str):
            stack.callback(opened.shutdown)
        ledger = FixedTrainings(
            trainings,
            folder.compare,
            results.metric,
            results.record.compare_identity,
            machine(),
            opened.n_workers,
            stage="compare",
        )
        return Driver(ledger, opened, data, on_change=on_change, should_stop=stop.is_due).run()
