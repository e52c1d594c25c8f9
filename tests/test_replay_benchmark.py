"""benchmarks/replay.py: replayed studies spend what a real one would, and their regret is computed as described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studies.search.pruners import Asha, Median, NoPruner, SuccessiveHalving
from studies.search.samplers import Random, Tpe
from studies.search.spec import StudySpec, make_spec

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
EPOCHS = 9


@pytest.fixture(name="modules", scope="module")
def modules_fixture() -> Any:
    """Return the modules of the benchmark, which are not in a package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import replay_curves
        import replay_report
        import replay_sets
        import replay_study

        class Modules:
            curves, report, sets, study = replay_curves, replay_report, replay_sets, replay_study

        yield Modules


@pytest.fixture(name="spec", scope="module")
def spec_fixture() -> StudySpec:
    return make_spec(
        {
            "study": {"name": "made-up", "metric": "validation/accuracy"},
            "base": {"data": {"name": "digits"}, "epochs": EPOCHS, "batch_size": 32, "optimizer": "adam"},
            "space": {
                "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
                "optimizer": ["adam", "sgd"],
                "optimizer.momentum": {"low": 0.0, "high": 0.8, "when": {"optimizer": "sgd"}},
            }
            | {"batch_size": [16, 32]},
        }
    )


@pytest.fixture(name="kept", scope="module")
def kept_fixture(modules: Any, spec: StudySpec) -> Any:
    """Return 40 made-up curves: each rises to a final value of its own; the last configuration diverges."""
    points = modules.curves.sample(spec, 40)
    curves = []
    for index, params in enumerate(points):
        final = 0.5 + 0.01 * ((7 * index) % 40)
        values = [final - 0.1 / epoch for epoch in range(1, EPOCHS)] + [final]
        cut = values[:2] if index == 39 else values
        curves.append(modules.curves.Curve(index, 0, params, cut, None, 1, 100 + index, 0.0))
    curves.append(modules.curves.Curve(3, 1, points[3], [1.0] * EPOCHS, None, 1, 103, 0.0))
    return modules.sets.KeptSet.of("made-up", spec, curves)


@pytest.mark.parametrize("sampler", [Random(), Tpe(startup_trials=3)], ids=["random", "tpe"])
@pytest.mark.parametrize("pruner", [NoPruner(), Median(), SuccessiveHalving(), Asha()], ids=lambda p: p.name)
def test_no_strategy_spends_more_than_its_budget_and_each_configuration_is_used_once(
    modules: Any, kept: Any, sampler: Any, pruner: Any
) -> None:
    strategy = modules.study.Strategy(sampler, pruner)
    outcome = modules.study.replay(kept, strategy, 8, 1)
    assert 7 * EPOCHS < outcome.n_epochs <= 8 * EPOCHS
    complete = [index for _, index in outcome.completed]
    assert 0 in complete  # base is trained to its end
    assert len(set(complete)) == len(complete) <= outcome.n_trials
    assert modules.study.replay(kept, strategy, 8, 1) == outcome


def test_a_script_spends_its_budget_in_full_and_loses_the_trial_that_is_cut_off(modules: Any, kept: Any) -> None:
    strategy = modules.study.Strategy(Random(), NoPruner(), is_script=True)
    outcome = modules.study.replay(kept, strategy, 4.5, 0)
    diverged = outcome.n_epochs - 4 * EPOCHS != 4
    assert outcome.n_trials == 5 + diverged
    assert all(spent <= outcome.n_epochs for spent, _ in outcome.completed)


def test_a_set_that_is_used_up_ends_the_study(modules: Any, kept: Any) -> None:
    outcome = modules.study.replay(kept, modules.study.Strategy(Random(), NoPruner()), 100, 0)
    assert outcome.n_trials == 40
    assert outcome.n_epochs == 39 * EPOCHS + 2
    assert outcome.regret(kept) == 0


def test_the_regret_of_a_study_without_pruning_never_rises(modules: Any, kept: Any) -> None:
    outcome = modules.study.Outcome(0, 0, [(9, 0), (18, 1), (27, 5), (36, 2), (45, 17)])
    regrets = [outcome.regret(kept, n_epochs) for n_epochs in range(0, 50, 9)]
    assert regrets[0] == 1  # nothing is complete
    assert regrets[1:] == sorted(regrets[1:], reverse=True)
    assert outcome.regret(kept) == regrets[-1]


def test_the_true_value_is_the_mean_over_trainings_and_that_of_a_diverged_one_is_the_worst(kept: Any) -> None:
    assert kept.truth[3] == pytest.approx((kept.curves[3].values[-1] + 1) / 2)
    assert kept.truth[39] == min(curve.values[-1] for curve in kept.curves[:39])
    assert kept.regret(kept.truth.index(kept.best)) == 0


def test_the_best_of_the_three_best_trials_by_its_true_value_is_the_choice(modules: Any, kept: Any) -> None:
    by_value = sorted(range(39), key=lambda index: -kept.curves[index].values[-1])
    chosen = modules.study.Outcome(0, 0, [(9, 3), (18, by_value[20]), (27, by_value[30]), (36, by_value[35])])
    first = max((3, by_value[20], by_value[30]), key=lambda index: kept.truth[index])
    assert chosen.pick(kept) == first


def test_the_distance_is_on_the_scale_of_each_parameter(modules: Any, spec: StudySpec) -> None:
    low = {"optimizer": "adam", "optimizer.learning_rate": 1e-4, "batch_size": 16}
    middle = low | {"optimizer.learning_rate": 1e-3}
    other = middle | {"optimizer": "sgd", "optimizer.momentum": 0.4}
    points = modules.sets.Points(spec.space, [low, middle, other])
    assert points.distances(low) == pytest.approx([0.0, 0.5, 2.5])
    assert points.distances(other | {"optimizer.momentum": 0.2}) == pytest.approx([2.5, 2.0, 0.25])


def test_the_bounds_compare_equal_regrets_at_different_budgets(modules: Any) -> None:
    results = modules.report.Results({})
    values = {"ours": {5: 0.4, 10: 0.2, 20: 0.1, 40: 0.0}, "random": {5: 1, 10: 0.8, 20: 0.5, 40: 0.2}}
    values["optuna"] = {5: 0.9, 10: 0.4, 20: 0.1, 40: 0.1}
    for strategy, by_budget in values.items():
        for budget, regret in by_budget.items():
            for kept, shift in (("a", -0.01), ("b", 0.01)):
                results.add(strategy, kept, budget, regret + shift)
    checked = modules.report.bounds(results, "ours", "random", "optuna")
    assert [holds for _, holds in checked] == [True, True, False, True]
    assert results.mean("ours", 5) == (pytest.approx(0.4), 0.0)


def test_curves_are_continued_where_they_were_cut_off(modules: Any, tmp_path: Path) -> None:
    file = tmp_path / "digits.jsonl"
    whole = '{"index": 0, "seed": 0, "params": {}, "values": [0.5], "test": 0.5, "n_parameters": 1, '
    whole += '"epoch_cost": 1, "seconds": 0.1}\n'
    file.write_text(whole + whole[:30], encoding="utf-8")
    assert [curve.index for curve in modules.curves.read_curves(file)] == [0]
