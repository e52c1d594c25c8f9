"""What a study decides: which trial starts next, which one pauses, is promoted or pruned, and when the search ends.

All of it is a pure function of the events so far, in their order: nothing here reads a clock, a file or the results of
workers that have not been processed yet. The ledger records these decisions and repeats them after a crash;
`benchmarks/replay.py` makes them on kept learning curves.

A trial pauses at each rung of its pruner and gives up its slot. A free slot goes to a paused trial in the best 1/factor
of its rung, or else to a new trial. A new trial is only asked if what it is certain to train fits into the budget. When
no trial may be asked any more, the best paused trials are trained in full as long as the budget lasts, the highest
rung first. If a share of the budget is kept for that, trials wait at their last rung until then. What is still paused
at the end is pruned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from studies.records.limits import Limits
from studies.records.results import rank
from studies.records.trial_record import TrialRecord
from studies.running.rungs import Rungs
from studies.running.view import StudyView
from studies.search.domains import Params
from studies.search.spec import StudySpec

Verdict = Literal["continue", "pause", "prune"]


@dataclass
class Course:
    """How far a trial has come.

    Attributes:
        epochs: the epochs of its configuration.
        rungs: the epochs at which it is compared with others.
        stop: the epoch at which it pauses, or ends at the latest.
        is_known: whether sampler and pruner know of it; False for a base outside the space.
        n_processed: the number of epochs processed.
    """

    epochs: int
    rungs: tuple[int, ...]
    stop: int
    is_known: bool
    n_processed: int = 0


class Decisions:
    """The decisions of one study.

    Args:
        spec: the study.
        limits: the limits of the search.
        view: asks sampler and pruner; a replay on kept curves brings its own.

    Attributes:
        limits: the limits that hold now; the ledger replaces them when they are raised.
        n_asked: the number of trials asked.
        n_epochs: the number of epochs processed.
        best: number and value of the best complete trial; of equal values the lowest number.
    """

    def __init__(self, spec: StudySpec, limits: Limits, view: StudyView | None = None) -> None:
        self.limits = limits
        self.n_asked = 0
        self.n_epochs = 0
        self.best: tuple[int, float] | None = None
        self._spec = spec
        self._pruner = spec.study.pruner
        self._view = StudyView(spec) if view is None else view
        self._rungs = Rungs(spec.direction)
        self._courses: dict[int, Course] = {}  # of the trials that have not ended
        self._paused: dict[int, int] = {}  # the rung at which each paused trial waits
        self._n_asked_at_best = 0

    @property
    def paused(self) -> list[int]:
        """The trials that are paused, by number."""
        return sorted(self._paused)

    @property
    def is_over(self) -> bool:
        """Whether the search ends now: its time is over, or a complete trial has reached the target."""
        target = self.limits.target
        if self.limits.is_over or target is None or self.best is None:
            return self.limits.is_over
        return rank(self._spec.study.metric, 0, self.best[1]) <= rank(self._spec.study.metric, 0, target)

    def course(self, number: int) -> Course:
        """Return how far a trial that has not ended has come."""
        return self._courses[number]

    def next_start(self) -> int | None:
        """Return the trial that gets a free slot: a paused one to be promoted, `n_asked` for a new one, or None."""
        if self.is_over:
            return None
        for number in self._rungs.promotable(self._pruner.n_promoted, self._paused):
            course = self._courses[number]
            must_wait = self._waits_for_finish and course.n_processed == course.rungs[-1]
            if not must_wait and self._fits(self._next_rung(number) - course.n_processed):
                return number
        epochs = self._spec.base.epochs
        if self._may_ask(min((*self._pruner.rungs(epochs), epochs)), share=self._pruner.search_share):
            return self.n_asked
        if self.limits.epochs is not None:
            for number in self._rungs.paused(self._paused):
                if self._fits(self._courses[number].epochs - self._courses[number].n_processed):
                    return number
            if not self._paused and self._may_ask(epochs):  # all are finished, and there is some budget left
                return self.n_asked
        return None

    @property
    def _waits_for_finish(self) -> bool:
        """Whether trials wait at their last rung until no more are asked; a target and patience need complete trials.

        By then they have been compared with all others. On the curves of digits, phoneme and MNIST, replayed as in
        `benchmarks/replay.py` but without rungs above a third of the epochs, this lowered the mean regret after 10
        trainings from 0.15 to 0.10.
        """
        limits = self.limits
        has_finish = limits.epochs is not None and self._pruner.search_share < 1
        return has_finish and limits.target is None and limits.patience is None

    def _may_ask(self, n_epochs: int, share: float = 1.0) -> bool:
        """Return whether a new trial of `n_epochs` may be asked within a share of the budget."""
        limits = self.limits
        if limits.trials is not None and self.n_asked >= limits.trials:
            return False
        if self.n_asked == 0:
            return True
        is_waiting = limits.patience is not None and self.best is not None
        if is_waiting and self.n_asked - self._n_asked_at_best >= (limits.patience or 0):
            return False
        return self._fits(n_epochs, share)

    def _fits(self, n_epochs: int, share: float = 1.0) -> bool:
        """Return whether `n_epochs` fit into a share of the budget, in addition to what running trials will need."""
        if self.limits.epochs is None:
            return True
        running = [course for number, course in self._courses.items() if number not in self._paused]
        needed = sum(course.stop - course.n_processed for course in running)
        return self.n_epochs + needed + n_epochs <= share * self.limits.epochs

    def _next_rung(self, number: int) -> int:
        """Return the epoch at which a paused trial stops if it is promoted to the next rung."""
        course = self._courses[number]
        return min((rung for rung in course.rungs if rung > course.n_processed), default=course.epochs)

    def ask(self, recorded: TrialRecord | None = None, enqueued: Params | None = None) -> FrozenTrial:
        """Return the next trial: base, what an earlier launch has recorded, what is enqueued, or the sampler's choice.

        Args:
            recorded: the trial as an earlier launch asked it.
            enqueued: the parameters that are enqueued for it.
        """
        number, self.n_asked = self.n_asked, self.n_asked + 1
        if number == 0:
            point = self._spec.space.params_of_base()
            return self._view.add_unknown() if point is None else self._view.add(point, {"fixed_params": point})
        if recorded is not None:
            return self._view.add(recorded.params, recorded.attributes)
        return self._view.ask() if enqueued is None else self._view.add(enqueued, {"fixed_params": enqueued})

    def begin(self, trial: FrozenTrial, epochs: int) -> None:
        """Begin a trial that has been asked. Base, which all others are compared with, never pauses.

        Args:
            trial: the trial.
            epochs: the epochs of its configuration.
        """
        rungs = self._pruner.rungs(epochs)
        stop = epochs if trial.number == 0 else min((*rungs, epochs))
        self._courses[trial.number] = Course(epochs, rungs, stop, is_known=not trial.state.is_finished())

    def promote(self, number: int) -> None:
        """Continue a paused trial: to its next rung if it has earned it, otherwise to its end."""
        course = self._courses[number]
        has_earned_it = number in self._rungs.promotable(self._pruner.n_promoted, self._paused)
        course.stop = self._next_rung(number) if has_earned_it else course.epochs
        del self._paused[number]
        self._view.resume(number)

    def report(self, number: int, value: float, *, is_last: bool, folds: Sequence[float] = ()) -> Verdict:
        """Process the value of a trial's next epoch, and return whether the trial continues.

        Args:
            number: the trial.
            value: the metric of the study; it may be NaN.
            is_last: whether the training has ended with this epoch; then the trial is neither paused nor pruned.
            folds: the metric of the study on each fold; empty without folds.
        """
        course = self._courses[number]
        course.n_processed += 1
        self.n_epochs += 1
        if course.is_known:
            self._view.report(number, course.n_processed, value, folds)
        if course.n_processed in course.rungs:
            self._rungs.add(course.n_processed, number, value)
        if is_last or number == 0:
            return "continue"
        if course.n_processed == course.stop:
            self._paused[number] = course.n_processed
            self._view.pause(number)
            return "pause"
        return "prune" if self._view.should_prune(number) else "continue"

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """End a trial; at the rungs that a complete or diverged trial has not reached, its value is the last one."""
        course = self._courses.pop(number)
        if self._paused.pop(number, None) is not None:
            self._view.resume(number)
        elif state == TrialState.COMPLETE:
            for rung in course.rungs:
                if rung > course.n_processed:
                    self._rungs.add(rung, number, value)
        elif course.n_processed < course.stop and course.stop in course.rungs:
            self._rungs.add(course.stop, number, None)
        if course.is_known:
            self._view.tell(number, state, value)
        if state == TrialState.COMPLETE and value is not None:
            metric = self._spec.study.metric
            if self.best is None or rank(metric, number, value) < rank(metric, *self.best):
                self.best = number, value
                self._n_asked_at_best = self.n_asked
