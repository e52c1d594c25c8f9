"""Pruners by name."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.records import number
from mlp.registry import AbstractPart, Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class AbstractPruner(AbstractPart):
    """When an unpromising trial is given up."""

    @abstractmethod
    def build(self) -> BasePruner:
        """Return Optuna's pruner."""


pruners: Registry[AbstractPruner] = Registry("pruner")
AbstractPruner.family = pruners


@pruners.register("none")
@dataclass(frozen=True)
class NoPruner(AbstractPruner):
    """Every trial runs to its end."""

    def build(self) -> BasePruner:
        from optuna.pruners import NopPruner

        return NopPruner()


@pruners.register("median")
@dataclass(frozen=True)
class Median(AbstractPruner):
    """Ends a trial whose best value is worse than the median of the others at the same epoch.

    Attributes:
        startup_trials: trials that must be complete before any is pruned.
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
    """Algorithm 2 of Li et al. 2020, arXiv:1810.05934: at each rung the best 1/factor of the trials go on.

    Attributes:
        min_epochs: the first rung.
        factor: each further rung is that many times later.
    """

    min_epochs: int = number(1, at_least=1)
    factor: int = number(4, at_least=2)

    def build(self) -> BasePruner:
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.min_epochs, reduction_factor=self.factor)
