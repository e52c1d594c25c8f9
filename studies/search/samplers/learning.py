"""Samplers that learn from the results of earlier trials."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mlp.errors import ConfigError
from mlp.records import number
from studies.search.samplers.sampler import AbstractSampler, samplers, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from studies.search.space import Space


@samplers.register("tpe")
@dataclass(frozen=True)
class Tpe(AbstractSampler):
    """The multivariate tree-structured Parzen estimator of Bergstra et al. 2011 and Falkner et al. 2018.

    Attributes:
        startup_trials: trials drawn at random before the estimator is used.
        candidates: points drawn from the estimator, of which the most promising one is suggested.
        group: whether parameters under the same conditions are modelled together; otherwise only the parameters of
            all trials are, and each of the others for itself.
    """

    startup_trials: int = number(10, at_least=1)
    candidates: int = number(24, at_least=1)
    group: bool = False

    def learns_from_others(self, space: Space) -> bool:
        return True

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import TPESampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of `group`
            return TPESampler(
                n_startup_trials=self.startup_trials,
                n_ei_candidates=self.candidates,
                multivariate=True,
                group=self.group,
                constant_liar=parallelism > 1,
                seed=trial_seed(study_seed, trial),
            )


@samplers.register("cma_es")
@dataclass(frozen=True)
class CmaEs(AbstractSampler):
    """The covariance matrix adaptation evolution strategy: Hansen 2016, arXiv:1604.00772.

    It searches the ranges that all trials have. Choices, and parameters with a `when` that some trials do not meet,
    are drawn at random. Its state is recorded with the trials, pickled by Optuna.

    Attributes:
        startup_trials: complete trials before the strategy is used; they are drawn at random.
        population: trials of a generation; None for the usual 4 + 3 ln(number of ranges).
        learn_from_pruned: whether a pruned or paused trial counts with its last value. Without it, a search that
            prunes most of its trials learns little.
    """

    supports_two_objectives: ClassVar[bool] = False
    startup_trials: int = number(1, at_least=1)
    population: int | None = number(None, at_least=4)  # with fewer, cmaes divides by zero
    learn_from_pruned: bool = True

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import CmaEsSampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of `consider_pruned_trials`
            return CmaEsSampler(
                n_startup_trials=self.startup_trials,
                popsize=self.population,
                consider_pruned_trials=self.learn_from_pruned,
                warn_independent_sampling=False,
                seed=trial_seed(study_seed, trial),
            )


@samplers.register("gp")
@dataclass(frozen=True)
class Gp(AbstractSampler):
    """Expected improvement under a Gaussian process: Optuna's `GPSampler`, which needs PyTorch and greenlet.

    It models the parameters that all trials have, and learns from complete trials only. A parameter with a `when` that
    some trials do not meet is drawn at random.

    Attributes:
        startup_trials: complete trials before the process is used; they are drawn at random.
    """

    supports_two_objectives: ClassVar[bool] = False
    startup_trials: int = number(10, at_least=1)

    def check(self, space: Space) -> None:
        try:
            import greenlet  # noqa: F401 - without it Optuna takes another way, whose last bits are different
            import torch  # noqa: F401
        except (ImportError, OSError):
            problem = 'the sampler "gp" needs PyTorch and greenlet'
            raise ConfigError(f'{problem}: pip install torch greenlet. Or choose "tpe".') from None

    def learns_from_others(self, space: Space) -> bool:
        return True

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from studies.search.samplers.gaussian_process import OneThreadGpSampler

        return OneThreadGpSampler(
            seed=trial_seed(study_seed, trial),
            n_startup_trials=self.startup_trials,
            warn_independent_sampling=False,
        )


@samplers.register("nsga2")
@dataclass(frozen=True)
class Nsga2(AbstractSampler):
    """The genetic algorithm of Deb et al. 2002 (NSGA-II), for several objectives or one.

    It learns from complete trials only.

    Attributes:
        population: trials of a generation; the first generation is drawn at random.
    """

    population: int = number(20, at_least=2)

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(population_size=self.population, seed=trial_seed(study_seed, trial))
