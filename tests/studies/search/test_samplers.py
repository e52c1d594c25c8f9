"""The contract of samplers and pruners: the seed decides, no trial is pruned too early, and a bad one is pruned."""

from __future__ import annotations

import random

import optuna
import pytest

from mlp.errors import ConfigError
from studies.search.pruners import AbstractPruner, Median, NoPruner, SuccessiveHalving, pruners
from studies.search.samplers import AbstractSampler, Tpe, samplers, trial_seed
from tests.study_data import STOPPING

EPOCHS = 8


def suggestions(
    sampler: AbstractSampler, seed: int, *, parallelism: int = 1, trials: int = 15
) -> list[dict[str, float]]:
    """Return what a sampler suggests on a fixed surface; it is built for each trial, as in a study."""
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        study.sampler = sampler.build(seed, number, parallelism)
        trial = study.ask()
        x, kind = trial.suggest_float("x", 0.0, 1.0), trial.suggest_categorical("kind", ["a", "b"])
        study.tell(trial, -((x - 0.3) ** 2) + (kind == "a"))
    return [trial.params for trial in study.trials]


def study_with(pruner: AbstractPruner, direction: str) -> optuna.Study:
    return optuna.create_study(
        direction=direction, pruner=pruner.build(), sampler=samplers.decode("random").build(0, 0, 1)
    )


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


@pytest.mark.parametrize("name", list(samplers))
def test_the_seed_of_the_study_decides_what_a_sampler_suggests(name: str) -> None:
    sampler = samplers.decode(name)
    assert suggestions(sampler, 1) == suggestions(sampler, 1)
    assert suggestions(sampler, 1) != suggestions(sampler, 100)


def test_trials_have_independent_seeds() -> None:
    seeds = [trial_seed(study, trial) for study in range(20) for trial in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert trial_seed(0, 1) == 673228719  # recorded trial tables depend on it


@pytest.mark.parametrize("name", list(samplers))
@pytest.mark.parametrize("parallelism", [1, 4])
def test_a_sampler_suggests_while_other_trials_are_running(name: str, parallelism: int) -> None:
    study = optuna.create_study()
    for number in range(16):
        study.sampler = samplers.decode(name).build(0, number, parallelism)
        trial = study.ask()
        assert 1e-4 <= trial.suggest_float("x", 1e-4, 1.0, log=True) <= 1.0
        if number % 3:
            study.tell(trial, number)


def test_tpe_starts_to_learn_after_its_startup_trials() -> None:
    def good(sampler: AbstractSampler) -> int:
        return sum(params["kind"] == "a" for params in suggestions(sampler, 5, trials=40)[10:])

    assert suggestions(Tpe(startup_trials=15), 5) == suggestions(Tpe(startup_trials=50), 5)
    assert good(samplers.decode("random")) <= 20 < 23 <= good(Tpe(startup_trials=4))


def test_tpe_avoids_what_running_trials_try() -> None:
    """With a constant liar, running trials count as bad ones, so simultaneous suggestions differ more."""
    spread = {}
    for parallelism in (1, 8):
        study = optuna.create_study()
        for number in range(20):
            study.sampler = Tpe(startup_trials=5).build(0, number, parallelism)
            trial = study.ask()
            study.tell(trial, (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2)
        asked = []
        for number in range(20, 28):
            study.sampler = Tpe(startup_trials=5).build(0, number, parallelism)
            asked.append(study.ask().suggest_float("x", 0.0, 1.0))
        spread[parallelism] = max(asked) - min(asked)
    assert spread[8] > spread[1]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("min_epochs", [1, 2, 3, 5])
@pytest.mark.parametrize("name", STOPPING)
def test_no_trial_is_pruned_before_the_minimum_of_epochs(name: str, min_epochs: int, direction: str) -> None:
    dice = random.Random(min_epochs)
    study = study_with(pruners.decode({"name": name, "min_epochs": min_epochs}), direction)
    levels = [dice.random() for _ in range(60)]
    pruned_at = [run_trial(study, [level + 0.1 * dice.random() for _ in range(EPOCHS)]) for level in levels]
    assert min(epoch for epoch in pruned_at if epoch is not None) == min_epochs


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", STOPPING)
def test_a_clearly_bad_trial_is_pruned_and_a_clearly_good_one_is_not(name: str, direction: str) -> None:
    sign = 1.0 if direction == "maximize" else -1.0
    study = study_with(pruners.decode({"name": name, "min_epochs": 2}), direction)
    for number in range(12):
        run_trial(study, [sign * (0.5 + 0.01 * number + 0.01 * epoch) for epoch in range(EPOCHS)])
    assert run_trial(study, [sign * -1.0] * EPOCHS) == 2
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


@pytest.mark.parametrize(
    ("family", "value", "problem"),
    [
        (samplers, "tpf", 'there is no sampler called "tpf". Did you mean "tpe"? Available: '),
        (samplers, {"name": "tpe", "startup_trials": 0}, '"startup_trials": must be at least 1, got 0.'),
        (pruners, "mean", 'there is no pruner called "mean".'),
        (pruners, {"name": "median", "min_epochs": 0}, '"min_epochs": must be at least 1, got 0.'),
        (pruners, {"name": "successive_halving", "factor": 1}, '"factor": must be at least 2, got 1.'),
        (pruners, {"name": "none", "min_epochs": 1}, '"min_epochs": is not a field of the pruner "none".'),
    ],
)
def test_an_unknown_name_or_a_wrong_option_is_an_error(family: object, value: object, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        family.decode(value)
    assert str(error.value).startswith(problem)
