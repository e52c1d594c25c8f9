"""Pruners that compare a trial with others at the same epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mlp.errors import ConfigError
from mlp.records import number
from studies.search.pruners.pruner import AbstractPruner, pruners

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from mlp.config import TrainConfig


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


@pruners.register("wilcoxon")
@dataclass(frozen=True)
class Wilcoxon(AbstractPruner):
    """Prunes a cross-validated trial whose folds are significantly worse than those of the best trial at that epoch.

    A one-sided signed-rank test compares the folds in pairs. Its p-value cannot be below 1/2^k with k folds, and the
    test is repeated after each epoch, so that more than a fraction `p` of equally good trials may be pruned.

    Attributes:
        p: the p-value below which a trial is pruned.
        min_epochs: epochs that every trial gets.
    """

    p: float = number(0.1, above=0, below=1)
    min_epochs: int = number(1, at_least=1)

    needs_folds: ClassVar[bool] = True

    def check(self, base: TrainConfig, metric: str) -> None:
        n_folds = len(base.data.by_fold())
        if n_folds < 2:
            raise ConfigError('"wilcoxon" compares folds, and base has none. Set data.folds = 5, or choose "median".')
        if 0.5**n_folds >= self.p:
            problem = f"with {n_folds} folds no p-value is below {0.5**n_folds:g}, so p = {self.p:g} prunes no trial."
            raise ConfigError(f"{problem} Use more folds, or a larger p.")
        if metric.startswith("train/"):
            raise ConfigError(f'"wilcoxon" needs a validation metric, and the study has "{metric}".')

    def build(self, epochs: int) -> BasePruner:
        from studies.search.pruners.wilcoxon import FoldPruner

        return FoldPruner(self.p, self.min_epochs)
