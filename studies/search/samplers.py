"""Samplers by name."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.records import number
from mlp.registry import AbstractPart, Registry

if TYPE_CHECKING:
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
