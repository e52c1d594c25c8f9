"""The contract of samplers and pruners: each builds, seeds decide, no trial is given up too soon, a bad one is."""

from __future__ import annotations

import random

import optuna
import pytest

from mlp.errors import ConfigError
from mlp.records import field_types
from studies.search.pruners import (
    AbstractPruner,
    Median,
    NoPruner,
    SuccessiveHalving,
    pruners,
)
from studies.search.samplers import AbstractSampler, Tpe, samplers

EPOCHS = 8
PATIENT = [name for name in pruners if "min_epochs" in field_types(pruners.lookup(name))]


def suggestions(
    sampler: AbstractSampler, seed: int, *, parallelism: int = 1, trials: int = 15
) -> list[dict[str, float]]:
    """Return what a sampler, made anew for each trial as a study does, suggests on a fixed surface."""
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        study.sampler = sampler.build(seed + number, parallelism)
        trial = study.ask()
        x, kind = trial.suggest_float("x", 0.0, 1.0), trial.suggest_categorical("kind", ["a", "b"])
        study.tell(trial, -((x - 0.3) ** 2) + (kind == "a"))
    return [trial.params for trial in study.trials]


def study_with(pruner: AbstractPruner, direction: str) -> optuna.Study:
    return optuna.create_study(
        direction=direction, pruner=pruner.build(), sampler=samplers.decode("random").build(0, 1)
    )


def run_trial(study: optuna.Study, curve: list[float]) -> int | None:
    """Report a curve, epochs counted from 1; return the epoch at which the trial was given up."""
    trial = study.ask()
    for epoch, value in enumerate(curve, start=1):
        trial.report(value, epoch)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return epoch
    study.tell(trial, curve[-1])
    return None


@pytest.mark.parametrize("name", list(samplers))
def test_a_sampler_suggests_the_same_for_the_same_seed_and_something_else_for_another(name: str) -> None:
    sampler = samplers.decode(name)
    assert suggestions(sampler, 1) == suggestions(sampler, 1)
    assert suggestions(sampler, 1) != suggestions(sampler, 100)


@pytest.mark.parametrize("name", list(samplers))
@pytest.mark.parametrize("parallelism", [1, 4])
def test_a_sampler_suggests_while_other_trials_run(name: str, parallelism: int) -> None:
    study = optuna.create_study()
    for number in range(16):
        study.sampler = samplers.decode(name).build(number, parallelism)
        trial = study.ask()
        assert 1e-4 <= trial.suggest_float("x", 1e-4, 1.0, log=True) <= 1.0
        if number % 3:
            study.tell(trial, number)


def test_tpe_learns_after_its_startup_trials_only() -> None:
    def good(sampler: AbstractSampler) -> int:
        return sum(params["kind"] == "a" for params in suggestions(sampler, 5, trials=40)[10:])

    assert suggestions(Tpe(startup_trials=15), 5) == suggestions(Tpe(startup_trials=50), 5)
    assert good(samplers.decode("random")) <= 20 < 23 <= good(Tpe(startup_trials=4))


def test_trials_that_run_keep_tpe_from_suggesting_the_same_again() -> None:
    """With a constant liar running trials count as bad ones, so suggestions at one moment differ more."""
    spread = {}
    for parallelism in (1, 8):
        study = optuna.create_study()
        for number in range(20):
            study.sampler = Tpe(startup_trials=5).build(number, parallelism)
            trial = study.ask()
            study.tell(trial, (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2)
        asked = []
        for number in range(20, 28):
            study.sampler = Tpe(startup_trials=5).build(number, parallelism)
            asked.append(study.ask().suggest_float("x", 0.0, 1.0))
        spread[parallelism] = max(asked) - min(asked)
    assert spread[8] > spread[1]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("min_epochs", [1, 2, 3, 5])
@pytest.mark.parametrize("name", PATIENT)
def test_no_trial_is_given_up_before_its_least_epochs(name: str, min_epochs: int, direction: str) -> None:
    dice = random.Random(min_epochs)
    study = study_with(pruners.decode({"name": name, "min_epochs": min_epochs}), direction)
    levels = [dice.random() for _ in range(60)]
    pruned_at = [run_trial(study, [level + 0.1 * dice.random() for _ in range(EPOCHS)]) for level in levels]
    assert min(epoch for epoch in pruned_at if epoch is not None) == min_epochs


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", [name for name in pruners if name != "none"])
def test_a_clearly_bad_trial_is_given_up_and_a_clearly_good_one_is_not(name: str, direction: str) -> None:
    sign = 1.0 if direction == "maximize" else -1.0
    study = study_with(pruners.decode({"name": name, "min_epochs": 2}), direction)
    for number in range(12):
        run_trial(study, [sign * (0.5 + 0.01 * number + 0.01 * epoch) for epoch in range(EPOCHS)])
    assert run_trial(study, [sign * -1.0] * EPOCHS) == 2
    assert run_trial(study, [sign * 2.0] * EPOCHS) is None


def test_without_a_pruner_every_trial_runs_to_its_end() -> None:
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


@pytest.mark.parametrize(
    ("family", "value", "problem"),
    [
        (samplers, "tpf", 'there is no sampler called "tpf". Did you mean "tpe"? Available: random, tpe'),
        (samplers, {"name": "tpe", "startup_trials": 0}, '"startup_trials": must be at least 1, got 0.'),
        (pruners, "mean", 'there is no pruner called "mean".'),
        (pruners, {"name": "median", "min_epochs": 0}, '"min_epochs": must be at least 1, got 0.'),
        (pruners, {"name": "successive_halving", "factor": 1}, '"factor": must be at least 2, got 1.'),
        (pruners, {"name": "none", "min_epochs": 1}, '"min_epochs": is not a field of the pruner "none".'),
    ],
)
def test_what_cannot_be_built_is_refused(family: object, value: object, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        family.decode(value)
    assert str(error.value).startswith(problem)
