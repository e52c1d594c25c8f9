"""Studies that are replayed on kept curves: the decisions of a real study, in virtual time, without any training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optuna.trial import TrialState
from replay_curves import Curve
from replay_sets import KeptSet, KeptView

from studies.running.decisions import Decisions
from studies.search.pruners import AbstractPruner
from studies.search.samplers import AbstractSampler
from studies.search.spec import StudySpec

N_CONFIRMED = 3  # trials that are confirmed after a search


@dataclass(frozen=True)
class Strategy:
    """How a study searches.

    Attributes:
        sampler: chooses configurations.
        pruner: pauses and prunes trials.
        parallelism: how many trials run at the same time.
        is_script: whether it is a plain script around Optuna instead of a study: one trial after another, without base.
    """

    sampler: AbstractSampler
    pruner: AbstractPruner
    parallelism: int = 4
    is_script: bool = False


@dataclass
class Outcome:
    """What a study has come to.

    Attributes:
        n_epochs: the epochs that it has spent.
        n_trials: the trials that it has asked.
        completed: after how many epochs a trial was complete, and the index of its configuration, in their order.
    """

    n_epochs: int
    n_trials: int
    completed: list[tuple[int, int]]

    def pick(self, kept: KeptSet, n_epochs: int | None = None) -> int | None:
        """Return the index of the configuration that is the best after some epochs, by default after all of them.

        It is the best one after the three best complete trials have been confirmed, that is, by their true values.

        Args:
            kept: the kept curves.
            n_epochs: the epochs spent.
        """
        found = [index for spent, index in self.completed if n_epochs is None or spent <= n_epochs]
        found.sort(key=lambda index: -kept.curves[index].values[-1])
        return max(found[:N_CONFIRMED], key=lambda index: kept.truth[index], default=None)

    def regret(self, kept: KeptSet, n_epochs: int | None = None) -> float:
        """Return the regret of `pick`; as long as no trial is complete, that of a typical configuration."""
        pick = self.pick(kept, n_epochs)
        return 1.0 if pick is None else kept.regret(pick)


@dataclass(eq=False)
class _Running:
    """A trial in a slot: its curve, and the virtual time of its next epoch."""

    number: int
    curve: Curve
    time: int


def replay(kept: KeptSet, strategy: Strategy, budget: float, seed: int) -> Outcome:
    """Replay a study.

    Args:
        kept: the kept curves.
        strategy: how it searches.
        budget: the epochs that it may spend, in trainings.
        seed: the seed of the study.
    """
    study = replace(
        kept.spec.study,
        sampler=strategy.sampler,
        pruner=strategy.pruner,
        parallelism=strategy.parallelism,
        seed=seed,
        budget=budget,
        trials=len(kept.curves),
    )
    spec = replace(kept.spec, study=study)
    return _run_script(kept, spec) if strategy.is_script else _Study(kept, spec).run()


class _Study:
    """A study in virtual time."""

    def __init__(self, kept: KeptSet, spec: StudySpec) -> None:
        self._kept = kept
        self._view = KeptView(spec, kept)
        self._decisions = Decisions(spec, spec.limits, self._view)
        self._parallelism = spec.study.parallelism
        self._epochs = spec.base.epochs
        self._live: list[_Running] = []
        self._paused: dict[int, _Running] = {}
        self._completed: list[tuple[int, int]] = []

    def run(self) -> Outcome:
        """Process the epochs of all trials in the order of virtual time, until nothing more may start."""
        now = 0
        self._fill_slots(now)
        while self._live:
            trial = min(self._live, key=lambda trial: (trial.time, trial.number))
            now = trial.time
            self._process(trial)
            self._fill_slots(now)
        return Outcome(self._decisions.n_epochs, self._decisions.n_asked, self._completed)

    def _fill_slots(self, now: int) -> None:
        while len(self._live) < self._parallelism:
            number = self._decisions.next_start()
            if number is None:
                return
            if number == self._decisions.n_asked:
                if number == 0:
                    self._view.add_base()
                self._decisions.begin(self._decisions.ask(), self._epochs)
                trial = _Running(number, self._kept.curves[self._view.indices[number]], 0)
            else:
                self._decisions.promote(number)
                trial = self._paused.pop(number)
            trial.time = now + trial.curve.epoch_cost
            self._live.append(trial)

    def _process(self, trial: _Running) -> None:
        decisions, number, values = self._decisions, trial.number, trial.curve.values
        epoch = decisions.course(number).n_processed + 1
        trial.time += trial.curve.epoch_cost
        if epoch > len(values):  # it has diverged
            self._end(trial, TrialState.PRUNED)
            return
        is_last = epoch == self._epochs
        verdict = decisions.report(number, values[epoch - 1], is_last=is_last)
        if is_last:
            self._end(trial, TrialState.COMPLETE)
        elif verdict == "prune":
            self._end(trial, TrialState.PRUNED)
        elif verdict == "pause":
            self._live.remove(trial)
            self._paused[number] = trial

    def _end(self, trial: _Running, state: TrialState) -> None:
        self._live.remove(trial)
        value = trial.curve.values[-1] if state == TrialState.COMPLETE else None
        self._decisions.end(trial.number, state, value)
        if state == TrialState.COMPLETE:
            self._completed.append((self._decisions.n_epochs, trial.curve.index))


def _run_script(kept: KeptSet, spec: StudySpec) -> Outcome:
    """Run one trial after another to its end, or until the pruner ends it, while the budget lasts."""
    view = KeptView(spec, kept)
    most, n_epochs = spec.limits.epochs or 0, 0
    completed: list[tuple[int, int]] = []
    while n_epochs < most and len(view.indices) < len(kept.curves):
        number = view.ask().number
        curve, state = kept.curves[view.indices[number]], TrialState.PRUNED
        for epoch, value in enumerate(curve.values[: most - n_epochs], start=1):
            n_epochs += 1
            view.report(number, epoch, value)
            if epoch == spec.base.epochs:
                state = TrialState.COMPLETE
            elif view.should_prune(number):
                break
        is_complete = state == TrialState.COMPLETE
        view.tell(number, state, curve.values[-1] if is_complete else None)
        if is_complete:
            completed.append((n_epochs, curve.index))
    return Outcome(n_epochs, len(view.indices), completed)
