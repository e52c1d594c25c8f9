"""The study as Optuna's sampler and pruner see it: in memory, and a pure function of the events processed so far.

Every question to Optuna (what to try next, whether to prune, what to remember at the end of a trial) is asked of a new
Optuna study over a snapshot of the trials. What sampler and pruner write to the snapshot is read back afterwards. So
no sampler outlives a question, and replaying the same events leads to the same answers. A snapshot copies one pointer
per trial, which takes microseconds; filling one of Optuna's in-memory studies trial by trial would take milliseconds.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from mlp.errors import ConfigError
from studies.records.prior_trial import PriorTrial
from studies.search.domains import Params
from studies.search.pruners.wilcoxon import FOLD_VALUES
from studies.search.samplers import attempt_number, trial_seed
from studies.search.spec import StudySpec

STUDY_ATTRIBUTES = "study_attributes"  # the system attribute of a trial that records how its ask changed the study's
SAMPLER_ATTEMPTS = 10  # suggestions of the sampler for one trial; after them, configurations are drawn at random
MAX_ATTEMPTS = 5_000  # a plan is refused if fewer than one in a hundred configurations meets the constraints
ONE_STUDY = "A view has one study, and only the ledger adds trials and reports values to it."


class StudyView:
    """Asks sampler and pruner, and keeps what they may know: all trials so far and the attributes of the study.

    What a sampler has to remember, such as its position in a quasi-random sequence, is in the system attributes of the
    study. What an ask changes there is recorded among the system attributes of the new trial, and so in the same
    transaction as its row: a kill can neither repeat nor skip a position. What `tell` and `should_prune` change is not
    recorded, because the replay of a resumed study changes it again.

    Args:
        spec: the study.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._pruner = spec.study.pruner.build(spec.base.epochs)
        self._trials: list[FrozenTrial] = []
        self._prior = [_prior_trial(spec, prior) for prior in spec.prior]
        self._attributes: dict[str, Any] = {}

    def ask(self) -> FrozenTrial:
        """Let the sampler choose the next trial; return the trial, to be recorded.

        Raises:
            ConfigError: if no configuration is found that meets the constraints of the space.
        """
        number, before = len(self._trials), self._attributes
        snapshot = self._suggestion(number)
        self._trials.append(snapshot.trials[number])
        changes = {k: v for k, v in snapshot.attributes.items() if k not in before or before[k] != v}
        if changes:
            self._trials[number].system_attrs[STUDY_ATTRIBUTES] = changes
        self._attributes = snapshot.attributes
        return self._trials[number]

    def _suggestion(self, number: int) -> _Snapshot:
        """Return a snapshot in which a new trial has the parameters of a configuration that meets the constraints.

        A refused suggestion leaves nothing behind, except what the sampler has stored with the study, such as the
        position of its sequence.
        """
        space, attributes = self._spec.space, self._attributes
        for attempt in range(MAX_ATTEMPTS):
            snapshot = self._snapshot(_trial(number, TrialState.RUNNING))
            snapshot.attributes, snapshot.prior = dict(attributes), self._prior
            study = self._study(snapshot, self._sampler(number, attempt))
            if space.allows(space.suggest(Trial(study, number))):
                return snapshot
            attributes = snapshot.attributes
        problem = f"none of {MAX_ATTEMPTS:,} configurations drawn for trial {number} meets {space.constraints}"
        raise ConfigError(f"[space]: {problem}. Raise the limit, or search smaller networks.")

    def add(self, params: Params, system_attributes: Mapping[str, Any]) -> FrozenTrial:
        """Add a trial whose parameters are known: base, or a trial that an earlier launch asked.

        Args:
            params: its parameters by path.
            system_attributes: the system attributes that were recorded when it was asked.
        """
        trial = _trial(len(self._trials), TrialState.RUNNING)
        trial.params = dict(params)
        trial.distributions = self._spec.space.distributions(params)
        trial.system_attrs = dict(system_attributes)
        self._trials.append(trial)
        self._attributes |= system_attributes.get(STUDY_ATTRIBUTES, {})
        return trial

    def add_unknown(self) -> FrozenTrial:
        """Add a base outside the space: it has a number, but sampler and pruner ignore it, as they ignore failures."""
        trial = _trial(len(self._trials), TrialState.FAIL)
        self._trials.append(trial)
        return trial

    def report(self, number: int, epoch: int, value: float, folds: Sequence[float] = ()) -> None:
        """Add the value of one epoch to a running trial.

        Args:
            number: the trial.
            epoch: the epoch, counted from 1.
            value: the metric of the study.
            folds: the same on each fold; empty without folds.
        """
        self._trials[number].intermediate_values[epoch] = value
        if folds:
            self._trials[number].user_attrs.setdefault(FOLD_VALUES, {})[epoch] = tuple(folds)

    def pause(self, number: int) -> None:
        """Show a running trial to the sampler as one that was pruned at its last epoch, because Optuna has no pause."""
        trial = copy.copy(self._trials[number])
        last = trial.intermediate_values[max(trial.intermediate_values)]
        trial.state, trial.value = TrialState.PRUNED, None if math.isnan(last) else last
        trial.datetime_complete = datetime.now()
        self._trials[number] = trial

    def resume(self, number: int) -> None:
        """Show a paused trial as running again."""
        trial = copy.copy(self._trials[number])
        trial.state, trial.value, trial.datetime_complete = TrialState.RUNNING, None, None
        self._trials[number] = trial

    def should_prune(self, number: int) -> bool:
        """Ask the pruner about a running trial; what it stores with the trial (such as completed rungs) is kept."""
        if isinstance(self._pruner, NopPruner):
            return False
        snapshot = self._snapshot()
        answer: bool = self._pruner.prune(self._study(snapshot), self._trials[number])
        self._trials[number] = snapshot.trials[number]
        return answer

    def tell(self, number: int, state: TrialState, value: float | None) -> None:
        """End a trial.

        Args:
            number: the trial.
            state: COMPLETE, PRUNED or FAIL.
            value: the value of a complete trial; that of a pruned one is its last intermediate value.
        """
        snapshot, second = self._snapshot(), self._spec.second
        study = self._study(snapshot, self._sampler(number))
        values = None if state != TrialState.COMPLETE or value is None else [value]
        if second is not None:
            # With two objectives Optuna has no pruned trials: one that diverged counts as failed.
            state = TrialState.FAIL if state == TrialState.PRUNED else state
            params = snapshot.trials[number].params
            config = self._spec.base if number == 0 else self._spec.space.configure(params)
            values = None if values is None else [*values, second.value(config)]
        study.tell(number, values, state)
        self._trials[number] = snapshot.trials[number]
        self._attributes = snapshot.attributes

    def _sampler(self, number: int, attempt: int = 0) -> BaseSampler:
        """Return the sampler of a trial; after `SAMPLER_ATTEMPTS` refused suggestions, one that draws at random.

        The sampler does not learn from refusals, so it may expect the best results where the constraints allow nothing.
        """
        study, key = self._spec.study, attempt_number(number, attempt)
        if attempt >= SAMPLER_ATTEMPTS:
            return RandomSampler(seed=trial_seed(study.seed, key))
        return study.sampler.build(self._spec.space, study.seed, key, study.parallelism)

    def _snapshot(self, *new: FrozenTrial) -> _Snapshot:
        directions = [StudyDirection[direction.upper()] for direction in self._spec.directions]
        return _Snapshot(self._spec.study.name, directions, [*self._trials, *new], self._attributes)

    def _study(self, snapshot: _Snapshot, sampler: BaseSampler | None = None) -> optuna.Study:
        return _ViewedStudy(snapshot.name, snapshot, sampler, self._pruner)


