"""The contract of samplers: the seed decides, and a finite space ends."""

from __future__ import annotations

import sys
from typing import Any

import optuna
import pytest

from mlp.errors import ConfigError
from studies.search.points import Points, point_key
from studies.search.samplers import (
    AbstractSampler,
    Auto,
    BruteForce,
    Gp,
    Grid,
    Random,
    Tpe,
    samplers,
    trial_seed,
)
from tests.studies.search.sampler_data import (
    CONDITIONAL,
    CONDITIONAL_FINITE,
    FLAT,
    FLAT_FINITE,
    SAMPLERS,
    space_of,
    suitable,
)
from tests.study_data import small_study


def suggestions(
    sampler: AbstractSampler, seed: int, *, parallelism: int = 1, trials: int = 15
) -> list[dict[str, float]]:
    """Return what a sampler suggests on a fixed surface; it is built for each trial, as in a study."""
    space = space_of(suitable(sampler, FLAT, FLAT_FINITE))
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        study.sampler = sampler.build(space, seed, number, parallelism)
        trial = study.ask()
        params = space.suggest(trial)
        study.tell(trial, -((2 * params["network.dropout"] - 0.3) ** 2) + (params["network.activation"] == "relu"))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_of_the_study_decides_what_a_sampler_suggests(name: str) -> None:
    sampler = samplers.decode(name)
    assert suggestions(sampler, 1) == suggestions(sampler, 1)
    assert suggestions(sampler, 1) != suggestions(sampler, 100)


