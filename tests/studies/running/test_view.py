"""The study as sampler and pruner see it: samplers that are built for each trial behave like one kept for all trials.

The reference is an in-memory study of Optuna, in which a single sampler is kept for all trials.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from studies.running.view import StudyView
from studies.search.pruners import pruners
from studies.search.samplers import AbstractSampler, CmaEs, Grid, Nsga2, QuasiRandom, Tpe, samplers, trial_seed
from studies.search.samplers.finite import AbstractFiniteSampler
from studies.search.space import Space
from studies.search.spec import StudySpec
from tests.studies.search.sampler_data import CONDITIONAL, CONDITIONAL_FINITE, SAMPLERS, suitable
from tests.study_data import STOPPING, most_eager, small_study

SEED, PARALLELISM, N_TRIALS, N_EPOCHS = 3, 3, 24, 4

SPACE = CONDITIONAL
SQUARE = {path: SPACE[path] for path in ("network.dropout", "optimizer.learning_rate")}

ENDLESS = [each for each in SAMPLERS if not issubclass(samplers.lookup(each.values[0]), AbstractFiniteSampler)]

Params = list[dict[str, Any]]


def study_with(sampler: AbstractSampler, pruner: Any = "none", space: dict[str, Any] | None = None) -> StudySpec:
    study = {"sampler": sampler, "pruner": pruner, "seed": SEED, "parallelism": PARALLELISM}
    space = space or suitable(sampler, SPACE, CONDITIONAL_FINITE)
    return small_study(study, {"network": {"hidden": [8], "dropout": 0.25}}, space)


def curve(params: dict[str, Any]) -> list[float]:
    """Return the values of a trial's epochs, which depend on all its parameters."""
    rate = np.log10(params.get("optimizer.learning_rate", 0.01))
    level = -((rate + 2) ** 2) - params["network.dropout"] + (params.get("network.activation") == "tanh")
    return [float(level + 0.1 * epoch) for epoch in range(N_EPOCHS)]


def how_it_ends(number: int) -> TrialState:
    return {4: TrialState.PRUNED, 6: TrialState.FAIL}.get(number % 7, TrialState.COMPLETE)


def ask_in_view(spec: StudySpec, n_trials: int = N_TRIALS, recorded: Sequence[FrozenTrial] = ()) -> list[FrozenTrial]:
    """Return the trials as they are asked when samplers are built for each trial.

    Args:
        spec: the study.
        n_trials: how many trials.
        recorded: trials that an earlier launch asked.
    """
    view, asked, running = StudyView(spec), [], deque[int]()
    base = spec.space.params_of_base()
    assert base is not None
    for number in range(n_trials):
        if number < len(recorded):
            trial = view.add(recorded[number].params, recorded[number].system_attrs)
        else:
            trial = view.ask() if number else view.add(base, {})
        asked.append(trial)
        running.append(number)
        if len(running) == PARALLELISM:
            ending = running.popleft()
            values = curve(asked[ending].params)
            for epoch, value in enumerate(values, start=1):
                view.report(ending, epoch, value)
            view.tell(ending, how_it_ends(ending), values[-1])
    return asked


def ask_one_sampler(spec: StudySpec, n_trials: int = N_TRIALS) -> Params:
    """Return the suggestions of a single sampler that is kept for all trials, in an in-memory study of Optuna.

    The sampler keeps everything it remembers, except its random generators: for each trial it gets those of a new
    sampler. In this way, a sampler without memory gets the seed of each trial, and needs no special case.
    """
    samplers = [spec.study.sampler.build(spec.space, SEED, number, PARALLELISM) for number in range(n_trials)]
    kept = samplers[0]
    study = optuna.create_study(direction=spec.direction, sampler=kept)
    study.stop = lambda: None  # a sampler cannot end a study of this program either
    study.enqueue_trial(spec.space.params_of_base())
    trials: list[optuna.Trial] = []
    running = deque[int]()
    for number, new in enumerate(samplers):
        take_generators(kept, new)
        trials.append(study.ask())
        spec.space.suggest(trials[-1])
        running.append(number)
        if len(running) == PARALLELISM:
            ending = running.popleft()
            values, state = curve(trials[ending].params), how_it_ends(ending)
            for epoch, value in enumerate(values, start=1):
                trials[ending].report(value, epoch)
            study.tell(trials[ending], values[-1] if state == TrialState.COMPLETE else None, state)
    return [trial.params for trial in study.trials]