class _ViewedStudy(optuna.Study):  # type: ignore[misc] # Optuna's types are not followed
    def stop(self) -> None:
        """Ignore a sampler that wants to end the study: the study file sets the number of trials."""


class _Snapshot(BaseStorage):  # type: ignore[misc] # Optuna's types are not followed
    """A storage of one study, over trials that belong to a `StudyView`. The id of a trial is its number.

    A write replaces a trial by a changed copy, as in Optuna's own in-memory storage, because Optuna keeps using lists
    of trials that it read before the write. So the trials of the `StudyView` stay as they are.
    """

    def __init__(
        self, name: str, directions: list[StudyDirection], trials: list[FrozenTrial], attributes: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.directions = directions
        self.trials = trials
        self.prior: list[FrozenTrial] = []  # trials of other studies; only a sampler that chooses a trial sees them
        self.attributes = dict(attributes)

    def get_study_id_from_name(self, study_name: str) -> int:
        return 0

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.attributes.copy()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.attributes[key] = _as_recorded(value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        everything = itertools.chain(self.prior, self.trials)
        trials = [trial for trial in everything if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        trial = self._changed(trial_id)
        trial.params = {**trial.params, param_name: distribution.to_external_repr(param_value_internal)}
        trial.distributions = {**trial.distributions, param_name: distribution}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._changed(trial_id)
        trial.system_attrs = {**trial.system_attrs, key: _as_recorded(value)}

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._changed(trial_id)
        trial.user_attrs = {**trial.user_attrs, key: _as_recorded(value)}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        trial = self._changed(trial_id)
        trial.state, trial.values = state, values
        return True

    def _changed(self, trial_id: int) -> FrozenTrial:
        """Replace a running trial by a copy that may be changed; return the copy."""
        self.check_trial_is_updatable(trial_id, self.trials[trial_id].state)
        self.trials[trial_id] = copy.copy(self.trials[trial_id])
        return self.trials[trial_id]

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        raise NotImplementedError(ONE_STUDY)

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError(ONE_STUDY)

    def get_all_studies(self) -> list[Any]:
        raise NotImplementedError(ONE_STUDY)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        raise NotImplementedError(ONE_STUDY)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        raise NotImplementedError(ONE_STUDY)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        raise NotImplementedError(ONE_STUDY)


def _trial(number: int, state: TrialState) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _prior_trial(spec: StudySpec, prior: PriorTrial) -> FrozenTrial:
    """Return a trial of another study. Its number is -1, so that Optuna treats it as older than trial 0."""
    trial = _trial(-1, TrialState.COMPLETE if prior.state == "complete" else TrialState.PRUNED)
    trial.params, trial.distributions = dict(prior.params), spec.space.distributions(prior.params)
    trial.intermediate_values = {int(epoch): value for epoch, value in prior.values.items()}
    trial.value = prior.value if prior.state == "complete" else next(reversed(trial.intermediate_values.values()), None)
    trial.datetime_complete = trial.datetime_start
    return trial


def _as_recorded(value: Any) -> Any:
    """Return an attribute as the database gives it back, so that a resumed study sees what the first launch saw."""
    return json.loads(json.dumps(value))
