"""How much a search may do in total, over all launches."""

from __future__ import annotations

from dataclasses import dataclass

from mlp.records import AbstractRecord, number


@dataclass(frozen=True, kw_only=True)
class Limits(AbstractRecord):
    """The limits of a search. They may be raised, so a study records from which step on which of them hold.

    Attributes:
        step: the step of the study's history from which on they hold.
        trials: the maximum number of trials.
        epochs: the maximum number of epochs of all trials together.
        target: the search ends when a complete trial has reached this value.
        patience: no more trials are asked when this many were asked without a new best complete trial.
        is_over: whether the search has been ended early, because its time was over.
    """

    step: int = number(0, at_least=0)
    trials: int | None = number(None, at_least=1)
    epochs: int | None = number(None, at_least=1)
    target: float | None = None
    patience: int | None = number(None, at_least=1)
    is_over: bool = False

    def exceed(self, other: Limits) -> bool:
        """Return whether a search that has reached the other limits may continue under these."""
        pairs = ((self.trials, other.trials), (self.epochs, other.epochs), (self.patience, other.patience))
        is_raised = any(old is not None and (new is None or new > old) for new, old in pairs)
        return is_raised or (other.target is not None and self.target != other.target) or other.is_over > self.is_over
