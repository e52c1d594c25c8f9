"""What a study decides: budgets, pauses, promotions, and when the search ends. No training is needed for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState

from studies.records.limits import Limits
from studies.running.decisions import Decisions
from tests.study_data import small_study

EPOCHS = 9
ASHA = {"name": "asha", "min_epochs": 1, "factor": 3, "finish": 0.0}


class Simulation:
    """A study whose trials have given learning curves: trial n reaches `levels[n]`, one trial at a time.

    Attributes:
        epochs: the epochs that each trial has trained, by number.
        ended: how each trial that is not paused ended.
    """

    def __init__(self, levels: list[float], study: dict[str, Any], **limits: Any) -> None:
        settings = {"pruner": ASHA, "sampler": "random", "trials": None, "budget": 100.0} | study
        spec = small_study(settings, {"epochs": EPOCHS})
        self.decisions = Decisions(spec, replace(spec.limits, **limits))
        self.levels = levels
        self.epochs: dict[int, int] = {}
        self.ended: dict[int, str] = {}

    def step(self) -> int | None:
        """Start a trial and train it until it gives up its slot; return its number, or None if none may start."""
        number = self.decisions.next_start()
        if number is None:
            return None
        if number == self.decisions.n_asked:
            self.decisions.begin(self.decisions.ask(), EPOCHS)
            self.epochs[number] = 0
        else:
            self.decisions.promote(number)
        level = self.levels[number % len(self.levels)]
        while True:
            self.epochs[number] += 1
            is_last = self.epochs[number] == EPOCHS
            verdict = self.decisions.report(number, level + 0.001 * self.epochs[number], is_last=is_last)
            if is_last:
                self.decisions.end(number, TrialState.COMPLETE, level)
                self.ended[number] = "complete"
                return number
            if verdict == "pause":
                return number

    def run(self) -> list[int]:
        """Start trials until none may start; return their numbers in order."""
        started: list[int] = []
        while (number := self.step()) is not None:
            started.append(number)
        return started


def test_a_trial_pauses_at_each_rung_and_base_never_does() -> None:
    study = Simulation([0.5, 0.1, 0.2, 0.3], {}, epochs=None, trials=4)
    assert [study.step() for _ in range(4)] == [0, 1, 2, 3]
    assert study.epochs == {0: EPOCHS, 1: 1, 2: 1, 3: 1}
    assert study.decisions.paused == [1, 2, 3]


def test_a_trial_in_the_best_third_is_promoted_before_a_new_one_is_asked() -> None:
    study = Simulation([0.0, 0.9, 0.1, 0.2], {}, epochs=None, trials=50)
    assert [study.step() for _ in range(5)] == [0, 1, 2, 1, 3]  # at three values, base's among them, one is promoted
    assert study.epochs[1] == 3


def test_a_promoted_trial_stops_at_the_next_rung_and_at_last_at_its_end() -> None:
    levels = [0.0] + [0.01 * n for n in range(1, 40)]
    study = Simulation(levels, {}, epochs=None, trials=40)
    study.run()
    assert set(study.epochs.values()) == {1, 3, EPOCHS}
    assert [number for number in study.ended if number > 0] != []
    assert study.decisions.next_start() is None


@pytest.mark.parametrize("finish", [0.0, 0.3])
@pytest.mark.parametrize("budget", [3, 5, 12])
def test_the_budget_is_never_exceeded_and_nearly_used(budget: int, finish: float) -> None:
    study = Simulation([0.3, 0.8, 0.1, 0.5, 0.7], {"budget": float(budget), "pruner": ASHA | {"finish": finish}})
    study.run()
    spent = sum(study.epochs.values())
    assert spent == study.decisions.n_epochs
    assert budget * EPOCHS - EPOCHS < spent <= budget * EPOCHS


def test_a_share_of_the_budget_is_kept_for_the_best_paused_trials() -> None:
    levels = [0.5 + 0.3 * (n * 37 % 100) / 100 for n in range(200)]
    without = Simulation(levels, {"budget": 8.0, "pruner": ASHA | {"finish": 0.0}})
    kept = Simulation(levels, {"budget": 8.0, "pruner": ASHA | {"finish": 0.5}})
    without.run()
    kept.run()
    assert len(kept.epochs) < len(without.epochs)
    assert len(kept.ended) > len(without.ended)


def test_trials_wait_at_their_last_rung_until_no_more_are_asked_unless_complete_ones_are_needed() -> None:
    levels = [0.5 + 0.3 * (n * 37 % 100) / 100 for n in range(200)]
    study = {"budget": 12.0, "pruner": ASHA | {"finish": 0.5}}
    order = Simulation(levels, study).run()
    last_asked = order.index(max(order))
    waiting = Simulation(levels, study)
    for _ in range(last_asked + 1):
        waiting.step()
    assert list(waiting.ended) == [0]
    waiting.run()
    assert len(waiting.ended) > 3
    impatient = Simulation(levels, study | {"target": 1.0})
    for _ in range(last_asked + 1):
        impatient.step()
    assert len(impatient.ended) > 1


def test_what_is_left_when_all_paused_trials_are_complete_is_spent_on_new_ones() -> None:
    study = Simulation([0.3, 0.8], {"budget": 4.0, "pruner": ASHA | {"finish": 0.7}})
    assert study.run() == [0, 1, 1, 2, 2, 3, 3]  # the search ends with base, which takes up its share
    assert set(study.ended) == {0, 1, 2, 3}


def test_without_a_budget_only_promotable_trials_are_finished() -> None:
    study = Simulation([0.5, 0.4, 0.3, 0.2, 0.1], {"trials": 5, "budget": None}, epochs=None)
    study.run()
    assert study.ended == {0: "complete"}
    assert study.decisions.paused == [1, 2, 3, 4]


def test_without_rungs_a_trial_is_asked_only_if_a_training_fits_into_the_budget() -> None:
    study = Simulation([0.5], {"pruner": "none", "budget": 3.5})
    assert study.run() == [0, 1, 2]


def test_the_search_ends_at_the_target() -> None:
    study = Simulation([0.1, 0.2, 0.95, 0.3], {"pruner": "none", "target": 0.9})
    assert study.run() == [0, 1, 2]
    assert study.decisions.is_over


def test_no_more_trials_are_asked_when_nothing_better_was_found_for_a_while() -> None:
    study = Simulation([0.5, 0.6, 0.1, 0.1, 0.1, 0.9], {"pruner": "none", "patience": 3})
    assert study.run() == [0, 1, 2, 3, 4]
    assert not study.decisions.is_over


def test_a_search_whose_time_is_over_starts_nothing() -> None:
    study = Simulation([0.5, 0.4], {})
    study.step()
    study.decisions.limits = Limits(is_over=True)
    assert study.run() == []


def test_the_sampler_sees_a_paused_trial_as_pruned_and_a_promoted_one_as_running() -> None:
    study = Simulation([0.0, 0.9, 0.1], {}, epochs=None, trials=3)
    study.step()
    study.step()
    view = study.decisions._view
    assert (view._trials[1].state, view._trials[1].value) == (TrialState.PRUNED, pytest.approx(0.901))
    study.step()
    assert study.decisions.next_start() == 1
    study.decisions.promote(1)
    assert (view._trials[1].state, view._trials[1].value) == (TrialState.RUNNING, None)


def test_a_diverged_trial_counts_as_the_worst_at_the_rung_it_did_not_reach() -> None:
    study = Simulation([0.1], {}, epochs=None, trials=9)
    study.step()
    decisions = study.decisions
    for _ in range(2):
        decisions.begin(trial := decisions.ask(), EPOCHS)
        decisions.end(trial.number, TrialState.PRUNED, None)
    study.levels = [0.5]
    assert [study.step(), study.step()] == [3, 3]  # the best of four, so it is promoted at once


@pytest.mark.parametrize(("base_width", "n_trials"), [(8, 4), (5, 5)])
def test_no_trial_is_asked_when_every_point_of_a_grid_has_been_tried(base_width: int, n_trials: int) -> None:
    """Base is one of the points, or comes before them."""
    space = {"network.activation": ["relu", "tanh"], "network.hidden": [[8], [16]]}
    spec = small_study({"sampler": "grid", "trials": 100}, {"network": {"hidden": [base_width]}}, space)
    decisions = Decisions(spec, spec.limits)
    asked = []
    while decisions.next_start() is not None:
        trial = decisions.ask()
        decisions.begin(trial, EPOCHS)
        asked.append(str(trial.params))
    assert len(set(asked)) == len(asked) == n_trials