def test_trials_have_independent_seeds() -> None:
    seeds = [trial_seed(study, trial) for study in range(20) for trial in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert trial_seed(0, 1) == 673228719  # recorded trial tables depend on it


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("parallelism", [1, 4])
def test_a_sampler_suggests_while_other_trials_are_running(name: str, parallelism: int) -> None:
    sampler = samplers.decode(name)
    space = space_of(suitable(sampler, CONDITIONAL, CONDITIONAL_FINITE))
    study = optuna.create_study()
    for number in range(16):
        study.sampler = sampler.build(space, 0, number, parallelism)
        trial = study.ask()
        assert space.configure(space.suggest(trial)).network.dropout <= 0.5
        if number % 3:
            study.tell(trial, number)


def test_tpe_starts_to_learn_after_its_startup_trials() -> None:
    def good(sampler: AbstractSampler) -> int:
        return sum(params["network.activation"] == "relu" for params in suggestions(sampler, 7, trials=40)[10:])

    assert suggestions(Tpe(startup_trials=15), 5) == suggestions(Tpe(startup_trials=50), 5)
    assert good(samplers.decode("random")) <= 20 < 23 <= good(Tpe(startup_trials=4))


def test_tpe_avoids_what_running_trials_try() -> None:
    """With a constant liar, running trials count as bad ones, so simultaneous suggestions differ more."""
    spread = {}
    space = space_of({"network.dropout": {"low": 0.0, "high": 0.5}})
    for parallelism in (1, 8):
        study = optuna.create_study()
        for number in range(20):
            study.sampler = Tpe(startup_trials=5).build(space, 0, number, parallelism)
            trial = study.ask()
            study.tell(trial, (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2)
        asked = []
        for number in range(20, 28):
            study.sampler = Tpe(startup_trials=5).build(space, 0, number, parallelism)
            asked.append(study.ask().suggest_float("x", 0.0, 1.0))
        spread[parallelism] = max(asked) - min(asked)
    assert spread[8] > spread[1]


FINITE = [name for name in samplers if samplers.decode(name).most_trials(space_of(FLAT_FINITE)) is not None]


@pytest.mark.parametrize("name", FINITE)
def test_a_finite_sampler_tries_every_configuration_once(name: str) -> None:
    sampler = samplers.decode(name)
    asked = suggestions(sampler, 0, trials=22)
    assert len({repr(sorted(params.items())) for params in asked}) == 22
    assert sampler.most_trials(space_of(FLAT_FINITE), given=()) == 22


def test_the_points_of_a_space_are_counted_as_they_are_listed() -> None:
    for table, n_values in ((FLAT_FINITE, None), (CONDITIONAL_FINITE, None), (CONDITIONAL, 3), (FLAT, 2)):
        points = Points(space_of(table), n_values)
        listed = list(points)
        assert points.count() == len(listed) == len({point_key(point) for point in listed})
        assert all(point in points for point in listed)
    assert Points(space_of(CONDITIONAL_FINITE)).count() == 3 * 2 * (1 + 3)
    assert Points(space_of(FLAT)).endless == ["network.dropout"]


def test_trials_that_are_given_count_once() -> None:
    space, on_point = space_of(FLAT_FINITE), {"network.dropout": 0.25, "network.activation": "relu"}
    assert Grid().most_trials(space, [on_point]) == 22
    assert Grid().most_trials(space, [on_point, on_point]) == 23
    assert Grid().most_trials(space, [None]) == 23
    assert Grid(points=3).most_trials(space_of(FLAT), [on_point]) == 6
    assert Grid(points=2).most_trials(space_of(FLAT), [on_point]) == 5
    assert Random().most_trials(space, [on_point]) is None


def test_a_grid_has_the_ends_of_each_range() -> None:
    points = list(Points(space_of(CONDITIONAL), 3))
    assert {point["network.dropout"] for point in points} == {0.0, 0.25, 0.5}
    rates = sorted({point["optimizer.learning_rate"] for point in points})
    assert (rates[0], rates[-1]) == (1e-4, 0.3)
    assert rates[1] == pytest.approx((1e-4 * 0.3) ** 0.5)


@pytest.mark.parametrize(
    ("sampler", "table", "problem"),
    [
        (Grid(), FLAT, 'the sampler "grid" needs a finite space, but "network.dropout" has no step. Give it a step'),
        (BruteForce(), FLAT, 'the sampler "brute_force" needs a finite space, but "network.dropout" has no step.'),
        (
            Grid(),
            {"batch_size": {"low": 1, "high": 1000}, "epochs": {"low": 1, "high": 1000}},
            'the sampler "grid" may have at most 100000 points, and this space has 1000000.',
        ),
    ],
)
def test_a_space_that_a_sampler_cannot_search_is_an_error(sampler: AbstractSampler, table: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        sampler.check(space_of(table))
    assert str(error.value).startswith(problem)


def test_a_sampler_is_checked_when_the_study_file_is_read() -> None:
    with pytest.raises(ConfigError, match=r'^\[study\] "sampler": the sampler "grid" needs a finite space'):
        small_study({"sampler": "grid"})


@pytest.mark.parametrize("package", ["torch", "greenlet"])
def test_a_gaussian_process_without_its_packages_is_an_error(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match="needs PyTorch and greenlet: pip install torch greenlet"):
        Gp().check(space_of(FLAT))


@pytest.mark.slow
def test_a_gaussian_process_leaves_the_number_of_threads_as_it_was() -> None:
    torch = pytest.importorskip("torch")
    n_threads = torch.get_num_threads()
    suggestions(Gp(startup_trials=3), 0, trials=5)
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize(
    ("table", "resolved"),
    [(FLAT, Tpe()), (FLAT_FINITE, Tpe()), ({"network.activation": ["relu", "tanh"]}, Grid())],
)
def test_auto_is_a_grid_for_small_spaces_only(table: Any, resolved: AbstractSampler) -> None:
    assert Auto().resolve(space_of(table)) == resolved


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("tpf", 'there is no sampler called "tpf". Did you mean "tpe"? Available: '),
        ({"name": "tpe", "startup_trials": 0}, '"startup_trials": must be at least 1, got 0.'),
        ({"name": "tpe", "candidates": 0}, '"candidates": must be at least 1, got 0.'),
        ({"name": "grid", "points": 1}, '"points": must be at least 2 and at most 1000, got 1.'),
        ({"name": "nsga2", "population": 1}, '"population": must be at least 2, got 1.'),
    ],
)
def test_an_unknown_name_or_a_wrong_option_is_an_error(value: object, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        samplers.decode(value)
    assert str(error.value).startswith(problem)