def take_generators(kept: Any, new: Any) -> None:
    """Give a sampler, and the parts inside it, the random generators of another."""
    for name, value in vars(new).items():
        if isinstance(value, LazyRandomState):
            setattr(kept, name, value)
        elif hasattr(value, "__dict__") and type(value).__module__.startswith("optuna.samplers"):
            take_generators(getattr(kept, name), value)


def params_of(trials: list[FrozenTrial]) -> Params:
    return [trial.params for trial in trials]


def check_law(sampler: AbstractSampler) -> None:
    """Check that samplers built for each trial suggest what a single one suggests, also in a resumed study."""
    spec = study_with(sampler)
    asked = ask_in_view(spec)
    assert params_of(asked) == ask_one_sampler(spec)
    for n_recorded in (1, 2, 9, N_TRIALS):
        assert params_of(ask_in_view(spec, recorded=asked[:n_recorded])) == params_of(asked)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_built_for_each_trial_suggest_what_a_single_one_suggests(name: str) -> None:
    check_law(samplers.decode(name))


@pytest.mark.parametrize(
    "sampler",
    [
        Tpe(startup_trials=4, candidates=8, group=True),
        CmaEs(population=4, learn_from_pruned=False),
        Nsga2(population=4),
        Grid(points=3),
    ],
)
def test_the_law_holds_with_other_options(sampler: AbstractSampler) -> None:
    check_law(sampler)


def test_the_state_of_cma_es_is_recorded_as_json_and_a_resumed_study_continues_from_it() -> None:
    spec = study_with(CmaEs(population=4))
    asked = ask_in_view(spec)
    recorded = json.loads(json.dumps([trial.system_attrs for trial in asked]))
    states = [number for number, attributes in enumerate(recorded) if "cma:optimizer:0" in attributes]
    assert len(states) >= 3
    for n_recorded in (states[0] + 1, states[-1]):
        for trial, attributes in zip(asked[:n_recorded], recorded, strict=False):
            trial.system_attrs = attributes
        assert params_of(ask_in_view(spec, recorded=asked[:n_recorded])) == params_of(asked)


@pytest.mark.parametrize("name", ENDLESS)
def test_no_parameter_repeats_from_trial_to_trial(name: str) -> None:
    """A sampler that used the study's seed for independent draws would suggest the same values in every trial.

    The ends of a range do not count, because the best value may be there.
    """
    asked = params_of(ask_in_view(study_with(samplers.decode(name))))[1:]
    for path in ("network.dropout", "optimizer.learning_rate", "optimizer.momentum"):
        ends = {SPACE[path]["low"], SPACE[path]["high"]}
        values = [params[path] for params in asked if path in params and params[path] not in ends]
        assert len(values) >= 5
        assert len(set(values)) > 0.8 * len(values)


@dataclass(frozen=True)
class NewSequenceForEachTrial(AbstractSampler):
    """A quasi-random sampler that does not know the study's seed, only a new one for each trial."""

    name = "new_sequence_for_each_trial"

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        return QuasiRandom().build(space, trial_seed(study_seed, trial), trial, parallelism)


@dataclass(frozen=True)
class RemembersInItself(AbstractSampler):
    """A sampler that counts trials in its own attribute, where the samplers of later trials do not see the count."""

    name = "remembers_in_itself"

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        return _Counting(trial_seed(study_seed, trial))


class _Counting(RandomSampler):
    n_trials = 0

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        self.n_trials += 1
        for _ in range(self.n_trials):
            value = super().sample_independent(study, trial, param_name, param_distribution)
        return value


@dataclass(frozen=True)
class RepeatsItself(AbstractSampler):
    """A random sampler that takes the study's seed, although its draws are independent."""

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        return RandomSampler(seed=study_seed)


@pytest.mark.parametrize("sampler", [NewSequenceForEachTrial(), RemembersInItself()])
def test_the_law_refuses_a_sampler_that_forgets_its_sequence(sampler: AbstractSampler) -> None:
    spec = study_with(sampler)
    assert params_of(ask_in_view(spec)) != ask_one_sampler(spec)


def test_the_law_refuses_a_sampler_that_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "_parts", dict(samplers._parts))
    samplers.register("repeats_itself")(RepeatsItself)
    with pytest.raises(AssertionError):
        test_no_parameter_repeats_from_trial_to_trial("repeats_itself")


def discrepancy(sampler: AbstractSampler) -> float:
    """Return the centred L2 discrepancy of the first 32 points that a sampler suggests in two dimensions."""
    asked = params_of(ask_in_view(study_with(sampler, space=SQUARE), n_trials=33))[1:]
    rates = np.log(np.array([params["optimizer.learning_rate"] for params in asked]))
    low, high = np.log(1e-4), np.log(0.3)
    return float(qmc.discrepancy(np.c_[[2 * p["network.dropout"] for p in asked], (rates - low) / (high - low)]))


