"""The contract of pruners: no trial is pruned too early, a bad one is pruned, a good one is not."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.samplers import RandomSampler

from mlp.errors import ConfigError
from studies.search.pruners import (
    AbstractPruner,
    Hyperband,
    Median,
    NoPruner,
    Patient,
    Percentile,
    SuccessiveHalving,
    Threshold,
    pruners,
)
from tests.study_data import STOPPING, small_study

EPOCHS = 8


def study_with(pruner: AbstractPruner, direction: str) -> optuna.Study:
    return optuna.create_study(direction=direction, pruner=pruner.build(EPOCHS), sampler=RandomSampler(seed=0))


def stopping(name: str, min_epochs: int, direction: str) -> AbstractPruner:
    """Return a pruner by name; a threshold is 0.5."""
    bound = {"lower": 0.5} if direction == "maximize" else {"upper": 0.5}
    return pruners.decode({"name": name, "min_epochs": min_epochs} | (bound if name == "threshold" else {}))


def run_trial(study: optuna.Study, curve: list[float]) -> int | None:
    """Report a curve, epochs counted from 1; return the epoch at which the trial was pruned, if it was."""
    trial = study.ask()
    for epoch, value in enumerate(curve, start=1):
        trial.report(value, epoch)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return epoch
    study.tell(trial, curve[-1])
    return None


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("min_epochs", [1, 2, 3, 5])
@pytest.mark.parametrize("name", STOPPING)
def test_no_trial_is_pruned_before_the_minimum_of_epochs(name: str, min_epochs: int, direction: str) -> None:
    dice = random.Random(min_epochs)
    study = study_with(stopping(name, min_epochs, direction), direction)
    levels = [dice.random() for _ in range(60)]
    pruned_at = [run_trial(study, [level + 0.1 * dice.random() for _ in range(EPOCHS)]) for level in levels]
    assert min(epoch for epoch in pruned_at if epoch is not None) == min_epochs


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", STOPPING)
def test_a_clearly_bad_trial_is_pruned_and_a_clearly_good_one_is_not(name: str, direction: str) -> None:
    sign = 1.0 if direction == "maximize" else -1.0
    study = study_with(stopping(name, 2, direction), direction)
    for number in range(12):
        run_trial(study, [sign * (0.5 + 0.01 * number + 0.01 * epoch) for epoch in range(EPOCHS)])
    assert run_trial(study, [sign * -1.0] * EPOCHS) in (2, 6)  # the first rung of a bracket of hyperband may be at 6
    assert run_trial(study, [sign * 2.0] * EPOCHS) is None


def test_the_pruner_none_lets_every_trial_finish() -> None:
    study = study_with(NoPruner(), "maximize")
    assert [run_trial(study, [-float(number)] * EPOCHS) for number in range(12)] == [None] * 12


def test_the_median_pruner_waits_for_complete_trials() -> None:
    study = study_with(Median(startup_trials=3, min_epochs=1), "maximize")
    assert [run_trial(study, [-float(number)] * EPOCHS) for number in range(6)] == [None, None, None, 1, 1, 1]


def test_successive_halving_keeps_one_in_factor_at_each_rung() -> None:
    study = study_with(SuccessiveHalving(min_epochs=1, factor=2), "maximize")
    values = random.Random(0).sample(range(1000), 200)
    pruned_at = [run_trial(study, [float(value)] * EPOCHS) for value in values]
    rungs = [epoch for epoch in pruned_at if epoch is not None]
    assert set(rungs) == {1, 2, 4, 8}
    past = [sum(epoch is None or epoch > rung for epoch in pruned_at) for rung in (1, 2, 4)]
    assert 80 <= past[0] <= 120
    assert past == sorted(past, reverse=True)


def test_a_percentile_of_75_prunes_the_worst_quarter() -> None:
    study = study_with(Percentile(percent=75, startup_trials=4), "maximize")
    pruned_at = [run_trial(study, [value] * EPOCHS) for value in (1.0, 2.0, 3.0, 4.0, 1.6, 1.8)]
    assert pruned_at == [None, None, None, None, 1, None]


def test_hyperband_has_a_bracket_for_each_first_rung() -> None:
    study = study_with(Hyperband(min_epochs=1, factor=2), "maximize")
    values = random.Random(0).sample(range(1000), 200)
    pruned_at = [run_trial(study, [float(value)] * EPOCHS) for value in values]
    by_rung = [pruned_at.count(rung) for rung in (1, 2, 4, 8)]
    assert sum(by_rung) + pruned_at.count(None) == 200
    successive = study_with(SuccessiveHalving(min_epochs=1, factor=2), "maximize")
    assert by_rung[0] < [run_trial(successive, [float(value)] * EPOCHS) for value in values].count(1)


def test_a_patient_pruner_waits_until_a_trial_has_stopped_improving() -> None:
    study = study_with(Patient(Threshold(lower=0.5), patience=2), "maximize")
    assert run_trial(study, [0.1, 0.2, 0.3, 0.4, 0.45, 0.46, 0.47, 0.48]) is None
    assert run_trial(study, [0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]) == 4
    assert run_trial(study, [0.9, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6]) is None


def test_patience_alone_prunes_a_trial_that_has_stopped_improving() -> None:
    study = study_with(Patient(patience=1), "minimize")
    assert run_trial(study, [0.4, 0.3, 0.35, 0.35, 0.3, 0.3, 0.3, 0.3]) == 4


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"name": "hyperband", "min_epochs": 9}, "min_epochs must be at most base.epochs = 8, got 9."),
        ({"name": "patient", "pruner": "asha"}, '"pruner": "asha" pauses trials, and "patient" needs a pruner that'),
        (
            {"name": "patient", "pruner": {"name": "hyperband", "min_epochs": 9}},
            '"pruner": min_epochs must be at most base.epochs = 8, got 9.',
        ),
    ],
)
def test_a_pruner_that_does_not_fit_the_study_is_an_error(value: object, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        small_study({"pruner": value}, {"epochs": EPOCHS})
    assert str(error.value).startswith(f'[study] "pruner": {problem}')


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("mean", 'there is no pruner called "mean".'),
        ({"name": "median", "min_epochs": 0}, '"min_epochs": must be at least 1, got 0.'),
        ({"name": "successive_halving", "factor": 1}, '"factor": must be at least 2, got 1.'),
        ("threshold", 'needs lower, upper, or both, such as { name = "threshold", lower = 0.5 }.'),
        ({"name": "threshold", "lower": 2, "upper": 1}, "lower must not be above upper, got lower = 2.0"),
        ({"name": "percentile", "percent": 100}, '"percent": must be above 0 and below 100, got 100'),
        ({"name": "patient", "pruner": "mean"}, '"pruner": there is no pruner called "mean".'),
        ({"name": "none", "min_epochs": 1}, '"min_epochs": is not a field of the pruner "none".'),
    ],
)
def test_an_unknown_name_or_a_wrong_option_is_an_error(value: object, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        pruners.decode(value)
    assert str(error.value).startswith(problem)
