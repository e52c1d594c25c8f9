"""Samplers and pruners by name."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.registry import AbstractPart, Registry, number

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


class AbstractSampler(AbstractPart):
    """How the next configuration is chosen, given all that has been seen."""

    @abstractmethod
    def build(self, seed: int, parallelism: int) -> BaseSampler:
        """Return Optuna's sampler, made anew for one trial.

        Args:
            seed: from the study's seed and the trial's number.
            parallelism: how many trials may be in flight.
        """


samplers: Registry[AbstractSampler] = Registry("sampler")
AbstractSampler.family = samplers


@samplers.register("random")
@dataclass(frozen=True)
class Random(AbstractSampler):
    """Each parameter by itself, uniformly: what every other sampler must beat."""

    def build(self, seed: int, parallelism: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@samplers.register("tpe")
@dataclass(frozen=True)
class Tpe(AbstractSampler):
    """The multivariate tree-structured Parzen estimator of Bergstra et al. 2011 and Falkner et al. 2018.

    Attributes:
        startup_trials: trials drawn at random before it begins to learn.
    """

    startup_trials: int = number(10, at_least=1)

    def build(self, seed: int, parallelism: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(
            n_startup_trials=self.startup_trials, multivariate=True, constant_liar=parallelism > 1, seed=seed
        )


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