def test_quasi_random_points_are_spread_more_evenly_than_random_ones() -> None:
    assert discrepancy(QuasiRandom()) < 0.001
    assert discrepancy(NewSequenceForEachTrial()) > 0.003
    assert discrepancy(samplers.decode("random")) > 0.003


def test_study_attributes_changed_by_an_ask_are_recorded_with_its_trial() -> None:
    asked = ask_in_view(study_with(QuasiRandom(), space=SQUARE), n_trials=5)
    recorded = [trial.system_attrs.get("study_attributes") for trial in asked]
    assert recorded[0] is None
    assert [list(changes.values()) for changes in recorded[1:]] == [[0], [1], [2], [3]]


class _CountsEnds(RandomSampler):
    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        attributes = study._storage.get_study_system_attrs(study._study_id)
        study._storage.set_study_system_attr(study._study_id, "ended", (*attributes.get("ended", ()), trial.number))

    def before_trial(self, study: Any, trial: Any) -> None:
        ended = study._storage.get_study_system_attrs(study._study_id).get("ended", [])
        study._storage.set_trial_system_attr(trial._trial_id, "ended before", ended)
        study.stop()


@dataclass(frozen=True)
class CountsEnds(AbstractSampler):
    """A sampler that learns from the end of each trial."""

    name = "counts_ends"

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        return _CountsEnds(seed=trial_seed(study_seed, trial))


@pytest.mark.parametrize("n_recorded", [0, 4])
def test_study_attributes_changed_at_the_end_of_a_trial_are_seen_by_the_next(n_recorded: int) -> None:
    spec = study_with(CountsEnds())
    asked = ask_in_view(spec, 6, recorded=ask_in_view(spec, n_recorded))
    assert [trial.system_attrs["ended before"] for trial in asked[1:]] == [[], [], [0], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize("name", STOPPING)
def test_a_pruner_decides_as_in_optunas_own_study(name: str) -> None:
    spec = study_with(samplers.decode("random"), most_eager(name), SQUARE)
    view = StudyView(spec)
    study = optuna.create_study(
        study_name=spec.study.name,  # it decides the brackets of hyperband
        direction=spec.direction,
        pruner=pruners.decode(most_eager(name)).build(spec.base.epochs),
        sampler=RandomSampler(seed=0),
    )
    rng = np.random.default_rng(0)
    pruned = 0
    for number in range(30):
        view.ask()
        trial = study.ask()
        for epoch, value in enumerate(rng.random(8), start=1):
            view.report(number, epoch, value)
            trial.report(value, epoch)
            answer = view.should_prune(number)
            assert answer == trial.should_prune()
            if answer:
                break
        pruned += answer
        view.tell(number, TrialState.PRUNED if answer else TrialState.COMPLETE, value)
        study.tell(trial, None if answer else value, TrialState.PRUNED if answer else TrialState.COMPLETE)
    assert 5 < pruned < 30


class _LooksAtTrials(RandomSampler):
    seen: list[list[FrozenTrial]]

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.seen.append(study.get_trials(deepcopy=False))


@dataclass(frozen=True)
class LooksAtTrials(AbstractSampler):
    """A sampler that keeps the lists of trials that it sees."""

    name = "looks_at_trials"
    sampler = _LooksAtTrials(seed=0)

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        return self.sampler


def test_a_sampler_sees_running_trials_as_running_and_no_trial_is_copied_for_it() -> None:
    sampler = LooksAtTrials()
    sampler.sampler.seen = []
    ask_in_view(study_with(sampler), n_trials=6)
    *_, before, last = sampler.sampler.seen
    states = [trial.state for trial in last]
    assert states == [TrialState.COMPLETE] * 3 + [TrialState.RUNNING] * 3
    assert last[0] is before[0]


def test_a_base_outside_the_space_takes_a_number_and_is_ignored() -> None:
    spec = small_study({"sampler": LooksAtTrials()}, {"network": {"hidden": [8], "dropout": 0.9}}, SQUARE)
    LooksAtTrials.sampler.seen = []
    view = StudyView(spec)
    assert view.add_unknown().params == {}
    assert view.ask().number == 1
    assert [trial.state for trial in LooksAtTrials.sampler.seen[0]] == [TrialState.FAIL, TrialState.RUNNING]
