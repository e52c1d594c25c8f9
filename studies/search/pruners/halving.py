"""Pruners by successive halving: at each rung only the best of the trials continue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.errors import ConfigError
from mlp.records import number
from studies.search.pruners.pruner import AbstractPruner, pruners

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from mlp.config import TrainConfig


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

    def build(self, epochs: int) -> BasePruner:
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.min_epochs, reduction_factor=self.factor)


@pruners.register("hyperband")
@dataclass(frozen=True)
class Hyperband(AbstractPruner):
    """Successive halving in several brackets, whose first rungs are at different epochs: Li et al. 2018.

    The name of the study and the number of a trial decide its bracket. The sampler learns from the trials of the same
    bracket only.

    Attributes:
        min_epochs: the epoch of the first rung of the first bracket.
        factor: each rung is at `factor` times the epoch of the one before; so is the first rung of each bracket.
    """

    min_epochs: int = number(1, at_least=1)
    factor: int = number(3, at_least=2)

    def check(self, base: TrainConfig, metric: str) -> None:
        if self.min_epochs > base.epochs:
            raise ConfigError(f"min_epochs must be at most base.epochs = {base.epochs}, got {self.min_epochs}.")

    def build(self, epochs: int) -> BasePruner:
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(min_resource=self.min_epochs, max_resource=epochs, reduction_factor=self.factor)


@pruners.register("asha")
@dataclass(frozen=True)
class Asha(AbstractPruner):
    """Pauses every trial at each rung, and promotes the best 1/factor of each rung to the next one.

    The asynchronous form of successive halving: Algorithm 2 of Li et al. 2020, arXiv:1810.05934. Unlike
    `successive_halving`, which must decide for good when a trial reaches a rung, it can promote a trial later, when
    more trials have been compared with it.

    The defaults were chosen with `benchmarks/replay.py`. Many configurations get one epoch, a few get 16, and half of
    the budget trains the best of them in full. Small tables are an exception: with the schedule `coslog`, the ranks of
    trials in the first half of a training on a few hundred rows are unrelated to those at its end.

    Attributes:
        min_epochs: the epoch of the first rung.
        factor: each rung is at `factor` times the epoch of the one before.
        finish: the share of the budget that is kept for training the best paused trials in full. Without a target
            and patience, trials wait at their last rung until then.
    """

    min_epochs: int = number(1, at_least=1)
    factor: int = number(16, at_least=2)
    finish: float = number(0.5, at_least=0, below=1)

    def build(self, epochs: int) -> BasePruner:
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
