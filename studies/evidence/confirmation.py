"""The confirmation of a study's winner: the best configurations and base, trained again on fresh seeds and splits.

The result is a pure function of the study and of the logs of these trainings, so a confirmation that was interrupted
continues where it was, and readers need nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from studies.evidence.pareto import PICKS, pick
from studies.evidence.statistics import overlap_of
from studies.evidence.verdict import Candidate, Role, Verdict, judge, missing
from studies.records.results import StudyResults, rank
from studies.records.trial_log import read_log
from studies.records.trial_record import TrialRecord
from studies.running.driver import Driver
from studies.running.fixed_trainings import FixedTraining, FixedTrainings
from studies.search.confirm_config import ConfirmConfig
from studies.search.seedless import seedless_key

MAX_PAIRS = 100  # the number of a training is 100 times the number of its trial plus the number of its pair


@dataclass(frozen=True)
class Confirmation:
    """The state of a confirmation.

    Attributes:
        candidates: the configurations that are compared, with their values so far.
        missing: the trainings to run next, as (trial, pair); empty if the confirmation is complete.
        verdict: the result; None if the confirmation is not complete, or if every candidate has failed.
    """

    candidates: tuple[Candidate, ...]
    missing: tuple[tuple[int, int], ...]
    verdict: Verdict | None

    @property
    def is_complete(self) -> bool:
        """Whether no training is missing."""
        return not self.missing

    @property
    def n_trainings(self) -> int:
        """The number of trainings that have ended."""
        return sum(len(candidate.values) for candidate in self.candidates)

    @property
    def base(self) -> Candidate:
        """Base, with which the others are compared."""
        return next(candidate for candidate in self.candidates if candidate.role == "base")

    def candidate(self, trial: int) -> Candidate:
        """Return the candidate that a trial found."""
        return next(candidate for candidate in self.candidates if candidate.trial == trial)


def confirm_config(results: StudyResults) -> ConfirmConfig:
    """Return the section [confirm] of a study."""
    return ConfirmConfig.from_mapping(results.record.confirm)


def pair_seed(study_seed: int, pair: int) -> int:
    """Return the seed of a pair, from which its split, its initialisation and the order of its batches follow."""
    digest = hashlib.sha256(f"confirm {study_seed} {pair}".encode()).digest()
    return int.from_bytes(digest[:4])


def training_of(results: StudyResults, trial: int, pair: int) -> FixedTraining:
    """Return the training of a trial's configuration on a pair."""
    seed = pair_seed(int(results.record.study["seed"]), pair)
    config = results.config(trial).with_seed(seed)
    cost = results.trial(trial).place.epoch_cost
    return FixedTraining(trial * MAX_PAIRS + pair, config, cost, {"trial": trial, "pair": pair})


def read_training(results: StudyResults, trial: int, pair: int) -> TrialRecord | None:
    """Return the training of a trial's configuration on a pair as far as it is logged; None before it has started.

    Raises:
        RecordError: if its log is damaged.
    """
    if results.folder is None:
        return None
    return read_log(results.folder.confirm.log(trial * MAX_PAIRS + pair), results.record.confirm_identity)


def read_confirmation(results: StudyResults) -> Confirmation | None:
    """Return the confirmation of a study so far; None if it has none, or its search is not complete.

    Raises:
        RecordError: if a log is damaged.
    """
    config = confirm_config(results)
    if not config.enabled or not results.is_complete or not results.record.confirm:
        return None
    candidates = list(_candidates(results, config))
    for candidate in candidates:
        for pair in range(config.seeds):
            trial = read_training(results, candidate.trial, pair)
            if trial is not None and trial.ending is not None:
                candidate.values[pair] = trial.value if trial.state == "complete" else None
    sign = 1.0 if results.direction == "maximize" else -1.0
    todo = missing(candidates, config, sign=sign)
    verdict = None if todo else judge(candidates, config, sign=sign, overlap=overlap_in(results))
    return Confirmation(tuple(candidates), tuple(todo), verdict)


def confirm_winner(
    results: StudyResults,
    machine: Mapping[str, str],
    parallelism: int,
    run: Callable[[FixedTrainings], Driver],
) -> Confirmation | None:
    """Run the missing trainings, stage by stage; return the confirmation, which is incomplete after a stop.

    Args:
        results: the study, as read from its folder.
        machine: the machine that computes, as logs name it.
        parallelism: how many trainings run at the same time; the result does not depend on it.
        run: returns a driver for the trainings of a stage.
    """
    while True:
        confirmation = read_confirmation(results)
        if confirmation is None or confirmation.is_complete or results.folder is None:
            return confirmation
        trainings = [training_of(results, trial, pair) for trial, pair in confirmation.missing]
        folder, identity = results.folder.confirm, results.record.confirm_identity
        stage = FixedTrainings(trainings, folder, results.metric, identity, machine, parallelism, stores_weights=True)
        if not run(stage).run():
            return read_confirmation(results)


def _candidates(results: StudyResults, config: ConfirmConfig) -> Iterator[Candidate]:
    """Yield base, the best other configurations, and the best one that was pruned; none of them twice.

    With a second objective, the best ones are the picks of the Pareto front: best, knee and cheapest. Otherwise, a
    configuration that was trained several times, with different seeds, is ranked by the mean of its values. Its
    candidate is the best of these trials.
    """
    pruned = [trial for trial in results.trials if trial.was_cut_short]
    pruned.sort(key=lambda trial: rank(results.metric, trial.number, trial.value or 0.0))
    groups: list[tuple[Role, Sequence[TrialRecord], int]] = [
        ("base", results.trials[:1], 1),
        ("best", _leaders(results), config.top),
        ("pruned", pruned, 1),
    ]
    found = set()
    for role, trials, most in groups:
        n_found = 0
        for trial in trials:
            key = seedless_key(trial.config)
            if n_found < most and key not in found:
                found.add(key)
                n_found += 1
                yield Candidate(trial.number, role, trial.value, trial.place.epoch_cost * int(trial.config["epochs"]))


def _leaders(results: StudyResults) -> list[TrialRecord]:
    """Return the trials of which the first ones are confirmed."""
    if results.second_objective is None or results.best is None:
        return _ranked_by_mean(results.metric, results.ranked())
    return [results.trial(pick(results, which)) for which in PICKS]


def _ranked_by_mean(metric: str, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the best trial of each configuration, the one with the best mean value first.

    Args:
        metric: the metric of the values.
        trials: complete trials, best first.
    """
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        groups.setdefault(seedless_key(trial.config), []).append(trial)

    def place(group: list[TrialRecord]) -> tuple[float, int]:
        return rank(metric, group[0].number, float(np.mean([trial.value for trial in group])))

    return [group[0] for group in sorted(groups.values(), key=place)]


def overlap_in(results: StudyResults) -> float:
    """Return the share of overlap of the splits of a study, as `studies.evidence.statistics.compare` takes it."""
    data, config = results.record.data, results.config(0).data
    is_drawn = not isinstance(config.validation, str) and not config.order
    return overlap_of(data.n_train, data.n_validation, len(config.by_fold()), is_drawn=is_drawn)


def mean_of(candidate: Candidate) -> float:
    """Return the mean of a candidate's values; NaN if it has none."""
    values = [value for value in candidate.values.values() if value is not None]
    return float(np.mean(values)) if values else float("nan")
