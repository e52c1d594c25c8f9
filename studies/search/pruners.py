"""Pruners: when a trial that does not look promising is stopped."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.records import number
from mlp.registry import AbstractPart, Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class AbstractPruner(AbstractPart):
    """Decides after each epoch of a trial whether the trial is stopped.

    A pruner that can stop a trial has a field `min_epochs`: the number of epochs that every trial gets.

    A pruner with rungs does not ask Optuna: at each rung a trial pauses, and continues if it is promoted.
    """

    @abstractmethod
    def build(self) -> BasePruner:
        """Return Optuna's pruner."""

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs at which a trial pauses, in ascending order, all below its own number of epochs."""
        return ()

    def n_promoted(self, n: int) -> int:
        """Return how many of `n` trials at a rung continue."""
        return 0

    @property
    def search_share(self) -> float:
        """The share of the budget after which no more trials are asked; the rest is for the best paused trials."""
        return 1.0


pruners: Registry[AbstractPruner] = Registry("pruner")
AbstractPruner.family = pruners


@pruners.register("none")
@dataclass(frozen=True)
class NoPruner(AbstractPruner):
    """No trial is pruned."""

    def build(self) -> BasePruner:
        from optuna.pruners import NopPruner

        return NopPruner()


@pruners.register("median")
@dataclass(frozen=True)
class Median(AbstractPruner):
    """Prunes a trial whose best value is worse than the median of the other trials at the same epoch.

    Attributes:
        startup_trials: complete trials that are needed before any trial is pruned.
        min_epochs: epochs that every trial gets.
    """

    startup_trials: int = number(5, at_least=0)
    min_epochs: int = number(1, at_least=1)

    def build(self) -> BasePruner:
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.startup_trials, n_warmup_steps=self.min_epochs)


@pruners.register("successive_halving")
@dataclass(frozen=True)
class SuccessiveHalving(AbstractPruner):
    """Continues the best 1/factor of the trials at each rung: Algorithm 2 of Li et al. 2020, arXiv:1810.05934.

    Attributes:
        min_epochs: the epoch of the first rung.
        factor: each rung is at `factor` times the epoch of the one before.
    """

    min_epochs: int = number(1, at_least=1)
    factor: int = number(4, at_least=2)

    def build(self) -> BasePruner:
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.min_epochs, reduction_factor=self.factor)


@pruners.register("asha")
@dataclass(frozen=True)
class Asha(AbstractPruner):
    """Pauses every trial at each rung, and promotes the best 1/factor of each rung to the next one.

    The asynchronous form of successive halving: Algorithm 2 of Li et al. 2020, arXiv:1810.05934. Unlike
    `successive_halving`, which must decide for good when a trial reaches a rung, it can promote a trial later, when
    more trials have been compared with it.

    Attributes:
        min_epochs: the epoch of the first rung.
        factor: each rung is at `factor` times the epoch of the one before.
        finish: the share of the budget that is kept for training the best paused trials to their end.
    """

    min_epochs: int = number(1, at_least=1)
    factor: int = number(3, at_least=2)
    finish: float = number(0.25, at_least=0, below=1)

    def build(self) -> BasePruner:
        from optuna.pruners import NopPruner

        return NopPruner()

    def rungs(self, epochs: int) -> tuple[int, ...]:
        found, rung = [], self.min_epochs
        while rung < epochs:
            found.append(rung)
            rung *= self.factor
        return tuple(found)

    def n_promoted(self, n: int) -> int:
        return n // self.factor

    @property
    def search_share(self) -> float:
        return 1.0 - self.finish
