"""Pruners that compare a trial with others at the same epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.records import number
from studies.search.pruners.pruner import AbstractPruner, pruners

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


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

    def build(self, epochs: int) -> BasePruner:
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.startup_trials, n_warmup_steps=self.min_epochs)


@pruners.register("percentile")
@dataclass(frozen=True)
class Percentile(AbstractPruner):
    """Prunes a trial whose best value is not in the best `percent` of the other trials at the same epoch.

    Attributes:
        percent: how many of 100 trials continue: 75 prunes the worst quarter.
        startup_trials: complete trials that are needed before any trial is pruned.
        min_epochs: epochs that every trial gets.
    """

    percent: float = number(75, above=0, below=100)
    startup_trials: int = number(5, at_least=0)
    min_epochs: int = number(1, at_least=1)

    def build(self, epochs: int) -> BasePruner:
        from optuna.pruners import PercentilePruner

        return PercentilePruner(self.percent, n_startup_trials=self.startup_trials, n_warmup_steps=self.min_epochs)
